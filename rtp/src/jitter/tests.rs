use std::time::Instant;

use super::*;
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(20);

/// 60 ms, whatever happens: what most of these tests are about is not the delay.
fn fixed() -> Config {
    Config::fixed(TICK * 3)
}

fn payload(number: u16) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn insert(buffer: &mut JitterBuffer, now: Instant, number: u16) -> Inserted {
    buffer.insert(now, number, u32::from(number) * 160, 160, payload(number))
}

fn number(playout: &Playout) -> Option<u16> {
    match playout {
        Playout::Frame(frame) => Some(u16::from_be_bytes(frame.payload[..].try_into().unwrap())),
        _ => None,
    }
}

/// Packet `i` is sent at tick `i` and arrives `delay(i)` later, or never; one pop per tick.
fn run(packets: u16, ticks: u32, delay: impl Fn(u16) -> Option<Duration>) -> (Vec<Playout>, Statistics) {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    let mut arrivals: Vec<(Duration, u16)> =
        (0..packets).filter_map(|i| Some((TICK * u32::from(i) + delay(i)?, i))).collect();
    arrivals.sort();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut played = Vec::new();
    for tick in 0..ticks {
        let now = TICK * tick;
        while let Some((at, i)) = arrivals.next_if(|(at, _)| *at <= now) {
            insert(&mut buffer, start + at, i);
        }
        played.push(buffer.pop(start + now));
    }
    (played, buffer.statistics())
}

#[test]
fn steady_packets_come_out_after_the_target_delay() {
    let (played, statistics) = run(100, 103, |_| Some(Duration::ZERO));
    assert_eq!(played[..3], [Playout::Empty, Playout::Empty, Playout::Empty]);
    let numbers: Vec<u16> = played.iter().filter_map(number).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert_eq!(
        (statistics.played, statistics.missing, statistics.delay),
        (100, 0, Duration::from_millis(60))
    );
}

#[test]
fn a_lost_packet_is_missing_in_its_place_and_the_delay_stays() {
    let (played, statistics) = run(50, 53, |i| (i != 10 && i != 20 && i != 21).then_some(Duration::ZERO));
    let missing: Vec<usize> = played
        .iter()
        .enumerate()
        .filter(|(_, p)| matches!(p, Playout::Missing { .. }))
        .map(|(i, _)| i)
        .collect();
    assert_eq!(missing, [13, 23, 24]);
    assert_eq!((statistics.missing, statistics.delay), (3, Duration::from_millis(60)));
}

#[test]
fn reordering_within_the_delay_is_inaudible_beyond_it_is_late() {
    let (played, statistics) = run(50, 53, |i| Some(if i == 10 { TICK * 2 } else { Duration::ZERO }));
    assert!(played.iter().skip(3).all(|p| number(p).is_some()));
    assert_eq!(statistics.late, 0);
    let (_, statistics) = run(50, 53, |i| Some(if i == 10 { TICK * 5 } else { Duration::ZERO }));
    assert_eq!((statistics.late, statistics.missing), (1, 1));
}

#[test]
fn duplicates_are_played_once() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    insert(&mut buffer, start, 1);
    assert_eq!(insert(&mut buffer, start, 1), Inserted::Duplicate);
    insert(&mut buffer, start, 2);
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(1));
    assert_eq!(insert(&mut buffer, start, 1), Inserted::Duplicate);
    assert_eq!(number(&buffer.pop(start + TICK * 4)), Some(2));
    assert_eq!(buffer.statistics().duplicates, 2);
}

#[test]
fn sequence_and_timestamp_wrap_inside_a_stream() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    let numbers = [65534u16, 65535, 0, 1];
    for (index, sequence) in numbers.into_iter().enumerate() {
        let timestamp = (u32::MAX - 200).wrapping_add(index as u32 * 160);
        buffer.insert(start, sequence, timestamp, 160, payload(sequence));
    }
    let played: Vec<_> = (3..7).filter_map(|tick| number(&buffer.pop(start + TICK * tick))).collect();
    assert_eq!(played, numbers);
}

#[test]
fn a_new_talk_spurt_after_silence_waits_for_the_target_again() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    buffer.insert(start, 1, 0, 160, payload(1));
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(1));
    let spurt = start + TICK * 50;
    buffer.insert(spurt, 2, 50 * 160, 160, payload(2));
    buffer.insert(spurt, 3, 51 * 160, 160, payload(3));
    assert_eq!(buffer.pop(spurt), Playout::Empty);
    assert_eq!(number(&buffer.pop(spurt + TICK * 3)), Some(2));
    assert_eq!(number(&buffer.pop(spurt + TICK * 4)), Some(3));
    assert_eq!(buffer.statistics().missing, 0);
}

#[test]
fn telephone_events_between_audio_are_no_loss() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    buffer.insert(start, 1, 0, 160, payload(1));
    for sequence in 2..8 {
        buffer.insert_placeholder(start + TICK * u32::from(sequence), sequence, 160);
    }
    let after = start + TICK * 8;
    buffer.insert(after, 8, 7 * 160, 160, payload(8));
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(1));
    assert_eq!(buffer.pop(after), Playout::Empty);
    assert_eq!(number(&buffer.pop(after + TICK * 3)), Some(8));
    assert_eq!(buffer.statistics().missing, 0);
}

#[test]
fn a_timestamp_that_jumps_back_restarts() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    buffer.insert(start, 1, 1_000_000, 160, payload(1));
    assert_eq!(buffer.insert(start, 2, 1_000, 160, payload(2)), Inserted::Restarted);
    assert_eq!(buffer.insert(start, 30_000, 9_000, 160, payload(3)), Inserted::Restarted);
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(3));
}

#[test]
fn a_stream_that_stops_is_concealed_for_five_ticks_and_then_silent() {
    let (played, _) = run(10, 30, |_| Some(Duration::ZERO));
    assert!(played[13..18].iter().all(|p| matches!(p, Playout::Missing { .. })));
    assert!(played[18..].iter().all(|p| *p == Playout::Empty));
}

#[test]
fn a_lasting_rise_of_the_delay_is_survived() {
    let (played, _) =
        run(200, 220, |i| Some(if i < 50 { Duration::ZERO } else { Duration::from_millis(150) }));
    let heard = played[80..].iter().filter_map(number).count();
    assert!(heard >= 130, "{heard}");
}

#[test]
fn jitter_raises_the_target_within_its_limits() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(Config::default());
    for i in 0..200u16 {
        let late = Duration::from_millis(u64::from(i % 3) * 40);
        insert(&mut buffer, start + TICK * u32::from(i) + late, i);
        buffer.pop(start + TICK * u32::from(i) + late);
    }
    let target = buffer.statistics().target;
    assert!(target >= Duration::from_millis(80) && target < Duration::from_millis(100), "{target:?}");
}

#[test]
fn a_network_without_jitter_makes_the_delay_short() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(Config::default());
    for i in 0..400u16 {
        let now = start + TICK * u32::from(i);
        insert(&mut buffer, now, i);
        buffer.pop(now);
    }
    let statistics = buffer.statistics();
    assert_eq!((statistics.target, statistics.late, statistics.missing), (TICK, 0, 0));
    assert!(statistics.delay <= TICK * 2 && statistics.shortened <= 2, "{statistics:?}");
}

#[test]
fn rfc3389_after_a_description_of_silence_nothing_is_missing() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    insert(&mut buffer, start, 1);
    buffer.insert_silence(start + TICK, 2, 320, payload(2));
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(1));
    assert_eq!(buffer.pop(start + TICK * 4), Playout::Silence(payload(2)));
    assert!((5..60).all(|tick| buffer.pop(start + TICK * tick) == Playout::Empty));
    let again = start + TICK * 60;
    buffer.insert(again, 3, 60 * 160, 160, payload(3));
    assert_eq!(buffer.pop(again), Playout::Empty);
    assert_eq!(number(&buffer.pop(again + TICK * 3)), Some(3));
    assert_eq!(buffer.statistics().missing, 0);
}

#[test]
fn rfc2198_a_copy_fills_its_gap_once_and_is_no_duplicate_otherwise() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    let copy =
        |buffer: &mut JitterBuffer, i: u16| buffer.insert_copy(start, i, u32::from(i) * 160, 160, payload(i));
    insert(&mut buffer, start, 1);
    insert(&mut buffer, start, 3);
    assert!(buffer.is_wanted(2, 320) && !buffer.is_wanted(1, 160) && !buffer.is_wanted(4, 640));
    assert_eq!(
        [copy(&mut buffer, 2), copy(&mut buffer, 2), copy(&mut buffer, 1)],
        [Inserted::Stored, Inserted::Duplicate, Inserted::Duplicate]
    );
    let played: Vec<_> = (3..6).filter_map(|tick| number(&buffer.pop(start + TICK * tick))).collect();
    assert_eq!(played, [1, 2, 3]);
    assert_eq!((buffer.statistics().recovered, buffer.statistics().duplicates), (1, 0));
}

#[test]
fn rfc2198_a_packet_that_its_copy_overtook_was_not_recovered() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    let copy =
        |buffer: &mut JitterBuffer, i: u16| buffer.insert_copy(start, i, u32::from(i) * 160, 160, payload(i));
    insert(&mut buffer, start, 1);
    insert(&mut buffer, start, 4);
    assert_eq!([copy(&mut buffer, 2), copy(&mut buffer, 3)], [Inserted::Stored; 2]);
    assert_eq!(buffer.statistics().recovered, 2);
    // The second comes in time, and once more; the third when its copy has been played.
    assert_eq!([insert(&mut buffer, start, 2), insert(&mut buffer, start, 2)], [Inserted::Duplicate; 2]);
    assert_eq!((buffer.statistics().recovered, buffer.statistics().duplicates), (1, 1));
    let played: Vec<_> = (3..7).filter_map(|tick| number(&buffer.pop(start + TICK * tick))).collect();
    assert_eq!(played, [1, 2, 3, 4]);
    assert_eq!(
        [insert(&mut buffer, start, 3), insert(&mut buffer, start, 3)],
        [Inserted::Late, Inserted::Duplicate]
    );
    let statistics = buffer.statistics();
    assert_eq!(
        (statistics.recovered, statistics.late, statistics.duplicates, statistics.missing),
        (1, 1, 2, 0)
    );
}

#[test]
fn what_follows_a_gap_can_be_asked_for() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    for i in [1, 3, 4] {
        insert(&mut buffer, start, i);
    }
    assert_eq!(number(&buffer.pop(start + TICK * 3)), Some(1));
    assert_eq!(buffer.pop(start + TICK * 4), Playout::Missing { samples: 160 });
    assert_eq!(buffer.following(), Some(&payload(3)));
    assert_eq!((buffer.drain(), buffer.drain(), buffer.drain()), (Some(payload(3)), Some(payload(4)), None));
}

#[test]
fn a_burst_is_bounded_and_the_delay_shrinks_back() {
    let start = Instant::now();
    let mut buffer = JitterBuffer::new(fixed());
    for i in 0..40u16 {
        insert(&mut buffer, start, i);
    }
    for i in 40..2000u16 {
        let now = start + TICK * u32::from(i - 40);
        insert(&mut buffer, now, i);
        buffer.pop(now);
        assert!(buffer.len() <= 50);
    }
    assert!(buffer.statistics().shortened > 0);
    assert!(buffer.statistics().delay <= Duration::from_millis(700), "{:?}", buffer.statistics());
}

proptest! {
    #[test]
    fn never_twice_never_out_of_order_never_unbounded(
        start_sequence: u16, start_timestamp: u32,
        steps in proptest::collection::vec((0u16..40, 0u64..60, any::<bool>()), 1..300)
    ) {
        let mut now = Instant::now();
        let mut buffer = JitterBuffer::new(Config { capacity: 20, ..Config::default() });
        let mut last = None;
        for (index, (offset, milliseconds, pop)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(milliseconds);
            let i = (index as u16 / 4).wrapping_add(offset);
            let sequence = start_sequence.wrapping_add(i);
            let timestamp = start_timestamp.wrapping_add(u32::from(i) * 160);
            let outcome = buffer.insert(now, sequence, timestamp, 160, payload(i));
            prop_assert_ne!(outcome, Inserted::Restarted);
            prop_assert!(buffer.len() <= 20);
            if pop && let Some(i) = number(&buffer.pop(now)) {
                prop_assert!(last.is_none_or(|last| i > last), "{i} after {last:?}");
                last = Some(i);
            }
        }
    }

    #[test]
    fn arbitrary_packets_never_panic(
        steps in proptest::collection::vec((any::<u16>(), any::<u32>(), any::<u32>(), any::<bool>(), 0u64..5000), 1..200)
    ) {
        let mut now = Instant::now();
        let mut buffer = JitterBuffer::new(fixed());
        for (sequence, timestamp, samples, media, milliseconds) in steps {
            now += Duration::from_millis(milliseconds);
            if media {
                buffer.insert(now, sequence, timestamp, samples, payload(1));
            } else {
                buffer.insert_placeholder(now, sequence, timestamp);
            }
            buffer.pop(now);
            prop_assert!(buffer.len() <= 50);
        }
    }
}
