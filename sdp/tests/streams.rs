//! Several streams: video and fax beside audio, added, removed and put into used slots; BUNDLE; RTCP on the port of RTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::{
    AnswerError, Codec, Direction, HoldStyle, LocalMedia, LocalStream, MediaKind, OfferAnswer, OfferError,
    Options, RejectReason, RtcpMux, SessionDescription,
};

fn audio(address: &str) -> LocalStream {
    LocalStream::audio(address.parse().unwrap())
}

fn video(address: &str) -> LocalStream {
    LocalStream::video(address.parse().unwrap(), [Codec::h264("42e01f", 1), Codec::vp8()])
}

fn fax(address: &str) -> LocalStream {
    LocalStream::other(MediaKind::Image, address.parse().unwrap(), "udptl", ["t38"])
}

fn machine(streams: impl IntoIterator<Item = LocalStream>) -> OfferAnswer {
    OfferAnswer::new(LocalMedia::new(streams), 1).unwrap()
}

fn peer(media: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{media}").parse().unwrap()
}

fn exchange(from: &mut OfferAnswer, to: &mut OfferAnswer) -> [SessionDescription; 2] {
    let offer: SessionDescription = from.create_offer().unwrap().to_string().parse().unwrap();
    let answer: SessionDescription = to.receive_offer(&offer).unwrap().to_string().parse().unwrap();
    from.receive_answer(&answer).unwrap();
    [offer, answer]
}

/// Kind and port of each line.
fn lines(description: &SessionDescription) -> Vec<(String, u16)> {
    description.media().map(|section| (section.kind().to_owned(), section.port())).collect()
}

fn reasons(side: &OfferAnswer) -> Vec<RejectReason> {
    side.current().unwrap().rejected.iter().map(|line| line.reason).collect()
}

#[test]
fn audio_and_video_with_an_audio_phone_leave_audio() {
    let (mut alice, mut bob) =
        (machine([audio("192.0.2.1:4000"), video("192.0.2.1:4002")]), machine([audio("198.51.100.1:5000")]));
    let [offer, answer] = exchange(&mut alice, &mut bob);
    assert_eq!(lines(&offer), [("audio".to_owned(), 4000), ("video".to_owned(), 4002)]);
    assert_eq!(lines(&answer), [("audio".to_owned(), 5000), ("video".to_owned(), 0)]);
    assert_eq!(
        (reasons(&alice), reasons(&bob)),
        (vec![RejectReason::RejectedByPeer], vec![RejectReason::UnsupportedMedia])
    );
    assert!(alice.current().unwrap().video().is_none() && alice.current().unwrap().stream(0).is_some());
}

#[test]
fn video_agrees_on_formats_with_their_numbers_rfc_6184_section_8_2_2() {
    let mut bob = machine([audio("198.51.100.1:5000"), video("198.51.100.1:5002")]);
    let offer = peer(
        "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96 97 98\na=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=42e01f\n\
         a=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42c00d; packetization-mode=1\na=rtpmap:98 VP8/90000\n",
    );
    let answer = bob.receive_offer(&offer).unwrap();
    let section = answer.media().nth(1).unwrap();
    assert_eq!(section.formats().collect::<Vec<_>>(), ["97", "98"], "96 is packetization mode 0");
    assert_eq!(
        section.fmtp(97),
        Some("profile-level-id=42e00d;packetization-mode=1".replace("42e0", "42c0").as_str())
    );
    let video = bob.current().unwrap().video().unwrap();
    assert_eq!(video.send[0].codec.fmtp(), Some("profile-level-id=42c00d; packetization-mode=1"));
}

#[test]
fn fax_takes_over_from_audio() {
    let (mut gateway, mut phone) =
        (machine([audio("192.0.2.1:4000")]), machine([audio("198.51.100.1:5000"), fax("198.51.100.1:5004")]));
    phone.remove_stream(1).unwrap();
    exchange(&mut gateway, &mut phone);
    phone.change_stream(1, |fax| fax.enabled = true).unwrap();
    gateway.remove_stream(0).unwrap();
    let fax = gateway.add_stream(fax("192.0.2.1:4004")).unwrap();
    let [offer, _] = exchange(&mut gateway, &mut phone);
    assert_eq!(lines(&offer), [("audio".to_owned(), 0), ("image".to_owned(), 4004)]);
    let agreed = gateway.current().unwrap();
    assert_eq!((agreed.audio(), agreed.stream(fax).unwrap().formats()), (None, &["t38".to_owned()][..]));
}

#[test]
fn a_stream_is_added_removed_and_its_slot_used_again_rfc_3264_section_8() {
    let both = |host: &str| machine([audio(&format!("{host}:4000")), video(&format!("{host}:4002"))]);
    let (mut alice, mut bob) = (both("192.0.2.1"), both("198.51.100.1"));
    alice.remove_stream(1).unwrap();
    let [offer, _] = exchange(&mut alice, &mut bob);
    assert_eq!(lines(&offer).len(), 1, "what was never wanted has no line");
    alice.change_stream(1, |video| video.enabled = true).unwrap();
    let [offer, _] = exchange(&mut alice, &mut bob);
    assert_eq!((lines(&offer)[1].1, alice.current().unwrap().streams.len()), (4002, 2));
    bob.remove_stream(1).unwrap();
    let [_, answer] = exchange(&mut alice, &mut bob);
    assert_eq!((lines(&answer)[1].1, reasons(&bob)), (0, vec![RejectReason::Declined]));
    bob.change_stream(1, |video| video.enabled = true).unwrap();
    let [offer, _] = exchange(&mut bob, &mut alice);
    assert_eq!((lines(&offer).len(), lines(&offer)[1].1), (2, 4002), "the slot is used again");
    assert_eq!(bob.current().unwrap().video().unwrap().line, 1);
}

#[test]
fn lines_keep_their_place() {
    let mut bob = machine([audio("198.51.100.1:5000"), video("198.51.100.1:5002")]);
    let video = "m=video 4002 RTP/AVP 98\na=rtpmap:98 VP8/90000\n";
    let audio = "m=audio 4000 RTP/AVP 0\n";
    bob.receive_offer(&peer(&format!("{audio}{video}"))).unwrap();
    let error = bob.receive_offer(&peer(&format!("{video}{audio}"))).unwrap_err();
    assert_eq!((error.status(), &error), (488, &OfferError::LinesReordered { first: 0, second: 1 }));
    assert_eq!(bob.current().unwrap().audio().unwrap().line, 0);
}

#[test]
fn a_hold_goes_for_all_streams_and_leaves_their_own_wishes() {
    let watching = video("192.0.2.1:4002").with_direction(Direction::RecvOnly);
    let mut alice = machine([audio("192.0.2.1:4000"), watching]);
    let directions = |alice: &mut OfferAnswer| {
        let offer = alice.create_offer().unwrap();
        alice.rollback();
        offer.media().map(|section| section.direction()).collect::<Vec<_>>()
    };
    alice.hold();
    assert_eq!(directions(&mut alice), [Direction::SendOnly, Direction::Inactive]);
    alice.resume();
    assert_eq!(directions(&mut alice), [Direction::SendRecv, Direction::RecvOnly]);
}

#[test]
fn a_hold_in_the_style_of_rfc_2543_stops_the_peer_by_the_address() {
    let options = Options { hold_style: HoldStyle::Address, ..Options::default() };
    let mut alice =
        OfferAnswer::with_options(LocalMedia::new([audio("192.0.2.1:4000")]), 1, options).unwrap();
    let mut bob = machine([audio("198.51.100.1:5000")]);
    exchange(&mut alice, &mut bob);
    alice.hold();
    let [offer, _] = exchange(&mut alice, &mut bob);
    assert!(offer.to_string().contains("c=IN IP4 0.0.0.0\r\n"), "{offer}");
    let held = bob.current().unwrap().audio().unwrap();
    assert!(held.held_by_remote && !held.may_send());
    alice.resume();
    exchange(&mut alice, &mut bob);
    assert_eq!(bob.current().unwrap().audio().unwrap().direction, Direction::SendRecv);
}

#[test]
fn a_hold_that_was_refused_is_given_up() {
    let (mut alice, mut bob) = (machine([audio("192.0.2.1:4000")]), machine([audio("198.51.100.1:5000")]));
    exchange(&mut alice, &mut bob);
    alice.hold();
    alice.create_offer().unwrap();
    alice.rollback();
    alice.revert_hold();
    exchange(&mut alice, &mut bob);
    assert_eq!(bob.current().unwrap().audio().unwrap().direction, Direction::SendRecv);
}

#[test]
fn rtcp_shares_the_port_if_both_want_rfc_5761_section_5_1_1() {
    let with = |address: &str, mux| machine([audio(address).with_rtcp_mux(mux)]);
    for (offers, answers, shared) in [
        (RtcpMux::Negotiate, RtcpMux::Negotiate, true),
        (RtcpMux::Negotiate, RtcpMux::Never, false),
        (RtcpMux::Never, RtcpMux::Negotiate, false),
        (RtcpMux::Only, RtcpMux::Negotiate, true),
    ] {
        let (mut alice, mut bob) = (with("192.0.2.1:4000", offers), with("198.51.100.1:5000", answers));
        exchange(&mut alice, &mut bob);
        for side in [&alice, &bob] {
            let stream = side.current().unwrap().audio().unwrap();
            assert_eq!(stream.rtcp_mux, shared);
            let rtcp = stream.remote_rtcp.as_ref().unwrap().port;
            assert_eq!(rtcp == stream.remote.port, shared);
        }
    }
    // RFC 8858 §4: who demands it gets it or no stream.
    let offer = with("192.0.2.1:4000", RtcpMux::Only).create_offer().unwrap();
    let error = with("198.51.100.1:5000", RtcpMux::Never).receive_offer(&offer).unwrap_err();
    let OfferError::NotAcceptable { lines } = error else { panic!("{error}") };
    assert_eq!(lines[0].reason, RejectReason::RtcpMuxRequired);
    let mut alice = with("192.0.2.1:4000", RtcpMux::Only);
    alice.create_offer().unwrap();
    assert_eq!(
        alice.receive_answer(&peer("m=audio 4000 RTP/AVP 0\n")).unwrap_err(),
        AnswerError::RtcpMux { line: 0 }
    );
}

fn bundling(host: &str) -> OfferAnswer {
    let streams = [audio(&format!("{host}:4000")), video(&format!("{host}:4002"))];
    let streams = streams.map(|stream| stream.with_rtcp_mux(RtcpMux::Negotiate));
    OfferAnswer::new(LocalMedia::new(streams).with_bundle(), 1).unwrap()
}

#[test]
fn bundled_streams_share_the_address_of_the_tagged_line_rfc_9143_section_7() {
    let (mut alice, mut bob) = (bundling("192.0.2.1"), bundling("198.51.100.1"));
    let [offer, answer] = exchange(&mut alice, &mut bob);
    assert!(
        offer.to_string().contains("a=group:BUNDLE 0 1\r\n")
            && answer.to_string().contains("a=group:BUNDLE 0 1\r\n")
    );
    assert_eq!(
        lines(&offer).iter().map(|line| line.1).collect::<Vec<_>>(),
        [4000, 4002],
        "§7.2: each its own at first"
    );
    assert_eq!(
        lines(&answer).iter().map(|line| line.1).collect::<Vec<_>>(),
        [4000, 4000],
        "§7.3: all that of the tagged"
    );
    for side in [&alice, &bob] {
        let [audio, video] = side.current().unwrap().streams.as_slice() else { panic!() };
        assert_eq!((audio.bundle(), video.bundle()), (Some(0), Some(0)));
        assert_eq!((&audio.remote, audio.local), (&video.remote, video.local));
        assert_eq!((audio.mid(), video.mid()), (Some("0"), Some("1")));
    }
    let [offer, _] = exchange(&mut bob, &mut alice);
    assert_eq!(lines(&offer).iter().map(|line| line.1).collect::<Vec<_>>(), [4000, 4000], "§7.5");
    // The tagged line goes: the other one carries the group.
    alice.remove_stream(0).unwrap();
    let [offer, _] = exchange(&mut alice, &mut bob);
    assert_eq!(lines(&offer).iter().map(|line| line.1).collect::<Vec<_>>(), [0, 4002]);
    assert_eq!(bob.current().unwrap().video().unwrap().bundle(), Some(1));
}

#[test]
fn a_peer_without_bundle_gets_separate_streams() {
    let mut alice = bundling("192.0.2.1");
    let mut bob = machine([audio("198.51.100.1:5000"), video("198.51.100.1:5002")]);
    exchange(&mut alice, &mut bob);
    let remotes: Vec<u16> =
        alice.current().unwrap().streams.iter().map(|stream| stream.remote.port).collect();
    assert_eq!(remotes, [5000, 5002]);
    assert!(
        alice.current().unwrap().streams.iter().all(|stream| stream.bundle().is_none() && !stream.rtcp_mux)
    );
}

#[test]
fn one_socket_for_two_streams_is_offered_as_bundle_only_rfc_9143_section_6() {
    let streams =
        [audio("192.0.2.1:4000"), video("192.0.2.1:4000")].map(|stream| stream.with_rtcp_mux(RtcpMux::Only));
    let mut alice = OfferAnswer::new(LocalMedia::new(streams).with_bundle(), 1).unwrap();
    let mut bob = bundling("198.51.100.1");
    let offer = alice.create_offer().unwrap();
    assert!(
        offer.to_string().contains("m=video 0 RTP/AVP") && offer.to_string().contains("a=bundle-only\r\n"),
        "{offer}"
    );
    alice.receive_answer(&bob.receive_offer(&offer).unwrap()).unwrap();
    assert_eq!(alice.current().unwrap().streams.len(), 2);
    // Without BUNDLE the second stream cannot be had.
    let mut plain =
        machine([audio("198.51.100.1:5000").with_rtcp_mux(RtcpMux::Negotiate), video("198.51.100.1:5002")]);
    plain.receive_offer(&offer).unwrap();
    assert_eq!(plain.current().unwrap().streams.len(), 1);
}

#[test]
fn an_answer_cannot_bundle_what_was_not_offered_so_rfc_9143_section_7_4() {
    let mut alice = bundling("192.0.2.1");
    alice.create_offer().unwrap();
    let answer = "v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\na=group:BUNDLE 0 2\n\
                  m=audio 4000 RTP/AVP 0\na=mid:0\na=rtcp-mux\nm=video 0 RTP/AVP 96\n";
    assert_eq!(alice.receive_answer(&answer.parse().unwrap()).unwrap_err(), AnswerError::Bundle);
}

#[test]
fn the_answers_of_rfc_8843_bundle_with_port_0() {
    let mut alice = bundling("192.0.2.1");
    alice.create_offer().unwrap();
    let answer = "v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\na=group:BUNDLE 0 1\n\
                  m=audio 20000 RTP/AVP 0\na=mid:0\na=rtcp-mux\nm=video 0 RTP/AVP 97\na=mid:1\na=bundle-only\na=rtpmap:97 VP8/90000\n";
    let agreed = alice.receive_answer(&answer.parse().unwrap()).unwrap();
    assert_eq!(agreed.video().unwrap().remote.port, 20000);
}

#[test]
fn feedback_and_header_extensions_are_what_both_know() {
    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let local = video("198.51.100.1:5002").with_feedback(["nack pli", "ccm fir"]).with_extensions([MID]);
    let mut bob = machine([local]);
    let offer = peer(&format!(
        "m=video 4002 RTP/AVPF 98\na=rtpmap:98 VP8/90000\na=rtcp-fb:98 nack pli\na=rtcp-fb:98 goog-remb\na=rtcp-fb:* ccm fir\n\
         a=rtcp-fb:99 nack pli\na=extmap:4/sendonly {MID}\na=extmap:5 urn:x\n"
    ));
    let answer = bob.receive_offer(&offer).unwrap().to_string();
    assert!(answer.contains("m=video 5002 RTP/AVPF 98\r\n"), "{answer}");
    assert!(
        answer.contains(&format!(
            "a=rtcp-fb:98 nack pli\r\na=rtcp-fb:* ccm fir\r\na=extmap:4/recvonly {MID}\r\n"
        )),
        "{answer}"
    );
    let stream = bob.current().unwrap().video().unwrap();
    assert_eq!((stream.feedback().len(), stream.extensions()[0].id, stream.extensions().len()), (2, 4, 1));
    // Our next offer keeps the identifier (RFC 8285 §6).
    assert!(bob.create_offer().unwrap().to_string().contains(&format!("a=extmap:4 {MID}\r\n")));
}
