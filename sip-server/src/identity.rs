//! Who calls, as servers that trust each other tell it (RFC 3325), and callers who do not want it told (RFC 3323).
//!
//! ```text
//!   phone ──▶ us ──▶ a server that we trust     what the phone asserts of itself is taken out, what its password proved goes in
//!   phone ◀── us ◀── a server that we trust     what it asserts is passed on, unless the caller asks for privacy
//! ```

use std::net::IpAddr;

use sip_message::headers::{From, NameAddr, PAssertedIdentity, PPreferredIdentity, Privacy};
use sip_message::{HeaderName, Headers, Request, Uri};
use sip_transport::proxy_protocol::Network;

use crate::domains::Domains;
use crate::routing::Rules;
use crate::users::owns;

/// The servers whose word on who calls is taken, and who take ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustDomain {
    networks: Vec<Network>,
}

impl TrustDomain {
    /// These, and the gateways of trunks: a carrier asserts the numbers of those who call.
    pub(crate) fn new(peers: &[Network], rules: &Rules) -> Self {
        Self { networks: peers.iter().copied().chain(rules.trunk_networks()).collect() }
    }

    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }
}

/// RFC 3325 §5: what somebody outside of the trust domain asserts is taken out; of a user who has proven himself is asserted who he
/// is, by the address that he prefers if it is his (§9.2).
pub(crate) fn assert_sender(request: &mut Request, user: Option<&str>, domains: &Domains) {
    let headers = &mut request.headers;
    headers.remove(HeaderName::P_ASSERTED_IDENTITY);
    let identity = user.and_then(|user| identity_of(headers, user, domains));
    headers.remove(HeaderName::P_PREFERRED_IDENTITY);
    if let Some(identity) = identity {
        headers.push_back(&PAssertedIdentity(identity));
    }
}

fn identity_of(headers: &Headers, user: &str, domains: &Domains) -> Option<NameAddr> {
    let his = |address: &NameAddr| domains.aor(address.uri()).is_some_and(|aor| owns(user, &aor));
    let bare = |mut address: NameAddr| {
        address.remove_param("tag");
        address
    };
    let preferred = headers.all::<PPreferredIdentity>().flatten().map(|one| one.0).find(his);
    let from = || headers.get::<From>().ok().flatten().map(|from| from.0).filter(his);
    let by_name = || {
        let uri: Uri = match user.split_once('@') {
            Some(_) => format!("sip:{user}"),
            None => format!("sip:{user}@{}", domains.first()?),
        }
        .parse()
        .ok()?;
        Some(NameAddr::new(&uri))
    };
    preferred.or_else(from).map(bare).or_else(by_name)
}

/// RFC 3325 §7: before a request leaves the trust domain, who asked for `id` privacy is not named any more, and the wish is fulfilled
/// (RFC 3323 §5).
pub(crate) fn withhold(request: &mut Request) {
    let headers = &mut request.headers;
    let Ok(Some(mut privacy)) = headers.get::<Privacy>() else { return };
    if !privacy.wants("id") {
        return;
    }
    headers.remove(HeaderName::P_ASSERTED_IDENTITY);
    privacy.values.retain(|value| !value.eq_ignore_ascii_case("id"));
    headers.remove(HeaderName::PRIVACY);
    if privacy.values.iter().any(|value| !value.eq_ignore_ascii_case("critical")) {
        headers.push_back(&privacy);
    }
}
