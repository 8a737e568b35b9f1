//! How the layer behaves.

use std::time::Duration;

use sip_message::Method;

use crate::reliable::ReliableProvisionals;
use crate::session_timer::SessionTimer;
use crate::subscription::EventConfig;

/// How the layer behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The layer below: listeners, timers, seed of randomness, limits.
    pub transaction: sip_transaction::Config,
    /// Methods that the application takes; others are answered 405 with this list (RFC 3261 §8.2.1).
    pub allow: Vec<Method>,
    /// Extensions that the application supports; a Require of others is answered 420 (RFC 3261 §8.2.2.3).
    pub supported: Vec<String>,
    /// Puts `ob` into the Contact of calls that are made: what follows in them shall come over the flow that they took
    /// (RFC 5626 §4.3).
    pub outbound: bool,
    /// We host conferences: `isfocus` in the Contact of dialogs tells it to those who join (RFC 4579 §4.2).
    pub focus: bool,
    /// Which provisional responses are sent reliably to a caller that can take them so (RFC 3262 §3).
    pub reliable: ReliableProvisionals,
    /// Asks for session timers and takes part in those of others (RFC 4028); `timer` must be among
    /// [`supported`](Self::supported) then, as [`Config::new`] has it.
    pub session_timer: Option<SessionTimer>,
    /// Gives every call an identifier that both ends have in all its messages (Session-ID, RFC 7989), and so everything that goes on
    /// outside of calls.
    pub session_ids: bool,
    /// Hears and tells who is at the other end when that changes in a call; `from-change` is supported then (RFC 4916).
    pub connected_identity: bool,
    /// The packages of INFO that the application takes, told to peers (RFC 6086); with none of them they are told that packages are known
    /// here. `None`: nothing is told, and INFO with a package is none of ours.
    pub info_packages: Option<Vec<String>>,
    /// Tells where a call has been sent, and wants to hear it: `histinfo` is supported then (RFC 7044).
    pub history: bool,
    /// Targets of 3xx responses that one call tries in all (RFC 3261 §8.1.3.4); 0: a 3xx ends the call.
    pub max_redirections: usize,
    /// How long a call may ring, in either direction: a far end that is gone with its 2xx lost would ring for ever.
    pub ring_limit: Option<Duration>,
    /// Phones of a forked INVITE that answer after the first are calls of their own, instead of being hung up.
    pub keep_forks: bool,
    /// What User-Agent says; empty for none.
    pub user_agent: String,
    /// Calls at one time. A new one over it is answered 486: an INVITE flood must not fill the memory.
    pub max_calls: usize,
    /// Subscriptions: the packages we notify about, durations, limits (RFC 6665). SUBSCRIBE, NOTIFY and REFER are taken
    /// by the layer if `allow` names them.
    pub events: EventConfig,
}

impl Config {
    /// What a phone can do, over this transaction layer.
    pub fn new(transaction: sip_transaction::Config) -> Self {
        Self {
            transaction,
            allow: [
                Method::Invite,
                Method::Ack,
                Method::Cancel,
                Method::Bye,
                Method::Options,
                Method::Info,
                Method::Prack,
                Method::Update,
            ]
            .to_vec(),
            supported: ["100rel", "timer", "replaces", "join", "tdialog"].map(String::from).to_vec(),
            outbound: false,
            focus: false,
            reliable: ReliableProvisionals::Describing,
            session_timer: Some(SessionTimer::default()),
            session_ids: false,
            connected_identity: false,
            info_packages: None,
            history: false,
            max_redirections: Self::MAX_REDIRECTIONS,
            ring_limit: Some(Self::RING_LIMIT),
            keep_forks: false,
            user_agent: String::new(),
            max_calls: Self::MAX_CALLS,
            events: EventConfig::default(),
        }
    }

    /// Enough for a user who moved twice and has a few phones.
    pub const MAX_REDIRECTIONS: usize = 8;

    /// Longer than any person lets it ring, and than the three minutes after which proxies may give up (RFC 3261 §16.7).
    pub const RING_LIMIT: Duration = Duration::from_secs(300);

    /// A phone or a gateway of one process; each call costs some kilobytes.
    pub const MAX_CALLS: usize = 10_000;
}
