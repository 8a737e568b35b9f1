//! What the layer is told once, and the bounds on what peers may make it hold.

use crate::Timing;
use crate::overload::Thresholds;
use sip_message::Method;
use sip_transport::Locals;
use std::time::Duration;

/// How a [`Transactions`](crate::Transactions) layer works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Seed of branches, tags and jitter. Fresh operating system randomness in production: who knows it can guess
    /// branches. The same seed and inputs give the same outputs.
    pub rng_seed: [u8; 32],
    /// The listeners: what can be sent from, and what stands in Via.
    pub locals: Locals,
    /// Base values of the timers.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Answers 482 to a request that came before on another way (RFC 3261 §8.2.2.2). For user agents: a proxy
    /// must not, it forwards both.
    pub refuse_merged: bool,
    /// Tells next hops that we heed their reports of overload, and keeps to ourselves the share of new requests that they
    /// ask to be spared (RFC 7339, loss-based). For proxies and gateways; phones have too few requests.
    pub heed_overload: bool,
    /// Offers in the Via of each REGISTER to keep the flow alive that it takes (RFC 6223): who takes it up says so in the Via
    /// of the response. For phones that then do.
    pub offer_keep_alive: bool,
    /// Which of the layers that run side by side this is, below [`MAX_SHARDS`](crate::MAX_SHARDS): what it gives names to (branches,
    /// transactions, tokens, questions) says so, see [`shard_of`](crate::shard_of).
    pub shard: usize,
}

impl Config {
    /// The values of the RFC over these listeners.
    #[must_use]
    pub fn new(rng_seed: [u8; 32], locals: Locals) -> Self {
        Self {
            rng_seed,
            locals,
            timing: Timing::default(),
            limits: Limits::default(),
            refuse_merged: false,
            heed_overload: false,
            offer_keep_alive: false,
            shard: 0,
        }
    }
}

/// Bounds on what can be live at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Server transactions under way, those that wait for repetitions alone not counted. Above, new requests are answered 503
    /// with Retry-After and not remembered; ACK, CANCEL and responses pass always, BYE up to twice this number: refusing it
    /// would keep alive what it ends, but a flood of it must end somewhere too.
    pub server_transactions: usize,
    /// Octets held for requests that have their final response and wait for repetitions, 32 s each. Above, the oldest are
    /// forgotten early; their repetition is a new request then.
    pub completed_octets: usize,
    /// INVITEs with a 2xx that wait for its repetitions, 32 s each (RFC 6026), as many as a server and as a client. Above, the
    /// oldest are forgotten early.
    pub answered: usize,
    /// From which share of [`server_transactions`](Self::server_transactions) on new dialogs, then all that is not essential, then all that is new is refused.
    pub overload: Thresholds,
    /// Client transactions. Above, sending is refused; BYE passes up to twice this number, CANCEL always (there is
    /// at most one for each INVITE).
    pub client_transactions: usize,
    /// Requests without a transaction (ACK) that wait for DNS.
    pub stateless_pending: usize,
    /// Places tried for one request, one after the other (RFC 3263 §4.3).
    pub attempts: usize,
    /// Places remembered because they failed, so that the next request passes them over.
    pub dead_targets: usize,
    /// For how long. Zero: not at all.
    pub dead_for: Duration,
    /// Least value of Retry-After in a 503 of ours; up to as much again is added by chance.
    pub retry_after: Duration,
}

impl Limits {
    /// What a flood of requests with fresh branches can make us hold, at some kilobytes each until they are answered. Enough for
    /// 15,000 requests a second that take 32 s each.
    pub const SERVER_TRANSACTIONS: usize = 500_000;
    /// A flood of requests that are answered at once leaves about 1 KB for each. This is what comes in three seconds at 20,000 a
    /// second, in which a client repeats its request three times.
    pub const COMPLETED_OCTETS: usize = 64 << 20;
    /// A proxy holds up to 5 KB for an answered call. This is what is answered in ten seconds at 10,000 calls a second, in which
    /// a 2xx whose ACK is lost is repeated four times.
    pub const ANSWERED: usize = 100_000;
    /// A peer can make a proxy fork and a user agent answer with requests of their own; same cost each.
    pub const CLIENT_TRANSACTIONS: usize = 500_000;
    /// A peer chooses the host names in Contact and Record-Route, to which ACKs go, and can make each lookup slow.
    pub const STATELESS_PENDING: usize = 10_000;
    /// A zone under a peer's control can name any number of dead hosts; each costs 32 s.
    pub const ATTEMPTS: usize = 8;
    /// A zone under a peer's control can name any number of dead hosts; some 100 octets each.
    pub const DEAD_TARGETS: usize = 1_000;
    /// About as long as it takes to find out again: 64·T1.
    pub const DEAD_FOR: Duration = Duration::from_secs(32);
    /// Clients that were refused shall not come back while the burst lasts.
    pub const RETRY_AFTER: Duration = Duration::from_secs(5);
}

/// How much further BYE gets than other requests.
const BYE_FACTOR: usize = 2;

impl Limits {
    pub(crate) fn servers_for(&self, method: &Method) -> usize {
        raised(self.server_transactions, method)
    }

    pub(crate) fn clients_for(&self, method: &Method) -> usize {
        raised(self.client_transactions, method)
    }
}

fn raised(limit: usize, method: &Method) -> usize {
    if *method == Method::Bye { limit.saturating_mul(BYE_FACTOR) } else { limit }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            server_transactions: Self::SERVER_TRANSACTIONS,
            completed_octets: Self::COMPLETED_OCTETS,
            answered: Self::ANSWERED,
            overload: Thresholds::default(),
            client_transactions: Self::CLIENT_TRANSACTIONS,
            stateless_pending: Self::STATELESS_PENDING,
            attempts: Self::ATTEMPTS,
            dead_targets: Self::DEAD_TARGETS,
            dead_for: Self::DEAD_FOR,
            retry_after: Self::RETRY_AFTER,
        }
    }
}
