// JsSIP as a browser runs it, without media: registers over WebSocket with digest, then does what it is told.
//   node phone.mjs URL USER PASSWORD DOMAIN [message TARGET TEXT | options TARGET]
// Prints a line for each thing that happens. Calls are answered 486.
import WebSocket from 'ws';

const [url, user, password, domain, action, target, text] = process.argv.slice(2);

// Browsers name the page's origin and speak one protocol.
globalThis.WebSocket = class extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { origin: 'https://phone.example.test', rejectUnauthorized: false });
  }
};
globalThis.window = globalThis;
globalThis.RTCPeerConnection = class {};

const { default: JsSIP } = await import('jssip');
const say = (line) => console.log(line);
const socket = new JsSIP.WebSocketInterface(url);
const phone = new JsSIP.UA({
  sockets: [socket],
  uri: `sip:${user}@${domain}`,
  authorization_user: user,
  password,
  register_expires: 120,
  session_timers: false,
});
phone.on('connected', () => say('connected'));
phone.on('disconnected', (event) => say(`disconnected ${event.code ?? ''}`));
phone.on('registrationFailed', (event) => { say(`registration failed: ${event.cause}`); process.exit(1); });
phone.on('newMessage', (event) => {
  if (event.originator === 'remote') say(`message from ${event.request.from.uri}: ${event.request.body}`);
});
phone.on('newRTCSession', (event) => {
  if (event.originator !== 'remote') return;
  say(`call from ${event.request.from.uri}`);
  event.session.terminate({ status_code: 486 });
});
phone.on('registered', () => {
  say('registered');
  const events = {
    succeeded: (event) => say(`succeeded ${event.response.status_code}`),
    failed: (event) => say(`failed ${event.response?.status_code ?? event.cause}`),
  };
  if (action === 'message') phone.sendMessage(target, text, { eventHandlers: events });
  if (action === 'options') phone.sendOptions(target, '', { eventHandlers: events });
});
phone.on('unregistered', () => say('unregistered'));
// A line on standard input ends it, with the registration removed first.
process.stdin.once('data', () => {
  phone.once('unregistered', () => { phone.stop(); setTimeout(() => process.exit(0), 300); });
  phone.unregister();
});
phone.start();
