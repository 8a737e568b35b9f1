//! `sip server` and `sip location`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::operation::OperationArgs;
use crate::tls::TlsArgs;

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

    /// Threads that carry messages, and among which calls are shared out, each call to one of them. One is the cheapest and takes some
    /// ten thousand calls a second. If this is not given, the handshakes of TLS, where there are listeners for it, take place on all
    /// processors.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: Option<u8>,

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
