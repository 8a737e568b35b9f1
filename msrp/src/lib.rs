//! MSRP: sessions of instant messages, and of files, that SIP sets up (RFC 4975; clients of relays by RFC 4976; RFC 6135, RFC 6714,
//! RFC 5547, RFC 7701). The crate knows nothing of SIP: what offer and answer carry are texts, see [`sdp`].
//!
//! [`Connection`] is the state machine of a connection and its sessions, without socket, clock or randomness. The module `tokio`
//! (feature `tokio`, on by default) has an `Endpoint` for TCP, and for TLS with the feature `tls`; its documentation opens with a
//! chat. Here are two of the cores, and octets carried between them by hand.
//!
//! ```
//! use std::time::Instant;
//! use msrp::{Connection, Event, Message, NoDirectory, SessionConfig, Uri, framing::Limits};
//!
//! let (alice_uri, bob_uri): (Uri, Uri) =
//!     ("msrp://a.example.com:7654/jshA7weztas;tcp".parse()?, "msrp://b.example.com:12763/kjhd37s2s20w2a;tcp".parse()?);
//! let mut random = 1; // random numbers in earnest
//! let mut alice = Connection::new(1, Limits::default(), Box::new(move || { random += 1; random }));
//! let mut bob = Connection::new(2, Limits::default(), Box::new(move || { random += 1; random }));
//!
//! let session = alice.add(SessionConfig {
//!     remote: Some(bob_uri.clone().into()), active: true, ..SessionConfig::new(alice_uri)
//! })?;
//! bob.add(SessionConfig::new(bob_uri))?;
//! alice.send(session, Message::text("Hey Bob, are you there?"))?;
//!
//! while let Some(octets) = alice.poll_transmit() {
//!     bob.buffer_mut().extend_from_slice(&octets);
//! }
//! alice.transmitted(Instant::now()); // the 30 seconds for an answer begin
//! bob.receive(Instant::now(), &mut NoDirectory)?;
//! let text = std::iter::from_fn(|| bob.poll_event()).find_map(|(_, event)| match event {
//!     Event::Message(message) => message.text().map(str::to_owned),
//!     _ => None,
//! });
//! assert_eq!(text.as_deref(), Some("Hey Bob, are you there?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "auth")]
pub mod auth;
pub mod connection;
mod event;
pub mod file;
pub mod framing;
pub mod message;
pub mod outgoing;
pub mod ranges;
#[cfg(feature = "relay")]
pub mod relay;
pub mod screen;
pub mod sdp;
pub mod session;
mod status;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod uri;

pub use connection::{Claim, Connection, Directory, MessageKey, NoDirectory, SendError, SessionKey, Tokens};
pub use event::{Event, Failure, Received};
pub use message::{ByteRange, FailureReport, Flag, Head, HeadWriter, Ident, Method, Start, Status};
pub use outgoing::{Chunking, Message};
pub use screen::Screen;
pub use sdp::MediaTypes;
pub use session::{Delivery, SessionConfig};
pub use status::StatusCode;
pub use uri::{Path, Uri, UriError};
