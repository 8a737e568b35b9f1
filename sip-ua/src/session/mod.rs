//! Sessions of messages and files: MSRP set up by INVITE (RFC 4975, RFC 5547).

mod chat;
mod file;
mod file_to_send;
mod media;
mod options;
mod renewal;
mod said;

pub use chat::{ChatSession, IncomingChat, PostedText};
pub use file::IncomingFile;
pub use file_to_send::FileToSend;
pub(crate) use options::SessionOptions;

use msrp::SendError;
use msrp::file::FileError;
use msrp::tokio::ConnectError;

use crate::phone::CallError;

/// Why a session did not come about, or what was sent in it did not get there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The call that sets it up did not come about.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The other side describes no session of messages.
    #[error("the other side describes no session of messages (RFC 4975 §8)")]
    NotDescribed,
    /// The connection of the session did not come about.
    #[error("no connection for the session: {0}")]
    Connect(#[from] ConnectError),
    /// The other side did not connect in time.
    #[error("the other side has not connected in time")]
    NotConnected,
    /// The other side announces its certificate by hashes that we do not have: SHA-256 is the one (RFC 8122 §5).
    #[error("the other side announces its certificate by no SHA-256 fingerprint (RFC 8122 §5)")]
    Fingerprint,
    /// Somebody on the way changed the address of the session and not its path (RFC 6714 §4.3).
    #[error("somebody on the way has changed the session's address and not its path (RFC 6714)")]
    Rerouted,
    /// The other side does not take this type.
    #[error("the other side takes no {0}")]
    Type(String),
    /// The chat room has no room left.
    #[error("the chat room is full")]
    RoomFull,
    /// The chat room does not give the nickname.
    #[error("the room does not give this nickname: {0}")]
    Nickname(msrp::StatusCode),
    /// It cannot be sent now.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It did not get there.
    #[error("not delivered: {0}")]
    NotDelivered(#[from] msrp::Failure),
    /// The file is not the one that was described.
    #[error(transparent)]
    File(#[from] FileError),
    /// The session ended before all of the file was there.
    #[error("the session ended before all of the file was there")]
    Cut,
    /// The other side does not take the rest of a file alone, or offers one of which we do not have what comes before.
    #[error("what was to come before the rest of the file is not there (RFC 5547 §8.3.1)")]
    Range,
    /// The file is not the one that was asked for.
    #[error("the file is not the one that was asked for (RFC 5547 §8.3.2)")]
    OtherFile,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(#[from] std::io::Error),
}
