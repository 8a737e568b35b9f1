//! Servers and phones on a network that loses, repeats and reorders, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod breadth;
mod chain;
mod forked;
mod phone;
mod redirected;
mod watchers;
