//! Putting an endpoint together.

use super::core::EndpointCore;
use super::{Endpoint, Shared};
use crate::{Config, Limits, Timing};
#[cfg(feature = "tls")]
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{BindError, Driver, Listen, ListenError, Options, Sockets};
use std::sync::Arc;

/// Requests that wait to be accepted. Each holds a transaction; an application that is further behind than this
/// answers too late anyway, and a flood would make it hold ever more.
const ACCEPT_QUEUE: usize = 4_096;

/// Says how an [`Endpoint`] is to be.
#[derive(Debug)]
pub struct Builder {
    listen: Vec<Listen>,
    timing: Timing,
    limits: Limits,
    refuse_merged: bool,
    accept_queue: usize,
    options: Options,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            timing: Timing::default(),
            limits: Limits::default(),
            refuse_merged: false,
            accept_queue: ACCEPT_QUEUE,
            options: Options::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Why an endpoint could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
}

impl Builder {
    /// Adds a listener: `udp:127.0.0.1:5060`, `tcp:[::]:0`, and `tls:`, `ws:`, `wss:` alike with the features of these
    /// names. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the text names no transport and address.
    pub fn listen(mut self, listen: &str) -> Result<Self, ListenError> {
        self.listen.push(listen.parse()?);
        Ok(self)
    }

    /// Adds a listener that was put together, for example one that tells peers another address.
    #[must_use]
    pub fn listen_at(mut self, listen: Listen) -> Self {
        self.listen.push(listen);
        self
    }

    /// Other base values of the timers.
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Other bounds on transactions.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Answers 482 to requests that come a second time on another way (RFC 3261 §8.2.2.2).
    #[must_use]
    pub const fn refuse_merged(mut self, refuse: bool) -> Self {
        self.refuse_merged = refuse;
        self
    }

    /// How many requests may wait to be accepted; 4096 if nothing is said.
    #[must_use]
    pub const fn accept_queue(mut self, length: usize) -> Self {
        self.accept_queue = length;
        self
    }

    /// Bounds of the transport, a tap that sees every message, another resolver.
    #[must_use]
    pub fn transport(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The certificates for `tls:` and `wss:`, and the authorities to trust. A clone of it reloads them.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    #[cfg(feature = "tls")]
    fn sockets(&mut self) -> Result<Sockets, BindError> {
        match self.tls.take() {
            Some(tls) => Sockets::bind_with_tls(&self.listen, tls),
            None => Sockets::bind(&self.listen),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn sockets(&mut self) -> Result<Sockets, BindError> {
        Sockets::bind(&self.listen)
    }

    /// Binds the listeners and starts.
    ///
    /// # Errors
    /// If a listener cannot be bound, or the operating system gives no randomness.
    pub async fn bind(mut self) -> Result<Endpoint, StartError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartError::Random)?;
        let sockets = self.sockets()?;
        let mut config = Config::new(seed, sockets.locals().clone());
        config.timing = self.timing;
        config.limits = self.limits;
        config.refuse_merged = self.refuse_merged;
        let core = EndpointCore::new(config, self.accept_queue);
        let handle = Driver::spawn(core, sockets, self.options);
        Ok(Endpoint { shared: Arc::new(Shared { handle }) })
    }
}
