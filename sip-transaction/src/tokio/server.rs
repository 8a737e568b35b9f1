//! The answering side.

use super::Shared;
use super::core::Item;
use crate::error::Unrespondable;
use crate::event::ServerTx;
use sip_message::{Request, Response, StatusCode};
use sip_transport::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What came from outside.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // moved once, from accept() to who asked
pub enum Incoming {
    /// A request, to be answered. Never ACK or CANCEL.
    Request(ServerTransaction),
    /// An ACK for a 2xx of ours, or one that belongs to nothing.
    Ack {
        /// The ACK.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// A 2xx to an INVITE that nobody waits for any more: because it comes late, or because it crossed the CANCEL
    /// of a dropped [`ClientTransaction`](super::ClientTransaction). It wants an ACK, and in the second case a BYE.
    Stray {
        /// The response.
        response: Response,
        /// The way it came.
        path: Path,
    },
}

impl Incoming {
    pub(super) fn new(item: Item, shared: &Arc<Shared>) -> Self {
        match item {
            Item::Request { tx, request, path } => {
                let answered = AtomicBool::new(false);
                Self::Request(ServerTransaction { shared: shared.clone(), tx, request, path, answered })
            }
            Item::Ack { request, path } => Self::Ack { request, path },
            Item::Stray { response, path } => Self::Stray { response, path },
        }
    }
}

/// A request that came, to be answered.
///
/// Dropping it without a final response answers 500 (Server Internal Error).
#[derive(Debug)]
#[must_use = "dropping it answers 500"]
pub struct ServerTransaction {
    shared: Arc<Shared>,
    tx: ServerTx,
    request: Request,
    path: Path,
    answered: AtomicBool,
}

impl ServerTransaction {
    /// The request, `received` and `rport` in its top Via.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The way it came.
    #[must_use]
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a response. A 2xx to an INVITE may and must be given again until its ACK is accepted (RFC 3261
    /// §13.3.1.4); everything else is repeated here as often as it takes.
    ///
    /// # Errors
    /// As [`Transactions::respond`](crate::Transactions::respond).
    pub fn respond(&self, response: &Response) -> Result<(), Unrespondable> {
        let given = self.shared.handle.with(|core, now| core.respond(now, self.tx, response));
        // A transaction that is over needs no answer either.
        if matches!(given, Err(Unrespondable::Stale)) || (given.is_ok() && response.status().is_final()) {
            self.answered.store(true, Ordering::Relaxed);
        }
        given
    }

    /// Waits for the CANCEL of this INVITE (RFC 3261 §9.2); answer with 487 then. The CANCEL itself is answered
    /// already. `None`: it got its final response, or the endpoint is closed. Requests other than INVITE give `None` at
    /// once.
    pub async fn cancelled(&self) -> Option<Request> {
        loop {
            let arrived = match self.shared.handle.look(|core| core.cancelled(self.tx))? {
                Ok(cancel) => return Some(cancel),
                Err(arrived) => arrived,
            };
            let mut waiting = std::pin::pin!(arrived.notified());
            // Listen first, then look again: what comes in between is not missed.
            waiting.as_mut().enable();
            if matches!(self.shared.handle.look(|core| core.cancelled(self.tx)), Some(Err(_))) {
                waiting.await;
            }
        }
    }

    /// The key in the layer below, for logs.
    #[must_use]
    pub const fn key(&self) -> ServerTx {
        self.tx
    }
}

impl Drop for ServerTransaction {
    fn drop(&mut self) {
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        let error = self.request.reply(StatusCode::SERVER_INTERNAL_ERROR);
        self.shared.handle.with(|core, now| {
            let tag = core.layer.token();
            if let Ok(response) = error.to_tag(&tag).build() {
                // It may have its answer, or be over: then there is nothing to do.
                let _ = core.respond(now, self.tx, &response);
            }
        });
    }
}
