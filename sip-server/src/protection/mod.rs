//! Sources that guess passwords, look for users, scan or flood: they are recognised, and not heard for a while.
//!
//! Nobody who has lately proven to be a user of ours is shut out with his whole address: behind it may be an office, and over
//! UDP anybody can write that address into what he sends. There only the user name that is guessed is refused from there.

mod guard;
mod source;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sip_transport::proxy_protocol::Network;

pub(crate) use guard::Guard;
pub use guard::ProtectionCounters;

/// How sources are watched. Every number is per source: an IPv4 address, or a network of 64 bits of IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtectionConfig {
    /// Networks that are always heard: trunks, the own office, health checks.
    pub trusted: Vec<Network>,
    /// Wrong passwords in a minute. One more, and the source is shut out.
    pub wrong_passwords: u32,
    /// Requests in a minute to users that do not exist, or to elsewhere without leave. One more, and the source is shut out.
    pub probes: u32,
    /// Requests in a second from a source without a user of ours. What comes above is dropped until the second is over.
    pub requests_per_second: u32,
    /// Beginnings of the User-Agent values of programs that search for victims. Who sends one is shut out at once.
    pub scanners: Vec<String>,
    /// For how long a source is shut out the first time. It doubles each time, up to [`longest_ban`](Self::longest_ban).
    pub ban: Duration,
    /// The longest time.
    pub longest_ban: Duration,
    /// Sources that are remembered. Those seen least lately are forgotten; should all be banned, further ones are not watched.
    pub sources: usize,
}

impl ProtectionConfig {
    /// A person who has forgotten his password gives up before; a program needs thousands.
    pub const WRONG_PASSWORDS: u32 = 10;
    /// Somebody who calls so many wrong numbers in a minute dials by program.
    pub const PROBES: u32 = 30;
    /// A phone sends one or two; a trunk is trusted or has a user.
    pub const REQUESTS_PER_SECOND: u32 = 200;
    /// What scanners call themselves unless somebody took the trouble to change it.
    pub const SCANNERS: [&'static str; 12] = [
        "friendly-scanner",
        "friendly-request",
        "sipvicious",
        "sip-scan",
        "sipcli",
        "sipsak-scan",
        "sundayddr",
        "iWar",
        "VaxSIPUserAgent",
        "pplsip",
        "smap",
        "siparmyknife",
    ];
    /// Scanners go on to the next address sooner.
    pub const BAN: Duration = Duration::from_secs(600);
    /// Addresses change hands; nobody is punished for what another did yesterday.
    pub const LONGEST_BAN: Duration = Duration::from_secs(24 * 3600);
    /// Some 100 bytes each.
    pub const SOURCES: usize = 100_000;
}

impl Default for ProtectionConfig {
    fn default() -> Self {
        let networks = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self {
            trusted: networks.into_iter().map(Network::from).chain("127.0.0.0/8".parse()).collect(),
            wrong_passwords: Self::WRONG_PASSWORDS,
            probes: Self::PROBES,
            requests_per_second: Self::REQUESTS_PER_SECOND,
            scanners: Self::SCANNERS.map(str::to_owned).to_vec(),
            ban: Self::BAN,
            longest_ban: Self::LONGEST_BAN,
            sources: Self::SOURCES,
        }
    }
}
