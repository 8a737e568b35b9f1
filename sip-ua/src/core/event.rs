//! What a phone tells its owner, and what it cannot do.

use std::time::Duration;

use sdp::Negotiated;
use sip_dialog::messaging::cpim::Cpim;
use sip_dialog::messaging::imdn::Notification;
use sip_dialog::{
    Body, CallKey, Cause, PublicationChange, PublicationKey, RequestKey, SubscriberChange,
    SubscriptionChange, SubscriptionKey,
};
use sip_message::headers::{NameAddr, ReferredBy};
use sip_message::{Request, Response, StatusCode, Uri};
use sip_transport::Path;

use super::{MessageKey, Peer};

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
    /// The peer of a call is somebody else from now on, or tells who it is after all (RFC 4916 §4.4.2). Nobody has proved it.
    PeerIdentified {
        /// The call.
        call: CallKey,
        /// Who it says it is.
        identity: NameAddr,
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
        /// The text; empty if it is of a type that the owner reads itself.
        text: String,
        /// The `message/cpim` that it came in.
        envelope: Option<Box<Cpim>>,
    },
    /// The final response to a message of ours that waited its turn.
    MessageAnswered {
        /// The message.
        message: MessageKey,
        /// The response; without one, the status that says why.
        result: Result<Response, StatusCode>,
    },
    /// Somebody we chat with is writing, or no longer (RFC 3994).
    Composing {
        /// Who.
        peer: Peer,
        /// Whether they are.
        active: bool,
    },
    /// A message of ours was delivered, or shown (RFC 5438).
    Receipt {
        /// By whom.
        peer: Peer,
        /// Its Message-ID.
        id: String,
        /// What became of it.
        notification: Notification,
    },
    /// How a transfer goes that we asked for: the status that the peer reports of the call to the new party, or that of its
    /// refusal. From 200 on it is the last one.
    Transfer {
        /// The call whose peer we asked.
        call: CallKey,
        /// The transfer.
        transfer: SubscriptionKey,
        /// The status.
        status: StatusCode,
    },
    /// A transfer that we asked for is reported on no longer.
    TransferOver {
        /// The call whose peer we asked.
        call: CallKey,
        /// The transfer.
        transfer: SubscriptionKey,
    },
    /// A peer asks us to call somebody. Answer with `follow` or `decline_referral`; who says nothing for 16 s has declined.
    Referred {
        /// What it asks for.
        referral: SubscriptionKey,
        /// The call whose peer asks, if it has proved that it is one.
        call: Option<CallKey>,
        /// Whom to call.
        to: Uri,
        /// Who asks, as it says (RFC 3892).
        by: Option<ReferredBy>,
        /// The new call takes the place of another one that the peer has (RFC 3891).
        attended: bool,
    },
    /// Somebody subscribes to a package that we notify about. Answer with `accept_subscription` or `reject_subscription`.
    SubscriptionRequested {
        /// The subscription.
        key: SubscriptionKey,
        /// The SUBSCRIBE.
        request: Request,
    },
    /// News of a subscription that somebody has with us.
    Subscriber {
        /// The subscription.
        key: SubscriptionKey,
        /// What is new.
        what: SubscriberChange,
    },
    /// News of a subscription of ours.
    Subscription {
        /// The subscription.
        key: SubscriptionKey,
        /// What is new.
        what: SubscriptionChange,
    },
    /// News of a publication of ours.
    Publication {
        /// The publication.
        key: PublicationKey,
        /// What is new.
        what: PublicationChange,
    },
    /// A digit came by INFO.
    Digit {
        /// The call.
        call: CallKey,
        /// One of `0-9*#A-D`.
        digit: char,
    },
    /// An INFO of a package that we take came, and was answered 200 (RFC 6086). [`PhoneCore::infos_taken`](super::PhoneCore::infos_taken) makes room for
    /// others.
    Info {
        /// The call.
        call: CallKey,
        /// What it says.
        info: Box<PackagedInfo>,
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

/// An INFO of a package (RFC 6086).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagedInfo {
    /// The package, as we have named it.
    pub package: String,
    /// Content-Disposition, if there is one: the package says what it may be.
    pub disposition: Option<String>,
    /// The body, if there is one.
    pub body: Option<Body>,
}

impl PhoneEvent {
    /// The call that it is about, if it is about one.
    pub fn call(&self) -> Option<CallKey> {
        match self {
            Self::Registered(_)
            | Self::RegistrationFailed(_)
            | Self::Unregistered
            | Self::Response { .. }
            | Self::MessageAnswered { .. }
            | Self::Composing { .. }
            | Self::Receipt { .. }
            | Self::SubscriptionRequested { .. }
            | Self::Subscriber { .. }
            | Self::Subscription { .. }
            | Self::Publication { .. } => None,
            Self::Message { call, .. } | Self::Referred { call, .. } => *call,
            Self::Transfer { call, .. } | Self::TransferOver { call, .. } => Some(*call),
            Self::Incoming { call, .. }
            | Self::Redirected { call, .. }
            | Self::EarlyMedia { call, .. }
            | Self::Progress { call, .. }
            | Self::Established { call, .. }
            | Self::Confirmed { call }
            | Self::MediaChanged { call, .. }
            | Self::PeerIdentified { call, .. }
            | Self::ChangeRefused { call, .. }
            | Self::Digit { call, .. }
            | Self::Info { call, .. }
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
    /// RFC 3428 §8: one message at a time to each destination.
    #[error("too many messages wait to be answered by this destination; try again when one was")]
    TooManyMessages,
    /// The call is over, or never was.
    #[error("no such call: it has ended")]
    NoSuchCall,
}
