//! SIP dialogs and what lives in them, as a pure core: calls (RFC 3261 §12 to §15, §22), subscriptions (RFC 6665) and what
//! is made of them.
//!
//! [`Dialogs`] sits on the transaction layer and owns every call: early dialogs of a forked INVITE, the ACK of
//! each 2xx and its repetition, our own 2xx until its ACK, re-INVITE and its glare, CANCEL and BYE in whatever
//! order they cross, digest challenges. It does no I/O and reads no clock: drive it over sockets with
//! `sip_transport::tokio`, or in virtual time with `sip-sim`.
//!
//! | to do | with |
//! |---|---|
//! | call, be called, hang up | [`Dialogs::invite`], [`Event::Incoming`], [`Dialogs::ring`], [`Dialogs::accept`] |
//! | hold and other changes (§14, RFC 3311) | [`Dialogs::reinvite`], [`Dialogs::update`], [`Event::Reinvited`], [`Event::Offered`] |
//! | media before the answer (RFC 3262) | [`Dialogs::ring`], [`Dialogs::acknowledge_provisional`]; [`offer_answer`] says what goes where |
//! | INFO of packages (RFC 6086) | [`Config::info_packages`], [`Dialogs::peer_takes_info`], [`Dialogs::info_package`] |
//! | find dead calls (RFC 4028) | [`Config::session_timer`] |
//! | hear what changes somewhere (RFC 6665 §4.1) | [`Dialogs::subscribe`], [`Event::Subscription`] |
//! | tell others what changes (§4.2, RFC 6446, RFC 5839) | [`Event::SubscriptionRequested`], [`Dialogs::notify`] |
//! | transfer, be transferred (RFC 3515, RFC 3891, RFC 3892, RFC 4488, RFC 4538, RFC 7614) | [`Dialogs::refer`], [`Event::Referred`], [`Dialogs::report`] |
//! | who is at the other end, the session's identifier, where it has been (RFC 4916, RFC 7989, RFC 7044) | [`Dialogs::change_identity`], [`Dialogs::session_id`], [`Config::history`] |
//! | go on from another address | [`Dialogs::relocate`] |
//! | publish (RFC 3903) | [`Dialogs::publish`]; the server's table is [`compositor`] |
//! | read and write the bodies of event packages | [`packages`] |
//! | what messages carry: who writes, whether it was read, whether somebody types (RFC 3862, RFC 5438, RFC 3994) | [`messaging`] |
//!
//! A dialog has one owner: a call, and when that ends first the subscriptions that a REFER made in it. SUBSCRIBE, NOTIFY and
//! REFER are taken where [`Config::allow`] names them, and else answered 405.
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

mod alike;
mod call;
mod callee;
mod caller;
mod config;
mod connected_identity;
mod contacts;
mod credentials;
mod deadlines;
mod dialog;
mod dialog_table;
mod event;
mod explicit_refer;
mod history;
mod info_packages;
mod keys;
mod layer;
mod lingering;
pub mod messaging;
pub mod offer_answer;
mod options;
pub mod packages;
mod publication;
mod redirect;
mod refer;
mod reinvite;
mod reliable;
mod replaces;
mod session_id;
mod session_timer;
mod subscription;
mod update;

pub use call::CallState;
pub use config::Config;
pub use dialog::{Dialog, DialogError, DialogId};
pub use event::{Body, CallKey, Cause, Error, Event, Invite, OfferKey, RequestKey};
pub use explicit_refer::ReferRequirement;
pub use keys::{KeyHasher, KeyMap};
pub use layer::Dialogs;
pub use offer_answer::Described;
pub use packages::refer::Report;
pub use publication::compositor;
pub use publication::{Publication, PublicationChange, PublicationEnd, PublicationKey};
pub use refer::{Refer, refer_to_replacing, uri_headers};
pub use reliable::ReliableProvisionals;
pub use session_timer::SessionTimer;
pub use subscription::{
    Acceptance, EventConfig, Notification, Rates, Subscribe, SubscriberChange, SubscriberEnd,
    SubscriptionChange, SubscriptionEnd, SubscriptionKey, SubscriptionStage, TerminationReason,
    ends_subscription,
};
