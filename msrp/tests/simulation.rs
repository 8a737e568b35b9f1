//! Two connections with several sessions over a stream that is cut anywhere and breaks at any time, in virtual time, thousands of
//! times with seeds. What was acknowledged has arrived; what failed is told once; what arrived is what was sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use msrp::framing::Limits;
use msrp::{
    Chunking, Connection, Delivery, Event, Failure, FailureReport, Ident, Message, MessageKey, NoDirectory,
    SessionConfig, SessionKey, Uri,
};

/// SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What was sent, and what was told of it.
struct Sent {
    body: Bytes,
    id: Ident,
    session: usize,
    failure: FailureReport,
    aborted: bool,
    told: Vec<Event>,
}

/// One side.
struct Side {
    connection: Connection,
    sessions: Vec<SessionKey>,
    sent: HashMap<MessageKey, Sent>,
    feeding: Vec<(MessageKey, Bytes)>,
    received: Vec<(usize, Ident, Bytes)>,
    parts: HashMap<(usize, Ident), Vec<u8>>,
    abandoned: HashSet<Ident>,
    /// On their way to it.
    wire: VecDeque<u8>,
    closed: usize,
}

impl Side {
    fn events(&mut self) {
        while let Some((key, event)) = self.connection.poll_event() {
            let session = self.sessions.iter().position(|other| *other == key).unwrap();
            match event {
                Event::Message(message) => self.received.push((session, message.id, message.body)),
                Event::Begun { id, .. } => {
                    self.parts.insert((session, id), Vec::new());
                }
                Event::Part { id, offset, octets } => {
                    let file = self.parts.get_mut(&(session, id)).unwrap();
                    let end = offset as usize + octets.len();
                    file.resize(file.len().max(end), 0);
                    file[offset as usize..end].copy_from_slice(&octets);
                }
                Event::Ended { id, total } => {
                    let file = self.parts.remove(&(session, id)).unwrap();
                    assert_eq!(file.len() as u64, total);
                    self.received.push((session, id, file.into()));
                }
                Event::Abandoned { id, .. } => {
                    self.abandoned.insert(id);
                }
                Event::Sent(key)
                | Event::Delivered(key)
                | Event::Unconfirmed(key)
                | Event::Failed(key, _) => {
                    self.sent.get_mut(&key).unwrap().told.push(event);
                }
                Event::Closed(_) => self.closed += 1,
                Event::Bound | Event::Drained(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn uri(side: usize, session: usize) -> Uri {
    format!("msrp://side{side}.example.com:7654/session{session};tcp").parse().unwrap()
}

const LARGEST: u64 = 40_000;

fn body(random: &mut Random, tokens: &Random) -> Bytes {
    let size = match random.below(12) {
        0 => 0,
        1..=5 => random.below(64),
        6..=7 => 2_040 + random.below(20),
        8..=10 => random.below(20_000),
        _ => 30_000 + random.below(60_000),
    };
    let mut body = Vec::with_capacity(size);
    let mut coming = tokens.clone();
    while body.len() < size {
        match random.below(4) {
            // The end-lines of transactions to come.
            0 => {
                let flag = ["$", "+", "#"][random.below(3)];
                body.extend_from_slice(format!("\r\n-------{:016x}{flag}\r\n", coming.next()).as_bytes());
            }
            1 => body.extend_from_slice(b"\r\n-------\0\xff"),
            2 => body.extend_from_slice(b"\r\n\r\nMSRP abcd SEND\r\n"),
            _ => body.extend((0..random.below(300)).map(|_| random.next() as u8)),
        }
    }
    body.truncate(size);
    body.into()
}

fn run(seed: u64) -> (usize, usize) {
    let mut random = Random(seed);
    let sessions = 1 + random.below(3);
    let breaks = random.one_in(2);
    let mut now = Instant::now();
    let mut sides: Vec<Side> = (0..2usize)
        .map(|number| {
            let mut source = Random(seed ^ (number as u64 + 1) << 40);
            let mut connection =
                Connection::new(number as u64, Limits::default(), Box::new(move || source.next()));
            let sessions = (0..sessions).map(|session| {
                let delivery = if random.one_in(3) { Delivery::Parts } else { Delivery::Whole };
                let config = SessionConfig {
                    remote: Some(uri(1 - number, session).into()),
                    active: number == 0,
                    max_size: LARGEST,
                    delivery,
                    ..SessionConfig::new(uri(number, session))
                };
                connection.add(config).unwrap()
            });
            let sessions = sessions.collect();
            Side {
                connection,
                sessions,
                sent: HashMap::new(),
                feeding: Vec::new(),
                received: Vec::new(),
                parts: HashMap::new(),
                abandoned: HashSet::new(),
                wire: VecDeque::new(),
                closed: 0,
            }
        })
        .collect();
    let mut to_send = random.below(12);
    let mut open = true;
    let mut idle = 0;
    while open && idle < 60 {
        let number = random.below(2);
        let mut busy = false;
        if to_send > 0 && random.one_in(4) {
            to_send -= 1;
            busy = true;
            let tokens = Random(seed ^ (number as u64 + 1) << 40);
            let (session, body) = (random.below(sessions), body(&mut random, &tokens));
            let failure = [FailureReport::Yes, FailureReport::Yes, FailureReport::Partial, FailureReport::No]
                [random.below(4)];
            let id = Ident::from_token(random.next());
            let mut message =
                Message { id: Some(id), ..Message::new("application/octet-stream", body.clone()) };
            message.failure_report = failure;
            message.success_report = random.one_in(2);
            message.chunking = if random.one_in(3) { Chunking::Small } else { Chunking::Interruptible };
            let streamed = random.one_in(3);
            if streamed {
                message.body = None;
                message.total = random.one_in(2).then_some(body.len() as u64);
            }
            let side = &mut sides[number];
            let key = side.connection.send(side.sessions[session], message).unwrap();
            if streamed {
                side.feeding.push((key, body.clone()));
            }
            side.sent.insert(key, Sent { body, id, session, failure, aborted: false, told: Vec::new() });
        }
        let side = &mut sides[number];
        if !side.feeding.is_empty() {
            busy = true;
            let at = random.below(side.feeding.len());
            let (key, rest) = &mut side.feeding[at];
            let size = (1 + random.below(5_000)).min(rest.len());
            // It may have been refused meanwhile.
            let gone = side.connection.feed(*key, rest.split_to(size)).is_err();
            if gone || rest.is_empty() {
                assert!(side.connection.finish(*key).is_err() == gone);
                side.feeding.swap_remove(at);
            }
        }
        if random.one_in(60)
            && let Some(&key) = side.sent.keys().min()
        {
            side.connection.abort(key);
            side.sent.get_mut(&key).unwrap().aborted = true;
        }
        let mut out = Vec::new();
        for _ in 0..1 + random.below(4) {
            out.extend(side.connection.poll_transmit().into_iter().flatten());
        }
        side.connection.transmitted(now);
        busy |= !out.is_empty();
        sides[1 - number].wire.extend(out);
        let side = &mut sides[number];
        if !side.wire.is_empty() {
            busy = true;
            let most = if random.one_in(2) { 40 } else { 30_000 };
            let size = (1 + random.below(most)).min(side.wire.len());
            let octets: Vec<u8> = side.wire.drain(..size).collect();
            side.connection.buffer_mut().extend_from_slice(&octets);
            side.connection.receive(now, &mut NoDirectory).unwrap();
        }
        side.events();
        idle = if busy || to_send > 0 { 0 } else { idle + 1 };
        if breaks && random.one_in(150) {
            open = false;
        }
    }
    if !open {
        for side in &mut sides {
            side.connection.closed();
            side.events();
            assert_eq!(side.closed, sessions);
        }
    }
    // Silence to the end.
    for side in &mut sides {
        now += Duration::from_secs(60);
        side.connection.handle_timeout(now);
        side.events();
        assert!(open || side.connection.poll_timeout().is_none());
    }
    let (mut arrived, mut failed) = (0, 0);
    for number in 0..2 {
        let (sender, receiver) = (&sides[number], &sides[1 - number]);
        let by_id: HashMap<Ident, &Sent> = sender.sent.values().map(|sent| (sent.id, sent)).collect();
        let mut seen = HashSet::new();
        for (session, id, body) in &receiver.received {
            let sent = by_id[id];
            assert!(sent.body == *body && sent.session == *session, "seed {seed}: another content");
            assert!(seen.insert(*id), "seed {seed}: handed out twice");
            arrived += 1;
        }
        for sent in sender.sent.values() {
            let count = |wanted: fn(&Event) -> bool| sent.told.iter().filter(|event| wanted(event)).count();
            let (fails, sends) =
                (count(|e| matches!(e, Event::Failed(..))), count(|e| matches!(e, Event::Sent(_))));
            let confirmed = count(|e| matches!(e, Event::Delivered(_)));
            assert!(fails <= 1 && sends <= 1 && confirmed <= 1, "seed {seed}: {:?}", sent.told);
            assert!(fails + sends >= 1, "seed {seed}: nothing told of a message");
            failed += fails;
            let is_there = seen.contains(&sent.id);
            if confirmed == 1 || (sends == 1 && fails == 0 && sent.failure == FailureReport::Yes) {
                assert!(
                    is_there,
                    "seed {seed}: acknowledged and lost: {} {:?} {:?} {:?} {:?}",
                    sent.body.len(),
                    sent.told,
                    sent.failure,
                    open,
                    receiver.abandoned.contains(&sent.id)
                );
            }
            if open && fails == 0 && sent.body.len() as u64 <= LARGEST {
                assert!(is_there, "seed {seed}: lost without a word");
            }
            if open && fails == 1 && !sent.aborted {
                let refused = |event: &Event| matches!(event, Event::Failed(_, Failure::Status(status)) if status.code() == 413);
                assert!(sent.told.iter().any(refused), "seed {seed}: {:?}", sent.told);
                assert!(sent.body.len() as u64 > LARGEST, "seed {seed}: refused for nothing");
            }
        }
        for id in &receiver.abandoned {
            assert!(!seen.contains(id), "seed {seed}: abandoned and handed out");
        }
    }
    (arrived, failed)
}

#[test]
fn two_thousand_runs_lose_nothing_that_was_acknowledged_and_tell_each_failure_once() {
    let (mut arrived, mut failed) = (0, 0);
    for seed in 0..2_000 {
        let (a, f) = run(seed);
        arrived += a;
        failed += f;
    }
    assert!(arrived > 4_000 && failed > 500, "{arrived} arrived, {failed} failed");
}
