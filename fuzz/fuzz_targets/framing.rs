//! A stream: the same messages come out of it whole and in chunks whose sizes the first octets give.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::Limits;
use sip_message::framing::{Frame, FramingError, StreamDecoder};
use sip_message::websocket::FrameKind;

/// Frames without pongs (a ping in two halves shows one more), and how the stream ended.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: Limits) -> (Vec<Frame>, Option<FramingError>) {
    let mut decoder = StreamDecoder::new(limits);
    let mut frames = Vec::new();
    assert!(decoder.is_idle());
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => {
                    // What waits is a message that is not whole, and no longer than one may be.
                    assert!(
                        decoder.buffered() <= limits.message
                            && (decoder.buffered() == 0 || !decoder.is_idle())
                    );
                    break;
                }
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
    let whole = read(std::iter::once(stream), Limits::default());
    assert_eq!(read(chunks, Limits::default()), whole);
    // Smaller limits end the stream earlier and change nothing of what was read before.
    let mut small = Limits::default();
    (small.message, small.start_line, small.field, small.fields) = (256, 64, 80, 8);
    let (frames, error) = read(std::iter::once(stream), small);
    assert!(whole.0.starts_with(&frames) && (error.is_some() || frames == whole.0));
    // The same octets as one WebSocket message: at most one message, and never more than there is.
    if let Ok(Frame::Message(message)) =
        sip_message::websocket::read(stream.to_vec().into(), &Limits::default())
    {
        assert!(message.body().len() <= stream.len());
        let latin1 = String::from_utf8(stream.to_vec()).is_err();
        assert_eq!(sip_message::websocket::kind_of(stream) == FrameKind::Binary, latin1);
    }
});
