//! MSRP: a stream gives the same events whole and in pieces; a session takes whatever comes within its limits and answers in
//! MSRP; a relay takes whatever comes and what it sends is MSRP; addresses and attributes that can be read are read again as they were printed.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use msrp::file::{Disposition, FileRange, FileSelector, TransferId};
use msrp::framing::{Decoder, Event, FramingError, Limits};
use msrp::relay::{Action, Relay, RelayConfig};
use msrp::sdp::{Chatroom, MaxSize, MediaTypes, Setup};
use msrp::{Connection, Delivery, Flag, Message, NoDirectory, Path, SessionConfig, Uri};

/// Where everybody connects from.
const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What a reader made of a stream: heads, whole bodies, flags.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<(BytesMut, Option<Flag>)>, Option<FramingError>) {
    let mut decoder = Decoder::default();
    let mut all: Vec<(BytesMut, Option<Flag>)> = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_event() {
                Ok(Some(Event::Start(head))) => {
                    let _ =
                        (head.to_path(), head.from_path(), head.use_path(), head.comment(), head.expires());
                    let _ = (head.status(), head.byte_range(), head.fields().count());
                    all.push((BytesMut::from(&head.as_bytes()[..]), None));
                }
                Ok(Some(Event::Body(octets))) => all.last_mut().unwrap().0.extend_from_slice(&octets),
                Ok(Some(Event::End(flag))) => all.last_mut().unwrap().1 = Some(flag),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
        assert!(decoder.buffered() <= 16_384 + 2);
    }
    (all, None)
}

fn again<T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((sizes, stream)) = input.split_at_checked(4) else { return };
    let pieces = || {
        let (mut rest, mut sizes) = (stream, sizes.iter().cycle());
        std::iter::from_fn(move || {
            let size = usize::from(*sizes.next()?).saturating_add(1).min(rest.len());
            let (piece, more) = rest.split_at(size);
            rest = more;
            (!piece.is_empty()).then_some(piece)
        })
    };
    let (whole, cut) = (read(std::iter::once(stream)), read(pieces()));
    assert_eq!(whole.1.is_some(), cut.1.is_some());
    if whole.1.is_none() {
        // Before a fault, one of them may have told more of a body.
        assert_eq!(whole.0, cut.0);
    }

    let local: Uri = "msrp://b.example.com:8888/bob;tcp".parse().unwrap();
    let remote: Uri = "msrp://a.example.com:7654/alice;tcp".parse().unwrap();
    for (active, delivery) in [(false, Delivery::Whole), (true, Delivery::Parts)] {
        let mut token = 0;
        let mut connection = Connection::new(
            1,
            Limits::default(),
            Box::new(move || {
                token += 1;
                token
            }),
        );
        let config = SessionConfig {
            active,
            delivery,
            remote: Some(remote.clone().into()),
            max_size: 1_000,
            max_memory: 2_000,
            ..SessionConfig::new(local.clone())
        };
        let key = connection.add(config).unwrap();
        let _ = connection.send(key, Message::text(String::from_utf8_lossy(stream)).with_success_report());
        let mut output = Vec::new();
        for piece in pieces() {
            connection.buffer_mut().extend_from_slice(piece);
            let ok = connection.receive(std::time::Instant::now(), &mut NoDirectory).is_ok();
            output.extend(connection.poll_transmit().into_iter().flatten());
            while connection.poll_event().is_some() {}
            if !ok {
                break;
            }
        }
        while let Some(octets) = connection.poll_transmit() {
            output.extend_from_slice(&octets);
        }
        connection.closed();
        let (_, fault) = read(std::iter::once(&output[..]).filter(|output| !output.is_empty()));
        assert_eq!(fault, None, "{}", String::from_utf8_lossy(&output));
    }

    // Two strangers at a relay; what they send may hold the first URI that it hands out, whose bits are known here.
    let (mut token, now) = (0, std::time::Instant::now());
    let config = RelayConfig { min_expires: 0, ..RelayConfig::new("r.example.com", 2855) };
    let accounts = std::collections::HashMap::from([("a".to_owned(), "b".to_owned())]);
    let tokens = move || {
        token += 1;
        token
    };
    let mut relay = Relay::new(config, Box::new(accounts), Box::new(tokens));
    let mut known = [(); 2].map(|()| relay.accepted(now, true, HERE).unwrap()).to_vec();
    for (number, piece) in pieces().enumerate() {
        // Mostly one of them, so that whole requests come.
        let connection = known[usize::from(number % 8 == 7)];
        relay.push(connection, piece);
        if relay.receive(now, connection).is_err() {
            relay.closed(connection);
        }
        while let Some(action) = relay.poll_action() {
            if let Action::Connect { connection, .. } = action {
                relay.connected(connection);
                known.push(connection);
            }
        }
        for &connection in &known {
            let output: Vec<u8> = std::iter::from_fn(|| relay.poll_transmit(connection)).flatten().collect();
            relay.transmitted(now, connection);
            let (_, fault) = read(std::iter::once(&output[..]).filter(|output| !output.is_empty()));
            assert_eq!(fault, None, "{}", String::from_utf8_lossy(&output));
        }
    }
    relay.handle_timeout(now + std::time::Duration::from_secs(100_000));
    assert_eq!((relay.counts().grants, relay.poll_timeout()), (0, None));

    if let Ok(text) = std::str::from_utf8(stream) {
        again::<Uri>(text);
        again::<Path>(text);
        again::<FileSelector>(text);
        again::<FileRange>(text);
        again::<TransferId>(text);
        again::<Disposition>(text);
        again::<MediaTypes>(text);
        again::<MaxSize>(text);
        again::<Setup>(text);
        again::<Chatroom>(text);
    }
});
