// A client of MSRP over WebSocket (RFC 7977) as a page in a browser would be one: it asks the relay for a URI with digest, prints it,
// and echoes what it is sent.
//   node msrp.mjs URL RELAY USER PASSWORD
// RELAY is what AUTH is addressed to, such as msrps://alice@relay.example.com:443;ws
import { createHash, randomBytes } from 'node:crypto';
import WebSocket from 'ws';

const [url, relay, user, password] = process.argv.slice(2);
const token = () => randomBytes(8).toString('hex');
const md5 = (text) => createHash('md5').update(text).digest('hex');
const secure = url.startsWith('wss');
const own = `${secure ? 'msrps' : 'msrp'}://${token()}.invalid:2855/${token()};ws`;
const say = (line) => console.log(line);
const socket = new WebSocket(url, 'msrp', { origin: 'https://chat.example.test', rejectUnauthorized: false });
// One chunk in each message, as text: a page would send strings.
const send = (first, fields, body) => {
  const id = first.split(' ')[1];
  const content = body === undefined ? '' : `Content-Type: text/plain\r\n\r\n${body}\r\n`;
  socket.send(`${first}\r\n${fields.map((field) => `${field}\r\n`).join('')}${content}-------${id}$\r\n`);
};
const auth = (more) => send(`MSRP ${token()} AUTH`, [`To-Path: ${relay}`, `From-Path: ${own}`, ...more]);

let ours;
let length = 0;
socket.on('open', () => { say(`speaks ${socket.protocol}`); auth([]); });
socket.on('close', (code) => say(`closed ${code}`));
socket.on('error', (error) => say(`error ${error.message}`));
socket.on('message', (data) => {
  const text = data.toString('utf8');
  const [head, ...rest] = text.split('\r\n\r\n');
  const [first, ...lines] = head.split('\r\n');
  const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const [, id, what] = first.split(' ');
  const end = text.slice(-(id.length + 10));
  if (end.slice(0, -3) !== `-------${id}` || !'$+#'.includes(end.at(-3))) return say(`no single chunk: ${first}`);
  if (what === '401') {
    const challenge = field('WWW-Authenticate');
    const [, realm] = challenge.match(/realm="([^"]*)"/);
    const [, nonce] = challenge.match(/nonce="([^"]*)"/);
    const [nc, cnonce] = ['00000001', token()];
    const response = md5([md5(`${user}:${realm}:${password}`), nonce, nc, cnonce, 'auth', md5(`AUTH:${relay}`)].join(':'));
    auth([`Authorization: Digest username="${user}", realm="${realm}", nonce="${nonce}", uri="${relay}", qop=auth, ` +
      `nc=${nc}, cnonce="${cnonce}", response="${response}"`]);
  } else if (what === '200' && field('Use-Path')) {
    ours = field('Use-Path');
    say(`path ${ours} ${own}`);
  } else if (what === 'SEND') {
    send(`MSRP ${id} 200 OK`, [`To-Path: ${field('From-Path').split(' ')[0]}`, `From-Path: ${own}`]);
    if (!field('Content-Type')) return;
    const content = rest.join('\r\n\r\n').slice(0, -(end.length + 2));
    if (!field('Content-Type').startsWith('text/plain')) {
      length += data.length - Buffer.byteLength(head) - 4 - end.length - 2;
      if (end.at(-3) === '$') say(`octets ${length}`);
      return;
    }
    say(`message ${content}`);
    const back = token();
    send(`MSRP ${back} SEND`, [`To-Path: ${field('From-Path')}`, `From-Path: ${own}`, `Message-ID: ${back}`,
      `Byte-Range: 1-${Buffer.byteLength(content)}/${Buffer.byteLength(content)}`], content);
  } else if (what === 'AUTH' || !/^200/.test(what)) say(first);
});
process.stdin.on('data', () => socket.close(1000));
