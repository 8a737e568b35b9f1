//! Session descriptions: any bytes are read or refused, what is read prints stably, and every negotiation with it keeps the
//! rules of RFC 3264 that can be seen from outside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdp::attributes::{Restriction, Restrictions};
use sdp::{
    Codec, CryptoSuite, HeaderExtension, Layers, LocalEncoding, LocalMedia, LocalStream, OfferAnswer, Protection, RtcpMux, SessionDescription, SrtpKey,
};

/// A phone with video, and keys for whoever has some, all in one bundle.
fn rich() -> LocalMedia {
    let key = |octet| SrtpKey::generate(CryptoSuite::AesCm128HmacSha1_80, |place| place.fill(octet));
    let audio = LocalStream::audio("192.0.2.1:4000".parse().expect("an address"));
    let video = LocalStream::video("[2001:db8::1]:4002".parse().expect("an address"), [Codec::h264("42e01f", 1), Codec::vp8()]);
    let audio = audio.with_sdes(Protection::SdesOptional, [key(1)]);
    let video = video.with_sdes(Protection::SdesRequired, [key(2)]).with_feedback(["nack pli"]);
    let encodings = ["a", "b"].map(LocalEncoding::new);
    let small = LocalEncoding::new("c").within(Restrictions::new().with(Restriction::MaxWidth, 320));
    let video = video.with_layers(Layers::new().sending([small]).receiving(encodings));
    let streams = [audio, video].map(|stream| {
        let extensions = [HeaderExtension::new("urn:x").with_attributes("y"), HeaderExtension::new("urn:x")];
        let stream = stream.with_rtcp_mux(RtcpMux::Negotiate).with_extensions(extensions);
        stream.with_options(|more| more.mixed_extensions = true)
    });
    LocalMedia::new(streams).with_bundle().with_lip_sync([0, 1])
}

fuzz_target!(|text: &[u8]| {
    let Ok(description) = SessionDescription::parse(text) else { return };
    let printed = description.to_bytes();
    let again = SessionDescription::parse(&printed).expect("what was printed is read");
    assert_eq!(again, description);
    assert_eq!(again.to_bytes(), printed);
    for section in description.media() {
        let _ = (section.payloads(), section.rtp_address(), section.rtcp_address(), section.ptime(), section.max_ptime());
        for crypto in section.cryptos() {
            assert_eq!(crypto.to_string().parse(), Ok(crypto));
        }
        let _ = (section.simulcast(), section.candidates(), section.fingerprints(), section.t38(), section.feedback());
    }
    for local in [LocalMedia::audio("192.0.2.1:4000".parse().expect("an address")), rich()] {
        negotiate(&description, local);
    }
});

fn negotiate(description: &SessionDescription, local: LocalMedia) {
    let mut callee = OfferAnswer::new(local.clone(), 1).expect("sound media");
    if let Ok(answer) = callee.receive_offer(description) {
        assert_eq!(answer.media().len(), description.media().len());
        for (answered, offered) in answer.media().zip(description.media()) {
            assert!(offered.port() != 0 || offered.bundle_only() || answered.port() == 0);
        }
        // The same offer once more changes nothing.
        let agreed = callee.current().cloned();
        assert_eq!(callee.receive_offer(description).as_ref(), Ok(&answer));
        assert_eq!(callee.current(), agreed.as_ref());
        // An offer of our own keeps every line.
        assert!(callee.create_offer().expect("stable").media().len() >= description.media().len());
    }

    let mut caller = OfferAnswer::new(local, 2).expect("sound media");
    caller.create_offer().expect("stable");
    if caller.receive_answer(description).is_err() {
        assert!(caller.current().is_none());
    }
}
