//! An async endpoint: requests and responses over sockets, for those who need no dialogs.
//!
//! ```
//! use sip_message::headers::{CSeq, CallId, From, To};
//! use sip_message::{Method, Request, StatusCode, Uri};
//! use sip_transaction::tokio::{Endpoint, Incoming};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One answers,
//! let server = Endpoint::builder().listen("udp:127.0.0.1:0")?.bind().await?;
//! let port = server.locals().iter().next().map(|local| local.port).ok_or("no listener")?;
//! tokio::spawn(async move {
//!     while let Some(incoming) = server.accept().await {
//!         if let Incoming::Request(transaction) = incoming {
//!             let ok = transaction.request().reply(StatusCode::OK).to_tag("bob").build()?;
//!             transaction.respond(&ok)?;
//!         }
//!     }
//!     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! // the other asks.
//! let client = Endpoint::builder().listen("udp:127.0.0.1:0")?.bind().await?;
//! let uri: Uri = format!("sip:bob@127.0.0.1:{port}").parse()?;
//! let request = Request::builder(Method::Options, &uri)
//!     .header(&From::new(&"sip:alice@127.0.0.1".parse()?).with_tag(&client.token()))
//!     .header(&To::new(&uri))
//!     .header(&CallId::new(&client.token()))
//!     .header(&CSeq::new(1, Method::Options))
//!     .build()?;
//! let response = client.send(request)?.final_response().await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! Everything that the RFC demands of a transaction happens whether anybody waits for it or not: a future that is dropped
//! loses nothing. A *handle* that is dropped means something:
//!
//! | dropped | meaning |
//! |---|---|
//! | [`ClientTransaction`] of an INVITE without final response | CANCEL; a 2xx that crosses it goes to [`Endpoint::accept`] as [`Incoming::Stray`] |
//! | [`ClientTransaction`] of another request | its responses are ignored |
//! | [`ServerTransaction`] without final response | answered 500 |
//! | the last [`Endpoint`] and transaction of it | the sockets are closed |

mod builder;
mod client;
mod core;
mod server;

pub use builder::{Builder, StartError};
pub use client::ClientTransaction;
pub use server::{Incoming, ServerTransaction};

use self::core::EndpointCore;
use crate::Counters;
use crate::error::{SendError, Unsendable};
use crate::event::Target;
use sip_message::{Method, Request};
use sip_transport::Locals;
use sip_transport::tokio::Handle;
use std::sync::Arc;

/// Sends requests and accepts requests over sockets of its own. Clones are the same endpoint.
///
/// See the [module documentation](self) for an example.
#[derive(Clone, Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// What an endpoint and its transactions hold together; the last to go closes the sockets.
#[derive(Debug)]
struct Shared {
    handle: Handle<EndpointCore>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl Endpoint {
    /// Starts to put an endpoint together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends a request to its next hop: its first Route, or its Request-URI (RFC 3261 §8.1.2). The endpoint adds the Via.
    ///
    /// # Errors
    /// As [`Transactions::send`](crate::Transactions::send).
    pub fn send(&self, request: Request) -> Result<ClientTransaction, SendError> {
        match Target::next_hop(&request) {
            Ok(target) => self.send_to(request, target),
            Err(error) => Err(SendError { request: Box::new(request), reason: Unsendable::Header(error) }),
        }
    }

    /// Sends a request to a place of the caller's choice, such as an outbound proxy.
    ///
    /// # Errors
    /// As [`Transactions::send`](crate::Transactions::send).
    pub fn send_to(&self, request: Request, target: Target) -> Result<ClientTransaction, SendError> {
        let invite = *request.method() == Method::Invite;
        let (tx, mailbox) = self.shared.handle.with(|core, now| core.send(now, request, target))?;
        Ok(ClientTransaction::new(self.shared.clone(), tx, mailbox, invite))
    }

    /// Sends the ACK for a 2xx to its next hop (RFC 3261 §13.2.2.4), once: send it again when the 2xx comes again.
    ///
    /// # Errors
    /// As [`Transactions::send_stateless`](crate::Transactions::send_stateless).
    pub fn acknowledge(&self, ack: Request) -> Result<(), SendError> {
        match Target::next_hop(&ack) {
            Ok(target) => self.shared.handle.with(|core, _| core.acknowledge(ack, target)),
            Err(error) => Err(SendError { request: Box::new(ack), reason: Unsendable::Header(error) }),
        }
    }

    /// The next thing that came from outside: a request, an ACK for a 2xx, a late 2xx. `None` once the endpoint is closed.
    ///
    /// What is not accepted waits in a queue of bounded length ([`Builder::accept_queue`]); when it is full, further
    /// requests are answered 503, those inside dialogs 500, both with Retry-After.
    pub async fn accept(&self) -> Option<Incoming> {
        let arrived = self.shared.handle.look(|core| core.arrived());
        loop {
            // The order matters: what arrives between the look and the wait leaves a permit.
            match self.shared.handle.look(EndpointCore::take) {
                core::Taken::Some(item) => return Some(Incoming::new(item, &self.shared)),
                core::Taken::Closed => {
                    arrived.notify_one(); // the next who waits
                    return None;
                }
                core::Taken::Nothing => arrived.notified().await,
            }
        }
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.shared.handle.locals()
    }

    /// A fresh text for a tag or a Call-ID: 96 unguessable bits (RFC 3261 §19.3).
    #[must_use]
    pub fn token(&self) -> String {
        self.shared.handle.look(|core| core.layer.token())
    }

    /// What the transaction layer has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.handle.look(|core| *core.layer.counters())
    }

    /// Client and server transactions that are not over.
    #[must_use]
    pub fn live(&self) -> (usize, usize) {
        self.shared.handle.look(|core| (core.layer.live_client(), core.layer.live_server()))
    }

    /// Ends it: what waits to be accepted is refused, everybody who waits is told, the sockets are closed.
    pub async fn close(&self) {
        self.shared.handle.with(|core, now| core.close(now));
        self.shared.handle.close();
        self.shared.handle.stopped().await;
    }
}
