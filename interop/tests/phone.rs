//! `sip phone` and `sip call` against SIPp.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use interop::{Call, Dir, Phone, Sipp, assert_sounds_like, pcap_alaw, turn};

/// Where Debian's sip-tester keeps the captures that `uac_pcap` plays.
const CAPTURES: &str = "/usr/share/sip-tester";

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn a_hundred_calls_at_twenty_a_second_to_a_phone_that_answers() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("hundred-calls");
    let mut phone = Phone::start(&dir, "phone", ["--answer"]);
    Sipp::builtin("uac", Some(phone.udp))
        .service("bob")
        .calls(100, 20, 60)
        .with(["-d", "1000"])
        .run(&dir, "sipp");
    assert!(phone.process.is_running(), "the phone is there for more");
    assert_eq!(phone.process.interrupt(), 0);
}

#[test]
fn speech_and_a_digit_of_a_capture_arrive_as_they_were_sent() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uac-pcap");
    std::os::unix::fs::symlink(CAPTURES, dir.file("pcap")).unwrap();
    let recording = dir.file("heard.wav");
    let mut phone = Phone::start(&dir, "phone", ["--answer", "--record", recording.to_str().unwrap()]);
    Sipp::builtin("uac_pcap", Some(phone.udp)).service("bob").calls(1, 1, 60).run(&dir, "sipp");
    phone.process.wait_for("digit 1");
    assert_eq!(phone.process.interrupt(), 0);
    let sent = pcap_alaw(format!("{CAPTURES}/g711a.pcap").as_ref());
    assert_sounds_like(&recording, &sent, 0.9);
}

#[test]
fn a_call_to_somebody_who_answers_at_once_and_echoes() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uas");
    let sipp = Sipp::builtin("uas", None).with(["-rtp_echo"]).calls(1, 10, 60);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let (played, heard) = (dir.file("played.wav"), dir.file("heard.wav"));
    interop::write_tone(&played, 700.0, 3.0);
    let arguments = ["--play", played.to_str().unwrap(), "--record", heard.to_str().unwrap()];
    let call = Call::run(&dir, &format!("sip:bob@{to}"), arguments);
    assert_eq!((call.code, call.value("/result").as_str()), (0, Some("ended")), "{}", call.json);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(20));
    interop::assert_holds_tone(&heard, 700.0, 2.0);
}

#[test]
fn a_call_that_rings_for_a_while() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("rings");
    let sipp = Sipp::scenario("uas-rings-then-answers", None).with(["-rtp_echo"]).calls(1, 10, 60);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--for", "2"]);
    assert_eq!(call.code, 0, "{}", call.json);
    let (rang, answered) = (call.value("/ringing_after_seconds"), call.value("/answered_after_seconds"));
    let (rang, answered) = (rang.as_f64().unwrap(), answered.as_f64().unwrap());
    assert!(answered >= rang + 1.4, "rang at {rang}, answered at {answered}");
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(20));
}

#[test]
fn a_call_to_somebody_who_is_busy() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("busy");
    let sipp = Sipp::scenario("uas-busy", None).calls(1, 10, 60);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--for", "2"]);
    assert_eq!((call.code, call.value("/status").as_u64()), (2, Some(486)), "{}", call.json);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(20));
}

/// RFC 3261 §9.1: the CANCEL, the 487, its ACK; SIPp counts the call as failed if one of them is missing.
#[test]
fn a_call_that_nobody_answers_is_cancelled() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("never-answers");
    let sipp = Sipp::scenario("uas-never-answers", None).calls(1, 10, 60);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--ring", "2"]);
    assert_eq!((call.code, call.value("/result").as_str()), (3, Some("no answer")), "{}", call.json);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(20));
}
