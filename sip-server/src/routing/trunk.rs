//! Trunks: ways to other networks.

use std::sync::Arc;
use std::time::Duration;

use sip_auth::{Authenticator, Secret};
use sip_message::Uri;

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
