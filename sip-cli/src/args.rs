//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sip_message::headers::InstanceId;

use crate::operation::OperationArgs;
use crate::sound::SoundArgs;
use crate::tls::TlsArgs;

/// What `--help` says about exit codes; the codes themselves are in [`crate::exit`].
const EXIT_CODES: &str = "\
Exit codes:
  0  answered and ended well (server, phone, demo: everything went well)
  1  wrong usage, or a fault of this program or machine (inspect: or a message is invalid)
  2  busy or declined (486, 600, 603)
  3  no answer: not answered in time, or cancelled
  4  unreachable: no such host, no connection, no reaction, 408, 503, 504
  5  refused otherwise (3xx to 6xx); the status is in the output
  6  the user or password was not accepted (401, 407)
  7  bad media: nothing agreed on (488, 606), or what was to be played could not be";

/// SIP on the command line: a phone, a call, a server, and a demonstration of all of them.
#[derive(Debug, Parser)]
#[command(
    name = "sip",
    version,
    after_help = EXIT_CODES,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Write JSON for machines: one object per line on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say more on standard error; -vv and -vvv say still more. RUST_LOG chooses by module.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Write the log as JSON objects, one a line.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a whole call on this machine: register, call through a proxy, talk, press digits, hold, hang up.
    Demo(DemoArgs),
    /// Run a registrar and proxy.
    Server(ServerArgs),
    /// Be a phone: register, ring, answer, call.
    Phone(PhoneArgs),
    /// Make one call; the exit code tells what became of it.
    Call(CallArgs),
    /// Send a text; the exit code tells whether it was taken.
    Message(MessageArgs),
    /// Chat with somebody, line by line.
    Chat(ChatArgs),
    /// Host a chat room, in which what one writes all read.
    Room(RoomArgs),
    /// Ask a phone or server what it can do, and whether it is there.
    Options(OptionsArgs),
    /// Hear of the state of somebody or something: presence, waiting messages, calls.
    Subscribe(SubscribeArgs),
    /// Show who is there, what they do and since when, as it changes.
    Watch(WatchArgs),
    /// Say how we are, until Ctrl-C.
    Publish(PublishArgs),
    /// Ask a phone to call somebody.
    Refer(ReferArgs),
    /// Bind an address at its registrar, list its bindings, or remove them.
    Register(RegisterArgs),
    /// Look into a file or a Redis of `sip server --location`, check it, or save what can be read of a damaged one.
    Location(LocationArgs),
    /// Look at messages in files and captures: valid or not, what is wrong and where, every field in its parts.
    Inspect(InspectArgs),
    /// Explain where a request to a URI goes: which names are asked for, what they lead to, what is tried first.
    Resolve(ResolveArgs),
}

const DEMO_EXAMPLES: &str = "\
Examples:
  sip demo                 the call as a ladder, its quality, and whether all was as it should be
  sip demo --out call      keeps recordings and capture in the folder `call`
  sip demo --json          the same for machines

Only the loopback interface and free ports are used; it takes about ten seconds.
The exit code is 0 only if everything was verified.";

/// `sip demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Folder for the recordings and the packet capture; a new one for temporary files if it is not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

const SERVER_EXAMPLES: &str = "\
Examples:
  sip server --domain example.com --users users.txt
  sip server --listen udp:192.0.2.1:5060 --domain example.com --users users.txt
  sip server --listen tls:0.0.0.0:5061 --tls-cert example.com.pem --tls-key example.com.key --domain example.com \
      --users users.txt
  sip server --listen udp:127.0.0.1:0 --domain example.com --no-auth
  sip server --listen udp:127.0.0.1:0 --no-auth --next-hop 'sip:127.0.0.1:5070'
  sip server --config server.toml --check
  sip server --config server.toml

The file of users has a line `name:password` for each; lines with # are comments.
Port 0 takes a free port. The first lines of output name every listener: `listening udp:127.0.0.1:40123`.
SIGHUP reads certificates and the file of settings again; calls and connections stay. What is wrong is told, and the old
settings hold. Ctrl-C ends it.";

/// `sip server`.
#[derive(Debug, Args)]
#[command(after_help = SERVER_EXAMPLES)]
pub(crate) struct ServerArgs {
    /// Start by this file of settings, with users, routing rules and trunks, in place of the other options
    /// (docs/server-settings.md, examples/server.toml).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "domain", "users", "no_auth", "digest", "next_hop",
        "no_record_route", "heed_overload", "ws_origin", "proxy_protocol_from", "hep", "tls_cert", "tls_ca", "tls_crl", "tls_clients",
        "tls_insecure", "trust", "no_bans", "no_events", "events", "messages", "msrp_relay"])]
    pub(crate) config: Option<PathBuf>,

    /// Tell all that is wrong with the file of settings, with lines and columns, and start nothing. The exit code is 0 if nothing
    /// is.
    #[arg(long, requires = "config")]
    pub(crate) check: bool,

    /// Where to listen: udp:ADDRESS:PORT, and tcp:, tls:, ws: (WebSocket), wss: alike, IPv6 addresses in brackets; several
    /// times if needed.
    #[arg(long, value_name = "udp:ADDRESS:PORT", default_values = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"])]
    pub(crate) listen: Vec<String>,

    /// A domain whose users register here; several times if needed. Without one this is a proxy only.
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Vec<String>,

    /// The users, a line `name:password` each.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["no_auth", "config"])]
    pub(crate) users: Option<PathBuf>,

    /// Keep the bindings in this file, so that they are there after a restart; it is made if it is not there. Or in a Redis or Valkey,
    /// redis://USER:PASSWORD@HOST, which several servers share. `memory`: in memory alone. Without, in a file of the user's state folder
    /// ($XDG_STATE_HOME/sip-server, or systemd's $STATE_DIRECTORY), which the first lines name, if there is a domain and no port is 0.
    #[arg(long, value_name = "FILE|URL|memory")]
    pub(crate) location: Option<PathBuf>,

    /// With a file: acknowledge a registration when it is written, and have it safe from a power cut within this time; 0: before.
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "location")]
    pub(crate) location_flush: u64,

    /// Ask nobody for a password: for tests, and behind something that does.
    #[arg(long)]
    pub(crate) no_auth: bool,

    /// Keep messages for users who are away in this file (SQLite; made if it is not there), and deliver them when they come. Without,
    /// their senders are told that nobody is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) messages: Option<PathBuf>,

    /// Keep subscriptions and publications in this file (SQLite; made if it is not there; it may be that of the messages), so that
    /// they are there after a restart.
    #[arg(long, value_name = "FILE", conflicts_with = "no_events")]
    pub(crate) events: Option<PathBuf>,

    /// Relay chats in sessions and files (MSRP, RFC 4976) of the users, over TLS with the certificate of --tls-cert: phones that cannot
    /// connect to each other reach each other by it. The usual port is 2855.
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["tls_cert", "users"])]
    pub(crate) msrp_relay: Option<SocketAddr>,

    /// That relay takes WebSockets here too (RFC 7977), over TLS, from pages in browsers.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "msrp_relay")]
    pub(crate) msrp_websockets: Option<SocketAddr>,

    /// The host that phones reach that relay by, for which the certificate is; the first --domain without it.
    #[arg(long, value_name = "NAME", requires = "msrp_relay")]
    pub(crate) msrp_host: Option<String>,

    /// Leave SUBSCRIBE and PUBLISH to the phones. Without it the server itself tells who is there, of waiting messages and of
    /// registrations.
    #[arg(long)]
    pub(crate) no_events: bool,

    /// A digest algorithm to offer, the most wanted first: MD5, SHA-256, SHA-512-256; several times if needed. Many
    /// phones know MD5 alone and give up when they see another (baresip, SIPp); name SHA-256 where none of them call.
    #[arg(long, value_name = "NAME", default_value = "MD5")]
    pub(crate) digest: Vec<sip_auth::Algorithm>,

    /// Send every new request here instead of looking its user up.
    #[arg(long, value_name = "URI")]
    pub(crate) next_hop: Option<String>,

    /// Do not ask to stay in the path of dialogs (Record-Route).
    #[arg(long)]
    pub(crate) no_record_route: bool,

    /// Heed the reports of next hops that have too much to do, and spare them the share of new requests that they ask for
    /// (RFC 7339).
    #[arg(long)]
    pub(crate) heed_overload: bool,

    /// Over WebSocket, take connections from web pages of this origin only (<https://phone.example.com>); several times if
    /// needed. Programs that are no browsers are not bound by it.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) ws_origin: Vec<String>,

    /// Balancers of connections in this network send the PROXY protocol's header (version 2), which is believed: for all
    /// listeners but those of UDP; several times if needed.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_protocol_from: Vec<sip_transport::proxy_protocol::Network>,

    /// Send every SIP message to the capture server at this address by HEP (Homer; `sngrep -L udp:ADDRESS:PORT`).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) hep: Option<SocketAddr>,

    /// Our number as capture agent.
    #[arg(long, value_name = "NUMBER", default_value_t = 2001, requires = "hep")]
    pub(crate) hep_id: u32,

    /// The key that the capture server asks for.
    #[arg(long, value_name = "KEY", requires = "hep")]
    pub(crate) hep_key: Option<String>,

    /// Threads that carry messages. One is the cheapest and takes some ten thousand calls a second; where there are listeners for
    /// TLS it is one for each processor, since handshakes take time.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) threads: Option<std::num::NonZeroUsize>,

    #[command(flatten)]
    pub(crate) operation: OperationArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// `sip location`.
#[derive(Debug, Args)]
pub(crate) struct LocationArgs {
    #[command(subcommand)]
    pub(crate) command: LocationCommand,
}

/// What is done with a location file.
#[derive(Debug, Subcommand)]
pub(crate) enum LocationCommand {
    /// Every binding, a line each. The server may be running.
    List {
        /// The file, or the URL of a Redis or Valkey.
        #[arg(value_name = "FILE|URL")]
        file: PathBuf,
    },
    /// Whether the server would take it: exit code 0 if so.
    Check {
        /// The file, or the URL of a Redis or Valkey.
        #[arg(value_name = "FILE|URL")]
        file: PathBuf,
    },
    /// Write a new file with everything that can be read; the damaged one is kept beside it. The server must not be running.
    Repair {
        /// The file.
        file: PathBuf,
    },
}

const PHONE_EXAMPLES: &str = "\
Examples:
  sip phone --listen udp:0.0.0.0:5070 --answer --echo
  sip phone --register sip:bob@example.com --password secret --answer --record bob.wav
  sip phone --register sip:bob@example.com --password secret --proxy sip:192.0.2.1:5060
  sip phone --listen udp:127.0.0.1:0 --answer --play hello.wav --for 30
  sip phone --register sip:bob@example.com --password secret --script evening.txt
  sip phone --accounts accounts.txt
  sip phone --register sip:bob@example.com --password secret --watch sip:alice@example.com --mwi

Commands, each a line on standard input; they concern the last call that `n` or an event made current:
  a          answer                 c URI      call somebody
  h          hang up or reject      n          make the next call current
  o          hold, or resume        l          list the calls
  d 123#     send digits            m URI TEXT send a text
                                               (in the chat that URI has begun, if any)
  u          mute, or no longer     i          how well it is heard
  f URI PATH send a file
  t URI      have the peer call somebody else; the call ends when that is answered
  t 2        connect the peer with that of call 2; both calls end
  k 2        call and write by the second account; `k` shows which there are
  q          hang up everything, unregister, end

Without --answer and without somebody to type `a` it rings until the caller gives up.
Port 0 takes a free port. The first lines of output name every listener: `listening udp:127.0.0.1:40123`.
Ctrl-C hangs up, unregisters and ends it; once more ends it at once.";

/// How sessions of messages and files are set up.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SessionArgs {
    /// Offer sessions and files over TLS (MSRP), with certificates that both sides announce and compare.
    #[arg(long)]
    pub(crate) msrp_tls: bool,

    /// Sessions and files go through this relay (RFC 4976), `msrps://relay.example.com;tcp`, which is told our name and password.
    #[arg(long, value_name = "URI")]
    pub(crate) msrp_relay: Option<String>,
}

impl SessionArgs {
    pub(crate) fn apply(&self, builder: sip_ua::PhoneBuilder) -> sip_ua::PhoneBuilder {
        let builder = builder.msrp_tls(self.msrp_tls);
        match &self.msrp_relay {
            Some(uri) => builder.msrp_relay(uri),
            None => builder,
        }
    }
}

/// `sip phone`.
#[derive(Debug, Args)]
#[command(after_help = PHONE_EXAMPLES)]
pub(crate) struct PhoneArgs {
    /// Where to listen: udp:ADDRESS:PORT, and tcp:, tls:, ws:, wss: alike; several times if needed. `wss:client:ADDRESS`
    /// connects from there and listens nowhere. UDP and TCP on free ports, and what the registrar or proxy needs, if it is
    /// not given.
    #[arg(long, value_name = "udp:ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,

    /// Register this address at its domain, by way of --proxy if that is given.
    #[arg(long, value_name = "sip:USER@DOMAIN")]
    pub(crate) register: Option<String>,

    /// Register the accounts of this file, a line each: `sip:alice@example.com secret`, with `proxy=URI` and `username=NAME` if
    /// they are needed; lines with # are comments.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["register", "from", "instance", "password"])]
    pub(crate) accounts: Option<PathBuf>,

    /// Our address when it is not registered.
    #[arg(long, value_name = "sip:USER@DOMAIN", conflicts_with = "register")]
    pub(crate) from: Option<String>,

    #[command(flatten)]
    pub(crate) account: Account,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// Seconds for which to register; refreshed in time.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) expires: u32,

    /// Who this phone is, the same after each start (`urn:uuid:...`): registers the connection itself, keeps it alive and
    /// replaces it when it is dead (RFC 5626).
    #[arg(long, value_name = "URN", requires = "register")]
    pub(crate) instance: Option<InstanceId>,

    #[command(flatten)]
    pub(crate) sound: SoundArgs,

    /// Answer every call at once.
    #[arg(long)]
    pub(crate) answer: bool,

    /// Call whom anybody asks us to call (REFER), not only those who talk to us: for a phone that a server guards.
    #[arg(long)]
    pub(crate) follow_referrals: bool,

    /// Talk and listen by the microphone and the loudspeaker of this machine.
    #[cfg(feature = "sound-card")]
    #[arg(long, conflicts_with_all = ["play", "echo"])]
    pub(crate) sound_card: bool,

    /// Show the presence of these, as it changes; several times for several.
    #[arg(long, value_name = "URI")]
    pub(crate) watch: Vec<String>,

    /// Show how many voice messages wait for each account (RFC 3842).
    #[arg(long)]
    pub(crate) mwi: bool,

    /// Take files that others send into this folder, none that is there already. Without, they are refused; chats in sessions are taken
    /// and shown as messages are.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) files: Option<PathBuf>,

    /// The largest file that is taken.
    #[arg(long, value_name = "OCTETS", default_value_t = crate::chat_files::MAX_FILE, requires = "files")]
    pub(crate) file_limit: u64,

    #[command(flatten)]
    pub(crate) sessions: SessionArgs,

    /// Send back what is heard.
    #[arg(long, conflicts_with = "play")]
    pub(crate) echo: bool,

    /// Play this WAV file to every peer.
    #[arg(long, value_name = "FILE")]
    pub(crate) play: Option<PathBuf>,

    /// Record what is heard: the first call into FILE.wav, the next into FILE-2.wav, and so on.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Take the commands from this file, and end with it; `w 2.5` in it waits so many seconds, lines with # are comments.
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,

    /// End after this time, hanging up whatever is there.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
}

const CALL_EXAMPLES: &str = "\
Examples:
  sip call sip:bob@192.0.2.7 --play hello.wav
  sip call sip:bob@example.com --from sip:alice@example.com --password secret
  sip call sip:bob@example.com --proxy sip:192.0.2.1:5060 --ring 20
  sip call sip:+15550100@trunk.example --dtmf 123# --for 10 --record heard.wav
  sip call sip:bob@example.com --codecs opus,g722,pcmu --srtp required
  sip call sip:bob@example.com --video film.ivf --play film.wav
  sip call sip:echo@127.0.0.1:5070 --for 3 --json | jq .media

The call ends after --for, else when --play and --video have been played, else when the peer hangs up.
Ctrl-C hangs up; while it rings it cancels.";

/// `sip call`.
#[derive(Debug, Args)]
#[command(after_help = CALL_EXAMPLES)]
pub(crate) struct CallArgs {
    /// Who to call, such as sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// Who calls.
    #[arg(long, value_name = "sip:USER@DOMAIN")]
    pub(crate) from: Option<String>,

    #[command(flatten)]
    pub(crate) account: Account,

    /// Where to listen; UDP and TCP on free ports, and what the URI needs, if it is not given.
    #[arg(long, value_name = "udp:ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) sound: SoundArgs,

    /// Talk and listen by the microphone and the loudspeaker of this machine.
    #[cfg(feature = "sound-card")]
    #[arg(long, conflicts_with = "play")]
    pub(crate) sound_card: bool,

    /// Play this WAV file when answered; the call ends with it unless --for is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) play: Option<PathBuf>,

    /// Offer video and show the film of this IVF file (VP8 or H.264) when answered; the call ends with it as with --play.
    #[arg(long, value_name = "FILE")]
    pub(crate) video: Option<PathBuf>,

    /// Record what is heard into this WAV file.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Record both sides into this stereo WAV file: left what is said, right what is heard.
    #[arg(long, value_name = "FILE")]
    pub(crate) record_both: Option<PathBuf>,

    /// Digits to send when answered: 0-9 * # A-D.
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    pub(crate) dtmf: Option<String>,

    /// Hang up this long after the answer.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,

    /// Give up when not answered in this time.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub(crate) ring: Duration,
}

/// What every command that sends one request needs to know.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sender {
    /// Who asks.
    #[arg(long, value_name = "sip:USER@DOMAIN")]
    pub(crate) from: Option<String>,

    #[command(flatten)]
    pub(crate) account: Account,

    /// Where to listen; UDP and TCP on free ports, and what the URI needs, if it is not given.
    #[arg(long, value_name = "udp:ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

const MESSAGE_EXAMPLES: &str = "\
Examples:
  sip message sip:bob@192.0.2.7 'lunch?'
  sip message sip:bob@example.com - --from sip:alice@example.com --password secret < letter.txt
  sip message sip:bob@example.com 'lunch?' --receipt 10 --from sip:alice@example.com --password secret

The exit code is 0 if the far end (`delivered to`, 200) or a server for it (`kept for`, 202) has taken the message. With
--receipt it is 3 if nobody says in that time that it was delivered, and 5 if it was not.";

/// `sip message`.
#[derive(Debug, Args)]
#[command(after_help = MESSAGE_EXAMPLES)]
pub(crate) struct MessageArgs {
    /// Whom to write to, such as sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// The text; `-` reads it from standard input.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,

    /// Ask to be told that it is delivered, and wait so long for that; --from is registered meanwhile.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "from")]
    pub(crate) receipt: Option<Duration>,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const CHAT_EXAMPLES: &str = "\
Examples:
  sip chat sip:bob@example.com --from sip:alice@example.com --password secret
  sip chat sip:bob@example.com --from sip:alice@example.com --password secret --history bob.jsonl
  sip chat sip:bob@192.0.2.7 --from sip:alice@192.0.2.8 --listen udp:192.0.2.8:5060 --no-register

  sip chat sip:friends@example.com --room --nickname 'The Boss' --from sip:alice@example.com --password secret

Each line of standard input is a text; /typing tells that one is being written, /file PATH sends a file, /quit or the end of the input ends it when
all is sent. Lines of ours have numbers: `1 sent`, `1 delivered`, `1 displayed`; `1 kept` waits at the server.
In a room: /nick NAME is what others call us, /to URI TEXT is read by one alone, /who tells who is there.
The exit code is that of the last line that was refused, if any.";

/// `sip chat`.
#[derive(Debug, Args)]
#[command(after_help = CHAT_EXAMPLES)]
pub(crate) struct ChatArgs {
    /// Whom to chat with, such as sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// It is a chat room (RFC 7701), such as `sip room` hosts.
    #[arg(long, conflicts_with_all = ["plain", "files"])]
    pub(crate) room: bool,

    /// What we want to be called in the room.
    #[arg(long, value_name = "NAME", requires = "room")]
    pub(crate) nickname: Option<String>,

    /// Ask for no receipts: bare texts, which every phone reads.
    #[arg(long)]
    pub(crate) plain: bool,

    /// Append each text to this file, as a line of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,

    /// Take files of the other side into this folder, none that is there already.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) files: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) sessions: SessionArgs,

    /// Do not register --from: the other side reaches us at its address.
    #[arg(long)]
    pub(crate) no_register: bool,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const ROOM_EXAMPLES: &str = "\
Examples:
  sip room sip:friends@example.com --password secret
  sip room sip:friends@192.0.2.7 --listen udp:192.0.2.7:5060 --no-register

Whoever calls this address to chat is in it: `sip chat sip:friends@example.com --room`. Who calls is taken for who their From says, so let
only a server that authenticates its users call it. It tells who comes and goes. Ctrl-C closes the room.";

/// `sip room`.
#[derive(Debug, Args)]
#[command(after_help = ROOM_EXAMPLES)]
pub(crate) struct RoomArgs {
    /// The room's address, which is registered at its domain.
    #[arg(value_name = "sip:ROOM@DOMAIN")]
    pub(crate) uri: String,

    #[command(flatten)]
    pub(crate) account: Account,

    /// Do not register it: others reach the room at its address.
    #[arg(long)]
    pub(crate) no_register: bool,

    /// Participants at once, each of whose devices counts; more are told that it is busy.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub(crate) sessions: usize,

    /// Devices of one user at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    pub(crate) sessions_of_one: usize,

    /// Octets of the largest message.
    #[arg(long, value_name = "OCTETS", default_value_t = 1 << 20)]
    pub(crate) message_limit: u64,

    /// Nobody has a nickname.
    #[arg(long)]
    pub(crate) no_nicknames: bool,

    /// A nickname that nobody gets; once for each.
    #[arg(long, value_name = "NAME")]
    pub(crate) reserve: Vec<String>,

    /// What is written is for all.
    #[arg(long)]
    pub(crate) no_private_messages: bool,

    #[command(flatten)]
    pub(crate) session: SessionArgs,

    /// Where to listen; UDP and TCP on free ports, and what the URI needs, if it is not given.
    #[arg(long, value_name = "udp:ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

const OPTIONS_EXAMPLES: &str = "\
Examples:
  sip options sip:192.0.2.1
  sip options sip:bob@example.com --json | jq .allow

The exit code is 0 if it was answered with 200.";

/// `sip options`.
#[derive(Debug, Args)]
#[command(after_help = OPTIONS_EXAMPLES)]
pub(crate) struct OptionsArgs {
    /// Whom to ask, such as sip:192.0.2.1 or sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const SUBSCRIBE_EXAMPLES: &str = "\
Examples:
  sip subscribe sip:bob@example.com --from sip:alice@example.com --password secret
  sip subscribe sip:alice@example.com --package message-summary --once
  sip subscribe sip:bob@example.com --package dialog --for 600 --json

Each state that is notified is shown, until Ctrl-C or --for; the subscription is ended then.";

/// `sip subscribe`.
#[derive(Debug, Args)]
#[command(after_help = SUBSCRIBE_EXAMPLES)]
pub(crate) struct SubscribeArgs {
    /// Whose state, such as sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// Which kind of state: presence, message-summary, dialog, reg, or any other.
    #[arg(long, value_name = "NAME", default_value = "presence")]
    pub(crate) package: String,

    /// Show the first state and end.
    #[arg(long)]
    pub(crate) once: bool,

    /// End after this time.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const WATCH_EXAMPLES: &str = "\
Examples:
  sip watch sip:bob@example.com sip:carol@example.com --from sip:alice@example.com --password secret
  sip watch sip:bob@example.com --from sip:alice@example.com --password secret --once --json

On a terminal it is a table; into a file or pipe a line for each change: who, open or closed, what they do, their
note, and since when. It ends with Ctrl-C or --for. The exit code is that of a refusal if nobody could be watched.";

/// `sip watch`.
#[derive(Debug, Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub(crate) struct WatchArgs {
    /// Whom to watch, such as sip:bob@example.com.
    #[arg(value_name = "URI", required = true)]
    pub(crate) uris: Vec<String>,

    /// Show the first state of each and end.
    #[arg(long)]
    pub(crate) once: bool,

    /// End after this time.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const PUBLISH_EXAMPLES: &str = "\
Examples:
  sip publish open --from sip:alice@example.com --password secret
  sip publish 'on the phone' --note 'back at four' --from sip:alice@example.com --password secret
  sip publish away --once 600 --from sip:alice@example.com --password secret

The state is kept fresh until Ctrl-C, or for --once SECONDS, and removed then.";

/// `sip publish`.
#[derive(Debug, Args)]
#[command(after_help = PUBLISH_EXAMPLES)]
pub(crate) struct PublishArgs {
    /// open, closed, or what we do: away, busy, 'on the phone', meeting, lunch, vacation, and what else RFC 4480 has.
    #[arg(value_name = "STATE")]
    pub(crate) state: sip_ua::PresenceState,

    /// A remark for people.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,

    /// End after this time.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) once: Option<Duration>,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const REFER_EXAMPLES: &str = "\
Examples:
  sip refer sip:desk@example.com sip:bob@example.com --from sip:alice@example.com --password secret

The phone has to be one that does as it is asked. How its call goes is shown; the exit code is that of the call.";

/// `sip refer`.
#[derive(Debug, Args)]
#[command(after_help = REFER_EXAMPLES)]
pub(crate) struct ReferArgs {
    /// The phone that is to call.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// Whom it is to call.
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,

    #[command(flatten)]
    pub(crate) sender: Sender,
}

const REGISTER_EXAMPLES: &str = "\
Examples:
  sip register sip:alice@example.com --password secret --list
  sip register sip:alice@example.com --password secret --contact sip:alice@192.0.2.7:5070 --expires 600
  sip register sip:alice@example.com --password secret --contact sip:alice@192.0.2.7:5070 --remove
  sip register sip:alice@example.com --password secret --remove

The bindings that stand then are shown. A binding made here stays until it expires; `sip phone` keeps one alive.";

/// `sip register`.
#[derive(Debug, Args)]
#[command(after_help = REGISTER_EXAMPLES)]
pub(crate) struct RegisterArgs {
    /// The address, such as sip:alice@example.com.
    #[arg(value_name = "sip:USER@DOMAIN")]
    pub(crate) address: String,

    /// Where the address is to be reached.
    #[arg(long, value_name = "URI", required_unless_present_any = ["list", "remove"])]
    pub(crate) contact: Option<String>,

    /// Seconds to bind it for.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) expires: u32,

    /// Show the bindings and change nothing.
    #[arg(long, conflicts_with_all = ["contact", "remove"])]
    pub(crate) list: bool,

    /// Remove the binding of --contact, or all of them.
    #[arg(long)]
    pub(crate) remove: bool,

    #[command(flatten)]
    pub(crate) account: Account,

    /// Where to listen; UDP and TCP on free ports, and what the registrar needs, if it is not given.
    #[arg(long, value_name = "udp:ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  sip inspect invite.sip             the verdict, every field in its parts, the kind of body
  sip inspect --brief *.sip          a line for each message
  sip inspect --json - < stream      an object for each message, from standard input
  sip inspect calls.pcap             every message, then each call as a ladder
  sip inspect --ladder calls.pcapng  the ladders alone

A file holds messages one after the other, each as long as its Content-Length says, or a capture: pcap or pcapng, UDP
and TCP, IPv4 and IPv6. The exit code is 1 if a message is invalid or a file cannot be read, else 0.";

/// `sip inspect`.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub(crate) struct InspectArgs {
    /// Files with messages, or captures; standard input for `-`, or if there is none.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Take each file for one UDP datagram: what follows the body is left out, and no other message.
    #[arg(long)]
    pub(crate) datagram: bool,

    /// One line for each message.
    #[arg(long)]
    pub(crate) brief: bool,

    /// Of captures, show the ladders alone.
    #[arg(long, conflicts_with = "brief")]
    pub(crate) ladder: bool,
}

const RESOLVE_EXAMPLES: &str = "\
Examples:
  sip resolve sip:bob@example.com
  sip resolve sips:example.com --dns 192.0.2.53
  sip resolve 'sip:example.com;transport=tcp' --over udp,tcp --ipv4
  sip resolve sip:example.com --size 2000 --json | jq .remote

Each question is shown with its answer, in the order in which answers come; the places follow, the first to be tried
first. The exit code is 0 if there is a place, 4 if there is none.";

/// `sip resolve`.
#[derive(Debug, Args)]
#[command(after_help = RESOLVE_EXAMPLES)]
pub(crate) struct ResolveArgs {
    /// The URI, such as sip:bob@example.com.
    #[arg(value_name = "URI")]
    pub(crate) uri: String,

    /// Ask this name server, port 53 unless it is given, and not those of the system.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = name_server)]
    pub(crate) dns: Option<SocketAddr>,

    /// Size of the request in bytes: above 1300 it goes over a connection where that is possible.
    #[arg(long, value_name = "BYTES", default_value_t = 800)]
    pub(crate) size: usize,

    /// The transports that can be used.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = transport, default_value = "udp,tcp,tls")]
    pub(crate) over: Vec<sip_transport::Transport>,

    /// Use IPv4 alone.
    #[arg(long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,

    /// Use IPv6 alone.
    #[arg(long)]
    pub(crate) ipv6: bool,

    /// The number that stands for chance where servers share the load by weight.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) chance: Option<u64>,
}

/// A name server's address, at the port of DNS if none is told.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| format!("{text:?} is no address such as 192.0.2.53 or [2001:db8::53]:53"))
}

fn transport(name: &str) -> Result<sip_transport::Transport, String> {
    sip_transport::Transport::from_uri_param(name)
        .ok_or_else(|| format!("{name:?} is no transport; there are udp, tcp, tls, ws, wss"))
}

/// Who we are to servers, and which one we ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct Account {
    /// User name for authentication; the user of our address if it is not given.
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Password for authentication.
    #[arg(long, value_name = "PASSWORD", env = "SIP_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,

    /// Send everything to this proxy first.
    #[arg(long, value_name = "URI")]
    pub(crate) proxy: Option<String>,
}

/// Seconds, with a fraction if wanted.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|_| format!("{text} seconds cannot be waited"))
}

/// Digits that a telephone has.
fn digits(text: &str) -> Result<String, String> {
    match text.chars().find(|&key| rtp::dtmf::Event::from_key(key).is_none()) {
        Some(wrong) => Err(format!("{wrong:?} is no key of a telephone; use 0-9 * # A-D")),
        None => Ok(text.into()),
    }
}

/// A listener in the words of `--listen`, for the `listening` lines.
pub(crate) fn listener(transport: &str, address: SocketAddr) -> String {
    format!("{transport}:{address}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_help_with_examples() {
        for name in [
            "demo",
            "server",
            "phone",
            "call",
            "message",
            "chat",
            "options",
            "subscribe",
            "watch",
            "publish",
            "refer",
            "register",
            "inspect",
            "resolve",
        ] {
            let mut command = Cli::command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains(&format!("  sip {name}")), "{help}");
        }
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("Exit codes:"), "{help}");
    }

    #[test]
    fn a_call_with_everything() {
        let cli = Cli::try_parse_from([
            "sip",
            "call",
            "sip:bob@example.com",
            "--from",
            "sip:alice@example.com",
            "--password",
            "p",
            "--proxy",
            "sip:127.0.0.1:5060",
            "--play",
            "a.wav",
            "--record",
            "b.wav",
            "--dtmf",
            "123#",
            "--for",
            "2.5",
            "--json",
        ])
        .unwrap();
        let Command::Call(call) = cli.command else { panic!() };
        assert!(cli.json);
        assert_eq!(call.duration, Some(Duration::from_millis(2500)));
        assert_eq!(call.ring, Duration::from_secs(60));
        assert_eq!(call.dtmf.as_deref(), Some("123#"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (line, reason) in [
            (&["sip", "call", "sip:b@c", "--dtmf", "12x"][..], "no key of a telephone"),
            (&["sip", "call", "sip:b@c", "--for", "soon"], "no number of seconds"),
            (&["sip", "call", "sip:b@c", "--for=-1"], "cannot be waited"),
            (&["sip", "phone", "--echo", "--play", "a.wav"], "cannot be used with"),
            (&["sip", "server", "--domain", "example.com"], "--users"),
            (&["sip", "resolve", "sip:a", "--over", "sctp"], "is no transport"),
            (&["sip", "resolve", "sip:a", "--dns", "ns.example.com"], "is no address"),
        ] {
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line:?}: {error}");
        }
    }
}
