//! Two parsers, one message: what others read in a request and what we read in it must be the same, or somebody can
//! smuggle one request past the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod answers;
mod kamailio;
mod known;
mod mutants;
mod phones;
