//! Sessions of messages and files: MSRP set up by INVITE (RFC 4975, RFC 5547).

mod chat;
mod file;
mod media;

pub use chat::{ChatSession, IncomingChat};
pub use file::{FileToSend, IncomingFile};

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
    /// The other side does not take this type.
    #[error("the other side takes no {0}")]
    Type(String),
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
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(#[from] std::io::Error),
}
