//! Any operations in any order on the transaction layer: it never panics, keeps its books, and is empty in the end.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../../sip-transaction/tests/operations/machine.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let _ = machine::run(octets);
});
