//! Sessions that wait for a connection: whose URI a first request names (RFC 4975 §5.4).

use crate::session::SessionConfig;
use crate::uri::Uri;

/// What somebody who accepted a connection says of a session that a first request names (RFC 4975 §5.4).
#[derive(Clone, Debug)]
pub enum Claim {
    /// It is one of ours, and belongs to this connection from now on.
    Bind(Box<SessionConfig>),
    /// There is none: 481.
    Unknown,
    /// It is bound to another connection: 506.
    Elsewhere,
}

/// The sessions that wait for a connection.
pub trait Directory {
    /// Whose URI this is. `connection` is what [`Connection::new`](super::Connection::new) was told.
    fn claim(&mut self, connection: u64, local: &Uri) -> Claim;
}

/// No sessions but those that were added.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn claim(&mut self, _connection: u64, _local: &Uri) -> Claim {
        Claim::Unknown
    }
}
