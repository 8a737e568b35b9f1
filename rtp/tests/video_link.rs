//! Pictures over a link made of memory that loses and reorders, in virtual time: what is given can be decoded, what cannot be
//! mended is made good by a key frame.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtp::ntp::NtpTimestamp;
use rtp::packet::Header;
use rtp::session::{self, Channel, Remote};
use rtp::srtp::{MasterKey, Profile, Receiver, Sender};
use rtp::video::Codec;
use rtp::video_stream::{Config, Direction, Event, Format, SendError, Statistics, VideoFrame, VideoStream};

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(33);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The picture of a number: a key frame of 20 packets or another of 3, told apart by every octet.
fn picture(codec: Codec, number: u32, key_frame: bool) -> VideoFrame {
    let length = if key_frame { 20_000 } else { 3000 };
    let content = (0..length).map(|at: u32| (at.wrapping_mul(number + 7) >> 3) as u8 | 1);
    let mut data = match (codec, key_frame) {
        (Codec::H264, true) => {
            vec![0, 0, 0, 1, 0x67, 0x42, 0, 0x1f, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 1, 0x65]
        }
        (Codec::H264, false) => vec![0, 0, 0, 1, 0x41],
        (_, key_frame) => vec![if key_frame { 0x10 } else { 0x11 }],
    };
    data.extend(number.to_be_bytes().map(|octet| octet | 0x80));
    data.extend(content);
    VideoFrame::new(codec, FRAME * number, data)
}

struct Link {
    random: Random,
    loss_percent: u64,
    delay: Duration,
    underway: BTreeMap<(Instant, u64), (Channel, Vec<u8>)>,
    sent: u64,
}

impl Link {
    fn send(&mut self, now: Instant, channel: Channel, datagram: &[u8]) {
        self.sent += 1;
        if self.random.below(100) < self.loss_percent {
            return;
        }
        // Packets of a burst overtake each other.
        let delay = self.delay + Duration::from_micros(self.random.below(6000));
        self.underway.insert((now + delay, self.sent), (channel, datagram.to_vec()));
    }
}

struct Call {
    now: Instant,
    alice: VideoStream,
    bob: VideoStream,
    forth: Link,
    back: Link,
}

fn carry(now: Instant, from: &mut VideoStream, to: &mut VideoStream, link: &mut Link, at: ([u8; 4], u16)) {
    if from.poll_timeout().is_some_and(|due| due <= now) {
        from.handle_timeout(now);
    }
    while let Some(transmit) = from.poll_transmit(now) {
        link.send(now, transmit.channel, &transmit.payload);
    }
    while let Some(entry) = link.underway.first_entry().filter(|entry| entry.key().0 <= now) {
        let (channel, datagram) = entry.remove();
        let port = at.1 + u16::from(channel == Channel::Rtcp);
        let _ = to.receive(now, channel, SocketAddr::from((at.0, port)), &datagram);
    }
}

const ALICE: ([u8; 4], u16) = ([192, 0, 2, 1], 4000);
const BOB: ([u8; 4], u16) = ([192, 0, 2, 2], 4000);

impl Call {
    fn new(format: &Format, loss_percent: u64, seed: u64) -> Self {
        let now = Instant::now();
        let stream = |number: u8| {
            let wall_clock = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000));
            let config = session::Config::new([number; 32], "test@example.com", wall_clock);
            VideoStream::new(now, Config::new(config, format.clone()))
        };
        let link = |seed| Link {
            random: Random(seed),
            loss_percent,
            delay: Duration::from_millis(20),
            underway: BTreeMap::new(),
            sent: 0,
        };
        let mut call =
            Self { now, alice: stream(1), bob: stream(2), forth: link(seed), back: link(seed + 99) };
        call.alice.set_remote(now, Remote::port_pair(SocketAddr::from(BOB)));
        call.bob.set_remote(now, Remote::port_pair(SocketAddr::from(ALICE)));
        call
    }

    fn protect(&mut self) {
        let key = |octet: u8| MasterKey::from_key_and_salt(Profile::AeadAes128Gcm, &[octet; 28]).unwrap();
        let sender = |octet| Some(Sender::new(Profile::AeadAes128Gcm, &key(octet)).unwrap());
        let receiver = |octet| Some(Receiver::new(Profile::AeadAes128Gcm, &key(octet)).unwrap());
        self.alice.protect_sent(sender(1));
        self.bob.protect_received(receiver(1));
        self.bob.protect_sent(sender(2));
        self.alice.protect_received(receiver(2));
    }

    /// Lets time pass, a millisecond at a time.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(1);
            let now = self.now;
            carry(now, &mut self.alice, &mut self.bob, &mut self.forth, ALICE);
            carry(now, &mut self.bob, &mut self.alice, &mut self.back, BOB);
        }
    }

    /// Alice films, with a key frame when one is wanted; gives the frames that Bob was given, checked, and how often he was
    /// told of a loss.
    fn film(&mut self, numbers: std::ops::Range<u32>) -> (Vec<u32>, u32) {
        let codec = self.alice.format().codec;
        let (mut seen, mut losses, mut wanted) = (Vec::<u32>::new(), 0, numbers.start == 0);
        let mut sent = BTreeMap::new();
        let end = numbers.end;
        for number in numbers.chain(end..end + 40) {
            while let Some(event) = self.alice.poll_event() {
                wanted |= event == Event::KeyFrameWanted;
            }
            if number < end {
                let frame = picture(codec, number, std::mem::take(&mut wanted));
                self.alice.send(&frame).unwrap();
                sent.insert(number, frame);
            }
            self.pass(FRAME);
            while let Some(event) = self.bob.poll_event() {
                match event {
                    Event::Frame(frame) => {
                        let given = sent.iter().find(|(_, sent)| sent.data == frame.data);
                        let (&number, sent) = given.expect("a frame as it was sent");
                        assert_eq!(frame.key_frame, sent.key_frame);
                        let decodable = frame.key_frame || seen.last() == Some(&(number - 1));
                        assert!(decodable, "{number} after {seen:?}");
                        seen.push(number);
                    }
                    Event::Lost => losses += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        (seen, losses)
    }
}

fn formats() -> [Format; 4] {
    let rtx = |codec| Format::new(codec, 96).with_repair(97, 97);
    let plain = |codec| Format { retransmission: None, receive_retransmission: vec![], ..rtx(codec) };
    [rtx(Codec::H264), rtx(Codec::Vp8), plain(Codec::H264), plain(Codec::Vp8)]
}

/// RFC 4585 §6.2.1, RFC 4588: at 5 % loss both ways nearly all is mended, whichever way packets come again, encrypted too; and
/// what is not is made good by a key frame.
#[test]
fn rfc4588_at_five_percent_loss_every_frame_comes_or_a_key_frame_is_asked_for() {
    for (format, seed) in formats().into_iter().zip(1..) {
        for protected in [false, true] {
            let mut call = Call::new(&format, 5, seed);
            if protected {
                call.protect();
            }
            let (seen, losses) = call.film(0..300);
            let (sent, received) = (call.alice.statistics(), call.bob.statistics());
            assert!(seen.len() >= 285, "{} of 300: {received:?}", seen.len());
            assert!(received.packets_mended > 20, "{received:?}");
            assert!(sent.packets_repeated >= received.packets_mended);
            assert!(losses > 0 || seen.len() == 300 || seen[0] > 0, "nothing is missing untold");
            assert!(seen.last() >= Some(&297), "only what nothing follows is not missed: {:?}", seen.last());
        }
    }
}

/// One who only watches measures no round trip by reports: the answers tell it, so that 300 ms there and back are waited for.
#[test]
fn rfc4588_what_is_lost_is_mended_over_a_long_way_too() {
    for (format, seed) in formats().into_iter().zip(40..) {
        let mut call = Call::new(&format, 2, seed);
        (call.forth.delay, call.back.delay) = (Duration::from_millis(150), Duration::from_millis(150));
        let (seen, _) = call.film(0..300);
        let (sent, received) = (call.alice.statistics(), call.bob.statistics());
        assert!(received.session.round_trip.is_none() && received.packets_mended > 5, "{received:?}");
        assert!(seen.len() >= 250, "{} of 300: {received:?}", seen.len());
        assert!(sent.packets_repeated < 3 * received.packets_mended, "{sent:?}");
    }
}

/// Without NACK the loss of each packet costs the pictures until the next key frame, which PLI (RFC 4585 §6.3.1) or FIR
/// (RFC 5104 §4.3.1) asks for; nothing that cannot be decoded is given.
#[test]
fn rfc5104_4_3_1_without_repair_key_frames_are_asked_for_by_either_message() {
    for (pli, seed) in [(true, 5), (false, 6)] {
        let mut format = Format::new(Codec::Vp8, 96);
        (format.feedback.pli, format.feedback.fir) = (pli, !pli);
        let mut call = Call::new(&format, 1, seed);
        let (seen, losses) = call.film(0..600);
        let (sent, received) = (call.alice.statistics(), call.bob.statistics());
        assert!(seen.len() < 600 && seen.len() > 100, "{}", seen.len());
        assert!(losses > 1 && received.key_frames_asked >= u64::from(losses) && sent.key_frames_wanted > 1);
        assert_eq!(received.packets_asked, 0);
    }
}

/// At 30 % most packets have to come again, and some never do. What is given is right all the same, and pictures come back.
#[test]
fn at_thirty_percent_loss_what_is_given_is_right() {
    let mut given = 0;
    for (format, seed) in formats().into_iter().zip(20..) {
        let mut call = Call::new(&format, 30, seed);
        let (seen, losses) = call.film(0..300);
        let received = call.bob.statistics();
        assert!(losses > 1 && received.key_frames_received > 1, "{}: {received:?}", seen.len());
        assert!(received.packets_mended > 4 * received.packets_lost, "{received:?}");
        given += seen.len();
    }
    assert!(given > 100, "{given} of 1200");
}

#[test]
fn without_loss_all_comes_the_first_frame_too_and_nothing_is_asked_for() {
    for format in formats() {
        let mut call = Call::new(&format, 0, 1);
        let (seen, losses) = call.film(0..100);
        assert_eq!((seen, losses), ((0..100).collect(), 0));
        let Statistics { packets_asked, packets_lost, key_frames_asked, .. } = call.bob.statistics();
        assert_eq!((packets_asked, packets_lost, key_frames_asked), (0, 0, 0));
    }
}

/// RFC 3264 §8.4: nothing flows while held, and afterwards a key frame comes first.
#[test]
fn behind_a_hold_a_key_frame_comes_first() {
    let [format, ..] = formats();
    let mut call = Call::new(&format, 0, 1);
    assert_eq!(call.film(0..10).0, (0..10).collect::<Vec<_>>());
    call.alice.set_direction(Direction::ReceiveOnly);
    call.bob.set_direction(Direction::SendOnly);
    let frame = picture(Codec::H264, 10, false);
    assert_eq!(call.alice.send(&frame), Err(SendError::NotSending));
    call.alice.set_direction(Direction::SendReceive);
    call.bob.set_direction(Direction::SendReceive);
    assert_eq!(call.alice.poll_event(), Some(Event::KeyFrameWanted));
    assert_eq!(call.alice.send(&frame), Err(SendError::KeyFrameNeeded));
    call.alice.send(&picture(Codec::H264, 11, true)).unwrap();
    call.pass(Duration::from_millis(100));
    let events: Vec<_> = std::iter::from_fn(|| call.bob.poll_event()).collect();
    assert!(matches!(&events[..], [Event::Frame(frame)] if frame.key_frame), "{events:?}");
}

/// RFC 3550 §6.4.1: the sender's wall clock is known for each frame once a report came, and goes on with the pictures.
#[test]
fn rfc3550_6_4_1_frames_have_the_wall_clock_of_their_sender() {
    let mut call = Call::new(&Format::new(Codec::Vp8, 96), 0, 1);
    let (start, mut captured) = (call.now, Vec::new());
    for number in 0..90 {
        let at = call.now - start;
        call.alice.send(&picture(Codec::Vp8, number, number == 0)).unwrap();
        call.pass(FRAME);
        while let Some(event) = call.bob.poll_event() {
            let Event::Frame(frame) = event else { panic!("{event:?}") };
            captured.extend(frame.captured.map(|captured| (at, frame.time, captured)));
        }
    }
    assert!(captured.len() > 20, "{}", captured.len());
    let unix = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000));
    for (at, time, captured) in captured {
        let since = captured.since(unix).unwrap();
        assert!(since.abs_diff(at) < Duration::from_millis(35), "{since:?} at {at:?}");
        assert!(since.abs_diff(time) < Duration::from_millis(5), "{since:?} of {time:?}");
    }
}

/// Who takes nothing costs two seconds of frames, and sees a key frame first when he comes back.
#[test]
fn frames_that_nobody_takes_are_bounded() {
    let [format, ..] = formats();
    let mut call = Call::new(&format, 0, 1);
    for number in 0..200 {
        call.alice.send(&picture(Codec::H264, number, number == 0)).unwrap();
        call.pass(FRAME);
    }
    let waiting = std::iter::from_fn(|| call.bob.poll_event()).collect::<Vec<_>>();
    let frames = waiting.iter().filter(|event| matches!(event, Event::Frame(_))).count();
    assert_eq!((frames, waiting.last()), (60, Some(&Event::Lost)));
    call.pass(Duration::from_millis(200));
    assert_eq!(call.alice.poll_event(), Some(Event::KeyFrameWanted));
    call.alice.send(&picture(Codec::H264, 200, true)).unwrap();
    call.pass(FRAME * 2);
    assert!(matches!(call.bob.poll_event(), Some(Event::Frame(frame)) if frame.key_frame));
}

/// RFC 6184 §6.2: a peer of packetization mode 0 gets no fragments.
#[test]
fn rfc6184_6_2_a_long_unit_is_refused_where_fragments_are_not_taken() {
    let format = Format { single_units: true, ..Format::new(Codec::H264, 96) };
    let mut call = Call::new(&format, 0, 1);
    let refused = call.alice.send(&picture(Codec::H264, 0, true));
    assert!(matches!(refused, Err(SendError::UnitTooLong { longest: 1160, .. })), "{refused:?}");
    assert!(matches!(
        call.alice.send(&picture(Codec::Vp8, 0, true)),
        Err(SendError::WrongCodec { given: Codec::Vp8, agreed: Codec::H264 })
    ));
    let slices =
        [&[0, 0, 1, 0x67, 0x42][..], &[0, 0, 1, 0x65], &[7; 900], &[0, 0, 1, 0x65], &[8; 900]].concat();
    call.alice.send(&VideoFrame::new(Codec::H264, FRAME, slices)).unwrap();
    call.pass(FRAME * 2);
    assert!(matches!(call.bob.poll_event(), Some(Event::Frame(frame)) if frame.key_frame));
}

proptest! {
    /// Whatever comes, in whatever order: nothing panics, and what waits is bounded.
    #[test]
    fn arbitrary_packets_are_survived(
        packets in proptest::collection::vec(
            ((0u8..4, any::<u16>(), 0u32..3, any::<bool>()), 94u8..99, 0u64..300, proptest::collection::vec(any::<u8>(), 0..40)),
            0..120,
        ),
        reports in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..10),
    ) {
        let [format, ..] = formats();
        let mut call = Call::new(&format, 0, 1);
        let (mut now, from, mut number) = (call.now, SocketAddr::from(ALICE), 0u16);
        for ((step, jump, timestamp, marker), payload_type, milliseconds, payload) in packets {
            // In sequence, overtaken, lost, or anywhere.
            number = [number.wrapping_add(1), number.wrapping_sub(3), number.wrapping_add(40), jump][usize::from(step)];
            let header = Header { payload_type, marker, sequence_number: number, timestamp, ssrc: 7 + u32::from(step / 3) };
            now += Duration::from_millis(milliseconds);
            let _ = call.bob.receive(now, Channel::Rtp, from, &header.build(&payload).unwrap());
            call.bob.handle_timeout(now);
            while call.bob.poll_transmit(now).is_some() {}
        }
        for report in reports {
            let _ = call.bob.receive(now, Channel::Rtcp, SocketAddr::from((ALICE.0, 4001)), &report);
        }
        prop_assert!(std::iter::from_fn(|| call.bob.poll_event()).count() <= 68);
    }
}
