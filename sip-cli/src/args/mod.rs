//! The command line: what all commands share, and a module for each kind of them.

mod events;
mod messages;
mod phone;
mod requests;
mod server;
mod tools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::tls::TlsArgs;

pub(crate) use events::{PublishArgs, SubscribeArgs, WatchArgs};
pub(crate) use messages::{ChatArgs, MessageArgs, RoomArgs};
pub(crate) use phone::{CallArgs, PhoneArgs, SessionArgs};
pub(crate) use requests::{OptionsArgs, ReferArgs, RegisterArgs};
pub(crate) use server::{LocationArgs, LocationCommand, ServerArgs};
pub(crate) use tools::{InspectArgs, ResolveArgs};

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
