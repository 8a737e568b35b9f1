//! Files in sessions of their own (RFC 5547).

use std::io::{self, Read};
use std::time::Duration;

use msrp::file::{FileError, FileRange, FileSelector, Incoming, TransferId};
use msrp::{Delivery, Event, Message, SessionConfig};
use sdp::Direction;
use tokio::time::timeout;

use super::SessionError;
use super::chat::ChatSession;
use super::file_to_send::{Described, FileToSend};
use crate::phone::Phone;

/// Octets that are read at once of what is there already.
const PIECE: usize = 64 * 1024;
/// How long a sender may take to end the session after its file is there.
const END_PATIENCE: Duration = Duration::from_secs(5);

impl Phone {
    /// Sends a file in a session of its own, and waits until the other side has all of it. `progress` hears how many octets of
    /// the file have been written.
    ///
    /// # Errors
    /// If it cannot be read, is refused, or did not get there whole.
    pub async fn send_file(
        &self,
        to: &str,
        file: FileToSend,
        progress: impl FnMut(u64),
    ) -> Result<(), SessionError> {
        let file = file.described().await.map_err(SessionError::Read)?;
        let id = TransferId(self.inner.with(|shell, _| shell.core.message_id()));
        let mut more = vec![
            ("accept-types", file.media_type.clone()),
            ("file-selector", file.selector.to_string()),
            ("file-transfer-id", id.to_string()),
            ("file-disposition", "attachment".into()),
        ];
        more.extend(file.range.map(|range| ("file-range", range.to_string())));
        let chat = self.session(to, Direction::SendOnly, &more, |_| {}).await?;
        if !chat.takes.takes(&file.media_type) {
            return Err(SessionError::Type(file.media_type));
        }
        // RFC 5547 §8.3.1: who knows nothing of ranges would take the rest for the whole.
        if file.range.is_some() && chat.range != file.range {
            return Err(SessionError::Range);
        }
        upload(chat, file, progress).await
    }

    /// Asks somebody for a file (RFC 5547 §8.2.2) of which one thing is known at least, such as its name or its hash, and of which
    /// `limit` octets are taken at most. Waits until the other side answers that it sends it; what it says of the file then is held
    /// against what comes.
    ///
    /// # Errors
    /// If it is refused (404: there is no such file), or another one is offered in its place.
    pub async fn request_file(
        &self,
        to: &str,
        wanted: &FileSelector,
        limit: u64,
    ) -> Result<IncomingFile, SessionError> {
        self.request_rest(to, wanted, limit, 0, io::empty()).await
    }

    /// The same where `octets` of the file are there from a transfer that broke off: the rest alone is asked for (`a=file-range`), and they
    /// are read at once from `have`, to compute the hash of the whole. What comes is to be written behind them.
    ///
    /// # Errors
    /// As [`Phone::request_file`]; if the other side does not send the rest alone; if there are fewer octets, or they cannot be read.
    pub async fn request_rest(
        &self,
        to: &str,
        wanted: &FileSelector,
        limit: u64,
        octets: u64,
        mut have: impl Read,
    ) -> Result<IncomingFile, SessionError> {
        if *wanted == FileSelector::default() {
            return Err(SessionError::NotDescribed);
        }
        let id = TransferId(self.inner.with(|shell, _| shell.core.message_id()));
        let range = (octets > 0).then(|| FileRange::from(octets));
        let mut more = vec![
            ("accept-types", wanted.media_type.clone().unwrap_or_else(|| "*".into())),
            ("file-selector", wanted.to_string()),
            ("file-transfer-id", id.to_string()),
        ];
        more.extend(range.map(|range| ("file-range", range.to_string())));
        let parts = |config: &mut SessionConfig| {
            config.delivery = Delivery::Parts;
            config.max_size = limit;
        };
        let chat = self.session(to, Direction::RecvOnly, &more, parts).await?;
        let said = chat.file.clone().unwrap_or_default();
        // What the answer leaves out is as it was asked for; it may leave out the hash of a file that has changed.
        let selector = FileSelector {
            name: said.name.or_else(|| wanted.name.clone()),
            media_type: said.media_type.or_else(|| wanted.media_type.clone()),
            size: said.size.or(wanted.size),
            hash: said.hash.or(wanted.hash),
        };
        if !wanted.selects(&selector) {
            return Err(SessionError::OtherFile);
        }
        if selector.size.is_some_and(|size| size > limit) {
            return Err(FileError::TooLarge(limit).into());
        }
        // Who knows nothing of ranges would send the whole where the rest is wanted.
        if chat.range != range {
            return Err(SessionError::Range);
        }
        let incoming = begun(&selector, limit, &mut have, octets).map_err(SessionError::Read)?;
        Ok(IncomingFile::new(chat, selector, incoming.ok_or(SessionError::Range)?))
    }
}

/// Sends a file in its session, and ends that when the other side has all of it.
pub(super) async fn upload(
    chat: ChatSession,
    mut file: Described,
    mut progress: impl FnMut(u64),
) -> Result<(), SessionError> {
    let message = Message::stream(file.media_type.clone(), Some(file.left)).with_success_report();
    let mut upload = chat.session.upload(message).await?;
    let mut written = file.start;
    while let Some(piece) = file.piece().await.map_err(SessionError::Read)? {
        written = written.saturating_add(piece.len() as u64);
        upload.write(piece).await?;
        progress(written);
    }
    upload.finish().await?.delivered().await?;
    chat.close().await;
    Ok(())
}

/// The file that was described, with what is there of it from an earlier transfer. `None` if that is not all before its range.
pub(super) fn begun(
    selector: &FileSelector,
    limit: u64,
    have: &mut dyn Read,
    octets: u64,
) -> io::Result<Option<Incoming>> {
    let mut incoming = Incoming::new(selector, limit);
    let mut buffer = vec![0; PIECE];
    let mut have = have.take(octets);
    loop {
        let length = match have.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if incoming.resume(buffer.get(..length).unwrap_or_default()).is_err() {
            return Ok(None);
        }
    }
    Ok((incoming.octets() == octets).then_some(incoming))
}

/// A file that arrives. Dropping it ends the session.
#[derive(Debug)]
pub struct IncomingFile {
    chat: ChatSession,
    selector: FileSelector,
    incoming: Incoming,
}

impl IncomingFile {
    pub(super) fn new(chat: ChatSession, selector: FileSelector, incoming: Incoming) -> Self {
        Self { chat, selector, incoming }
    }

    /// What its sender says of it. Its name may be a path: use [`FileSelector::safe_name`].
    pub fn selector(&self) -> &FileSelector {
        &self.selector
    }

    /// Takes the file, piece by piece in order, and makes sure that it is the one that was described
    /// (size and hash, RFC 5547 §8.3.1), together with what was there before. Gives its whole length. What was written before
    /// [`SessionError::Cut`] is good for a rest that comes later, before other errors it is worth nothing.
    ///
    /// # Errors
    /// If it is too large, not the one described, did not come whole, or `write` fails.
    pub async fn save(mut self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> Result<u64, SessionError> {
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
                    self.incoming.part(offset, &octets)?;
                    write(&octets)?;
                }
                Some(Event::Ended { id, .. }) if current == Some(id) => break,
                Some(Event::Abandoned { id, .. }) if current == Some(id) => return Err(SessionError::Cut),
                Some(Event::Closed(_)) | None => return Err(SessionError::Cut),
                Some(_) => {}
            }
        }
        let octets = self.incoming.octets();
        self.incoming.finish()?;
        // The sender ends the session when it knows that all is there (RFC 5547 §8.5).
        if timeout(END_PATIENCE, self.chat.call.ended()).await.is_err() {
            self.chat.close().await;
        }
        Ok(octets)
    }
}
