//! The location service: which contacts an address-of-record has (RFC 3261 §10).
//!
//! Registrar and proxy never wait for a store. They ask a [`Question`] and go on when the [`Answer`] comes, so a store may
//! be a table in memory or a database far away. A store needs to know nothing of SIP: it keeps a list under a name
//! together with a version, and replaces it only if the version is still the one that the list was made from.

pub mod disk;
pub mod journal;
mod memory;
pub mod record;
#[cfg(feature = "redis")]
mod redis;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_message::Uri;
use sip_message::headers::{Contact, InstanceId, NameAddr};
use sip_transport::Path;

pub use journal::{Flush, Journal, JournalError};
pub use memory::MemoryLocation;
#[cfg(feature = "redis")]
pub use redis::RedisLocation;

use crate::AddressOfRecord;

/// One contact of an address-of-record.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The contact with its parameters, `expires` taken off.
    pub contact: NameAddr,
    /// Its preference in thousandths, 1000 if it named none (RFC 3261 §20.10).
    pub q: u16,
    /// When it ends.
    pub expires_at: Instant,
    /// Call-ID of the REGISTER that made it.
    pub call_id: String,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// The Path of that REGISTER: requests to the contact visit these first (RFC 3327 §5.3).
    pub path: Arc<[NameAddr]>,
    /// The way the REGISTER came, where requests to the contact must take it back: a connection that the phone opened, or
    /// a datagram's source behind a NAT. `None`: the contact's URI says where to send.
    pub flow: Option<Path>,
    /// Which flow of which user agent this is, for a binding by the rules of RFC 5626 §6. `None`: a binding to the contact's
    /// URI, as in RFC 3261.
    pub outbound: Option<OutboundFlow>,
}

/// One of the flows of one user agent: with the address-of-record, the key of a binding (RFC 5626 §6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutboundFlow {
    /// The user agent.
    pub instance: InstanceId,
    /// Its own number for the flow.
    pub reg_id: u32,
}

impl Binding {
    /// The user agent that this leads to, if it has named itself: no request is sent to one twice at the same time
    /// (RFC 5626 §7).
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        self.outbound.as_ref().map(|outbound| outbound.instance.clone()).or_else(|| self.contact.instance())
    }

    /// The contact's URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.contact.uri()
    }

    /// Time left, zero once it has ended.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Duration {
        self.expires_at.saturating_duration_since(now)
    }

    /// The Contact of a 200 to REGISTER: `expires` is what is left, in whole seconds rounded up (RFC 3261 §10.3 step 8).
    #[must_use]
    pub fn contact_field(&self, now: Instant) -> Contact {
        let left = self.remaining(now);
        let seconds = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
        let mut contact = self.contact.clone();
        contact.set_param("expires", Some(&seconds.to_string()));
        Contact::Address(contact)
    }
}

/// Names one state of an address-of-record, and no other. 0: it has no bindings and perhaps never had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What a store holds for one address-of-record.
#[derive(Clone, Debug)]
pub struct Bindings {
    /// Changes with each update.
    pub version: Version,
    /// The bindings. Some may have ended; whoever reads them looks at `expires_at`.
    pub list: Arc<[Binding]>,
}

impl Bindings {
    /// No bindings, version 0.
    #[must_use]
    pub fn none() -> Self {
        Self { version: Version(0), list: Arc::new([]) }
    }
}

/// What registrar and proxy ask a store.
#[derive(Clone, Debug)]
pub enum Question {
    /// The bindings of an address-of-record, answered by [`Answer::Found`].
    Lookup {
        /// Whose.
        aor: AddressOfRecord,
    },
    /// Replaces all bindings of an address-of-record in one step, if its version is still the one given:
    /// [`Answer::Updated`], else [`Answer::Conflict`].
    Update {
        /// Whose.
        aor: AddressOfRecord,
        /// The version that `bindings` was made from.
        expected: Version,
        /// The new list; empty removes the address-of-record.
        bindings: Arc<[Binding]>,
    },
}

/// What a store answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To a lookup. An address-of-record without bindings is found, empty.
    Found(Bindings),
    /// The update is made and visible.
    Updated,
    /// The update was not made: somebody else was faster. What is there now.
    Conflict(Bindings),
    /// Nothing was read or changed.
    Failed(StoreError),
}

/// Why a store could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for more bindings.
    #[error("the location store is full")]
    Full,
    /// It cannot be reached, or gave no answer in time.
    #[error("the location store is unavailable")]
    Unavailable,
    /// What it holds cannot be read.
    #[error("the location store holds something that cannot be read")]
    Unreadable,
}

/// Names a question, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionKey(pub u64);

/// The answer of a [`LocationStore`], to be awaited.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Why a location store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the location store {place}: {why}")]
pub struct LocationStoreError {
    /// Which: its address, without a password.
    pub place: String,
    /// In its own words.
    pub why: String,
}

/// Whether a text is the URL of a Redis or Valkey, and not the path of a file.
#[must_use]
pub fn is_redis_url(text: &str) -> bool {
    const SCHEMES: [&str; 7] = ["redis", "rediss", "redis+unix", "valkey", "valkeys", "valkey+unix", "unix"];
    text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// What the servers that share one store have in common.
#[derive(Clone)]
pub struct Shared {
    /// The key of what each of them writes into messages and has to be read by the others: see
    /// [`Config::dialog_key`](crate::Config::dialog_key).
    pub key: [u8; 32],
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// The outcome of [`LocationStore::open`], to be awaited.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Option<Shared>, LocationStoreError>> + Send + 'a>>;

/// A location store outside of the core: a database, a cluster.
///
/// Two things are asked of it: an update is made whole or not at all, and only if the version is the expected one.
pub trait LocationStore: Send + Sync + 'static {
    /// Asked once, before the server starts. A store that several servers share says what they have in common: each of them then
    /// writes its own address into bindings that it alone can reach, and the others send their requests there
    /// ([`Config::shared_location`](crate::Config::shared_location)).
    fn open(&self) -> Opening<'_> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Answers one question. `now` is the time at which it was asked, on the clock of [`Binding::expires_at`].
    fn answer(&self, question: Question, now: Instant) -> Answering<'_>;
}

/// A table in memory that several servers of one process share.
impl LocationStore for std::sync::Mutex<MemoryLocation> {
    fn answer(&self, question: Question, now: Instant) -> Answering<'_> {
        let answer = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner).answer(now, question);
        Box::pin(std::future::ready(answer))
    }
}
