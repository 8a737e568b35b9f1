//! Who answers the questions of a core.

use std::future::Future;
use std::pin::Pin;

use crate::core::{Question, Records, ResolveError};

/// The future answer of a [`Resolve`].
pub type Resolving = Pin<Box<dyn Future<Output = Result<Records, ResolveError>> + Send>>;

/// A name service.
pub trait Resolve: Send + Sync {
    /// Finds the records that a question asks for. The driver gives up after a time of its own.
    fn resolve(&self, question: Question) -> Resolving;
}

/// What the operating system knows: host names to addresses, by its hosts file, DNS, and what else it has. It cannot
/// be asked for SRV records: a domain is then reached at the addresses of its name (the end of RFC 3263 §4.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, question: Question) -> Resolving {
        Box::pin(async move {
            let Question::Addresses(name) = question else { return Err(ResolveError::Unsupported) };
            let addresses = ::tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| {
                // getaddrinfo's codes do not survive in io::Error; not found is by far the most common.
                tracing::debug!(%name, %error, "address lookup failed");
                ResolveError::NotFound
            })?;
            let mut list = Vec::new();
            for address in addresses {
                if !list.contains(&address.ip()) {
                    list.push(address.ip());
                }
            }
            if list.is_empty() { Err(ResolveError::NotFound) } else { Ok(Records::Addresses(list)) }
        })
    }
}

/// Asks the name servers that the system is configured with, for SRV, A and AAAA, with a cache that keeps to the
/// records' times to live. Feature `dns`.
#[cfg(feature = "dns")]
#[derive(Clone)]
pub struct DnsResolver {
    resolver: hickory_resolver::TokioResolver,
}

#[cfg(feature = "dns")]
impl std::fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DnsResolver")
    }
}

/// Why a [`DnsResolver`] could not be made: the configuration of name servers cannot be read or used.
#[cfg(feature = "dns")]
#[derive(Debug, thiserror::Error)]
#[error("no name servers to ask: {0}")]
pub struct NoNameServers(#[from] hickory_resolver::net::NetError);

#[cfg(feature = "dns")]
impl DnsResolver {
    /// A resolver with the configuration of the system (`/etc/resolv.conf`, the registry).
    ///
    /// # Errors
    /// When that configuration cannot be read.
    pub fn system() -> Result<DnsResolver, NoNameServers> {
        DnsResolver::build(hickory_resolver::TokioResolver::builder_tokio()?)
    }

    /// A resolver that asks these servers over UDP, and over TCP when an answer is too long for it.
    ///
    /// # Errors
    /// When the resolver cannot be made of them.
    pub fn with_servers(servers: &[std::net::SocketAddr]) -> Result<DnsResolver, NoNameServers> {
        use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
        use hickory_resolver::net::runtime::TokioRuntimeProvider;

        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = server.port());
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let provider = TokioRuntimeProvider::default();
        DnsResolver::build(hickory_resolver::TokioResolver::builder_with_config(config, provider))
    }

    fn build(
        mut builder: hickory_resolver::ResolverBuilder<hickory_resolver::net::runtime::TokioRuntimeProvider>,
    ) -> Result<DnsResolver, NoNameServers> {
        builder.options_mut().ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
        Ok(DnsResolver { resolver: builder.build()? })
    }
}

#[cfg(feature = "dns")]
impl Resolve for DnsResolver {
    fn resolve(&self, question: Question) -> Resolving {
        use crate::core::Srv;
        use hickory_resolver::proto::rr::RData;

        let resolver = self.resolver.clone();
        Box::pin(async move {
            match question {
                Question::Srv(name) => {
                    let lookup = resolver.srv_lookup(absolute(name)).await.map_err(|error| why(&error))?;
                    let records = lookup.answers().iter().filter_map(|record| match &record.data {
                        RData::SRV(srv) => Some(Srv {
                            priority: srv.priority,
                            weight: srv.weight,
                            port: srv.port,
                            target: srv.target.to_ascii(),
                        }),
                        _ => None,
                    });
                    Ok(Records::Srv(records.collect()))
                }
                Question::Addresses(name) => {
                    let lookup = resolver.lookup_ip(absolute(name)).await.map_err(|error| why(&error))?;
                    Ok(Records::Addresses(lookup.iter().collect()))
                }
            }
        })
    }
}

/// Names with a dot are whole: no search domain is to be tried on them.
#[cfg(feature = "dns")]
fn absolute(mut name: String) -> String {
    if name.contains('.') && !name.ends_with('.') {
        name.push('.');
    }
    name
}

#[cfg(feature = "dns")]
fn why(error: &hickory_resolver::net::NetError) -> ResolveError {
    tracing::debug!(%error, "name lookup failed");
    if error.is_nx_domain() || error.is_no_records_found() {
        ResolveError::NotFound
    } else if matches!(error, hickory_resolver::net::NetError::Timeout) {
        ResolveError::TimedOut
    } else {
        ResolveError::Failed
    }
}

/// The best resolver that was built in: [`DnsResolver`] with the feature `dns`, else [`SystemResolver`].
#[must_use]
pub fn default_resolver() -> std::sync::Arc<dyn Resolve> {
    #[cfg(feature = "dns")]
    match DnsResolver::system() {
        Ok(resolver) => return std::sync::Arc::new(resolver),
        Err(error) => tracing::warn!(%error, "no SRV lookups"),
    }
    std::sync::Arc::new(SystemResolver)
}
