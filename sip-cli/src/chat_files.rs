//! Files of `sip chat`: sent with `/file`, taken with `--files` (RFC 5547).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use sip_message::{StatusCode, Uri};
use sip_ua::{FileToSend, IncomingCall, IncomingChat, Phone};

use crate::output::Output;

/// Octets of the largest file that is taken: it goes to the disk of whoever waits for it.
pub(crate) const MAX_FILE: u64 = 1 << 30;

/// Sends a file; what became of it is told.
pub(crate) async fn send(phone: Phone, to: String, path: PathBuf, output: Output) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sent = phone.send_file(&to, FileToSend::at(&path), |octets| tracing::debug!(octets, "written")).await;
    match sent {
        Ok(()) => {
            output.event(json!({ "event": "file sent", "name": name }), format_args!("file {name} sent"))
        }
        Err(error) => output.event(
            json!({ "event": "file not sent", "name": name, "error": error.to_string() }),
            format_args!("file {name} not sent: {error}"),
        ),
    }
}

/// Takes a file of the one we chat with into this folder, and refuses all else.
pub(crate) async fn take(call: IncomingCall, peer: String, folder: Option<PathBuf>, output: Output) {
    let known =
        peer.parse::<Uri>().is_ok_and(|peer| peer.canonical_aor() == call.from().uri().canonical_aor());
    let chat = match (call.into_chat(), folder) {
        (Ok(chat), Some(folder)) if known => Some((chat, folder)),
        (Ok(chat), _) => {
            let _ = chat.reject(StatusCode::DECLINE); // it may have given up
            None
        }
        (Err(call), _) => {
            let _ = call.reject(StatusCode::BUSY_HERE);
            None
        }
    };
    if let Some((chat, folder)) = chat {
        save(chat, &folder, MAX_FILE, output).await;
    }
}

/// Takes a file that is offered into this folder, if none is called so there.
pub(crate) async fn save(chat: IncomingChat, folder: &Path, limit: u64, output: Output) {
    let Some(name) = chat.file().and_then(|file| file.safe_name()).map(str::to_owned) else {
        let _ = chat.reject(StatusCode::DECLINE);
        return;
    };
    if chat.file().and_then(|file| file.size).is_some_and(|size| size > limit) {
        let _ = chat.reject(StatusCode::DECLINE);
        return eprintln!("sip: the file {name} was not taken: it has more than {limit} octets");
    }
    let path = folder.join(&name);
    // What is there already is not replaced by what somebody sends.
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) => {
            let _ = chat.reject(StatusCode::DECLINE);
            return eprintln!("sip: {}: {error}", path.display());
        }
    };
    let taken = match chat.receive(limit).await {
        Ok(incoming) => incoming.save(|piece| file.write_all(piece)).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(octets) => output.event(
            json!({ "event": "file", "path": path.display().to_string(), "octets": octets }),
            format_args!("file {} of {octets} octets", path.display()),
        ),
        Err(error) => {
            remove(&path);
            eprintln!("sip: the file {name} was not taken: {error}");
        }
    }
}

/// Half a file is none.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        eprintln!("sip: {}: {error}", path.display());
    }
}
