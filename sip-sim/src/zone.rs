//! The name service of a simulated network: a table.

use std::collections::HashMap;
use std::net::IpAddr;

use sip_transport::{Naptr, Question, Records, ResolveError, Srv};

/// What names lead to. Names are compared without case and without a final dot.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    naptr: HashMap<String, Vec<Naptr>>,
    srv: HashMap<String, Vec<Srv>>,
    addresses: HashMap<String, Vec<IpAddr>>,
    broken: HashMap<String, ResolveError>,
}

impl Zone {
    /// Adds a NAPTR record of the kind that RFC 3263 §4.1 knows: flag `s`, a service such as `SIP+D2T`, the name of
    /// its SRV records.
    pub fn naptr(&mut self, name: &str, order: u16, preference: u16, service: &str, srv: &str) -> &mut Zone {
        let record = Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            service: service.to_owned(),
            regexp: String::new(),
            replacement: srv.to_owned(),
        };
        self.naptr.entry(canonical(name)).or_default().push(record);
        self
    }

    /// Adds an SRV record, for example at `_sip._udp.example.com`.
    pub fn srv(&mut self, name: &str, priority: u16, weight: u16, port: u16, target: &str) -> &mut Zone {
        let record = Srv { priority, weight, port, target: target.to_owned() };
        self.srv.entry(canonical(name)).or_default().push(record);
        self
    }

    /// Adds an address.
    pub fn address(&mut self, name: &str, ip: IpAddr) -> &mut Zone {
        self.addresses.entry(canonical(name)).or_default().push(ip);
        self
    }

    /// Makes every question about a name fail.
    pub fn fail(&mut self, name: &str, error: ResolveError) -> &mut Zone {
        self.broken.insert(canonical(name), error);
        self
    }

    /// Forgets everything about a name.
    pub fn remove(&mut self, name: &str) -> &mut Zone {
        let name = canonical(name);
        self.naptr.remove(&name);
        self.srv.remove(&name);
        self.addresses.remove(&name);
        self.broken.remove(&name);
        self
    }

    /// The answer to a question.
    ///
    /// # Errors
    /// `NotFound` for what is not in the table, and what [`fail`](Zone::fail) was told.
    pub fn answer(&self, question: &Question) -> Result<Records, ResolveError> {
        let name = canonical(question.name());
        if let Some(error) = self.broken.get(&name) {
            return Err(*error);
        }
        match question {
            Question::Naptr(_) => self.naptr.get(&name).cloned().map(Records::Naptr),
            Question::Srv(_) => self.srv.get(&name).cloned().map(Records::Srv),
            Question::A(_) => self.of_family(&name, true),
            Question::Aaaa(_) => self.of_family(&name, false),
        }
        .ok_or(ResolveError::NotFound)
    }

    fn of_family(&self, name: &str, ipv4: bool) -> Option<Records> {
        let of_family = self.addresses.get(name)?.iter().filter(|ip| ip.is_ipv4() == ipv4);
        let list: Vec<IpAddr> = of_family.copied().collect();
        (!list.is_empty()).then_some(Records::Addresses(list))
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
