//! Why a REGISTER is refused, and the answer that says so.

use sip_message::headers::{MinExpires, Unsupported};
use sip_message::{HeaderError, Request, ResponseBuilder, StatusCode};

use crate::AddressOfRecord;
use crate::location::StoreError;

/// Why a REGISTER changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Required extensions that are not there: 420 (RFC 3261 §8.2.2.3).
    #[error("unsupported extensions: {}", .0.join(", "))]
    Unsupported(Vec<String>),
    /// A proxy added Path, but the client does not know that extension: 420 (RFC 3327 §5.3).
    #[error("Path is in the request, but `path` is not in Supported")]
    PathNotSupported,
    /// A field cannot be read: 400.
    #[error(transparent)]
    Malformed(#[from] HeaderError),
    /// `*` beside other contacts, or without `Expires: 0`: 400 (§10.3 step 6).
    #[error("`Contact: *` must stand alone and with `Expires: 0`")]
    Star,
    /// A `sips` Contact in a REGISTER that is not `sips` throughout: 400 (RFC 5630 §5.2).
    #[error("a sips Contact needs a sips Request-URI, and sips URIs in Path and every other Contact")]
    SipsMixed,
    /// More contacts than are read: 400.
    #[error("more than {0} contacts in one REGISTER")]
    TooManyContacts(usize),
    /// A flow is to be registered beside other contacts: 400 (RFC 5626 §6).
    #[error("a Contact with reg-id must be the only one that is added")]
    FlowAmongOthers,
    /// The first proxy of the way here does not do outbound: 439 (RFC 5626 §6).
    #[error("the first hop does not support outbound: Path has no URI with `ob`")]
    FirstHopLacksOutbound,
    /// The To is no address-of-record of the domain: 404 (§10.3 step 5).
    #[error("the To is no address-of-record of this domain")]
    NoSuchAddress,
    /// The user may not register this address-of-record: 403 (§10.3 step 4).
    #[error("{user} may not register {aor}")]
    NotOwner {
        /// The authenticated user.
        user: String,
        /// What it wanted to register.
        aor: AddressOfRecord,
    },
    /// A Contact is the address-of-record itself, or a GRUU of ours: 403 (RFC 5627 §5.1).
    #[error("a Contact leads back to this registrar")]
    Itself,
    /// More bindings than one address-of-record may have: 403.
    #[error("more than {0} bindings")]
    TooManyBindings(usize),
    /// The time asked for is too short: 423 (§10.3 step 7).
    #[error("bindings last at least {minimum} seconds")]
    TooBrief {
        /// For Min-Expires, in seconds.
        minimum: u32,
    },
    /// An older REGISTER of the same client came after a newer one: 500 (§10.3 steps 6 and 7).
    #[error("the CSeq is not higher than that of the binding")]
    OutOfOrder,
    /// Others kept changing the bindings meanwhile: 500.
    #[error("the bindings changed {0} times while this request was processed")]
    Contended(u32),
    /// The location store failed: 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unsupported(_) | Self::PathNotSupported => StatusCode::BAD_EXTENSION,
            Self::Malformed(_)
            | Self::Star
            | Self::SipsMixed
            | Self::TooManyContacts(_)
            | Self::FlowAmongOthers => StatusCode::BAD_REQUEST,
            Self::FirstHopLacksOutbound => StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT,
            Self::NoSuchAddress => StatusCode::NOT_FOUND,
            Self::NotOwner { .. } | Self::TooManyBindings(_) | Self::Itself => StatusCode::FORBIDDEN,
            Self::TooBrief { .. } => StatusCode::INTERVAL_TOO_BRIEF,
            Self::OutOfOrder | Self::Contended(_) => StatusCode::SERVER_INTERNAL_ERROR,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer.
    pub fn reply(&self, request: &Request) -> ResponseBuilder {
        let reply = request.reply(self.status());
        match self {
            Self::Unsupported(tags) => {
                tags.iter().fold(reply, |reply, tag| reply.header(&Unsupported::new(tag)))
            }
            Self::PathNotSupported => reply.header(&Unsupported::new("path")),
            Self::TooBrief { minimum } => reply.header(&MinExpires(*minimum)),
            Self::Malformed(error) => reply.reason(&error.to_string()),
            Self::Star => reply.reason("Contact: * needs Expires: 0 and no other Contact"),
            Self::SipsMixed => reply.reason("SIPS Contact Without SIPS Throughout"),
            Self::FlowAmongOthers => reply.reason("A Contact With reg-id Must Be Alone"),
            Self::OutOfOrder => reply.reason("Out of Order CSeq"),
            Self::TooManyContacts(_) => reply.reason("Too Many Contacts"),
            Self::TooManyBindings(_) => reply.reason("Too Many Bindings"),
            Self::Itself => reply.reason("Contact Leads Back Here"),
            _ => reply,
        }
    }
}
