//! The registrar: RFC 3261 §10.3, with the path vectors of RFC 3327 and the flows of RFC 5626 §6.
//!
//! It reads a REGISTER, asks the location store for the bindings there are, computes what they become, and asks the store
//! to replace them: all or nothing. If somebody else was faster the computation starts again from what that one left.
//!
//! ```text
//!   REGISTER ──▶ required ──▶ (401) ──▶ Registration::read ──▶ Lookup
//!                  │420                     │400 403 404 420      │
//!                  ▼                        ▼                     ▼
//!                                        Found ──▶ compute ──▶ Update ──▶ Updated ──▶ 200
//!                                          ▲          │423 403 500 │
//!                                          └──────────┼─ Conflict ◀┘
//! ```

mod change;
mod refusal;
mod registration;

pub use refusal::Refusal;
pub use registration::{Registration, Step};

use sip_message::Request;
use sip_message::headers::Require;

/// Extensions that a REGISTER may require: `path` (RFC 3327), `outbound` (RFC 5626), `gruu` (RFC 5627).
pub(crate) const SUPPORTED: [&str; 3] = ["path", "outbound", "gruu"];

/// How the registrar works. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The time of a binding whose REGISTER names none.
    pub default_expires: u32,
    /// The shortest time that is granted. Shorter requests get 423; at most 3600, which §10.3 step 7 never refuses.
    pub min_expires: u32,
    /// The longest time that is granted; longer requests get this.
    pub max_expires: u32,
    /// Bindings of one address-of-record. More get 403.
    pub max_bindings: usize,
    /// Contacts read in one REGISTER.
    pub max_contacts: usize,
    /// How often phones that register their flow over UDP shall keep it alive: Flow-Timer (RFC 5626 §5.4) and `keep`
    /// (RFC 6223 §5).
    pub udp_keep_alive: u32,
    /// The same over connections. Well below the time after which the driver closes idle ones.
    pub connection_keep_alive: u32,
}

impl Config {
    /// RFC 3261 §10.2: "if no expiration is indicated, the client indicates its desire for the server to choose".
    pub const DEFAULT_EXPIRES: u32 = 3600;
    /// A client that refreshes each second costs as much as sixty that behave.
    pub const MIN_EXPIRES: u32 = 60;
    /// A phone that is gone without a word draws calls to nobody for so long.
    pub const MAX_EXPIRES: u32 = 7200;
    /// Each binding makes every call to the user fork once more: a user must not make us flood others.
    pub const MAX_BINDINGS: usize = 10;
    /// Many NATs forget a datagram's way after 30 seconds (RFC 5626 §4.4.2).
    pub const UDP_KEEP_ALIVE: u32 = 29;
    /// Failures are found within this time (RFC 5626 §4.4.1).
    pub const CONNECTION_KEEP_ALIVE: u32 = 120;
    /// Each contact is compared with each binding.
    pub const MAX_CONTACTS: usize = 32;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_expires: Self::DEFAULT_EXPIRES,
            min_expires: Self::MIN_EXPIRES,
            max_expires: Self::MAX_EXPIRES,
            max_bindings: Self::MAX_BINDINGS,
            max_contacts: Self::MAX_CONTACTS,
            udp_keep_alive: Self::UDP_KEEP_ALIVE,
            connection_keep_alive: Self::CONNECTION_KEEP_ALIVE,
        }
    }
}

/// §10.3 step 2: whether all required extensions are there. It comes before authentication.
///
/// # Errors
/// [`Refusal::Unsupported`] names those that are not.
pub fn required(request: &Request) -> Result<(), Refusal> {
    let mut unknown = Vec::new();
    for tag in request.headers.all::<Require>() {
        let Require(tag) = tag?;
        if !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(&tag)) {
            unknown.push(tag);
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(Refusal::Unsupported(unknown)) }
}
