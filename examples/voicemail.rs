//! Takes messages: plays a tone, records the caller, and tells whoever subscribes how many messages wait (RFC 3842).
//!
//! `cargo run -p examples --example voicemail -- udp:127.0.0.1:5070 messages`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtp::audio::tone::Tone;
use sip_dialog::packages::message_summary::{Counts, MessageSummary};
use sip_dialog::{Acceptance, Notification};
use sip_ua::{IncomingCall, Phone, Subscriber};

/// Nobody speaks for longer.
const LONGEST: Duration = Duration::from_secs(180);

/// What has been recorded, and who wants to hear of it.
#[derive(Default)]
struct Mailbox {
    messages: AtomicU32,
    subscribers: Mutex<Vec<Subscriber>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, folder] = arguments.as_slice() else {
        return Err("usage: voicemail udp:ADDRESS:PORT FOLDER".into());
    };
    let phone = Phone::builder("sip:voicemail@localhost").listen(listen).notifies("message-summary");
    let phone = phone.bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    let mailbox = Arc::new(Mailbox::default());
    loop {
        tokio::select! {
            Some(incoming) = phone.incoming() => {
                let (mailbox, folder) = (Arc::clone(&mailbox), PathBuf::from(folder));
                tokio::spawn(async move {
                    if let Err(error) = take_message(incoming, &mailbox, &folder).await {
                        eprintln!("voicemail: {error}");
                    }
                });
            }
            mut subscriber = phone.next_subscriber() => {
                let state = Some(mailbox.state());
                if subscriber.accept(Acceptance { state, ..Acceptance::default() }).is_ok() {
                    mailbox.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
                }
            }
        }
    }
}

async fn take_message(call: IncomingCall, mailbox: &Mailbox, folder: &Path) -> Result<(), Box<dyn Error>> {
    let call = call.answer().await?;
    let tone: Vec<i16> = Tone::sine(1000.0).samples().take(4000).collect();
    call.audio().play_samples(tone).await?;
    let number = mailbox.messages.fetch_add(1, Ordering::Relaxed) + 1;
    let file = folder.join(format!("message-{number}.wav"));
    call.audio().record(&file);
    println!("recording {}", file.display());
    let heard = tokio::time::timeout(LONGEST, call.ended()).await;
    if heard.is_err() {
        call.hang_up().await;
    }
    println!("recorded {}", file.display());
    // Whoever no longer listens is forgotten.
    let mut subscribers = mailbox.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
    subscribers.retain(|subscriber| subscriber.notify(mailbox.state()).is_ok());
    Ok(())
}

impl Mailbox {
    fn state(&self) -> Notification {
        let counts = Counts { new: self.messages.load(Ordering::Relaxed), ..Counts::default() };
        let counts = vec![("Voice-Message".to_owned(), counts)];
        let summary = MessageSummary { waiting: true, counts, ..MessageSummary::default() };
        Notification::full(summary.to_body())
    }
}
