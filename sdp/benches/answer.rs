//! What an answer costs: read an offer, negotiate, print the answer; beside `sdp_types` reading the same offer and no more.
//!
//! `cargo bench -p sdp` measures time. To count instructions, run the built benchmark under
//! `valgrind --tool=callgrind --toggle-collect='answer::counted'` with `COUNT=phone`, `browser`, or `phone-parse`,
//! `browser-parse` for the comparison, in the environment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::hint::black_box;

use criterion::Criterion;
use sdp::sdp_types::{Attribute, Session};
use sdp::{Codec, LocalMedia, LocalStream, OfferAnswer, RtcpMux, SessionDescription};

const PHONE: &str = include_str!("offers/phone.sdp");
const BROWSER: &str = include_str!("offers/browser.sdp");

fn phone() -> LocalMedia {
    LocalMedia::audio("192.0.2.1:49170".parse().unwrap())
}

fn browser() -> LocalMedia {
    let dtls = || {
        [
            Attribute::with_value("fingerprint", "sha-256 AA:BB:CC:DD"),
            Attribute::with_value("setup", "actpass"),
            Attribute::with_value("ice-ufrag", "abcd"),
            Attribute::with_value("ice-pwd", "0123456789012345678901"),
        ]
    };
    let address = "192.0.2.1:49170".parse().unwrap();
    let events = [Codec::telephone_event(48000), Codec::telephone_event(8000)];
    let audio =
        LocalStream::audio(address).with_codecs([Codec::opus(), Codec::pcmu()].into_iter().chain(events));
    let video = LocalStream::video(address, [Codec::vp8(), Codec::h264("42e01f", 1)]);
    let video = video.with_feedback(["nack", "nack pli", "ccm fir"]);
    let streams = [audio, video].map(|stream| stream.with_rtcp_mux(RtcpMux::Negotiate).with_dtls(dtls()));
    LocalMedia::new(streams).with_bundle()
}

fn answer(offer: &str, local: &LocalMedia) -> Vec<u8> {
    let mut machine = OfferAnswer::new(local.clone(), 1).unwrap();
    let offer = SessionDescription::parse(offer.as_bytes()).unwrap();
    machine.receive_offer(&offer).unwrap().to_bytes()
}

/// One run, found by its name in a profile.
#[inline(never)]
fn counted(what: &str, offer: &str, local: &LocalMedia) {
    match what {
        "parse" => drop(black_box(Session::parse(black_box(offer).as_bytes()).unwrap())),
        "own-parse" => drop(black_box(SessionDescription::parse(black_box(offer).as_bytes()).unwrap())),
        _ => drop(black_box(answer(black_box(offer), local))),
    }
}

fn main() {
    let cases = [("phone", PHONE.to_owned(), phone()), ("browser", BROWSER.to_owned(), browser())];
    if let Ok(which) = std::env::var("COUNT") {
        let (name, what) = which.split_once('-').unwrap_or((&which, "answer"));
        let (_, offer, local) = cases.iter().find(|(known, ..)| *known == name).expect("phone or browser");
        // Another offer to count with, from elsewhere.
        let other = std::env::var_os("OFFER").map(|path| std::fs::read_to_string(path).unwrap());
        let offer = other.as_deref().unwrap_or(offer);
        // What is made once is made before.
        answer(offer, local);
        counted(what, offer, local);
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, offer, local) in &cases {
        let mut group = criterion.benchmark_group(*name);
        group.bench_function("answer", |b| b.iter(|| answer(black_box(offer), local)));
        group.bench_function("parse", |b| b.iter(|| SessionDescription::parse(black_box(offer).as_bytes())));
        group.bench_function("sdp-types parse", |b| b.iter(|| Session::parse(black_box(offer).as_bytes())));
        group.finish();
    }
    criterion.final_summary();
}
