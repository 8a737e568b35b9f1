//! Which transport: NAPTR records (RFC 3263 §4.1, RFC 3403 §4.1, RFC 7118 §5.5).

use crate::core::Naptr;
use crate::locals::Supported;
use crate::path::Transport;

/// An SRV name to ask, and the transport that its records are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) transport: Transport,
    pub(super) name: String,
}

/// The services of the records that fit, most preferred first. Those of one group have the same order and stand in
/// for each other; a later group is for the case only that nothing is found behind the one before.
pub(super) fn services(
    mut records: Vec<Naptr>,
    secure: bool,
    supported: Supported,
    most: usize,
) -> Vec<Vec<Service>> {
    records.retain(|record| fits(record, secure, supported));
    records.sort_by(|one, other| {
        let key = |record: &Naptr| (record.order, record.preference);
        // Equals: any order will do, if it is always the same.
        key(one).cmp(&key(other)).then_with(|| one.replacement.cmp(&other.replacement))
    });
    records.truncate(most);
    let groups = records.chunk_by(|one, other| one.order == other.order);
    groups.map(|group| group.iter().filter_map(service).collect()).collect()
}

/// RFC 3263 §4.1: a terminal record for SRV with an empty regular expression, whose service is one of ours; for a
/// `sips` URI a secure one.
fn fits(record: &Naptr, secure: bool, supported: Supported) -> bool {
    let Some(transport) = transport_of(&record.service) else { return false };
    record.flags.eq_ignore_ascii_case("s")
        && record.regexp.is_empty()
        && !matches!(record.replacement.as_str(), "" | ".")
        && (transport.is_secure() || !secure)
        && supported.any(transport)
}

fn service(record: &Naptr) -> Option<Service> {
    let name = record.replacement.trim_end_matches('.').to_owned();
    Some(Service { transport: transport_of(&record.service)?, name })
}

/// The registry of services: RFC 3263 §9 and RFC 7118 §10.2. `SIPS+D2U` cannot be, SCTP we do not have.
fn transport_of(service: &str) -> Option<Transport> {
    const REGISTRY: [(&str, Transport); 5] = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    let mut registry = REGISTRY.into_iter();
    registry.find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| transport)
}

/// The SRV name of a service that no NAPTR record names: `_sip._udp.example.com`, `_sips._tcp.example.com`
/// (RFC 3263 §4.1). `None` for WebSocket: RFC 7118 defines no such name.
pub(super) fn service_name(transport: Transport, domain: &str) -> Option<String> {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Ws | Transport::Wss => return None,
    };
    Some(format!("{prefix}.{}", domain.trim_end_matches('.')))
}
