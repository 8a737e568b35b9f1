//! Where a request goes: the decision, rules that make it, and the seam for other makers (RFC 3261 §16.5).
//!
//! ```text
//!                                      ┌▶ Default    the Request-URI says it: a user of ours is looked up
//!  request ──▶ validated ──▶ 407 ──▶ Router ──▶ Rules ─┼▶ Proxy      steps, one after the other
//!                            │(question)               ├▶ Redirect   302
//!                            ▼ 503                     └▶ Reject     4xx, 5xx, 6xx
//! ```
//!
//! [`Rules`] are pure and synchronous. A [`Router`] is code of your own that may wait for something, a database or another
//! server: its question leaves the core with a key and comes back as an answer, like those of the location store. Where it says
//! [`Decision::Default`] the rules go on.
//!
//! Requests in a dialog that was set up through this server follow their routes and are decided on no more.

mod decide;
mod expand;
mod pattern;
pub mod rules;
mod trunk;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use sip_message::{Request, StatusCode, Uri};

use crate::AddressOfRecord;

pub use rules::Rules;

/// Steps of one request: more are cut off. Each may fork, and a caller waits for all of them.
pub const MAX_STEPS: usize = 32;

/// The reason phrase of those who have no right to leave by a route.
pub(crate) const RELAYING_DENIED: &str = "Relaying Denied";

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// What is done without rules: a user of ours is looked up; other places are reached by whoever may.
    #[default]
    Default,
    /// The targets, step by step.
    Proxy(Vec<Step>),
    /// 302 with these contacts (RFC 3261 §21.3.3).
    Redirect(Vec<Uri>),
    /// A failure, with a reason phrase of its own if there is one.
    Reject(StatusCode, Option<String>),
}

impl Decision {
    /// To one target.
    #[must_use]
    pub fn to(target: Destination) -> Self {
        Self::Proxy(vec![Step::to(target)])
    }
}

/// Targets that are tried at the same time, and when.
///
/// ```
/// use sip_server::routing::{Decision, Destination, Step, When};
/// use std::time::Duration;
/// let desk = Destination::Uri("sip:desk@192.0.2.7".parse()?);
/// let voicemail = Destination::Uri("sip:voicemail@192.0.2.9".parse()?);
/// let decision = Decision::Proxy(vec![
///     Step::to(desk).ring(Duration::from_secs(20)),
///     Step::to(voicemail).when(When::NoAnswer),
/// ]);
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Rung together. A user's phones of lower preference follow within the same step.
    pub targets: Vec<Destination>,
    /// How long an INVITE may ring before the step counts as not answered; `None`: until Timer C.
    pub ring: Option<Duration>,
    /// What the step before must have come to.
    pub when: When,
    /// The number of the step, from 0, whose failure [`when`](Step::when) is about; if that was not tried, this one is not either.
    /// `None`: the last one that was tried.
    pub after: Option<usize>,
    /// Who has sent the request on, the first one first: goes into Diversion and History-Info.
    pub diverted: Vec<Diverted>,
}

impl Step {
    /// To one target.
    #[must_use]
    pub fn to(target: Destination) -> Self {
        Self { targets: vec![target], ring: None, when: When::Failed, after: None, diverted: Vec::new() }
    }

    /// To another one at the same time.
    #[must_use]
    pub fn and(mut self, target: Destination) -> Self {
        self.targets.push(target);
        self
    }

    /// Rings for so long.
    #[must_use]
    pub fn ring(mut self, time: Duration) -> Self {
        self.ring = Some(time);
        self
    }

    /// Is tried only after this.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// What `when` says is about this step.
    #[must_use]
    pub fn after(mut self, step: usize) -> Self {
        self.after = Some(step);
        self
    }
}

/// A target of a step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Destination {
    /// A user of ours, looked up when the step is due.
    User(AddressOfRecord),
    /// The new Request-URI. One of our users is looked up.
    Uri(Uri),
    /// Another next hop, the Request-URI as it is.
    NextHop(Uri),
    /// A trunk of the rules, by its name, and the number to call there.
    Trunk {
        /// Its name.
        name: String,
        /// The number before the trunk's own changes.
        number: String,
    },
}

/// What makes a step due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum When {
    /// The step before failed, whatever the reason.
    #[default]
    Failed,
    /// It was busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// Nobody was there to be rung.
    Unreachable,
}

impl When {
    /// Whether a step that came to this makes one due.
    #[must_use]
    pub fn holds(self, outcome: Outcome) -> bool {
        match self {
            Self::Failed => true,
            Self::Busy => outcome == Outcome::Busy,
            Self::NoAnswer => outcome == Outcome::NoAnswer,
            Self::Unreachable => outcome == Outcome::Unreachable,
        }
    }
}

/// What a step came to. Of several branches the one that is named first here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The time to ring was over, or 408 or 480.
    NoAnswer,
    /// 486 or 600.
    Busy,
    /// Any other refusal.
    Refused,
    /// No phone is registered, no answer of any kind came, or 404, 410, 430, 502, 503, 504.
    Unreachable,
}

impl Outcome {
    /// What a status that was received says.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        match status.code() {
            486 | 600 => Self::Busy,
            408 | 480 => Self::NoAnswer,
            404 | 410 | 430 | 502 | 503 | 504 => Self::Unreachable,
            _ => Self::Refused,
        }
    }
}

/// Somebody has sent a request on (RFC 5806, RFC 7044).
#[derive(Clone, Debug, PartialEq)]
pub struct Diverted {
    /// Who.
    pub by: Uri,
    /// To whom.
    pub to: Uri,
    /// Why.
    pub why: DiversionReason,
}

/// Why a request was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiversionReason {
    /// Always.
    Unconditional,
    /// Busy.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// No phone could be reached.
    Unreachable,
    /// Does not want to be disturbed.
    DoNotDisturb,
    /// The phone itself has sent the call on, by a 3xx.
    Deflection,
}

impl DiversionReason {
    /// The `reason` of Diversion (RFC 5806 §5).
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unconditional => "unconditional",
            Self::Busy => "user-busy",
            Self::NoAnswer => "no-answer",
            Self::Unreachable => "unavailable",
            Self::DoNotDisturb => "do-not-disturb",
            Self::Deflection => "deflection",
        }
    }

    /// The status that goes into the Reason of a history (RFC 7044 §10.2; the values of RFC 7544 §7.2).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unconditional | Self::Deflection => StatusCode::MOVED_TEMPORARILY,
            Self::Busy => StatusCode::BUSY_HERE,
            Self::NoAnswer => StatusCode::REQUEST_TIMEOUT,
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DoNotDisturb => StatusCode::TEMPORARILY_UNAVAILABLE,
        }
    }
}

/// A request that waits for its decision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The request, credentials for us taken off.
    pub request: Request,
    /// The user of ours that the Request-URI names.
    pub called: Option<AddressOfRecord>,
    /// The user name that the sender has proved.
    pub user: Option<String>,
    /// Where it came from.
    pub source: IpAddr,
}

/// The decision of a [`Router`], to be awaited.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// Decides in code, and may wait for something. A decision that does not come within
/// [`Limits::question_timeout`](crate::Limits::question_timeout) is a 503 to the caller.
///
/// What it decides is done: it is the router that keeps strangers from calling at the owner's expense.
/// [`Call::user`] is who the caller has proved to be.
pub trait Router: Send + Sync + 'static {
    /// Decides on one request.
    fn decide(&self, call: Call) -> Deciding<'_>;
}
