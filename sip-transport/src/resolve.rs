//! The next hop: RFC 3263 as a machine that asks its caller for DNS records.
//!
//! ```text
//!            numeric host ------------------------------------------------+
//!                                                                         v
//!   URI ---- port given ----------------> Addresses(host) ----------> candidates
//!                                              ^    ^                     ^
//!            else, for each transport          |    | no SRV at all       |
//!            in order of preference: Srv(_sip._udp.host) --> targets --> Addresses(target)*
//! ```
//!
//! NAPTR records are not asked for: transports are tried in the order of our own preference, as RFC 3263 §4.1 has it
//! for domains without NAPTR.

use std::collections::VecDeque;
use std::net::SocketAddr;

use sip_message::Uri;
use sip_message::headers::Via;

use crate::core::{Question, Records, ResolveError, Srv};
use crate::locals::{Supported, parse_ip};
use crate::path::Transport;

/// Requests larger than this go over a connection where one can be had, since the path MTU is not known
/// (RFC 3261 §18.1.1).
pub const MAX_DATAGRAM_REQUEST: usize = 1_300;

/// SRV targets looked up for one destination: a zone of a thousand targets must not make us ask a thousand times.
pub const MAX_TARGETS: usize = 16;

/// Candidates for one destination: each may cost a transaction its full timeout.
pub const MAX_CANDIDATES: usize = 32;

/// What a request asks of its way.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Size of the request in bytes as it will be sent.
    pub size: usize,
    /// Transports and address families that can be used: [`Locals::supported`](crate::locals::Locals::supported).
    pub supported: Supported,
    /// Entropy for the choice among SRV records by weight.
    pub random: u64,
}

/// One place to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub remote: SocketAddr,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this, then give the answer to [`Resolution::answer`].
    Ask(Question),
    /// Try these in order. Never empty.
    Done(Vec<Candidate>),
    /// There is nothing to try.
    Failed(Unreachable),
}

/// Why a destination cannot be reached at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Only `sip` and `sips` URIs lead to a host.
    #[error("a URI of scheme \"{0}\" names no host to send to")]
    Scheme(String),
    /// The `transport` parameter names one that we do not know.
    #[error("unknown transport \"{0}\"")]
    UnknownTransport(String),
    /// A `sips` URI cannot be reached over this transport (RFC 3261 §26.2.2).
    #[error("{0} is not secure, the sips URI asks for a secure transport")]
    Insecure(Transport),
    /// No listener of the transport (in the address family found) exists here.
    #[error("no local {0} listener that can reach the destination")]
    NoLocal(Transport),
    /// The name service gave nothing.
    #[error("{name}: {error}")]
    Name {
        /// The name asked for last.
        name: String,
        /// What went wrong.
        error: ResolveError,
    },
    /// The domain says that it offers no such service: an SRV record with the target `.` (RFC 2782).
    #[error("{0} offers no SIP service")]
    NoService(String),
}

/// A host and port to be looked up for a transport.
#[derive(Clone, Debug)]
struct Host {
    transport: Transport,
    name: String,
    port: u16,
}

#[derive(Clone, Debug)]
enum State {
    /// Asking for the SRV records of the first transport of the list.
    Services {
        name: String,
        transports: VecDeque<Transport>,
        fallback: Host,
    },
    /// Asking for the addresses of the first host of the list.
    Hosts(VecDeque<Host>),
    Ended(Option<Unreachable>),
}

/// The way from a URI to a list of addresses (RFC 3263 §4.1, §4.2).
///
/// ```
/// use sip_transport::{Question, Records, Srv, Supported, Transport};
/// use sip_transport::resolve::{Need, Resolution, Step};
///
/// let supported = Supported::NONE.with(Transport::Udp, true);
/// let need = Need { size: 900, supported, random: 7 };
/// let mut resolution = Resolution::new(&"sip:bob@example.com".parse()?, need);
///
/// assert_eq!(resolution.step(), Step::Ask(Question::Srv("_sip._udp.example.com".into())));
/// let srv = Srv { priority: 1, weight: 1, port: 5070, target: "sip1.example.com".into() };
/// resolution.answer(Ok(Records::Srv(vec![srv])));
///
/// assert_eq!(resolution.step(), Step::Ask(Question::Addresses("sip1.example.com".into())));
/// resolution.answer(Ok(Records::Addresses(vec!["192.0.2.1".parse()?])));
///
/// let Step::Done(candidates) = resolution.step() else { unreachable!() };
/// assert_eq!(candidates[0].remote, "192.0.2.1:5070".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resolution {
    need: Need,
    state: State,
    found: Vec<Candidate>,
    /// The last thing that went wrong, told when nothing is found.
    trouble: Option<Unreachable>,
}

impl Resolution {
    /// Where requests for `uri` go.
    #[must_use]
    pub fn new(uri: &Uri, need: Need) -> Resolution {
        let mut resolution = Resolution { need, state: State::Ended(None), found: Vec::new(), trouble: None };
        if let Err(reason) = resolution.begin(uri) {
            resolution.state = State::Ended(Some(reason));
        }
        resolution
    }

    /// Where a response goes when its first way failed: the sent-by of the top Via (RFC 3263 §5).
    #[must_use]
    pub fn for_response(via: &Via, need: Need) -> Resolution {
        // A response stays on the transport of its request, whatever its size.
        let need = Need { size: 0, ..need };
        let mut resolution = Resolution { need, state: State::Ended(None), found: Vec::new(), trouble: None };
        match Transport::from_via(via.transport()) {
            Some(transport) => {
                let secure = transport.is_secure();
                resolution.look_up(via.host(), via.port(), secure, Some(transport), transport);
            }
            None => {
                let unknown = Unreachable::UnknownTransport(via.transport().to_owned());
                resolution.state = State::Ended(Some(unknown));
            }
        }
        resolution
    }

    /// What to do next. Asking twice gives the same.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::Services { name, transports, .. } => match transports.front() {
                Some(transport) => Step::Ask(Question::Srv(service_name(*transport, name))),
                None => Step::Failed(self.reason()),
            },
            State::Hosts(hosts) => match hosts.front() {
                Some(host) => Step::Ask(Question::Addresses(host.name.clone())),
                None => Step::Failed(self.reason()),
            },
            State::Ended(Some(reason)) => Step::Failed(reason.clone()),
            State::Ended(None) if self.found.is_empty() => Step::Failed(self.reason()),
            State::Ended(None) => Step::Done(self.found.clone()),
        }
    }

    /// The answer to the question of the last [`Step::Ask`]. Records of another kind than asked for count as none.
    pub fn answer(&mut self, records: Result<Records, ResolveError>) {
        match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Services { name, transports, fallback } => {
                self.services(name, transports, fallback, records)
            }
            State::Hosts(hosts) => self.addresses(hosts, records),
            ended @ State::Ended(_) => self.state = ended,
        }
    }

    fn begin(&mut self, uri: &Uri) -> Result<(), Unreachable> {
        let secure = uri.is_sips();
        if !secure && !uri.is_sip() {
            return Err(Unreachable::Scheme(uri.scheme().to_owned()));
        }
        let named = match uri.transport_param() {
            None => None,
            Some(name) => Some(
                Transport::from_uri_param(name)
                    .ok_or_else(|| Unreachable::UnknownTransport(name.to_owned()))?,
            ),
        };
        let named = match (secure, named) {
            (true, Some(Transport::Tcp)) => Some(Transport::Tls),
            (true, Some(Transport::Ws)) => Some(Transport::Wss),
            (true, Some(Transport::Udp)) => return Err(Unreachable::Insecure(Transport::Udp)),
            (_, named) => named,
        };
        // RFC 3263 §4.1: maddr stands in for the host.
        let host = uri.maddr().unwrap_or(uri.host());
        let default = if secure { Transport::Tls } else { Transport::Udp };
        self.look_up(host, uri.port(), secure, named, default);
        Ok(())
    }

    fn look_up(
        &mut self,
        host: &str,
        port: Option<u16>,
        secure: bool,
        named: Option<Transport>,
        default: Transport,
    ) {
        let transport = named.unwrap_or_else(|| self.usable_instead_of(default));
        let at = Host { transport, name: host.to_owned(), port: port.unwrap_or(transport.default_port()) };
        if let Some(ip) = parse_ip(host) {
            self.push(transport, SocketAddr::new(ip, at.port));
            return;
        }
        // RFC 7118 §4.1 leaves DNS procedures for WebSocket open: only addresses then.
        if port.is_some() || matches!(transport, Transport::Ws | Transport::Wss) {
            self.state = State::Hosts(VecDeque::from([at]));
            return;
        }
        let transports: VecDeque<Transport> = match named {
            Some(transport) => VecDeque::from([transport]),
            None if secure => VecDeque::from([Transport::Tls]),
            None if self.large() => VecDeque::from([Transport::Tcp, Transport::Udp]),
            None => VecDeque::from([Transport::Udp, Transport::Tcp]),
        };
        let supported = self.need.supported;
        let transports: VecDeque<_> = transports.into_iter().filter(|t| supported.any(*t)).collect();
        if transports.is_empty() {
            self.state = State::Ended(Some(Unreachable::NoLocal(transport)));
            return;
        }
        self.state = State::Services { name: host.to_owned(), transports, fallback: at };
    }

    /// UDP is the default where nothing says otherwise, but a host with TCP listeners alone can still send.
    fn usable_instead_of(&self, default: Transport) -> Transport {
        let supported = self.need.supported;
        if default == Transport::Udp && !supported.any(Transport::Udp) && supported.any(Transport::Tcp) {
            return Transport::Tcp;
        }
        default
    }

    fn services(
        &mut self,
        name: String,
        mut transports: VecDeque<Transport>,
        fallback: Host,
        records: Result<Records, ResolveError>,
    ) {
        let transport = transports.pop_front().unwrap_or(fallback.transport);
        let mut records = match records {
            Ok(Records::Srv(records)) => records,
            Ok(Records::Addresses(_)) => Vec::new(),
            Err(error) => {
                self.trouble = Some(Unreachable::Name { name: service_name(transport, &name), error });
                Vec::new()
            }
        };
        let nothing_said = records.is_empty();
        records.retain(|srv| !matches!(srv.target.as_str(), "." | ""));
        if records.is_empty() && !nothing_said {
            self.trouble = Some(Unreachable::NoService(name.clone()));
        }
        if !records.is_empty() {
            let ordered = in_order(records, &mut self.need.random);
            let hosts = ordered.into_iter().take(MAX_TARGETS).map(|srv| Host {
                transport,
                name: srv.target.trim_end_matches('.').to_owned(),
                port: srv.port,
            });
            self.state = State::Hosts(hosts.collect());
        } else if !transports.is_empty() {
            self.state = State::Services { name, transports, fallback };
        } else if matches!(self.trouble, Some(Unreachable::NoService(_))) {
            // The domain said no: its host's addresses are not to be tried (RFC 2782).
            self.state = State::Ended(None);
        } else {
            self.state = State::Hosts(VecDeque::from([fallback]));
        }
    }

    fn addresses(&mut self, mut hosts: VecDeque<Host>, records: Result<Records, ResolveError>) {
        let Some(host) = hosts.pop_front() else { return };
        match records {
            Ok(Records::Addresses(addresses)) if !addresses.is_empty() => {
                for ip in addresses {
                    self.push(host.transport, SocketAddr::new(ip, host.port));
                }
            }
            Ok(_) => {
                self.trouble = Some(Unreachable::Name { name: host.name, error: ResolveError::NotFound })
            }
            Err(error) => self.trouble = Some(Unreachable::Name { name: host.name, error }),
        }
        if !hosts.is_empty() && self.found.len() < MAX_CANDIDATES {
            self.state = State::Hosts(hosts);
        }
    }

    /// Adds an address, for a large request over TCP first (RFC 3261 §18.1.1: and over UDP when that fails).
    fn push(&mut self, transport: Transport, remote: SocketAddr) {
        if self.large() && transport == Transport::Udp {
            self.push_one(Transport::Tcp, remote);
        }
        if !self.push_one(transport, remote) && self.trouble.is_none() {
            self.trouble = Some(Unreachable::NoLocal(transport));
        }
    }

    fn push_one(&mut self, transport: Transport, remote: SocketAddr) -> bool {
        let supported = self.need.supported.contains(transport, remote.is_ipv4());
        let candidate = Candidate { transport, remote };
        if supported && self.found.len() < MAX_CANDIDATES && !self.found.contains(&candidate) {
            self.found.push(candidate);
        }
        supported
    }

    fn large(&self) -> bool {
        self.need.size > MAX_DATAGRAM_REQUEST
    }

    fn reason(&self) -> Unreachable {
        self.trouble.clone().unwrap_or(Unreachable::NoLocal(Transport::Udp))
    }
}

/// The SRV name of a service: `_sip._udp.example.com`, `_sips._tcp.example.com` (RFC 3263 §4.1).
fn service_name(transport: Transport, domain: &str) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp | Transport::Ws => "_sip._tcp",
        Transport::Tls | Transport::Wss => "_sips._tcp",
    };
    format!("{prefix}.{}", domain.trim_end_matches('.'))
}

/// Sorts records by priority and, within one, draws by weight (RFC 2782, "Usage rules").
fn in_order(mut records: Vec<Srv>, random: &mut u64) -> Vec<Srv> {
    // Weight 0 first within a priority: RFC 2782 wants them to have a small chance only.
    records.sort_by_key(|srv| (srv.priority, srv.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|srv| srv.priority) {
        let same = records.iter().take_while(|srv| srv.priority == priority);
        let total: u64 = same.clone().map(|srv| u64::from(srv.weight)).sum();
        let drawn = draw(random) % total.saturating_add(1);
        let mut sum = 0_u64;
        let chosen = same
            .clone()
            .position(|srv| {
                sum = sum.saturating_add(u64::from(srv.weight));
                sum >= drawn
            })
            .unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

/// One step of the SplitMix64 generator.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supported(list: &[(Transport, bool)]) -> Supported {
        list.iter().fold(Supported::NONE, |set, (transport, ipv4)| set.with(*transport, *ipv4))
    }

    fn need(size: usize) -> Need {
        let all = supported(&[
            (Transport::Udp, true),
            (Transport::Udp, false),
            (Transport::Tcp, true),
            (Transport::Tcp, false),
            (Transport::Tls, true),
        ]);
        Need { size, supported: all, random: 1 }
    }

    fn start(uri: &str, size: usize) -> Resolution {
        Resolution::new(&uri.parse().unwrap(), need(size))
    }

    fn done(resolution: &Resolution) -> Vec<String> {
        match resolution.step() {
            Step::Done(list) => {
                list.iter().map(|c| format!("{} {}", c.transport.uri_param(), c.remote)).collect()
            }
            other => panic!("not done: {other:?}"),
        }
    }

    fn asks(resolution: &Resolution, name: &str) {
        match resolution.step() {
            Step::Ask(question) => assert_eq!(question.name(), name),
            other => panic!("asks nothing: {other:?}"),
        }
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
        Srv { priority, weight, port, target: target.to_owned() }
    }

    fn addresses(list: &[&str]) -> Result<Records, ResolveError> {
        Ok(Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect()))
    }

    /// RFC 3263 §4.1, §4.2: a numeric host needs no DNS.
    #[test]
    fn numeric_hosts_are_used_as_they_are() {
        assert_eq!(done(&start("sip:192.0.2.1", 0)), ["udp 192.0.2.1:5060"]);
        assert_eq!(done(&start("sip:bob@192.0.2.1:5070;transport=tcp", 0)), ["tcp 192.0.2.1:5070"]);
        assert_eq!(done(&start("sip:[2001:db8::1]:5070", 0)), ["udp [2001:db8::1]:5070"]);
        assert_eq!(done(&start("sips:192.0.2.1", 0)), ["tls 192.0.2.1:5061"]);
        assert_eq!(done(&start("sips:192.0.2.1;transport=tcp", 0)), ["tls 192.0.2.1:5061"]);
        assert_eq!(done(&start("sip:example.com;maddr=192.0.2.3", 0)), ["udp 192.0.2.3:5060"]);
    }

    /// RFC 3261 §18.1.1: over 1300 bytes TCP, and UDP when the connection fails.
    #[test]
    fn large_requests_try_tcp_first() {
        assert_eq!(done(&start("sip:192.0.2.1", 1300)), ["udp 192.0.2.1:5060"]);
        assert_eq!(done(&start("sip:192.0.2.1", 1301)), ["tcp 192.0.2.1:5060", "udp 192.0.2.1:5060"]);
        let only_udp = Need { supported: supported(&[(Transport::Udp, true)]), ..need(1301) };
        let resolution = Resolution::new(&"sip:192.0.2.1".parse().unwrap(), only_udp);
        assert_eq!(done(&resolution), ["udp 192.0.2.1:5060"]);
    }

    /// RFC 3263 §4.2: an explicit port means addresses only.
    #[test]
    fn a_port_skips_srv() {
        let mut resolution = start("sip:bob@example.com:5070", 0);
        assert_eq!(resolution.step(), Step::Ask(Question::Addresses("example.com".into())));
        resolution.answer(addresses(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(done(&resolution), ["udp 192.0.2.1:5070", "udp [2001:db8::1]:5070"]);
    }

    #[test]
    fn srv_targets_are_tried_by_priority_and_then_their_addresses() {
        let mut resolution = start("sip:bob@example.com", 0);
        asks(&resolution, "_sip._udp.example.com");
        resolution.answer(Ok(Records::Srv(vec![
            srv(20, 0, 5060, "b.example.com."),
            srv(10, 0, 5070, "a.example.com"),
        ])));
        asks(&resolution, "a.example.com");
        resolution.answer(addresses(&["192.0.2.1", "192.0.2.2"]));
        asks(&resolution, "b.example.com");
        resolution.answer(Err(ResolveError::NotFound));
        assert_eq!(done(&resolution), ["udp 192.0.2.1:5070", "udp 192.0.2.2:5070"]);
    }

    #[test]
    fn without_udp_srv_the_next_transport_is_asked_and_then_the_host_itself() {
        let mut resolution = start("sip:example.com", 0);
        asks(&resolution, "_sip._udp.example.com");
        resolution.answer(Err(ResolveError::NotFound));
        asks(&resolution, "_sip._tcp.example.com");
        resolution.answer(Ok(Records::Srv(Vec::new())));
        assert_eq!(resolution.step(), Step::Ask(Question::Addresses("example.com".into())));
        resolution.answer(addresses(&["192.0.2.1"]));
        assert_eq!(done(&resolution), ["udp 192.0.2.1:5060"]);
    }

    #[test]
    fn the_transport_parameter_and_the_scheme_choose_the_service() {
        asks(&start("sip:example.com;transport=tcp", 0), "_sip._tcp.example.com");
        asks(&start("sip:example.com;transport=TLS", 0), "_sips._tcp.example.com");
        asks(&start("sips:example.com", 0), "_sips._tcp.example.com");
        asks(&start("sip:example.com", 2000), "_sip._tcp.example.com");
    }

    #[test]
    fn what_cannot_be_reached_says_why() {
        let failed = |uri: &str| match start(uri, 0).step() {
            Step::Failed(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed("tel:+15551234"), Unreachable::Scheme("tel".into()));
        assert_eq!(failed("sip:192.0.2.1;transport=sctp"), Unreachable::UnknownTransport("sctp".into()));
        assert_eq!(failed("sips:192.0.2.1;transport=udp"), Unreachable::Insecure(Transport::Udp));
        assert_eq!(failed("sip:192.0.2.1;transport=ws"), Unreachable::NoLocal(Transport::Ws));

        let mut nowhere = start("sip:nowhere.example:5060", 0);
        nowhere.answer(Err(ResolveError::TimedOut));
        let expected = Unreachable::Name { name: "nowhere.example".into(), error: ResolveError::TimedOut };
        assert_eq!(nowhere.step(), Step::Failed(expected));
    }

    /// RFC 2782: a target of "." means that the service is decidedly not available at this domain.
    #[test]
    fn a_root_target_ends_the_search() {
        let mut resolution = start("sip:example.com;transport=udp", 0);
        resolution.answer(Ok(Records::Srv(vec![srv(0, 0, 0, ".")])));
        assert_eq!(resolution.step(), Step::Failed(Unreachable::NoService("example.com".into())));
    }

    /// RFC 2782: within a priority the chance is proportional to the weight.
    #[test]
    fn weights_share_the_load() {
        let mut random = 42;
        let mut first = [0_u32; 2];
        for _ in 0..4000 {
            let ordered =
                in_order(vec![srv(1, 75, 1, "a"), srv(1, 25, 2, "b"), srv(2, 9999, 3, "c")], &mut random);
            assert_eq!(ordered[2].target, "c");
            first[usize::from(ordered[0].target == "b")] += 1;
        }
        let share = f64::from(first[1]) / 4000.0;
        assert!((0.2..0.3).contains(&share), "b came first in {share} of the draws, expected a quarter");
    }

    #[test]
    fn a_zone_of_many_targets_does_not_make_us_ask_forever() {
        let mut resolution = start("sip:example.com;transport=udp", 0);
        let many = (0..1000).map(|n| srv(n, 0, 5060, &format!("h{n}.example.com"))).collect();
        resolution.answer(Ok(Records::Srv(many)));
        let mut asked = 0;
        while let Step::Ask(_) = resolution.step() {
            asked += 1;
            resolution.answer(addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
        }
        assert!(asked <= MAX_TARGETS);
        assert!(done(&resolution).len() <= MAX_CANDIDATES);
    }

    /// RFC 3263 §5: a response goes to the sent-by when its connection or `received` failed.
    #[test]
    fn responses_fall_back_to_the_sent_by() {
        let via = Via::new("TCP", "client.example.com", Some(5070));
        let mut resolution = Resolution::for_response(&via, need(5000));
        assert_eq!(resolution.step(), Step::Ask(Question::Addresses("client.example.com".into())));
        resolution.answer(addresses(&["192.0.2.9"]));
        assert_eq!(done(&resolution), ["tcp 192.0.2.9:5070"]);
        asks(
            &Resolution::for_response(&Via::new("UDP", "client.example.com", None), need(0)),
            "_sip._udp.client.example.com",
        );
    }
}
