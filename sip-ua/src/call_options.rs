//! What may be special about a call that we make.

use sip_message::headers::{
    AcceptContact, AlertInfo, AnswerMode, Diversion, NameAddr, PAssertedIdentity, PPreferredIdentity,
    PrivAnswerMode, Privacy, Reason, RejectContact, RequestDisposition, UserToUser,
};
use sip_message::{Header, Uri};

use crate::core::CallDetails;

/// The address of one who does not tell his own (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// What may be special about a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) details: CallDetails,
    pub(crate) without_video: bool,
}

impl CallOptions {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// A further header field of the INVITE: Subject, Priority, whatever there is.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.details.fields.push((name.into(), value.into()));
        self
    }

    /// The same with a typed value: a [`HistoryInfo`](sip_message::headers::HistoryInfo) that a call brought here, for
    /// example.
    #[must_use]
    pub fn header<H: Header>(self, header: &H) -> Self {
        let mut text = String::new();
        header.write(&mut text);
        self.field(H::NAME.as_str(), &text)
    }

    /// Leaves the offer to the callee, who makes it in its answer (RFC 3261 §13.2.1).
    #[must_use]
    pub fn without_offer(mut self) -> Self {
        self.details.without_offer = true;
        self
    }

    /// Offers sound alone, although the phone has video: [`Call::add_video`](crate::Call::add_video) can bring it later.
    #[must_use]
    pub fn without_video(mut self) -> Self {
        self.without_video = true;
        self
    }

    /// Insists on provisional responses that arrive for certain: a callee that has none refuses the call (RFC 3262 §4).
    #[must_use]
    pub fn demand_reliable_responses(self) -> Self {
        self.field("Require", "100rel")
    }

    /// Does not tell the callee who calls: From is anonymous, and the network keeps to itself what it knows (`Privacy: id`,
    /// RFC 3323 §4.1.1.3, RFC 3325 §7). Say [`preferred_identity`](Self::preferred_identity) besides if the network has to know.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.details.from = ANONYMOUS.parse().ok();
        self.privacy(&["id"])
    }

    /// What the network is to hide: `id`, `header`, `session`, `user`, `history`, `critical`, or `none` of it (RFC 3323 §4.2).
    #[must_use]
    pub fn privacy(self, values: &[&str]) -> Self {
        self.header(&Privacy::new(values))
    }

    /// Which of our identities the network is to vouch for (P-Preferred-Identity, RFC 3325 §6).
    #[must_use]
    pub fn preferred_identity(self, identity: &NameAddr) -> Self {
        self.header(&PPreferredIdentity::from(identity.clone()))
    }

    /// Vouches for who calls (P-Asserted-Identity, RFC 3325 §5): for gateways that belong to the trust domain of the next hop.
    #[must_use]
    pub fn asserted_identity(self, identity: &NameAddr) -> Self {
        self.header(&PAssertedIdentity::from(identity.clone()))
    }

    /// Who diverted the call, and why (RFC 5806); the last one first.
    #[must_use]
    pub fn diversion(self, diversion: &Diversion) -> Self {
        self.header(diversion)
    }

    /// Data for the other user agent (RFC 7433).
    #[must_use]
    pub fn user_to_user(self, data: &UserToUser) -> Self {
        self.header(data)
    }

    /// How the callee's phone is to ring: a sound, or an indication such as `urn:alert:service:normal` (RFC 7462).
    #[must_use]
    pub fn alert(self, uri: &Uri) -> Self {
        self.header(&AlertInfo::new(uri))
    }

    /// Why the call is made, as of a gateway that knows a cause (RFC 3326).
    #[must_use]
    pub fn reason(self, reason: &Reason) -> Self {
        self.header(reason)
    }

    /// Asks to be answered at once, without a person (RFC 5373 §4.3); `or_not_at_all` is refused by whoever would ring.
    #[must_use]
    pub fn answer_automatically(self, or_not_at_all: bool) -> Self {
        let mode = AnswerMode::automatic();
        self.header(&if or_not_at_all { mode.or_not_at_all() } else { mode })
    }

    /// The same with privilege: for those who may break in on whoever does not want to be disturbed (RFC 5373 §4.1).
    #[must_use]
    pub fn answer_automatically_with_privilege(self, or_not_at_all: bool) -> Self {
        let mode = PrivAnswerMode::automatic();
        self.header(&if or_not_at_all { mode.or_not_at_all() } else { mode })
    }

    /// Which of the callee's phones are wanted (RFC 3841 §9.2).
    #[must_use]
    pub fn accept_contact(self, wanted: &AcceptContact) -> Self {
        self.header(wanted)
    }

    /// Which of the callee's phones are not (RFC 3841 §9.2).
    #[must_use]
    pub fn reject_contact(self, unwanted: &RejectContact) -> Self {
        self.header(unwanted)
    }

    /// What servers are to do with the call (RFC 3841 §9.1): `no-fork`, `queue`, `redirect`, ...
    #[must_use]
    pub fn request_disposition(self, directive: &str) -> Self {
        self.header(&RequestDisposition::new(directive))
    }
}
