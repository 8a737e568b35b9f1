//! One call of the phone: from its ringing to its end, obeying what is typed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde_json::json;
use sip_dialog::{CallKey, Cause};
use sip_message::StatusCode;
use sip_message::headers::NameAddr;
use sip_ua::{Audio, Call, CallError, IncomingCall, OutgoingCall, Phone, Referral, TransferError};
use tokio::sync::mpsc;

use crate::account::code_of;
use crate::media;
use crate::output::Output;

/// What all calls are treated with.
pub(super) struct Manner {
    pub(super) answer: bool,
    pub(super) follow_referrals: bool,
    pub(super) echo: bool,
    #[cfg(feature = "sound-card")]
    pub(super) talk: Option<crate::sound_card::Talk>,
    pub(super) sound: Option<Vec<i16>>,
    pub(super) record: Option<PathBuf>,
    pub(super) recordings: AtomicU32,
    pub(super) files: super::session::Files,
    pub(super) output: Output,
}

/// What can be asked of one call.
#[derive(Debug)]
pub(super) enum Order {
    Answer,
    HangUp,
    Hold,
    Digits(String),
    Transfer(String),
    /// Connect our peer with that of another call, which has this number.
    Connect(u32, CallKey),
    Mute,
    Quality,
}

/// One call in its task.
pub(super) struct Line {
    pub(super) number: u32,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) manner: Arc<Manner>,
    /// The peer is on hold by us.
    pub(super) held: bool,
    /// Told once the call stands, for those who want to connect it with another.
    pub(super) stands: Arc<OnceLock<CallKey>>,
}

impl Line {
    /// A call of ours.
    pub(super) async fn outgoing(mut self, phone: Phone, uri: String) -> u32 {
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

    /// A call that a peer asked for.
    pub(super) async fn referred(mut self, referral: Referral) -> u32 {
        let number = self.number;
        let outcome = match referral.follow().await {
            Ok(ringing) => self.wait_for_answer(ringing).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(call) => self.talk(call).await,
            Err(error) => self.over(code_of(&error).word(), &error.to_string()),
        }
        number
    }

    async fn wait_for_answer(&mut self, mut ringing: OutgoingCall) -> Result<Call, CallError> {
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
    pub(super) async fn incoming(mut self, incoming: IncomingCall) -> u32 {
        let number = self.number;
        if let Err(error) = incoming.ring() {
            self.over("cancelled", &error.to_string());
            return number;
        }
        // A call that takes the place of one that we have goes on as that one: nobody has to pick it up again.
        let at_once = self.manner.answer || incoming.replaces_a_call();
        let answered = at_once || self.wait_for_order(&incoming).await;
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
        let _ = self.stands.set(call.key());
        let mut muted = false;
        let audio = call.audio();
        let recording = self.recording();
        if let Some(path) = &recording {
            audio.record(path);
        }
        audio.echo(self.manner.echo);
        #[cfg(feature = "sound-card")]
        if let Some(talk) = &self.manner.talk {
            talk.begin(&audio);
        }
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
                    Some(Order::Mute) => {
                        muted = !muted;
                        audio.mute(muted);
                        let word = if muted { "muted" } else { "unmuted" };
                        output.event(
                            json!({ "event": word, "call": number }),
                            format_args!("call {number} {word}"),
                        );
                    }
                    Some(Order::Quality) => output.event(
                        json!({ "event": "quality", "call": number, "media": media::to_json(&call.statistics()) }),
                        format_args!("call {number}: {}", media::to_line(&call.statistics())),
                    ),
                    Some(Order::Transfer(uri)) => {
                        let outcome = call.transfer(&uri).await;
                        if self.transferred(&uri, outcome) {
                            break false;
                        }
                    }
                    Some(Order::Connect(other, key)) => {
                        let outcome = call.transfer_to_call(key).await;
                        if self.transferred(&format!("call {other}"), outcome) {
                            break false;
                        }
                    }
                    Some(Order::Digits(keys)) => {
                        if let Err(error) = audio.send_digits(&keys).await {
                            eprintln!("sip: call {number}: {error}");
                        }
                    }
                },
            }
        };
        let summary = if by_peer { call.ended().await } else { call.hang_up().await };
        let who = match summary.ended.cause {
            Cause::ReplacedBy(_) => "another that took its place",
            _ if by_peer => "peer",
            _ => "us",
        };
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

    /// Tells what came of a transfer; whether our own call is to end.
    fn transferred(&self, whereto: &str, outcome: Result<StatusCode, TransferError>) -> bool {
        let number = self.number;
        match outcome {
            Ok(status) => {
                self.manner.output.event(
                    json!({ "event": "transferred", "call": number, "to": whereto, "status": status.code() }),
                    format_args!("call {number} transferred to {whereto}"),
                );
                true
            }
            Err(error) => {
                eprintln!("sip: call {number} is not transferred to {whereto}: {error}");
                false
            }
        }
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
pub(super) fn shown(address: &NameAddr) -> String {
    let bare = NameAddr::new(address.uri());
    bare.with_display_name(address.display_name().unwrap_or_default()).to_string()
}

fn refuse(order: &Order, why: &str) {
    let what = match order {
        Order::Answer => "answer",
        Order::HangUp => "hang up",
        Order::Hold => "hold",
        Order::Digits(_) => "send digits on",
        Order::Transfer(_) | Order::Connect(..) => "transfer",
        Order::Mute => "mute",
        Order::Quality => "tell the quality of",
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
