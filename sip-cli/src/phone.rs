//! `sip phone`: registers, rings, answers and calls; several calls at once, each in a task of its own.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sip_message::StatusCode;
use sip_message::headers::NameAddr;
use sip_ua::{Audio, Call, IncomingCall, OutgoingCall, Phone};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::account::{ANONYMOUS, Identity, code_of, not_registered};
use crate::args::PhoneArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keys::Command;
use crate::media;
use crate::output::Output;

/// Calls at once; more are answered 486. Each has two sockets and a recording in memory, and anybody can call.
const MAX_CALLS: usize = 256;

/// Commands that wait for a call, and lines that wait for the phone: nobody types faster.
const COMMANDS: usize = 16;

/// How long calls may take to end when the program ends.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What all calls are treated with.
struct Manner {
    answer: bool,
    echo: bool,
    sound: Option<Vec<i16>>,
    record: Option<PathBuf>,
    recordings: AtomicU32,
    output: Output,
}

/// What can be asked of one call.
#[derive(Debug)]
enum Order {
    Answer,
    HangUp,
    Hold,
    Digits(String),
}

/// The calls that there are, each behind the means to order it about.
#[derive(Default)]
struct Calls {
    by_number: BTreeMap<u32, (mpsc::Sender<Order>, String)>,
    last: u32,
    current: Option<u32>,
    tasks: JoinSet<u32>,
}

/// Runs the phone until it is told to end.
pub(crate) async fn run(args: PhoneArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let sound = match &args.play {
        Some(path) => Some(
            rtp::audio::wav::read(path)
                .map_err(|error| Failure::fault(format!("{}: {error}", path.display())))?,
        ),
        None => None,
    };
    let address = args.register.as_deref().or(args.from.as_deref()).unwrap_or(ANONYMOUS);
    let phone = Identity {
        address,
        account: &args.account,
        listen: &args.listen,
        expires: args.expires,
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
            line = lines.recv(), if typing => match line.as_deref().map(Command::parse) {
                Some(Ok(Some(Command::Quit))) => break,
                Some(Ok(Some(command))) => calls.obey(command, phone, manner),
                Some(Ok(None)) => {}
                Some(Err(error)) => eprintln!("sip: {error}"),
                None => typing = false,
            },
            Some(done) = calls.tasks.join_next(), if !calls.tasks.is_empty() => calls.forget(done.ok()),
            () = &mut end => break,
            () = interrupt.requested() => break,
        }
    }
    calls.end().await;
    output.text("bye");
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

/// One call in its task.
struct Line {
    number: u32,
    orders: mpsc::Receiver<Order>,
    manner: Arc<Manner>,
    /// The peer is on hold by us.
    held: bool,
}

impl Line {
    /// A call of ours.
    async fn outgoing(mut self, phone: Phone, uri: String) -> u32 {
        let (number, output) = (self.number, self.manner.output);
        let placed = phone.call(&uri).await;
        let outcome = match placed {
            Ok(ringing) => {
                output.event(
                    json!({ "event": "calling", "call": number, "uri": uri }),
                    format_args!("call {number} to {uri}"),
                );
                self.wait_for_answer(ringing).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(call) => self.talk(call).await,
            Err(error) => self.over(code_of(&error).word(), &error.to_string()),
        }
        number
    }

    async fn wait_for_answer(&mut self, mut ringing: OutgoingCall) -> Result<Call, sip_ua::CallError> {
        let (number, output) = (self.number, self.manner.output);
        loop {
            tokio::select! {
                progress = ringing.progress() => match progress {
                    Some(progress) => output.event(
                        json!({
                            "event": "progress",
                            "call": number,
                            "status": progress.status().code(),
                            "reason": progress.reason(),
                        }),
                        format_args!("call {number}: {} {}", progress.status().code(), progress.reason()),
                    ),
                    None => return ringing.answered().await,
                },
                order = self.orders.recv() => match order {
                    Some(Order::HangUp) | None => ringing.cancel(),
                    Some(order) => refuse(&order, "it is not answered yet"),
                },
            }
        }
    }

    /// A call to us.
    async fn incoming(mut self, incoming: IncomingCall) -> u32 {
        let number = self.number;
        if let Err(error) = incoming.ring() {
            self.over("cancelled", &error.to_string());
            return number;
        }
        let answered = if self.manner.answer { true } else { self.wait_for_order(&incoming).await };
        if answered {
            match incoming.answer().await {
                Ok(call) => self.talk(call).await,
                Err(error) => self.over(code_of(&error).word(), &error.to_string()),
            }
        } else {
            // 603: somebody looked at it and does not want it (RFC 3261 §21.6.2). A caller who gave up hears nothing.
            if let Err(error) = incoming.reject(StatusCode::DECLINE) {
                tracing::debug!(%error, "the caller gave up before");
            }
        }
        number
    }

    /// Whether the call is to be answered.
    async fn wait_for_order(&mut self, incoming: &IncomingCall) -> bool {
        loop {
            tokio::select! {
                _ = incoming.ended() => {
                    self.over("cancelled", "the caller gave up");
                    return false;
                }
                order = self.orders.recv() => match order {
                    Some(Order::Answer) => return true,
                    Some(Order::HangUp) | None => {
                        self.over("rejected", "we declined");
                        return false;
                    }
                    Some(order) => refuse(&order, "it rings; answer it first"),
                },
            }
        }
    }

    /// The call stands.
    async fn talk(mut self, call: Call) {
        let (number, output) = (self.number, self.manner.output);
        let since = Instant::now();
        let audio = call.audio();
        let recording = self.recording();
        if let Some(path) = &recording {
            audio.record(path);
        }
        audio.echo(self.manner.echo);
        output.event(
            json!({ "event": "answered", "call": number, "peer": shown(call.remote()) }),
            format_args!("call {number} answered"),
        );
        let play = play(audio.clone(), self.manner.sound.clone());
        tokio::pin!(play);
        let mut playing = true;
        let mut digits = String::new();
        let by_peer = loop {
            tokio::select! {
                _ = call.ended() => break true,
                () = &mut play, if playing => playing = false,
                digit = audio.next_digit() => match digit {
                    Some(digit) => {
                        digits.push(digit);
                        output.event(
                            json!({ "event": "digit", "call": number, "digit": digit.to_string() }),
                            format_args!("call {number}: digit {digit}"),
                        );
                    }
                    None => { call.ended().await; break true }
                },
                order = self.orders.recv() => match order {
                    Some(Order::HangUp) | None => break false,
                    Some(Order::Answer) => refuse(&Order::Answer, "it is answered"),
                    Some(Order::Hold) => self.turn_hold(&call).await,
                    Some(Order::Digits(keys)) => {
                        if let Err(error) = audio.send_digits(&keys).await {
                            eprintln!("sip: call {number}: {error}");
                        }
                    }
                },
            }
        };
        let summary = if by_peer { call.ended().await } else { call.hang_up().await };
        let who = if by_peer { "peer" } else { "us" };
        let seconds = since.elapsed();
        output.event(
            json!({
                "event": "ended",
                "call": number,
                "by": who,
                "duration_seconds": media::seconds(seconds),
                "digits_received": digits,
                "recording": recording.as_ref().map(|path| path.display().to_string()),
                "media": media::to_json(&summary.statistics),
            }),
            format_args!(
                "call {number} ended by {who} after {:.1} s: {}",
                seconds.as_secs_f64(),
                media::to_line(&summary.statistics)
            ),
        );
    }

    /// Holds a call, or takes it off hold.
    async fn turn_hold(&mut self, call: &Call) {
        let held = self.held;
        let changed = if held { call.resume().await } else { call.hold().await };
        let number = self.number;
        match changed {
            Ok(()) => {
                self.held = !held;
                let word = if held { "resumed" } else { "held" };
                self.manner
                    .output
                    .event(json!({ "event": word, "call": number }), format_args!("call {number} {word}"));
            }
            Err(error) => eprintln!("sip: call {number}: {error}"),
        }
    }

    /// Where this call is recorded: FILE.wav for the first, FILE-2.wav for the second.
    fn recording(&self) -> Option<PathBuf> {
        let path = self.manner.record.as_ref()?;
        let index = self.manner.recordings.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Some(numbered(path, index))
    }

    /// A call that never stood.
    fn over(&self, word: &str, text: &str) {
        let number = self.number;
        self.manner.output.event(
            json!({ "event": "ended", "call": number, "result": word, "error": text }),
            format_args!("call {number} {word}: {text}"),
        );
    }
}

/// Plays once, if there is something to play.
async fn play(audio: Audio, sound: Option<Vec<i16>>) {
    let Some(samples) = sound else { return };
    // The end of the call ends the music; that is no fault.
    let _ = audio.play_samples(samples).await;
}

/// Who it is, for people: without the tag and whatever else stands behind the address.
fn shown(address: &NameAddr) -> String {
    let bare = NameAddr::new(address.uri());
    bare.with_display_name(address.display_name().unwrap_or_default()).to_string()
}

fn refuse(order: &Order, why: &str) {
    let what = match order {
        Order::Answer => "answer",
        Order::HangUp => "hang up",
        Order::Hold => "hold",
        Order::Digits(_) => "send digits on",
    };
    eprintln!("sip: cannot {what} the call: {why}");
}

/// The name of the recording with this number.
fn numbered(path: &Path, index: u32) -> PathBuf {
    if index < 2 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{index}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_numbered_from_the_second_on() {
        assert_eq!(numbered(Path::new("dir/heard.wav"), 1), Path::new("dir/heard.wav"));
        assert_eq!(numbered(Path::new("dir/heard.wav"), 2), Path::new("dir/heard-2.wav"));
        assert_eq!(numbered(Path::new("a.b/heard"), 12), Path::new("a.b/heard-12"));
        assert_eq!(numbered(Path::new("first.take.wav"), 3), Path::new("first.take-3.wav"));
    }
}
