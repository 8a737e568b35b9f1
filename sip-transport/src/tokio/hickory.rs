//! Questions to name servers, by the resolver of hickory-dns.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::core::{Naptr, Question, Records, ResolveError, Srv};
use crate::tokio::dns::{Resolve, Resolving};

/// Asks the name servers that the system is configured with, for NAPTR, SRV, A and AAAA, with a cache that keeps to
/// the records' times to live. It looks into the hosts file too, follows aliases, and repeats over TCP what is too
/// long for a datagram. Feature `dns`.
#[derive(Clone)]
pub struct DnsResolver {
    resolver: TokioResolver,
}

impl std::fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DnsResolver")
    }
}

/// Why a [`DnsResolver`] could not be made: the configuration of name servers cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[error("no name servers to ask: {0}")]
pub struct NoNameServers(#[from] NetError);

impl DnsResolver {
    /// A resolver with the configuration of the system (`/etc/resolv.conf`, the registry).
    ///
    /// # Errors
    /// When that configuration cannot be read.
    pub fn system() -> Result<DnsResolver, NoNameServers> {
        Ok(DnsResolver { resolver: TokioResolver::builder_tokio()?.build()? })
    }

    /// A resolver that asks these servers over UDP, and over TCP when an answer is too long for it.
    ///
    /// # Errors
    /// When the resolver cannot be made of them.
    pub fn with_servers(servers: &[SocketAddr]) -> Result<DnsResolver, NoNameServers> {
        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = server.port());
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let provider = TokioRuntimeProvider::default();
        Ok(DnsResolver { resolver: TokioResolver::builder_with_config(config, provider).build()? })
    }
}

impl Resolve for DnsResolver {
    fn resolve(&self, question: Question) -> Resolving {
        let resolver = self.resolver.clone();
        Box::pin(async move {
            let kind = match question {
                Question::Naptr(_) => RecordType::NAPTR,
                Question::Srv(_) => RecordType::SRV,
                Question::A(_) => RecordType::A,
                Question::Aaaa(_) => RecordType::AAAA,
            };
            let found =
                resolver.lookup(absolute(question.name()), kind).await.map_err(|error| why(&error))?;
            let data = found.answers().iter().map(|record| &record.data);
            Ok(match question {
                Question::Naptr(_) => Records::Naptr(data.filter_map(naptr).collect()),
                Question::Srv(_) => Records::Srv(data.filter_map(srv).collect()),
                Question::A(_) | Question::Aaaa(_) => {
                    Records::Addresses(data.filter_map(RData::ip_addr).collect())
                }
            })
        })
    }
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    let target = srv.target.to_ascii();
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags),
        service: text(&naptr.services),
        regexp: text(&naptr.regexp),
        replacement: naptr.replacement.to_ascii(),
    })
}

/// Names with a dot are whole: no search domain is to be tried on them.
fn absolute(name: &str) -> String {
    let dot = if name.contains('.') && !name.ends_with('.') { "." } else { "" };
    format!("{name}{dot}")
}

fn why(error: &NetError) -> ResolveError {
    tracing::debug!(%error, "name lookup failed");
    if error.is_nx_domain() || error.is_no_records_found() {
        ResolveError::NotFound
    } else if matches!(error, NetError::Timeout) {
        ResolveError::TimedOut
    } else {
        ResolveError::Failed
    }
}
