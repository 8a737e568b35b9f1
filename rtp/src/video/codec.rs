//! The formats that are cut up and put together here, as a value.

use super::{Frame, Payload, h264, vp8};

/// A video format whose frames go in RTP packets and come out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// H.264 (RFC 6184). A frame is an access unit as a byte stream with start codes (ITU-T H.264 Annex B).
    H264,
    /// VP8 (RFC 7741). A frame is what RFC 6386 calls one.
    Vp8,
}

impl Codec {
    /// The encoding name of `a=rtpmap`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
        }
    }

    /// The format of that encoding name, letter case aside.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::H264, Self::Vp8].into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Whether a frame can be decoded without any before it.
    #[must_use]
    pub fn is_key_frame(self, frame: &[u8]) -> bool {
        match self {
            Self::H264 => h264::is_key_access_unit(frame),
            Self::Vp8 => vp8::starts_key_frame(frame),
        }
    }

    /// Whether a key frame that is the first thing heard shows that nothing of it is missing before what came. VP8 says so in
    /// its packets; H.264 begins an access unit with parameter sets or a delimiter (ITU-T H.264 §7.4.1.2.3).
    pub(crate) fn shows_its_beginning(self, frame: &[u8]) -> bool {
        match self {
            Self::H264 => h264::begins_access_unit(frame),
            Self::Vp8 => true,
        }
    }
}

/// Cuts frames of either format into payloads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packetizer {
    H264(h264::Packetizer),
    Vp8(vp8::Packetizer),
}

impl Packetizer {
    pub(crate) fn packetize(&mut self, frame: &[u8]) -> Vec<Payload> {
        match self {
            Self::H264(packetizer) => packetizer.packetize(frame).collect(),
            Self::Vp8(packetizer) => packetizer.packetize(frame).collect(),
        }
    }
}

/// Puts frames of either format together.
#[derive(Clone, Debug)]
pub(crate) enum Depacketizer {
    H264(h264::Depacketizer),
    Vp8(vp8::Depacketizer),
}

impl Depacketizer {
    pub(crate) fn new(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self::H264(h264::Depacketizer::new()),
            Codec::Vp8 => Self::Vp8(vp8::Depacketizer::new()),
        }
    }

    pub(crate) fn push(&mut self, number: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<Frame> {
        match self {
            Self::H264(depacketizer) => depacketizer.push(number, timestamp, marker, payload).collect(),
            Self::Vp8(depacketizer) => depacketizer.push(number, timestamp, marker, payload).collect(),
        }
    }

    /// A packet of this number is no part of a frame.
    pub(crate) fn skip(&mut self, number: u16) {
        match self {
            Self::H264(depacketizer) => depacketizer.skip(number),
            Self::Vp8(depacketizer) => depacketizer.skip(number),
        }
    }
}
