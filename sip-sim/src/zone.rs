//! The name service of a simulated network: a table.

use std::collections::HashMap;
use std::net::IpAddr;

use sip_transport::{Question, Records, ResolveError, Srv};

/// What names lead to. Names are compared without case and without a final dot.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    srv: HashMap<String, Vec<Srv>>,
    addresses: HashMap<String, Vec<IpAddr>>,
    broken: HashMap<String, ResolveError>,
}

impl Zone {
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
            Question::Srv(_) => self.srv.get(&name).cloned().map(Records::Srv),
            Question::Addresses(_) => self.addresses.get(&name).cloned().map(Records::Addresses),
        }
        .ok_or(ResolveError::NotFound)
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
