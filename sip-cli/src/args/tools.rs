//! Commands that call nobody: `sip inspect` and `sip resolve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

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
