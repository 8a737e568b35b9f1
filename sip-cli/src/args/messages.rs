//! `sip message`, `sip chat` and `sip room`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Account, Sender, SessionArgs, seconds};
use crate::tls::TlsArgs;

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
