//! Listening for peers, and URIs for new sessions (RFC 4975 §5.4, §14.1).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::net::TcpListener;
use ::tokio::sync::Semaphore;
use ::tokio::task::JoinHandle;
use ::tokio::time::timeout;

use super::options::Options;
use super::pending::Pending;
use super::shared::{Shared, random};
use crate::uri::{Uri, UriError};

/// How long a connection may take to come about, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Connections that others opened: more are not accepted until one ends.
const MAX_ACCEPTED: usize = 1_024;
/// After an error of the listener, such as too many open files.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// The port in URIs of who does not listen (RFC 6135 §4.2.1): nobody is to connect there.
const DISCARD: u16 = 9;

/// Listens for peers and connects to them. Dropping it stops the listening; sessions that stand go on.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(MAX_ACCEPTED));
    loop {
        // Never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            ::tokio::time::sleep(PAUSE).await;
            continue;
        };
        let shared = shared.clone();
        ::tokio::spawn(async move {
            if let Ok(Ok(socket)) = timeout(CONNECT, shared.accepted(stream)).await {
                shared.spawn(socket, Some(permit));
            }
        });
    }
}

impl Endpoint {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let listener = match options.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let shared = Arc::new(Shared::new(options, address));
        let listener = listener.map(|listener| ::tokio::spawn(listen(listener, shared.clone())));
        Ok(Self { shared, listener })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.address
    }

    /// A URI for a new session, with 128 random bits (RFC 4975 §14.1), and what belongs to it.
    ///
    /// # Errors
    /// If the host of the options makes no URI.
    pub fn open(&self) -> Result<Pending, UriError> {
        let shared = &self.shared;
        let host = match (&shared.options.host, shared.address) {
            (Some(host), _) => host.clone(),
            (None, Some(address)) => address.ip().to_string(),
            (None, None) => "anonymous.invalid".into(),
        };
        let port = shared.address.map_or(DISCARD, |address| address.port());
        let id = format!("{:016x}{:016x}", random(), random());
        let uri = Uri::new(shared.options.is_secure(), &host, port, &id)?;
        Ok(Pending::new(shared.clone(), uri))
    }
}
