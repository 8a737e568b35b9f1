//! What the layer tells its user, the keys of transactions, and where requests go.

use crate::error::Failure;
use crate::slab::Key;
use sip_message::headers::Route;
use sip_message::{HeaderError, Request, Response, Uri};
use sip_transport::{Path, SendError};
use std::fmt;
use std::sync::Arc;

/// A client transaction. A copyable key: one of a transaction that is over is refused wherever it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTx(pub(crate) Key);

/// A server transaction. A copyable key: one of a transaction that is over is refused wherever it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTx(pub(crate) Key);

impl fmt::Display for ClientTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}.{}", self.0.index, self.0.generation)
    }
}

impl fmt::Display for ServerTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}.{}", self.0.index, self.0.generation)
    }
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// To the servers of this URI, found by RFC 3263 and tried in turn.
    Uri(Uri),
    /// To the servers of this URI, whose certificates have to prove this domain instead of the URI's host (RFC 5922 §7.3): for a peer
    /// that is known by another name than its URI's.
    Proving(Uri, Arc<str>),
    /// On this path: an outbound proxy, or a flow that is known.
    Path(Path),
}

impl Target {
    /// The next hop of a request of a user agent or of a proxy that has put it together: its first Route, or
    /// its Request-URI (RFC 3261 §8.1.2, §16.6 step 7). A strict router's URI already stands in the Request-URI.
    ///
    /// # Errors
    /// If the first Route or the Request-URI does not follow its grammar.
    pub fn next_hop(request: &Request) -> Result<Self, HeaderError> {
        let uri = match request.headers.get::<Route>()? {
            Some(route) if route.uri().has_lr() => route.uri().clone(),
            _ => request
                .uri()
                .map_err(|error| HeaderError::Malformed { name: sip_message::HeaderName::ROUTE, error })?,
        };
        Ok(Self::Uri(uri))
    }
}

impl From<Uri> for Target {
    fn from(uri: Uri) -> Self {
        Self::Uri(uri)
    }
}

impl From<Path> for Target {
    fn from(path: Path) -> Self {
        Self::Path(path)
    }
}

/// What the layer tells its user.
///
/// Each `ClientTx` that [`send`](crate::Transactions::send) gave ends with exactly one
/// [`ClientTerminated`](Event::ClientTerminated), each `ServerTx` of a [`Request`](Event::Request) with exactly one
/// [`ServerTerminated`](Event::ServerTerminated): drop what you keep for it there.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request came for the first time; it has a server transaction and passed
    /// [`Request::check`](sip_message::Request::check). Never ACK or CANCEL.
    Request {
        /// Answer it with [`respond`](crate::Transactions::respond).
        tx: ServerTx,
        /// The request, `received` and `rport` in its top Via.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// An ACK for a 2xx, or one that matches nothing (RFC 3261 §17.2.3, RFC 6026 §7.1): dialogs find theirs,
    /// proxies forward it.
    Ack {
        /// The ACK.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// The client gave the INVITE up (RFC 3261 §9.2). The CANCEL is answered already; answer the INVITE with 487.
    Cancelled {
        /// The transaction of the INVITE.
        tx: ServerTx,
        /// The CANCEL, for its Reason.
        request: Request,
    },
    /// A response: each 1xx, the final one, and after a 2xx to INVITE every further 2xx.
    Response {
        /// The transaction of the request.
        tx: ClientTx,
        /// The response, our own Via still on top.
        response: Response,
        /// The way it came.
        path: Path,
    },
    /// A 2xx to an INVITE whose transaction is over: a dialog acknowledges it again, others ignore it.
    Stray {
        /// The response.
        response: Response,
        /// The way it came.
        path: Path,
    },
    /// The request got no final response. [`Failure::status`] says which status stands for it.
    Failed {
        /// The transaction of the request.
        tx: ClientTx,
        /// Why.
        failure: Failure,
    },
    /// Nobody acknowledged the failure response to this INVITE in time (Timer H, RFC 3261 §17.2.1).
    Unacknowledged {
        /// The transaction of the INVITE.
        tx: ServerTx,
    },
    /// A response could not be sent. An INVITE transaction goes on (RFC 6026 §7.1).
    Undelivered {
        /// The transaction of the request.
        tx: ServerTx,
        /// Why.
        error: SendError,
    },
    /// The last word about a client transaction: its key is void from here.
    ClientTerminated {
        /// The transaction.
        tx: ClientTx,
    },
    /// The last word about a server transaction: its key is void from here.
    ServerTerminated {
        /// The transaction.
        tx: ServerTx,
    },
}
