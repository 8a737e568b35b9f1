//! `urn:service` URIs: who is wanted, not where: emergency services above all (RFC 5031).

use super::Uri;
use crate::ValueError;

/// A service such as `urn:service:sos.fire` (RFC 5031 §3).
///
/// ```
/// use sip_message::ServiceUrn;
/// let fire: ServiceUrn = "urn:service:sos.fire".parse()?;
/// assert!(fire.is_emergency());
/// assert_eq!(fire.labels().collect::<Vec<_>>(), ["sos", "fire"]);
/// assert!("URN:service:SOS".parse::<ServiceUrn>()?.includes(&fire));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceUrn {
    uri: Uri,
}

/// `urn:service:`
const PREFIX: &str = "urn:service:";
/// RFC 5031 §3: "top-level = let-dig [ *25let-dig-hyp let-dig ]".
const TOP_LEVEL: usize = 27;

impl ServiceUrn {
    /// The service that a URI names.
    ///
    /// # Errors
    /// If the URI is no `urn:service` one, or its labels do not follow RFC 5031 §3.
    pub fn of(uri: &Uri) -> Result<Self, ValueError> {
        let text = uri.as_str();
        if !text.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX)) {
            return Err(ValueError::new("a URI that begins with urn:service:", 0));
        }
        let mut at = PREFIX.len();
        for (index, label) in text.get(at..).unwrap_or_default().split('.').enumerate() {
            let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if label.is_empty() || !letters || label.starts_with('-') || label.ends_with('-') {
                return Err(ValueError::new("letters, digits and hyphens between dots", at));
            }
            if index == 0 && label.len() > TOP_LEVEL {
                return Err(ValueError::new("a service of at most 27 characters", at));
            }
            at = at.saturating_add(label.len()).saturating_add(1);
        }
        Ok(Self { uri: uri.clone() })
    }

    /// The service and its sub-services: `sos`, `fire`.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.uri.as_str().get(PREFIX.len()..).unwrap_or_default().split('.')
    }

    /// Whether it is `sos` or a part of it: a call for help, which must not be refused or challenged (RFC 5031 §4.2,
    /// RFC 6881).
    pub fn is_emergency(&self) -> bool {
        self.labels().next().is_some_and(|label| label.eq_ignore_ascii_case("sos"))
    }

    /// Whether `other` is this service or a part of it. A service that nobody knows is looked for without its last
    /// label, and so on (RFC 5031 §2).
    pub fn includes(&self, other: &Self) -> bool {
        let mut theirs = other.labels();
        self.labels().all(|label| theirs.next().is_some_and(|their| label.eq_ignore_ascii_case(their)))
    }

    /// Whether both name the same service, without regard to case (RFC 5031 §3, RFC 8141 §3.1).
    pub fn equivalent(&self, other: &Self) -> bool {
        self.uri.as_str().eq_ignore_ascii_case(other.uri.as_str())
    }

    /// The URI itself.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl core::fmt::Display for ServiceUrn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.uri.fmt(f)
    }
}

impl core::str::FromStr for ServiceUrn {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::of(&text.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ServiceUrn, ValueError> {
        text.parse()
    }

    /// RFC 5031 §4.1, §4.2.
    #[test]
    fn services_and_their_parts() {
        let (sos, police) = (read("urn:service:sos").unwrap(), read("urn:service:sos.police").unwrap());
        let counseling = read("urn:service:counseling.mental-health").unwrap();
        assert!(sos.is_emergency() && police.is_emergency() && !counseling.is_emergency());
        assert!(sos.includes(&police) && !police.includes(&sos) && !sos.includes(&counseling));
        assert!(sos.equivalent(&read("URN:Service:SOS").unwrap()) && !sos.equivalent(&police));
    }

    #[test]
    fn refused_with_the_place() {
        for (text, at) in [
            ("urn:isbn:1", 0),
            ("tel:+1", 0),
            ("urn:service:", 12),
            ("urn:service:sos.", 16),
            ("urn:service:sos..fire", 16),
            ("urn:service:-a", 12),
            ("urn:service:a_b", 12),
            ("urn:service:abcdefghijklmnopqrstuvwxyz12", 12),
        ] {
            assert_eq!(read(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
