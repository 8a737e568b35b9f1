//! The examples of RFC 4317, each taken from our side: as Bob we get Alice's text, as Alice we get Bob's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::{Codec, Direction, LocalMedia, Negotiated, OfferAnswer, RejectReason, SessionDescription};

fn ilbc() -> Codec {
    Codec::new("iLBC", 8000)
}

/// A description as the RFC prints them: `host` is the connection address.
fn text(who: &str, version: u64, host: &str, media: &[&str]) -> SessionDescription {
    let mut text = format!("v=0\no={who} 2890844526 {version} IN IP4 {host}\ns=\nc=IN IP4 {host}\nt=0 0\n");
    for line in media {
        text.push_str(line);
        text.push('\n');
    }
    text.parse().unwrap()
}

fn alice(version: u64, media: &[&str]) -> SessionDescription {
    text("alice", version, "host.atlanta.example.com", media)
}

fn bob(version: u64, media: &[&str]) -> SessionDescription {
    text("bob", version, "host.biloxi.example.com", media)
}

fn machine(codecs: impl IntoIterator<Item = Codec>) -> OfferAnswer {
    OfferAnswer::new(LocalMedia::audio("192.0.2.1:49172".parse().unwrap()).with_codecs(codecs), 7).unwrap()
}

/// Port and formats of each line.
fn lines(description: &SessionDescription) -> Vec<(u16, String)> {
    description
        .media()
        .map(|section| (section.port(), section.formats().collect::<Vec<_>>().join(" ")))
        .collect()
}

fn sends(negotiated: &Negotiated) -> Vec<u8> {
    negotiated.audio().unwrap().send.iter().map(|payload| payload.payload_type).collect()
}

const AUDIO_3: [&str; 4] =
    ["m=audio 49170 RTP/AVP 0 8 97", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:97 iLBC/8000"];
const VIDEO_2: [&str; 3] = ["m=video 51372 RTP/AVP 31 32", "a=rtpmap:31 H261/90000", "a=rtpmap:32 MPV/90000"];
const ILBC_97: [&str; 2] = ["m=audio 49170 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"];

#[test]
fn section_2_1_one_codec_of_three_and_video_which_we_reject() {
    let mut bob = machine([Codec::pcmu()]);
    let answer = bob.receive_offer(&alice(1, &[&AUDIO_3[..], &VIDEO_2].concat())).unwrap();
    assert_eq!(lines(&answer), [(49172, "0".to_owned()), (0, "31 32".to_owned())]);
    let agreed = bob.current().unwrap();
    assert_eq!(agreed.audio().unwrap().remote.to_string(), "host.atlanta.example.com:49170");
    assert_eq!(agreed.audio().unwrap().remote.socket_addr(), None, "a name is the caller's to resolve");
    assert_eq!(agreed.rejected[0].reason, RejectReason::UnsupportedMedia);
}

#[test]
fn section_2_2_the_second_offer_settles_on_one_codec_and_keeps_the_dead_line() {
    let mut bob = machine([Codec::pcmu(), Codec::pcma()]);
    let first = bob.receive_offer(&alice(2890844526, &[&AUDIO_3[..], &VIDEO_2].concat())).unwrap();
    assert_eq!(lines(&first)[0].1, "0 8");
    let second =
        bob.receive_offer(&alice(2890844527, &["m=audio 51372 RTP/AVP 0", "m=video 0 RTP/AVP 31"])).unwrap();
    assert_eq!(lines(&second), [(49172, "0".to_owned()), (0, "31".to_owned())]);
    let version = |d: &SessionDescription| d.session().origin.sess_version;
    assert_eq!(version(&second), version(&first) + 1);
    assert_eq!(bob.current().unwrap().audio().unwrap().remote.port, 51372);
    assert_eq!(bob.current().unwrap().rejected[0].reason, RejectReason::Disabled);
}

#[test]
fn section_2_3_each_direction_has_payload_types_of_its_own() {
    let mut alice = machine([Codec::pcmu(), Codec::pcma(), ilbc()]);
    assert_eq!(lines(&alice.create_offer().unwrap())[0].1, "0 8 96");
    let agreed =
        alice.receive_answer(&bob(1, &["m=audio 49172 RTP/AVP 99", "a=rtpmap:99 iLBC/8000"])).unwrap();
    let audio = agreed.audio().unwrap();
    assert_eq!(audio.codec().unwrap().payload_type, 99, "we send what Bob calls 99");
    assert_eq!(audio.receive.iter().map(|payload| payload.payload_type).collect::<Vec<_>>(), [96]);
    assert_eq!(audio.received(99), None);
}

#[test]
fn section_2_4_a_second_line_for_digits_is_one_line_too_many_for_us() {
    let mut bob = machine([ilbc(), Codec::telephone_event(8000)]);
    let offer = alice(
        1,
        &[
            "m=audio 49170 RTP/AVP 0 97",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:97 iLBC/8000",
            "m=audio 49172 RTP/AVP 98",
            "a=rtpmap:98 telephone-event/8000",
            "a=sendonly",
        ],
    );
    let answer = bob.receive_offer(&offer).unwrap();
    assert_eq!(lines(&answer), [(49172, "97".to_owned()), (0, "98".to_owned())]);
    assert_eq!(
        bob.current().unwrap().rejected[0].reason,
        RejectReason::NoCommonCodec,
        "events alone are no audio"
    );
}

#[test]
fn section_2_5_the_callee_moves_to_another_address() {
    let mut alice = machine([ilbc()]);
    alice.create_offer().unwrap();
    alice.receive_answer(&bob(1, &["m=audio 49174 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"])).unwrap();
    let before = alice.last_sent().unwrap();
    let moved =
        text("bob", 2, "newhost.biloxi.example.com", &["m=audio 49178 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"]);
    let answer = alice.receive_offer(&moved).unwrap();
    assert_eq!(
        alice.current().unwrap().audio().unwrap().remote.to_string(),
        "newhost.biloxi.example.com:49178"
    );
    // Bob calls the codec 97 where we had called it 96; the answer follows the offer (RFC 3264 §6.1).
    assert_eq!((lines(&before)[0].1.as_str(), lines(&answer)[0].1.as_str()), ("96", "97"));
}

#[test]
fn section_2_6_the_first_line_is_rejected_and_the_second_used() {
    let mut bob = machine([ilbc(), Codec::telephone_event(8000)]);
    let offer = alice(
        1,
        &[
            "m=audio 49170 RTP/AVP 0",
            "a=rtpmap:0 PCMU/8000",
            "m=audio 51372 RTP/AVP 97 101",
            "a=rtpmap:97 iLBC/8000",
            "a=rtpmap:101 telephone-event/8000",
        ],
    );
    let answer = bob.receive_offer(&offer).unwrap();
    assert_eq!(lines(&answer), [(0, "0".to_owned()), (49172, "97 101".to_owned())]);
    let agreed = bob.current().unwrap();
    assert_eq!(agreed.audio().unwrap().line, 1);
    assert_eq!(agreed.rejected[0].reason, RejectReason::NoCommonCodec);
    // An offer of ours keeps both places.
    assert_eq!(lines(&bob.create_offer().unwrap()), [(0, "0".to_owned()), (49172, "97 101".to_owned())]);
}

#[test]
fn section_3_1_the_answer_holds_and_a_second_offer_resumes() {
    let mut alice = machine([Codec::pcmu(), ilbc()]);
    alice.create_offer().unwrap();
    let held = ["m=audio 49172 RTP/AVP 97", "a=rtpmap:97 iLBC/8000", "a=sendonly"];
    let agreed = alice.receive_answer(&bob(1, &held)).unwrap();
    assert_eq!(agreed.audio().unwrap().direction, Direction::RecvOnly);
    assert!(agreed.audio().unwrap().held_by_remote);
    let answer = alice.receive_offer(&bob(2, &ILBC_97)).unwrap();
    assert_eq!(answer.media().next().unwrap().direction(), Direction::SendRecv);
    assert!(!alice.current().unwrap().audio().unwrap().held_by_remote);
}

#[test]
fn section_4_1_a_line_added_later_is_rejected_below_the_one_in_use() {
    let mut alice = machine([Codec::pcmu(), ilbc()]);
    alice.create_offer().unwrap();
    alice.receive_answer(&bob(1, &ILBC_97)).unwrap();
    let added = [
        &ILBC_97[..],
        &[
            "m=audio 48282 RTP/AVP 98",
            "c=IN IP4 mediaserver.biloxi.example.com",
            "a=rtpmap:98 telephone-event/8000",
            "a=recvonly",
        ],
    ]
    .concat();
    let answer = alice.receive_offer(&bob(2, &added)).unwrap();
    assert_eq!(lines(&answer), [(49172, "97".to_owned()), (0, "98".to_owned())]);
    assert_eq!(alice.current().unwrap().rejected[0].reason, RejectReason::NoCommonCodec);
}

#[test]
fn section_4_3_video_goes_and_its_place_stays() {
    let mut alice = machine([ilbc()]);
    let offer = bob(1, &[&ILBC_97[..], &["m=video 49170 RTP/AVP 31", "a=rtpmap:31 H261/90000"]].concat());
    alice.receive_offer(&offer).unwrap();
    let answer = alice.receive_offer(&bob(2, &[&ILBC_97[..], &["m=video 0 RTP/AVP 31"]].concat())).unwrap();
    assert_eq!(lines(&answer), [(49172, "97".to_owned()), (0, "31".to_owned())]);
}

#[test]
fn section_5_1_no_media_first_then_audio() {
    let mut bob = machine([ilbc()]);
    let first = bob.receive_offer(&alice(2890844526, &[])).unwrap();
    assert_eq!((lines(&first).len(), bob.current().unwrap().audio()), (0, None));
    let second = bob.receive_offer(&alice(2890844527, &ILBC_97)).unwrap();
    assert_eq!(lines(&second), [(49172, "97".to_owned())]);
    assert_eq!(sends(bob.current().unwrap()), [97]);
}

#[test]
fn section_5_2_the_offer_holds_with_the_address_0_0_0_0() {
    let mut bob = machine([ilbc()]);
    let held = text("alice", 1, "0.0.0.0", &["m=audio 23442 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"]);
    let answer = bob.receive_offer(&held).unwrap();
    assert_eq!(answer.media().next().unwrap().direction(), Direction::SendRecv, "RFC 6337 §5.4");
    let audio = bob.current().unwrap().audio().unwrap();
    assert!(audio.held_by_remote && !audio.may_send() && audio.may_receive());
    // Unchanged, the second answer keeps its version (as in the RFC).
    let again = bob.receive_offer(&alice(2, &ILBC_97)).unwrap();
    assert_eq!(again, answer);
    assert!(bob.current().unwrap().audio().unwrap().may_send());
}

#[test]
fn section_5_3_the_answer_holds_with_the_address_0_0_0_0() {
    let mut alice = machine([ilbc()]);
    alice.create_offer().unwrap();
    let held = text("bob", 1, "0.0.0.0", &["m=audio 9322 RTP/AVP 97", "a=rtpmap:97 iLBC/8000"]);
    let audio = alice.receive_answer(&held).unwrap().audio().unwrap().clone();
    assert!(audio.held_by_remote && !audio.may_send());
    alice.receive_offer(&bob(2, &ILBC_97)).unwrap();
    assert!(alice.current().unwrap().audio().unwrap().may_send());
}
