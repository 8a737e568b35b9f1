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
    /// The bit stream; empty only if it is damaged and nothing of it is left.
    pub data: Vec<u8>,
}

/// A frame that is being put together. Packets come in the order of their sequence numbers; a gap damages the frames it touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembly {
    current: Option<Frame>,
    /// The next sequence number, once there was one.
    expected: Option<u16>,
}

/// The frames that a packet has ended: one that had lost its end, and its own.
pub(super) type Ended = std::iter::Chain<std::option::IntoIter<Frame>, std::option::IntoIter<Frame>>;

impl Assembly {
    /// Takes a packet: `add` puts its payload into its frame, and is told whether packets directly before it are missing. One
    /// that comes late or twice is left out.
    pub(super) fn push(
        &mut self,
        number: u16,
        timestamp: u32,
        marker: bool,
        add: impl FnOnce(&mut Frame, bool),
    ) -> Ended {
        let ahead = self.expected.map_or(0, |expected| number.wrapping_sub(expected) as i16);
        if ahead < 0 {
            return None.into_iter().chain(None);
        }
        self.expected = Some(number.wrapping_add(1));
        let lost = ahead > 0;
        let unfinished = match &self.current {
            // Its end did not come: the marker was lost.
            Some(frame) if frame.timestamp != timestamp => self.current.take(),
            _ => None,
        };
        let unfinished = unfinished.map(|frame| Frame { damaged: frame.damaged || lost, ..frame });
        let empty = Frame { timestamp, key_frame: false, damaged: false, data: Vec::new() };
        let frame = self.current.get_or_insert(empty);
        frame.damaged |= lost;
        add(frame, lost || unfinished.is_some());
        let ended = if marker { self.end() } else { None };
        unfinished.filter(Frame::is_something).into_iter().chain(ended)
    }

    /// Passes over a packet that is no part of a frame. Behind a gap the gap stays.
    pub(super) fn skip(&mut self, number: u16) {
        if self.expected == Some(number) {
            self.expected = Some(number.wrapping_add(1));
        }
    }

    /// The frame has ended.
    fn end(&mut self) -> Option<Frame> {
        self.current.take().filter(Frame::is_something)
    }
}

impl Frame {
    /// A damaged frame of which nothing is left is still one that was lost.
    fn is_something(&self) -> bool {
        self.damaged || !self.data.is_empty()
    }

    /// Adds octets, if the frame is not too long for that.
    pub(super) fn add(&mut self, octets: &[u8]) {
        if self.data.len() + octets.len() > MAX_FRAME {
            self.damaged = true;
        } else {
            self.data.extend_from_slice(octets);
        }
    }
}
