//! Attributes of a word or a few.

use std::fmt;
use std::str::FromStr;

use sdp_types::{AttributeError, TypedAttribute};

use super::{error, is_token};

/// `a=tls-id` (RFC 8842 §4): names a DTLS association, 20–255 letters, digits and `+/-_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsId(String);

impl TlsId {
    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TlsId {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
        match (20..=255).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(TlsId(text.to_owned())),
            false => Err(error(Self::NAME, "it is not 20-255 letters, digits and +/-_")),
        }
    }
}

impl fmt::Display for TlsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TypedAttribute for TlsId {
    const NAME: &'static str = "tls-id";
}

/// `a=ice-mismatch` (RFC 8839 §5.3): the address of the offer is none of its candidates, so ICE is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct IceMismatch;

impl FromStr for IceMismatch {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        if text.is_empty() { Ok(IceMismatch) } else { Err(error(Self::NAME, "it has a value")) }
    }
}

impl fmt::Display for IceMismatch {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl TypedAttribute for IceMismatch {
    const NAME: &'static str = "ice-mismatch";
}

/// `a=msid-semantic:<semantic> <identifiers>`: WMS for the streams of WebRTC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MsidSemantic {
    /// `WMS`.
    pub semantic: String,
    /// The streams; `*` for all.
    pub identifiers: Vec<String>,
}

impl FromStr for MsidSemantic {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        // Browsers write a space before the first word.
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        let semantic = words.next().ok_or_else(|| error(Self::NAME, "there is no semantic"))?;
        Ok(MsidSemantic { semantic, identifiers: words.collect() })
    }
}

impl fmt::Display for MsidSemantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantic)?;
        self.identifiers.iter().try_for_each(|identifier| write!(f, " {identifier}"))
    }
}

impl TypedAttribute for MsidSemantic {
    const NAME: &'static str = "msid-semantic";
}

/// `a=label` (RFC 4574 §4): a token by which others refer to the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label(String);

impl Label {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        if is_token(text) { Ok(Label(text.to_owned())) } else { Err(error(Self::NAME, "it is no token")) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TypedAttribute for Label {
    const NAME: &'static str = "label";
}

/// `a=content` (RFC 4796 §5): what the stream shows, such as `slides`, `speaker`, `sl`, `main` or `alt`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content(pub Vec<String>);

impl FromStr for Content {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        match text.split(',').all(is_token) {
            true => Ok(Content(text.split(',').map(str::to_owned).collect())),
            false => Err(error(Self::NAME, "it is no list of tokens")),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl TypedAttribute for Content {
    const NAME: &'static str = "content";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stable<T: TypedAttribute + PartialEq + fmt::Debug>(text: &str) -> bool {
        let Ok(read) = text.parse::<T>() else { return false };
        assert_eq!(read.to_string().parse::<T>().unwrap(), read);
        true
    }

    #[test]
    fn what_they_are_not() {
        assert!(
            !stable::<TlsId>("short")
                && !stable::<TlsId>(&"a".repeat(256))
                && !stable::<TlsId>("=".repeat(20).as_str())
        );
        assert!(!stable::<IceMismatch>("x") && stable::<IceMismatch>(""));
        assert!(!stable::<MsidSemantic>(" ") && stable::<MsidSemantic>(" WMS *"));
        assert!(!stable::<Label>("a b") && !stable::<Content>("slides,") && !stable::<Content>(""));
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(
            id in "[a-zA-Z0-9+/_-]{20,255}", word in "[a-z0-9.+-]{1,9}", list in proptest::collection::vec("[a-z0-9*-]{1,9}", 1..4),
        ) {
            prop_assert!(stable::<TlsId>(&id) && stable::<Label>(&word) && stable::<Content>(&list.join(",")));
            prop_assert_eq!(id.parse::<TlsId>().unwrap(), TlsId(id));
            prop_assert_eq!(word.parse::<Label>().unwrap(), Label(word.clone()));
            let semantic = MsidSemantic { semantic: word, identifiers: list };
            prop_assert_eq!(semantic.to_string().parse::<MsidSemantic>().unwrap(), semantic);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,30}") {
            stable::<TlsId>(&text);
            stable::<MsidSemantic>(&text);
            stable::<Label>(&text);
            stable::<Content>(&text);
        }
    }
}
