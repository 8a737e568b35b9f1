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
/// be asked for NAPTR and SRV records: a domain is then reached at the addresses of its name (the end of RFC 3263
/// §4.2). It looks both address families up at once, so that a question about one waits for the other too.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, question: Question) -> Resolving {
        Box::pin(async move {
            let (name, ipv4) = match question {
                Question::A(name) => (name, true),
                Question::Aaaa(name) => (name, false),
                Question::Naptr(_) | Question::Srv(_) => return Err(ResolveError::Unsupported),
            };
            let addresses = ::tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| {
                // getaddrinfo's codes do not survive in io::Error; not found is by far the most common.
                tracing::debug!(%name, %error, "address lookup failed");
                ResolveError::NotFound
            })?;
            let mut list = Vec::new();
            for address in addresses.filter(|address| address.is_ipv4() == ipv4) {
                if !list.contains(&address.ip()) {
                    list.push(address.ip());
                }
            }
            if list.is_empty() { Err(ResolveError::NotFound) } else { Ok(Records::Addresses(list)) }
        })
    }
}

/// The best resolver that was built in: `DnsResolver` with the feature `dns`, else [`SystemResolver`].
#[must_use]
pub fn default_resolver() -> std::sync::Arc<dyn Resolve> {
    #[cfg(feature = "dns")]
    match super::DnsResolver::system() {
        Ok(resolver) => return std::sync::Arc::new(resolver),
        Err(error) => tracing::warn!(%error, "no NAPTR and SRV lookups"),
    }
    std::sync::Arc::new(SystemResolver)
}
