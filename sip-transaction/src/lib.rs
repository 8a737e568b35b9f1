//! SIP transactions (RFC 3261 §17, RFC 6026, RFC 4320, RFC 3263 §4.3): everything between a request and its final
//! response, and nothing above it.
//!
//! [`Transactions`] holds thousands of them and does no I/O: messages, time and DNS answers go in, messages, questions
//! and [`Event`]s come out through an [`Outbox`](sip_transport::Outbox). It retransmits and absorbs retransmissions,
//! makes branches, matches responses, ACKs and CANCELs, answers what breaks the rules, finds the next hop and tries
//! the next server when one fails. Dialogs and proxies are built on it.
//!
//! ```
//! use sip_message::headers::{CSeq, CallId, From, To};
//! use sip_message::{Limits, Method, Request, StatusCode, Uri};
//! use sip_transaction::{Config, Event, Target, Transactions};
//! use sip_transport::{Local, Locals, Path, Queues, Transport, ingress};
//! use std::time::Instant;
//!
//! let at = |text: &str| -> Result<Transactions, std::net::AddrParseError> {
//!     Ok(Transactions::new(Config::new([7; 32], Locals::new(vec![Local::new(Transport::Udp, text.parse()?)]))))
//! };
//! let (mut alice, mut bob) = (at("192.0.2.1:5060")?, at("192.0.2.2:5060")?);
//! let mut out = Queues::new();
//! let now = Instant::now();
//!
//! // Alice asks. The layer adds Via, finds the address and starts its timers.
//! let uri: Uri = "sip:192.0.2.2".parse()?;
//! let request = Request::builder(Method::Options, &uri)
//!     .header(&From::new(&"sip:alice@192.0.2.1".parse()?).with_tag(&alice.token()))
//!     .header(&To::new(&uri))
//!     .header(&CallId::new(&alice.token()))
//!     .header(&CSeq::new(1, Method::Options))
//!     .build()?;
//! let question = alice.send(now, request, Target::Uri(uri), &mut out)?;
//! let sent = out.transmits.pop_front().ok_or("nothing sent")?;
//!
//! // Bob receives and answers.
//! let mut path = Path::to(Transport::Udp, sent.path.local);
//! path.local = sent.path.remote;
//! bob.receive(now, ingress::datagram(sent.payload, path, &Limits::default())?, &mut out);
//! let Some(Event::Request { tx, request, .. }) = out.events.pop_front() else { return Err("no request".into()) };
//! let ok = request.reply(StatusCode::OK).to_tag(&bob.token()).build()?;
//! bob.respond(now, tx, ok, &mut out)?;
//!
//! // The answer belongs to Alice's question.
//! let sent = out.transmits.pop_front().ok_or("nothing answered")?;
//! let mut path = Path::to(Transport::Udp, sent.path.local);
//! path.local = sent.path.remote;
//! alice.receive(now, ingress::datagram(sent.payload, path, &Limits::default())?, &mut out);
//! let Some(Event::Response { tx, response, .. }) = out.events.pop_front() else { return Err("no answer".into()) };
//! assert_eq!((tx, response.status()), (question, StatusCode::OK));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The four state machines alone are in [`fsm`]. For those who want requests and responses over sockets and nothing
//! above, the feature `tokio` has an async `Endpoint` in the module `tokio`.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod branch;
mod config;
mod counters;
mod error;
mod event;
pub mod fsm;
mod key;
mod layer;
pub mod overload;
mod random;
mod shedding;
mod silence;
pub mod slab;
pub mod tables;
pub mod timers;
mod timing;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use config::{Config, Limits};
pub use counters::Counters;
pub use error::{CancelError, Failure, RespondError, SendError, Unrespondable, Unsendable};
pub use event::{ClientTx, Event, ServerTx, Target};
pub use layer::{StatelessVia, Transactions, shard_of};
pub use overload::Tier;
pub use slab::MAX_SHARDS;
pub use timing::Timing;
