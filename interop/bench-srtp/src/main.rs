//! One RTP packet of 172 octets protected and unprotected, by this stack and by `webrtc-srtp` and `rtc-srtp`; `compare.sh` runs
//! libsrtp2 beside them. Each figure is the best of several rounds, in nanoseconds for a packet.

use std::hint::black_box;
use std::time::Instant;

/// A batch stays in the processor's caches, as packets that have just come do.
const BATCH: u32 = 500;
const BATCHES: u32 = 60;
const ROUNDS: u32 = 9;

/// The packet with its number: twelve octets of header and 160 of sound, in memory with room for a tag.
fn packet(number: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    packet.extend([0x80, 0]);
    packet.extend((number as u16).to_be_bytes());
    packet.extend((number * 160).to_be_bytes());
    packet.extend(7u32.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

/// The best round of each way. A fresh pair of contexts for every round: numbers start over.
fn measure<S, R>(
    sides: impl Fn() -> (S, R),
    mut protect: impl FnMut(&mut S, Vec<u8>) -> Vec<u8>,
    mut unprotect: impl FnMut(&mut R, Vec<u8>) -> Vec<u8>,
) -> [f64; 2] {
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        let (mut sender, mut receiver) = sides();
        let mut took = [0.0; 2];
        for batch in 0..BATCHES {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            let plain: Vec<_> = numbers.clone().map(packet).collect();
            let mut protected = Vec::with_capacity(plain.len());
            let start = Instant::now();
            for packet in plain {
                protected.push(protect(&mut sender, packet));
            }
            took[0] += start.elapsed().as_nanos() as f64;
            let mut back = Vec::with_capacity(protected.len());
            let start = Instant::now();
            for packet in protected {
                back.push(black_box(unprotect(&mut receiver, packet)));
            }
            took[1] += start.elapsed().as_nanos() as f64;
            assert!(back.iter().zip(numbers).all(|(got, number)| *got == packet(number)), "packets come back as they were");
        }
        for (best, took) in best.iter_mut().zip(took) {
            *best = best.min(took / f64::from(BATCH * BATCHES));
        }
    }
    best
}

fn report(library: &str, suite: &str, [protect, unprotect]: [f64; 2]) {
    println!("{library:<12} {suite:<24} {protect:>8.0} {unprotect:>8.0}");
}

fn ours(profile: rtp::srtp::Profile) -> [f64; 2] {
    use rtp::srtp::{MasterKey, Receiver, Sender};
    let octets: Vec<u8> = (0..profile.key_length() + profile.salt_length()).map(|octet| octet as u8).collect();
    let sides = || {
        let key = MasterKey::from_key_and_salt(profile, &octets).expect("a key");
        (Sender::new(profile, &key).expect("a sender"), Receiver::new(profile, &key).expect("a receiver"))
    };
    measure(
        sides,
        |sender, mut packet| {
            sender.protect_rtp(&mut packet).expect("protected");
            packet
        },
        |receiver, mut packet| {
            receiver.unprotect_rtp(&mut packet).expect("authentic");
            packet
        },
    )
}

/// Both libraries have nearly the same interface, the one being made of the other; one is told whose ciphers to take.
macro_rules! peer {
    ($library:ident, $profile:ident $(, $crypto:expr)?) => {{
        use $library::context::Context;
        use $library::protection_profile::ProtectionProfile;
        let profile = ProtectionProfile::$profile;
        let key: Vec<u8> = (0..profile.key_len()).map(|octet| octet as u8).collect();
        let salt: Vec<u8> = (0..profile.salt_len()).map(|octet| (octet + profile.key_len()) as u8).collect();
        let context = || Context::new(&key, &salt, profile, None, None $(, $crypto)?).expect("a context");
        measure(
            || (context(), context()),
            |sender, packet| sender.encrypt_rtp(&packet).expect("protected").to_vec(),
            |receiver, packet| receiver.decrypt_rtp(&packet).expect("authentic").to_vec(),
        )
    }};
}

fn main() {
    println!("{:<12} {:<24} {:>8} {:>8}", "library", "suite", "protect", "unprotect");
    let (counter_mode, gcm) = ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM");
    report("ours", counter_mode, ours(rtp::srtp::Profile::AesCm128HmacSha1Tag80));
    report("ours", gcm, ours(rtp::srtp::Profile::AeadAes128Gcm));
    let (ring, aws) = (rtc_crypto::providers::RingCrypto, rtc_crypto::providers::AwsLcRsCrypto);
    report("rtc (ring)", counter_mode, peer!(rtc_srtp, Aes128CmHmacSha1_80, &ring));
    report("rtc (ring)", gcm, peer!(rtc_srtp, AeadAes128Gcm, &ring));
    report("rtc (aws-lc)", counter_mode, peer!(rtc_srtp, Aes128CmHmacSha1_80, &aws));
    report("rtc (aws-lc)", gcm, peer!(rtc_srtp, AeadAes128Gcm, &aws));
    report("webrtc-srtp", counter_mode, peer!(webrtc_srtp, Aes128CmHmacSha1_80));
    report("webrtc-srtp", gcm, peer!(webrtc_srtp, AeadAes128Gcm));
}
