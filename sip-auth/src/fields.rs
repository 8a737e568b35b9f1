//! The two pairs of header fields, behind one name.

use sip_message::headers::{
    Authorization, Challenge, Credentials, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate,
};
use sip_message::{HeaderName, Headers, StatusCode};

/// Who asks for credentials (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A user agent, registrar or redirect server: 401, WWW-Authenticate, Authorization.
    UserAgent,
    /// A proxy: 407, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Role {
    pub(crate) const BOTH: [Role; 2] = [Role::UserAgent, Role::Proxy];

    /// The status of its challenges: 401 or 407.
    pub fn status(self) -> StatusCode {
        match self {
            Role::UserAgent => StatusCode::UNAUTHORIZED,
            Role::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The challenges of a response; what cannot be read is passed over, as a scheme not understood (RFC 8760 §2.4).
    pub(crate) fn challenges(self, headers: &Headers) -> Vec<Challenge> {
        match self {
            Role::UserAgent => headers.all::<WwwAuthenticate>().flatten().map(|field| field.0).collect(),
            Role::Proxy => headers.all::<ProxyAuthenticate>().flatten().map(|field| field.0).collect(),
        }
    }

    /// The credentials of a request, each readable or not.
    pub(crate) fn credentials(self, headers: &Headers) -> Vec<Option<Credentials>> {
        match self {
            Role::UserAgent => {
                headers.all::<Authorization>().map(|field| field.ok().map(|field| field.0)).collect()
            }
            Role::Proxy => {
                headers.all::<ProxyAuthorization>().map(|field| field.ok().map(|field| field.0)).collect()
            }
        }
    }

    pub(crate) fn remove_credentials(self, headers: &mut Headers) {
        match self {
            Role::UserAgent => headers.remove(HeaderName::AUTHORIZATION),
            Role::Proxy => headers.remove(HeaderName::PROXY_AUTHORIZATION),
        };
    }

    pub(crate) fn push_credentials(self, headers: &mut Headers, credentials: Credentials) {
        match self {
            Role::UserAgent => headers.push_back(&Authorization(credentials)),
            Role::Proxy => headers.push_back(&ProxyAuthorization(credentials)),
        }
    }
}

pub(crate) fn is_digest(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("Digest")
}
