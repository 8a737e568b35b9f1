//! `sip phone`: registers, rings, answers and calls; several calls at once, each in a task of its own.

mod accounts;
mod line;
mod session;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use sip_dialog::CallKey;
use sip_message::{StatusCode, Uri};
use sip_ua::{IncomingCall, IncomingChat, Phone, Referral};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::PhoneArgs;
use crate::chat_files;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keys::Command;
use crate::media;
use crate::output::Output;
use accounts::{Accounts, News};
use line::{Line, Manner, Order, shown};
use session::{Files, MAX_REPLIES, MAX_SESSIONS};

/// Calls at once; more are answered 486. Each has two sockets and a recording in memory, and anybody can call.
const MAX_CALLS: usize = 256;

/// Commands that wait for a call, and lines that wait for the phone: nobody types faster.
const COMMANDS: usize = 16;

/// How long calls may take to end when the program ends.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The calls that there are, each behind the means to order it about.
#[derive(Default)]
struct Calls {
    by_number: BTreeMap<u32, Entry>,
    last: u32,
    current: Option<u32>,
    tasks: JoinSet<u32>,
    /// Texts on their way.
    messages: JoinSet<()>,
    /// Chats in sessions, and files that come.
    sessions: JoinSet<()>,
    /// Who takes replies to those who chat with us in a session, by address; of several sessions the last one's.
    chats: BTreeMap<String, mpsc::Sender<String>>,
}

/// One call among them.
struct Entry {
    orders: mpsc::Sender<Order>,
    who: String,
    stands: Arc<OnceLock<CallKey>>,
}

/// Runs the phone until it is told to end.
pub(crate) async fn run(args: PhoneArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let sound = media::to_play(args.play.as_deref())?;
    media::can_record(args.record.as_deref())?;
    let script = match &args.script {
        Some(path) => Some(script(path)?),
        None => None,
    };
    let accounts = Accounts::open(&args).await?;
    for phone in &accounts.phones {
        output.listening(&phone.locals());
    }
    let manner = Arc::new(Manner {
        answer: args.answer,
        follow_referrals: args.follow_referrals,
        echo: args.echo,
        #[cfg(feature = "sound-card")]
        talk: crate::sound_card::Talk::open(args.sound_card)?,
        sound,
        record: args.record.clone(),
        recordings: AtomicU32::new(0),
        files: Files { folder: args.files.clone(), limit: args.file_limit },
        output,
    });

    match accounts.register(&args, output, &mut interrupt).await {
        Ok(true) => {
            let accounts = serve(accounts, &manner, script, &args, &mut interrupt).await;
            accounts.close().await;
            Ok(Code::Well)
        }
        Ok(false) => {
            accounts.close().await;
            Ok(Code::Well)
        }
        Err(failure) => {
            accounts.close().await;
            Err(failure)
        }
    }
}

/// Takes calls and commands until it is time to end, and ends what is there.
async fn serve(
    mut accounts: Accounts,
    manner: &Arc<Manner>,
    script: Option<String>,
    args: &PhoneArgs,
    interrupt: &mut Interrupt,
) -> Accounts {
    let output = manner.output;
    let by_script = script.is_some();
    let mut lines = match script {
        Some(script) => scripted(script),
        None => typed(),
    };
    let (mut news, listening) = accounts.listen(&args.watch, args.mwi);
    let mut typing = true;
    let mut calls = Calls::default();
    let end = async {
        match args.duration {
            Some(end) => tokio::time::sleep(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            Some(what) = news.recv() => match what {
                News::Incoming(incoming) => match incoming.into_chat() {
                    Ok(chat) => calls.open(chat, manner),
                    Err(call) => calls.take(*call, manner),
                },
                News::Referral(referral) => calls.refer(referral, manner),
                News::Presence(uri, state) => output.event(
                    json!({
                        "event": "presence",
                        "uri": uri,
                        "open": state.open,
                        "activity": state.activity(),
                        "note": state.note,
                    }),
                    format_args!("{uri} is {state}"),
                ),
                News::Waiting(address, summary) => {
                    let voice = summary.voice().unwrap_or_default();
                    output.event(
                        json!({
                            "event": "waiting",
                            "address": address,
                            "waiting": summary.waiting,
                            "new": voice.new,
                            "old": voice.old,
                        }),
                        format_args!("{address} has {} new voice messages, {} old", voice.new, voice.old),
                    );
                }
                News::NotTold(what, error) => eprintln!("sip: nothing is told of {what}: {error}"),
                News::Message(phone, message) => {
                    let from = shown(&message.from);
                    output.event(
                        json!({ "event": "message", "from": from, "text": message.text }),
                        format_args!("message from {from}: {}", message.text),
                    );
                    phone.displayed(&message);
                }
            },
            line = lines.recv(), if typing => match line.as_deref().map(Command::parse) {
                Some(Ok(Some(Command::Quit))) => break,
                Some(Ok(Some(Command::Account(number)))) => accounts.choose(number, output),
                Some(Ok(Some(command))) => {
                    if let Some(phone) = accounts.current() {
                        calls.obey(command, phone, manner);
                    }
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => eprintln!("sip: {error}"),
                None if by_script => break,
                None => typing = false,
            },
            Some(_) = calls.messages.join_next(), if !calls.messages.is_empty() => {}
            Some(_) = calls.sessions.join_next(), if !calls.sessions.is_empty() => {}
            Some(done) = calls.tasks.join_next(), if !calls.tasks.is_empty() => calls.forget(done.ok()),
            () = &mut end => break,
            () = interrupt.requested() => break,
        }
    }
    calls.end().await;
    drop(listening);
    output.text("bye");
    accounts
}

/// Reads a script, and makes sure that every line of it is a command before anybody is called.
fn script(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::fault(format_args!("{shown}: {error}")))?;
    for (number, line) in text.lines().enumerate() {
        if let Err(error) = Command::parse(commanded(line)) {
            return Err(Failure::fault(format_args!("{shown}:{}: {error}", number.saturating_add(1))));
        }
    }
    Ok(text)
}

/// A line of a script without its comment.
fn commanded(line: &str) -> &str {
    if line.trim_start().starts_with('#') { "" } else { line }
}

/// The lines of a script, each when those before it have waited for as long as they say.
fn scripted(script: String) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for line in script.lines().map(commanded) {
            if let Ok(Some(Command::Wait(time))) = Command::parse(line) {
                tokio::time::sleep(time).await;
            } else if sender.send(line.into()).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The lines of standard input. A thread of its own reads them: it would keep the runtime from ending.
pub(crate) fn typed() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(COMMANDS);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Calls {
    fn add(&mut self, who: &str, manner: &Arc<Manner>) -> Line {
        let (sender, orders) = mpsc::channel(COMMANDS);
        self.last = self.last.saturating_add(1);
        let stands = Arc::<OnceLock<CallKey>>::default();
        let entry = Entry { orders: sender, who: who.into(), stands: Arc::clone(&stands) };
        self.by_number.insert(self.last, entry);
        self.current = Some(self.last);
        Line { number: self.last, orders, manner: Arc::clone(manner), held: false, stands }
    }

    /// A peer asks us to call somebody. Only who talks to us may: a stranger could have us call numbers that cost money.
    fn refer(&mut self, referral: Referral, manner: &Arc<Manner>) {
        let to = referral.to().to_string();
        let trusted = referral.is_of_a_call() || manner.follow_referrals;
        if !trusted || self.by_number.len() >= MAX_CALLS {
            tracing::warn!(to, "somebody without a call wants us to call");
            return referral.decline();
        }
        let line = self.add(&to, manner);
        let number = line.number;
        manner.output.event(
            json!({ "event": "referred", "call": number, "uri": to }),
            format_args!("call {number} to {to}, as the peer asks"),
        );
        self.tasks.spawn(line.referred(referral));
    }

    fn forget(&mut self, number: Option<u32>) {
        match number {
            Some(number) => {
                self.by_number.remove(&number);
            }
            // A task that broke down cannot say which it was; its orders find nobody any more.
            None => self.by_number.retain(|_, entry| !entry.orders.is_closed()),
        }
        if self.current.is_none_or(|current| !self.by_number.contains_key(&current)) {
            self.current = self.by_number.keys().next_back().copied();
        }
    }

    fn take(&mut self, incoming: IncomingCall, manner: &Arc<Manner>) {
        let from = shown(incoming.from());
        if self.by_number.len() >= MAX_CALLS {
            tracing::warn!(from, "a call too many was answered 486");
            if let Err(error) = incoming.reject(StatusCode::BUSY_HERE) {
                tracing::debug!(%error, "it is gone already");
            }
            return;
        }
        let line = self.add(&from, manner);
        let number = line.number;
        manner.output.event(
            json!({ "event": "incoming", "call": number, "from": from }),
            format_args!("call {number} from {from}"),
        );
        self.tasks.spawn(line.incoming(incoming));
    }

    /// Somebody wants to chat in a session, or to send a file.
    fn open(&mut self, chat: IncomingChat, manner: &Arc<Manner>) {
        if self.sessions.len() >= MAX_SESSIONS {
            tracing::warn!(from = shown(chat.from()), "a session too many was answered 486");
            let _ = chat.reject(StatusCode::BUSY_HERE); // it may be gone already
            return;
        }
        let (replies, to_send) = mpsc::channel(MAX_REPLIES);
        self.chats.retain(|_, replies| !replies.is_closed());
        if chat.file().or(chat.wanted()).is_none() {
            self.chats.insert(chat.from().uri().canonical_aor(), replies);
        }
        self.sessions.spawn(session::take(chat, Arc::clone(manner), to_send));
    }

    fn obey(&mut self, command: Command, phone: &Phone, manner: &Arc<Manner>) {
        let order = match command {
            Command::Answer => Order::Answer,
            Command::HangUp => Order::HangUp,
            Command::Hold => Order::Hold,
            Command::Digits(digits) => Order::Digits(digits),
            Command::Transfer(uri) => Order::Transfer(uri),
            Command::Mute => Order::Mute,
            Command::Quality => Order::Quality,
            Command::Connect(other) => {
                match self.by_number.get(&other).and_then(|entry| entry.stands.get()) {
                    Some(key) if self.current != Some(other) => Order::Connect(other, *key),
                    Some(_) => return eprintln!("sip: call {other} is the current one; `n` changes that"),
                    None => return eprintln!("sip: there is no call {other} that stands"),
                }
            }
            Command::Account(_) | Command::Wait(_) => return, // the reader of a script waits
            Command::Call(uri) => {
                let line = self.add(&uri, manner);
                self.tasks.spawn(line.outgoing(phone.clone(), uri));
                return;
            }
            Command::File(uri, path) => {
                self.messages.spawn(chat_files::send(phone.clone(), uri, path, manner.output));
                return;
            }
            Command::Message(uri, text) => {
                let address = uri.parse::<Uri>().map(|uri| uri.canonical_aor()).unwrap_or_default();
                let text = match self.chats.get(&address).map(|chat| chat.try_send(text.clone())) {
                    Some(Ok(())) => return,
                    Some(Err(mpsc::error::TrySendError::Full(_))) => {
                        return eprintln!(
                            "sip: too many messages to {uri} wait to be sent; this one is left out"
                        );
                    }
                    Some(Err(mpsc::error::TrySendError::Closed(text))) => text,
                    None => text,
                };
                let (phone, output) = (phone.clone(), manner.output);
                self.messages.spawn(async move {
                    match phone.send_message(&uri, &text).await {
                        Ok(status) => output.event(
                            json!({ "event": "sent", "uri": uri, "status": status.code() }),
                            format_args!("message to {uri} sent"),
                        ),
                        Err(error) => eprintln!("sip: message to {uri}: {error}"),
                    }
                });
                return;
            }
            Command::Next => {
                let after = self.current.map_or(0, |current| current.saturating_add(1));
                let next = self.by_number.range(after..).next().or_else(|| self.by_number.iter().next());
                self.current = next.map(|(number, _)| *number);
                return self.list(manner.output);
            }
            Command::List => return self.list(manner.output),
            Command::Quit => return,
        };
        match self.current.and_then(|current| self.by_number.get(&current)) {
            Some(entry) if entry.orders.try_send(order).is_ok() => {}
            Some(_) => eprintln!("sip: the call is busy with what was typed before"),
            None => eprintln!("sip: there is no call"),
        }
    }

    fn list(&self, output: Output) {
        if self.by_number.is_empty() {
            output.text("no calls");
        }
        for (number, Entry { who, .. }) in &self.by_number {
            let mark = if self.current == Some(*number) { '>' } else { ' ' };
            output.event(
                json!({ "event": "call", "call": number, "peer": who, "current": mark == '>' }),
                format_args!("{mark} call {number} {who}"),
            );
        }
    }

    /// Hangs everything up.
    async fn end(mut self) {
        for entry in self.by_number.values() {
            // A call whose queue is full ends with the program.
            let _ = entry.orders.try_send(Order::HangUp);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, all).await.is_err() {
            tracing::info!("some calls have not confirmed their end");
        }
    }
}
