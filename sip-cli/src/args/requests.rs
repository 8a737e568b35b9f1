//! Commands of one request: `sip options`, `sip refer` and `sip register`.

use clap::Args;

use super::{Account, Sender};
use crate::tls::TlsArgs;

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
