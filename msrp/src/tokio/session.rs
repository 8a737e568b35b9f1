//! What an application holds of a session.

use std::sync::Arc;

use ::tokio::sync::{Semaphore, mpsc, oneshot, watch};
use bytes::Bytes;

use super::route::Route;
use super::task::{Command, Stage};
use crate::connection::{MessageKey, SendError, SessionKey};
use crate::event::{Event, Failure};
use crate::message::Ident;
use crate::outgoing::{MAX_QUEUED, Message};
use crate::status::StatusCode;
use crate::uri::Uri;

/// A session that stands. Dropping it ends it: what has not left by then fails.
#[derive(Debug)]
pub struct Session {
    pub(super) local: Uri,
    pub(super) key: SessionKey,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Receiver<Event>,
}

impl Session {
    /// Our URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.local
    }

    /// What changes its ways while it stands.
    #[must_use]
    pub fn route(&self) -> Route {
        Route {
            #[cfg(feature = "auth")]
            local: self.local.clone(),
            key: self.key,
            commands: self.commands.clone(),
        }
    }

    /// What happens next: messages, their parts, and at last [`Event::Closed`]. What becomes of messages of ours is told to their
    /// [`Receipt`]s.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    async fn command<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(|_| SendError::Over)?;
        answer.await.map_err(|_| SendError::Over)
    }

    async fn start(&self, message: Message, credit: Option<Arc<Semaphore>>) -> Result<Receipt, SendError> {
        let (tell, stage) = watch::channel(Stage::Sending);
        let session = self.key;
        let key = self
            .command(|reply| Command::Send { session, message: Box::new(message), tell, credit, reply })
            .await??;
        Ok(Receipt { key, stage, commands: self.commands.clone() })
    }

    /// Sends a message. It is under way when this returns; the receipt tells what becomes of it, and may be dropped.
    ///
    /// # Errors
    /// If the session is over, too much is under way, or a field of the message is none.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.start(message, None).await
    }

    /// Begins a message whose content is written in parts, such as a file ([`Message::stream`]).
    ///
    /// # Errors
    /// As for [`send`](Session::send).
    pub async fn upload(&self, message: Message) -> Result<Upload, SendError> {
        let credit = Arc::new(Semaphore::new(MAX_QUEUED));
        let receipt = self.start(Message { body: None, ..message }, Some(credit.clone())).await?;
        Ok(Upload { receipt, credit })
    }

    /// Takes no more of a message that is arriving; 413 is the usual status.
    ///
    /// # Errors
    /// If the session is over.
    pub async fn refuse(&self, id: Ident, status: StatusCode) -> Result<(), SendError> {
        let command = Command::Refuse { session: self.key, id, status };
        self.commands.send(command).await.map_err(|_| SendError::Over)
    }

    /// Asks for a nickname in a chat room (RFC 7701 §7); [`Event::Nickname`] is the answer.
    ///
    /// # Errors
    /// If the session is over or the name has line ends.
    pub async fn nickname(&self, name: &str) -> Result<(), SendError> {
        let (session, name) = (self.key, name.to_owned());
        self.command(|reply| Command::Nickname { session, name, reply }).await?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // If there is no room, the connection finds out when it next has an event for nobody.
        let _ = self.commands.try_send(Command::End { session: self.key });
    }
}

/// What becomes of a message of ours.
#[derive(Clone, Debug)]
pub struct Receipt {
    key: MessageKey,
    stage: watch::Receiver<Stage>,
    commands: mpsc::Sender<Command>,
}

impl Receipt {
    /// Waits until the message has left and every chunk was acknowledged, where acknowledgements were asked for.
    ///
    /// # Errors
    /// If it failed.
    pub async fn accepted(&self) -> Result<(), Failure> {
        self.wait(|stage| *stage != Stage::Sending).await
    }

    /// Waits until the receiver has reported the whole message as arrived. Where no success report was asked for, only failure or
    /// the end of the session ends the wait.
    ///
    /// # Errors
    /// If it failed, or the session is over without a report.
    pub async fn delivered(&self) -> Result<(), Failure> {
        self.wait(|stage| matches!(stage, Stage::Delivered | Stage::Failed(_))).await
    }

    async fn wait(&self, done: impl FnMut(&Stage) -> bool) -> Result<(), Failure> {
        let mut stage = self.stage.clone();
        match stage.wait_for(done).await.map(|stage| *stage) {
            Ok(Stage::Failed(failure)) => Err(failure),
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::Closed),
        }
    }

    /// Gives the message up, in the middle of a chunk if need be.
    pub async fn abort(&self) {
        // Without a connection there is nothing to give up.
        let _ = self.commands.send(Command::Abort { message: self.key }).await;
    }
}

/// A message whose content is written in parts. Dropping it unfinished gives the message up.
#[derive(Debug)]
pub struct Upload {
    receipt: Receipt,
    credit: Arc<Semaphore>,
}

impl Upload {
    /// Writes more of it; waits while [`MAX_QUEUED`] octets are on their way to the kernel.
    ///
    /// # Errors
    /// If the message failed meanwhile, or is longer than was declared.
    pub async fn write(&mut self, mut octets: Bytes) -> Result<(), Failure> {
        while !octets.is_empty() {
            let part = octets.split_to(octets.len().min(MAX_QUEUED));
            let wanted = u32::try_from(part.len()).unwrap_or(u32::MAX);
            match self.credit.acquire_many(wanted).await {
                Ok(permits) => permits.forget(),
                Err(_) => return Err(self.failure()),
            }
            let command = Command::Feed { message: self.receipt.key, octets: part };
            self.receipt.commands.send(command).await.map_err(|_| Failure::Closed)?;
        }
        Ok(())
    }

    fn failure(&self) -> Failure {
        match *self.receipt.stage.borrow() {
            Stage::Failed(failure) => failure,
            _ => Failure::Closed,
        }
    }

    /// All of it is written.
    ///
    /// # Errors
    /// If the message failed meanwhile, or is shorter than was declared.
    pub async fn finish(self) -> Result<Receipt, Failure> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Finish { message: self.receipt.key, reply };
        self.receipt.commands.send(command).await.map_err(|_| Failure::Closed)?;
        match answer.await {
            Ok(Ok(())) => Ok(self.receipt.clone()),
            Ok(Err(SendError::Length)) => Err(Failure::Aborted),
            _ => Err(self.failure()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After the end this gives nothing up: the task knows that the message is finished.
        let _ = self.receipt.commands.try_send(Command::AbortUnfinished { message: self.receipt.key });
    }
}
