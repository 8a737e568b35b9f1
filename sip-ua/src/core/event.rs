//! What a phone tells its owner, and what it cannot do.

use std::time::Duration;

use sdp::Negotiated;
use sip_dialog::{CallKey, Cause, RequestKey};
use sip_message::{Request, Response, StatusCode, Uri};
use sip_transport::Path;

/// What the owner of a phone must know.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // moved once, from the core to its owner
pub enum PhoneEvent {
    /// The registrar knows us for this long; the refresh is planned.
    Registered(Duration),
    /// The registrar refused, or did not answer; another try is planned.
    RegistrationFailed(StatusCode),
    /// The registrar has forgotten us.
    Unregistered,
    /// Somebody calls. Answer with `ring`, `answer` or `reject`.
    Incoming {
        /// The call.
        call: CallKey,
        /// The INVITE.
        request: Request,
        /// The way it came.
        path: Path,
        /// The call of ours that it takes the place of when it is answered (RFC 3891): a transfer, or a pick-up.
        replaces: Option<CallKey>,
    },
    /// A server sent our call on to this address (RFC 3261 §8.1.3.4).
    Redirected {
        /// The call.
        call: CallKey,
        /// Where it goes now.
        to: Uri,
    },
    /// Media flows before the answer, or changed before it.
    EarlyMedia {
        /// The call.
        call: CallKey,
        /// What is agreed.
        media: Negotiated,
    },
    /// The far end rings, or says what else goes on.
    Progress {
        /// The call.
        call: CallKey,
        /// The provisional response.
        response: Response,
        /// Media before the answer, if the response describes some (RFC 3960).
        early_media: Option<Negotiated>,
    },
    /// The call stands and this is its media; for a call that we answer, before the ACK.
    Established {
        /// The call.
        call: CallKey,
        /// What was agreed.
        media: Negotiated,
    },
    /// The caller knows that we answered.
    Confirmed {
        /// The call.
        call: CallKey,
    },
    /// A re-INVITE of either side changed the media.
    MediaChanged {
        /// The call.
        call: CallKey,
        /// What is agreed now.
        media: Negotiated,
        /// Whether our own re-INVITE did it.
        by_us: bool,
    },
    /// Our hold, resume or refresh was refused; the media stays as it was.
    ChangeRefused {
        /// The call.
        call: CallKey,
        /// How it was refused.
        status: StatusCode,
    },
    /// The final response to a request made with [`PhoneCore::request`](super::PhoneCore::request).
    Response {
        /// The request.
        request: RequestKey,
        /// The response; without one, the status that says why.
        result: Result<Response, StatusCode>,
    },
    /// A message came (RFC 3428), and was answered 200.
    Message {
        /// The call in whose dialog it came, if any.
        call: Option<CallKey>,
        /// The MESSAGE, with its text or whatever it carries.
        request: Request,
    },
    /// A digit came by INFO.
    Digit {
        /// The call.
        call: CallKey,
        /// One of `0-9*#A-D`.
        digit: char,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallKey,
        /// Why.
        cause: Cause,
        /// Whether it ended because no media could be agreed on.
        bad_media: bool,
    },
}

impl PhoneEvent {
    /// The call that it is about, if it is about one.
    pub fn call(&self) -> Option<CallKey> {
        match self {
            Self::Registered(_)
            | Self::RegistrationFailed(_)
            | Self::Unregistered
            | Self::Response { .. } => None,
            Self::Message { call, .. } => *call,
            Self::Incoming { call, .. }
            | Self::Redirected { call, .. }
            | Self::EarlyMedia { call, .. }
            | Self::Progress { call, .. }
            | Self::Established { call, .. }
            | Self::Confirmed { call }
            | Self::MediaChanged { call, .. }
            | Self::ChangeRefused { call, .. }
            | Self::Digit { call, .. }
            | Self::Ended { call, .. } => Some(*call),
        }
    }
}

/// What cannot be done now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// The dialog layer says no.
    #[error(transparent)]
    Dialog(#[from] sip_dialog::Error),
    /// The media address or codecs cannot be described.
    #[error(transparent)]
    Media(#[from] sdp::LocalMediaError),
    /// No offer can be made now.
    #[error(transparent)]
    Offer(#[from] sdp::CreateOfferError),
    /// The peer's offer cannot be taken; it was refused.
    #[error(transparent)]
    Incompatible(#[from] sdp::OfferError),
    /// The call is over, or never was.
    #[error("no such call: it has ended")]
    NoSuchCall,
}
