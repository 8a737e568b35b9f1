//! Phones that sleep until they are woken by a push notification (RFC 8599).
//!
//! ```text
//!  phone            server             PushGateway           phone's operating system
//!    │──REGISTER──▶│  pn-provider, pn-prid in the Contact
//!    │◀─────200────│  Feature-Caps: *;+sip.pns="fcm"
//!    ╳ sleeps      │
//!                  │◀──INVITE
//!                  │──────wake───────────▶│──────notification──────▶│
//!    │──REGISTER──▶│◀─────────────────────────────────────────────────│ wakes
//!    │◀─────200────│
//!    │◀───INVITE───│  as another branch of the call
//! ```
//!
//! Phones that have a connection that is open are awake and called at once. What a notification looks like is the affair of the
//! [`PushGateway`]. A phone that does not wake by itself is woken before its binding ends, too.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sip_message::Uri;

/// How phones are woken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushConfig {
    /// The values of `pn-provider` that the gateway knows, `fcm`, `apns`, `webpush`. A phone that wants another gets 555.
    pub providers: Vec<String>,
    /// How long an INVITE waits for a phone that was woken.
    pub wait: Duration,
    /// The same for other requests, whose senders give up after 32 s (RFC 4320).
    pub wait_others: Duration,
}

impl PushConfig {
    /// "Typically around 2 seconds" (RFC 8599 §5.6.2), and room for a bad network.
    pub const WAIT: Duration = Duration::from_secs(20);
    /// A good part of the 32 s has to be left for the phone's answer.
    pub const WAIT_OTHERS: Duration = Duration::from_secs(6);

    /// For these providers.
    #[must_use]
    pub fn new(providers: &[&str]) -> Self {
        Self {
            providers: providers.iter().map(|name| (*name).to_owned()).collect(),
            wait: Self::WAIT,
            wait_others: Self::WAIT_OTHERS,
        }
    }
}

/// A notification to be sent: what the phone wrote into its Contact (RFC 8599 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Push {
    /// `pn-provider`: which service.
    pub provider: String,
    /// `pn-prid`: which phone. Whoever knows it may be able to wake it: a secret.
    pub prid: String,
    /// `pn-param`: what else the service needs.
    pub param: Option<String>,
}

impl Push {
    /// Of a contact's URI; `None` unless it has `pn-provider` with a value and `pn-prid`.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        let value =
            |name: &str| uri.param(name).flatten().map(str::to_owned).filter(|value| !value.is_empty());
        Some(Self { provider: value("pn-provider")?, prid: value("pn-prid")?, param: value("pn-param") })
    }
}

/// Why a notification was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The service knows no such phone (any more).
    #[error("the push service knows no such phone")]
    Unknown,
    /// The service cannot be reached, or refuses for now.
    #[error("the push service is unavailable")]
    Unavailable,
}

/// The answer of a [`PushGateway`], to be awaited.
pub type Pushing<'a> = Pin<Box<dyn Future<Output = Result<(), PushError>> + Send + 'a>>;

/// Sends notifications: a client of the services of phone makers.
pub trait PushGateway: Send + Sync + 'static {
    /// Sends one. What comes of it is a REGISTER of the phone; an error is a 480 to those who call it.
    fn wake(&self, push: Push) -> Pushing<'_>;
}
