//! What is ours: the domains that the server is responsible for, and its own addresses (RFC 3261 §16.5, §10.3 step 1).

use sip_message::Uri;
use sip_transport::Locals;
use sip_transport::locals::parse_ip;

use crate::AddressOfRecord;

/// The domains of a server. A URI is ours when its host is one of them, or is one of the server's own addresses.
#[derive(Clone, Debug)]
pub struct Domains {
    names: Vec<String>,
    locals: Locals,
}

impl Domains {
    /// These domains, the first of which stands for the server's addresses too.
    #[must_use]
    pub fn new(names: Vec<String>, locals: Locals) -> Self {
        Self { names, locals }
    }

    /// The first domain.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// The domain that a URI belongs to; `None` for a foreign one. With a port it must be a port of ours: another one is
    /// another server on the same host, or a phone.
    #[must_use]
    pub fn of<'a>(&'a self, uri: &'a Uri) -> Option<&'a str> {
        if !uri.is_sip() && !uri.is_sips() {
            return None;
        }
        let host = uri.host();
        if let Some(name) = self.names.iter().find(|name| name.eq_ignore_ascii_case(host)) {
            let ours = match uri.port() {
                None => true,
                // The registered ports of a name lead here through whatever maps them.
                Some(5060 | 5061) if parse_ip(host).is_none() => true,
                Some(port) => {
                    self.locals.iter().any(|local| local.port == port || local.bound.port() == port)
                }
            };
            return ours.then_some(name);
        }
        self.is_us(uri).then(|| self.names.first().map_or(host, String::as_str))
    }

    /// Whether a URI names one of the server's own addresses: what it writes into Record-Route.
    #[must_use]
    pub fn is_us(&self, uri: &Uri) -> bool {
        self.is_our_address(uri.host(), uri.port())
    }

    /// The same for host and port.
    #[must_use]
    pub fn is_our_address(&self, host: &str, port: Option<u16>) -> bool {
        if self.locals.is_ours(host, port) {
            return true;
        }
        // A socket bound to any address is reached through loopback too, whatever it tells others.
        parse_ip(host).is_some_and(|ip| {
            ip.is_loopback()
                && self.locals.iter().any(|local| {
                    local.bound.ip().is_unspecified()
                        && local.bound.is_ipv4() == ip.is_ipv4()
                        && local.bound.port() == port.unwrap_or(local.transport.default_port())
                })
        })
    }

    /// The address-of-record that a URI of ours names; `None` for foreign URIs and for those without a user.
    #[must_use]
    pub fn aor(&self, uri: &Uri) -> Option<AddressOfRecord> {
        AddressOfRecord::new(uri, self.of(uri)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_transport::{Local, Transport};

    #[test]
    fn names_and_own_addresses_are_ours_and_other_ports_are_not() {
        let local = |transport, bound: &str| Local::new(transport, bound.parse().unwrap());
        let locals = Locals::new(vec![
            local(Transport::Udp, "127.0.0.1:5070"),
            local(Transport::Tcp, "0.0.0.0:5090").advertise("192.0.2.1", 5090),
        ]);
        let domains = Domains::new(vec!["example.com".into(), "127.0.0.1".into()], locals);
        let aor = |text: &str| domains.aor(&text.parse().unwrap()).map(|aor| aor.to_string());
        assert_eq!(aor("sip:bob@Example.com").as_deref(), Some("bob@example.com"));
        assert_eq!(aor("sip:bob@example.com:5060").as_deref(), Some("bob@example.com"));
        assert_eq!(aor("sip:bob@127.0.0.1:5070").as_deref(), Some("bob@127.0.0.1"));
        assert_eq!(aor("sip:bob@192.0.2.1:5090").as_deref(), Some("bob@example.com"));
        assert_eq!(aor("sip:bob@127.0.0.1:5090").as_deref(), Some("bob@127.0.0.1"));
        assert_eq!(aor("sip:bob@127.0.0.1:5060"), None, "a phone on the same host");
        assert_eq!(aor("sip:bob@example.com:40000"), None);
        assert_eq!(aor("sip:bob@example.org"), None);
        assert!(domains.of(&"sip:example.com".parse().unwrap()).is_some());
        assert!(domains.of(&"tel:+1".parse().unwrap()).is_none());
    }
}
