//! Offers as browsers, phones and carriers word them, and what a phone answers: each answer is written out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::sdp_types::{Attribute, Setup};
use sdp::{
    Codec, CryptoSuite, LocalMedia, LocalStream, OfferAnswer, OfferError, Protection, RejectReason, RtcpMux,
    SessionDescription, SrtpKey,
};

fn key(octet: u8) -> SrtpKey {
    SrtpKey::generate(CryptoSuite::AesCm128HmacSha1_80, |place| place.fill(octet))
}

/// A phone with several codecs, video, and SRTP for whoever has it.
fn phone() -> OfferAnswer {
    let audio = LocalStream::audio("192.0.2.1:4000".parse().unwrap())
        .with_codecs([
            Codec::opus(),
            Codec::g722(),
            Codec::pcma(),
            Codec::pcmu(),
            Codec::telephone_event(8000),
        ])
        .with_sdes(Protection::SdesOptional, [key(1)]);
    let video = LocalStream::video("192.0.2.1:4002".parse().unwrap(), [Codec::h264("42e01f", 1)])
        .with_sdes(Protection::SdesOptional, [key(2)])
        .with_feedback(["nack pli", "ccm fir"]);
    OfferAnswer::new(LocalMedia::new([audio, video]), 7).unwrap()
}

/// The media lines of the answer, without the session level.
fn answered(mut machine: OfferAnswer, offer: &str) -> String {
    let answer = machine.receive_offer(&offer.parse().unwrap()).unwrap();
    let text = answer.to_string().replace("\r\n", "\n");
    assert_eq!(answer.to_string().parse::<SessionDescription>().unwrap(), answer);
    text[text.find("m=").unwrap()..].to_owned()
}

#[test]
fn asterisk_with_g711_and_dtmf() {
    let offer = "v=0\no=- 1815849 1815849 IN IP4 203.0.113.5\ns=Asterisk\nc=IN IP4 203.0.113.5\nt=0 0\nm=audio 14070 RTP/AVP 8 0 101\n\
        a=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=maxptime:150\na=sendrecv\n";
    let expected = "m=audio 4000 RTP/AVP 8 0 101\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\n\
        a=fmtp:101 0-15\na=sendrecv\n";
    assert_eq!(answered(phone(), offer), expected);
}

#[test]
fn linphone_with_avpf_video_and_best_effort_srtp() {
    let offer = "v=0\no=lin 1 1 IN IP4 203.0.113.5\ns=Talk\nc=IN IP4 203.0.113.5\nt=0 0\na=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\n\
        m=audio 7078 RTP/AVPF 96 97 98 0 8 101\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\na=rtpmap:97 speex/16000\na=fmtp:97 vbr=on\n\
        a=rtpmap:98 speex/8000\na=rtpmap:101 telephone-event/8000\na=crypto:1 AEAD_AES_128_GCM inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n\
        a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ\na=rtcp-fb:* trr-int 1000\na=rtcp-fb:* ccm tmmbr\n\
        m=video 9078 RTP/AVPF 96 97\na=rtpmap:96 VP8/90000\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42801F; packetization-mode=1\n\
        a=rtcp-fb:* trr-int 1000\na=rtcp-fb:* nack pli\na=rtcp-fb:96 ccm fir\na=rtcp-fb:97 ccm fir\n";
    // Baseline without its constraint is another profile than ours: no video.
    let expected = "m=audio 4000 RTP/AVPF 96 0 8 101\na=rtpmap:96 opus/48000/2\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
        a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n\
        a=sendrecv\nm=video 0 RTP/AVPF 96 97\n";
    assert_eq!(answered(phone(), offer), expected);
    let constrained = answered(phone(), &offer.replace("42801F", "42e01F"));
    let video = "m=video 4002 RTP/AVPF 97\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42e01f;packetization-mode=1\n\
        a=rtcp-fb:* nack pli\na=rtcp-fb:97 ccm fir\na=sendrecv\n";
    assert!(constrained.ends_with(video), "{constrained}");
}

#[test]
fn baresip_with_rtcp_mux_labels_and_bandwidth() {
    let offer = "v=0\no=- 3872 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nb=AS:1024\nt=0 0\na=tool:baresip\nm=audio 20436 RTP/AVP 9 8 101\n\
        a=rtpmap:9 G722/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=sendrecv\na=rtcp:20437\na=rtcp-mux\na=label:1\n\
        a=rtcp-rsize\na=ssrc:1 cname:x@y\na=ptime:20\n";
    let expected = "m=audio 4000 RTP/AVP 9 8 101\na=rtpmap:9 G722/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n\
        a=fmtp:101 0-15\na=sendrecv\n";
    assert_eq!(answered(phone(), offer), expected);
}

#[test]
fn cisco_holds_with_inactive_and_writes_old_numbers() {
    let offer = "v=0\no=Cisco-SIPUA 18457 0 IN IP4 203.0.113.5\ns=SIP Call\nb=AS:4064\nt=0 0\nm=audio 27042 RTP/AVP 0 8 116 18 101\nc=IN IP4 203.0.113.5\n\
        b=TIAS:64000\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:116 iLBC/8000\na=fmtp:116 mode=20\na=rtpmap:18 G729/8000\na=fmtp:18 annexb=yes\n\
        a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=inactive\n";
    let expected = "m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n\
        a=fmtp:101 0-15\na=inactive\n";
    assert_eq!(answered(phone(), offer), expected);
}

#[test]
fn polycom_offers_two_suites_under_savp_with_lifetime() {
    let offer = "v=0\no=- 1700000000 1700000000 IN IP4 203.0.113.5\ns=Polycom IP Phone\nc=IN IP4 203.0.113.5\nt=0 0\na=sendrecv\nm=audio 2256 RTP/SAVP 9 0 8 127\n\
        a=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:127 telephone-event/8000\n\
        a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ|2^48\n\
        a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkK|2^48\n";
    let expected = "m=audio 4000 RTP/SAVP 9 0 8 127\na=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:127 telephone-event/8000\n\
        a=fmtp:127 0-15\na=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\na=sendrecv\n";
    assert_eq!(answered(phone(), offer), expected);
}

#[test]
fn a_phone_offers_plain_and_secure_lines_for_one_stream() {
    // As some phones do best effort: the secure line is taken, the plain one is one too many.
    let offer = "v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\nm=audio 4010 RTP/SAVP 8\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ\nm=audio 4010 RTP/AVP 8\n";
    let expected = "m=audio 4000 RTP/SAVP 8\na=rtpmap:8 PCMA/8000\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n\
        a=sendrecv\nm=audio 0 RTP/AVP 8\n";
    assert_eq!(answered(phone(), offer), expected);
}

#[test]
fn a_mobile_carrier_with_amr_wb() {
    let amr = |fmtp: &'static str| Codec::new("AMR-WB", 16000).with_fmtp(fmtp);
    let events = [Codec::telephone_event(16000), Codec::telephone_event(8000)];
    let audio = LocalStream::audio("192.0.2.1:4000".parse().unwrap())
        .with_codecs([amr("octet-align=1"), Codec::pcma()].into_iter().chain(events));
    let machine = OfferAnswer::new(LocalMedia::new([audio]), 7).unwrap();
    let offer = "v=0\no=- 0 0 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\nm=audio 50010 RTP/AVP 104 110 102 8 105 100\nb=AS:38\nb=RS:600\n\
        b=RR:2000\na=rtpmap:104 AMR-WB/16000/1\na=fmtp:104 mode-change-capability=2;max-red=0\na=rtpmap:110 AMR-WB/16000/1\n\
        a=fmtp:110 octet-align=1;mode-set=0,1,2;mode-change-capability=2;max-red=0\na=rtpmap:102 AMR/8000/1\na=rtpmap:105 telephone-event/16000\n\
        a=fmtp:105 0-15\na=rtpmap:100 telephone-event/8000\na=fmtp:100 0-15\na=ptime:20\na=maxptime:240\n";
    let expected = "m=audio 4000 RTP/AVP 110 8 105 100\na=rtpmap:110 AMR-WB/16000\na=fmtp:110 octet-align=1; mode-set=0,1,2\na=rtpmap:8 PCMA/8000\n\
        a=rtpmap:105 telephone-event/16000\na=fmtp:105 0-15\na=rtpmap:100 telephone-event/8000\na=fmtp:100 0-15\na=sendrecv\n";
    assert_eq!(answered(machine, offer), expected);
}

const BROWSER: &str = include_str!("../benches/offers/browser.sdp");

#[test]
fn a_plain_phone_refuses_a_browser_and_says_why() {
    let error = phone().receive_offer(&BROWSER.parse().unwrap()).unwrap_err();
    let OfferError::NotAcceptable { lines } = &error else { panic!("{error}") };
    assert!(lines.iter().all(|line| line.reason == RejectReason::UnsupportedTransport));
    assert_eq!(error.warning().unwrap().0, 302);
}

fn dtls(stream: LocalStream) -> LocalStream {
    let attributes = [
        ("fingerprint", "sha-256 01:02"),
        ("setup", "actpass"),
        ("ice-ufrag", "me"),
        ("ice-pwd", "my-password-of-22-chars"),
    ];
    stream
        .with_rtcp_mux(RtcpMux::Only)
        .with_dtls(attributes.map(|(name, value)| Attribute::with_value(name, value)))
}

#[test]
fn a_gateway_with_dtls_answers_a_browser_in_one_bundle_rfc_8829() {
    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let audio = LocalStream::audio("192.0.2.1:4000".parse().unwrap())
        .with_codecs([Codec::opus(), Codec::telephone_event(48000)])
        .with_extensions([MID]);
    let video = LocalStream::video("192.0.2.1:4002".parse().unwrap(), [Codec::h264("42e01f", 1)])
        .with_feedback(["nack pli"])
        .with_extensions([MID]);
    let mut machine = OfferAnswer::new(LocalMedia::new([dtls(audio), dtls(video)]).with_bundle(), 7).unwrap();
    let answer = machine.receive_offer(&BROWSER.parse().unwrap()).unwrap().to_string().replace("\r\n", "\n");
    let handshake = "a=fingerprint:sha-256 01:02\na=setup:active\na=ice-ufrag:me\na=ice-pwd:my-password-of-22-chars\na=sendrecv\n";
    let expected = format!(
        "a=group:BUNDLE 0 1\nm=audio 4000 UDP/TLS/RTP/SAVPF 111 110\na=rtpmap:111 opus/48000/2\na=rtpmap:110 telephone-event/48000\n\
         a=fmtp:110 0-15\na=mid:0\na=rtcp-mux\na=extmap:4 {MID}\n{handshake}\
         m=video 4000 UDP/TLS/RTP/SAVPF 106\na=rtpmap:106 H264/90000\n\
         a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\na=mid:1\na=rtcp-mux\n\
         a=rtcp-fb:106 nack pli\na=extmap:4 {MID}\n{handshake}"
    );
    assert_eq!(&answer[answer.find("a=group").unwrap()..], expected);
    let video = machine.current().unwrap().video().unwrap();
    let peer = video.peer().unwrap();
    assert_eq!((peer.ice_ufrag.as_deref(), peer.setup.as_ref()), (Some("Yq3b"), Some(&Setup::ActPass)));
    assert_eq!(
        (peer.local_setup.as_ref(), peer.fingerprints[0].fingerprint.len()),
        (Some(&Setup::Active), 32)
    );
    assert_eq!(peer.candidates.len(), 4, "those of the tagged line");
    assert!(video.is_secure() && video.keys.is_none());
}

#[test]
fn firefox_with_its_session_level_fingerprint_and_a_data_channel() {
    let offer = "v=0\no=mozilla...THIS_IS_SDPARTA-99.0 5012 0 IN IP4 0.0.0.0\ns=-\nt=0 0\na=fingerprint:sha-256 AA:BB\na=group:BUNDLE 0 1\na=ice-options:trickle\n\
        a=msid-semantic:WMS *\nm=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101\nc=IN IP4 0.0.0.0\na=sendrecv\na=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level\n\
        a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\na=fmtp:101 0-15\na=ice-pwd:f6d1b2\na=ice-ufrag:9a2b\na=mid:0\na=rtcp-mux\n\
        a=rtpmap:109 opus/48000/2\na=rtpmap:9 G722/8000/1\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=setup:actpass\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=bundle-only\na=ice-pwd:f6d1b2\na=ice-ufrag:9a2b\na=mid:1\na=setup:actpass\na=sctp-port:5000\n";
    let audio =
        LocalStream::audio("192.0.2.1:4000".parse().unwrap()).with_codecs([Codec::opus(), Codec::g722()]);
    let mut machine = OfferAnswer::new(LocalMedia::new([dtls(audio)]).with_bundle(), 7).unwrap();
    let answer = machine.receive_offer(&offer.parse().unwrap()).unwrap().to_string().replace("\r\n", "\n");
    assert!(answer.contains("a=group:BUNDLE 0\nm=audio 4000 UDP/TLS/RTP/SAVPF 109 9\n"), "{answer}");
    assert!(answer.ends_with("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\na=mid:1\n"), "{answer}");
    let stream = machine.current().unwrap().audio().unwrap();
    assert_eq!(stream.send[0].codec.fmtp(), Some("maxplaybackrate=48000;stereo=1;useinbandfec=1"));
    assert!(!stream.may_send(), "trickle ICE: no address so far");
}

#[test]
fn rfc_4568_section_7_1_5_asks_for_what_we_lack() {
    let offer = "v=0\no=sam 2890844526 2890842807 IN IP4 10.47.16.5\ns=SRTP Discussion\nc=IN IP4 168.2.17.12\nt=2873397496 2873404696\nm=audio 49170 RTP/SAVP 0\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP\n\
        a=crypto:2 F8_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;inline:QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5|2^20|2:4 FEC_ORDER=FEC_SRTP\n";
    let error = phone().receive_offer(&offer.parse().unwrap()).unwrap_err();
    let OfferError::NotAcceptable { lines } = error else { panic!("{error}") };
    assert_eq!(lines[0].reason, RejectReason::NoUsableKeys);
}

#[test]
fn rfc_9143_section_7_2_2_the_initial_bundle_offer() {
    let offer = "v=0\no=alice 2890844526 2890844526 IN IP6 2001:db8::3\ns=\nc=IN IP6 2001:db8::3\nt=0 0\na=group:BUNDLE foo bar\n\
        m=audio 10000 RTP/AVP 0 8 97\nb=AS:200\na=mid:foo\na=rtcp-mux\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:97 iLBC/8000\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\nm=video 10002 RTP/AVP 31 32\nb=AS:1000\na=mid:bar\na=rtcp-mux\na=rtpmap:31 H261/90000\n\
        a=rtpmap:32 MPV/90000\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\n";
    let streams = [
        LocalStream::audio("[2001:db8::1]:20000".parse().unwrap()).with_codecs([Codec::pcmu()]),
        LocalStream::video("[2001:db8::1]:20002".parse().unwrap(), [Codec::new("MPV", 90000)]),
    ];
    let mid = "urn:ietf:params:rtp-hdrext:sdes:mid";
    let streams = streams.map(|stream| stream.with_rtcp_mux(RtcpMux::Negotiate).with_extensions([mid]));
    let mut bob = OfferAnswer::new(LocalMedia::new(streams).with_bundle(), 2808844564).unwrap();
    let answer = bob.receive_offer(&offer.parse().unwrap()).unwrap().to_string().replace("\r\n", "\n");
    let expected = format!(
        "v=0\no=- 2808844564 2808844564 IN IP6 2001:db8::1\ns=-\nc=IN IP6 2001:db8::1\nt=0 0\na=group:BUNDLE foo bar\n\
         m=audio 20000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\na=mid:foo\na=rtcp-mux\na=extmap:1 {mid}\na=sendrecv\n\
         m=video 20000 RTP/AVP 32\na=rtpmap:32 MPV/90000\na=mid:bar\na=rtcp-mux\na=extmap:1 {mid}\na=sendrecv\n"
    );
    assert_eq!(answer, expected);
}
