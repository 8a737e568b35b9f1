//! Two machines that talk to each other, driven by bytes: streams come and go, are held, rekeyed, bundled in groups, sent in
//! layers, with header extensions; offers are lost,
//! refused and crossed. Both sides always end in one agreement, or both stay in the old one (RFC 3264 §4).
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdp::{
    Codec, CryptoSuite, Direction, Extension, ExtensionEncryption, Grouping, HeaderExtension, Layers, LocalEncoding, LocalMedia, LocalStream, OfferAnswer, Protection, RtcpMux, SessionDescription, SrtpKey,
};

/// A stream that one byte describes, and a key that no other stream has.
fn stream(byte: u8, key: u64) -> LocalStream {
    let port = 4000 + u16::from(byte % 7);
    let address = std::net::SocketAddr::new([192, 0, 2, 1 + byte % 3].into(), port);
    let stream = match byte & 1 {
        0 => LocalStream::audio(address).with_codecs([Codec::opus(), Codec::pcmu(), Codec::telephone_event(8000)]),
        _ => LocalStream::video(address, [Codec::h264("42e01f", byte >> 1 & 1), Codec::vp8()]),
    };
    let protection = [Protection::None, Protection::SdesOptional, Protection::SdesRequired];
    let mux = [RtcpMux::Never, RtcpMux::Negotiate, RtcpMux::Only];
    let suite = CryptoSuite::ALL[usize::from(byte >> 2) % 2];
    let extensions = [Some("urn:a"), Some("urn:b c"), Some("urn:b"), (byte & 0x10 != 0).then_some("urn:d")];
    let extensions = extensions.into_iter().flatten().skip(usize::from(byte & 3)).map(|text| match text.split_once(' ') {
        Some((uri, attributes)) => HeaderExtension::new(uri).with_attributes(attributes),
        None => HeaderExtension::new(text),
    });
    let encryption = [ExtensionEncryption::Never, ExtensionEncryption::Preferred, ExtensionEncryption::Required];
    let extensions = extensions.zip(usize::from(byte >> 2)..).map(|(extension, at)| extension.with_encryption(encryption[at % 3]));
    let names = [["a", "b"], ["b", "c"]][usize::from(byte >> 1 & 1)];
    let encodings = |count: u8| names.map(LocalEncoding::new).into_iter().take(count.into());
    let layers = match byte >> 3 & 3 {
        0 => Layers::new(),
        count @ 1..=2 => Layers::new().sending(encodings(count)),
        _ => Layers::new().receiving(encodings(2)).sending([LocalEncoding::new("d")]),
    };
    stream
        .with_extensions(extensions)
        .with_layers(layers)
        .with_sdes(protection[usize::from(byte >> 3) % 3], [fresh(suite, key)])
        .with_rtcp_mux(mux[usize::from(byte >> 5) % 3])
}

fn fresh(suite: CryptoSuite, key: u64) -> SrtpKey {
    SrtpKey::generate(suite, |place| place.iter_mut().zip(key.to_be_bytes()).for_each(|(octet, key)| *octet = key))
}

fn wire(description: &SessionDescription) -> SessionDescription {
    description.to_string().parse().expect("what was printed is read")
}

fn assert_agreed(sides: &[OfferAnswer; 2]) {
    let (Some(near), Some(far)) = (sides[0].current(), sides[1].current()) else {
        assert_eq!(sides[0].current(), sides[1].current());
        return;
    };
    assert_eq!(near.streams.len(), far.streams.len());
    for (near, far) in near.streams.iter().zip(&far.streams) {
        assert_eq!((near.line, near.kind, near.profile), (far.line, far.kind, far.profile));
        assert_eq!((near.mid(), near.bundle(), near.rtcp_mux), (far.mid(), far.bundle(), far.rtcp_mux));
        assert_eq!(near.remote.socket_addr(), Some(far.local));
        assert_eq!(far.remote.socket_addr(), Some(near.local));
        assert_eq!(near.direction, far.direction.reverse());
        assert_eq!(near.synchronized(), far.synchronized());
        let turned = |extension: &Extension| Extension { direction: extension.direction.reverse(), ..extension.clone() };
        assert_eq!(near.extensions(), far.extensions().iter().map(turned).collect::<Vec<_>>());
        assert!(near.extensions().iter().all(|extension| !extension.encrypted || near.is_secure()));
        let layers = [near, far].map(|stream| stream.layers().cloned().unwrap_or_default());
        assert_eq!((&layers[0].send, &layers[0].receive), (&layers[1].receive, &layers[1].send));
        let swapped = far.keys.as_ref().map(|keys| (&keys.receive, &keys.send));
        assert_eq!(near.keys.as_ref().map(|keys| (&keys.send, &keys.receive)), swapped);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [first, second, ops @ ..] = bytes else { return };
    let mut keys = 1_u64;
    let mut key = || {
        keys += 1;
        keys
    };
    let media = |byte: u8, key: u64| LocalMedia { lip_sync: Grouping::apart(), streams: vec![stream(byte, key)], bundle: if byte & 0x80 != 0 { Grouping::together() } else { Grouping::apart() } };
    let sides = [media(*first, key()), media(*second, key())].map(|media| OfferAnswer::new(media, 1).expect("sound media"));
    let mut sides = sides;
    for op in ops.chunks_exact(2).take(64) {
        let [what, byte] = op else { return };
        let (one, other) = (usize::from(*what & 1), usize::from(!*what & 1));
        let before = sides.clone().map(|side| side.current().cloned());
        match *what >> 1 & 7 {
            0..=2 => {
                let Ok(offer) = sides[one].create_offer() else { continue };
                match sides[other].receive_offer(&wire(&offer)) {
                    Ok(answer) if *what & 0x80 == 0 => {
                        sides[one].receive_answer(&wire(&answer)).expect("an answer to our offer");
                    }
                    Ok(_) => assert!(sides[one].rollback() && sides[other].undo_answer()),
                    Err(error) => assert!(error.status() == 488 && sides[one].rollback()),
                }
            }
            3 => {
                if sides[one].create_offer().is_ok() {
                    assert!(sides[one].rollback());
                }
            }
            4 => match byte & 7 {
                0..=2 => sides[one].hold(),
                3..=5 => sides[one].resume(),
                which => {
                    let mut media = sides[one].local().clone();
                    let (first, second) = (0..media.streams.len()).partition(|stream| *byte & 8 << (stream % 5) != 0);
                    let groups = if byte & 0x80 != 0 { Grouping::groups([first, second]) } else { Grouping::together() };
                    match which {
                        6 => media.bundle = groups,
                        _ => media.lip_sync = groups,
                    }
                    sides[one].set_local(media).expect("sound groups");
                }
            },
            5 => drop(sides[one].add_stream(stream(*byte, key()))),
            6 => {
                let fresh = key();
                let _ = sides[one].change_stream(usize::from(byte >> 1), |changed| {
                    *changed = match byte & 1 {
                        0 => LocalStream { enabled: !changed.enabled, ..changed.clone() },
                        _ => stream(*byte, fresh),
                    };
                });
            }
            _ => sides[one].set_direction(match byte & 3 {
                0 => Direction::SendRecv,
                1 => Direction::SendOnly,
                2 => Direction::RecvOnly,
                _ => Direction::Inactive,
            }),
        }
        if what >> 1 & 7 > 2 {
            assert_eq!(sides.clone().map(|side| side.current().cloned()), before);
        }
        assert_agreed(&sides);
    }
});
