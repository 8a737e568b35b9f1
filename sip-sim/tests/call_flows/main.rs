//! The call flows that the RFCs draw, played by the real cores and compared with the figures message by message.
//!
//! A figure is a table beside its test: who sends what to whom, in order. Where our flow rightly differs a comment
//! says why. What no figure shows, such as registrations before a call and retransmissions, is left out of the
//! comparison.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod figure;
mod world;

mod rfc3665;
mod rfc3665_failures;
mod rfc3725;
mod rfc5359;
mod rfc5359_events;
mod rfc5359_proxies;
mod rfc5589;
mod rfc5589_more;
mod rfc6337;
