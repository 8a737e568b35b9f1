//! What an operator wants of `sip server` besides SIP: call records, health and metrics, a stop that waits for calls being set
//! up, and word to the system's service manager.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sip_server::operation::CallRecordFile;
use sip_server::operation::http::Endpoint;
use sip_server::{Server, ServerBuilder, ServerHandle};
use sip_transport::proxy_protocol::Network;
use tokio::task::JoinHandle;

use crate::exit::Failure;
use crate::output::Output;

/// Options of `sip server` for operation.
#[derive(Clone, Debug, Args)]
pub(crate) struct OperationArgs {
    /// Append a record of every call to this file, a line of JSON each. A file that is moved away is made anew.
    #[arg(long, value_name = "FILE")]
    call_records: Option<PathBuf>,

    /// Answer /metrics (Prometheus), /healthz and /readyz by HTTP at this address, which strangers should not reach.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,

    /// Always hear sources in this network: a trunk, the own office. Loopback is trusted anyway; several times if needed.
    #[arg(long, value_name = "NETWORK")]
    trust: Vec<Network>,

    /// Hear everybody, also who guesses passwords, looks for users, scans or floods. Without users nobody is watched.
    #[arg(long)]
    no_bans: bool,

    /// When told to end, first take nothing new for up to so many seconds, until what is under way is done.
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
}

/// The parts of it that run beside the server.
#[derive(Debug)]
pub(crate) struct Operation {
    endpoint: Option<JoinHandle<()>>,
    drain: Duration,
}

impl OperationArgs {
    /// With what a file of settings says where the command line says nothing.
    pub(crate) fn or(self, settings: &sip_server::settings::Operation) -> Self {
        Self {
            call_records: self.call_records.or_else(|| settings.call_records.clone()),
            http: self.http.or(settings.http),
            drain: self.drain.or(Some(settings.drain.as_secs())),
            ..self
        }
    }

    /// What has to be known before the server starts.
    pub(crate) fn apply(&self, builder: ServerBuilder) -> Result<ServerBuilder, Failure> {
        let builder = builder.configure(|config| {
            if self.no_bans {
                config.protection = None;
            } else if config.users.is_some() {
                config.protection.get_or_insert_default().trusted.extend(&self.trust);
            }
        });
        let Some(path) = &self.call_records else {
            // Whoever reads metrics wants to know of calls too.
            return Ok(match self.http {
                Some(_) => builder.configure(|config| {
                    config.call_records.get_or_insert_default().waiting = 0;
                }),
                None => builder,
            });
        };
        Ok(builder.call_records(CallRecordFile::open(path).map_err(Failure::fault)?))
    }

    /// Starts what runs beside the server.
    pub(crate) async fn start(&self, server: &Server, output: Output) -> Result<Operation, Failure> {
        let endpoint = match self.http {
            Some(address) => {
                let fault = |error| Failure::fault(format_args!("--http {address}: {error}"));
                let endpoint = Endpoint::bind(address).await.map_err(fault)?;
                let at = endpoint.address().map_err(fault)?;
                output.event(
                    json!({ "event": "http", "at": at.to_string() }),
                    format_args!("health and metrics at http://{at}/metrics"),
                );
                Some(tokio::spawn(endpoint.serve(server.handle())))
            }
            None => None,
        };
        tell(Word::Ready);
        Ok(Operation { endpoint, drain: Duration::from_secs(self.drain.unwrap_or(0)) })
    }
}

impl Operation {
    /// The server has been told to end: waits for what is under way.
    pub(crate) async fn drain(&self, server: &ServerHandle, output: Output) {
        tell(Word::Stopping);
        if self.drain.is_zero() {
            return;
        }
        server.set_draining(true); // whoever is told of it finds it so
        output.event(
            json!({ "event": "draining", "seconds": self.drain.as_secs() }),
            format_args!("draining for up to {} s; once more ends it at once", self.drain.as_secs()),
        );
        if !server.drain(self.drain).await {
            let left = server.counts().live_transactions;
            output.event(
                json!({ "event": "drained", "left": left }),
                format_args!("{left} transactions were still under way"),
            );
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.abort();
        }
    }
}

/// What a service manager is told.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Everything listens.
    Ready,
    /// The end has begun.
    Stopping,
}

/// Tells the service manager, if one started us and asked for it.
#[cfg(unix)]
fn tell(word: Word) {
    let state = match word {
        Word::Ready => sd_notify::NotifyState::Ready,
        Word::Stopping => sd_notify::NotifyState::Stopping,
    };
    // An error: nobody listens, and nothing depends on it.
    let _ = sd_notify::notify(&[state]);
}

#[cfg(not(unix))]
fn tell(_: Word) {}
