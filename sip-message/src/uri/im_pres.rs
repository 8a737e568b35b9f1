//! `im` and `pres` URIs: whom to write to and whom to watch, whatever the protocol (RFC 3859, RFC 3860).

use super::{Uri, decode, octets};
use crate::ValueError;
use alloc::borrow::Cow;
use alloc::string::String;

/// An `im` URI, an inbox for instant messages (RFC 3860 §3), or a `pres` URI, somebody's presence (RFC 3859 §3).
///
/// ```
/// use sip_message::ImPres;
/// let inbox = ImPres::of(&"im:fred%20f@example.com?Subject=hi".parse()?)?;
/// assert!(inbox.is_im());
/// assert_eq!((&*inbox.user(), inbox.domain()), ("fred f", "example.com"));
/// assert_eq!(inbox.to_sip()?.as_str(), "sip:fred%20f@example.com");
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImPres {
    uri: Uri,
    /// Where the '@' stands.
    at: usize,
    /// Where the domain ends.
    end: usize,
}

impl ImPres {
    /// The parts of an `im` or `pres` URI.
    ///
    /// # Errors
    /// If the URI has another scheme, or does not name a mailbox: `user@domain`.
    pub fn of(uri: &Uri) -> Result<Self, ValueError> {
        let scheme = uri.scheme();
        if !scheme.eq_ignore_ascii_case("im") && !scheme.eq_ignore_ascii_case("pres") {
            return Err(ValueError::new("an im or pres URI", 0));
        }
        let start = scheme.len().saturating_add(1);
        let text = uri.as_str();
        let end = text.find('?').unwrap_or(text.len());
        let mailbox = text.get(start..end).unwrap_or_default();
        let user = mailbox.rfind('@').ok_or(ValueError::new("user@domain", start))?;
        let at = start.saturating_add(user);
        let domain = at.saturating_add(1);
        if user == 0 {
            return Err(ValueError::new("a user before '@'", start));
        }
        if super::host_length(text.get(domain..end).unwrap_or_default(), domain)?
            != end.saturating_sub(domain)
        {
            return Err(ValueError::new("a domain after '@'", domain));
        }
        Ok(Self { uri: uri.clone(), at, end })
    }

    /// Whether it names an inbox for instant messages.
    pub fn is_im(&self) -> bool {
        self.uri.scheme().eq_ignore_ascii_case("im")
    }

    /// Whether it names a presentity.
    pub fn is_pres(&self) -> bool {
        !self.is_im()
    }

    /// The local part with escapes undone.
    pub fn user(&self) -> Cow<'_, str> {
        decode(self.local_part())
    }

    /// The domain as written: its SRV records `_im._sip` and `_pres._sip` name its servers (RFC 3861 §3.2).
    pub fn domain(&self) -> &str {
        self.uri.as_str().get(self.at.saturating_add(1)..self.end).unwrap_or_default()
    }

    /// The headers after `?`, such as a Subject; escapes as they stand.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.uri.as_str().get(self.end..).unwrap_or_default();
        headers
            .trim_start_matches('?')
            .split('&')
            .filter(|one| !one.is_empty())
            .map(|one| one.split_once('=').unwrap_or((one, "")))
    }

    /// The URI itself.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The SIP URI of the same name, which is where SIP looks for it (RFC 3428 §4, RFC 3856 §5).
    ///
    /// # Errors
    /// If the name cannot stand in a SIP URI.
    pub fn to_sip(&self) -> Result<Uri, ValueError> {
        Uri::sip(Some(&self.user()), self.domain(), None)
    }

    /// Whether both are of one scheme and name the same mailbox: users octet by octet, domains without regard to case.
    pub fn equivalent(&self, other: &Self) -> bool {
        self.is_im() == other.is_im()
            && octets(self.local_part()).eq(octets(other.local_part()))
            && self.domain().eq_ignore_ascii_case(other.domain())
    }

    fn local_part(&self) -> &str {
        let start = self.uri.scheme().len().saturating_add(1);
        self.uri.as_str().get(start..self.at).unwrap_or_default()
    }
}

impl core::fmt::Display for ImPres {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.uri.fmt(f)
    }
}

impl core::str::FromStr for ImPres {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::of(&text.parse()?)
    }
}

impl From<ImPres> for String {
    fn from(uri: ImPres) -> String {
        uri.uri.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(text: &str) -> Result<ImPres, ValueError> {
        text.parse()
    }

    /// RFC 3859 §3.2, RFC 3860 §3.2: examples of both.
    #[test]
    fn mailboxes() {
        let fred = read("pres:fred@example.com").unwrap();
        assert!(fred.is_pres() && !fred.is_im());
        assert_eq!((&*fred.user(), fred.domain(), fred.headers().count()), ("fred", "example.com", 0));
        assert!(fred.equivalent(&read("PRES:%66red@EXAMPLE.com").unwrap()));
        assert!(!fred.equivalent(&read("pres:Fred@example.com").unwrap()));
        assert!(!fred.equivalent(&read("im:fred@example.com").unwrap()));
        let subject = read("im:a%40b@example.com?Subject=x&Priority=urgent").unwrap();
        assert_eq!(&*subject.user(), "a@b");
        assert_eq!(subject.headers().collect::<Vec<_>>(), [("Subject", "x"), ("Priority", "urgent")]);
        assert_eq!(subject.to_sip().unwrap().as_str(), "sip:a%40b@example.com");
    }

    #[test]
    fn refused_with_the_place() {
        for (text, at) in [
            ("sip:a@b", 0),
            ("im:example.com", 3),
            ("im:@example.com", 3),
            ("im:a@", 5),
            ("pres:a@b c", 8),
            ("pres:a@b/c", 7),
        ] {
            assert_eq!(read(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
