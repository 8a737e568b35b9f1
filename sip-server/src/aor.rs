//! Addresses-of-record: the names under which bindings are kept (RFC 3261 §6, §10.3 step 5).

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use sip_message::Uri;

/// An address-of-record in canonical form, `alice@example.com`: without scheme, password, port and parameters, needless
/// escapes undone, the host in lower case. A clone costs a reference count.
///
/// `sip` and `sips` name the same user (RFC 3261 §19.1.4 keeps their URIs apart; their bindings are the same phones).
///
/// ```
/// use sip_server::AddressOfRecord;
/// let aor = AddressOfRecord::new(&"sip:%61lice:secret@EXAMPLE.com:5060;user=phone".parse()?, "Example.com").unwrap();
/// assert_eq!(aor.as_str(), "alice@example.com");
/// assert_eq!((aor.user(), aor.domain()), ("alice", "example.com"));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressOfRecord(Arc<str>);

impl AddressOfRecord {
    /// The user of a `sip` or `sips` URI, at `domain`. `None` when the URI has no user.
    #[must_use]
    pub fn new(uri: &Uri, domain: &str) -> Option<Self> {
        if !uri.is_sip() && !uri.is_sips() {
            return None;
        }
        let user = uri.user()?;
        if is_canonical(user) {
            return Some(Self::of(user, domain));
        }
        // A password is no part of the name; the canonical form would escape its colon.
        let bare: Uri;
        let uri = match user.split_once(':') {
            Some((user, _password)) => {
                bare = format!("sip:{user}@invalid").parse().ok()?;
                &bare
            }
            None => uri,
        };
        let canonical = uri.canonical_aor();
        let (_, rest) = canonical.split_once(':')?;
        let (user, _) = rest.split_once('@')?;
        Some(Self::of(user, domain))
    }

    fn of(user: &str, domain: &str) -> Self {
        let mut text = String::with_capacity(user.len().saturating_add(domain.len()).saturating_add(1));
        text.push_str(user);
        text.push('@');
        let host = text.len();
        text.push_str(domain);
        if let Some(host) = text.get_mut(host..) {
            host.make_ascii_lowercase();
        }
        Self(text.into())
    }

    /// One that has been written in its canonical form before.
    pub(crate) fn from_canonical(text: &str) -> Self {
        Self(text.into())
    }

    /// `user@domain`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part; characters that a user part cannot hold are escaped.
    #[must_use]
    pub fn user(&self) -> &str {
        self.0.split_once('@').map_or("", |(user, _)| user)
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Most user parts are nothing but characters that are never escaped (`unreserved` of RFC 3261 §25.1).
fn is_canonical(user: &str) -> bool {
    user.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&octet))
}

/// Hashes and compares as its text does, so that a table is asked by either.
impl Borrow<str> for AddressOfRecord {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AddressOfRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_user_are_one_address_and_others_are_others() {
        let aor = |text: &str| AddressOfRecord::new(&text.parse().unwrap(), "example.com");
        assert_eq!(aor("sip:alice@example.com"), aor("sips:alice@EXAMPLE.COM:5061;transport=tls"));
        assert_eq!(aor("sip:alice@example.com"), aor("sip:al%69ce@192.0.2.1"));
        assert_ne!(aor("sip:alice@example.com"), aor("sip:Alice@example.com"), "users compare with case");
        assert_eq!(aor("sip:a%40b@example.com").unwrap().user(), "a%40b");
        assert_eq!(aor("sip:example.com"), None);
        assert_eq!(aor("tel:+1234"), None);
    }
}
