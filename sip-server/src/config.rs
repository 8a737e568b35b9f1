//! What a server is told once, and the bounds on what peers may make it hold.

use std::time::Duration;

use sip_auth::Algorithm;
use sip_message::Uri;
use sip_transaction::Timing;
use sip_transport::Locals;
use sip_transport::proxy_protocol::Network;

use crate::calls::CallLimits;
use crate::events::EventConfig;
use crate::messages::MessageConfig;
use crate::protection::ProtectionConfig;
use crate::push::PushConfig;
use crate::routing::Rules;
use crate::{Users, registrar};

/// How a [`ServerCore`](crate::ServerCore) works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Seed of branches, tags, nonces and tickets. Fresh operating system randomness in production.
    pub rng_seed: [u8; 32],
    /// The key of what is written into Record-Route and Path, to be kept over restarts and shared by servers that stand in for
    /// one another: with it, calls that were set up before can be changed and ended afterwards, for their way needs no
    /// other state. `None`: a key of this run alone.
    pub dialog_key: Option<[u8; 32]>,
    /// The listeners.
    pub locals: Locals,
    /// The domains whose registrar and proxy this is; the first one stands for the server's own addresses too. Without any
    /// it keeps no bindings: REGISTER to it gets 405.
    pub domains: Vec<String>,
    /// Who may register and call. `None`: nobody is asked for credentials, anybody may register any address.
    pub users: Option<Users>,
    /// Whether users are in a [`UserStore`](crate::users::UserStore) outside, beside those of `users`: questions then come out of
    /// [`ServerCore::poll_user`](crate::ServerCore::poll_user).
    pub external_users: bool,
    /// The realm of challenges; the first domain if there is none.
    pub realm: Option<String>,
    /// Digest algorithms offered, most wanted first.
    pub algorithms: Vec<Algorithm>,
    /// Whether requests that claim to come from our domains are challenged with 407 (§22.3), if there are users.
    /// Never those in a dialog that was set up through us, nor ACK and CANCEL.
    pub challenge_calls: bool,
    /// Whether anybody's requests to foreign domains are forwarded. A proxy on the open Internet that does so is a gift to
    /// fraud; without it they are forwarded for authenticated users and in dialogs only.
    pub open_relay: bool,
    /// Forward every initial request that is not for the server itself here, and look nothing up.
    pub next_hop: Option<Uri>,
    /// Whether to stay in the path of dialogs (§16.6 step 4).
    pub record_route: bool,
    /// Tells next hops that we heed their reports of overload, and answers 503 ourselves to the share of new requests that they
    /// ask to be spared (RFC 7339).
    pub heed_overload: bool,
    /// Whether 300, 301 and 302 are followed here instead of by the caller (§16.7 step 4): with the caller's rights, by the rules that
    /// hold for calls of the caller's own. Never in dialogs, and not where an [external router](Config::external_router) decides.
    pub recurse_redirects: bool,
    /// Whether callers who support it (`Supported: 199`) are told of early dialogs that are over while the call is tried elsewhere
    /// (RFC 6228).
    pub early_ends: bool,
    /// The session timer to ask for in every call (RFC 4028 §8). `None`: that is left to the phones. Without
    /// [`record_route`](Self::record_route) only the first request of a call is seen.
    pub session_timer: Option<SessionTimer>,
    /// How the registrar works.
    pub registrar: registrar::Config,
    /// The proxies that users of ours shall pass on their way out, `lr` in each, the first one first: Service-Route of every
    /// registration (RFC 3608).
    pub service_route: Vec<Uri>,
    /// Phones that are woken by push notifications (RFC 8599): which services there are. Notifications to be sent then come out of
    /// [`ServerCore::poll_push`](crate::ServerCore::poll_push).
    pub push: Option<PushConfig>,
    /// How long a branch of an INVITE may ring without a word: Timer C (§16.6 step 11), more than three minutes.
    pub timer_c: Duration,
    /// Base values of the transaction timers.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Whether the location store is outside: questions then come out of
    /// [`ServerCore::poll_question`](crate::ServerCore::poll_question). Otherwise a table in memory answers at once.
    pub external_location: bool,
    /// Whether other servers read and write the same location store. A phone that is reached over its connection or through its NAT is
    /// then stored with a Path to this server (RFC 3327, RFC 5626 §5.1), by which the others send their requests to it: they and
    /// this server have to have the same [`dialog_key`](Self::dialog_key), and to reach each other's listeners.
    pub shared_location: bool,
    /// Follow calls until they end and write records of them, within these limits. `None`: an answered call costs no memory.
    pub call_records: Option<CallLimits>,
    /// Servers that are trusted to say who calls, and who trust us (RFC 3325), beside the gateways of trunks.
    pub trusted_peers: Vec<Network>,
    /// Answer SUBSCRIBE and PUBLISH for the users: presence, messages that wait, registrations. `None`: they go to the phones as
    /// all requests do.
    pub events: Option<EventConfig>,
    /// Whether subscriptions and publications are kept outside, to outlive the process: changes come out of
    /// [`poll_event_changes`](crate::ServerCore::poll_event_changes).
    pub keep_events: bool,
    /// Keep messages for users who are away, and deliver them when they come. `None`: they are refused with 480.
    pub messages: Option<MessageConfig>,
    /// Whether the store of messages is outside: questions then come out of
    /// [`ServerCore::poll_message_question`](crate::ServerCore::poll_message_question). Otherwise they are in memory.
    pub external_messages: bool,
    /// Watch sources, and do not hear those that guess passwords, look for users, scan or flood. `None`: all are heard.
    pub protection: Option<ProtectionConfig>,
    /// Where requests go.
    pub rules: Rules,
    /// Whether a [`Router`](crate::routing::Router) outside is asked first: questions then come out of
    /// [`ServerCore::poll_call`](crate::ServerCore::poll_call).
    pub external_router: bool,
}

impl Config {
    /// RFC 3261 §16.6 step 11: "MUST be larger than 3 minutes".
    pub const TIMER_C: Duration = Duration::from_secs(185);

    /// A registrar and proxy for no domain yet over these listeners, with the values of the RFC.
    #[must_use]
    pub fn new(rng_seed: [u8; 32], locals: Locals) -> Self {
        Self {
            rng_seed,
            dialog_key: None,
            locals,
            domains: Vec::new(),
            users: None,
            external_users: false,
            realm: None,
            algorithms: vec![Algorithm::SHA_256, Algorithm::MD5],
            challenge_calls: true,
            open_relay: false,
            next_hop: None,
            record_route: true,
            heed_overload: false,
            recurse_redirects: false,
            early_ends: true,
            session_timer: None,
            registrar: registrar::Config::default(),
            service_route: Vec::new(),
            push: None,
            timer_c: Self::TIMER_C,
            timing: Timing::default(),
            limits: Limits::default(),
            external_location: false,
            shared_location: false,
            call_records: None,
            trusted_peers: Vec::new(),
            events: None,
            keep_events: false,
            messages: None,
            external_messages: false,
            protection: None,
            rules: Rules::default(),
            external_router: false,
        }
    }
}

/// A session timer that the proxy asks for (RFC 4028 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The longest session interval, in seconds: put into requests without one, and in the stead of longer ones.
    pub expires: u32,
    /// The shortest one, in seconds, at least 90: shorter ones get 422, or are raised for who does not know timers.
    pub min: u32,
}

/// Bounds on what can be live at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Transactions.
    pub transactions: sip_transaction::Limits,
    /// Response contexts of the proxy (§16). Above, new requests get 503 with Retry-After; BYE passes.
    pub contexts: usize,
    /// Branches of one request, all groups of preference together.
    pub branches: usize,
    /// Bindings in the table in memory.
    pub bindings: usize,
    /// Questions to an external location store that wait for their answer. Above, requests get 503.
    pub questions: usize,
    /// How long the answer of an external store is awaited.
    pub question_timeout: Duration,
    /// How long a durable store may take for a change.
    pub durable_timeout: Duration,
}

impl Limits {
    /// A context lives as long as its transactions, 32 s after the answer, and holds 1 to 2 KB.
    pub const CONTEXTS: usize = 500_000;
    /// One request must not become a flood (RFC 5393 §1).
    pub const BRANCHES: usize = 16;
    /// About 300 octets each.
    pub const BINDINGS: usize = 1_000_000;
    /// Each holds its request; a store that stands still must not take all memory.
    pub const QUESTIONS: usize = 10_000;
    /// Well under the 32 s after which a client has given up.
    pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(8);
    /// A hundred times what a disk takes; a disk that needs longer stands still, and the phone had better try again later.
    pub const DURABLE_TIMEOUT: Duration = Duration::from_secs(2);
}

impl Limits {
    /// The share of one of so many cores.
    pub(crate) fn shared_out(self, shards: usize) -> Self {
        let share = |limit: usize| limit.div_ceil(shards.max(1));
        let mut transactions = self.transactions;
        transactions.server_transactions = share(transactions.server_transactions);
        transactions.client_transactions = share(transactions.client_transactions);
        transactions.completed_octets = share(transactions.completed_octets);
        transactions.answered = share(transactions.answered);
        Self { transactions, contexts: share(self.contexts), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: sip_transaction::Limits::default(),
            contexts: Self::CONTEXTS,
            branches: Self::BRANCHES,
            bindings: Self::BINDINGS,
            questions: Self::QUESTIONS,
            question_timeout: Self::QUESTION_TIMEOUT,
            durable_timeout: Self::DURABLE_TIMEOUT,
        }
    }
}

/// Why a configuration cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing to listen on.
    #[error("there is no listener; give at least one, such as udp:0.0.0.0:5060")]
    NoListener,
    /// A domain that can stand in no URI.
    #[error("'{0}' is no host name or address")]
    Domain(String),
    /// Timer C at or under three minutes (RFC 3261 §16.6 step 11).
    #[error("Timer C must be more than 180 s")]
    TimerC,
    /// A next hop that names no host.
    #[error("the next hop {0} is no sip or sips URI")]
    NextHop(Uri),
    /// Digest authentication cannot be set up.
    #[error(transparent)]
    Authentication(#[from] sip_auth::VerifierConfigError),
}

/// What has happened so far, in numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// REGISTERs answered 200.
    pub registered: u64,
    /// REGISTERs refused, challenges not counted.
    pub registrations_refused: u64,
    /// Challenges sent, 401 and 407.
    pub challenges: u64,
    /// Challenges because of a wrong user name or password.
    pub wrong_credentials: u64,
    /// Requests for which a response context was opened.
    pub proxied: u64,
    /// Branches sent.
    pub branches: u64,
    /// Branches that were sent over another flow of the same user agent, because one was dead or silent (RFC 5626 §7).
    pub other_flows: u64,
    /// Branches that were sent to another gateway of their trunk.
    pub other_gateways: u64,
    /// Calls that found a trunk with as many calls as it may have.
    pub trunks_full: u64,
    /// Gateways asked whether they are there.
    pub gateway_checks: u64,
    /// REGISTERs sent to registrars of trunks.
    pub trunk_registers: u64,
    /// Challenges of trunks that were answered.
    pub proved: u64,
    /// 199s sent of early dialogs that were over (RFC 6228).
    pub early_ends: u64,
    /// Notifications asked for, to wake phones (RFC 8599).
    pub pushes: u64,
    /// Notifications that could not be sent.
    pub pushes_failed: u64,
    /// Redirections that were followed (§16.7 step 4).
    pub redirects_followed: u64,
    /// Steps that nobody answered in the time that they may ring.
    pub rang_out: u64,
    /// Requests that a rule or a router refused or sent elsewhere.
    pub routed: u64,
    /// Bindings removed because their connection was closed (RFC 5626 §7).
    pub flows_closed: u64,
    /// Requests that the proxy answered itself instead of forwarding.
    pub refused: u64,
    /// Requests to foreign domains that were not forwarded.
    pub relays_denied: u64,
    /// Requests answered 482.
    pub loops: u64,
    /// Requests forwarded without a transaction (§16.11).
    pub stateless: u64,
    /// ACKs forwarded.
    pub acks_forwarded: u64,
    /// ACKs dropped: not for us to forward.
    pub acks_dropped: u64,
    /// Responses forwarded.
    pub responses_forwarded: u64,
    /// Responses dropped: strays (RFC 6026 §7.3), without a further Via, or too late.
    pub responses_dropped: u64,
    /// Branches that Timer C ended.
    pub timer_c: u64,
    /// Requests answered 503 because of a limit.
    pub overloaded: u64,
    /// Subscriptions accepted (RFC 6665).
    pub subscriptions: u64,
    /// Publications accepted: new, refreshed, changed, removed (RFC 3903).
    pub publications: u64,
    /// NOTIFYs sent.
    pub notifications: u64,
    /// Messages kept for users who were away.
    pub messages_kept: u64,
    /// Of those, delivered.
    pub messages_delivered: u64,
    /// Of those, refused by a phone for good, or too old.
    pub messages_dropped: u64,
    /// Questions that an external location store did not answer in time.
    pub questions_unanswered: u64,
}

impl std::ops::AddAssign for Counters {
    /// What cores side by side have counted, together.
    fn add_assign(&mut self, other: Self) {
        macro_rules! add {
            ($($field:ident),*) => {{
                let Self { $($field),* } = other;
                $(self.$field = self.$field.saturating_add($field);)*
            }};
        }
        add!(
            registered,
            registrations_refused,
            challenges,
            wrong_credentials,
            proxied,
            branches,
            other_flows,
            other_gateways,
            trunks_full,
            gateway_checks,
            trunk_registers,
            proved,
            early_ends,
            pushes,
            pushes_failed,
            redirects_followed,
            rang_out,
            routed,
            flows_closed,
            refused,
            relays_denied,
            loops,
            stateless,
            acks_forwarded,
            acks_dropped,
            responses_forwarded,
            responses_dropped,
            timer_c,
            overloaded,
            subscriptions,
            publications,
            notifications,
            messages_kept,
            messages_delivered,
            messages_dropped,
            questions_unanswered
        );
    }
}

pub(crate) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
