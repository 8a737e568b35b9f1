//! Frames put together from packets in order, whatever they carry.

use super::MAX_FRAME;

/// A frame as the decoder wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// RTP timestamp.
    pub timestamp: u32,
    /// It can be decoded without any before it.
    pub key_frame: bool,
    /// Packets of it are missing: ask for them or for a key frame.
    pub damaged: bool,
    /// The bit stream.
    pub data: Vec<u8>,
}

/// A frame that is being put together. Packets come in the order of their sequence numbers; a gap damages the frames it touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembly {
    current: Option<Frame>,
    /// The next sequence number, once there was one.
    expected: Option<u16>,
    /// A gap was seen before the current frame began.
    gap: bool,
}

/// What a packet finds.
pub(super) struct Place<'a> {
    /// The frame it belongs to.
    pub(super) frame: &'a mut Frame,
    /// Whether packets directly before it are missing.
    pub(super) lost: bool,
}

impl Assembly {
    /// The frame for a packet, and the frame before it if that had lost its end. `None` for a packet that comes late or twice.
    pub(super) fn place(&mut self, number: u16, timestamp: u32) -> Option<(Option<Frame>, Place<'_>)> {
        let ahead = self.expected.map_or(0, |expected| number.wrapping_sub(expected) as i16);
        if ahead < 0 {
            return None;
        }
        self.expected = Some(number.wrapping_add(1));
        let lost = ahead > 0;
        let unfinished = match &self.current {
            // Its end did not come: the marker was lost.
            Some(frame) if frame.timestamp != timestamp => self.current.take(),
            _ => None,
        };
        let unfinished = unfinished.map(|frame| Frame { damaged: frame.damaged || lost, ..frame });
        self.gap |= lost;
        let gap = std::mem::take(&mut self.gap);
        let empty = Frame { timestamp, key_frame: false, damaged: false, data: Vec::new() };
        let frame = self.current.get_or_insert(empty);
        frame.damaged |= gap;
        Some((unfinished.filter(|frame| !frame.data.is_empty()), Place { frame, lost }))
    }

    /// The frame has ended.
    pub(super) fn end(&mut self) -> Option<Frame> {
        self.current.take().filter(|frame| !frame.data.is_empty())
    }
}

impl Frame {
    /// Adds octets, if the frame is not too long for that.
    pub(super) fn add(&mut self, octets: &[u8]) {
        if self.data.len() + octets.len() > MAX_FRAME {
            self.damaged = true;
        } else {
            self.data.extend_from_slice(octets);
        }
    }
}
