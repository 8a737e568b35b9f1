//! Event packages: their bodies read, written and put together, as plain values without I/O.
//!
//! | package | body | document |
//! |---|---|---|
//! | [`refer`] | `message/sipfrag` | RFC 3515 §2.4.5 |
//! | [`message_summary`] | `application/simple-message-summary` | RFC 3842 |
//! | [`dialog_info`] | `application/dialog-info+xml` | RFC 4235 |
//! | [`reginfo`] | `application/reginfo+xml` | RFC 3680, RFC 5628 |
//! | [`presence`] | `application/pidf+xml` | RFC 3863, RFC 3856, RFC 4479, RFC 4480 |
//! | [`partial_presence`] | `application/pidf-diff+xml` | RFC 5262, RFC 5263 |
//! | [`watcher_info`] | `application/watcherinfo+xml` | RFC 3857, RFC 3858 |
//! | [`resource_list`] | `application/resource-lists+xml` | RFC 4826 §3, RFC 5364 |
//! | [`rlmi`] | `application/rlmi+xml` in `multipart/related` | RFC 4662 |
//! | [`conference`] | `application/conference-info+xml` | RFC 4575, nicknames of RFC 6501 |
//! | [`voice_quality`] | `application/vq-rtcpxr` | RFC 6035 |
//!
//! Whatever a peer sends has limits: octets, depth, elements, attributes. A document type is refused, and with it every
//! entity that somebody defines.

pub mod conference;
pub mod dialog_info;
pub mod message_summary;
pub mod partial_presence;
pub mod presence;
pub mod refer;
pub mod reginfo;
pub mod resource_list;
pub mod rlmi;
pub mod voice_quality;
pub mod watcher_info;
pub(crate) mod xml;

pub use xml::{Attribute, Content, Element};

/// Octets of a body; more is refused. A document of a thousand dialogs has less.
pub const MAX_OCTETS: usize = 512 * 1024;

/// Rows of a table that documents with partial state fill: dialogs of a user, contacts of all registrations. The rows of
/// a full document are bounded by its octets; without this, partial ones could add to them for ever.
pub const MAX_ROWS: usize = 10_000;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is larger than [`MAX_OCTETS`].
    #[error("the body has more than {MAX_OCTETS} octets")]
    TooLong,
    /// It is not in UTF-8.
    #[error("the body is not in UTF-8")]
    NotUtf8,
    /// It is not well-formed XML.
    #[error("the body is not well-formed: {0}")]
    Syntax(String),
    /// It has a document type or an entity of its own.
    #[error("the body has a document type or an entity, which is not allowed")]
    DocumentType,
    /// It has too many elements or attributes, or too many within each other.
    #[error("the body has too many {0}")]
    TooMany(&'static str),
    /// Something that the document must have is missing or cannot be read.
    #[error("{what} is missing or malformed in <{element}>")]
    Malformed {
        /// The element.
        element: &'static str,
        /// The attribute or element in it.
        what: &'static str,
    },
    /// A line of a text body cannot be read.
    #[error("line {0} of the body is malformed")]
    Line(usize),
}

/// Whether a document holds everything or what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Completeness {
    /// Everything.
    Full,
    /// What has changed since the document before.
    Partial,
}

impl Completeness {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Full, Self::Partial].into_iter().find(|one| one.as_str() == text)
    }
}

/// What became of a document that was put into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    /// The table holds what it says.
    Applied,
    /// The same, but documents before it are missing: refresh the subscription, which brings the full state.
    Gap,
    /// It is older than what the table holds, and was discarded.
    Stale,
}

/// The rule of RFC 4235 §4.3 and RFC 3680 §5.2 for the number of a document. Two with one number are only of use if the
/// second is full: some notifiers number all of theirs 0.
fn update(known: Option<u32>, version: u32, completeness: Completeness) -> Update {
    let full = completeness == Completeness::Full;
    match known {
        Some(known) if version < known => Update::Stale,
        Some(known) if version == known && !full => Update::Stale,
        Some(known) if version > known.saturating_add(1) && !full => Update::Gap,
        None if !full => Update::Gap,
        _ => Update::Applied,
    }
}
