//! What the layer knows of one call.

use std::time::Duration;

use sip_message::headers::{Allow, Contact, MinSe, RAck, Reason};
use sip_message::{HeaderName, Headers, Method, Request, Response, Uri};
use sip_transaction::{ClientTx, ServerTx};

use crate::dialog::{Dialog, DialogId};
use crate::event::{Body, CallKey, Cause};
use crate::offer_answer::Exchange;
use crate::redirect::Redirection;
use crate::reliable::Reliable;
use crate::session_timer::Agreed;
use crate::update::OwnUpdate;

/// Where a call stands.
///
/// ```text
///   we call                                   we are called
///   Calling --1xx--> Calling                  Ringing --accept--> Answered --ACK--> Confirmed
///      |  \--hang up--> Cancelling --487--> (ended)   \--reject, CANCEL--> (ended)
///      2xx                  |2xx: ACK, BYE                    no ACK for 64*T1: BYE
///      |                    v
///   [AnswerDue] --ACK--> Confirmed --BYE sent--> Ending --final--> (ended)
///                           \--BYE received--> (ended)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallState {
    /// Our INVITE is out.
    Calling,
    /// Our CANCEL is out, or waits for the first provisional response.
    Cancelling,
    /// The 2xx brought an offer; the ACK waits for our answer.
    AnswerDue,
    /// A call came in and has no final response yet.
    Ringing,
    /// Our 2xx is out, its ACK has not come.
    Answered,
    /// Both sides know that the call stands.
    Confirmed,
    /// Our BYE is out.
    Ending,
}

impl CallState {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Calling => "being set up by us",
            Self::Cancelling => "being cancelled",
            Self::AnswerDue => "waiting for our answer to its offer",
            Self::Ringing => "ringing here",
            Self::Answered => "answered but not acknowledged",
            Self::Confirmed => "established",
            Self::Ending => "being hung up",
        }
    }
}

/// Phones that may ring for one INVITE: more early dialogs than this are not told apart, so that forged
/// provisional responses do not fill the memory.
pub(crate) const MAX_EARLY_DIALOGS: usize = 32;

/// A 2xx of ours that is repeated until its ACK comes.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) tx: ServerTx,
    pub(crate) response: Response,
    pub(crate) interval: Duration,
    pub(crate) cseq: u32,
    /// The INVITE had an offer, so that this 2xx ended the exchange and its ACK brings nothing.
    pub(crate) answers: bool,
}

/// An INVITE of ours, the first or a further one, that has no final response or no ACK.
#[derive(Debug)]
pub(crate) struct Reinvite {
    /// Its 2xx came with an offer; the ACK waits for our answer: its CSeq, and the INVITE as it was sent.
    pub(crate) answer_due: Option<(u32, Request)>,
}

impl Reinvite {
    pub(crate) fn new() -> Self {
        Self { answer_due: None }
    }

    pub(crate) fn unanswered(cseq: u32, invite: Request) -> Self {
        Self { answer_due: Some((cseq, invite)) }
    }

    pub(crate) fn is_unanswered(&self) -> bool {
        self.answer_due.is_some()
    }
}

/// What a call keeps of the session in one dialog.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Offer and answer (RFC 6337).
    pub(crate) exchange: Exchange,
    /// The reliable provisional response to our INVITE that came last in order (RFC 3262 §4).
    pub(crate) rseq: Option<u32>,
    /// One that brought an offer; its PRACK waits for our answer.
    pub(crate) prack_due: Option<Box<RAck>>,
    /// An UPDATE of ours is out.
    pub(crate) update: Option<OwnUpdate>,
    /// An UPDATE or PRACK of the peer whose offer waits for the application's answer.
    pub(crate) peer_offer: Option<Box<(ServerTx, Request)>>,
    /// The peer's Allow has UPDATE (RFC 4028 §7.4).
    pub(crate) peer_takes_update: bool,
    /// The session timer, agreed with the last 2xx (RFC 4028 §7.2).
    pub(crate) timer: Option<Agreed>,
    /// The largest Min-SE heard in this dialog (RFC 4028 §7.4).
    pub(crate) min_se: Option<u32>,
    /// The packages of INFO that the peer takes, if it knows of packages (RFC 6086 §5.2.2).
    pub(crate) peer_info_packages: Option<Box<[String]>>,
}

impl Session {
    /// Takes note of what a message of the peer says of its abilities.
    pub(crate) fn learn(&mut self, headers: &Headers) {
        self.learn_info_packages(headers);
        self.learn_methods(headers);
    }

    /// The same of a request that may be refused: then its packages do not count (RFC 6086 §5.2.4).
    pub(crate) fn learn_methods(&mut self, headers: &Headers) {
        if headers.contains(HeaderName::ALLOW) {
            self.peer_takes_update = headers.all::<Allow>().flatten().any(|allow| allow.0 == Method::Update);
        }
        if let Ok(Some(min)) = headers.get::<MinSe>() {
            self.min_se = self.min_se.max(Some(min.seconds));
        }
    }
}

/// A phone that rings for our INVITE.
#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) dialog: Dialog,
    pub(crate) session: Session,
}

/// What a call needs until it stands, and not after: an established call is to be small.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The INVITE: ours without Via, or the one that came.
    pub(crate) invite: Request,
    pub(crate) contact: Contact,
    pub(crate) hop: Option<Uri>,
    /// Dialogs of phones that ring for our INVITE.
    pub(crate) early: Vec<Early>,
    /// The last provisional response to the peer's INVITE.
    pub(crate) provisional: Option<Response>,
    /// Where 3xx responses lead (RFC 3261 §8.1.3.4).
    pub(crate) redirection: Redirection,
    /// 422 responses to our INVITE so far (RFC 4028 §7.3).
    pub(crate) too_brief: u8,
    /// Our offer if the first is refused.
    pub(crate) second_offer: Option<Box<Body>>,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: CallState,
    /// Whether we made the Call-ID, which decides the wait after a 491 (§14.1).
    pub(crate) ours: bool,
    /// A 491 was answered to our re-INVITE and its wait is not over.
    pub(crate) retry_waits: bool,
    /// The application hung up before the ACK for our 2xx came: BYE follows the ACK (§15).
    /// With the reason, if it gave one.
    pub(crate) bye_after_ack: Option<Box<Option<Reason>>>,
    /// The peer wants to know who we are when that changes (RFC 4916).
    pub(crate) peer_takes_identity: bool,
    /// It has been told since the call stands.
    pub(crate) identity_told: bool,
    pub(crate) setup: Option<Box<Setup>>,
    /// The transaction of an INVITE of ours, the first or a further one, until its final response.
    pub(crate) client: Option<ClientTx>,
    pub(crate) server: Option<ServerTx>,
    pub(crate) dialog: Option<Dialog>,
    /// The session of `dialog`; before there is one, what an early dialog begins with.
    pub(crate) session: Session,
    /// Provisional responses to the peer's INVITE that want a PRACK.
    pub(crate) reliable: Reliable,
    pub(crate) success: Option<Box<Success>>,
    pub(crate) reinvite: Option<Box<Reinvite>>,
    /// A re-INVITE of the peer that waits for the application's answer.
    pub(crate) peer_reinvite: Option<Box<(ServerTx, Request)>>,
    /// Why the call is ending, told when it has.
    pub(crate) cause: Option<Box<Cause>>,
    /// The call that this one takes the place of when it is accepted (RFC 3891 §3).
    pub(crate) replaces: Option<CallKey>,
}

impl Call {
    /// A call that begins with this INVITE.
    pub(crate) fn new(state: CallState, invite: Request, contact: Contact) -> Box<Self> {
        let setup = Setup {
            invite,
            contact,
            hop: None,
            early: Vec::new(),
            provisional: None,
            redirection: Redirection::default(),
            too_brief: 0,
            second_offer: None,
        };
        Box::new(Self {
            state,
            ours: state != CallState::Ringing,
            retry_waits: false,
            bye_after_ack: None,
            peer_takes_identity: false,
            identity_told: false,
            setup: Some(Box::new(setup)),
            client: None,
            server: None,
            dialog: None,
            session: Session::default(),
            reliable: Reliable::default(),
            success: None,
            reinvite: None,
            peer_reinvite: None,
            cause: None,
            replaces: None,
        })
    }

    /// Our tag in the dialog of a call that came in, or of any that stands.
    pub(crate) fn local_tag(&self) -> &str {
        self.dialog.as_ref().map_or("", |dialog| &dialog.id().local_tag)
    }

    /// Whether the caller has heard of us, so that it knows the dialog.
    pub(crate) fn was_rung(&self) -> bool {
        self.setup.as_ref().is_some_and(|setup| setup.provisional.is_some())
    }

    /// Why the call ends, if it was said before.
    pub(crate) fn take_cause(&mut self) -> Option<Cause> {
        self.cause.take().map(|cause| *cause)
    }

    /// The early dialogs, to be ended.
    pub(crate) fn take_early(&mut self) -> Vec<Early> {
        self.setup.as_mut().map(|setup| std::mem::take(&mut setup.early)).unwrap_or_default()
    }

    /// Whether it has a dialog of this identity, early or not.
    pub(crate) fn has_dialog(&self, id: &DialogId) -> bool {
        match (&self.dialog, &self.setup) {
            (Some(dialog), _) => dialog.id() == id,
            (None, Some(setup)) => setup.early.iter().any(|early| early.dialog.id() == id),
            (None, None) => false,
        }
    }

    /// The dialog of this identity, early or not, and its session.
    pub(crate) fn dialog_mut(&mut self, id: &DialogId) -> Option<(&mut Dialog, &mut Session)> {
        match &mut self.dialog {
            // Answers may still come in the early dialogs of other phones, which are over.
            Some(dialog) => (dialog.id() == id).then_some((dialog, &mut self.session)),
            None => {
                let early = &mut self.setup.as_mut()?.early;
                let early = early.iter_mut().find(|early| early.dialog.id() == id)?;
                Some((&mut early.dialog, &mut early.session))
            }
        }
    }
}
