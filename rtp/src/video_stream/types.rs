//! Frames, what was negotiated, and what a stream tells.

use std::time::Duration;

use bytes::Bytes;

use crate::ntp::NtpTimestamp;
use crate::statistics;
use crate::video::{CLOCK_RATE, Codec};

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFrame {
    /// Its format.
    pub codec: Codec,
    /// When it is shown, counted from wherever the sender likes; received frames count from the first one.
    pub time: Duration,
    /// It can be decoded without any before it.
    pub key_frame: bool,
    /// When it was taken by the sender's wall clock, once a sender report has told (RFC 3550 §6.4.1): sound with the same
    /// time belongs to it. Without meaning in what is sent.
    pub captured: Option<NtpTimestamp>,
    /// The bit stream: for H.264 an access unit with start codes (Annex B).
    pub data: Bytes,
}

impl VideoFrame {
    /// A frame to send. Whether it is a key frame is read from the bit stream.
    #[must_use]
    pub fn new(codec: Codec, time: Duration, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Self { codec, time, key_frame: codec.is_key_frame(&data), captured: None, data }
    }

    /// Its time on the RTP clock, to the nearest unit.
    pub(super) fn units(&self) -> u32 {
        let scaled = self.time.as_nanos().wrapping_mul(u128::from(CLOCK_RATE));
        (scaled.saturating_add(500_000_000) / 1_000_000_000) as u32
    }
}

/// What offer and answer agreed on for a video stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is sent.
    pub codec: Codec,
    /// The payload type of what is sent.
    pub payload_type: u8,
    /// The peer takes single NAL units alone (packetization mode 0, RFC 6184 §6.2): each has to fit in a packet.
    pub single_units: bool,
    /// The payload type of what is sent again, if the peer takes it in a stream of its own (RFC 4588). Without it the packet
    /// itself is sent once more.
    pub retransmission: Option<u8>,
    /// What is understood, by payload type.
    pub receive: Vec<(u8, Codec)>,
    /// Payload types of what the peer sends again, each with the one that it repairs.
    pub receive_retransmission: Vec<(u8, u8)>,
    /// What the two ends may tell each other at once.
    pub feedback: Feedback,
}

/// Feedback messages that both ends take (RFC 4585 §4.2, RFC 5104 §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Feedback {
    /// `nack`: packets that are missing are named, and sent again.
    pub nack: bool,
    /// `nack pli`: a key frame is asked for because pictures were lost.
    pub pli: bool,
    /// `ccm fir`: a key frame is asked for, whatever the reason.
    pub fir: bool,
}

impl Feedback {
    pub(super) fn any(self) -> bool {
        self.nack || self.pli || self.fir
    }
}

impl Format {
    /// One codec under one payload type both ways, in packetization mode 1, without feedback.
    #[must_use]
    pub fn new(codec: Codec, payload_type: u8) -> Self {
        Self {
            codec,
            payload_type,
            single_units: false,
            retransmission: None,
            receive: vec![(payload_type, codec)],
            receive_retransmission: Vec::new(),
            feedback: Feedback::default(),
        }
    }

    /// The same with what is missing asked for and sent again, under these payload types of either direction (RFC 4588), and
    /// with key frames asked for.
    #[must_use]
    pub fn with_repair(mut self, sent: u8, received: u8) -> Self {
        self.retransmission = Some(sent);
        self.receive_retransmission = vec![(received, self.payload_type)];
        self.feedback = Feedback { nack: true, pli: true, fir: true };
        self
    }

    pub(super) fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        self.receive.iter().find(|(known, _)| *known == payload_type).map(|(_, codec)| *codec)
    }

    /// The payload type that one of retransmissions repairs.
    pub(super) fn repaired(&self, payload_type: u8) -> Option<u8> {
        self.receive_retransmission.iter().find(|(known, _)| *known == payload_type).map(|(_, of)| *of)
    }
}

/// What a stream tells its application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A frame came whole, and so did all that it may be decoded from.
    Frame(VideoFrame),
    /// Something is missing for good. A key frame is asked for, and nothing is given before it comes: what is shown stands still.
    Lost,
    /// The next frame sent has to be a key frame: the peer asks for one, or frames were left out here.
    KeyFrameWanted,
    /// The peer asks for no more than this many bits a second (RFC 5104 §4.2.1, REMB).
    BitRateLimit(u64),
}

/// Why a frame is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Held, or the peer takes no pictures now. A key frame is wanted when that ends.
    #[error("the stream does not send now: it is held, or the peer only sends")]
    NotSending,
    /// Frames were left out, so that only a key frame can be decoded.
    #[error("a key frame has to come first")]
    KeyFrameNeeded,
    /// What was given before has not gone out yet: later, or another frame.
    #[error("earlier frames are still waiting to be sent")]
    Busy,
    /// Offer and answer agreed on another format.
    #[error("the peer takes {} and no {}", agreed.name(), given.name())]
    WrongCodec {
        /// The format of the frame.
        given: Codec,
        /// The one agreed on.
        agreed: Codec,
    },
    /// There is nothing in it that could be sent.
    #[error("the frame holds no picture")]
    Empty,
    /// Longer than [`MAX_FRAME`](crate::video::MAX_FRAME).
    #[error("a frame of {0} octets is too long")]
    TooLong(usize),
    /// The peer takes single NAL units alone, and one is longer than a packet: the encoder has to make slices.
    #[error("the peer takes no fragments: a NAL unit of {length} octets is longer than {longest}")]
    UnitTooLong {
        /// Octets of the unit.
        length: usize,
        /// The longest that fits.
        longest: usize,
    },
    /// After the end of the stream.
    #[error("the stream is closed")]
    Closed,
}

/// What a stream counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// RTP and RTCP.
    pub session: statistics::Statistics,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames given to the application.
    pub frames_received: u64,
    /// Key frames among them.
    pub key_frames_received: u64,
    /// Frames of which packets never came.
    pub frames_damaged: u64,
    /// Whole frames that were not given, because what they are decoded from was lost, or nobody took them.
    pub frames_skipped: u64,
    /// Packets of the peer that we asked for again.
    pub packets_asked: u64,
    /// Missing packets that came after all.
    pub packets_mended: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets that we sent again.
    pub packets_repeated: u64,
    /// Times that we asked for a key frame.
    pub key_frames_asked: u64,
    /// Times that the peer did.
    pub key_frames_wanted: u64,
}
