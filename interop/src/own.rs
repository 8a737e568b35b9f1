//! A phone of ours in the test's own process, for what the program `sip` cannot show: who describes what when, and
//! what is heard at each moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rtp::audio::tone::{Tone, detect_tone};
use sip_transport::Path;
use sip_transport::tokio::tls::{Identity, Roots, Tls, TlsOptions};
use sip_ua::{Audio, Call, Phone, PhoneBuilder};

use crate::certificates::Certificates;
use crate::process::PATIENCE;

/// How long is listened to before it is said what is heard.
const LISTENING: Duration = Duration::from_millis(500);

/// Samples that have to be heard in that time: a machine under load is late, not deaf.
const LEAST: usize = 2400;

/// The loudest sample of what counts as silence: A-law and µ-law have no exact zero everywhere.
const SILENCE: u16 = 64;

/// A phone of ours, and the messages that it sent and received.
#[derive(Debug)]
pub struct Own {
    /// The phone.
    pub phone: Phone,
    /// Where it is called: `sip:alice@127.0.0.1:PORT`.
    pub uri: String,
    passed: Arc<Mutex<Vec<(bool, Bytes)>>>,
}

impl Own {
    /// A phone that listens on a free UDP port.
    pub async fn start(user: &str) -> Self {
        Self::with(user, Phone::builder(&format!("sip:{user}@127.0.0.1")).listen("udp:127.0.0.1:0")).await
    }

    /// The same over TLS, believing the authority of the test.
    pub async fn start_with_tls(user: &str, certificates: &Certificates) -> Self {
        let own =
            Identity::from_pem_files(&certificates.certificate, &certificates.key).expect("a certificate");
        let roots = Roots::from_pem_file(&certificates.ca).expect("an authority");
        let tls = Tls::new(TlsOptions::new().identity(own).roots(roots)).expect("a TLS configuration");
        let phone = Phone::builder(&format!("sip:{user}@127.0.0.1")).listen("tls:127.0.0.1:0").tls(tls);
        Self::with(user, phone).await
    }

    /// A phone that was set up by the test.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn with(user: &str, phone: PhoneBuilder) -> Self {
        let passed = Arc::<Mutex<Vec<(bool, Bytes)>>>::default();
        let seen = Arc::clone(&passed);
        let tap = move |_, inbound: bool, _: &Path, octets: &Bytes| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // What is repeated over UDP is the same to the octet.
            if !seen.iter().any(|(_, earlier)| earlier == octets) {
                seen.push((inbound, octets.clone()));
            }
        };
        let phone = phone.tap(Box::new(tap)).bind().await.expect("a phone");
        let uri = phone.locals().iter().next().and_then(|local| local.uri(Some(user)).ok());
        Self { uri: uri.expect("a listener").to_string(), phone, passed }
    }

    /// Every message so far, each once: whether it was received, and its text.
    pub fn messages(&self) -> Vec<(bool, String)> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed
            .iter()
            .map(|(inbound, octets)| (*inbound, String::from_utf8_lossy(octets).into_owned()))
            .collect()
    }

    /// The texts of the messages received that begin so: `INVITE`, `SIP/2.0 200`.
    pub fn received(&self, start: &str) -> Vec<String> {
        let all = self.messages().into_iter();
        all.filter(|(inbound, text)| *inbound && text.starts_with(start)).map(|(_, text)| text).collect()
    }

    /// The texts of the messages sent that begin so.
    pub fn sent(&self, start: &str) -> Vec<String> {
        let all = self.messages().into_iter();
        all.filter(|(inbound, text)| !*inbound && text.starts_with(start)).map(|(_, text)| text).collect()
    }

    /// Waits until a message is sent that begins so, and gives the last.
    ///
    /// # Panics
    /// If none is in time.
    pub async fn has_sent(&self, start: &str) -> String {
        let sent = async {
            loop {
                if let Some(text) = self.sent(start).pop() {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(start, sent).await
    }

    /// The session descriptions that passed, in order: `sent INVITE sendrecv`, `received 200 sendonly`.
    pub fn described(&self) -> Vec<String> {
        self.messages().iter().filter_map(|(inbound, text)| description(*inbound, text)).collect()
    }
}

fn description(inbound: bool, text: &str) -> Option<String> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    body.starts_with("v=0").then_some(())?;
    let mut words = head.split(' ');
    let first = words.next()?;
    let what = if first == "SIP/2.0" { words.next()? } else { first };
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let attribute =
        |line: &str| line.strip_prefix("a=").and_then(|rest| directions.into_iter().find(|d| *d == rest));
    let direction = body.lines().rev().find_map(attribute).unwrap_or("sendrecv");
    Some(format!("{} {what} {direction}", if inbound { "received" } else { "sent" }))
}

/// What a future gives, if it does in time.
///
/// # Panics
/// If it does not.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}

/// Waits until a tone is heard, and nothing else for half a second.
///
/// # Panics
/// If it is not in time.
pub async fn hear(audio: &Audio, hertz: f64) {
    listen(audio, &format!("{hertz} Hz"), |heard| is_loud(heard) && detect_tone(heard, hertz) > 0.9).await;
}

/// Waits until nothing is heard for half a second, and listens for another one.
///
/// # Panics
/// If something is heard.
pub async fn hear_nothing(audio: &Audio) {
    listen(audio, "silence", |heard| !is_loud(heard)).await;
    let heard = moment(audio).await;
    assert!(!is_loud(&heard), "something is heard again: {:?}", rtp::audio::tone::dominant_frequency(&heard));
}

fn is_loud(heard: &[i16]) -> bool {
    heard.iter().any(|sample| sample.unsigned_abs() > SILENCE)
}

async fn moment(audio: &Audio) -> Vec<i16> {
    audio.start_recording();
    tokio::time::sleep(LISTENING).await;
    audio.stop_recording()
}

async fn listen(audio: &Audio, what: &str, is_it: impl Fn(&[i16]) -> bool) {
    let mut last = Vec::new();
    let heard = async {
        loop {
            last = moment(audio).await;
            if last.len() >= LEAST && is_it(&last) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, heard).await.is_err() {
        panic!(
            "no {what}: the last was {} samples of {:?}",
            last.len(),
            rtp::audio::tone::dominant_frequency(&last)
        );
    }
}

/// What passes when we hold the peer and take it back, and then the peer does the same with us (RFC 3264 §8.4).
pub const HELD_AND_BACK: [&str; 8] = [
    "sent INVITE sendonly",
    "received 200 recvonly",
    "sent INVITE sendrecv",
    "received 200 sendrecv",
    "received INVITE sendonly",
    "sent 200 recvonly",
    "received INVITE sendrecv",
    "sent 200 sendrecv",
];

/// Puts the peer on hold, which silences its tone, and takes it back (RFC 3264 §8.4: we may still send, the peer may not).
///
/// # Panics
/// If it refuses, or its tone does not stop and return.
pub async fn hold_and_resume(call: &Call, hertz: f64) {
    within("our hold", call.hold()).await.expect("a hold");
    hear_nothing(&call.audio()).await;
    within("our resume", call.resume()).await.expect("a resume");
    hear(&call.audio(), hertz).await;
}

/// Plays a tone to the peer for a minute, or until something else is played.
pub fn say(audio: &Audio, hertz: f64) {
    let audio = audio.clone();
    let samples: Vec<i16> = Tone::sine(hertz).samples().take(60 * 8000).collect();
    tokio::spawn(async move {
        // The end of the call ends it.
        let _ = audio.play_samples(samples).await;
    });
}
