//! The listeners of a host: what stands in Via and Contact, and which transports can be used at all.

use std::net::{IpAddr, SocketAddr};

use sip_message::Uri;

use crate::path::{Path, Transport};

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its transport.
    pub transport: Transport,
    /// The address it is bound to; the port is a real one, the address may be unspecified (`0.0.0.0`).
    pub bound: SocketAddr,
    /// The host that peers are told in Via and Contact: an address (IPv6 in brackets) or a name.
    pub host: String,
    /// The port that peers are told.
    pub port: u16,
    /// Whether requests ask that their connection be used for requests in the other direction too (`alias` in Via,
    /// RFC 5923 §5): of use where we have a certificate to show.
    pub alias: bool,
}

impl Local {
    /// A listener that tells peers the address it is bound to.
    #[must_use]
    pub fn new(transport: Transport, bound: SocketAddr) -> Local {
        Local { transport, bound, host: host_text(bound.ip()), port: bound.port(), alias: false }
    }

    /// The same listener telling peers another address, for example the outer one of a NAT, or a name.
    #[must_use]
    pub fn advertise(mut self, host: impl Into<String>, port: u16) -> Local {
        self.host = host.into();
        self.port = port;
        self
    }

    /// A SIP URI that leads here, for Contact and Record-Route: `sip:user@host:port;transport=tcp`, the parameter
    /// left out for UDP, which is the default (RFC 3263 §4.1).
    ///
    /// # Errors
    /// When the user part or an advertised host cannot stand in a URI.
    pub fn uri(&self, user: Option<&str>) -> Result<Uri, sip_message::ValueError> {
        let mut uri = Uri::sip(user, &self.host, Some(self.port))?;
        if self.transport != Transport::Udp {
            uri.set_param("transport", Some(self.transport.uri_param()));
        }
        Ok(uri)
    }

    /// The same as a `sips` URI, for the Contact and Record-Route of what goes by `sips` (RFC 5630 §5.1.1, §5.3.1):
    /// `sips:user@host:port`, with `transport=ws` for secure WebSocket. `None` where the transport is not secure.
    ///
    /// # Errors
    /// When the user part or an advertised host cannot stand in a URI.
    pub fn sips_uri(&self, user: Option<&str>) -> Option<Result<Uri, sip_message::ValueError>> {
        self.transport.is_secure().then(|| {
            let mut uri = Uri::sips(user, &self.host, Some(self.port))?;
            if self.transport == Transport::Wss {
                uri.set_param("transport", Some(Transport::Ws.uri_param()));
            }
            Ok(uri)
        })
    }

    /// Whether a packet to `remote` can leave from here.
    #[must_use]
    pub fn reaches(&self, remote: IpAddr) -> bool {
        let bound = self.bound.ip();
        if bound.is_ipv4() != remote.is_ipv4() {
            return false;
        }
        // The kernel refuses to send from a loopback address to the outside.
        bound.is_unspecified() || !bound.is_loopback() || remote.is_loopback()
    }
}

/// All listeners of a core, in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locals {
    list: Vec<Local>,
}

impl Locals {
    /// These listeners, most preferred first.
    #[must_use]
    pub fn new(list: Vec<Local>) -> Locals {
        Locals { list }
    }

    /// The listener whose transport is `transport` and from which `remote` can be reached.
    ///
    /// A listener on a loopback address is taken for a remote on loopback only, and before others there.
    #[must_use]
    pub fn for_path(&self, transport: Transport, remote: SocketAddr) -> Option<&Local> {
        let fits = |local: &&Local| local.transport == transport && local.reaches(remote.ip());
        let same_side =
            |local: &&Local| fits(local) && local.bound.ip().is_loopback() == remote.ip().is_loopback();
        self.list.iter().find(same_side).or_else(|| self.list.iter().find(fits))
    }

    /// The listener that a path uses: the one bound to its local address, else the one that [`for_path`] finds.
    ///
    /// [`for_path`]: Locals::for_path
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Local> {
        self.list
            .iter()
            .find(|local| local.transport == path.transport && local.bound == path.local)
            .or_else(|| {
                self.list.iter().find(|local| {
                    local.transport == path.transport
                        && local.bound.port() == path.local.port()
                        && local.bound.ip().is_unspecified()
                        && local.bound.is_ipv4() == path.local.is_ipv4()
                })
            })
            .or_else(|| self.for_path(path.transport, path.remote))
    }

    /// Whether host and port name one of these listeners, as told to peers or as bound. A missing port means the
    /// default port of the listener's transport. For Route and Via: "is this me?" (RFC 3261 §16.4, §18.1.2).
    #[must_use]
    pub fn is_ours(&self, host: &str, port: Option<u16>) -> bool {
        let ip = parse_ip(host);
        self.list.iter().any(|local| {
            let port = port.unwrap_or(local.transport.default_port());
            (local.port == port && local.host.eq_ignore_ascii_case(host))
                || (local.port == port && ip.is_some() && parse_ip(&local.host) == ip)
                || (local.bound.port() == port && ip == Some(local.bound.ip()))
        })
    }

    /// What can be sent with these listeners.
    #[must_use]
    pub fn supported(&self) -> Supported {
        let mut supported = Supported::NONE;
        for local in &self.list {
            supported = supported.with(local.transport, local.bound.is_ipv4());
        }
        supported
    }

    /// The listeners in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Local> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'a> IntoIterator for &'a Locals {
    type Item = &'a Local;
    type IntoIter = std::slice::Iter<'a, Local>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Locals {
    type Item = Local;
    type IntoIter = std::vec::IntoIter<Local>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl FromIterator<Local> for Locals {
    fn from_iter<I: IntoIterator<Item = Local>>(iter: I) -> Locals {
        Locals { list: iter.into_iter().collect() }
    }
}

/// A set of (transport, address family) pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported(u16);

impl Supported {
    /// Nothing.
    pub const NONE: Supported = Supported(0);

    /// The set with one more pair.
    #[must_use]
    pub const fn with(self, transport: Transport, ipv4: bool) -> Supported {
        Supported(self.0 | Supported::bit(transport, ipv4))
    }

    /// Whether the pair is in the set.
    #[must_use]
    pub const fn contains(self, transport: Transport, ipv4: bool) -> bool {
        self.0 & Supported::bit(transport, ipv4) != 0
    }

    /// Whether the transport is there for any address family.
    #[must_use]
    pub const fn any(self, transport: Transport) -> bool {
        self.contains(transport, true) || self.contains(transport, false)
    }

    const fn bit(transport: Transport, ipv4: bool) -> u16 {
        let index = match transport {
            Transport::Udp => 0,
            Transport::Tcp => 2,
            Transport::Tls => 4,
            Transport::Ws => 6,
            Transport::Wss => 8,
        };
        1 << (index + if ipv4 { 0 } else { 1 })
    }
}

/// An address as it stands in `host`: IPv6 in brackets (RFC 3261 §25.1).
#[must_use]
pub fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address that a `host` or a `received` parameter is, with or without brackets; `None` for a name.
#[must_use]
pub fn parse_ip(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_listener_of_the_right_transport_family_and_side_is_found() {
        let locals = Locals::new(vec![
            Local::new(Transport::Udp, addr("192.0.2.1:5060")),
            Local::new(Transport::Udp, addr("127.0.0.1:5070")),
            Local::new(Transport::Udp, addr("[2001:db8::1]:5060")),
            Local::new(Transport::Tcp, addr("0.0.0.0:5060")).advertise("sip.example.com", 5060),
        ]);
        let bound = |transport, remote| locals.for_path(transport, addr(remote)).map(|l| l.bound);
        assert_eq!(bound(Transport::Udp, "198.51.100.7:5060"), Some(addr("192.0.2.1:5060")));
        assert_eq!(bound(Transport::Udp, "127.0.0.1:9"), Some(addr("127.0.0.1:5070")));
        assert_eq!(bound(Transport::Udp, "[2001:db8::7]:5060"), Some(addr("[2001:db8::1]:5060")));
        assert_eq!(bound(Transport::Tcp, "127.0.0.1:9"), Some(addr("0.0.0.0:5060")));
        assert_eq!(bound(Transport::Tcp, "[::1]:9"), None);
        assert_eq!(bound(Transport::Tls, "127.0.0.1:9"), None);

        assert!(locals.is_ours("SIP.example.com", None));
        assert!(locals.is_ours("[2001:DB8::1]", Some(5060)));
        assert!(!locals.is_ours("192.0.2.1", Some(5070)));

        let supported = locals.supported();
        assert!(supported.contains(Transport::Udp, false) && supported.contains(Transport::Tcp, true));
        assert!(!supported.contains(Transport::Tcp, false) && !supported.any(Transport::Tls));
    }

    #[test]
    fn a_listener_bound_to_any_address_is_recognised_by_its_port() {
        let locals = Locals::new(vec![
            Local::new(Transport::Udp, addr("0.0.0.0:5060")),
            Local::new(Transport::Udp, addr("0.0.0.0:5080")),
        ]);
        let mut path = Path::to(Transport::Udp, addr("192.0.2.9:5060"));
        path.local = addr("192.0.2.1:5080");
        assert_eq!(locals.at(&path).map(|l| l.bound.port()), Some(5080));
    }

    #[test]
    fn a_listener_makes_the_uri_that_leads_to_it() {
        let udp = Local::new(Transport::Udp, addr("192.0.2.1:5070"));
        assert_eq!(udp.uri(Some("bob")).unwrap().to_string(), "sip:bob@192.0.2.1:5070");
        let tcp = Local::new(Transport::Tcp, addr("[::1]:5060"));
        assert_eq!(tcp.uri(None).unwrap().to_string(), "sip:[::1]:5060;transport=tcp");
        assert!(tcp.sips_uri(None).is_none());
        let tls = Local::new(Transport::Tls, addr("192.0.2.1:5061")).advertise("example.com", 5061);
        assert_eq!(tls.uri(None).unwrap().to_string(), "sip:example.com:5061;transport=tls");
        assert_eq!(tls.sips_uri(Some("bob")).unwrap().unwrap().to_string(), "sips:bob@example.com:5061");
        let wss = Local::new(Transport::Wss, addr("192.0.2.1:443"));
        assert_eq!(wss.sips_uri(None).unwrap().unwrap().to_string(), "sips:192.0.2.1:443;transport=ws");
    }
}
