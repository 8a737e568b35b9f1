//! What a configuration comes to: keys, verifiers, the next hop.

use std::time::{Duration, Instant};

use sip_auth::{Role, Verifier, VerifierConfig};
use sip_transaction::{Target, Transactions};
use sip_transport::outbound::FlowTokens;
use sip_transport::resolve::{Need, Progress, Resolution};
use sip_transport::{Locals, Path};

use super::common::Common;
use crate::config::ConfigError;
use crate::gruu::Gruus;
use crate::protection::ProtectionConfig;
use crate::proxy::{RecordRoute, Seals};
use crate::routing::Rules;

/// A carrier's gateways are no strangers.
pub(super) fn trusting(mut protection: ProtectionConfig, rules: &Rules) -> ProtectionConfig {
    protection.trusted.extend(rules.trunk_networks());
    protection
}

/// What is written into messages and has to be known again, with keys of this generator.
pub(super) fn keyed(random: &mut Transactions, locals: &Locals) -> (RecordRoute, Gruus) {
    let keys = (random.random(), random.random());
    let tokens = FlowTokens::new(&secret(random));
    let gruus = Gruus::new(&secret(random));
    let mut key = [0; 16];
    key.iter_mut().zip(secret(random)).for_each(|(octet, random)| *octet = random);
    let mut pair = || (random.random(), random.random());
    let seals = Seals::new(key, [pair(), pair()]);
    let held = FlowTokens::new(&secret(random));
    (RecordRoute::new(keys, (tokens, held), seals, locals), gruus)
}

/// The first domain, or the first address, if no realm is named.
pub(super) fn realm_of(realm: Option<String>, domains: &[String], locals: &Locals) -> String {
    realm
        .or_else(|| domains.first().cloned())
        .or_else(|| locals.iter().next().map(|local| local.host.clone()))
        .unwrap_or_default()
}

pub(super) fn verifier(
    realm: &str,
    algorithms: &[sip_auth::Algorithm],
    secret: [u8; 32],
    role: Role,
    now: Instant,
    unix_time: Duration,
) -> Result<Common<Verifier>, sip_auth::VerifierConfigError> {
    let mut config = VerifierConfig::new(realm.to_owned(), secret);
    config.role = role;
    config.algorithms = algorithms.to_vec();
    // Phones and test programs write the address of the server, or of the proxy before it, into `uri`. A replay for another
    // Request-URI is what the nonce count stops.
    config.uri_check = sip_auth::UriCheck::Any;
    Verifier::new(config, now, unix_time).map(Common::new)
}

/// 32 octets for nonces.
pub(super) fn secret(transactions: &mut Transactions) -> [u8; 32] {
    let mut secret = [0; 32];
    for chunk in secret.chunks_mut(8) {
        chunk.copy_from_slice(&transactions.random().to_be_bytes());
    }
    secret
}

/// An address stays as it is for every request; a name is resolved each time.
pub(super) fn next_hop(uri: sip_message::Uri, locals: &Locals) -> Result<Target, ConfigError> {
    if !uri.is_sip() && !uri.is_sips() {
        return Err(ConfigError::NextHop(uri));
    }
    let need = Need { size: 0, supported: locals.supported(), random: 0 };
    Ok(match Resolution::new(&uri, need).progress() {
        Progress::Done(candidates) => match candidates.as_slice() {
            [only] => Target::Path(Path::to(only.transport, only.remote)),
            _ => Target::Uri(uri),
        },
        _ => Target::Uri(uri),
    })
}
