//! The media of calls between phones: codecs and SRTP as they were agreed on, heard by what they carry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtp::audio::resample::resample;
use rtp::audio::tone::{Tone, detect_tone, power};
use rtp::packet::Packet;
use sip_ua::{
    AudioLevel, AudioLevels, Call, CallError, Codec, CryptoSuite, MediaPacket, MediaTap, Phone, PhoneBuilder,
    Srtp,
};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, set: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> Phone {
    set(Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0")).bind().await.unwrap()
}

fn at(phone: &Phone, user: &str) -> String {
    phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string()
}

/// Alice calls Bob, who answers.
async fn connect(alice: &Phone, bob: &Phone) -> Result<(Call, Call), CallError> {
    let to = at(bob, "bob");
    let callee = async {
        match bob.incoming().await {
            Some(incoming) => incoming.answer().await.ok(),
            None => None,
        }
    };
    let caller = async { alice.call(&to).await?.answered().await };
    tokio::select! {
        both = async { tokio::join!(caller, callee) } => {
            let (call, called) = both;
            call.map(|call| (call, called.unwrap()))
        }
        () = tokio::time::sleep(PATIENCE) => panic!("the call takes too long"),
    }
}

/// What the other one says is this tone: some of it, whatever came before.
async fn hears(listener: &Call, talker: &Call, hertz: f64) {
    let rate = talker.audio().sample_rate();
    let tone: Vec<i16> = Tone::sine(hertz).samples().take(8000 * 30).collect();
    let tone = resample(&tone, 8000, rate).unwrap();
    let audio = talker.audio();
    let playing = async {
        let _ = audio.play_samples(tone).await;
        panic!("the tone ends before it is heard");
    };
    let listening = async {
        listener.audio().start_recording();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let rate = listener.audio().sample_rate();
            let recorded = listener.audio().stop_recording();
            listener.audio().start_recording();
            if recorded.len() < 800 {
                continue;
            }
            let recorded = resample(&recorded, rate, 8000).unwrap();
            // Three blocks of it, so that one is whole wherever else it is recorded and cut into blocks.
            let loud = recorded.chunks_exact(400).filter(|block| power(block) > 32.0 * 32.0).count();
            if loud >= 3 && detect_tone(&recorded, hertz) > 0.9 {
                return;
            }
        }
    };
    within("hearing a tone", async {
        tokio::select! { () = listening => {}, () = playing => {} }
    })
    .await;
    talker.audio().stop_playing();
    listener.audio().stop_recording();
}

async fn talk(call: &Call, called: &Call) {
    hears(called, call, 440.0).await;
    hears(call, called, 620.0).await;
}

#[tokio::test]
async fn rfc4568_and_8643_who_can_protects_and_who_must_does_or_has_no_call() {
    use Srtp::{Off, Optional, Required};
    for (ours, theirs, expected) in [
        (Optional, Optional, Some(true)),
        (Required, Required, Some(true)),
        (Optional, Required, Some(true)),
        (Required, Optional, Some(true)),
        (Optional, Off, Some(false)),
        (Off, Optional, Some(false)),
        (Required, Off, None),
        (Off, Required, None),
    ] {
        let alice = phone("alice", |builder| builder.srtp(ours)).await;
        let bob = phone("bob", |builder| builder.srtp(theirs)).await;
        if let Some(protected) = expected {
            let (call, called) = connect(&alice, &bob).await.unwrap();
            for one in [&call, &called] {
                assert_eq!(one.audio().crypto_suite().is_some(), protected, "{ours:?} {theirs:?}");
            }
            talk(&call, &called).await;
            call.hang_up().await;
        } else {
            let refused = connect(&alice, &bob).await.err();
            assert!(format!("{refused:?}").contains("488"), "{ours:?} {theirs:?}: {refused:?}");
        }
        alice.close().await;
        bob.close().await;
    }
}

#[tokio::test]
async fn rfc6188_calls_with_192_and_256_bits() {
    for suite in [CryptoSuite::AesCm192HmacSha1_80, CryptoSuite::AesCm256HmacSha1_32] {
        let set = |builder: PhoneBuilder| builder.srtp(Srtp::Required).srtp_suites(&[suite]);
        let (alice, bob) = (phone("alice", set).await, phone("bob", set).await);
        let (call, called) = connect(&alice, &bob).await.unwrap();
        assert_eq!((call.audio().crypto_suite(), called.audio().crypto_suite()), (Some(suite), Some(suite)));
        talk(&call, &called).await;
        call.hang_up().await;
        alice.close().await;
        bob.close().await;
    }
}

/// What goes over the wire is not what is said: the payloads of silence in G.711 are all alike, those of SRTP never.
#[tokio::test]
async fn rfc3711_packets_on_the_wire_are_protected() {
    for srtp in [Srtp::Off, Srtp::Required] {
        let payloads = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let seen = Arc::clone(&payloads);
        let tap = Arc::new(move |packet: &MediaPacket<'_>| {
            let Ok(parsed) = Packet::parse(packet.payload) else { return };
            if !packet.inbound && parsed.header.payload_type < 64 {
                seen.lock().unwrap().push(parsed.payload.to_vec());
            }
        });
        let alice = phone("alice", |builder| builder.srtp(srtp).media_tap(tap)).await;
        let bob = phone("bob", |builder| builder.srtp(srtp)).await;
        let (call, called) = connect(&alice, &bob).await.unwrap();
        within("twenty packets", async {
            while payloads.lock().unwrap().len() < 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let mut payloads = payloads.lock().unwrap().clone();
        payloads.sort();
        payloads.dedup();
        assert_eq!(payloads.len() > 1, srtp == Srtp::Required, "{srtp:?}");
        drop((call, called));
        alice.close().await;
        bob.close().await;
    }
}

/// Notes what goes out beside the sound: the element of each packet, as everybody on the way sees it.
fn noting(elements: &Arc<Mutex<Vec<u8>>>) -> MediaTap {
    let seen = Arc::clone(elements);
    Arc::new(move |packet: &MediaPacket<'_>| {
        let Ok(parsed) = Packet::parse(packet.payload) else { return };
        if !packet.inbound && parsed.header.payload_type < 64 {
            let found = rtp::extension::Elements::of(&parsed).map(|(_, data)| data[0]).next();
            seen.lock().unwrap().push(found.unwrap_or(NO_LEVEL));
        }
    })
}

/// That of no sound that these calls have.
const NO_LEVEL: u8 = 0;
/// RFC 6464 §3: digital silence, which is no voice.
const SILENCE: u8 = 127;

#[tokio::test]
async fn rfc6464_rfc6904_levels_go_encrypted_where_they_can_or_must() {
    use AudioLevels::{EncryptedIfPossible, EncryptedOnly, Off};
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Seen {
        Nothing,
        Levels,
        Noise,
    }
    for (srtp, ours, theirs, expected) in [
        (Srtp::Required, EncryptedIfPossible, EncryptedIfPossible, Seen::Noise),
        (Srtp::Required, EncryptedOnly, EncryptedIfPossible, Seen::Noise),
        (Srtp::Optional, EncryptedIfPossible, EncryptedOnly, Seen::Noise),
        (Srtp::Required, EncryptedIfPossible, Off, Seen::Nothing),
        (Srtp::Off, EncryptedIfPossible, EncryptedIfPossible, Seen::Levels),
        (Srtp::Off, EncryptedOnly, EncryptedIfPossible, Seen::Nothing),
        (Srtp::Off, Off, EncryptedIfPossible, Seen::Nothing),
    ] {
        let elements = Arc::new(Mutex::new(Vec::new()));
        let tap = noting(&elements);
        let set = |levels| move |builder: PhoneBuilder| builder.srtp(srtp).audio_levels(levels);
        let alice = phone("alice", |builder| set(ours)(builder).media_tap(tap)).await;
        let bob = phone("bob", set(theirs)).await;
        let (call, called) = connect(&alice, &bob).await.unwrap();
        within("twenty packets", async {
            let told = || expected == Seen::Nothing || called.audio().heard_level().is_some();
            while elements.lock().unwrap().len() < 20 || !told() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let case = format!("{srtp:?} {ours:?} {theirs:?}");
        let elements = elements.lock().unwrap().clone();
        let seen = match elements.iter().filter(|octet| **octet == SILENCE).count() {
            0 if elements.iter().all(|octet| *octet == NO_LEVEL) => Seen::Nothing,
            all if all == elements.len() => Seen::Levels,
            // One octet in 256 is as it was by chance.
            _ => Seen::Noise,
        };
        assert_eq!(seen, expected, "{case}: {elements:?}");
        let silence = AudioLevel { voice: false, below_overload: SILENCE };
        let heard = Some(silence).filter(|_| expected != Seen::Nothing);
        assert_eq!(called.audio().heard_level(), heard, "{case}");
        if expected == Seen::Noise {
            // Hold and resume change no identifier, and no key: the contexts go on.
            within("hold", call.hold()).await.unwrap();
            within("resume", call.resume()).await.unwrap();
            hears(&called, &call, 440.0).await;
            assert_eq!(called.audio().statistics().session.discarded.unauthentic, 0, "{case}");
        }
        call.hang_up().await;
        alice.close().await;
        bob.close().await;
    }
}

/// RFC 4568 §7.1.4: at another address with other keys, and the call goes on; hold keeps them.
#[tokio::test]
async fn a_protected_call_goes_on_after_hold_and_in_another_network() {
    let alice = phone("alice", |builder| builder.srtp(Srtp::Required)).await;
    let bob = phone("bob", |builder| builder.srtp(Srtp::Required)).await;
    let (call, called) = connect(&alice, &bob).await.unwrap();
    talk(&call, &called).await;
    within("hold", call.hold()).await.unwrap();
    within("resume", call.resume()).await.unwrap();
    talk(&call, &called).await;
    alice.move_to(&["udp:127.0.0.2:0"]).unwrap();
    talk(&call, &called).await;
    let discarded = called.audio().statistics().session.discarded.unauthentic;
    assert!(discarded < 50, "{discarded} packets were of no key");
    call.hang_up().await;
    alice.close().await;
    bob.close().await;
}

async fn speaks(ours: &[Codec], theirs: &[Codec], expected: Codec) {
    let alice = phone("alice", |builder| builder.codecs(ours).sample_rate(16_000)).await;
    let bob = phone("bob", |builder| builder.codecs(theirs)).await;
    let (call, called) = connect(&alice, &bob).await.unwrap();
    assert_eq!((call.audio().codec(), called.audio().codec()), (Some(expected), Some(expected)));
    talk(&call, &called).await;
    let (here, there) = (call.audio(), called.audio());
    let (pressed, heard) =
        within("a digit", async { tokio::join!(here.send_digits("7"), there.next_digit()) }).await;
    pressed.unwrap();
    assert_eq!(heard, Some('7'), "{expected:?}");
    call.hang_up().await;
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn rfc3264_6_1_the_first_codec_of_the_offer_that_both_have_is_spoken() {
    speaks(&[Codec::G722, Codec::PCMA], &[Codec::PCMU, Codec::PCMA, Codec::G722], Codec::G722).await;
    speaks(&[Codec::G722, Codec::PCMA], &[Codec::PCMU, Codec::PCMA], Codec::PCMA).await;
    let l16 = Codec::L16 { sample_rate: 16_000, channels: 1 };
    speaks(&[l16], &[l16, Codec::PCMU], l16).await;
}

#[cfg(feature = "opus")]
#[tokio::test]
async fn rfc7587_opus_is_spoken_with_digits_at_its_clock() {
    speaks(&[Codec::Opus, Codec::PCMU], &[Codec::G722, Codec::Opus], Codec::Opus).await;
}

/// Each side is on its channel, and only there.
#[tokio::test]
async fn both_sides_of_a_call_are_recorded_in_one_file() {
    let folder = std::env::temp_dir().join(format!("sip-ua-both-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("call.wav");
    let alice = phone("alice", |builder| builder.sample_rate(16_000)).await;
    let bob = phone("bob", |builder| builder).await;
    let (call, called) = connect(&alice, &bob).await.unwrap();
    call.audio().record_both(&path).unwrap();
    talk(&call, &called).await;
    call.hang_up().await;
    let channels = rtp::audio::wav::read_channels_at(&path, 8000).unwrap();
    assert_eq!(channels.len(), 2);
    // How much of each tone there is depends on how fast the other one heard it; that it is there does not.
    for (channel, hertz, others) in [(&channels[0], 440.0, 620.0), (&channels[1], 620.0, 440.0)] {
        let (own, other) = (detect_tone(channel, hertz), detect_tone(channel, others));
        assert!(own > 0.0 && other == 0.0, "{hertz}: {own}, {others}: {other} of {} samples", channel.len());
    }
    alice.close().await;
    bob.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}
