//! The attributes of session descriptions that MSRP has (RFC 4975 §8, RFC 6135, RFC 6714, RFC 5547, RFC 7701), as values that are
//! read and printed. `a=path` is a [`Path`].
//!
//! Each type reads and prints what stands behind the colon.
//!
//! ```
//! use msrp::sdp::{Chatroom, MediaTypes, Setup};
//! let types: MediaTypes = "message/cpim text/*".parse()?;
//! assert!(types.takes("text/html; charset=utf-8") && !types.takes("image/png"));
//! assert_eq!("actpass".parse::<Setup>()?.answer(), Setup::Passive);
//! assert!("nickname private-messages".parse::<Chatroom>()?.private_messages());
//! # Ok::<(), msrp::sdp::AttributeError>(())
//! ```

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::message::number;
use crate::uri::{Path, Uri, is_token};

/// Entries of a list of media types or of features.
const MAX_ENTRIES: usize = 128;

/// Which attribute has no proper value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a={0} has no proper value")]
pub struct AttributeError(pub &'static str);

/// `a=accept-types` and `a=accept-wrapped-types` (RFC 4975 §8.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes(Vec<String>);

impl MediaTypes {
    /// `*`: anything may be tried.
    #[must_use]
    pub fn any() -> Self {
        Self(vec!["*".into()])
    }

    /// The entries, the preferred first.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether content of this type, with parameters or without, may be sent.
    #[must_use]
    pub fn takes(&self, content_type: &str) -> bool {
        let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let wanted = bare(content_type);
        let Some((kind, _)) = wanted.split_once('/') else { return false };
        self.entries().map(bare).any(|entry| {
            entry == "*" || entry == wanted || entry.strip_suffix("/*").is_some_and(|entry| entry == kind)
        })
    }
}

impl FromStr for MediaTypes {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let entries: Vec<String> = split_unquoted(text, ' ').map(str::to_owned).collect();
        let good = |entry: &String| {
            let mut parts = split_unquoted(entry, ';');
            let first = parts.next().unwrap_or_default();
            let kind = first.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
            (kind && parts.all(is_parameter)) || entry == "*"
        };
        if entries.is_empty() || entries.len() > MAX_ENTRIES || !entries.iter().all(good) {
            return Err(AttributeError("accept-types"));
        }
        Ok(Self(entries))
    }
}

impl fmt::Display for MediaTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Split where no quotes are open.
pub(crate) fn split_unquoted(text: &str, at: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        }
        character == at && !quoted
    })
}

fn is_parameter(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else { return false };
    is_token(name) && (is_token(value) || is_quoted(value))
}

fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return false };
    let mut escaped = false;
    let good = inner.chars().all(|character| {
        let good = if escaped { matches!(character, '"' | '\\') } else { character != '"' };
        escaped = !escaped && character == '\\';
        good && (character >= ' ' || character == '\t') && character != '\x7f'
    });
    good && !escaped
}

/// `a=max-size` (RFC 4975 §8.6): octets of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSize(pub u64);

impl FromStr for MaxSize {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        number(text).map(Self).ok_or(AttributeError("max-size"))
    }
}

impl fmt::Display for MaxSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `a=setup`: who opens the connection (RFC 6135, RFC 4145).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// We open it.
    Active,
    /// The other does.
    Passive,
    /// Whatever the answerer chooses.
    ActPass,
}

impl Setup {
    /// What an answer says to this: given the choice, the answerer should wait for the connection (RFC 6135 §4.2.2), unless it
    /// cannot be reached.
    #[must_use]
    pub fn answer(self) -> Self {
        match self {
            Self::Active | Self::ActPass => Self::Passive,
            Self::Passive => Self::Active,
        }
    }

    /// Whether the offerer opens the connection. Without `a=setup` on both sides it does (RFC 4975 §5.4).
    #[must_use]
    pub fn offerer_is_active(offer: Option<Self>, answer: Option<Self>) -> bool {
        match (offer, answer) {
            (Some(_), Some(answer)) => answer != Self::Active,
            _ => true,
        }
    }
}

impl FromStr for Setup {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        match text {
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "actpass" => Ok(Self::ActPass),
            _ => Err(AttributeError("setup")),
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        })
    }
}

/// `a=chatroom` (RFC 7701 §8): what a chat room offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chatroom(Vec<String>);

impl Chatroom {
    /// A room with these features.
    ///
    /// # Errors
    /// If one is no token.
    pub fn new<'a>(features: impl IntoIterator<Item = &'a str>) -> Result<Self, AttributeError> {
        let features: Vec<String> = features.into_iter().take(MAX_ENTRIES).map(str::to_owned).collect();
        if features.iter().all(|feature| is_token(feature)) {
            Ok(Self(features))
        } else {
            Err(AttributeError("chatroom"))
        }
    }

    /// All features.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether participants may have nicknames.
    #[must_use]
    pub fn nicknames(&self) -> bool {
        self.features().any(|feature| feature == "nickname")
    }

    /// Whether participants may write to one of them alone.
    #[must_use]
    pub fn private_messages(&self) -> bool {
        self.features().any(|feature| feature == "private-messages")
    }
}

impl FromStr for Chatroom {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        if text.is_empty() { Ok(Self::default()) } else { Self::new(text.split(' ')) }
    }
}

impl fmt::Display for Chatroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// What a party with `a=msrp-cema` does with the peer's description (RFC 6714 §4.2, §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cema {
    /// Connect to the address of the c and m lines, or wait, as `a=setup` has it.
    UseMediaLine,
    /// Do as RFC 4975 says: connect to the first URI of the path. An answer then has no `a=msrp-cema`.
    UsePath,
    /// Somebody changed the c and m lines who knows nothing of it: offer again without, or refuse the offer.
    FallBack,
}

/// One side's description, as far as RFC 6714 asks for it.
#[derive(Clone, Debug)]
pub struct Described<'p> {
    /// `a=path`.
    pub path: &'p Path,
    /// Address of the c line, port of the m line.
    pub media: (IpAddr, u16),
    /// Addresses of the path's host, looked up if it is a name.
    pub addresses: &'p [IpAddr],
    /// Whether it has `a=msrp-cema`.
    pub cema: bool,
    /// `a=setup`.
    pub setup: Option<Setup>,
}

impl Described<'_> {
    /// Whether c and m lines say the same as the path (RFC 6714 §4.4); relays: any of the URIs.
    #[must_use]
    pub fn matches(&self) -> bool {
        let (address, port) = self.media;
        let at = |uri: &Uri| match uri.address() {
            Some(other) => other == address,
            None => self.addresses.contains(&address),
        };
        self.path.uris().iter().any(|uri| uri.port() == Some(port) && at(uri))
    }

    fn uses_relay(&self) -> bool {
        self.path.uris().len() > 1
    }

    /// What an offerer that speaks CEMA does with this answer (RFC 6714 §4.2). `we_relay`: it uses a relay itself.
    #[must_use]
    pub fn as_answer(&self, we_relay: bool) -> Cema {
        if self.cema {
            return Cema::UseMediaLine;
        }
        let we_are_active = self.setup != Some(Setup::Active);
        if self.matches() {
            return if self.uses_relay() { Cema::UsePath } else { Cema::UseMediaLine };
        }
        if !we_are_active || we_relay || self.uses_relay() { Cema::FallBack } else { Cema::UseMediaLine }
    }

    /// What an answerer that speaks CEMA does with this offer (RFC 6714 §4.3).
    #[must_use]
    pub fn as_offer(&self, we_relay: bool) -> Cema {
        if !self.cema {
            return if self.matches() { Cema::UsePath } else { Cema::FallBack };
        }
        let they_are_active = matches!(self.setup, None | Some(Setup::Active));
        let path = (we_relay && self.uses_relay())
            || (self.uses_relay() && they_are_active)
            || (we_relay && self.setup == Some(Setup::Passive));
        if path { Cema::UsePath } else { Cema::UseMediaLine }
    }
}
