use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);

/// Packets of a dialled string, with the instant of each.
fn dial(keys: &str, start: Instant, first_timestamp: u32) -> Vec<(Instant, EventPacket)> {
    let mut sender = Sender::new(8000);
    for key in keys.chars() {
        sender.push(Event::from_key(key).unwrap()).unwrap();
    }
    collect(&mut sender, start, first_timestamp)
}

fn collect(sender: &mut Sender, start: Instant, first_timestamp: u32) -> Vec<(Instant, EventPacket)> {
    let mut packets = Vec::new();
    for tick in 0u32.. {
        if sender.is_idle() {
            break;
        }
        let timestamp = first_timestamp.wrapping_add(tick * 160);
        packets.extend(sender.tick(timestamp, 160).map(|packet| (start + TICK * tick, packet)));
    }
    packets
}

fn hear<'a>(packets: impl IntoIterator<Item = &'a (Instant, EventPacket)>) -> String {
    let mut receiver = Receiver::new();
    let mut heard = String::new();
    for (at, packet) in packets {
        receiver.handle_timeout(*at);
        receiver.receive(*at, packet.timestamp, &packet.payload);
        while let Some(notice) = receiver.poll() {
            if let Notice::Started(event) = notice {
                heard.extend(event.key());
            }
        }
    }
    heard
}

#[test]
fn rfc4733_3_2_keys_and_codes() {
    for (code, key) in "0123456789*#ABCD!".chars().enumerate() {
        assert_eq!(Event::from_key(key), Some(Event(code as u8)));
        assert_eq!(Event(code as u8).key(), Some(key));
    }
    assert_eq!((Event::from_key('x'), Event(17).key()), (None, None));
}

#[test]
fn rfc4733_2_5_1_one_digit_has_one_marker_one_timestamp_growing_duration_and_three_ends() {
    let packets: Vec<_> = dial("5", Instant::now(), 1000).into_iter().map(|(_, packet)| packet).collect();
    let payloads: Vec<_> = packets.iter().map(|packet| Payload::parse(&packet.payload).unwrap()).collect();
    assert!(packets.iter().all(|packet| packet.timestamp == 1000));
    assert_eq!(
        packets.iter().map(|packet| packet.marker).collect::<Vec<_>>(),
        [true, false, false, false, false, false, false]
    );
    assert_eq!(payloads.iter().map(|p| p.duration).collect::<Vec<_>>(), [160, 320, 480, 640, 800, 800, 800]);
    assert_eq!(
        payloads.iter().map(|p| p.end).collect::<Vec<_>>(),
        [false, false, false, false, true, true, true]
    );
    assert!(payloads.iter().all(|p| p.volume == 10 && p.event == Event(5)));
}

#[test]
fn digits_are_apart_by_the_gap() {
    let start = Instant::now();
    let packets = dial("11", start, 0);
    let starts: Vec<_> = packets.iter().filter(|(_, packet)| packet.marker).map(|(at, _)| *at).collect();
    // Seven packets and three ticks of pause.
    assert_eq!(starts[1] - starts[0], TICK * 10);
}

#[test]
fn rfc4733_2_5_1_3_a_long_event_is_sent_in_segments_and_heard_as_one() {
    let mut sender = Sender::new(8000);
    sender.push_for(Event(9), Duration::from_secs(20)).unwrap();
    let packets = collect(&mut sender, Instant::now(), 500);
    assert_eq!(packets.iter().filter(|(_, packet)| packet.marker).count(), 1);
    let mut starts: Vec<_> = packets.iter().map(|(_, packet)| packet.timestamp).collect();
    starts.dedup();
    assert_eq!(starts, [500, 500 + 0xffff, 500 + 2 * 0xffff]);
    let mut receiver = Receiver::new();
    for (at, packet) in &packets {
        receiver.receive(*at, packet.timestamp, &packet.payload);
    }
    assert_eq!(receiver.poll(), Some(Notice::Started(Event(9))));
    assert_eq!(receiver.poll(), Some(Notice::Ended { event: Event(9), duration: 160_000 }));
    assert_eq!(receiver.poll(), None);
}

#[test]
fn rfc4733_2_5_2_lost_ends_are_made_up_by_time_or_by_the_next_digit() {
    let start = Instant::now();
    let packets = dial("77", start, 0);
    let without_ends: Vec<_> =
        packets.iter().filter(|(_, packet)| packet.payload[1] & 0x80 == 0).copied().collect();
    assert_eq!(hear(&without_ends), "77");
    let mut receiver = Receiver::new();
    receiver.receive(start, 0, &[7, 10, 0, 160]);
    let due = receiver.poll_timeout().unwrap();
    receiver.handle_timeout(due);
    assert_eq!(receiver.poll(), Some(Notice::Started(Event(7))));
    assert_eq!(receiver.poll(), Some(Notice::Ended { event: Event(7), duration: 160 }));
    // A packet after the time-out belongs to the digit that was told already.
    receiver.receive(due, 0, &[7, 0x8a, 3, 32]);
    assert_eq!(receiver.poll(), None);
}

#[test]
fn a_late_packet_of_the_digit_before_is_no_new_digit() {
    let mut packets = dial("12", Instant::now(), 0);
    packets.swap(6, 7);
    assert_eq!(hear(&packets), "12");
}

#[test]
fn a_recorded_digit_played_again_is_a_new_digit_but_a_straggler_is_not() {
    let start = Instant::now();
    let once = dial("7", start, 4000);
    let again = dial("7", start + Duration::from_secs(5), 4000);
    let older = dial("3", start + Duration::from_secs(10), 160);
    let straggler = (start + Duration::from_secs(15), older[6].1);
    assert_eq!(hear(once.iter().chain(&again).chain(&older).chain([&straggler])), "773");
}

#[test]
fn a_full_queue_says_so() {
    let mut sender = Sender::new(8000);
    for _ in 0..MAX_QUEUED {
        sender.push(Event(1)).unwrap();
    }
    assert_eq!(sender.push(Event(1)), Err(QueueFull));
}

proptest! {
    #[test]
    fn every_digit_once_if_any_of_its_packets_arrives(
        keys in "[0-9*#A-D]{1,12}", first: u32, fates in proptest::collection::vec(0u8..100, 12 * 7)
    ) {
        let packets = dial(&keys, Instant::now(), first);
        let mut arrived = Vec::new();
        for (index, (packet, fate)) in packets.iter().zip(&fates).enumerate() {
            // Half is lost, some doubled; the third packet of a digit always arrives.
            if *fate >= 50 || index % 7 == 2 { arrived.push(*packet); }
            if *fate >= 90 { arrived.push(*packet); }
        }
        prop_assert_eq!(hear(&arrived), keys);
    }

    #[test]
    fn arbitrary_packets_never_panic_and_ends_match_starts(
        packets in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..6), 0u64..500), 0..100)
    ) {
        let mut now = Instant::now();
        let mut receiver = Receiver::new();
        let mut open = 0i32;
        for (timestamp, payload, milliseconds) in packets {
            now += Duration::from_millis(milliseconds);
            receiver.receive(now, timestamp, &payload);
            receiver.handle_timeout(now);
            while let Some(notice) = receiver.poll() {
                open += if matches!(notice, Notice::Started(_)) { 1 } else { -1 };
                prop_assert!((0..=1).contains(&open));
            }
        }
    }
}
