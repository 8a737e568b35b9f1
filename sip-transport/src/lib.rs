//! SIP transport (RFC 3261 §18): paths, flows, next hops and response routing as pure code, and a tokio driver for
//! sockets.
//!
//! A protocol layer is a [`Core`]: messages, events, answers and time go in; messages, questions and the time of the
//! next timeout come out. This crate holds what such cores share and the driver that runs them over UDP, TCP, TLS and WebSocket; the
//! crate `sip-sim` runs the same cores in virtual time.
//!
//! ```
//! use std::collections::VecDeque;
//! use std::time::Instant;
//! use sip_message::{Message, StatusCode};
//! use sip_transport::{Answer, Core, FlowEvent, Query, Received, Token, Transmit, response};
//!
//! /// Answers every request with 200.
//! #[derive(Default)]
//! struct Polite(VecDeque<Transmit>);
//!
//! impl Core for Polite {
//!     fn receive(&mut self, _now: Instant, received: Received) {
//!         let Message::Request(request) = received.message else { return };
//!         let Ok(answer) = request.reply(StatusCode::OK).to_tag("polite").build() else { return };
//!         let Ok(way) = response::path_of(&answer, &received.path) else { return };
//!         let payload = answer.to_bytes();
//!         self.0.push_back(Transmit { path: way.path, payload, reopen: way.reopen, domain: None, token: Token::NONE });
//!     }
//!     fn poll_transmit(&mut self) -> Option<Transmit> { self.0.pop_front() }
//!     fn flow_event(&mut self, _now: Instant, _event: FlowEvent) {}
//!     fn resolved(&mut self, _now: Instant, _answer: Answer) {}
//!     fn handle_timeout(&mut self, _now: Instant) {}
//!     fn poll_timeout(&self) -> Option<Instant> { None }
//!     fn poll_query(&mut self) -> Option<Query> { None }
//! }
//!
//! # #[cfg(feature = "tokio")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use sip_transport::tokio::{Driver, Options, Sockets};
//!
//! let sockets = Sockets::bind(&["udp:127.0.0.1:0".parse()?, "tcp:127.0.0.1:0".parse()?])?;
//! let handle = Driver::spawn(Polite::default(), sockets, Options::default());
//!
//! let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
//! let request = format!(
//!     "OPTIONS sip:polite@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
//!      To: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n", client.local_addr()?);
//! let server = handle.locals().iter().next().map(|local| local.bound).ok_or("no listener")?;
//! client.send_to(request.as_bytes(), server).await?;
//! let mut answer = [0; 1500];
//! let length = client.recv(&mut answer).await?;
//! assert!(answer[..length].starts_with(b"SIP/2.0 200 OK\r\n"));
//!
//! handle.close();
//! handle.stopped().await;
//! # Ok(())
//! # })
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! | module | what | RFC |
//! |---|---|---|
//! | [`path`] | transports, flows, paths, what is sent and received | 3261 §18 |
//! | [`core`] | the seam: [`Core`], [`Outbox`], questions and answers | |
//! | [`shards`] | several cores side by side | |
//! | [`ingress`] | bytes to messages, `received` and `rport` | 3261 §18.2.1, 3581 |
//! | [`response`] | where a response goes | 3261 §18.2.2, 3581 |
//! | [`resolve`] | where a request goes | 3263, 2782, 3403, 7984, 3261 §18.1.1 |
//! | [`locals`] | listeners, Via and Contact | 3261 §18.1.1 |
//! | [`outbound`], [`stun`] | keep-alives, dead flows and flow tokens | 5626, 6223, 8489 |
//! | [`limits`] | what peers may make a driver hold, and counters | |
//! | [`capture`], [`hep`] | pcap files; HEP version 3 | |
//! | [`proxy_protocol`] | who connects through a balancer of connections | |
//! | [`identity`] | the SIP domains and users that a certificate proves (read from one with feature `tls`) | 5922 |
//! | `websocket` | frames and the upgrade (feature `ws`) | 6455, 7118 |
//! | `tokio` | the driver over sockets (feature `tokio`, on by default; NAPTR and SRV with feature `dns`) | 3261 §18.3, §18.4 |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod capture;
pub mod core;
pub mod hep;
pub mod identity;
pub mod ingress;
pub mod limits;
pub mod locals;
pub mod outbound;
pub mod path;
pub mod proxy_protocol;
pub mod resolve;
pub mod response;
pub mod shards;
pub mod stun;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "ws")]
pub mod websocket;

pub use crate::core::{
    Answer, Backlog, Core, Naptr, Outbox, Query, QueryKey, Question, Queues, Records, ResolveError, Srv,
};
pub use crate::locals::{Local, Locals, Supported};
pub use crate::path::{
    Close, CloseReason, FlowEvent, FlowId, KeepAliveAnswer, Path, Received, SendError, TlsFailure, Token,
    Transmit, Transport, WsFailure,
};
pub use crate::shards::{Shard, Shards};
