//! The law of offer/answer: two machines fed with each other's texts end in one new agreement, or both stay in the old one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sdp::attributes::Restrictions;
use sdp::{
    Codec, CodecOrder, CryptoSuite, Direction, ExtensionEncryption, Grouping, HeaderExtension, HoldStyle,
    Layers, LocalEncoding, LocalMedia, LocalStream, MediaKind, OfferAnswer, Options, Protection, RtcpMux,
    SessionDescription, SrtpKey,
};

const ANNE: usize = 0;
/// Pairs of machines of a usual run. `OFFER_ANSWER_PAIRS` asks for more: a million, before a release.
const PAIRS: u32 = 1_000;

fn pairs() -> u32 {
    std::env::var("OFFER_ANSWER_PAIRS").ok().and_then(|pairs| pairs.parse().ok()).unwrap_or(PAIRS)
}

/// One thing that happens. Sides are 0 and 1.
#[derive(Clone, Debug)]
enum Step {
    /// An offer that arrives, and an answer that arrives.
    Exchange(usize),
    /// An offer that is refused or lost: rolled back.
    LostOffer(usize),
    /// An answer that is sent but never becomes valid: both sides take it back.
    LostAnswer(usize),
    /// Both offer at once: both refuse with 491 and roll back.
    Glare,
    Direction(usize, Direction),
    Hold(usize, bool),
    /// Other media altogether, with fresh keys.
    Media(usize, LocalMedia),
    /// One stream more.
    Add(usize, LocalStream),
    /// A stream is ended, or wanted again.
    Enable(usize, usize, bool),
    /// Fresh keys for a stream.
    Rekey(usize, usize, Vec<SrtpKey>),
}

fn codecs(kind: MediaKind) -> impl Strategy<Value = Vec<Codec>> {
    let all = match kind {
        MediaKind::Video => vec![
            Codec::h264("42e01f", 1),
            Codec::h264("42e01f", 0),
            Codec::new("H264", 90000).with_fmtp("profile-level-id=42c00d;packetization-mode=1;max-br=900"),
            Codec::vp8(),
            Codec::retransmission(&Codec::vp8()),
            Codec::retransmission(&Codec::h264("42e01f", 1)),
            Codec::new("VP9", 90000).with_fmtp("profile-id=2"),
        ],
        _ => vec![
            Codec::pcmu(),
            Codec::pcma(),
            Codec::g722(),
            Codec::opus().with_fmtp("useinbandfec=1"),
            Codec::new("L16", 16000),
            Codec::new("AMR-WB", 16000).with_fmtp("octet-align=1"),
            Codec::new("G729", 8000).with_fmtp("annexb=no"),
            Codec::telephone_event(8000),
            Codec::telephone_event(48000),
            Codec::comfort_noise(8000),
            Codec::redundancy(&Codec::pcmu()),
            Codec::redundancy(&Codec::opus()),
        ],
    };
    let (count, first) = (all.len(), if kind == MediaKind::Video { Codec::vp8() } else { Codec::pcmu() });
    proptest::sample::subsequence(all, 1..=count)
        .prop_shuffle()
        .prop_map(|mut codecs| {
            // One spelling of H.264 for each format.
            let mut known: Vec<Codec> = Vec::new();
            codecs.retain(|codec| {
                let fresh = !known.iter().any(|other| other.is_compatible(codec));
                known.push(codec.clone());
                fresh
            });
            let primaries = codecs.clone();
            codecs.retain(|codec| {
                !codec.is_retransmission()
                    || primaries.iter().any(|primary| Codec::retransmission(primary) == *codec)
            });
            codecs
        })
        .prop_map(move |mut codecs| {
            // One to talk with. Put in and not waited for: proptest gives up when it has thrown away too many.
            if !codecs.iter().any(Codec::is_primary) {
                codecs.insert(0, first.clone());
            }
            codecs
        })
        // Parameters that allow no picture at all, beside codecs that do (RFC 8851 §8).
        .prop_flat_map(|codecs| (Just(codecs), proptest::bool::weighted(0.1)))
        .prop_map(|(mut codecs, useless)| {
            let repaired = codecs.contains(&Codec::retransmission(&Codec::vp8()));
            let others = codecs.iter().filter(|codec| codec.is_primary()).count() > 1;
            if let Some(codec) = codecs.iter_mut().find(|codec| **codec == Codec::vp8())
                && useless
                && others
                && !repaired
            {
                *codec = Codec::vp8().with_fmtp("max-fs=0");
            }
            codecs
        })
}

fn keys() -> impl Strategy<Value = Vec<SrtpKey>> {
    let suites = proptest::sample::subsequence(CryptoSuite::ALL.to_vec(), 1..=3).prop_shuffle();
    (suites, any::<[u64; 2]>()).prop_map(|(suites, seed)| {
        let key = |(index, suite): (usize, CryptoSuite)| {
            SrtpKey::generate(suite, |octets| {
                let seed =
                    seed.iter().flat_map(|half| half.to_be_bytes()).chain([u8::try_from(index).unwrap()]);
                octets.iter_mut().zip(seed.cycle()).for_each(|(octet, random)| *octet = random);
            })
        };
        suites.into_iter().enumerate().map(key).collect()
    })
}

fn protection() -> impl Strategy<Value = Protection> {
    prop_oneof![
        4 => Just(Protection::None),
        3 => Just(Protection::SdesOptional),
        2 => Just(Protection::SdesRequired),
        1 => Just(Protection::Dtls),
    ]
}

fn mux() -> impl Strategy<Value = RtcpMux> {
    prop_oneof![2 => Just(RtcpMux::Never), 4 => Just(RtcpMux::Negotiate), 1 => Just(RtcpMux::Only)]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        4 => Just(Direction::SendRecv),
        2 => Just(Direction::SendOnly),
        1 => Just(Direction::RecvOnly),
        1 => Just(Direction::Inactive),
    ]
}

fn encodings(names: &'static str) -> impl Strategy<Value = Vec<LocalEncoding>> {
    use sdp::attributes::Restriction;
    let limits = proptest::option::of((any::<bool>(), 1..4_u64));
    let one = (limits, any::<[bool; 2]>()).prop_map(|(limits, [paused, vp8])| {
        let restrictions = match limits {
            None => Restrictions::new(),
            Some((true, most)) => {
                Restrictions::new().with(Restriction::MaxFps, most).asking(Restriction::MaxBr)
            }
            Some((false, most)) => Restrictions::new().with(Restriction::MaxBr, most),
        };
        let encoding = LocalEncoding::new("").within(restrictions);
        let codecs = if vp8 { vec![Codec::vp8()] } else { Vec::new() };
        LocalEncoding { paused, ..encoding.with_codecs(codecs) }
    });
    proptest::collection::vec(one, 0..4).prop_map(move |mut all| {
        for (encoding, name) in all.iter_mut().zip(names.chars()) {
            encoding.rid = name.to_string();
        }
        all
    })
}

/// Names that the other side may use for something else.
fn layers() -> impl Strategy<Value = Option<Layers>> {
    let names = prop_oneof![Just(["abc", "def"]), Just(["cde", "fab"])];
    let layers = names.prop_flat_map(|[sent, received]| (encodings(sent), encodings(received)));
    proptest::option::of(layers.prop_map(|(sent, received)| {
        let mut layers = Layers::new().sending(sent).receiving(received);
        // Two of three are alternatives.
        for streams in [&mut layers.send, &mut layers.receive] {
            if streams.len() == 3 {
                let last = streams.pop().unwrap();
                streams[1].extend(last);
            }
        }
        layers
    }))
}

/// Few in this or that configuration and direction, and now and then more than fit.
fn extensions() -> impl Strategy<Value = (Vec<HeaderExtension>, bool)> {
    let all = [
        ("urn:a", None),
        ("urn:b", None),
        ("urn:b", Some("x")),
        ("urn:b", Some("y z")),
        ("urn:c", Some("x")),
    ];
    let some = proptest::sample::subsequence(all.to_vec(), 0..=all.len()).prop_shuffle();
    let encryption = prop_oneof![
        Just(ExtensionEncryption::Never),
        Just(ExtensionEncryption::Preferred),
        Just(ExtensionEncryption::Required),
    ];
    let directions = proptest::collection::vec((direction(), encryption), all.len());
    (some, directions, proptest::bool::weighted(0.2), any::<bool>()).prop_map(
        |(some, directions, many, mixed)| {
            let extension = |((uri, attributes), (direction, encryption)): (
                (&str, Option<&str>),
                (Direction, ExtensionEncryption),
            )| HeaderExtension {
                attributes: attributes.map(str::to_owned),
                ..HeaderExtension::new(uri).with_direction(direction).with_encryption(encryption)
            };
            let mut all: Vec<_> = some.into_iter().zip(directions).map(extension).collect();
            if many {
                all.extend((0..20).map(|number| HeaderExtension::new(format!("urn:many:{number}"))));
            }
            (all, mixed)
        },
    )
}

fn stream() -> impl Strategy<Value = LocalStream> {
    let host = prop_oneof![4 => Just("192.0.2.1"), 2 => Just("198.51.100.1"), 2 => Just("2001:db8::1"), 1 => Just("0.0.0.0")];
    let kind =
        prop_oneof![5 => Just(MediaKind::Audio), 3 => Just(MediaKind::Video), 1 => Just(MediaKind::Image)];
    let transport = (host, 1..=u16::MAX, mux(), protection(), keys());
    let kind = kind.prop_flat_map(|kind| (Just(kind), codecs(kind)));
    let more = (direction(), proptest::option::of(10..60_u16), any::<[bool; 3]>(), layers(), extensions());
    (kind, transport, more).prop_map(
        |(
            (kind, codecs),
            (host, port, mux, protection, keys),
            (direction, ptime, flags, layers, extensions),
        )| {
            let address = std::net::SocketAddr::new(host.parse().unwrap(), port);
            let other = if address.is_ipv4() { "[2001:db8::2]:4000" } else { "203.0.113.1:4000" };
            let [dual, avpf, named] = flags;
            if kind == MediaKind::Image {
                return LocalStream::other(kind, address, "udptl", ["t38"]).with_direction(direction);
            }
            let layers = layers.filter(|_| kind == MediaKind::Video).map(|mut layers| {
                for encoding in layers.send.iter_mut().chain(&mut layers.receive).flatten() {
                    encoding.codecs.retain(|codec| codecs.contains(codec));
                }
                Box::new(layers)
            });
            let stream = LocalStream { ptime, protection, keys, ..LocalStream::new(kind, address, codecs) };
            stream.with_direction(direction).with_rtcp_mux(mux).with_options(|more| {
                more.rtcp_port = Some(port);
                more.other_family = dual.then(|| other.parse().unwrap());
                more.avpf = avpf;
                if avpf {
                    more.feedback = vec!["nack pli".into(), "ccm fir".into(), "ccm pause nowait".into()];
                }
                (more.extensions, more.mixed_extensions) = extensions;
                more.layers = layers;
                more.mid = named.then(|| "name".into());
                if protection == Protection::Dtls {
                    more.attributes = vec![
                        sdp::sdp_types::Attribute::with_value("fingerprint", "sha-256 AA:BB"),
                        sdp::sdp_types::Attribute::with_value("setup", "actpass"),
                    ];
                }
            })
        },
    )
}

fn media() -> impl Strategy<Value = LocalMedia> {
    (proptest::collection::vec(stream(), 1..5), any::<[bool; 2]>(), proptest::option::of(any::<[bool; 4]>()))
        .prop_map(|(streams, [bundle, lips], groups)| {
            let bundle = match (bundle, groups) {
                (false, _) => Grouping::apart(),
                (true, None) => Grouping::together(),
                // Each stream in one of two groups.
                (true, Some(second)) => {
                    let (one, other) = (0..streams.len()).partition(|stream| !second[*stream]);
                    Grouping::groups([one, other])
                }
            };
            let lip_sync = if lips { Grouping::together() } else { Grouping::apart() };
            LocalMedia { streams, bundle, lip_sync }
        })
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2_usize;
    prop_oneof![
        8 => side.clone().prop_map(Step::Exchange),
        2 => side.clone().prop_map(Step::LostOffer),
        1 => side.clone().prop_map(Step::LostAnswer),
        1 => Just(Step::Glare),
        2 => (side.clone(), direction()).prop_map(|(side, direction)| Step::Direction(side, direction)),
        2 => (side.clone(), any::<bool>()).prop_map(|(side, on)| Step::Hold(side, on)),
        1 => (side.clone(), media()).prop_map(|(side, media)| Step::Media(side, media)),
        2 => (side.clone(), stream()).prop_map(|(side, stream)| Step::Add(side, stream)),
        2 => (side.clone(), 0..4_usize, any::<bool>()).prop_map(|(side, stream, on)| Step::Enable(side, stream, on)),
        1 => (side, 0..4_usize, keys()).prop_map(|(side, stream, keys)| Step::Rekey(side, stream, keys)),
    ]
}

/// Every description travels as text.
fn over_the_wire(description: &SessionDescription) -> SessionDescription {
    let text = description.to_string();
    let read: SessionDescription = text.parse().unwrap();
    assert_eq!(read.to_string(), text);
    read
}

/// Both agreements are one, seen from two sides.
fn assert_agreed(one: &OfferAnswer, two: &OfferAnswer) {
    let (Some(one), Some(two)) = (one.current(), two.current()) else {
        assert_eq!(one.current(), two.current());
        return;
    };
    assert_eq!(one.streams.len(), two.streams.len());
    for (near, far) in one.streams.iter().zip(&two.streams) {
        assert_eq!((near.line, near.kind), (far.line, far.kind));
        assert_eq!((near.profile, near.rtcp_mux), (far.profile, far.rtcp_mux));
        assert_eq!((near.mid(), near.bundle()), (far.mid(), far.bundle()));
        assert_eq!((near.is_secure(), near.formats()), (far.is_secure(), far.formats()));
        match (&near.keys, &far.keys) {
            (Some(near), Some(far)) => {
                assert_eq!((&near.send, &near.receive), (&far.receive, &far.send));
                assert_eq!(near.send.suite(), near.receive.suite());
                assert_ne!(near.send.key(), near.receive.key());
            }
            (near, far) => assert_eq!(near, far),
        }
        let layers = |stream: &sdp::MediaStream| stream.layers().cloned().unwrap_or_default();
        let (ours, theirs) = (layers(near), layers(far));
        assert_eq!((&ours.send, &ours.receive), (&theirs.receive, &theirs.send));
        assert_eq!(near.layers().is_some(), far.layers().is_some());
        let turned = |extension: &sdp::Extension| {
            let direction = extension.direction.reverse();
            sdp::Extension { direction, ..extension.clone() }
        };
        assert_eq!(near.extensions(), far.extensions().iter().map(turned).collect::<Vec<_>>());
        // RFC 6904 §4: only in SRTP, and in one form alone.
        for (place, extension) in near.extensions().iter().enumerate() {
            assert!(!extension.encrypted || near.is_secure());
            let same = |other: &sdp::Extension| {
                (&other.uri, &other.attributes) == (&extension.uri, &extension.attributes)
            };
            assert!(!near.extensions()[..place].iter().any(same), "{:?}", near.extensions());
        }
        assert_eq!(near.mixed_extensions(), far.mixed_extensions());
        assert_eq!(near.synchronized(), far.synchronized());
        assert_eq!(near.feedback().is_empty(), far.feedback().is_empty());
        assert_eq!(near.remote.socket_addr(), Some(far.local));
        assert_eq!(far.remote.socket_addr(), Some(near.local));
        assert_eq!(near.direction, far.direction.reverse());
        for (sender, receiver) in [(near, far), (far, near)] {
            // The same codecs under the same numbers in each direction; the two orders may differ.
            let numbers = |payloads: &[sdp::Payload]| {
                let mut all: Vec<_> = payloads
                    .iter()
                    .map(|p| (p.payload_type, p.codec.name().to_owned(), p.codec.clock_rate()))
                    .collect();
                all.sort();
                all
            };
            assert_eq!(numbers(&sender.send), numbers(&receiver.receive));
            // The sender knows the very parameters that the receiver told.
            for payload in &sender.send {
                let told =
                    receiver.receive.iter().find(|told| told.payload_type == payload.payload_type).unwrap();
                assert_eq!(payload.codec.fmtp(), told.codec.fmtp());
                assert!(payload.codec.is_compatible(&told.codec));
            }
            // So does what accompanies them, each with the number of what it is about.
            let companions = |stream: &sdp::MediaStream, sent: bool| {
                let side = |companion: &sdp::Companion| match sent {
                    true => companion.send.clone(),
                    false => companion.receive.clone(),
                };
                let mut all: Vec<_> = stream.companions().iter().map(side).collect();
                all.sort_by_key(|payload| payload.payload_type);
                all
            };
            assert_eq!(companions(sender, true), companions(receiver, false));
            for companion in
                sender.companions().iter().filter(|companion| companion.send.codec.is_retransmission())
            {
                let repairs = |payload: &&sdp::Payload| {
                    sender.retransmission(payload.payload_type).is_some_and(|found| found == companion)
                };
                assert_eq!(sender.send.iter().filter(repairs).count(), 1, "{companion:?}");
            }
            let mut sent = sender.send_events.clone();
            let mut received = receiver.receive_events.clone();
            sent.sort_by_key(|events| events.payload_type);
            received.sort_by_key(|events| events.payload_type);
            assert_eq!(sent, received);
        }
        assert_eq!(
            near.codec().map(|p| p.codec.name()),
            far.codec().map(|p| p.codec.name()),
            "one codec both ways"
        );
    }
}

/// In a line that stays in use, and in a group, an identifier stands for one header extension (RFC 8285 §7).
fn assert_identified(before: Option<&sdp::Negotiated>, now: Option<&sdp::Negotiated>) {
    let streams =
        |agreed: Option<&sdp::Negotiated>| agreed.map(|agreed| agreed.streams.clone()).unwrap_or_default();
    let now = streams(now);
    for (index, stream) in now.iter().enumerate() {
        let before = streams(before).into_iter().filter(|old| old.line == stream.line);
        let group =
            now[..index].iter().filter(|other| other.bundle().is_some() && other.bundle() == stream.bundle());
        for other in before.chain(group.cloned()) {
            for (one, two) in stream
                .extensions()
                .iter()
                .flat_map(|one| other.extensions().iter().map(move |two| (one, two)))
            {
                if one.id == two.id {
                    assert_eq!((&one.uri, &one.attributes), (&two.uri, &two.attributes));
                }
            }
        }
    }
}

/// The rules that hold between the descriptions one side sends (RFC 3264 §8).
#[derive(Clone, Default)]
struct Sent {
    last: Option<SessionDescription>,
    lines: usize,
    meanings: std::collections::HashMap<(u8, usize), (Codec, u32)>,
    /// How often a line was put to a new use: its payload types begin anew then.
    uses: Vec<(bool, u32)>,
}

impl Sent {
    /// What was said was refused: only its version counts.
    fn forget(&mut self, before: &Sent) {
        *self = Sent { last: self.last.take(), ..before.clone() };
    }

    fn check(&mut self, new: &SessionDescription) {
        let lines = new.media().len();
        assert!(lines >= self.lines, "lines agreed on are never removed");
        self.uses.resize(lines.max(self.uses.len()), (false, 0));
        let bundle_only = |section: &sdp::MediaSection<'_>| section.bundle_only();
        for (line, section) in new.media().enumerate() {
            let in_use = section.port() != 0 || bundle_only(&section);
            let (before, uses) = &mut self.uses[line];
            *uses += u32::from(in_use && !*before);
            *before = in_use;
            for payload in section.payloads().into_iter().filter(|_| in_use) {
                let known = self
                    .meanings
                    .entry((payload.payload_type, line))
                    .or_insert((payload.codec.clone(), *uses));
                if known.1 == *uses {
                    assert!(
                        known.0.is_compatible(&payload.codec),
                        "a payload type keeps its meaning: {known:?} {payload:?}"
                    );
                } else {
                    *known = (payload.codec, *uses);
                }
            }
        }
        if let Some(last) = &self.last {
            let (mut before, after) = (last.session().clone(), new.session().clone());
            let grown = after.origin.sess_version - before.origin.sess_version;
            before.origin.sess_version = after.origin.sess_version;
            assert_eq!(grown, u64::from(before != after), "the version counts changes, one by one");
            assert_eq!(before.origin, after.origin, "only the version of o= changes");
        }
        self.last = Some(new.clone());
    }
}

fn run(media: [LocalMedia; 2], orders: [CodecOrder; 2], hold_style: HoldStyle, steps: Vec<Step>) {
    let [anne, ben] = media;
    let options = |codec_order| Options { codec_order, hold_style, ..Options::default() };
    let mut sides = [
        OfferAnswer::with_options(anne, 1, options(orders[0])).unwrap(),
        OfferAnswer::with_options(ben, 2, options(orders[1])).unwrap(),
    ];
    let mut sent = [Sent::default(), Sent::default()];
    for step in steps {
        let before = [sides[0].current().cloned(), sides[1].current().cloned()];
        let said = sent.clone();
        let unchanged = |sides: &[OfferAnswer; 2]| {
            assert_eq!(sides[0].current(), before[0].as_ref());
            assert_eq!(sides[1].current(), before[1].as_ref());
        };
        match step {
            Step::Exchange(side) | Step::LostAnswer(side) => {
                let other = 1 - side;
                let Ok(offer) = sides[side].create_offer() else { continue };
                sent[side].check(&offer);
                let offer = over_the_wire(&offer);
                let preview = sides[other].preview_offer(&offer);
                unchanged(&sides);
                match sides[other].receive_offer(&offer) {
                    Ok(answer) => {
                        sent[other].check(&answer);
                        assert_eq!(preview.ok().as_ref(), sides[other].current());
                        if matches!(step, Step::LostAnswer(_)) {
                            assert!(sides[side].rollback() && sides[other].undo_answer());
                            sent[side].forget(&said[side]);
                            sent[other].forget(&said[other]);
                            unchanged(&sides);
                        } else {
                            sides[side].receive_answer(&over_the_wire(&answer)).unwrap();
                            sent.iter_mut().for_each(|sent| sent.lines = answer.media().len());
                        }
                    }
                    Err(error) => {
                        assert_eq!(error.status(), 488);
                        assert_eq!(preview.unwrap_err(), error);
                        sent[side].forget(&said[side]);
                        assert!(sides[side].rollback());
                        unchanged(&sides);
                    }
                }
            }
            Step::LostOffer(side) => {
                let Ok(offer) = sides[side].create_offer() else { continue };
                sent[side].check(&offer);
                sent[side].forget(&said[side]);
                assert!(sides[side].rollback());
                unchanged(&sides);
            }
            Step::Glare => {
                let offers = [sides[0].create_offer(), sides[1].create_offer()];
                let [Ok(from_anne), Ok(from_ben)] = offers else {
                    for side in &mut sides {
                        side.rollback();
                    }
                    // A version may be used up by one of them.
                    sent.iter_mut().for_each(|sent| sent.last = None);
                    continue;
                };
                let offers = [from_anne, from_ben];
                for side in [ANNE, 1] {
                    sent[side].check(&offers[side]);
                    sent[side].forget(&said[side]);
                    assert_eq!(sides[side].receive_offer(&offers[1 - side]).unwrap_err().status(), 491);
                }
                assert!(sides.iter_mut().all(OfferAnswer::rollback));
                unchanged(&sides);
            }
            Step::Direction(side, direction) => sides[side].set_direction(direction),
            Step::Hold(side, true) => sides[side].hold(),
            Step::Hold(side, false) => sides[side].resume(),
            Step::Media(side, media) => drop(sides[side].set_local(media)),
            Step::Add(side, stream) => drop(sides[side].add_stream(stream)),
            Step::Enable(side, stream, on) => {
                let _ = sides[side].change_stream(stream, |stream| stream.enabled = on);
            }
            Step::Rekey(side, stream, keys) => {
                let _ = sides[side].change_stream(stream, |stream| stream.keys = keys);
            }
        }
        assert_agreed(&sides[0], &sides[1]);
        assert_identified(before[0].as_ref(), sides[0].current());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: pairs(), ..ProptestConfig::default() })]

    #[test]
    fn two_machines_always_agree(
        anne in media(),
        ben in media(),
        orders in any::<[bool; 2]>(),
        old_hold in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let orders = orders.map(|local| if local { CodecOrder::Local } else { CodecOrder::Offerer });
        let hold_style = if old_hold { HoldStyle::Address } else { HoldStyle::Direction };
        // Keys drawn twice by the generator are none.
        prop_assume!([&anne, &ben].iter().all(|media| OfferAnswer::new((*media).clone(), 1).is_ok()));
        run([anne, ben], orders, hold_style, steps);
    }
}
