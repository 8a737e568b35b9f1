//! A SIP server as a library: registrar (RFC 3261 §10), location service and stateful proxy (§16).
//!
//! [`Server`] is the whole over sockets:
//!
//! ```
//! use sip_server::{Server, Users};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .listen("udp:127.0.0.1:0")
//!     .listen("tcp:127.0.0.1:0")
//!     .domain("example.com")
//!     .users(Users::parse("alice:wonderland\nbob:builder\n")?)
//!     .build()
//!     .await?;
//! for local in server.locals() {
//!     println!("listening {}:{}", local.transport.uri_param(), local.bound);
//! }
//! let handle = server.handle();
//! server.run_until(async { /* ctrl-c */ }).await;
//! assert_eq!(handle.counts().bindings, 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`ServerCore`] is the same without sockets, clock and tasks: messages and time go in, messages come out. Here a phone
//! registers, with no network at all:
//!
//! ```
//! use sip_message::{Limits, Message};
//! use sip_server::{Config, ServerCore};
//! use sip_transport::{Core, Local, Locals, Path, Transport, ingress};
//! use std::time::{Duration, Instant};
//!
//! let now = Instant::now();
//! let here = Local::new(Transport::Udp, "192.0.2.1:5060".parse()?);
//! let mut config = Config::new([7; 32], Locals::new(vec![here.clone()])); // a random seed in earnest
//! config.domains = vec!["example.com".into()];
//! let mut server = ServerCore::new(config, now, Duration::from_secs(1_700_000_000))?;
//!
//! let register = "REGISTER sip:example.com SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\r\n\
//!     From: <sip:alice@example.com>;tag=1\r\n\
//!     To: <sip:alice@example.com>\r\n\
//!     Call-ID: 1@192.0.2.7\r\n\
//!     CSeq: 1 REGISTER\r\n\
//!     Contact: <sip:alice@192.0.2.7:5060>\r\n\
//!     Expires: 600\r\n\
//!     Content-Length: 0\r\n\r\n";
//! let mut path = Path::to(Transport::Udp, "192.0.2.7:5060".parse()?);
//! path.local = here.bound;
//! server.receive(now, ingress::datagram(register.into(), path, &Limits::default())?);
//!
//! let answer = server.poll_transmit().ok_or("no answer")?;
//! let Message::Response(answer) = Message::parse(answer.payload, &Limits::default())? else { panic!() };
//! assert_eq!(answer.status().code(), 200);
//! assert_eq!(answer.headers.text("Contact"), Some("<sip:alice@192.0.2.7:5060>;expires=600"));
//! assert_eq!(server.bindings(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What has to wait for the outside, a location store that is a database, leaves the core as a
//! [`Question`](location::Question) and comes back as an [`Answer`](location::Answer): the core is never blocked. Who may
//! do what:
//!
//! * REGISTER: a user of ours for the own address-of-record (401, 403).
//! * Requests that claim to come from a user of ours: that user (407, 403).
//! * Requests to users of ours: everybody.
//! * Requests to elsewhere: users of ours, and whoever is in a dialog that was set up through this server. The proof is a
//!   ticket in the server's Record-Route, not a To tag that anybody can write.
//!
//! Where requests go says the Request-URI, or rules do ([`routing`]), which a file may hold ([`settings`]). Where there are trunks,
//! foreign domains are open to nobody but by a route.

mod aor;
pub mod calls;
mod config;
mod core;
mod date;
mod domains;
pub mod events;
mod flow;
mod gruu;
mod identity;
mod keeper;
pub mod location;
pub mod messages;
pub mod operation;
pub mod protection;
mod proxy;
pub mod push;
pub mod registrar;
pub mod routing;
mod server;
pub mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod tls_client;
mod traffic;
pub mod users;

pub use crate::aor::AddressOfRecord;
pub use crate::config::{Config, ConfigError, Counters, Limits, SessionTimer};
pub use crate::core::{Batch, InCommon, Note, ServerCore, TrunkStatus};
pub use crate::domains::Domains;
pub use crate::server::{
    BuildError, Counts, MsrpIdentity, MsrpRelay, Server, ServerBuilder, ServerHandle, Snapshot,
};
pub use crate::traffic::Traffic;
pub use crate::users::{Users, UsersError};
