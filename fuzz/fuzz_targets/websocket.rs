//! WebSocket: the same events come out of a stream whole and in chunks, no more is kept than the limit allows, and upgrades
//! are read without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_transport::websocket::{Decoder, Event, Origins, Side, Violation, handshake};

const LIMIT: usize = 4_096;

fn read<'a>(side: Side, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Violation>) {
    let mut decoder = Decoder::new(side, LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(violation) => return (events, Some(violation)),
            }
        }
        assert!(decoder.buffered() <= LIMIT + 16 + chunk.len() + LIMIT);
    }
    (events, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((sizes, stream)) = input.split_at_checked(4) else { return };
    for side in [Side::Server, Side::Client] {
        let mut rest = stream;
        let chunks = sizes.iter().cycle().map_while(|&size| {
            let (chunk, more) = rest.split_at(usize::from(size).saturating_add(1).min(rest.len()));
            rest = more;
            (!chunk.is_empty()).then_some(chunk)
        });
        assert_eq!(read(side, chunks), read(side, std::iter::once(stream)));
    }
    if let Ok(Some((response, size))) = handshake::accept(stream, &Origins::Any) {
        assert!(size <= stream.len() && response.starts_with(b"HTTP/1.1 101"));
    }
    let _ = handshake::accepted(stream, [0; 16]);
});
