//! Transfers as values: asking for one, and doing what is asked.

use std::sync::Arc;

use sip_dialog::{CallKey, CallState, SubscriptionKey};
use sip_message::headers::ReferredBy;
use sip_message::{StatusCode, Uri};

use crate::call::{Call, OutgoingCall};
use crate::core::PhoneError;
use crate::phone::{CallError, Phone};
use crate::shell::Mailbox;

/// Why a transfer did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The address is none.
    #[error("'{text}' is no address to transfer to: {error}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: sip_message::ValueError,
    },
    /// The peer refused, or the new party did not answer its call.
    #[error("{} {}", .0.code(), .0.reason())]
    Failed(StatusCode),
    /// The call is over, and nothing was heard of the transfer.
    #[error("the call ended and nothing was heard of the transfer")]
    Ended,
    /// The phone says no.
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

/// Where a transfer of ours stands.
#[derive(Debug)]
pub(crate) struct Transferring {
    pub(crate) key: SubscriptionKey,
    pub(crate) status: Option<StatusCode>,
    /// Nothing more is told of it.
    pub(crate) over: bool,
}

impl Call {
    /// Asks the peer to call somebody else instead, and waits for how that goes (blind transfer, RFC 5589 §6). With `Ok` the
    /// two are connected, 202 means that the peer does it and tells nothing. Hang up then; after an error the call goes on.
    ///
    /// # Errors
    /// If the peer refuses, or the new party does not answer it.
    pub async fn transfer(&self, to: &str) -> Result<StatusCode, TransferError> {
        let to: Uri = to.parse().map_err(|error| TransferError::Address { text: to.into(), error })?;
        self.transferred(|shell, now| shell.core.transfer(now, self.key(), &to)).await
    }

    /// Connects the peers of two calls with each other: this call's peer takes our place in the other call (attended
    /// transfer, RFC 5589 §7). With `Ok` hang up this one; the other has ended by itself.
    ///
    /// # Errors
    /// If one of the peers refuses.
    pub async fn transfer_to(&self, other: &Call) -> Result<StatusCode, TransferError> {
        self.transfer_to_call(other.key()).await
    }

    /// As [`transfer_to`](Self::transfer_to), for a call that somebody else holds.
    ///
    /// # Errors
    /// As [`transfer_to`](Self::transfer_to), or if there is no such call.
    pub async fn transfer_to_call(&self, other: CallKey) -> Result<StatusCode, TransferError> {
        self.transferred(|shell, now| shell.core.transfer_to(now, self.key(), other)).await
    }

    async fn transferred(
        &self,
        ask: impl FnOnce(&mut crate::shell::Shell, std::time::Instant) -> Result<SubscriptionKey, PhoneError>,
    ) -> Result<StatusCode, TransferError> {
        let call = self.key();
        let inner = &self.phone().inner;
        // We have answered, and the caller may not know yet: its ACK is on the way.
        inner
            .wait_for(
                |shell| shell.boxes.get(&call).map(|mailbox| Arc::clone(&mailbox.changed)),
                |shell| (shell.core.dialogs().state(call) != Some(CallState::Answered)).then_some(()),
            )
            .await;
        inner.with(|shell, now| {
            let key = ask(shell, now)?;
            if let Some(mailbox) = shell.boxes.get_mut(&call) {
                mailbox.rare_mut().transfer = Some(Transferring { key, status: None, over: false });
            }
            Ok::<_, PhoneError>(())
        })?;
        inner.wait_for_call(call, outcome_of).await
    }
}

fn outcome_of(mailbox: Option<&mut Mailbox>) -> Option<Result<StatusCode, TransferError>> {
    let Some(transfer) = mailbox.and_then(|mailbox| mailbox.rare()?.transfer.as_ref()) else {
        return Some(Err(TransferError::Ended));
    };
    match transfer.status {
        Some(status) if status.is_success() => Some(Ok(status)),
        Some(status) if status.is_final() => Some(Err(TransferError::Failed(status))),
        _ => transfer.over.then_some(Err(TransferError::Ended)),
    }
}

/// A peer asks us to call somebody. Dropping it declines (603).
#[derive(Debug)]
pub struct Referral {
    phone: Phone,
    key: SubscriptionKey,
    call: Option<CallKey>,
    to: Uri,
    by: Option<ReferredBy>,
    attended: bool,
    decided: bool,
}

impl Referral {
    pub(crate) fn new(phone: Phone, waiting: WaitingReferral) -> Self {
        let WaitingReferral { key, call, to, by, attended } = waiting;
        Self { phone, key, call, to, by, attended, decided: false }
    }

    /// Whom to call.
    pub fn to(&self) -> &Uri {
        &self.to
    }

    /// Who asks, as it says of itself (RFC 3892).
    pub fn by(&self) -> Option<&ReferredBy> {
        self.by.as_ref()
    }

    /// Whether the new call takes the place of another one that the peer has (attended transfer).
    pub fn is_attended(&self) -> bool {
        self.attended
    }

    /// Whether the peer of this call asks, or somebody who has proved to be that.
    pub fn is_of(&self, call: &Call) -> bool {
        self.call == Some(call.key())
    }

    /// Whether a peer of one of our calls asks. A stranger who has us call numbers that cost money is none.
    pub fn is_of_a_call(&self) -> bool {
        self.call.is_some()
    }

    /// Calls whom the peer named; it hears how that goes.
    ///
    /// # Errors
    /// If the peer no longer waits, or the call cannot begin.
    pub async fn follow(mut self) -> Result<OutgoingCall, CallError> {
        let media = self.phone.media_for(&self.to).await?;
        let local = media.describe();
        let placed = self.phone.inner.with(|shell, now| {
            let key = shell.core.follow(now, self.key, local)?;
            shell.open(key, Mailbox { media: Some(Arc::clone(&media)), ..Mailbox::default() });
            Ok::<_, PhoneError>(key)
        });
        self.decided = true;
        match placed {
            Ok(key) => Ok(OutgoingCall::new(self.phone.clone(), key, self.to.clone())),
            Err(error) => {
                media.close();
                Err(CallError::Phone(error))
            }
        }
    }

    /// Declines.
    pub fn decline(self) {
        // Dropping does it.
    }
}

impl Drop for Referral {
    fn drop(&mut self) {
        if !self.decided {
            // It may have been given up by its sender.
            let _ = self.phone.inner.with(|shell, now| shell.core.decline_referral(now, self.key));
        }
    }
}

/// One that nobody has looked at.
#[derive(Debug)]
pub(crate) struct WaitingReferral {
    pub(crate) key: SubscriptionKey,
    pub(crate) call: Option<CallKey>,
    pub(crate) to: Uri,
    pub(crate) by: Option<ReferredBy>,
    pub(crate) attended: bool,
}

impl Phone {
    /// The next request of a peer that we call somebody. Who does not ask for them declines them all: 16 s after each came.
    pub async fn next_referral(&self) -> Referral {
        let waiting = self.inner.wait(|shell| shell.referrals.pop_front()).await;
        Referral::new(self.clone(), waiting)
    }
}
