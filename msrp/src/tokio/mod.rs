//! Sessions over sockets: an [`Endpoint`] listens and connects over TCP, and over TLS with the feature `tls`.
//!
//! A session is agreed upon elsewhere, in SIP by offer and answer; then one side connects and the other waits (RFC 6135):
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use msrp::{Event, Message, tokio::{Endpoint, Options}};
//!
//! let bob = Endpoint::bind(Options::new("127.0.0.1:0".parse()?)).await?;
//! let alice = Endpoint::bind(Options::new("127.0.0.1:0".parse()?)).await?;
//! let (bob, alice) = (bob.open()?, alice.open()?);
//! let bob_path = bob.uri().clone().into(); // what a=path says
//!
//! let (bob, alice) = tokio::join!(bob.accept(), alice.connect(bob_path));
//! let (mut bob, alice) = (bob?, alice?);
//! let receipt = alice.send(Message::text("Hey Bob, are you there?")).await?;
//! while let Some(event) = bob.next().await {
//!     if let Event::Message(message) = event {
//!         assert_eq!(message.text(), Some("Hey Bob, are you there?"));
//!         break;
//!     }
//! }
//! receipt.accepted().await?; // Bob's side has acknowledged it
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the feature `ws` an endpoint reaches its relay over WebSocket (RFC 7977), if the relay's URI has that transport:
//! `msrps://alice@relay.example.com:443;ws`. Whom it talks to need not know of WebSocket, only the relay does: nobody else takes or
//! makes such connections.
//!
//! Every queue is bounded. An application that does not take its events stops the reading of its connection, and thereby the
//! peer; other sessions of the same connection wait with it.

mod endpoint;
mod options;
mod pending;
#[cfg(feature = "relay")]
pub mod relay;
mod route;
mod session;
mod shared;
mod socket;
mod task;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "ws")]
mod websocket;

pub use endpoint::Endpoint;
pub use options::Options;
pub use pending::{ConnectError, Pending};
pub use route::Route;
pub use session::{Receipt, Session, Upload};
#[cfg(all(feature = "ws", feature = "relay"))]
pub use websocket::Origins;
