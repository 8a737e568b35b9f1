//! The next hop: RFC 3263 as a machine that asks its caller for DNS records.
//!
//! ```text
//!            numeric host ------------------------------------------------------------+
//!                                                                                     v
//!   URI ---- port given ------------------------------> A and AAAA of host ------> candidates
//!       |                                                   ^      ^                  ^
//!       |    transport named                   no SRV at all|      |of each target    |
//!       +-----------------------> SRV _sip._tcp.host -------+------+                  |
//!       |                              ^                                              |
//!       |    else              no NAPTR| for each of our transports, at once          |
//!       +---> NAPTR host --------------+                                              |
//!                  |                                                                  |
//!                  +-----------> SRV of the replacements --> A and AAAA of targets ---+
//! ```
//!
//! Questions of one stage are asked at once. What is not answered while the rest would do is waited for a moment only:
//! [`Progress::Waiting`] says how long.

mod hosts;
mod naptr;
mod order;
mod wish;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sip_message::Uri;
use sip_message::headers::Via;

pub use self::order::taking_turns;

use self::hosts::Host;
use self::naptr::{Service, service_name, services};
use self::order::in_order;
use self::wish::Wish;
use crate::core::{Question, Records, ResolveError, Srv};
use crate::locals::{Supported, parse_ip};
use crate::path::Transport;

/// Requests larger than this go over a connection where one can be had, since the path MTU is not known
/// (RFC 3261 §18.1.1).
pub const MAX_DATAGRAM_REQUEST: usize = 1_300;

/// NAPTR records considered: each is an SRV question, and there are five services at most.
pub const MAX_SERVICES: usize = 8;

/// SRV targets looked up for one destination, as many as attempts are made: a zone of a thousand targets must not
/// make us ask two thousand times.
pub const MAX_TARGETS: usize = 8;

/// Candidates for one destination: each may cost a transaction its full timeout.
pub const MAX_CANDIDATES: usize = 32;

/// How long the other address family is waited for when one is known (RFC 8305 §3, "Resolution Delay").
pub const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long the addresses of further servers are waited for when those of the first are known: they serve for
/// failover alone, and a name server that hangs on one of them must not hold a call up.
pub const FURTHER_TARGETS_DELAY: Duration = Duration::from_secs(1);

/// What a request asks of its way.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Size of the request in bytes as it will be sent.
    pub size: usize,
    /// Transports and address families that can be used: [`Locals::supported`](crate::locals::Locals::supported).
    pub supported: Supported,
    /// Entropy for the choice among SRV records by weight. The same number gives the same choice: a stateless proxy
    /// derives it from the transaction (RFC 3263 §4.4).
    pub random: u64,
}

/// One place to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub remote: SocketAddr,
    /// The number of the host that has this address, in the order in which hosts are tried.
    pub host: u16,
}

/// Where a resolution stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Answers are awaited. With a time: if the next answer does not come within it, call
    /// [`Resolution::settle`], since what is there will do.
    Waiting(Option<Duration>),
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

#[derive(Clone, Debug)]
enum Stage {
    /// The domain's NAPTR records are awaited.
    Transports,
    /// SRV records are awaited, with what was found of each; further groups are asked if none of these has any.
    Services {
        asked: Vec<(Service, Vec<Srv>)>,
        later: VecDeque<Vec<Service>>,
    },
    /// Addresses are awaited.
    Hosts(Vec<Host>),
    Ended,
}

/// The way from a URI to a list of addresses (RFC 3263 §4.1, §4.2).
///
/// ```
/// use sip_transport::{Naptr, Question, Records, Srv, Supported, Transport};
/// use sip_transport::resolve::{Need, Progress, Resolution};
///
/// let supported = Supported::NONE.with(Transport::Udp, true).with(Transport::Tcp, true);
/// let need = Need { size: 900, supported, random: 7 };
/// let mut resolution = Resolution::new(&"sip:bob@example.com".parse()?, need);
///
/// assert_eq!(resolution.ask(), [Question::Naptr("example.com".into())]);
/// let text = |text: &str| text.to_owned();
/// let naptr = Naptr { order: 90, preference: 50, flags: text("s"), service: text("SIP+D2T"),
///     regexp: text(""), replacement: text("_sip._tcp.example.com.") };
/// resolution.answer(&Question::Naptr("example.com".into()), Ok(Records::Naptr(vec![naptr])));
///
/// let [question] = &resolution.ask()[..] else { unreachable!() };
/// assert_eq!(question.to_string(), "_sip._tcp.example.com SRV");
/// let srv = Srv { priority: 0, weight: 1, port: 5070, target: text("server1.example.com.") };
/// resolution.answer(question, Ok(Records::Srv(vec![srv])));
///
/// let [question] = &resolution.ask()[..] else { unreachable!() };
/// resolution.answer(question, Ok(Records::Addresses(vec!["192.0.2.1".parse()?])));
///
/// let Progress::Done(candidates) = resolution.progress() else { unreachable!() };
/// assert_eq!((candidates[0].transport, candidates[0].remote), (Transport::Tcp, "192.0.2.1:5070".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resolution {
    need: Need,
    wish: Wish,
    stage: Stage,
    /// Questions that the caller has not taken yet, and those that are in flight.
    fresh: Vec<Question>,
    awaited: Vec<Question>,
    found: Vec<Candidate>,
    /// The transport where no SRV record says otherwise.
    default: Transport,
    /// The domain said of a service that it decidedly has none.
    refused: bool,
    /// What is told when nothing is found.
    trouble: Option<Unreachable>,
}

impl Resolution {
    /// Where requests for `uri` go.
    #[must_use]
    pub fn new(uri: &Uri, need: Need) -> Resolution {
        Resolution::of(Wish::of_uri(uri), need)
    }

    /// Where a response goes when its first way failed: the sent-by of the top Via (RFC 3263 §5).
    #[must_use]
    pub fn for_response(via: &Via, need: Need) -> Resolution {
        // A response stays on the transport of its request, whatever its size.
        Resolution::of(Wish::of_via(via), Need { size: 0, ..need })
    }

    fn of(wish: Result<Wish, Unreachable>, need: Need) -> Resolution {
        let nothing = || Wish { target: String::new(), port: None, secure: false, named: None };
        let (wish, trouble) = match wish {
            Ok(wish) => (wish, None),
            Err(trouble) => (nothing(), Some(trouble)),
        };
        let usual = if wish.secure { Transport::Tls } else { Transport::Udp };
        let default = wish.named.unwrap_or_else(|| usable_instead_of(usual, need.supported));
        let stage = Stage::Ended;
        let (fresh, awaited, found) = (Vec::new(), Vec::new(), Vec::new());
        let mut resolution =
            Resolution { need, wish, stage, fresh, awaited, found, default, refused: false, trouble };
        if resolution.trouble.is_none() {
            resolution.begin();
        }
        resolution
    }

    /// The questions to ask now, each of which is given once. All may be in flight at the same time.
    #[must_use = "what is not asked is waited for in vain"]
    pub fn ask(&mut self) -> Vec<Question> {
        let questions = std::mem::take(&mut self.fresh);
        self.awaited.extend_from_slice(&questions);
        questions
    }

    /// The answer to a question of [`ask`](Resolution::ask). Answers to anything else, or the second time, are
    /// ignored; records of another kind than asked for count as none.
    pub fn answer(&mut self, question: &Question, records: Result<Records, ResolveError>) {
        let Some(index) = self.awaited.iter().position(|awaited| awaited == question) else { return };
        self.awaited.swap_remove(index);
        match &mut self.stage {
            Stage::Transports => self.transports(records),
            Stage::Services { asked, .. } => {
                let records = match records {
                    Ok(Records::Srv(records)) => records,
                    Ok(_) => Vec::new(),
                    Err(error) => {
                        self.trouble = Some(Unreachable::Name { name: question.name().to_owned(), error });
                        Vec::new()
                    }
                };
                for (_, found) in asked.iter_mut().filter(|(service, _)| service.name == question.name()) {
                    self.refused |= records.iter().any(|srv| matches!(srv.target.as_str(), "." | ""));
                    found.clone_from(&records);
                    found.retain(|srv| !matches!(srv.target.as_str(), "." | ""));
                }
            }
            Stage::Hosts(hosts) => hosts.iter_mut().for_each(|host| host.answer(question, &records)),
            Stage::Ended => {}
        }
        self.advance();
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if !matches!(self.stage, Stage::Ended) {
            return Progress::Waiting(self.patience());
        }
        if self.found.is_empty() {
            Progress::Failed(self.trouble.clone().unwrap_or(Unreachable::NoLocal(self.default)))
        } else {
            Progress::Done(self.found.clone())
        }
    }

    /// Waits no longer: what is not answered yet counts as timed out.
    pub fn settle(&mut self) {
        let _ = self.ask();
        for question in self.awaited.clone() {
            self.answer(&question, Err(ResolveError::TimedOut));
        }
    }

    /// How long to wait for what is still missing; `None` if there is no way to go on without.
    fn patience(&self) -> Option<Duration> {
        let Stage::Hosts(hosts) = &self.stage else { return None };
        let mut open = hosts.iter().filter(|host| !host.is_settled() || host.is_usable());
        if !open.next()?.is_usable() {
            return None;
        }
        let complete = open.all(|host| host.is_settled() || host.is_usable());
        Some(if complete { RESOLUTION_DELAY } else { FURTHER_TARGETS_DELAY })
    }

    fn begin(&mut self) {
        let (default, port) = (self.default, self.wish.port);
        if let Some(ip) = parse_ip(&self.wish.target) {
            let port = port.unwrap_or(default.default_port());
            self.push(default, &[SocketAddr::new(ip, port)], 0);
        } else if port.is_some() {
            self.look_up_target();
        } else if let Some(named) = self.wish.named {
            // §4.2: a transport that is told is asked for alone; WebSocket has no SRV name of its own.
            self.ask_services(&[named]);
        } else {
            self.stage = Stage::Transports;
            self.fresh.push(Question::Naptr(self.wish.target.trim_end_matches('.').to_owned()));
        }
    }

    fn transports(&mut self, records: Result<Records, ResolveError>) {
        let records = if let Ok(Records::Naptr(records)) = records { records } else { Vec::new() };
        let mut groups = services(records, self.wish.secure, self.need.supported, MAX_SERVICES);
        if let Some(service) = groups.first().and_then(|group| group.first()) {
            self.default = service.transport;
            if self.large() {
                // §18.1.1 of RFC 3261 is a MUST, the order of NAPTR records is the domain's wish.
                let mut all = groups.concat();
                all.sort_by_key(|service| !service.transport.is_reliable());
                groups = vec![all];
            }
            return self.ask_groups(groups.into());
        }
        // §4.1: no NAPTR; a query for each transport that we have.
        let supported = self.need.supported;
        let usual = match (self.wish.secure, self.large()) {
            (true, _) => &[Transport::Tls][..],
            (false, true) => &[Transport::Tcp, Transport::Udp],
            (false, false) => &[Transport::Udp, Transport::Tcp],
        };
        let mut ours: Vec<Transport> = usual.iter().copied().filter(|t| supported.any(*t)).collect();
        if ours.is_empty() && supported.any(Transport::Tls) {
            ours.push(Transport::Tls);
        }
        self.ask_services(&ours);
    }

    /// Asks for the SRV records of the domain itself for these transports, at once.
    fn ask_services(&mut self, transports: &[Transport]) {
        let named = transports.iter().filter_map(|transport| {
            let name = service_name(*transport, &self.wish.target)?;
            self.need.supported.any(*transport).then_some(Service { transport: *transport, name })
        });
        let group: Vec<Service> = named.collect();
        if group.is_empty() {
            return self.look_up_target();
        }
        self.ask_groups(VecDeque::from([group]));
    }

    fn ask_groups(&mut self, mut groups: VecDeque<Vec<Service>>) {
        let Some(group) = groups.pop_front() else { return self.look_up_target() };
        for service in &group {
            self.ask_once(Question::Srv(service.name.clone()));
        }
        let asked = group.into_iter().map(|service| (service, Vec::new())).collect();
        self.stage = Stage::Services { asked, later: groups };
    }

    fn ask_once(&mut self, question: Question) {
        if !self.fresh.contains(&question) && !self.awaited.contains(&question) {
            self.fresh.push(question);
        }
    }

    /// The end of §4.2: no SRV records, so the addresses of TARGET itself.
    fn look_up_target(&mut self) {
        let port = self.wish.port.unwrap_or(self.default.default_port());
        let target = self.wish.target.clone();
        self.look_up(vec![(self.default, target, port)]);
    }

    fn look_up(&mut self, hosts: Vec<(Transport, String, u16)>) {
        let hosts: Vec<Host> = hosts
            .into_iter()
            .map(|(transport, name, port)| {
                Host::new(transport, self.stand_ins(transport), &name, port, self.need.supported)
            })
            .collect();
        for question in hosts.iter().flat_map(Host::questions) {
            self.ask_once(question);
        }
        self.stage = Stage::Hosts(hosts);
        self.advance();
    }

    /// Goes to the next stage when everything of this one is there.
    fn advance(&mut self) {
        if !(self.fresh.is_empty() && self.awaited.is_empty()) {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Services { asked, later } => self.targets(asked, later),
            Stage::Hosts(hosts) => self.collect(&hosts),
            Stage::Transports | Stage::Ended => {}
        }
    }

    /// From SRV records to hosts. The transport is that of the first service that has records; for a large request
    /// the others follow, since it must go over a connection and may go over UDP only then.
    fn targets(&mut self, asked: Vec<(Service, Vec<Srv>)>, later: VecDeque<Vec<Service>>) {
        let mut hosts = Vec::new();
        for (service, records) in asked {
            if !hosts.is_empty() && !self.large() {
                break;
            }
            let ordered = in_order(records, &mut self.need.random);
            hosts.extend(ordered.into_iter().map(|srv| (service.transport, srv.target, srv.port)));
        }
        hosts.truncate(MAX_TARGETS);
        if !hosts.is_empty() {
            self.look_up(hosts);
        } else if !later.is_empty() {
            self.ask_groups(later);
        } else if self.refused {
            // A domain that said no has said it for its own addresses too (RFC 2782).
            self.trouble = Some(Unreachable::NoService(self.wish.target.clone()));
        } else {
            self.look_up_target();
        }
    }

    fn collect(&mut self, hosts: &[Host]) {
        for (host, number) in hosts.iter().zip(0..) {
            let addresses = host.addresses();
            if host.is_out_of_reach() {
                self.trouble = Some(Unreachable::NoLocal(host.transport));
            } else if addresses.is_empty() {
                self.trouble = Some(Unreachable::Name { name: host.name.clone(), error: host.error() });
            }
            let addresses: Vec<SocketAddr> =
                addresses.into_iter().map(|ip| SocketAddr::new(ip, host.port)).collect();
            self.push(host.transport, &addresses, number);
        }
    }

    /// Adds the addresses of a host, for a large request over TCP first (RFC 3261 §18.1.1: and over UDP when that
    /// fails).
    fn push(&mut self, transport: Transport, addresses: &[SocketAddr], host: u16) {
        for transport in self.stand_ins(transport).iter().copied().chain([transport]) {
            for remote in addresses {
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                if !self.need.supported.contains(transport, remote.is_ipv4()) {
                    self.trouble.get_or_insert(Unreachable::NoLocal(transport));
                } else if self.found.len() < MAX_CANDIDATES
                    && !self.found.iter().any(|known| (known.transport, known.remote) == (transport, remote))
                {
                    self.found.push(Candidate { transport, remote, host });
                }
            }
        }
    }

    /// The transports to try before this one at the same address.
    fn stand_ins(&self, transport: Transport) -> &'static [Transport] {
        if self.large() && transport == Transport::Udp { &[Transport::Tcp] } else { &[] }
    }

    fn large(&self) -> bool {
        self.need.size > MAX_DATAGRAM_REQUEST
    }
}

/// UDP is the default where nothing says otherwise, but a host with TCP listeners alone can still send.
fn usable_instead_of(default: Transport, supported: Supported) -> Transport {
    if default == Transport::Udp && !supported.any(Transport::Udp) && supported.any(Transport::Tcp) {
        return Transport::Tcp;
    }
    default
}
