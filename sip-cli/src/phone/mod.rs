//! `sip phone`: registers, rings, answers and calls; several calls at once, each in a task of its own.

mod line;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde_json::json;
use sip_message::StatusCode;
use sip_ua::{IncomingCall, Phone};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::account::{ANONYMOUS, Identity, not_registered};
use crate::args::PhoneArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keys::Command;
use crate::media;
use crate::output::Output;
use line::{Line, Manner, Order, shown};

/// Calls at once; more are answered 486. Each has two sockets and a recording in memory, and anybody can call.
const MAX_CALLS: usize = 256;

/// Commands that wait for a call, and lines that wait for the phone: nobody types faster.
const COMMANDS: usize = 16;

/// How long calls may take to end when the program ends.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// The calls that there are, each behind the means to order it about.
#[derive(Default)]
struct Calls {
    by_number: BTreeMap<u32, (mpsc::Sender<Order>, String)>,
    last: u32,
    current: Option<u32>,
    tasks: JoinSet<u32>,
    /// Texts on their way.
    messages: JoinSet<()>,
}

/// Runs the phone until it is told to end.
pub(crate) async fn run(args: PhoneArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let sound = media::to_play(args.play.as_deref())?;
    media::can_record(args.record.as_deref())?;
    let address = args.register.as_deref().or(args.from.as_deref()).unwrap_or(ANONYMOUS);
    let phone = Identity {
        address,
        account: &args.account,
        tls: &args.tls,
        listen: &args.listen,
        expires: args.expires,
        instance: args.instance.as_ref(),
        peer: args.register.as_deref(),
    }
    .bind()
    .await?;
    output.listening(phone.locals());
    let manner = Arc::new(Manner {
        answer: args.answer,
        echo: args.echo,
        sound,
        record: args.record,
        recordings: AtomicU32::new(0),
        output,
    });

    if args.register.is_some() {
        let registered = tokio::select! {
            registered = phone.register() => registered,
            () = interrupt.requested() => {
                phone.close().await;
                return Ok(Code::Well);
            }
        };
        match registered {
            Ok(lifetime) => output.event(
                json!({ "event": "registered", "address": address, "seconds": lifetime.as_secs() }),
                format_args!("registered {address} for {} s", lifetime.as_secs()),
            ),
            Err(error) => {
                phone.close().await;
                return Err(not_registered(address, &error));
            }
        }
    }
    serve(&phone, &manner, args.duration, &mut interrupt).await;
    phone.close().await;
    Ok(Code::Well)
}

/// Takes calls and commands until it is time to end, and ends what is there.
async fn serve(phone: &Phone, manner: &Arc<Manner>, end: Option<Duration>, interrupt: &mut Interrupt) {
    let output = manner.output;
    let mut lines = typed();
    let mut typing = true;
    let mut calls = Calls::default();
    let end = async {
        match end {
            Some(end) => tokio::time::sleep(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            incoming = phone.incoming() => match incoming {
                Some(incoming) => calls.take(incoming, manner),
                None => break,
            },
            message = phone.next_message() => {
                let from = shown(&message.from);
                output.event(
                    json!({ "event": "message", "from": from, "text": message.text }),
                    format_args!("message from {from}: {}", printable(&message.text)),
                );
            }
            line = lines.recv(), if typing => match line.as_deref().map(Command::parse) {
                Some(Ok(Some(Command::Quit))) => break,
                Some(Ok(Some(command))) => calls.obey(command, phone, manner),
                Some(Ok(None)) => {}
                Some(Err(error)) => eprintln!("sip: {error}"),
                None => typing = false,
            },
            Some(_) = calls.messages.join_next(), if !calls.messages.is_empty() => {}
            Some(done) = calls.tasks.join_next(), if !calls.tasks.is_empty() => calls.forget(done.ok()),
            () = &mut end => break,
            () = interrupt.requested() => break,
        }
    }
    calls.end().await;
    output.text("bye");
}

/// A text of somebody else on our terminal: without the characters that would steer it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The lines of standard input. A thread of its own reads them: it would keep the runtime from ending.
fn typed() -> mpsc::Receiver<String> {
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
    fn add(&mut self, who: &str) -> (u32, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(COMMANDS);
        self.last = self.last.saturating_add(1);
        self.by_number.insert(self.last, (sender, who.into()));
        self.current = Some(self.last);
        (self.last, orders)
    }

    fn forget(&mut self, number: Option<u32>) {
        match number {
            Some(number) => {
                self.by_number.remove(&number);
            }
            // A task that broke down cannot say which it was; its orders find nobody any more.
            None => self.by_number.retain(|_, (orders, _)| !orders.is_closed()),
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
        let (number, orders) = self.add(&from);
        manner.output.event(
            json!({ "event": "incoming", "call": number, "from": from }),
            format_args!("call {number} from {from}"),
        );
        let line = Line { number, orders, manner: Arc::clone(manner), held: false };
        self.tasks.spawn(line.incoming(incoming));
    }

    fn obey(&mut self, command: Command, phone: &Phone, manner: &Arc<Manner>) {
        let order = match command {
            Command::Answer => Order::Answer,
            Command::HangUp => Order::HangUp,
            Command::Hold => Order::Hold,
            Command::Digits(digits) => Order::Digits(digits),
            Command::Call(uri) => {
                let (number, orders) = self.add(&uri);
                let line = Line { number, orders, manner: Arc::clone(manner), held: false };
                self.tasks.spawn(line.outgoing(phone.clone(), uri));
                return;
            }
            Command::Message(uri, text) => {
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
            Some((orders, _)) if orders.try_send(order).is_ok() => {}
            Some(_) => eprintln!("sip: the call is busy with what was typed before"),
            None => eprintln!("sip: there is no call"),
        }
    }

    fn list(&self, output: Output) {
        if self.by_number.is_empty() {
            output.text("no calls");
        }
        for (number, (_, who)) in &self.by_number {
            let mark = if self.current == Some(*number) { '>' } else { ' ' };
            output.event(
                json!({ "event": "call", "call": number, "peer": who, "current": mark == '>' }),
                format_args!("{mark} call {number} {who}"),
            );
        }
    }

    /// Hangs everything up.
    async fn end(mut self) {
        for (orders, _) in self.by_number.values() {
            // A call whose queue is full ends with the program.
            let _ = orders.try_send(Order::HangUp);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, all).await.is_err() {
            tracing::info!("some calls have not confirmed their end");
        }
    }
}
