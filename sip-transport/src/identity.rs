//! The SIP domains that a certificate proves (RFC 5922 §7.1) and how they are compared (§7.2), and the users that it names.
//! Pure: whether the certificate is to be believed at all (chain, time, purpose) is decided elsewhere.
//!
//! A host that is an IP address is beyond RFC 5922, which speaks of domains. It is proven by a `sip` URI with that
//! address or by an iPAddress of the certificate.

#[cfg(feature = "tls")]
mod certificate;

use std::net::IpAddr;

use sip_message::Uri;

use crate::locals::parse_ip;
#[cfg(feature = "tls")]
pub use certificate::IdentityError;

/// The SIP identities of one certificate.
///
/// ```
/// use sip_transport::identity::Identities;
/// let identities = Identities::of_domain("Example.com");
/// assert!(identities.proves("example.COM"));
/// assert!(!identities.proves("sip.example.com"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// In lower case, without a last dot.
    domains: Vec<String>,
    addresses: Vec<IpAddr>,
    users: Vec<Uri>,
}

impl Identities {
    /// A single domain, as if from a certificate for it.
    #[must_use]
    pub fn of_domain(name: &str) -> Identities {
        Identities { domains: domain(name).into_iter().collect(), ..Identities::default() }
    }

    /// These users, as if from a certificate for them.
    #[must_use]
    pub fn of_users(users: Vec<Uri>) -> Identities {
        Identities { users, ..Identities::default() }
    }

    /// What it proves of domains and addresses alone.
    #[must_use]
    pub fn without_users(self) -> Identities {
        Identities { users: Vec::new(), ..self }
    }

    /// Whether the certificate proves this host of a URI: a domain, compared as a whole and without regard to case, or
    /// an IP address.
    #[must_use]
    pub fn proves(&self, host: &str) -> bool {
        if let Some(ip) = parse_ip(host) {
            return self.addresses.contains(&ip.to_canonical());
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        !host.is_empty() && self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    }

    /// The domains, in lower case.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
    }

    /// The users, by their `sip` URIs.
    pub fn users(&self) -> impl Iterator<Item = &Uri> {
        self.users.iter()
    }

    /// Whether it proves no domain and no address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.addresses.is_empty()
    }
}

/// A DNS name in lower case. Wildcards are none: RFC 5922 §7.2 lets `*.example.com` match itself alone, which no URI
/// contains.
fn domain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let top_is_a_name =
        name.rsplit('.').next().is_some_and(|top| !top.bytes().all(|byte| byte.is_ascii_digit()));
    (name.len() <= 253 && top_is_a_name && name.split('.').all(fits)).then(|| name.to_ascii_lowercase())
}
