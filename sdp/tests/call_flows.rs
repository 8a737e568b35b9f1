//! Calls as they go: offer, answer, hold, refusal, glare, and peers that err.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::{
    AnswerError, Codec, CodecOrder, CreateOfferError, Direction, LocalMedia, LocalMediaError, LocalStream,
    OfferAnswer, OfferError, Options, RejectReason, SessionDescription, State,
};

fn media(address: &str) -> LocalMedia {
    LocalMedia::audio(address.parse().unwrap())
}

fn with_other_family(address: &str, other: &str) -> LocalMedia {
    let stream = LocalStream::audio(address.parse().unwrap());
    LocalMedia::new([stream.with_options(|more| more.other_family = Some(other.parse().unwrap()))])
}

fn alice() -> OfferAnswer {
    OfferAnswer::new(media("192.0.2.1:49170"), 100).unwrap()
}

fn bob() -> OfferAnswer {
    OfferAnswer::new(media("198.51.100.7:30000"), 200).unwrap()
}

/// One complete exchange, `from` offering.
fn exchange(from: &mut OfferAnswer, to: &mut OfferAnswer) {
    let offer = from.create_offer().unwrap();
    from.receive_answer(&to.receive_offer(&offer).unwrap()).unwrap();
}

fn directions(one: &OfferAnswer, two: &OfferAnswer) -> [Direction; 2] {
    [one, two].map(|side| side.current().unwrap().audio().unwrap().direction)
}

fn version(description: &SessionDescription) -> u64 {
    description.session().origin.sess_version
}

fn peer(media: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{media}").parse().unwrap()
}

#[test]
fn the_text_of_an_offer() {
    let text = alice().create_offer().unwrap().to_string();
    assert_eq!(
        text,
        "v=0\r\no=- 100 100 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
    );
}

#[test]
fn ipv6_ptime_rtcp_port_and_user_name_are_written() {
    let stream = LocalStream::audio("[2001:db8::1]:5000".parse().unwrap()).with_ptime(30);
    let local = LocalMedia::new([stream.with_options(|more| more.rtcp_port = Some(5005))]);
    let options =
        Options { username: Some("al ice\r\n".into()), first_version: Some(7), ..Options::default() };
    let text = OfferAnswer::with_options(local, 3, options).unwrap().create_offer().unwrap().to_string();
    assert!(text.contains("o=alice 3 7 IN IP6 2001:db8::1\r\n"), "{text}");
    assert!(
        text.contains("c=IN IP6 2001:db8::1\r\n") && text.contains("a=ptime:30\r\na=rtcp:5005\r\n"),
        "{text}"
    );
}

#[test]
fn hold_and_resume_from_both_sides_rfc_6337_section_5_3() {
    use Direction::*;
    let (mut alice, mut bob) = (alice(), bob());
    exchange(&mut alice, &mut bob);
    assert_eq!(directions(&alice, &bob), [SendRecv, SendRecv]);
    alice.hold();
    exchange(&mut alice, &mut bob);
    assert_eq!(directions(&alice, &bob), [SendOnly, RecvOnly]);
    assert!(bob.current().unwrap().audio().unwrap().held_by_remote);
    assert!(!alice.current().unwrap().audio().unwrap().held_by_remote);
    bob.hold();
    exchange(&mut bob, &mut alice);
    assert_eq!(directions(&alice, &bob), [Inactive, Inactive]);
    alice.resume();
    exchange(&mut alice, &mut bob);
    assert_eq!(directions(&alice, &bob), [RecvOnly, SendOnly]);
    bob.resume();
    exchange(&mut bob, &mut alice);
    assert_eq!(directions(&alice, &bob), [SendRecv, SendRecv]);
}

#[test]
fn a_refresh_that_changes_nothing_keeps_the_version_rfc_3264_section_8() {
    let (mut alice, mut bob) = (alice(), bob());
    let offer = alice.create_offer().unwrap();
    let answer = bob.receive_offer(&offer).unwrap();
    alice.receive_answer(&answer).unwrap();
    let refresh = alice.create_offer().unwrap();
    assert_eq!(refresh, offer);
    assert_eq!(bob.receive_offer(&refresh).unwrap(), answer);
    alice.receive_answer(&answer).unwrap();
    alice.hold();
    assert_eq!(version(&alice.create_offer().unwrap()), version(&offer) + 1);
}

#[test]
fn a_refused_offer_leaves_the_agreement_and_its_version_is_never_used_again() {
    let (mut alice, mut bob) = (alice(), bob());
    exchange(&mut alice, &mut bob);
    let agreed = alice.current().cloned();
    let before = version(&alice.last_sent().unwrap());
    alice.hold();
    let refused = alice.create_offer().unwrap();
    assert_eq!((alice.state(), alice.current()), (State::HaveLocalOffer, agreed.as_ref()));
    assert!(alice.rollback());
    assert_eq!((alice.state(), alice.current()), (State::Stable, agreed.as_ref()));
    assert!(!alice.rollback(), "nothing left to withdraw");
    alice.resume();
    let next = alice.create_offer().unwrap();
    assert_eq!([version(&refused), version(&next)], [before + 1, before + 2]);
}

/// RFC 3264 §8: what is the same keeps its version, what is not gets the next, whether the text of the last is kept or not.
#[test]
fn a_settled_session_keeps_its_version_until_something_changes() {
    let (mut alice, mut bob) = (alice(), bob());
    exchange(&mut alice, &mut bob);
    let before = alice.last_sent().unwrap();
    alice.settle();
    assert_eq!(alice.last_sent(), None);
    let again = alice.create_offer().unwrap();
    assert_eq!(again.to_string(), before.to_string());
    assert_eq!(alice.last_sent().unwrap().to_string(), before.to_string());
    assert!(alice.rollback());
    alice.settle();
    alice.hold();
    assert_eq!(version(&alice.create_offer().unwrap()), version(&before) + 1);
}

#[test]
fn glare_is_491_on_both_sides() {
    let (mut alice, mut bob) = (alice(), bob());
    exchange(&mut alice, &mut bob);
    let (from_alice, from_bob) = (alice.create_offer().unwrap(), bob.create_offer().unwrap());
    assert_eq!(alice.receive_offer(&from_bob).unwrap_err().status(), 491);
    assert_eq!(bob.receive_offer(&from_alice).unwrap_err(), OfferError::Glare);
    assert_eq!(alice.create_offer().unwrap_err(), CreateOfferError::OfferPending);
    assert!(alice.rollback() && bob.rollback());
    exchange(&mut bob, &mut alice);
}

#[test]
fn a_delayed_offer_is_the_same_machine_the_other_way_round() {
    let (mut caller, mut callee) = (alice(), bob());
    let offer_in_2xx = callee.create_offer().unwrap();
    let answer_in_ack = caller.receive_offer(&offer_in_2xx).unwrap();
    callee.receive_answer(&answer_in_ack).unwrap();
    assert_eq!(directions(&caller, &callee), [Direction::SendRecv; 2]);
}

#[test]
fn a_2xx_offer_that_cannot_be_taken_is_refused_line_by_line_rfc_3261_section_13_2_2_4() {
    let caller = alice();
    let offer = peer("m=audio 4000 RTP/AVP 18\nm=video 4002 RTP/AVP 31\n");
    assert_eq!(caller.preview_offer(&offer).unwrap_err().status(), 488);
    let refusal = caller.refusal(&offer);
    assert!(refusal.media().len() == 2 && refusal.media().all(|section| section.port() == 0));
    assert_eq!(caller.current(), None);
}

#[test]
fn what_cannot_be_used_gets_488_and_a_warning_that_says_why() {
    let cases = [
        ("m=audio 4000 RTP/AVP 18\n", RejectReason::NoCommonCodec, 305),
        ("m=audio 4000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000\n", RejectReason::NoCommonCodec, 305),
        ("m=audio 4000 RTP/SAVP 0\n", RejectReason::UnsupportedTransport, 302),
        ("m=image 4000 udptl t38\n", RejectReason::UnsupportedMedia, 304),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\n", RejectReason::IncompatibleAddress, 301),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 224.2.1.1/127\n", RejectReason::Multicast, 330),
        ("m=audio 4000 RTP/AVP 0\nc=TN RFC2543 123\n", RejectReason::UnsupportedNetwork, 300),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 ?\n", RejectReason::NoAddress, 301),
    ];
    for (offer, reason, warning) in cases {
        let mut bob = bob();
        let error = bob.receive_offer(&peer(offer)).unwrap_err();
        assert_eq!((error.status(), error.warning().unwrap().0), (488, warning), "{offer}");
        let OfferError::NotAcceptable { lines } = error else { panic!("{error}") };
        assert_eq!(lines[0].reason, reason);
        assert_eq!((bob.current(), bob.last_sent()), (None, None));
    }
}

#[test]
fn a_peer_with_the_other_ip_version_is_answered_from_the_address_we_have_there() {
    let local = with_other_family("192.0.2.1:49170", "[2001:db8::9]:6000");
    let mut bob = OfferAnswer::new(local, 1).unwrap();
    let answer = bob.receive_offer(&peer("m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\n")).unwrap();
    assert_eq!(answer.media().next().unwrap().rtp_address().unwrap().to_string(), "[2001:db8::9]:6000");
    assert_eq!(bob.current().unwrap().audio().unwrap().local.to_string(), "[2001:db8::9]:6000");
}

#[test]
fn lines_are_never_removed_and_disabling_all_of_them_ends_the_media() {
    let mut bob = bob();
    bob.receive_offer(&peer("m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\n")).unwrap();
    let agreed = bob.current().cloned();
    let error = bob.receive_offer(&peer("m=audio 4000 RTP/AVP 0\n")).unwrap_err();
    assert_eq!(error, OfferError::LinesRemoved { session: 2, offered: 1 });
    assert_eq!((error.status(), bob.current()), (488, agreed.as_ref()));
    let answer = bob.receive_offer(&peer("m=audio 0 RTP/AVP 0\nm=video 0 RTP/AVP 31\n")).unwrap();
    assert!(answer.media().all(|section| section.port() == 0));
    assert_eq!(bob.current().unwrap().streams, []);
    // A new offer of ours takes the place of the disabled audio (RFC 3264 §8.1).
    let ports: Vec<u16> = bob.create_offer().unwrap().media().map(|section| section.port()).collect();
    assert_eq!(ports, [30000, 0]);
}

#[test]
fn audio_in_use_does_not_move_when_an_earlier_line_becomes_usable() {
    let mut bob = bob();
    bob.receive_offer(&peer("m=audio 4000 RTP/AVP 18\nm=audio 4002 RTP/AVP 0\n")).unwrap();
    bob.receive_offer(&peer("m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\n")).unwrap();
    assert_eq!(bob.current().unwrap().audio().unwrap().line, 1);
}

#[test]
fn the_same_offer_is_always_judged_the_same() {
    // Found by fuzzing: on the second round the first line was told to be one too many.
    let (mut bob, offer) =
        (bob(), peer("m=audio 4000 RTP/AVP 18\nm=audio 4002 RTP/AVP 0\nm=audio 4004 RTP/AVP 0\n"));
    bob.receive_offer(&offer).unwrap();
    let agreed = bob.current().cloned();
    bob.receive_offer(&offer).unwrap();
    assert_eq!(bob.current(), agreed.as_ref());
    let reasons: Vec<_> = agreed.unwrap().rejected.iter().map(|line| line.reason).collect();
    assert_eq!(reasons, [RejectReason::NoCommonCodec, RejectReason::AlreadyInUse]);
}

#[test]
fn codec_order_is_the_offers_unless_told_otherwise_rfc_3264_section_6_1() {
    let offer = peer("m=audio 4000 RTP/AVP 101 8 0\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-11\n");
    let formats = |codec_order| {
        let options = Options { codec_order, ..Options::default() };
        let mut bob = OfferAnswer::with_options(media("192.0.2.1:4000"), 1, options).unwrap();
        let answer = bob.receive_offer(&offer).unwrap();
        answer.media().next().unwrap().formats().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(formats(CodecOrder::Offerer), "101 8 0");
    assert_eq!(formats(CodecOrder::Local), "0 8 101");
}

#[test]
fn digits_go_with_audio_of_the_same_clock_rate_and_carry_the_peers_events() {
    let opus = Codec::new("opus", 48000).with_channels(2);
    let codecs = [opus, Codec::pcma(), Codec::telephone_event(48000), Codec::telephone_event(8000)];
    let mut bob = OfferAnswer::new(media("192.0.2.1:4000").with_codecs(codecs), 1).unwrap();
    let offer = peer(
        "m=audio 4000 RTP/AVP 8 96 97\na=rtpmap:96 telephone-event/48000\na=rtpmap:97 telephone-event/8000\na=fmtp:97 0-11,16\n",
    );
    let answer = bob.receive_offer(&offer).unwrap();
    assert_eq!(answer.media().next().unwrap().formats().collect::<Vec<_>>(), ["8", "97"]);
    let audio = bob.current().unwrap().audio().unwrap();
    let events = audio.events_for(8000).unwrap();
    assert_eq!((events.payload_type, events.events.to_string().as_str()), (97, "0-11,16"));
    assert_eq!(audio.receive_events[0].events.to_string(), "0-15");
    assert_eq!(audio.events_for(48000), None);
}

#[test]
fn packet_time_follows_the_peer_within_reason() {
    let time = |attributes: &str| {
        let mut bob = bob();
        bob.receive_offer(&peer(&format!("m=audio 4000 RTP/AVP 0\n{attributes}"))).unwrap();
        bob.current().unwrap().audio().unwrap().packet_time().as_millis()
    };
    assert_eq!(time(""), 20);
    assert_eq!(time("a=ptime:30\n"), 30);
    assert_eq!(time("a=ptime:60\na=maxptime:40\n"), 40);
    assert_eq!(time("a=ptime:60000\n"), 200);
}

#[test]
fn answers_that_are_none_spend_the_offer_and_keep_the_agreement() {
    type Expected = fn(&AnswerError) -> bool;
    let cases: [(&str, Expected); 7] = [
        ("", |e| matches!(e, AnswerError::LineCount { offered: 1, answered: 0 })),
        ("m=video 4000 RTP/AVP 31\n", |e| matches!(e, AnswerError::Mismatch { line: 0, .. })),
        ("m=audio 4000 RTP/SAVP 0\n", |e| matches!(e, AnswerError::Mismatch { line: 0, .. })),
        ("m=audio 4000 RTP/AVP 18\n", |e| matches!(e, AnswerError::NoCommonCodec { line: 0 })),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 ?\n", |e| matches!(e, AnswerError::Address { line: 0, .. })),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP4 224.1.1.1\n", |e| matches!(e, AnswerError::Multicast { line: 0 })),
        ("m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\n", |e| matches!(e, AnswerError::LineCount { .. })),
    ];
    for (answer, expected) in cases {
        let (mut alice, mut bob) = (alice(), bob());
        exchange(&mut alice, &mut bob);
        let agreed = alice.current().cloned();
        alice.create_offer().unwrap();
        let error = alice.receive_answer(&peer(answer)).unwrap_err();
        assert!(expected(&error), "{answer}: {error}");
        assert_eq!((alice.state(), alice.current()), (State::Stable, agreed.as_ref()));
    }
}

#[test]
fn only_the_first_answer_counts_rfc_3261_section_13_2_1() {
    let (mut alice, mut bob) = (alice(), bob());
    let answer = bob.receive_offer(&alice.create_offer().unwrap()).unwrap();
    alice.receive_answer(&answer).unwrap();
    assert_eq!(alice.receive_answer(&answer).unwrap_err(), AnswerError::NoOffer);
}

#[test]
fn an_answer_that_rejects_the_line_is_an_agreement_on_nothing() {
    let mut alice = alice();
    alice.create_offer().unwrap();
    let agreed = alice.receive_answer(&peer("m=audio 0 RTP/AVP 0\n")).unwrap();
    assert_eq!((agreed.audio(), agreed.rejected[0].reason), (None, RejectReason::RejectedByPeer));
}

#[test]
fn a_payload_type_taken_over_without_rtpmap_means_ours() {
    let mut alice = alice();
    alice.create_offer().unwrap();
    let audio = alice.receive_answer(&peer("m=audio 4000 RTP/AVP 0 101\n")).unwrap().audio().unwrap();
    assert_eq!(audio.events_for(8000).unwrap().payload_type, 101);
}

#[test]
fn forks_continue_on_clones() {
    let mut caller = alice();
    let offer = caller.create_offer().unwrap();
    let (mut one, mut two) = (caller.clone(), caller);
    one.receive_answer(&bob().receive_offer(&offer).unwrap()).unwrap();
    two.receive_answer(&peer("m=audio 4000 RTP/AVP 8\n")).unwrap();
    assert_eq!(one.current().unwrap().audio().unwrap().remote.port, 30000);
    assert_eq!(two.current().unwrap().audio().unwrap().remote.port, 4000);
}

#[test]
fn the_times_of_the_offer_come_back_in_the_answer_rfc_3264_section_6() {
    let offer: SessionDescription =
        "v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=3034423619 3042462419\nm=audio 4000 RTP/AVP 0\n"
            .parse()
            .unwrap();
    assert_eq!(bob().receive_offer(&offer).unwrap().session().times, offer.session().times);
}

#[test]
fn local_media_that_cannot_be_described_is_refused_at_once() {
    let with =
        |codecs: Vec<Codec>| OfferAnswer::new(media("192.0.2.1:4000").with_codecs(codecs), 1).unwrap_err();
    assert_eq!(OfferAnswer::new(media("192.0.2.1:0"), 1).unwrap_err(), LocalMediaError::PortZero);
    assert_eq!(with(vec![]), LocalMediaError::NoAudioCodec);
    assert_eq!(with(vec![Codec::telephone_event(8000)]), LocalMediaError::NoAudioCodec);
    assert!(matches!(with(vec![Codec::new("a b", 8000)]), LocalMediaError::InvalidCodec(_)));
    assert!(matches!(with(vec![Codec::pcmu().with_fmtp("x\r\na=y")]), LocalMediaError::InvalidCodec(_)));
    assert!(matches!(
        with(vec![Codec::pcmu(), Codec::new("pcmu", 8000)]),
        LocalMediaError::DuplicateCodec(_)
    ));
    assert!(matches!(
        with((1..=33).map(|rate| Codec::new("x", rate)).collect()),
        LocalMediaError::TooManyCodecs(33)
    ));
    let same = with_other_family("192.0.2.1:4000", "192.0.2.2:4000");
    assert!(matches!(OfferAnswer::new(same, 1), Err(LocalMediaError::SameFamily(_))));
}
