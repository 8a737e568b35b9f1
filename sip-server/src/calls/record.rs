//! One call as it is written down.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sip_transport::Transport;

/// What ended a call, or an attempt at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// It was never answered: [`CallRecord::status`] says why.
    Refused,
    /// The caller gave up before an answer came.
    Cancelled,
    /// The caller hung up.
    Caller,
    /// Who was called hung up.
    Callee,
    /// Nothing was heard of the call for [`CallLimits::patience`](crate::calls::CallLimits::patience).
    Lost,
    /// There were more calls than are followed, so nobody waited for its end.
    NotFollowed,
    /// The server ended before the call did.
    Shutdown,
}

impl Ending {
    /// A word for it in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Lost => "lost",
            Self::NotFollowed => "not-followed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One call, or one attempt at a call. Times are since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallRecord {
    /// Call-ID.
    pub call_id: String,
    /// The URI of the caller's From.
    pub caller: String,
    /// The URI of To: whom the caller asked for.
    pub called: String,
    /// The Request-URI as it came.
    pub request_uri: String,
    /// The user whose password proved the caller to be ours.
    pub user: Option<String>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// By which transport.
    pub transport: Transport,
    /// The URI of the Contact that answered.
    pub answered_by: Option<String>,
    /// When the INVITE came.
    pub started: Duration,
    /// When the first 180 or 183 came.
    pub ringing: Option<Duration>,
    /// When the 2xx came.
    pub answered: Option<Duration>,
    /// When the BYE passed, or the final response that was no answer. `None` if nobody knows.
    pub ended: Option<Duration>,
    /// The final response to the INVITE.
    pub status: u16,
    /// What ended it.
    pub ending: Ending,
    /// Reason of the BYE or of the response (RFC 3326), as it stands there.
    pub cause: Option<String>,
}

impl CallRecord {
    /// From answer to end, if both are known.
    #[must_use]
    pub fn talked(&self) -> Option<Duration> {
        self.ended?.checked_sub(self.answered?)
    }

    /// The record as a JSON object. Times are in seconds since the Unix epoch, to a millisecond; what is not known is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "call_id": self.call_id,
            "caller": self.caller,
            "called": self.called,
            "request_uri": self.request_uri,
            "source": self.source.to_string(),
            "transport": self.transport.uri_param(),
            "started": seconds(self.started),
            "status": self.status,
            "ending": self.ending.as_str(),
        });
        let optional = [
            ("user", self.user.as_deref().map(Value::from)),
            ("answered_by", self.answered_by.as_deref().map(Value::from)),
            ("ringing", self.ringing.map(seconds)),
            ("answered", self.answered.map(seconds)),
            ("ended", self.ended.map(seconds)),
            ("talked", self.talked().map(seconds)),
            ("cause", self.cause.as_deref().map(Value::from)),
        ];
        if let Some(object) = object.as_object_mut() {
            object.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        object
    }
}

fn seconds(time: Duration) -> Value {
    Value::from(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64())
}
