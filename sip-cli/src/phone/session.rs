//! Chats in sessions and files that come to the phone (RFC 4975, RFC 5547).

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use sip_message::StatusCode;
use sip_ua::{IncomingChat, SessionError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::line::{Manner, shown};
use crate::chat_files;

/// Sessions at once; more are answered 486. Each has a connection and messages in memory, and anybody can ask for one.
pub(super) const MAX_SESSIONS: usize = 32;

/// Which files are taken.
pub(super) struct Files {
    /// Where they go; nowhere without.
    pub(super) folder: Option<PathBuf>,
    /// Octets of the largest.
    pub(super) limit: u64,
}

/// Texts of ours in one session that wait for its answer, or to be sent; whoever types more is told so.
pub(super) const MAX_REPLIES: usize = 64;

/// A session in its task: a file goes into the folder, texts are shown as messages are, and replies go back in it.
pub(super) async fn take(chat: IncomingChat, manner: Arc<Manner>, mut replies: mpsc::Receiver<String>) {
    let (from, output) = (shown(chat.from()), manner.output);
    if let Some(file) = chat.file() {
        let name = file.safe_name().unwrap_or("without a name").to_owned();
        let Some(folder) = &manner.files.folder else {
            let _ = chat.reject(StatusCode::DECLINE); // the sender may have given up
            return output.event(
                json!({ "event": "file refused", "from": from, "name": name }),
                format_args!("file {name} from {from} refused: --files FOLDER takes files"),
            );
        };
        output.event(
            json!({ "event": "file offered", "from": from, "name": name, "octets": file.size }),
            format_args!("file {name} from {from}"),
        );
        return chat_files::save(chat, folder, manner.files.limit, output).await;
    }
    if let Some(wanted) = chat.wanted() {
        // What lies on this disk is nobody's to ask for.
        let name = wanted.safe_name().unwrap_or("without a name").to_owned();
        let _ = chat.reject(StatusCode::NOT_FOUND);
        return output.event(
            json!({ "event": "file not given", "from": from, "name": name }),
            format_args!("{from} asks for the file {name}: refused"),
        );
    }
    let mut session = match chat.accept().await {
        Ok(session) => session,
        Err(error) => return eprintln!("sip: the chat with {from} did not come about: {error}"),
    };
    output.event(json!({ "event": "chat", "from": from }), format_args!("chat with {from}"));
    let mut on_their_way = JoinSet::new();
    let told = |sent: Result<(), SessionError>| match sent {
        Ok(()) => output.event(
            json!({ "event": "sent", "uri": from, "session": true }),
            format_args!("message to {from} sent"),
        ),
        Err(error) => eprintln!("sip: message to {from}: {error}"),
    };
    loop {
        tokio::select! {
            text = session.next() => match text {
                Some(text) => output.event(
                    json!({ "event": "message", "from": from, "text": text, "session": true }),
                    format_args!("message from {from}: {text}"),
                ),
                None => break,
            },
            Some(text) = replies.recv(), if on_their_way.len() < MAX_REPLIES => {
                match session.post(&text).await {
                    Ok(posted) => drop(on_their_way.spawn(posted.accepted())),
                    Err(error) => told(Err(error)),
                }
            }
            Some(Ok(sent)) = on_their_way.join_next(), if !on_their_way.is_empty() => told(sent),
        }
    }
    // From now on they go as messages; what waits has no session any more.
    replies.close();
    while let Ok(text) = replies.try_recv() {
        eprintln!("sip: message to {from}: the chat has ended before it was sent: {text}");
    }
    while let Some(sent) = on_their_way.join_next().await {
        told(sent.unwrap_or(Err(SessionError::Cut)));
    }
    output.event(json!({ "event": "chat ended", "from": from }), format_args!("chat with {from} ended"));
}
