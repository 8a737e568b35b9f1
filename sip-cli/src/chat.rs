//! `sip chat`: lines both ways, with what became of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sip_message::headers::Date;
use sip_ua::{Chat, ChatEvent, Phone, Receipt, RequestError, SentMessage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::account::not_registered;
use crate::args::ChatArgs;
use crate::chat_files;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::once::sender_with;
use crate::output::Output;
use crate::phone::typed;
use crate::room;

/// Lines that wait to be sent.
const WAITING: usize = 64;
/// Files on their way at once; further calls wait.
const MAX_FILES: usize = 8;
/// Seconds for which `sip chat` and `sip message --receipt` register.
pub(crate) const EXPIRES: u32 = 600;

/// What became of a line, for people and machines.
pub(crate) fn word(receipt: Receipt) -> &'static str {
    match receipt {
        Receipt::Delivered => "delivered",
        Receipt::NotDelivered => "not delivered",
        Receipt::Displayed => "displayed",
        _ => "untold",
    }
}

/// A file that gets a line of JSON for each text.
pub(crate) struct History(Option<File>);

impl History {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| Failure::fault(format_args!("{}: {error}", path.display())))?;
        Ok(Self(Some(file)))
    }

    pub(crate) fn add(&mut self, from: &str, text: &str) {
        let Some(file) = &mut self.0 else { return };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let time = i64::try_from(seconds).ok().and_then(Date::from_unix_seconds).map(Date::to_rfc3339);
        let line = json!({ "time": time, "from": from, "text": text });
        if let Err(error) = writeln!(file, "{line}") {
            eprintln!("sip: the history cannot be written: {error}");
            self.0 = None;
        }
    }
}

/// A line of ours, when it is known what became of it.
type Outcome = (u32, Result<SentMessage, RequestError>);

/// Sends lines in their order, until no more come.
async fn send(
    chat: Chat,
    plain: bool,
    mut lines: mpsc::Receiver<(u32, String)>,
    told: mpsc::Sender<Outcome>,
) {
    while let Some((number, text)) = lines.recv().await {
        let sent = if plain { chat.send(&text).await } else { chat.send_with_receipts(&text).await };
        if told.send((number, sent)).await.is_err() {
            return;
        }
    }
}

/// `sip chat`.
pub(crate) async fn run(args: ChatArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let mut history = History::open(args.history.as_deref())?;
    let phone = sender_with(&args.sender, &args.uri, EXPIRES, &args.sessions).await?;
    output.listening(&phone.locals());
    // What was kept for us comes with the registration, and must find somebody.
    let chat = phone.chat(&args.uri).map_err(Failure::fault)?;
    if let Some(from) = args.sender.from.as_deref().filter(|_| !args.no_register) {
        let registered = tokio::select! {
            registered = phone.register() => registered,
            () = interrupt.requested() => return Ok(Code::Well),
        };
        if let Err(error) = registered {
            phone.close().await;
            return Err(not_registered(from, &error));
        }
    }
    let outcome = if args.room {
        drop(chat);
        room::join(&args, &phone, output, &mut interrupt, &mut history).await
    } else {
        talk(&args, &phone, chat, output, &mut interrupt, &mut history).await
    };
    phone.close().await;
    outcome
}

async fn talk(
    args: &ChatArgs,
    phone: &Phone,
    mut chat: Chat,
    output: Output,
    interrupt: &mut Interrupt,
    history: &mut History,
) -> Result<Code, Failure> {
    let (to_send, to_be_sent) = mpsc::channel(WAITING);
    let (tell, mut told) = mpsc::channel(WAITING);
    let mut sending = JoinSet::new();
    sending.spawn(send(phone.chat(&args.uri).map_err(Failure::fault)?, args.plain, to_be_sent, tell));
    let mut to_send = Some(to_send);
    output.event(json!({ "event": "ready", "uri": args.uri }), format_args!("chat with {}", args.uri));
    let mut typed = typed();
    let mut files = JoinSet::new();
    let mut last = 0_u32;
    let mut failed = Code::Well;
    // Lines whose receipts are waited for, and receipts that were faster than the answer.
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut early: Vec<(String, Receipt)> = Vec::new();
    loop {
        tokio::select! {
            line = typed.recv(), if to_send.is_some() => match line.as_deref().map(str::trim_end) {
                None | Some("/quit") => to_send = None, // what was typed is still sent
                Some("") => {}
                Some("/typing") => chat.typing(),
                Some(line) if line.starts_with("/file ") => {
                    let path = line.split_once(' ').map_or("", |(_, path)| path.trim());
                    files.spawn(chat_files::send(phone.clone(), args.uri.clone(), path.into(), output));
                }
                Some(text) => {
                    last = last.saturating_add(1);
                    history.add("us", text);
                    let full = to_send.as_ref().is_some_and(|lines| lines.try_send((last, text.into())).is_err());
                    if full {
                        eprintln!("sip: too many lines wait to be sent; {last} is left out");
                    }
                }
            },
            outcome = told.recv() => match outcome {
                None => {
                    // All is sent, and nobody types any more.
                    while files.join_next().await.is_some() {}
                    return Ok(failed);
                }
                Some((number, Ok(sent))) => {
                    let word = if sent.kept { "kept" } else { "sent" };
                    output.event(json!({ "event": word, "message": number }), format_args!("{number} {word}"));
                    let Some(id) = sent.id else { continue };
                    for (_, receipt) in early.extract_if(.., |(of, _)| *of == id) {
                        show(output, number, receipt);
                    }
                    numbers.insert(id, number);
                }
                Some((number, Err(error))) => {
                    failed = error.status().map_or(Code::Fault, Code::of);
                    output.event(
                        json!({ "event": "refused", "message": number, "error": error.to_string() }),
                        format_args!("{number} not sent: {error}"),
                    );
                }
            },
            event = chat.next() => match event {
                ChatEvent::Message(message) => {
                    output.event(
                        json!({ "event": "message", "from": args.uri, "text": message.text }),
                        format_args!("< {}", message.text),
                    );
                    history.add(&args.uri, &message.text);
                    chat.displayed(&message);
                }
                ChatEvent::Composing(active) => output.event(
                    json!({ "event": "composing", "active": active }),
                    if active { "... is writing" } else { "... no longer writes" },
                ),
                ChatEvent::Receipt { id, receipt } => match numbers.get(&id) {
                    Some(number) => show(output, *number, receipt),
                    None => early.push((id, receipt)),
                },
                _ => {}
            },
            Some(call) = phone.incoming(), if files.len() < MAX_FILES => {
                files.spawn(chat_files::take(call, args.uri.clone(), args.files.clone(), output));
            }
            Some(_) = files.join_next(), if !files.is_empty() => {}
            () = interrupt.requested() => return Ok(failed),
        }
    }
}

fn show(output: Output, number: u32, receipt: Receipt) {
    let word = word(receipt);
    output.event(
        json!({ "event": "receipt", "message": number, "receipt": word }),
        format_args!("{number} {word}"),
    );
}
