//! Formats that accompany others: comfort noise, redundancy, retransmission, each with the codec that it belongs to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::{Codec, LocalMedia, LocalMediaError, LocalStream, OfferAnswer, SessionDescription};

fn side(stream: LocalStream) -> OfferAnswer {
    OfferAnswer::new(LocalMedia::new([stream]), 1).unwrap()
}

fn audio(codecs: impl IntoIterator<Item = Codec>) -> OfferAnswer {
    side(LocalStream::audio("192.0.2.1:4000".parse().unwrap()).with_codecs(codecs))
}

fn video(codecs: impl IntoIterator<Item = Codec>) -> OfferAnswer {
    side(LocalStream::video("192.0.2.1:4000".parse().unwrap(), codecs))
}

fn peer(media: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{media}").parse().unwrap()
}

fn h264() -> Codec {
    Codec::h264("42e01f", 1)
}

fn with_retransmission(codecs: &[Codec]) -> Vec<Codec> {
    codecs.iter().flat_map(|codec| [codec.clone(), Codec::retransmission(codec)]).collect()
}

#[test]
fn rfc3389_and_2198_comfort_noise_and_redundancy_are_agreed_on_with_their_codec() {
    let codecs =
        || [Codec::pcma(), Codec::pcmu(), Codec::comfort_noise(8000), Codec::redundancy(&Codec::pcma())];
    let (mut alice, mut bob) = (
        audio(codecs()),
        audio([Codec::pcmu(), Codec::pcma()].into_iter().chain(codecs().into_iter().skip(2))),
    );
    let offer = alice.create_offer().unwrap().to_string();
    assert!(offer.contains("m=audio 4000 RTP/AVP 8 0 13 96\r\n"), "{offer}");
    assert!(offer.contains("a=rtpmap:13 CN/8000\r\n") && offer.contains("a=fmtp:96 8/8\r\n"), "{offer}");
    let answer = bob.receive_offer(&offer.parse().unwrap()).unwrap();
    assert!(answer.to_string().contains("a=fmtp:96 8/8\r\n"), "{answer}");
    alice.receive_answer(&answer).unwrap();
    for side in [&alice, &bob] {
        let audio = side.current().unwrap().audio().unwrap();
        assert_eq!(audio.comfort_noise(8000).unwrap().send.payload_type, 13);
        assert_eq!(audio.comfort_noise(16_000), None);
        let sent = audio.codec().unwrap();
        assert_eq!(audio.redundancy(sent).unwrap().receive.payload_type, 96);
        let other = audio.send.iter().find(|payload| payload.codec == Codec::pcmu()).unwrap();
        assert_eq!(audio.redundancy(other), None, "the parameters name PCMA alone");
    }
    // A phone that knows neither is not disturbed.
    let answer = audio([Codec::pcmu()]).receive_offer(&offer.parse().unwrap()).unwrap().to_string();
    assert!(answer.contains("m=audio 4000 RTP/AVP 0\r\n"), "{answer}");
}

#[test]
fn rfc4588_8_6_retransmission_follows_the_codec_that_it_repairs() {
    let mut alice = video(with_retransmission(&[Codec::vp8(), h264()]));
    let offer = alice.create_offer().unwrap().to_string();
    assert!(offer.contains("m=video 4000 RTP/AVP 96 98 97 99\r\n"), "{offer}");
    assert!(offer.contains("a=fmtp:98 apt=96\r\n") && offer.contains("a=fmtp:99 apt=97\r\n"), "{offer}");

    // Bob has H.264 alone, and repairs it alone.
    let mut bob = video(with_retransmission(&[h264()]));
    let answer = bob.receive_offer(&offer.parse().unwrap()).unwrap().to_string();
    assert!(answer.contains("RTP/AVP 97 99\r\n") && answer.contains("a=fmtp:99 apt=97\r\n"), "{answer}");
    alice.receive_answer(&answer.parse().unwrap()).unwrap();
    for side in [&alice, &bob] {
        let video = side.current().unwrap().video().unwrap();
        assert_eq!(video.codec().unwrap().payload_type, 97);
        assert_eq!(video.retransmission(97).unwrap().send.payload_type, 99);
        assert_eq!(video.retransmission(96), None);
        assert_eq!(video.companions().len(), 1);
    }
    // The numbers stay over re-offers, and with them the version.
    let again = alice.create_offer().unwrap().to_string();
    assert!(again.contains("a=fmtp:98 apt=96\r\n") && again.contains("a=fmtp:99 apt=97\r\n"), "{again}");
}

/// RFC 3264 §6.1: an answer may have numbers of its own; `apt` then names those.
#[test]
fn an_answer_with_other_numbers_repairs_by_them() {
    let mut alice = video(with_retransmission(&[Codec::vp8(), h264()]));
    alice.create_offer().unwrap();
    let answer = peer(
        "m=video 5000 RTP/AVP 110 109\na=rtpmap:109 VP8/90000\na=rtpmap:110 rtx/90000\na=fmtp:110 apt=109;rtx-time=500\n",
    );
    alice.receive_answer(&answer).unwrap();
    let video = alice.current().unwrap().video().unwrap();
    let repair = video.retransmission(109).unwrap();
    assert_eq!((repair.send.payload_type, repair.receive.payload_type), (110, 98));
    assert_eq!(repair.send.codec.fmtp(), Some("apt=109;rtx-time=500"));
}

#[test]
fn retransmission_of_nothing_is_left_out() {
    for formats in [
        // apt names what is not there, what we do not have, nothing, and the retransmission itself.
        "100 101\na=rtpmap:100 VP8/90000\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=99\n",
        "100 101 102\na=rtpmap:100 VP8/90000\na=rtpmap:102 H265/90000\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=102\n",
        "100 101\na=rtpmap:100 VP8/90000\na=rtpmap:101 rtx/90000\n",
        "100 101\na=rtpmap:100 VP8/90000\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=101\n",
        // The second number of a codec that is taken once.
        "100 102 101\na=rtpmap:100 VP8/90000\na=rtpmap:102 VP8/90000\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=102\n",
    ] {
        let mut bob = video(with_retransmission(&[Codec::vp8()]));
        let answer =
            bob.receive_offer(&peer(&format!("m=video 5000 RTP/AVP {formats}"))).unwrap().to_string();
        assert!(answer.contains("m=video 4000 RTP/AVP 100\r\n"), "{formats}{answer}");
    }
    let mut bob = video(with_retransmission(&[Codec::vp8()]));
    let rtx_alone = "m=video 5000 RTP/AVP 101\na=rtpmap:101 rtx/90000\na=fmtp:101 apt=100\n";
    assert!(bob.receive_offer(&peer(rtx_alone)).is_err(), "nothing can live on it");
}

#[test]
fn retransmission_of_a_codec_that_the_stream_lacks_cannot_be_offered() {
    let stream =
        LocalStream::video("192.0.2.1:4000".parse().unwrap(), [Codec::vp8(), Codec::retransmission(&h264())]);
    let made = OfferAnswer::new(LocalMedia::new([stream]), 1);
    assert!(matches!(made, Err(LocalMediaError::InvalidCodec(_))), "{made:?}");
}
