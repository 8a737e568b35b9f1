//! Messages for users who are away: kept, and delivered in order when one of their phones registers (RFC 3428 §7, §8).
//!
//! ```text
//!   MESSAGE ──▶ nobody is there, nobody answers ──▶ Keep ──Kept──▶ 202
//!                                                    │Full: 480   │Failed: 503
//!   REGISTER ──▶ Next ──▶ MESSAGE ──200──▶ Remove ──▶ Next ──▶ ...
//!                            │no answer, 5xx: later
//! ```
//!
//! A message is sent on with the Call-ID and CSeq that it came with: a phone that has had it knows it again, should the server end
//! between its 200 and the removal.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sip_message::StatusCode;

pub use memory::MemoryMessages;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteMessages;

use crate::AddressOfRecord;

/// How messages for those who are away are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageConfig {
    /// Messages for one user at a time. More get 480, as without the store.
    pub per_user: usize,
    /// Users with messages at a time. Where users are in a store outside nobody knows which names are somebody's, and a sender must
    /// not fill the disk with messages for made-up ones. Above, messages for further users get 480.
    pub users: usize,
    /// How long one is kept, unless its Expires says less.
    pub age: Duration,
    /// Octets of one, head and body; more get 480.
    pub octets: usize,
    /// How long phones may take for an answer until a message is kept. Its sender waits 32 s (RFC 3261 §17.1.2.2).
    pub patience: Duration,
    /// After how long a message that nobody took is tried again while a phone is registered.
    pub again: Duration,
}

impl MessageConfig {
    /// The values of the fields' documentation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            per_user: 100,
            users: 100_000,
            age: Duration::from_secs(7 * 24 * 3600),
            octets: 64 * 1024,
            patience: Duration::from_secs(10),
            again: Duration::from_secs(60),
        }
    }
}

impl Default for MessageConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that waits for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its number, given by the store: those of a user grow in the order in which they came.
    pub id: u64,
    /// Whose it is.
    pub aor: AddressOfRecord,
    /// When it is of no use any more, in seconds since the Unix epoch.
    pub expires: u64,
    /// The MESSAGE as text, without the fields of the way that it came.
    pub octets: Bytes,
}

/// What is asked of a [`MessageStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageQuestion {
    /// Keep this one, whose id is for the store to give, if the user has fewer than `limit`. The sender is told that it is safe.
    Keep {
        /// The message.
        message: StoredMessage,
        /// The most that the user may have.
        limit: usize,
    },
    /// The oldest message of a user.
    Next {
        /// The user.
        aor: AddressOfRecord,
    },
    /// Forget this one: it was delivered.
    Remove {
        /// The user.
        aor: AddressOfRecord,
        /// The message's number.
        id: u64,
    },
    /// Who has messages.
    Holders,
}

/// The answer of a [`MessageStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageAnswer {
    /// It is safe under this number, whatever ends the process.
    Kept(u64),
    /// The user has as many as may be.
    Full,
    /// The oldest one, if there is one.
    Next(Option<StoredMessage>),
    /// It is gone, or was.
    Removed,
    /// These users.
    Holders(Vec<AddressOfRecord>),
    /// The store cannot do it now.
    Failed,
}

/// Why a file cannot be used for messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("messages cannot be kept in {path}: {why}")]
pub struct MessageFileError {
    pub(crate) path: String,
    pub(crate) why: String,
}

/// Whether nobody was there, rather than somebody who did not want it.
pub(crate) fn is_away(status: StatusCode) -> bool {
    matches!(status.code(), 404 | 408 | 410 | 430 | 480 | 500 | 502..=504)
}

/// The answer of a [`MessageStore`], to be awaited.
pub type Answering = Pin<Box<dyn Future<Output = MessageAnswer> + Send + 'static>>;

/// Where messages wait. Many questions may come before the first is answered.
pub trait MessageStore: Send + Sync + 'static {
    /// Does what is asked. Messages of a user are in the order in which this was called, whenever the answers are awaited.
    fn answer(&self, question: MessageQuestion) -> Answering;
}
