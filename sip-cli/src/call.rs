//! `sip call`: one call from dialling to the end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sip_message::StatusCode;
use sip_ua::{Call, CallError, OutgoingCall, Phone, Statistics};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use crate::account::{ANONYMOUS, Identity, code_of};
use crate::args::{CallArgs, SessionArgs};
use crate::exit::{Code, Failure};
use crate::film::Film;
use crate::interrupt::Interrupt;
use crate::media;
use crate::output::Output;

/// How long a peer that we gave up on may take to say so: it may be the very reason why we gave up.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A call shorter than this may end before its first packet, which says nothing about the media.
const TOO_SHORT_TO_JUDGE: Duration = Duration::from_secs(1);

/// What became of the call, as it goes into JSON.
#[derive(Debug, Default)]
struct Outcome {
    code: Option<Code>,
    status: Option<(u16, String)>,
    ringing: Option<Duration>,
    answered: Option<Duration>,
    duration: Option<Duration>,
    ended_by: Option<&'static str>,
    /// Worth a remark, no failure.
    warning: Option<&'static str>,
    error: Option<String>,
    digits: String,
    statistics: Option<Statistics>,
    codec: Option<&'static str>,
    crypto_suite: Option<&'static str>,
    /// The format of the pictures, frames sent and seen.
    video: Option<(&'static str, u64, u64)>,
    /// The peer says nothing: there is nobody to take leave of.
    silent: bool,
    /// The sound card, if the caller talks in person.
    #[cfg(feature = "sound-card")]
    talk: Option<crate::sound_card::Talk>,
}

/// Makes the call.
pub(crate) async fn run(args: CallArgs, output: Output, mut interrupt: Interrupt) -> Result<Code, Failure> {
    let sound = media::to_play(args.play.as_deref())?;
    let film = Film::read(args.video.as_deref())?;
    media::can_record(args.record.as_deref())?;
    media::can_record(args.record_both.as_deref())?;
    #[cfg(feature = "sound-card")]
    let talk = crate::sound_card::Talk::open(args.sound_card)?;
    let address = args.from.as_deref().unwrap_or(ANONYMOUS);
    let phone = Identity {
        focus: false,
        address,
        account: &args.account,
        tls: &args.tls,
        listen: &args.listen,
        expires: 0,
        instance: None,
        peer: Some(&args.uri),
        sound: &args.sound,
        sessions: &SessionArgs::default(),
    }
    .bind_with(|builder| builder.video(film.as_ref().map(Film::codec)))
    .await?;
    // With --json the one object at the end is all there is, so that it can be piped on.
    if !output.is_json() {
        output.listening(&phone.locals());
    }
    let mut outcome = Outcome {
        #[cfg(feature = "sound-card")]
        talk,
        ..Outcome::default()
    };
    let code = make(&args, &phone, (sound, film), output, &mut interrupt, &mut outcome).await;
    if !outcome.silent {
        phone.close().await;
    }
    let code = code?;
    outcome.code = Some(code);
    if output.is_json() {
        output.event(outcome.to_json(&args), "");
    } else if let Some(error) = &outcome.error {
        return Err(Failure::new(code, error));
    }
    Ok(code)
}

async fn make(
    args: &CallArgs,
    phone: &Phone,
    show: (Option<Vec<i16>>, Option<Film>),
    output: Output,
    interrupt: &mut Interrupt,
    outcome: &mut Outcome,
) -> Result<Code, Failure> {
    let began = Instant::now();
    let ringing = match phone.call(&args.uri).await {
        Ok(ringing) => ringing,
        Err(error) => return Err(Failure::new(code_of(&error), error)),
    };
    output.text(format_args!("calling {}", args.uri));
    let answered = dial(args, phone, ringing, began, output, interrupt, outcome).await;
    match answered {
        Ok(call) => {
            let answered = began.elapsed();
            outcome.answered = Some(answered);
            outcome.status = Some((200, "OK".into()));
            output.text(format_args!("answered after {:.1} s", answered.as_secs_f64()));
            Ok(talk(args, call, show, output, interrupt, outcome).await)
        }
        Err(error) => {
            if let Some(status) = error.status() {
                let reason = match &error {
                    CallError::Rejected { reason, .. } => reason.clone(),
                    _ => status.reason().into(),
                };
                outcome.status = Some((status.code(), reason));
            }
            outcome.error.get_or_insert_with(|| describe(&error, args));
            Ok(code_of(&error))
        }
    }
}

fn describe(error: &CallError, args: &CallArgs) -> String {
    let hint = match error.status().map(|status| status.code()) {
        Some(401 | 407) if args.account.password.is_none() => "; name --from and --password",
        Some(401 | 407) => "; check user and password",
        _ => "",
    };
    format!("{}: {error}{hint}", args.uri)
}

/// Waits for the answer, as long as the caller wants to.
async fn dial(
    args: &CallArgs,
    phone: &Phone,
    mut ringing: OutgoingCall,
    began: Instant,
    output: Output,
    interrupt: &mut Interrupt,
    outcome: &mut Outcome,
) -> Result<Call, CallError> {
    let patience = tokio::time::Instant::from_std(began + args.ring);
    let gave_up = loop {
        tokio::select! {
            progress = ringing.progress() => match progress {
                Some(progress) => {
                    let (status, reason) = (progress.status(), progress.reason());
                    if status.code() == 180 {
                        outcome.ringing.get_or_insert_with(|| began.elapsed());
                    }
                    let early = if progress.early_media { ", with early media" } else { "" };
                    output.text(format_args!("{} {reason}{early}", status.code()));
                }
                None => break None,
            },
            () = sleep_until(patience) => break Some(GaveUp::InTime),
            () = interrupt.requested() => break Some(GaveUp::Interrupted),
        }
    };
    let Some(gave_up) = gave_up else { return ringing.answered().await };
    let why = gave_up.why();
    // Where nothing was heard no CANCEL may be sent (RFC 3261 §9.1), and none would be answered.
    let heard = phone.heard() > 0;
    let wait = if heard { CANCEL_PATIENCE } else { Duration::ZERO };
    if heard {
        output.text(format_args!("{why}: cancelling"));
    }
    outcome.error = Some(format!("{}: {why}, cancelled", args.uri));
    ringing.cancel();
    match timeout(wait, ringing.answered()).await {
        // The answer crossed our CANCEL: nobody is left to talk.
        Ok(Ok(call)) => {
            call.hang_up().await;
            Err(CallError::Cancelled)
        }
        Ok(Err(CallError::Cancelled)) => Err(CallError::Cancelled),
        Ok(Err(CallError::Rejected { status, .. })) if status == StatusCode::REQUEST_TERMINATED => {
            Err(CallError::Cancelled)
        }
        Ok(Err(error)) => {
            outcome.error = None;
            Err(error)
        }
        Err(_) => {
            outcome.silent = true;
            if heard || gave_up == GaveUp::Interrupted {
                return Err(CallError::Cancelled);
            }
            outcome.error =
                Some(format!("{}: nothing was heard in {:.1} s", args.uri, args.ring.as_secs_f64()));
            Err(CallError::TimedOut)
        }
    }
}

/// Why the caller does not wait any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GaveUp {
    InTime,
    Interrupted,
}

impl GaveUp {
    const fn why(self) -> &'static str {
        match self {
            Self::InTime => "not answered in time",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The call stands.
async fn talk(
    args: &CallArgs,
    call: Call,
    show: (Option<Vec<i16>>, Option<Film>),
    output: Output,
    interrupt: &mut Interrupt,
    outcome: &mut Outcome,
) -> Code {
    let since = Instant::now();
    let audio = call.audio();
    let both = args.record_both.as_ref().map_or(Ok(()), |path| audio.record_both(path));
    if let Err(error) = both {
        // The call is worth more than its recording.
        outcome.warning = Some("the recording of both sides cannot be written");
        output.text(format_args!("warning: {error}"));
    }
    if let Some(path) = &args.record {
        audio.record(path);
    }
    #[cfg(feature = "sound-card")]
    if let Some(talk) = &outcome.talk {
        talk.begin(&audio);
    }
    let (sound, film) = show;
    let plays = sound.is_some() || film.is_some();
    let video = call.video();
    let (shown, end_of_film) = oneshot::channel();
    match (film, video.clone()) {
        (Some(film), Some(video)) => drop(tokio::spawn(film.show(video, shown))),
        (Some(_), None) => {
            drop(shown);
            outcome.warning = Some("the peer takes no video");
            output.text("warning: the peer takes no video");
        }
        (None, _) => drop(shown),
    }
    let play = {
        let audio = audio.clone();
        async move {
            match sound {
                Some(samples) => audio.play_samples(samples).await,
                None => Ok(()),
            }
        }
    };
    let press = {
        let (audio, digits) = (audio.clone(), args.dtmf.clone());
        async move {
            match digits {
                Some(digits) => audio.send_digits(&digits).await,
                None => Ok(()),
            }
        }
    };
    let deed = async {
        let (played, pressed, _) = tokio::join!(play, press, end_of_film);
        (played, pressed)
    };
    tokio::pin!(deed);
    let end = args.duration.map(|duration| tokio::time::Instant::from_std(since + duration));
    let mut busy = true;
    let mut fault = None;
    let by_peer = loop {
        tokio::select! {
            _ = call.ended() => break true,
            digit = audio.next_digit() => match digit {
                Some(digit) => {
                    outcome.digits.push(digit);
                    output.text(format_args!("digit {digit}"));
                }
                // The media is over, so the call is about to be.
                None => { call.ended().await; break true }
            },
            (played, pressed) = &mut deed, if busy => {
                busy = false;
                for error in [played.err(), pressed.err()].into_iter().flatten() {
                    if !matches!(error, sip_ua::AudioError::Ended) {
                        fault = Some(error.to_string());
                    }
                }
                if plays && end.is_none() {
                    break false;
                }
            }
            () = async { match end { Some(end) => sleep_until(end).await, None => std::future::pending().await } } => {
                break false;
            }
            () = interrupt.requested() => break false,
        }
    };
    let lasted = since.elapsed();
    let summary = if by_peer { call.ended().await } else { call.hang_up().await };
    let received = summary.statistics.session.received.packets;
    outcome.duration = Some(lasted);
    outcome.ended_by = Some(if by_peer { "peer" } else { "us" });
    outcome.statistics = Some(summary.statistics);
    output.text(format_args!(
        "ended by {} after {:.1} s",
        if by_peer { "the peer" } else { "us" },
        lasted.as_secs_f64()
    ));
    output.text(media::to_line(&summary.statistics));
    if let Some(codec) = summary.codec {
        output.text(format_args!("sent as {}", media::spoken(codec, summary.crypto_suite)));
    }
    if let Some(video) = video {
        let statistics = video.statistics();
        output.text(format_args!(
            "video: {} frames sent as {}, {} seen",
            statistics.frames_sent,
            video.codec().name(),
            statistics.frames_received
        ));
        outcome.video = Some((video.codec().name(), statistics.frames_sent, statistics.frames_received));
    }
    outcome.codec = summary.codec.map(|codec| codec.name());
    outcome.crypto_suite = summary.crypto_suite.map(|suite| suite.name());
    if let Some(path) = &args.record {
        output.text(format_args!("recorded in {}", path.display()));
    }
    if summary.ended.bad_media {
        outcome.error = Some(format!("{}: no media could be agreed on", args.uri));
        return Code::BadMedia;
    }
    if received == 0 && lasted >= TOO_SHORT_TO_JUDGE {
        // Announcement servers and test programs listen without a word: worth a remark, no failure.
        outcome.warning = Some("not one audio packet came");
        output.text("warning: not one audio packet came");
    }
    if let Some(fault) = fault {
        outcome.error = Some(format!("{}: {fault}", args.uri));
        return Code::BadMedia;
    }
    Code::Well
}

impl Outcome {
    fn to_json(&self, args: &CallArgs) -> Value {
        let code = self.code.unwrap_or(Code::Fault);
        json!({
            "uri": args.uri,
            "result": code.word(),
            "exit_code": code.number(),
            "status": self.status.as_ref().map(|(code, _)| code),
            "reason": self.status.as_ref().map(|(_, reason)| reason),
            "ringing_after_seconds": self.ringing.map(media::seconds),
            "answered_after_seconds": self.answered.map(media::seconds),
            "duration_seconds": self.duration.map(media::seconds),
            "ended_by": self.ended_by,
            "digits_received": self.digits,
            "recording": self.answered.and(args.record.as_ref()).map(|path| path.display().to_string()),
            "codec": self.codec,
            "srtp": self.crypto_suite,
            "video": self.video.map(|(codec, sent, seen)| {
                json!({ "codec": codec, "sent_frames": sent, "received_frames": seen })
            }),
            "media": self.statistics.as_ref().map(media::to_json),
            "warning": self.warning,
            "error": self.error,
        })
    }
}
