// JsSIP as a browser runs it, without media: registers over WebSocket with digest, then does what it is told.
//   node phone.mjs URL USER PASSWORD DOMAIN [message TARGET TEXT | options TARGET | call TARGET | answer]
// Prints a line for each thing that happens. Calls are answered 486, or taken after `answer` or `call`.
// Lines on standard input: `hang up` ends the call, any other ends the program, with the registration removed first.
import WebSocket from 'ws';

const [url, user, password, domain, action, target, text] = process.argv.slice(2);

// Browsers name the page's origin and speak one protocol.
globalThis.WebSocket = class extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { origin: 'https://phone.example.test', rejectUnauthorized: false });
  }
};
globalThis.window = globalThis;
// A description without media behind it, which any phone takes.
const sdp = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0', 'm=audio 9 RTP/AVP 0',
  'a=rtpmap:0 PCMU/8000', ''].join('\r\n');
globalThis.RTCSessionDescription = class { constructor(from) { Object.assign(this, from); } };
globalThis.RTCPeerConnection = class {
  iceConnectionState = 'connected';
  iceGatheringState = 'complete';
  signalingState = 'stable';
  addEventListener() {}
  removeEventListener() {}
  getSenders() { return []; }
  getReceivers() { return []; }
  close() {}
  async createOffer() { return { type: 'offer', sdp }; }
  async createAnswer() { return { type: 'answer', sdp }; }
  async setLocalDescription(description) { this.localDescription = description; }
  async setRemoteDescription(description) { this.remoteDescription = description; }
};
const nobody = { getTracks: () => [] };

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
let session;
phone.on('newRTCSession', (event) => {
  session = event.session;
  session.on('confirmed', () => say('call confirmed'));
  session.on('ended', ({ originator }) => say(`call ended by ${originator}`));
  session.on('failed', ({ cause }) => say(`call failed: ${cause}`));
  if (event.originator !== 'remote') return;
  say(`call from ${event.request.from.uri}`);
  if (action === 'answer' || action === 'call') session.answer({ mediaStream: nobody });
  else session.terminate({ status_code: 486 });
});
phone.on('registered', () => {
  say('registered');
  const events = {
    succeeded: (event) => say(`succeeded ${event.response.status_code}`),
    failed: (event) => say(`failed ${event.response?.status_code ?? event.cause}`),
  };
  if (action === 'message') phone.sendMessage(target, text, { eventHandlers: events });
  if (action === 'call') phone.call(target, { mediaStream: nobody });
  if (action === 'options') phone.sendOptions(target, '', { eventHandlers: events });
});
phone.on('unregistered', () => say('unregistered'));
process.stdin.on('data', (line) => {
  if (line.toString().startsWith('hang up')) return session.terminate();
  phone.once('unregistered', () => { phone.stop(); setTimeout(() => process.exit(0), 300); });
  phone.unregister();
});
phone.start();
