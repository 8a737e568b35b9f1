//! What can go wrong, by who is to blame.

use sip_message::{BuildError, HeaderError, Method, Request, Response, StatusCode, ValueError};
use sip_transport::resolve::Unreachable;

/// Why a request got no final response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody answered in time: Timer B or F (RFC 3261 §17.1), or 64·T1 after a CANCEL (§9.1).
    #[error("no final response in time")]
    Timeout,
    /// It could not be sent, to the last place that was tried.
    #[error("the request could not be sent: {0}")]
    Transport(sip_transport::SendError),
    /// There is no place to send it to.
    #[error("the destination cannot be reached: {0}")]
    Resolve(Unreachable),
    /// Whoever it could be sent to has asked to be spared (RFC 7339 §5.5): to be answered 503 without Retry-After.
    #[error("the next hop is overloaded and asked to be spared")]
    Overloaded,
    /// It was cancelled before it was sent.
    #[error("cancelled before it was sent")]
    Cancelled,
    /// This host has left the address that the request was sent from, and it could not be sent again.
    #[error("this host has another address now, and the request could not be repeated from there")]
    Moved,
    /// Our own element was shut down.
    #[error("the endpoint was closed")]
    Closed,
}

impl Failure {
    /// The status that a transaction user acts upon as if it had been received: 408 for a timeout and for what was left behind, 503 for a
    /// transport error (RFC 3261 §8.1.3.1), 487 for a request that was cancelled.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Timeout | Self::Moved => StatusCode::REQUEST_TIMEOUT,
            Self::Transport(_) | Self::Resolve(_) | Self::Overloaded | Self::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Cancelled => StatusCode::REQUEST_TERMINATED,
        }
    }
}

/// A request that was not accepted for sending. It comes back.
#[derive(Debug, thiserror::Error)]
#[error("{} was not sent: {reason}", request.method())]
pub struct SendError {
    /// The request as it was given.
    pub request: Box<Request>,
    /// Why.
    #[source]
    pub reason: Unsendable,
}

/// Why a request was not accepted for sending.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsendable {
    /// [`Limits::client_transactions`](crate::Limits::client_transactions) or
    /// [`Limits::stateless_pending`](crate::Limits::stateless_pending) is reached.
    #[error("{0} requests are under way already, that is the limit")]
    TooMany(usize),
    /// ACK has no transaction of its own, and a CANCEL belongs to its INVITE.
    #[error("{0} has no client transaction of its own; use send_stateless() for ACK, cancel() for CANCEL")]
    Method(Method),
    /// A field without which nobody can match the response.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The Request-URI does not follow its grammar.
    #[error("the Request-URI is malformed: {0}")]
    Uri(ValueError),
    /// CSeq names another method than the request (RFC 3261 §8.1.1.5).
    #[error("CSeq says {cseq}, the request is {method}; make them the same")]
    CSeq {
        /// The method in CSeq.
        cseq: Method,
        /// The method of the request.
        method: Method,
    },
}

/// A response that was not accepted. It comes back.
#[derive(Debug, thiserror::Error)]
#[error("{} was not sent: {reason}", response.status())]
pub struct RespondError {
    /// The response as it was given.
    pub response: Box<Response>,
    /// Why.
    #[source]
    pub reason: Unrespondable,
}

/// Why a response was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrespondable {
    /// The transaction is over, or the key was never one.
    #[error("the transaction is over")]
    Stale,
    /// A final response was given before.
    #[error("a final response was given before")]
    AlreadyFinal,
    /// A request other than INVITE gets no provisional response but 100 (RFC 4320 §4.1).
    #[error("a request other than INVITE must not be answered with this provisional response (RFC 4320)")]
    Provisional,
    /// The response cannot be written.
    #[error("the response cannot be written")]
    Unwritable,
}

/// Why a transaction cannot be cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// The transaction is over, or the key was never one.
    #[error("the transaction is over")]
    Stale,
    /// The final response is here: end the dialog with BYE instead.
    #[error("the final response is here already")]
    AlreadyFinal,
    /// Only INVITE is cancelled (RFC 3261 §9.1).
    #[error("{0} cannot be cancelled, only INVITE can")]
    Method(Method),
    /// An additional field cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
}
