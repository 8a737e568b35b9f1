//! SIP dialogs and the calls that live in them, as a pure core (RFC 3261 §12 to §15, §22).
//!
//! [`Dialogs`] sits on the transaction layer and owns every call: early dialogs of a forked INVITE, the ACK of
//! each 2xx and its repetition, our own 2xx until its ACK, re-INVITE and its glare, CANCEL and BYE in whatever
//! order they cross, digest challenges. It does no I/O and reads no clock: drive it over sockets with
//! `sip_transport::tokio`, or in virtual time with `sip-sim`.
//!
//! ```
//! use sip_dialog::{Body, Config, Dialogs, Event, Invite};
//! use sip_message::{StatusCode, headers::NameAddr};
//! use sip_transport::{Core, Local, Locals, Transport, Path, ingress};
//! use std::time::Instant;
//!
//! // Two phones whose messages we carry by hand.
//! let phone = |address: &str, seed| {
//!     let local = Local::new(Transport::Udp, address.parse().unwrap());
//!     Dialogs::new(Config::new(sip_transaction::Config::new([seed; 32], Locals::new(vec![local]))))
//! };
//! let (alice_at, bob_at) = ("192.0.2.1:5060", "192.0.2.2:5060");
//! let (mut alice, mut bob) = (phone(alice_at, 1), phone(bob_at, 2));
//! let now = Instant::now();
//! let carry = |from: &mut Dialogs, from_at: &str, to: &mut Dialogs, to_at: &str| {
//!     while let Some(transmit) = from.poll_transmit() {
//!         let path = Path {
//!             transport: Transport::Udp, flow: None,
//!             local: to_at.parse().unwrap(), remote: from_at.parse().unwrap(),
//!         };
//!         to.receive(now, ingress::datagram(transmit.payload, path, &Default::default()).unwrap());
//!     }
//! };
//!
//! let call = alice.invite(now, Invite {
//!     to: "sip:bob@192.0.2.2".parse()?,
//!     from: "Alice <sip:alice@192.0.2.1>".parse()?,
//!     offer: Some(Body::sdp("v=0...")), route: vec![], fields: vec![],
//! })?;
//! carry(&mut alice, alice_at, &mut bob, bob_at);
//! let Some(Event::Incoming { call: incoming, .. }) = bob.poll_event() else { panic!() };
//! bob.ring(now, incoming, StatusCode::RINGING, None)?;
//! bob.accept(now, incoming, Some(Body::sdp("v=0...")))?;
//! carry(&mut bob, bob_at, &mut alice, alice_at);
//! assert!(matches!(alice.poll_event(), Some(Event::Progress { .. })));
//! assert!(matches!(alice.poll_event(), Some(Event::Answered { .. })));
//! carry(&mut alice, alice_at, &mut bob, bob_at); // the ACK, sent by the layer itself
//! assert!(matches!(bob.poll_event(), Some(Event::Confirmed { .. })));
//! alice.hang_up(now, call)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod callee;
mod caller;
mod credentials;
mod deadlines;
mod dialog;
mod event;
mod layer;
mod lingering;
mod publication;
mod refer;
mod reinvite;
mod subscription;

pub use call::CallState;
pub use dialog::{Dialog, DialogError, DialogId};
pub use event::{Body, CallKey, Cause, Error, Event, Invite, RequestKey};
pub use layer::{Config, Dialogs};
pub use publication::compositor;
pub use publication::{Publication, PublicationChange, PublicationEnd, PublicationKey};
pub use refer::{Refer, Report, refer_to_replacing};
pub use subscription::{
    Acceptance, EventConfig, Notification, Subscribe, SubscriberChange, SubscriberEnd, SubscriptionChange,
    SubscriptionEnd, SubscriptionKey, SubscriptionStage, TerminationReason,
};
