//! Hosts whose addresses are being looked up: A and AAAA at the same time (RFC 7984 §3.1, RFC 8305 §3).

use std::net::IpAddr;

use super::order::by_precedence;
use crate::core::{Question, Records, ResolveError};
use crate::locals::Supported;
use crate::path::Transport;

/// A host and port to be looked up for a transport.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) transport: Transport,
    pub(super) name: String,
    pub(super) port: u16,
    v6: Family,
    v4: Family,
}

/// What is known of a host's addresses of one family.
#[derive(Clone, Debug)]
enum Family {
    /// None of them could be used from here (RFC 7984 §3.1).
    Unusable,
    Asked,
    Known(Vec<IpAddr>),
    Failed(ResolveError),
}

impl Host {
    /// A host whose addresses can be used if `transport`, or one of the others, can send to their family.
    pub(super) fn new(
        transport: Transport,
        others: &[Transport],
        name: &str,
        port: u16,
        supported: Supported,
    ) -> Host {
        let family = |ipv4| {
            let usable =
                others.iter().chain([&transport]).any(|transport| supported.contains(*transport, ipv4));
            if usable { Family::Asked } else { Family::Unusable }
        };
        let name = name.trim_end_matches('.').to_owned();
        Host { transport, name, port, v6: family(false), v4: family(true) }
    }

    /// What to ask, all at once; AAAA goes first (RFC 8305 §3).
    pub(super) fn questions(&self) -> impl Iterator<Item = Question> + use<> {
        let aaaa = matches!(self.v6, Family::Asked).then(|| Question::Aaaa(self.name.clone()));
        let a = matches!(self.v4, Family::Asked).then(|| Question::A(self.name.clone()));
        aaaa.into_iter().chain(a)
    }

    pub(super) fn answer(&mut self, question: &Question, records: &Result<Records, ResolveError>) {
        let (family, ipv4) = match question {
            Question::A(name) if *name == self.name => (&mut self.v4, true),
            Question::Aaaa(name) if *name == self.name => (&mut self.v6, false),
            _ => return,
        };
        if !matches!(family, Family::Asked) {
            return;
        }
        *family = match records {
            Ok(Records::Addresses(list)) => {
                let sane = |ip: &&IpAddr| ip.is_ipv4() == ipv4 && !ip.is_unspecified() && !ip.is_multicast();
                Family::Known(list.iter().filter(sane).copied().collect())
            }
            Ok(_) => Family::Known(Vec::new()),
            Err(error) => Family::Failed(*error),
        };
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.v4, Family::Asked) && !matches!(self.v6, Family::Asked)
    }

    /// Whether an address is known.
    pub(super) fn is_usable(&self) -> bool {
        [&self.v4, &self.v6]
            .into_iter()
            .any(|family| matches!(family, Family::Known(list) if !list.is_empty()))
    }

    /// Whether no family of it could be used from here.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!((&self.v4, &self.v6), (Family::Unusable, Family::Unusable))
    }

    /// Its addresses, in the order in which they are tried.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all = Vec::new();
        for family in [&self.v6, &self.v4] {
            if let Family::Known(list) = family {
                all.extend_from_slice(list);
            }
        }
        by_precedence(&mut all);
        all
    }

    /// Why it has no addresses: the worse of the two reasons, since a name that times out may well exist.
    pub(super) fn error(&self) -> ResolveError {
        let failed = |family: &Family| match family {
            Family::Failed(error) if *error != ResolveError::NotFound => Some(*error),
            _ => None,
        };
        failed(&self.v6).or_else(|| failed(&self.v4)).unwrap_or(ResolveError::NotFound)
    }
}
