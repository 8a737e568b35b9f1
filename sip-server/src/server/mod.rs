//! A server over real sockets.

mod build;
mod builder;
mod cores;
mod handle;
mod msrp;
mod outside;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::msrp::tokio::relay::RelayServer;
use sip_transport::Locals;
use sip_transport::tokio::tls::Tls;
use tokio::task::JoinHandle;

pub(crate) use cores::CoreHandle;

pub use build::BuildError;
pub use builder::ServerBuilder;
pub use handle::{Counts, ServerHandle, Snapshot};
pub use msrp::{MsrpIdentity, MsrpRelay};

use cores::Cores;
use handle::LOOK_AGAIN;

use crate::keeper::Keeper;
use crate::settings::Settings;

/// A SIP server: registrar, location service and stateful proxy on sockets.
///
/// It runs from [`build`](ServerBuilder::build) on, whether anybody waits for it or not. Dropping it closes its sockets:
/// calls that were set up go on, since their media does not pass through here, but their BYE finds nobody.
#[derive(Debug)]
pub struct Server {
    cores: Cores,
    /// Carry questions to the outside and answers back.
    carriers: Vec<JoinHandle<()>>,
    records: Option<JoinHandle<()>>,
    events: Option<JoinHandle<()>>,
    keeper: Option<Keeper>,
    running: Arc<Running>,
}

/// What a reload compares with and reaches.
#[derive(Debug, Default)]
struct Running {
    settings: Mutex<Option<Settings>>,
    tls: Option<Tls>,
    /// It goes with the server, and not with the last handle.
    relay: Mutex<Option<RelayServer>>,
}

impl Running {
    fn relay(&self) -> MutexGuard<'_, Option<RelayServer>> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts with no listener, no domain and no users.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.cores.home.locals()
    }

    /// Where its relay of session messages listens, if it has one.
    #[must_use]
    pub fn msrp_relay(&self) -> Option<SocketAddr> {
        self.running.relay().as_ref().map(RelayServer::address)
    }

    /// Where that relay listens for WebSockets, if it does.
    #[must_use]
    pub fn msrp_websockets(&self) -> Option<SocketAddr> {
        self.running.relay().as_ref().and_then(RelayServer::websocket_address)
    }

    /// A handle for looking into it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { cores: self.cores.clone(), running: self.running.clone() }
    }

    /// Runs until `until` is ready, then closes all sockets. Gives what `until` gave.
    pub async fn run_until<F: Future>(self, until: F) -> F::Output {
        let output = until.await;
        self.close().await;
        output
    }

    /// Closes all sockets and the location file, and waits until they are closed and the last call record is written.
    pub async fn close(mut self) {
        self.leave_trunks().await;
        drop(self.running.relay().take());
        self.cores.each(|core, _| core.end_call_records());
        self.cores.home.close();
        self.cores.home.stopped().await;
        if let Some(records) = self.records.take() {
            // It has panicked, which is no reason to do so too.
            let _ = records.await;
        }
        if let Some(events) = self.events.take() {
            let _ = events.await; // likewise
        }
        if let Some(keeper) = self.keeper.take() {
            // It ends with the write that it has at hand; a failure means that it has ended already.
            let _ = tokio::task::spawn_blocking(|| keeper.join()).await;
        }
    }
}

impl Server {
    /// Registrars of trunks shall send no calls to who is gone.
    async fn leave_trunks(&self) {
        self.cores.home.with(|core, now| core.leave_trunks(now));
        let left = async {
            while self.cores.home.look(|core| core.are_trunks_leaving()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        // An error: a registrar is silent, and its binding ends by itself.
        let _ = tokio::time::timeout(LEAVE_TIME, left).await;
    }
}

/// How long the end of a program waits for registrars of trunks.
const LEAVE_TIME: Duration = Duration::from_secs(2);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.relay().take());
        let tasks = self.carriers.drain(..).chain(self.records.take()).chain(self.events.take());
        tasks.for_each(|task| task.abort());
        self.cores.home.close();
    }
}
