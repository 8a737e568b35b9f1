//! `sip phone` and `sip call`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sip_message::headers::InstanceId;

use super::{Account, digits, seconds};
use crate::sound::SoundArgs;
use crate::tls::TlsArgs;

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
