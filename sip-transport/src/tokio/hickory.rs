//! Questions to name servers, by the resolver of hickory-dns.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::io::{Interest, ReadBuf};
use ::tokio::net::UdpSocket;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder};

use crate::core::{Naptr, Question, Records, ResolveError, Srv};
use crate::tokio::dns::{Resolve, Resolving};

/// How long the name servers get for one question, and how often they get it again: a next hop takes up to three questions
/// in a row, and whoever waits for it has 32 s (Timer B).
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 1;

/// Asks the name servers that the system is configured with, for NAPTR, SRV, A and AAAA, with a cache that keeps to
/// the records' times to live. It looks into the hosts file too, follows aliases, and repeats over TCP what is too
/// long for a datagram. Servers that say nothing are given up after 4 s, those at whose port nobody listens at once.
/// Feature `dns`.
#[derive(Clone)]
pub struct DnsResolver {
    resolver: Resolver<Sockets>,
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
        DnsResolver::built(Resolver::builder(Sockets::default())?)
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
        DnsResolver::built(Resolver::builder_with_config(config, Sockets::default()))
    }

    fn built(mut builder: ResolverBuilder<Sockets>) -> Result<DnsResolver, NoNameServers> {
        let options = builder.options_mut();
        options.timeout = options.timeout.min(PATIENCE);
        options.attempts = options.attempts.min(ATTEMPTS);
        Ok(DnsResolver { resolver: builder.build()? })
    }
}

/// Sockets that are told when nobody listens at a name server's port: the word of it (ICMP) comes to connected ones alone.
#[derive(Clone, Default)]
struct Sockets(TokioRuntimeProvider);

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Connected;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Connected>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Ok(Connected { socket, server })
        })
    }
}

struct Connected {
    socket: UdpSocket,
    server: SocketAddr,
}

impl DnsUdpSocket for Connected {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(self.socket.poll_recv(context, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), self.server)))
    }

    /// An error alone makes no socket readable, so both are waited for.
    fn recv_from<'s, 'b, 'f>(
        &'s self,
        buffer: &'b mut [u8],
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<(usize, SocketAddr)>> + 'f>>
    where
        's: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            loop {
                let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
                if ready.is_error() {
                    let error = self.socket.take_error()?;
                    return Err(error.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
                }
                match self.socket.try_recv(buffer) {
                    Ok(length) => return Ok((length, self.server)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        octets: &[u8],
        _server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send(context, octets)
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
