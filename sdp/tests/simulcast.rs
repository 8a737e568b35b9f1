//! Layers of one source that are sent at once: simulcast (RFC 8853) with restrictions (RFC 8851).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sdp::attributes::{Restriction, Restrictions};
use sdp::{
    AgreedLayers, Codec, Encoding, Layers, LocalEncoding, LocalMedia, LocalMediaError, LocalStream,
    OfferAnswer, SessionDescription,
};

fn h264() -> Codec {
    Codec::h264("42e01f", 1)
}

fn machine(layers: Option<Layers>) -> OfferAnswer {
    with_codecs([h264(), Codec::vp8()], layers)
}

fn with_codecs(codecs: impl IntoIterator<Item = Codec>, layers: Option<Layers>) -> OfferAnswer {
    let stream = LocalStream::video("192.0.2.1:4000".parse().unwrap(), codecs);
    let stream = stream.with_feedback(["ccm pause"]);
    let stream = match layers {
        Some(layers) => stream.with_layers(layers),
        None => stream,
    };
    OfferAnswer::new(LocalMedia::new([stream]), 1).unwrap()
}

/// A conference that takes three layers of anything and sends one.
fn conference() -> Layers {
    Layers::new().receiving(["a", "b", "c"].map(LocalEncoding::new)).sending([LocalEncoding::new("d")])
}

fn limits(list: &[(Restriction, u64)]) -> Restrictions {
    list.iter().fold(Restrictions::new(), |all, (restriction, most)| all.with(*restriction, *most))
}

fn peer(media: &str) -> SessionDescription {
    format!("v=0\no=- 1 1 IN IP4 203.0.113.5\ns=-\nc=IN IP4 203.0.113.5\nt=0 0\n{media}").parse().unwrap()
}

/// Its lines about layers, in the order of the text.
fn said(description: &SessionDescription) -> Vec<String> {
    let text = description.to_string();
    let lines = text.lines().filter(|line| line.starts_with("a=rid:") || line.starts_with("a=simulcast:"));
    lines.map(|line| line["a=".len()..].to_owned()).collect()
}

fn layers(side: &OfferAnswer) -> Option<&AgreedLayers> {
    side.current().unwrap().video().unwrap().layers()
}

fn names(streams: &[Vec<Encoding>]) -> Vec<Vec<&str>> {
    streams.iter().map(|stream| stream.iter().map(|encoding| encoding.rid.as_str()).collect()).collect()
}

fn exchange(from: &mut OfferAnswer, to: &mut OfferAnswer) -> [SessionDescription; 2] {
    let offer: SessionDescription = from.create_offer().unwrap().to_string().parse().unwrap();
    let answer: SessionDescription = to.receive_offer(&offer).unwrap().to_string().parse().unwrap();
    from.receive_answer(&answer).unwrap();
    [offer, answer]
}

#[test]
fn rfc8853_5_6_1_the_example_is_answered_with_directions_turned() {
    let mut server = with_codecs([h264()], Some(conference()));
    let offer = peer(
        "m=audio 49200 RTP/AVP 0\nm=video 49300 RTP/AVP 97 98\na=rtpmap:97 H264/90000\na=rtpmap:98 VP8/90000\n\
         a=fmtp:97 profile-level-id=42c01f;packetization-mode=1\na=rid:1 send pt=97\na=rid:2 send pt=98,97\n\
         a=rid:3 recv pt=97\na=simulcast:send 1;2 recv 3\n",
    );
    let answer = server.receive_offer(&offer).unwrap();
    assert_eq!(
        said(&answer),
        ["rid:3 send pt=97", "rid:1 recv pt=97", "rid:2 recv pt=97", "simulcast:send 3 recv 1;2"],
        "formats that the answerer lacks are gone"
    );
    let agreed = layers(&server).unwrap();
    assert_eq!((names(&agreed.send), names(&agreed.receive)), (vec![vec!["3"]], vec![vec!["1"], vec!["2"]]));
    assert_eq!(agreed.encoding("2").unwrap().payload_types, [97]);
}

#[test]
fn both_sides_know_the_same_layers_and_keep_their_names() {
    let hd = limits(&[(Restriction::MaxWidth, 1280), (Restriction::MaxFps, 30)]);
    let small = limits(&[(Restriction::MaxWidth, 320)]);
    let camera = Layers::new().sending([
        LocalEncoding::new("hi").within(hd).with_codecs([Codec::vp8()]),
        LocalEncoding::new("lo").within(small).paused(),
    ]);
    let (mut camera, mut server) = (machine(Some(camera)), machine(Some(conference())));
    let [offer, answer] = exchange(&mut camera, &mut server);
    let expected =
        ["rid:hi send pt=97;max-width=1280;max-fps=30", "rid:lo send max-width=320", "simulcast:send hi;~lo"];
    assert_eq!(said(&offer), expected);
    assert_eq!(said(&answer), expected.map(|line| line.replace("send", "recv")));
    assert_eq!(layers(&camera).unwrap().send, layers(&server).unwrap().receive);
    assert!(layers(&camera).unwrap().receive.is_empty());
    assert!(layers(&server).unwrap().encoding("lo").unwrap().paused);

    // RFC 8851 §6.5: the names stay, in offers of the other side too.
    let [offer, _] = exchange(&mut server, &mut camera);
    assert_eq!(
        said(&offer),
        [
            "rid:d send",
            "rid:hi recv pt=97;max-width=1280;max-fps=30",
            "rid:lo recv max-width=320",
            "simulcast:send d recv hi;~lo"
        ]
    );
    assert_eq!(layers(&camera).unwrap().send, layers(&server).unwrap().receive);
    let [again, _] = exchange(&mut camera, &mut server);
    assert_eq!(said(&again), expected);
}

#[test]
fn rfc8853_5_3_2_an_answer_has_no_more_streams_than_it_can_take() {
    let two = Layers::new().receiving([
        LocalEncoding::new("x").with_codecs([Codec::vp8()]),
        LocalEncoding::new("y").within(limits(&[(Restriction::MaxBr, 100_000)])),
    ]);
    let mut server = machine(Some(two));
    let offer = peer(
        "m=video 49300 RTP/AVP 97 98\na=rtpmap:97 H264/90000\na=fmtp:97 profile-level-id=42e01f;packetization-mode=1\n\
         a=rtpmap:98 VP8/90000\n\
         a=rid:1 send pt=97\na=rid:2 send pt=98\na=rid:3 send pt=97;max-br=300000\na=rid:4 send pt=97;max-br\na=rid:5 send max-br=1\n\
         a=simulcast:send 1,2;3,4;5 recv 9\n",
    );
    let answer = server.receive_offer(&offer).unwrap();
    assert_eq!(
        said(&answer),
        [
            "rid:2 recv pt=98",
            "rid:3 recv pt=97;max-br=100000",
            "rid:4 recv pt=97;max-br=100000",
            "simulcast:recv 2;3,4"
        ],
        "1 is not VP8; 5 has no place left; 9 is not described"
    );
}

#[test]
fn what_cannot_be_agreed_on_leaves_one_plain_stream() {
    let head = "m=video 49300 RTP/AVP 98\na=rtpmap:98 VP8/90000\n";
    for lines in [
        "a=rid:1 send\n",                                         // no simulcast
        "a=simulcast:send 1\n",                                   // no such rid
        "a=rid:1 send\na=simulcast:send 1\na=simulcast:send 1\n", // RFC 8853 §5.3.2
        "a=rid:1 send\na=rid:1 send\na=simulcast:send 1\n",       // RFC 8851 §6.2.2, 2
        "a=rid:1 recv\na=simulcast:send 1\n",                     // the direction differs
        "a=rid:1 send pt=97\na=simulcast:send 1\n",               // 3: not on the m= line
        "a=rid:1 send max-width=x\na=simulcast:send 1\n",         // 1: malformed
        "a=rid:1 send max-width=5;max-width=6\na=simulcast:send 1\n",
        "a=rid:1 send max-width=5;pt=98\na=simulcast:send 1\n", // pt comes first
        "a=rid:1 recv x-depth=8\na=simulcast:recv 1\n",         // 4: not known
        "a=rid:1 send depend=2\na=simulcast:send 1\n",          // 5
        "a=rid:1 send depend=1,2\na=rid:2 send depend=3\na=simulcast:send 1;2\n",
        "a=rid:1 send\na=simulcast:sendrecv 1\n",
    ] {
        let mut server = machine(Some(conference()));
        let answer = server.receive_offer(&peer(&format!("{head}{lines}"))).unwrap();
        assert_eq!((said(&answer), layers(&server)), (vec![], None), "{lines}");
        assert_eq!(server.current().unwrap().video().unwrap().send[0].payload_type, 98);
    }
    let offer = peer(&format!("{head}a=rid:1 send x-depth=8\na=rid:2 send depend=1\na=simulcast:send 1;2\n"));
    let answer = machine(Some(conference())).receive_offer(&offer).unwrap();
    assert_eq!(
        said(&answer),
        ["rid:1 recv x-depth=8", "rid:2 recv depend=1", "simulcast:recv 1;2"],
        "what the sender keeps to need not be understood (RFC 8851 §6.2.2)"
    );
    let answer = machine(None).receive_offer(&offer).unwrap();
    assert_eq!(said(&answer), Vec::<String>::new(), "without layers of ours");
}

#[test]
fn what_we_send_is_the_tighter_of_both_limits() {
    let own = limits(&[(Restriction::MaxWidth, 1280), (Restriction::MaxFps, 15)]);
    let mut camera = machine(Some(Layers::new().sending([LocalEncoding::new("x").within(own)])));
    let head = "m=video 49300 RTP/AVP 98\na=rtpmap:98 VP8/90000\n";
    let offer = peer(&format!("{head}a=rid:1 recv max-width=640;max-fps=30;max-br=9\na=simulcast:recv 1\n"));
    let answer = camera.receive_offer(&offer).unwrap();
    assert_eq!(said(&answer), ["rid:1 send max-width=640;max-fps=15;max-br=9", "simulcast:send 1"]);
    let sent = &layers(&camera).unwrap().send[0][0].restrictions;
    assert_eq!((sent.most(Restriction::MaxWidth), sent.most(Restriction::MaxBr)), (Some(640), Some(9)));
}

/// RFC 7728 §6.1, RFC 8853 §5.2: streams are paused only where both sides can pause.
#[test]
fn nothing_is_paused_without_the_means_to_resume_it() {
    let offer = |feedback: &str| {
        peer(&format!(
            "m=video 49300 RTP/AVPF 98\na=rtpmap:98 VP8/90000\n{feedback}a=rid:1 send\na=simulcast:send ~1\n"
        ))
    };
    let answer = machine(Some(conference())).receive_offer(&offer("")).unwrap();
    assert_eq!(said(&answer)[1], "simulcast:recv 1");
    let answer = machine(Some(conference())).receive_offer(&offer("a=rtcp-fb:* ccm pause\n")).unwrap();
    assert_eq!(said(&answer)[1], "simulcast:recv ~1");
}

#[test]
fn rfc8851_6_4_an_answer_that_goes_beyond_the_offer_is_passed_over() {
    let ours = || {
        let limit = limits(&[(Restriction::MaxWidth, 640)]);
        Layers::new()
            .sending([
                LocalEncoding::new("1").with_codecs([Codec::vp8()]).within(limit.clone()),
                LocalEncoding::new("2"),
            ])
            .receiving([LocalEncoding::new("3").within(limit)])
    };
    let head = "m=video 49300 RTP/AVP 110 111\na=rtpmap:110 VP8/90000\na=rtpmap:111 H264/90000\n\
                a=fmtp:111 profile-level-id=42e01f;packetization-mode=1\n";
    for (lines, sent, received) in [
        (
            "a=rid:1 recv pt=110;max-width=640\na=rid:2 recv\na=rid:3 send max-width=320\na=simulcast:recv 1;2 send 3\n",
            "1 2",
            "3",
        ),
        ("a=rid:1 recv pt=110\na=simulcast:recv 1\n", "1", ""), // ours holds all the same
        ("a=rid:1 recv\na=rid:2 recv\na=simulcast:recv 1;2\n", "1 2", ""),
        ("a=rid:3 send\na=rid:2 recv\na=simulcast:recv 2 send 3\n", "2", ""), // 3 could be wider than we take
        ("a=rid:1 recv pt=110;max-width=641\na=rid:2 recv\na=simulcast:recv 1;2\n", "2", ""),
        ("a=rid:1 recv pt=110;max-fps=9\na=rid:2 recv\na=simulcast:recv 1;2\n", "2", ""), // 2: not in the offer
        ("a=rid:1 recv pt=111\na=rid:2 recv pt=110\na=simulcast:recv 1;2\n", "", ""),     // 4, 5
        ("a=rid:1 recv\na=rid:2 recv\na=simulcast:recv 1,2\n", "1", ""), // two streams of the offer are not one
        ("a=rid:9 recv\na=simulcast:recv 9\n", "", ""),
        ("a=rid:1 send\na=simulcast:send 1\n", "", ""),
        ("a=rid:1 recv\n", "", ""),
        ("", "", ""),
    ] {
        let mut camera = machine(Some(ours()));
        camera.create_offer().unwrap();
        camera.receive_answer(&peer(&format!("{head}{lines}"))).unwrap();
        let agreed = layers(&camera).cloned().unwrap_or_default();
        assert_eq!(names(&agreed.send).concat().join(" "), sent, "{lines}");
        assert_eq!(names(&agreed.receive).concat().join(" "), received, "{lines}");
        assert_eq!(layers(&camera).is_none(), sent.is_empty() && received.is_empty());
        if let Some(first) = agreed.encoding("1") {
            assert_eq!(first.restrictions.most(Restriction::MaxWidth), Some(640));
        }
    }
}

#[test]
fn layers_that_cannot_be_written_are_refused() {
    let stream = |layers| LocalStream::video("192.0.2.1:4000".parse().unwrap(), [h264()]).with_layers(layers);
    let one = |encoding| Layers::new().sending([encoding]);
    for (layers, name) in [
        (one(LocalEncoding::new("a b")), "a b"),
        (one(LocalEncoding::new("")), ""),
        (one(LocalEncoding::new("x").with_codecs([Codec::vp8()])), "x"),
        (one(LocalEncoding::new("x").within(limits(&[(Restriction::MaxFs, 0)]))), "x"),
        (one(LocalEncoding::new("x")).receiving([LocalEncoding::new("x")]), "x"),
        (Layers { send: vec![vec![]], ..Layers::new() }, ""),
    ] {
        let made = OfferAnswer::new(LocalMedia::new([stream(layers)]), 1);
        assert_eq!(made.unwrap_err(), LocalMediaError::InvalidLayer(name.to_owned()));
    }
}

/// RFC 8851 §8: the encoding narrows what the codec's parameters allow, and never widens it.
#[test]
fn rfc8851_8_the_smaller_of_both_limits_holds() {
    let level = "a=fmtp:97 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\n";
    let wide =
        limits(&[(Restriction::MaxWidth, 1280), (Restriction::MaxFs, 2_073_600), (Restriction::MaxFps, 60)]);
    let small = limits(&[
        (Restriction::MaxHeight, 180),
        (Restriction::MaxBr, 100_000),
        (Restriction::MaxPps, 1_000_000),
    ]);
    let camera = [LocalEncoding::new("hi").within(wide), LocalEncoding::new("lo").within(small)];
    let mut camera = with_codecs([h264(), Codec::vp8()], Some(Layers::new().sending(camera)));
    camera.create_offer().unwrap();
    let answer = peer(&format!(
        "m=video 49300 RTP/AVPF 97 98\na=rtpmap:97 H264/90000\n{level}a=rtpmap:98 VP8/90000\n\
         a=fmtp:98 max-fs=3600;max-fr=30\n\
         a=rid:hi recv max-width=1280;max-fs=2073600;max-fps=60\na=rid:lo recv max-height=180;max-br=100000;max-pps=1000000\n\
         a=simulcast:recv hi;lo\n"
    ));
    camera.receive_answer(&answer).unwrap();
    let stream = camera.current().unwrap().video().unwrap();
    let of = |rid: &str, codec: usize| {
        let limits = stream.layers().unwrap().encoding(rid).unwrap().limits(&stream.send[codec].codec);
        use Restriction::{MaxBr, MaxFps, MaxFs, MaxHeight, MaxPps, MaxWidth};
        [MaxWidth, MaxHeight, MaxFs, MaxFps, MaxPps, MaxBr].map(|restriction| limits.most(restriction))
    };
    let (h264, vp8) = (0, 1);
    assert_eq!(
        of("hi", h264),
        [Some(1280), Some(2704), Some(921_600), Some(60), Some(27_648_000), Some(16_800_000)]
    );
    assert_eq!(of("lo", h264), [Some(2704), Some(180), Some(921_600), None, Some(1_000_000), Some(100_000)]);
    assert_eq!(of("hi", vp8), [Some(1280), Some(2704), Some(921_600), Some(30), None, None]);
    assert_eq!(
        of("lo", vp8),
        [Some(2704), Some(180), Some(921_600), Some(30), Some(1_000_000), Some(100_000)]
    );
}

/// RFC 8851 §6.2.2 step 6, §6.4 step 7: a line that no codec leaves anything of is discarded, one that some codec does is not.
#[test]
fn rfc8851_8_a_line_without_a_codec_for_it_is_discarded() {
    let nothing = "a=fmtp:98 max-fs=0\n";
    let head = |fmtp: &str| {
        format!(
            "m=video 49300 RTP/AVPF 97 98\na=rtpmap:97 H264/90000\na=rtpmap:98 VP8/90000\n{fmtp}\
             a=fmtp:97 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\n"
        )
    };
    // As an answerer, of what we send: the offer's parameters are what the peer takes.
    let lines = "a=rid:1 recv pt=98\na=rid:2 recv pt=97,98;max-fps=9\na=rid:3 recv\na=simulcast:recv 1;2;3\n";
    let ours = || Layers::new().sending(["a", "b", "c"].map(LocalEncoding::new));
    let machine = |layers| with_codecs([h264(), Codec::vp8()], Some(layers));
    for (fmtp, left) in [(nothing, "simulcast:send 2;3"), ("", "simulcast:send 1;2;3")] {
        let answer = machine(ours()).receive_offer(&peer(&format!("{}{lines}", head(fmtp)))).unwrap();
        assert_eq!(said(&answer).last().map(String::as_str), Some(left));
    }
    // Of what it sends, ours are what counts.
    let lines = "a=rid:1 send pt=98\na=simulcast:send 1\n";
    let answer = machine(conference()).receive_offer(&peer(&format!("{}{lines}", head(nothing)))).unwrap();
    assert_eq!(said(&answer).last().map(String::as_str), Some("simulcast:recv 1"));
    // As an offerer.
    let vp8 = || {
        Layers::new().sending([LocalEncoding::new("1").with_codecs([Codec::vp8()]), LocalEncoding::new("2")])
    };
    for (fmtp, left) in [(nothing, vec![vec!["2"]]), ("", vec![vec!["1"], vec!["2"]])] {
        let mut camera = machine(vp8());
        camera.create_offer().unwrap();
        let lines = "a=rid:1 recv pt=98\na=rid:2 recv\na=simulcast:recv 1;2\n";
        camera.receive_answer(&peer(&format!("{}{lines}", head(fmtp)))).unwrap();
        assert_eq!(names(&layers(&camera).unwrap().send), left);
    }
    let none = Codec::vp8().with_fmtp("max-fr=0");
    let stream = LocalStream::video("192.0.2.1:4000".parse().unwrap(), [none]).with_layers(ours());
    let made = OfferAnswer::new(LocalMedia::new([stream]), 1);
    assert_eq!(made.unwrap_err(), LocalMediaError::InvalidLayer("a".to_owned()));
}
