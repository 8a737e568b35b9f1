//! Trunks: ways to other networks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_auth::{Authenticator, Secret};
use sip_message::Uri;
use sip_transaction::Target;
use sip_transport::identity::Identities;
use sip_transport::locals::parse_ip;
use sip_transport::proxy_protocol::Network;

use super::pattern::Pattern;

/// The host of a From that names nobody (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "anonymous.invalid";

/// A way to another network.
#[derive(Clone, Debug, Default)]
pub struct Trunk {
    /// Tried by priority, then by chance according to weight (as in RFC 2782).
    pub gateways: Vec<Gateway>,
    /// Characters taken off the number's beginning.
    pub strip: usize,
    /// What is put before it then.
    pub add: String,
    /// What its gateways get.
    pub identity: Arc<TrunkIdentity>,
    /// Whether its gateways are asked if they are there.
    pub check: Option<Check>,
    /// How many calls may go out by it at a time; `None`: any number.
    pub max_calls: Option<usize>,
    /// Where it registers.
    pub registration: Option<Arc<TrunkRegistration>>,
    /// Where its calls come from, beside the addresses of its gateways: a gateway that is named by a host name has none until
    /// it is called.
    pub networks: Vec<Network>,
    /// Who it may say is calling: `user@host` of From matches one of these; `None`: anybody.
    pub from: Option<Vec<Pattern>>,
}

/// User name and password at a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkAccount {
    /// The user name.
    pub username: String,
    /// The password.
    pub secret: Secret,
    /// The realm that they hold for; `None`: any.
    pub realm: Option<String>,
}

impl TrunkAccount {
    /// Answers challenges, without the nonces of other calls (RFC 3261 §22.3).
    pub(crate) fn authenticator(&self) -> Authenticator {
        let mut authenticator = Authenticator::default();
        authenticator.add_account(self.realm.as_deref(), self.username.as_str(), self.secret.clone());
        authenticator
    }
}

/// How gateways are asked whether they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// From one answer to the next OPTIONS.
    pub interval: Duration,
    /// Failures in a row after which a gateway is down: it is called only if all are.
    pub falls: u32,
    /// Answers in a row after which it is up again.
    pub rises: u32,
}

/// A registration at the registrar of a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkRegistration {
    /// The registrar.
    pub registrar: Uri,
    /// The address-of-record there.
    pub address: Uri,
    /// The user part of our Contact: a name of ours, which calls of the trunk reach.
    pub contact: String,
    /// Seconds to ask for.
    pub expires: u32,
}

/// Who we are towards a trunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrunkIdentity {
    /// Answers the gateways' challenges.
    pub account: Option<TrunkAccount>,
    /// Goes into P-Asserted-Identity (RFC 3325 §9.1). What senders assert of themselves is taken out in any case.
    pub asserted: Option<Uri>,
    /// Goes into P-Preferred-Identity (RFC 3325 §9.2), for a carrier of which we are a customer.
    pub preferred: Option<Uri>,
    /// The name that its certificate proves, whatever its address (RFC 5922).
    pub tls_name: Option<Arc<str>>,
    /// Whether it is shown neither our other proxies nor where our phones are.
    pub hide: bool,
}

impl TrunkIdentity {
    /// Where a request to it goes, whose certificate has to prove its name if it has one.
    pub(crate) fn target(&self, uri: Uri) -> Target {
        match &self.tls_name {
            Some(name) => Target::Proving(uri, name.clone()),
            None => Target::Uri(uri),
        }
    }
}

/// One gateway of a trunk.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Without user part.
    pub uri: Uri,
    /// Lower is tried first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

impl Trunk {
    /// Whether its requests come from this address.
    pub(crate) fn is_at(&self, ip: IpAddr) -> bool {
        self.networks_of_calls().any(|network| network.contains(ip))
    }

    /// Whether who has proven this is it.
    pub(crate) fn is(&self, peer: &Identities) -> bool {
        self.identity.tls_name.as_deref().is_some_and(|name| peer.proves(name))
    }

    /// Whether one of its gateways is at this host. One with a name for certificates is also where its requests come from: what it
    /// writes into Contact has to prove that name, too.
    pub(crate) fn is_host(&self, host: &str) -> bool {
        self.gateways.iter().any(|one| one.uri.host().eq_ignore_ascii_case(host))
            || (self.identity.tls_name.is_some() && parse_ip(host).is_some_and(|ip| self.is_at(ip)))
    }

    /// Where it is registered at: a registrar beside the gateways proves its own name, unless it has none.
    pub(crate) fn registrar(&self, uri: &Uri) -> Target {
        let beside = !self.is_host(uri.host()) && parse_ip(uri.host()).is_none();
        if beside { Target::Uri(uri.clone()) } else { self.identity.target(uri.clone()) }
    }

    /// Where its requests come from.
    pub(crate) fn networks_of_calls(&self) -> impl Iterator<Item = Network> + '_ {
        let gateways = self.gateways.iter().filter_map(|one| parse_ip(one.uri.host()));
        gateways.map(Network::from).chain(self.networks.iter().copied())
    }

    /// Whether it may say that this is who calls. Who does not want to be named (RFC 3323 §4.1.1.3) is nobody.
    pub(crate) fn may_say(&self, from: &Uri) -> bool {
        let Some(patterns) = &self.from else { return true };
        let host = from.host().to_ascii_lowercase();
        let address = match from.user() {
            Some(user) => format!("{user}@{host}"),
            None => host.clone(),
        };
        host == ANONYMOUS || patterns.iter().any(|pattern| pattern.matches(&address))
    }

    /// The gateways in the order in which one request tries them: by priority, and among equals by chance, in proportion to
    /// their weights.
    #[must_use]
    pub fn order(&self, mut random: u64) -> Vec<&Gateway> {
        let mut left: Vec<&Gateway> = self.gateways.iter().collect();
        left.sort_by_key(|gateway| gateway.priority);
        let mut order = Vec::with_capacity(left.len());
        while let Some(priority) = left.first().map(|gateway| gateway.priority) {
            let equals = left.iter().take_while(|gateway| gateway.priority == priority);
            let total: u64 = equals.map(|gateway| u64::from(gateway.weight).max(1)).sum();
            let mut at = random.checked_rem(total).unwrap_or(0);
            random = random.rotate_right(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let chosen = left
                .iter()
                .position(|gateway| {
                    let weight = u64::from(gateway.weight).max(1);
                    let here = at < weight;
                    at = at.saturating_sub(weight);
                    here
                })
                .unwrap_or(0);
            order.push(left.remove(chosen));
        }
        order
    }

    /// The number as this trunk wants it.
    #[must_use]
    pub fn number(&self, number: &str) -> String {
        let kept: String = number.chars().skip(self.strip).collect();
        format!("{}{kept}", self.add)
    }

    /// The Request-URI of a number at one of its gateways.
    #[must_use]
    pub fn uri(&self, gateway: &Gateway, number: &str) -> Option<Uri> {
        let number = self.number(number);
        let (host, port) = (gateway.uri.host(), gateway.uri.port());
        let made = if gateway.uri.is_sips() {
            Uri::sips(Some(&number), host, port)
        } else {
            Uri::sip(Some(&number), host, port)
        };
        let mut uri = made.ok()?;
        for (name, value) in gateway.uri.params() {
            uri.set_param(name, value);
        }
        Some(uri)
    }
}
