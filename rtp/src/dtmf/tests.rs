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
    // The last packet of each segment thrice, without E but for the last segment (RFC 4733 §2.5.1.4).
    let payloads: Vec<_> = packets.iter().filter_map(|(_, packet)| Payload::parse(&packet.payload)).collect();
    assert_eq!(payloads.iter().filter(|payload| payload.duration == 0xffff && !payload.end).count(), 6);
    assert_eq!(payloads.iter().filter(|payload| payload.end).count(), 3);
    // And no time was lost by that: 1000 updates of 20 ms, and two ends more.
    assert_eq!(packets.len(), 1002);
    let mut receiver = Receiver::new();
    for (at, packet) in &packets {
        receiver.receive(*at, packet.timestamp, &packet.payload);
    }
    assert_eq!(receiver.poll(), Some(Notice::Started(Event(9))));
    assert_eq!(receiver.poll(), Some(Notice::Ended { event: Event(9), duration: 160_000, volume: 10 }));
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
    assert_eq!(receiver.poll(), Some(Notice::Ended { event: Event(7), duration: 160, volume: 10 }));
    // A packet after the time-out belongs to the digit that was told already.
    receiver.receive(due, 0, &[7, 0x8a, 3, 32]);
    assert_eq!(receiver.poll(), None);
}

#[test]
fn rfc4733_2_5_2_3_a_long_event_with_outages_in_it_is_one_digit() {
    let mut sender = Sender::new(8000);
    sender.push_for(Event(9), Duration::from_secs(40)).unwrap();
    sender.push(Event(4)).unwrap();
    let packets = collect(&mut sender, Instant::now(), 500);
    // Nothing arrives for 300 ms, for 3 s over the end of a segment, and for a whole segment and more.
    let outages = [100..115, 350..500, 700..1200];
    let arrived: Vec<_> = (0..)
        .zip(&packets)
        .filter(|(index, _)| !outages.iter().any(|outage| outage.contains(index)))
        .map(|(_, packet)| *packet)
        .collect();
    assert_eq!(hear(&arrived), "94");
}

#[test]
fn rfc4733_2_5_2_4_events_packed_into_one_packet_follow_each_other() {
    let start = Instant::now();
    let mut receiver = Receiver::new();
    let packed = [1, 0x8a, 3, 32, 2, 0x8a, 3, 32, 3, 10, 0, 160];
    receiver.receive(start, 8000, &packed);
    receiver.receive(start, 8000, &packed);
    receiver.receive(start + TICK, 8000 + 1600, &[3, 0x8a, 1, 64]);
    let notices: Vec<_> = std::iter::from_fn(|| receiver.poll()).collect();
    let ended = |event, duration| Notice::Ended { event: Event(event), duration, volume: 10 };
    let started = |event| Notice::Started(Event(event));
    assert_eq!(notices, [started(1), ended(1, 800), started(2), ended(2, 800), started(3), ended(3, 320)]);
}

#[test]
fn rfc4733_2_3_5_a_key_without_duration_waits_for_one() {
    let now = Instant::now();
    let mut receiver = Receiver::new();
    receiver.receive(now, 8000, &[5, 10, 0, 0]);
    assert_eq!(receiver.poll(), None);
    receiver.receive(now, 8000, &[5, 10, 0, 160]);
    assert_eq!(receiver.poll(), Some(Notice::Started(Event(5))));
}

#[test]
fn back_to_back_digits_without_ends_are_as_many_as_were_pressed() {
    let start = Instant::now();
    // A sender that leaves no pause and never sets E.
    let packets = (0..12u32).map(|index| {
        let [high, low] = (160 * (index % 3 + 1) as u16).to_be_bytes();
        let payload = [7, 10, high, low];
        (start + TICK * index, EventPacket { marker: index % 3 == 0, timestamp: index / 3 * 480, payload })
    });
    assert_eq!(hear(&packets.collect::<Vec<_>>()), "7777");
}

#[test]
fn events_that_are_no_keys_are_told_as_such_and_a_flash_has_no_volume() {
    let now = Instant::now();
    let mut receiver = Receiver::new();
    receiver.receive(now, 8000, &[36, 0x8a, 3, 32]); // a fax's calling tone (RFC 4734 §2.4)
    assert_eq!(receiver.poll(), Some(Notice::Started(Event(36))));
    assert_eq!(Event(36).key(), None);
    let mut sender = Sender::new(8000);
    sender.set_volume(20);
    sender.push(Event::FLASH).unwrap();
    sender.push(Event(1)).unwrap();
    let volume = |packet: &EventPacket| Payload::parse(&packet.payload).unwrap().volume;
    let volumes: Vec<_> = collect(&mut sender, now, 0).iter().map(|(_, packet)| volume(packet)).collect();
    assert_eq!((volumes[0], volumes[7]), (0, 20));
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
