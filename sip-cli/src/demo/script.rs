//! What happens in the demonstration, step by step.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rtp::audio::SAMPLE_RATE;
use rtp::audio::speech::speech_like;
use sip_ua::{Call, Phone, Summary};
use tokio::time::{sleep, timeout};

use super::watch::Watch;
use crate::exit::Failure;

/// Seconds that alice and bob register for.
const EXPIRES: u32 = 600;
/// How long bob lets it ring.
const RINGING: Duration = Duration::from_millis(300);
/// Speech before the hold: long enough for reports of both sides, from which the round trip is measured.
const SPEECH: Duration = Duration::from_millis(3500);
/// Speech of the one who is held and should not be heard.
const HELD_SPEECH: Duration = Duration::from_millis(800);
/// Speech after the hold.
const LATER_SPEECH: Duration = Duration::from_millis(1500);
/// Packets that were under way when the hold was agreed, and those that a buffer plays late.
const SETTLE: Duration = Duration::from_millis(200);
/// Reports more often than the 5 s of RFC 3550 §6.2, so that a short call has some.
const RTCP_INTERVAL: Duration = Duration::from_millis(800);
/// No step takes longer on any machine that is not broken.
const STEP: Duration = Duration::from_secs(10);

/// What alice presses.
pub(crate) const ALICE_PRESSES: &str = "123#";
/// What bob presses.
pub(crate) const BOB_PRESSES: &str = "*0";

/// Who takes part.
pub(crate) struct Cast {
    pub(crate) alice: Phone,
    pub(crate) bob: Phone,
}

/// What happened, for the checks.
pub(crate) struct Story {
    /// Granted registrations in seconds.
    pub(crate) granted: [u64; 2],
    /// Provisional statuses that alice saw.
    pub(crate) progress: Vec<u16>,
    /// What each said before the hold: alice, bob.
    pub(crate) speech: [Vec<i16>; 2],
    /// What bob said while he was held.
    pub(crate) held_speech: Vec<i16>,
    /// What each said after it.
    pub(crate) later_speech: [Vec<i16>; 2],
    /// Digits that each heard: alice, bob.
    pub(crate) digits: [String; 2],
    /// Whether bob knew that he was held, and later that he was not.
    pub(crate) bob_held: [bool; 2],
    /// When bob was held and nothing of him should be under way.
    pub(crate) held_between: [SystemTime; 2],
    /// The end as each saw it: alice, bob.
    pub(crate) summaries: [Summary; 2],
    /// From the first REGISTER to the end.
    pub(crate) took: Duration,
}

/// A phone of the demonstration.
pub(crate) async fn phone(name: &str, password: &str, proxy: &str, watch: &Watch) -> Result<Phone, Failure> {
    Phone::builder(&format!("sip:{name}@{}", super::DOMAIN))
        .display_name(name)
        .password(password)
        .proxy(proxy)
        .expires(EXPIRES)
        .listen("udp:127.0.0.1:0")
        .tap(watch.tap())
        .media_tap(watch.media_tap())
        .rtcp_interval(RTCP_INTERVAL)
        .bind()
        .await
        .map_err(Failure::fault)
}

/// Plays the whole story.
pub(crate) async fn play(cast: &Cast, recordings: &[PathBuf; 2]) -> Result<Story, Failure> {
    let began = Instant::now();
    let Cast { alice, bob } = cast;
    let granted = step("registering", async {
        let (alice, bob) = tokio::try_join!(alice.register(), bob.register()).map_err(Failure::fault)?;
        Ok([alice.as_secs(), bob.as_secs()])
    })
    .await?;

    let ((at_alice, progress), at_bob) =
        step("calling", async { tokio::try_join!(dial(alice), pick_up(bob)) }).await?;
    at_alice.audio().record(&recordings[0]);
    at_bob.audio().record(&recordings[1]);

    let speech = [say(SPEECH, 1), say(SPEECH, 2)];
    step("talking", talk(&at_alice, &at_bob, &speech)).await?;
    let digits = step("pressing digits", press(&at_alice, &at_bob)).await?;

    let held_speech = say(HELD_SPEECH, 3);
    let (bob_knew, held_between) = step("holding", hold(&at_alice, &at_bob, &held_speech)).await?;
    step("resuming", async { at_alice.resume().await.map_err(Failure::fault) }).await?;
    let bob_held = [bob_knew, at_bob.is_held_by_peer()];
    let later_speech = [say(LATER_SPEECH, 4), say(LATER_SPEECH, 5)];
    step("talking again", talk(&at_alice, &at_bob, &later_speech)).await?;
    sleep(SETTLE).await;

    let summaries =
        step("hanging up", async { Ok(tokio::join!(at_alice.hang_up(), at_bob.ended())) }).await?;
    step("unregistering", async {
        tokio::join!(alice.unregister(), bob.unregister());
        Ok(())
    })
    .await?;
    Ok(Story {
        granted,
        progress,
        speech,
        held_speech,
        later_speech,
        digits,
        bob_held,
        held_between,
        summaries: summaries.into(),
        took: began.elapsed(),
    })
}

async fn step<T>(name: &str, deed: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match timeout(STEP, deed).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(failure)) => Err(Failure::fault(format_args!("{name} failed: {failure}"))),
        Err(_) => Err(Failure::fault(format_args!("{name} took longer than {} s", STEP.as_secs()))),
    }
}

async fn dial(alice: &Phone) -> Result<(Call, Vec<u16>), Failure> {
    let mut ringing = alice.call(&format!("sip:bob@{}", super::DOMAIN)).await.map_err(Failure::fault)?;
    let mut statuses = Vec::new();
    while let Some(progress) = ringing.progress().await {
        statuses.push(progress.status().code());
    }
    Ok((ringing.answered().await.map_err(Failure::fault)?, statuses))
}

async fn pick_up(bob: &Phone) -> Result<Call, Failure> {
    let incoming = bob.incoming().await.ok_or_else(|| Failure::fault("bob's phone is closed"))?;
    incoming.ring().map_err(Failure::fault)?;
    sleep(RINGING).await;
    incoming.answer().await.map_err(Failure::fault)
}

fn say(length: Duration, seed: u64) -> Vec<i16> {
    let samples = length.as_millis().saturating_mul(u128::from(SAMPLE_RATE)) / 1000;
    speech_like(usize::try_from(samples).unwrap_or_default(), seed)
}

/// Both talk at once.
async fn talk(alice: &Call, bob: &Call, speech: &[Vec<i16>; 2]) -> Result<(), Failure> {
    let [of_alice, of_bob] = speech.clone();
    let (alice, bob) = (alice.audio(), bob.audio());
    tokio::try_join!(alice.play_samples(of_alice), bob.play_samples(of_bob)).map_err(Failure::fault)?;
    Ok(())
}

/// Both press, and hear what the other pressed.
async fn press(alice: &Call, bob: &Call) -> Result<[String; 2], Failure> {
    let (alice, bob) = (alice.audio(), bob.audio());
    let hear = |audio: sip_ua::Audio, count: usize| async move {
        let mut heard = String::new();
        while heard.len() < count {
            // What does not come is told by the check of what came.
            match timeout(STEP / 2, audio.next_digit()).await {
                Ok(Some(digit)) => heard.push(digit),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(heard)
    };
    let send = |audio: sip_ua::Audio, digits: &'static str| async move {
        audio.send_digits(digits).await.map_err(Failure::fault)
    };
    let ((), (), at_alice, at_bob) = tokio::try_join!(
        send(alice.clone(), ALICE_PRESSES),
        send(bob.clone(), BOB_PRESSES),
        hear(alice.clone(), BOB_PRESSES.len()),
        hear(bob.clone(), ALICE_PRESSES.len()),
    )?;
    Ok([at_alice, at_bob])
}

/// Alice puts bob on hold, and bob talks all the same.
async fn hold(alice: &Call, bob: &Call, speech: &[i16]) -> Result<(bool, [SystemTime; 2]), Failure> {
    alice.hold().await.map_err(Failure::fault)?;
    let bob_knew = bob.is_held_by_peer();
    sleep(SETTLE).await;
    let from = SystemTime::now();
    let audio = bob.audio();
    audio.play_samples(speech.to_vec()).await.map_err(Failure::fault)?;
    audio.stop_playing();
    Ok((bob_knew, [from, SystemTime::now()]))
}
