//! Keys for secure RTP in the description itself (SDES, RFC 4568): the attribute `a=crypto`, its suites and its keys.
//!
//! The keys travel in clear text inside the description. They protect media only where the signalling is protected itself
//! (RFC 4568 §1, §8.3): use TLS for the SIP messages. Key material is wiped when dropped, and `Debug` never shows it.

mod crypto;
mod key;
mod suite;

pub use crypto::{Crypto, FecOrder, KeyParameter, Mki, SessionParameter};
pub use key::{KeyLengthError, SrtpKey, Unencrypted};
pub use suite::CryptoSuite;
