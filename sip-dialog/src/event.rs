//! What the layer tells the application, and what the application hands in.

use bytes::Bytes;
use sip_message::headers::{NameAddr, ReferredBy, Replaces, Route};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_transaction::{Failure, ServerTx};
use sip_transport::Path;

use crate::dialog::DialogId;
use crate::offer_answer::Described;
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

/// An offer of the peer in UPDATE or PRACK that waits for our answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfferKey {
    /// The call.
    pub call: CallKey,
    /// The dialog of the call in which it came.
    pub dialog: DialogId,
    pub(crate) tx: ServerTx,
}

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
    HungUpByPeer(Box<Request>),
    /// We cancelled before an answer.
    Cancelled,
    /// The caller cancelled before we answered.
    CancelledByCaller(Box<Request>),
    /// The callee, or a proxy for it, refused: the final response.
    Rejected(Box<Response>),
    /// We refused with this status.
    Refused(StatusCode),
    /// The peer could not be reached or did not answer.
    Failed(Failure),
    /// The caller never acknowledged our 2xx: a BYE was sent (RFC 3261 §13.3.1.4). Or our reliable provisional response: the
    /// INVITE was refused with 504 (RFC 3262 §3).
    NotAcknowledged,
    /// It rang for longer than [`Config::ring_limit`](crate::Config::ring_limit), or than the caller's Expires.
    NoAnswer,
    /// Another call took its place (RFC 3891).
    ReplacedBy(CallKey),
    /// Nobody refreshed the session in time: a BYE was sent (RFC 4028 §10).
    SessionExpired,
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
        /// The call that this one is to take the place of (RFC 3891): its BYE or CANCEL is sent when this one is accepted. Who
        /// may do that is the application's to judge, by the caller's identity or its Referred-By (§3).
        replaces: Option<CallKey>,
        /// The call that this one wants to join (RFC 3911): whoever accepts mixes the two.
        joins: Option<CallKey>,
    },
    /// A provisional response over 100 to our INVITE.
    Progress {
        /// The call.
        call: CallKey,
        /// The early dialog, if the response makes one: each phone of a fork has its own.
        dialog: Option<DialogId>,
        /// The response.
        response: Response,
        /// What its body is. [`Described::Offer`]: `acknowledge_provisional` must be called with the answer.
        described: Described,
    },
    /// A 3xx sent our INVITE on (RFC 3261 §8.1.3.4).
    Redirected {
        /// The call.
        call: CallKey,
        /// Where it goes now.
        to: Uri,
    },
    /// Our offer was refused, and the second one is made ([`Dialogs::offer_if_refused`](crate::Dialogs::offer_if_refused)).
    OfferedAgain {
        /// The call.
        call: CallKey,
    },
    /// The call is answered. Further phones that answer the same INVITE are acknowledged and hung up, or told by
    /// [`Event::Forked`] if [`Config::keep_forks`](crate::Config::keep_forks) is set; of a call that was given up, all of them
    /// are hung up.
    Answered {
        /// The call.
        call: CallKey,
        /// The dialog, which may have been early before.
        dialog: DialogId,
        /// The 2xx.
        response: Response,
        /// What its body is. [`Described::Offer`]: the INVITE had none, and `acknowledge` must be called with the answer.
        described: Described,
    },
    /// Another phone answered the same INVITE: a call of its own, which the application keeps or hangs up.
    Forked {
        /// The new call.
        call: CallKey,
        /// The 2xx.
        response: Response,
        /// As in [`Event::Answered`].
        described: Described,
    },
    /// The PRACK for a reliable provisional response of ours came (RFC 3262).
    ProvisionalAcknowledged {
        /// The call.
        call: CallKey,
        /// The PRACK.
        prack: Request,
        /// What its body is: the answer, if our response was the offer.
        described: Described,
    },
    /// The peer offers a change by UPDATE, or by PRACK. Answer with `answer_offer` or `refuse_offer`, at once: neither waits for
    /// a person (RFC 3311 §5.2).
    Offered {
        /// What to answer.
        offer: OfferKey,
        /// The request with the offer.
        request: Request,
    },
    /// Our UPDATE was answered with a 2xx.
    UpdateAnswered {
        /// The call.
        call: CallKey,
        /// The dialog of the UPDATE.
        dialog: DialogId,
        /// The 2xx.
        response: Response,
        /// What its body is.
        described: Described,
    },
    /// Our UPDATE failed; the session stays as it was (RFC 3311 §5.3).
    UpdateFailed {
        /// The call.
        call: CallKey,
        /// The dialog of the UPDATE.
        dialog: DialogId,
        /// Why. With 491 a [`Event::ReinviteRetry`] follows.
        status: StatusCode,
    },
    /// The peer of a call is somebody else from now on, or tells who it is after all (RFC 4916 §4.4.2). Nobody has proved it.
    PeerIdentified {
        /// The call.
        call: CallKey,
        /// Who it says it is.
        identity: NameAddr,
    },
    /// The session must be refreshed, and the peer takes no UPDATE: send a re-INVITE with the offer as it was (RFC 4028 §7.4).
    RefreshDue {
        /// The call.
        call: CallKey,
    },
    /// The ACK for our 2xx came; it carries the answer when the 2xx carried the offer. Also for re-INVITEs.
    Confirmed {
        /// The call.
        call: CallKey,
        /// The ACK; `None` when a re-INVITE came in its place and proved that the peer has the 2xx (RFC 5407 §3.1.4).
        ack: Option<Request>,
    },
    /// The PRACK with our answer to the peer's offer was refused, mostly because it came too late: the peer has not taken the
    /// answer, and the session is what it was before the offer.
    AnswerRefused {
        /// The call.
        call: CallKey,
        /// The dialog of the PRACK.
        dialog: DialogId,
        /// With this status.
        status: StatusCode,
    },
    /// The peer changes the session by a re-INVITE. Answer with `accept` or `reject`.
    Reinvited {
        /// The call.
        call: CallKey,
        /// The re-INVITE; without a body it asks for an offer.
        request: Request,
    },
    /// The peer gave its re-INVITE up before we answered it, or never acknowledged a reliable response to it. The session stays
    /// as it was.
    ReinviteCancelled {
        /// The call.
        call: CallKey,
    },
    /// A provisional response over 100 to our re-INVITE.
    ReinviteProgress {
        /// The call.
        call: CallKey,
        /// The response.
        response: Response,
        /// What its body is. [`Described::Offer`]: `acknowledge_provisional` must be called with the answer.
        described: Described,
    },
    /// Our re-INVITE was answered with a 2xx.
    ReinviteAnswered {
        /// The call.
        call: CallKey,
        /// The 2xx.
        response: Response,
        /// What its body is. [`Described::Offer`]: `acknowledge` must be called with the answer.
        described: Described,
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
    /// A session description may not stand in this message now, or one must (RFC 6337 §2.2).
    #[error("offer and answer: {0}")]
    Described(&'static str),
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
