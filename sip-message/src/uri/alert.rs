//! `urn:alert` URIs: how a call shall be announced, whoever rings (RFC 7462).

use super::Uri;
use crate::ValueError;

/// An alert indication such as `urn:alert:source:external` or `urn:alert:service:normal` (RFC 7462 §7).
///
/// ```
/// use sip_message::AlertUrn;
/// let external: AlertUrn = "urn:alert:source:external".parse()?;
/// assert_eq!(external.category(), "source");
/// assert!("urn:alert:source:external:vip@example".parse::<AlertUrn>()?.is_kind_of(&external));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlertUrn {
    uri: Uri,
}

/// `urn:alert:`
const PREFIX: &str = "urn:alert:";

/// RFC 7462 §7: `alert-label = let-dig [ *let-dig-hyp let-dig ]`.
fn is_label(label: &str) -> bool {
    let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    !label.is_empty() && letters && !label.starts_with('-') && !label.ends_with('-')
}

/// A provider is a domain name, its labels between dots.
fn is_name(name: &str) -> bool {
    match name.split_once('@') {
        Some((label, provider)) => is_label(label) && provider.split('.').all(is_label),
        None => is_label(name),
    }
}

impl AlertUrn {
    /// The indication that a URI names.
    ///
    /// # Errors
    /// If the URI is no `urn:alert` one, or its names do not follow RFC 7462 §7.
    pub fn of(uri: &Uri) -> Result<Self, ValueError> {
        let text = uri.as_str();
        if !text.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX)) {
            return Err(ValueError::new("a URI that begins with urn:alert:", 0));
        }
        let mut at = PREFIX.len();
        let mut names = 0_usize;
        for name in text.get(at..).unwrap_or_default().split(':') {
            if !is_name(name) {
                return Err(ValueError::new("letters, digits and hyphens between colons", at));
            }
            names = names.saturating_add(1);
            at = at.saturating_add(name.len()).saturating_add(1);
        }
        if names < 2 {
            return Err(ValueError::new("a category and an indication", text.len()));
        }
        Ok(Self { uri: uri.clone() })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.uri.as_str().get(PREFIX.len()..).unwrap_or_default().split(':')
    }

    /// What is told: `service`, `source`, `priority`, `duration`, `delay`, `locale`, or a private one.
    pub fn category(&self) -> &str {
        self.names().next().unwrap_or_default()
    }

    /// What it is, from the general to the special: `external`, or `auto-callback`.
    pub fn indication(&self) -> impl Iterator<Item = &str> {
        self.names().skip(1)
    }

    /// Whether this is the other indication or a special case of it: who knows no such case takes the more general one, without
    /// the last name (RFC 7462 §7, §11.1).
    pub fn is_kind_of(&self, other: &Self) -> bool {
        let mut ours = self.names();
        other.names().all(|name| ours.next().is_some_and(|our| our.eq_ignore_ascii_case(name)))
    }

    /// The URI itself.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl core::fmt::Display for AlertUrn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.uri.fmt(f)
    }
}

impl core::str::FromStr for AlertUrn {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::of(&text.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AlertUrn, ValueError> {
        text.parse()
    }

    /// RFC 7462 §8.2, §9.
    #[test]
    fn indications_and_their_kinds() {
        let internal = read("urn:alert:source:internal").unwrap();
        let vip = read("urn:alert:source:internal:vip@abc.example").unwrap();
        assert!(vip.is_kind_of(&internal) && !internal.is_kind_of(&vip) && internal.is_kind_of(&internal));
        assert!(!read("urn:alert:source:external").unwrap().is_kind_of(&internal));
        assert_eq!(vip.indication().collect::<alloc::vec::Vec<_>>(), ["internal", "vip@abc.example"]);
        assert_eq!(read("urn:alert:service:auto-callback").unwrap().category(), "service");
    }

    #[test]
    fn refused_with_the_place() {
        for (text, at) in [
            ("urn:service:sos", 0),
            ("urn:alert:", 10),
            ("urn:alert:source", 16),
            ("urn:alert:source:", 17),
            ("urn:alert:source:-a", 17),
            ("urn:alert:a@:b", 10),
            ("urn:alert:a@b@c:d", 10),
        ] {
            assert_eq!(read(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
