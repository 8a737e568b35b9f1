//! What is special about a call that we make, and what a caller may be believed.

use sip_message::headers::{NameAddr, PAssertedIdentity};
use sip_message::{Request, Uri};
use sip_transport::Path;

use super::PhoneCore;

/// What is special about a call that we make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallDetails {
    /// Leaves the offer to the callee, who makes it in its answer (RFC 3261 §13.2.1).
    pub without_offer: bool,
    /// Who the callee is told that calls, in the place of the phone's own identity: an anonymous one (RFC 3323 §4.1.1.3).
    pub from: Option<NameAddr>,
    /// Further header fields of the INVITE.
    pub fields: Vec<(String, String)>,
}

impl PhoneCore {
    /// Who calls, as the network vouches for it (RFC 3325 §9.1): a `sip` address and a number at most. Empty unless the request
    /// came from a [trusted](super::PhoneConfig::trusted) peer: anybody can write such a field (§5, §8).
    pub fn asserted_identities(&self, request: &Request, path: &Path) -> Vec<NameAddr> {
        let trusted = self.config.trusted.iter().any(|network| network.contains(path.remote.ip()));
        if !trusted {
            return Vec::new();
        }
        request.headers.all::<PAssertedIdentity>().flatten().take(2).map(|identity| identity.0).collect()
    }

    /// Whether the caller has proved to be one of these.
    pub(super) fn is_one_of(&self, callers: &[Uri], request: &Request, path: &Path) -> bool {
        let same = |known: &Uri, told: &Uri| known.canonical_aor() == told.canonical_aor();
        let asserted = self.asserted_identities(request, path);
        asserted.iter().any(|told| callers.iter().any(|known| same(known, told.uri())))
    }
}
