//! Files in sessions of their own (RFC 5547).

use std::time::Duration;

use bytes::Bytes;
use msrp::file::{FileSelector, Incoming, Sha1Hash, TransferId};
use msrp::{Event, Message};
use sdp::Direction;
use tokio::time::timeout;

use super::SessionError;
use super::chat::ChatSession;
use crate::phone::Phone;

/// Octets of a file that are written at once.
const PIECE: usize = 64 * 1024;
/// How long a sender may take to end the session after its file is there.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// A file to send.
#[derive(Clone, Debug)]
pub struct FileToSend {
    /// What it is called, without folders.
    pub name: String,
    /// Its media type, such as `image/png`.
    pub media_type: String,
    /// What is in it.
    pub octets: Bytes,
}

impl Phone {
    /// Sends a file in a session of its own, and waits until the other side has all of it. `progress` hears how many octets
    /// have been written.
    ///
    /// # Errors
    /// If it is refused, or did not get there whole.
    pub async fn send_file(
        &self,
        to: &str,
        file: FileToSend,
        mut progress: impl FnMut(u64),
    ) -> Result<(), SessionError> {
        let size = file.octets.len() as u64;
        let selector = FileSelector {
            name: Some(file.name),
            media_type: Some(file.media_type.clone()),
            size: Some(size),
            hash: Some(Sha1Hash::of(&file.octets)),
        };
        let id = TransferId(self.inner.with(|shell, _| shell.core.message_id()));
        let more = [
            ("accept-types", file.media_type.clone()),
            ("file-selector", selector.to_string()),
            ("file-transfer-id", id.to_string()),
            ("file-disposition", "attachment".into()),
        ];
        let chat = self.session(to, Direction::SendOnly, &more).await?;
        if !chat.takes.takes(&file.media_type) {
            return Err(SessionError::Type(file.media_type));
        }
        let message = Message::stream(file.media_type, Some(size)).with_success_report();
        let mut upload = chat.session.upload(message).await?;
        let (mut rest, mut written) = (file.octets, 0_u64);
        while !rest.is_empty() {
            let piece = rest.split_to(PIECE.min(rest.len()));
            written = written.saturating_add(piece.len() as u64);
            upload.write(piece).await?;
            progress(written);
        }
        upload.finish().await?.delivered().await?;
        chat.close().await;
        Ok(())
    }
}

/// A file that arrives. Dropping it ends the session.
#[derive(Debug)]
pub struct IncomingFile {
    chat: ChatSession,
    selector: FileSelector,
    limit: u64,
}

impl IncomingFile {
    pub(super) fn new(chat: ChatSession, selector: FileSelector, limit: u64) -> Self {
        Self { chat, selector, limit }
    }

    /// What its sender says of it. Its name may be a path: use [`FileSelector::safe_name`].
    pub fn selector(&self) -> &FileSelector {
        &self.selector
    }

    /// Takes the file, piece by piece in order, and makes sure that it is the one that was described
    /// (size and hash, RFC 5547 §8.3.2). Gives its length. What was written before an error is worth nothing.
    ///
    /// # Errors
    /// If it is too large, not the one described, did not come whole, or `write` fails.
    pub async fn save(
        mut self,
        mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<u64, SessionError> {
        let mut incoming = Incoming::new(&self.selector, self.limit);
        let mut current = None;
        loop {
            let event = tokio::select! {
                biased; // what came before the BYE is read
                event = self.chat.session.next() => event,
                _ = self.chat.call.ended() => return Err(SessionError::Cut),
            };
            match event {
                Some(Event::Begun { id, .. }) if current.is_none() => current = Some(id),
                Some(Event::Part { id, offset, octets }) if current == Some(id) => {
                    incoming.part(offset, &octets)?;
                    write(&octets)?;
                }
                Some(Event::Ended { id, .. }) if current == Some(id) => break,
                Some(Event::Abandoned { id, .. }) if current == Some(id) => return Err(SessionError::Cut),
                Some(Event::Closed(_)) | None => return Err(SessionError::Cut),
                Some(_) => {}
            }
        }
        let octets = incoming.octets();
        incoming.finish()?;
        // The sender ends the session when it knows that all is there (RFC 5547 §8.5).
        if timeout(END_PATIENCE, self.chat.call.ended()).await.is_err() {
            self.chat.close().await;
        }
        Ok(octets)
    }
}
