//! A stream: the same messages come out of it whole and in chunks whose sizes the first octets give.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::Limits;
use sip_message::framing::{Frame, FramingError, StreamDecoder};

/// Frames without pongs (a ping in two halves shows one more), and how the stream ended.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FramingError>) {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((sizes, stream)) = input.split_at_checked(4) else { return };
    let mut rest = stream;
    let chunks = sizes.iter().cycle().map_while(|&size| {
        let (chunk, more) = rest.split_at(usize::from(size).saturating_add(1).min(rest.len()));
        rest = more;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(read(chunks), read(std::iter::once(stream)));
    // The same octets as one WebSocket message: at most one message, and never more than there is.
    if let Ok(Frame::Message(message)) = sip_message::websocket::read(stream.to_vec().into(), &Limits::default()) {
        assert!(message.body().len() <= stream.len());
    }
});
