//! The asking side.

use super::Shared;
use crate::error::{CancelError, Failure};
use crate::event::ClientTx;
use ::tokio::sync::Notify;
use sip_message::{Headers, Response};
use std::sync::Arc;

/// A request that was sent, and its responses to come.
///
/// Dropping it cancels an INVITE that has no final response yet (RFC 3261 §9.1); the responses to any other request
/// are ignored then.
#[derive(Debug)]
#[must_use = "dropping it cancels an INVITE"]
pub struct ClientTransaction {
    shared: Arc<Shared>,
    tx: ClientTx,
    arrived: Arc<Notify>,
    invite: bool,
    answered: bool,
}

impl ClientTransaction {
    pub(super) const fn new(shared: Arc<Shared>, tx: ClientTx, arrived: Arc<Notify>, invite: bool) -> Self {
        Self { shared, tx, arrived, invite, answered: false }
    }

    /// The next response: each 1xx, then the final one, or why there is none. After the 2xx to an INVITE further 2xx
    /// may follow for 64·T1, from other branches of a fork or because the ACK was lost: acknowledge each
    /// (RFC 3261 §13.2.2.4). `None`: nothing more will come.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Response, Failure>> {
        loop {
            match self.shared.handle.look(|core| core.next_response(self.tx))? {
                Some(next) => {
                    self.answered |= !matches!(&next, Ok(response) if response.status().is_provisional());
                    return Some(next);
                }
                None => self.arrived.notified().await,
            }
        }
    }

    /// The final response; provisional ones on the way are passed over.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn final_response(&mut self) -> Result<Response, Failure> {
        while let Some(next) = self.next().await {
            match next {
                Ok(response) if response.status().is_provisional() => {}
                last => return last,
            }
        }
        // Only asked a second time, or after close().
        Err(Failure::Closed)
    }

    /// Cancels an INVITE (RFC 3261 §9.1). Its responses go on to come: a 487 as a rule, but a 2xx may have been faster.
    ///
    /// # Errors
    /// As [`Transactions::cancel`](crate::Transactions::cancel).
    pub fn cancel(&self) -> Result<(), CancelError> {
        self.cancel_with(&Headers::new())
    }

    /// The same with fields to add to the CANCEL, such as Reason.
    ///
    /// # Errors
    /// As [`Transactions::cancel`](crate::Transactions::cancel).
    pub fn cancel_with(&self, extra: &Headers) -> Result<(), CancelError> {
        self.shared.handle.with(|core, now| core.cancel(now, self.tx, extra))
    }

    /// The key in the layer below, for logs.
    #[must_use]
    pub const fn key(&self) -> ClientTx {
        self.tx
    }
}

impl Drop for ClientTransaction {
    fn drop(&mut self) {
        let cancel = self.invite && !self.answered;
        self.shared.handle.with(|core, now| core.forget_client(now, self.tx, cancel));
    }
}
