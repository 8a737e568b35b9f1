//! `sip subscribe`, `sip watch` and `sip publish`.

use std::time::Duration;

use clap::Args;

use super::{Sender, seconds};

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
