//! What the layer knows of one call.

use std::collections::HashMap;
use std::time::Duration;

use sip_message::headers::Contact;
use sip_message::{Request, Response, Uri};
use sip_transaction::{ClientTx, ServerTx};

use crate::dialog::{Dialog, DialogId};
use crate::event::{CallKey, Cause};

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
    pub(crate) offered: bool,
    /// Its 2xx came with an offer; the ACK waits for our answer: its CSeq, and the INVITE as it was sent.
    pub(crate) answer_due: Option<(u32, Request)>,
}

impl Reinvite {
    pub(crate) fn new(offered: bool) -> Self {
        Self { offered, answer_due: None }
    }

    pub(crate) fn unanswered(cseq: u32, invite: Request) -> Self {
        Self { offered: false, answer_due: Some((cseq, invite)) }
    }

    pub(crate) fn is_unanswered(&self) -> bool {
        self.answer_due.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: CallState,
    /// Whether we made the Call-ID, which decides the wait after a 491 (§14.1).
    pub(crate) ours: bool,
    /// The INVITE: ours without Via, or the one that came.
    pub(crate) invite: Request,
    pub(crate) contact: Contact,
    pub(crate) hop: Option<Uri>,
    /// The transaction of an INVITE of ours, the first or a further one, until its final response.
    pub(crate) client: Option<ClientTx>,
    pub(crate) server: Option<ServerTx>,
    pub(crate) local_tag: String,
    /// Dialogs of phones that ring for our INVITE.
    pub(crate) early: Vec<Dialog>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) provisional: Option<Response>,
    pub(crate) success: Option<Success>,
    pub(crate) reinvite: Option<Reinvite>,
    /// A re-INVITE of the peer that waits for the application's answer.
    pub(crate) peer_reinvite: Option<(ServerTx, Request)>,
    /// A 491 was answered to our re-INVITE and its wait is not over.
    pub(crate) retry_waits: bool,
    /// Why the call is ending, told when it has.
    pub(crate) cause: Option<Cause>,
    /// The application hung up before the ACK for our 2xx came: BYE follows the ACK (§15).
    pub(crate) bye_after_ack: bool,
}

impl Call {
    pub(crate) fn new(state: CallState, invite: Request, contact: Contact, local_tag: String) -> Self {
        Self {
            state,
            ours: state == CallState::Calling,
            invite,
            contact,
            hop: None,
            client: None,
            server: None,
            local_tag,
            early: Vec::new(),
            dialog: None,
            provisional: None,
            success: None,
            reinvite: None,
            peer_reinvite: None,
            retry_waits: false,
            cause: None,
            bye_after_ack: false,
        }
    }

    /// Early dialogs end when the INVITE is sent anew or fails (§13.2.2.3).
    pub(crate) fn forget_early(&mut self, by_dialog: &mut HashMap<DialogId, CallKey>) {
        for dialog in self.early.drain(..) {
            by_dialog.remove(dialog.id());
        }
    }
}
