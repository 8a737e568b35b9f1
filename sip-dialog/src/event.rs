//! What the layer tells the application, and what the application hands in.

use bytes::Bytes;
use sip_message::headers::{NameAddr, ReferredBy, Replaces, Route};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_transaction::{Failure, ServerTx};
use sip_transport::Path;

use crate::publication::{PublicationChange, PublicationKey};
use crate::subscription::{SubscriberChange, SubscriptionChange, SubscriptionKey};

/// A call: an INVITE, the dialogs that come of it, and everything until its BYE is answered.
///
/// A key, not a pointer: it can be copied, and one that outlives its call is an error, never another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub(crate) u64);

/// A request outside of calls, or inside one beside INVITE and BYE, whose response is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub(crate) u64);

/// A body and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Such as `application/sdp`.
    pub content_type: String,
    /// The octets.
    pub octets: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(text: impl Into<Bytes>) -> Self {
        Self { content_type: "application/sdp".into(), octets: text.into() }
    }
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Who is called.
    pub to: Uri,
    /// Who calls.
    pub from: NameAddr,
    /// The offer; without one the callee offers in its 2xx (RFC 3261 §13.2.1).
    pub offer: Option<Body>,
    /// Proxies to pass first, the outbound proxy among them (RFC 3261 §8.1.1.1: the preloaded route set).
    pub route: Vec<Route>,
    /// Further fields, by name and value.
    pub fields: Vec<(String, String)>,
}

/// Why a call is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// We hung up, and the peer confirmed or could not be asked.
    HungUp,
    /// The peer hung up; its BYE.
    HungUpByPeer(Request),
    /// We cancelled before an answer.
    Cancelled,
    /// The caller cancelled before we answered.
    CancelledByCaller(Request),
    /// The callee, or a proxy for it, refused: the final response.
    Rejected(Response),
    /// We refused with this status.
    Refused(StatusCode),
    /// The peer could not be reached or did not answer.
    Failed(Failure),
    /// The caller never acknowledged our 2xx: a BYE was sent (RFC 3261 §13.3.1.4).
    NotAcknowledged,
    /// The peer no longer knows the dialog, or left a request in it unanswered (RFC 3261 §12.2.1.2).
    Lost(StatusCode),
}

/// What the application must know. Everything that the RFC obliges us to send is sent whether or not the
/// application listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // moved once, from the core to its owner
pub enum Event {
    /// A new call comes in. Answer with `ring`, `accept` or `reject`.
    Incoming {
        /// The call.
        call: CallKey,
        /// The INVITE.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// A provisional response over 100 to our INVITE.
    Progress {
        /// The call.
        call: CallKey,
        /// The response; responses with different To tags come from different phones.
        response: Response,
    },
    /// The call is answered. Further phones that answer the same INVITE are acknowledged and hung up.
    Answered {
        /// The call.
        call: CallKey,
        /// The 2xx.
        response: Response,
        /// The INVITE had no offer: `acknowledge` must be called with the answer to the 2xx's offer.
        answer_due: bool,
    },
    /// The ACK for our 2xx came; it carries the answer when the 2xx carried the offer. Also for re-INVITEs.
    Confirmed {
        /// The call.
        call: CallKey,
        /// The ACK; `None` when a re-INVITE came in its place and proved that the peer has the 2xx (RFC 5407 §3.1.4).
        ack: Option<Request>,
    },
    /// The peer changes the session by a re-INVITE. Answer with `accept` or `reject`.
    Reinvited {
        /// The call.
        call: CallKey,
        /// The re-INVITE; without a body it asks for an offer.
        request: Request,
    },
    /// Our re-INVITE was answered with a 2xx.
    ReinviteAnswered {
        /// The call.
        call: CallKey,
        /// The 2xx.
        response: Response,
        /// The re-INVITE had no offer: `acknowledge` must be called with the answer.
        answer_due: bool,
    },
    /// Our re-INVITE failed; the session stays as it was (RFC 3261 §14.1).
    ReinviteFailed {
        /// The call.
        call: CallKey,
        /// Why. With 491 a [`Event::ReinviteRetry`] follows.
        status: StatusCode,
    },
    /// The wait after a 491 is over: this is the time to try again (RFC 3261 §14.1).
    ReinviteRetry {
        /// The call.
        call: CallKey,
    },
    /// A request that is neither about a call's set-up nor its end. Answer with `respond`.
    Request {
        /// What to answer with.
        tx: ServerTx,
        /// The call in whose dialog it came, if any.
        call: Option<CallKey>,
        /// The request.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// The final response to a request made with `request` or `request_in_call`.
    Response {
        /// The request.
        key: RequestKey,
        /// The response, or why there is none.
        result: Result<Response, Failure>,
        /// The way the response came.
        path: Option<Path>,
    },
    /// What became of a subscription of ours, a REFER's too.
    Subscription {
        /// The subscription.
        key: SubscriptionKey,
        /// What is new.
        what: SubscriptionChange,
    },
    /// Somebody subscribes. Answer at once with `accept_subscription` or `reject_subscription`: no person may be waited for
    /// (RFC 6665 §4.2.1.1); a subscription that needs one is accepted as pending.
    SubscriptionRequested {
        /// The subscription.
        key: SubscriptionKey,
        /// The SUBSCRIBE.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// What became of a subscription that somebody has with us.
    Subscriber {
        /// The subscription.
        key: SubscriptionKey,
        /// What is new.
        what: SubscriberChange,
    },
    /// Somebody asks us to send a request, mostly an INVITE: to be transferred (RFC 3515). Answer at once with
    /// `accept_refer` or `decline_refer`; then tell how it goes with `report`.
    Referred {
        /// The subscription that the REFER makes.
        key: SubscriptionKey,
        /// The call in whose dialog it came.
        call: Option<CallKey>,
        /// The call whose dialog a REFER outside of dialogs names, so proving that it knows it (RFC 4538 §4).
        target: Option<CallKey>,
        /// Whom to call, without header fields.
        refer_to: Uri,
        /// The dialog that the call to make shall replace: an attended transfer (RFC 3891, RFC 5589 §7).
        replaces: Option<Replaces>,
        /// Who refers (RFC 3892).
        referred_by: Option<ReferredBy>,
        /// The REFER.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// What became of a publication of ours.
    Publication {
        /// The publication.
        key: PublicationKey,
        /// What is new.
        what: PublicationChange,
    },
    /// The call is over; its key is no longer valid.
    Ended {
        /// The call.
        call: CallKey,
        /// Why.
        cause: Cause,
    },
}

/// What cannot be done now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call is over, or never was.
    #[error("no such call: it has ended")]
    NoSuchCall,
    /// The call is not at that point: for example, `accept` on a call that we make.
    #[error("the call is {state}; {wanted}")]
    WrongState {
        /// Where the call stands.
        state: &'static str,
        /// What would have to be so.
        wanted: &'static str,
    },
    /// An offer is under way in one direction or the other: wait for its end (RFC 3261 §14.1, §14.2).
    #[error("another re-INVITE is in progress; wait for its answer")]
    Pending,
    /// The message could not be built.
    #[error(transparent)]
    Build(#[from] sip_message::BuildError),
    /// A field of a received message that is needed could not be read.
    #[error(transparent)]
    Header(#[from] sip_message::HeaderError),
    /// A dialog could not be made.
    #[error(transparent)]
    Dialog(#[from] crate::dialog::DialogError),
    /// The transaction layer refused.
    #[error("the transaction layer refused: {0}")]
    Transaction(String),
    /// No listener to name in Contact.
    #[error("there is no listener for this transport; add one to the configuration")]
    NoListener,
    /// The subscription is over, or never was.
    #[error("no such subscription: it has ended")]
    NoSuchSubscription,
    /// It cannot be done with the subscription as it stands.
    #[error("the subscription {0}")]
    Subscription(&'static str),
    /// The publication is over, or never was.
    #[error("no such publication: it has ended")]
    NoSuchPublication,
    /// What the peer would send us back is not in `Config::allow`, so that it would be refused.
    #[error("{0} is not among the methods of Config::allow; add it")]
    NotAllowed(Method),
    /// A limit of the configuration is reached.
    #[error("too many subscriptions: the limit is {0}")]
    TooManySubscriptions(usize),
    /// A limit of the configuration is reached.
    #[error("too many publications: the limit is {0}")]
    TooManyPublications(usize),
    /// A value that a field is made of cannot be written.
    #[error(transparent)]
    Value(#[from] sip_message::ValueError),
    /// A limit of the configuration is reached.
    #[error("too many calls: the limit is {0}")]
    TooManyCalls(usize),
}
