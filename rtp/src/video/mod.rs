//! Pictures in packets: H.264 (RFC 6184) and VP8 (RFC 7741) cut up and put together; of VP9 (RFC 9628) and AV1 as much as
//! forwarding needs. Nothing is decoded.
//!
//! ```
//! use rtp::video::h264::{Depacketizer, Packetizer};
//!
//! // A parameter set and a picture as an encoder writes them, start codes and all (Annex B).
//! let mut access_unit = vec![0, 0, 0, 1, 0x67, 0x42, 0x00, 0x1f, 0, 0, 1, 0x65];
//! access_unit.extend([0x5a; 3000]);
//! let packets: Vec<_> = Packetizer::new(1200).packetize(&access_unit).collect();
//! assert_eq!(packets.len(), 4);
//!
//! let mut depacketizer = Depacketizer::new();
//! let mut frames = Vec::new();
//! for (number, packet) in (0u16..).zip(&packets) {
//!     frames.extend(depacketizer.push(number, 90_000, packet.marker, &packet.payload));
//! }
//! assert!(frames.len() == 1 && frames[0].key_frame && !frames[0].damaged);
//! ```

pub mod av1;
mod codec;
mod frames;
pub mod h264;
pub mod ivf;
pub mod vp8;
pub mod vp9;

pub use codec::Codec;
pub(crate) use codec::{Depacketizer, Packetizer};
pub use frames::Frame;

/// RTP timestamp units a second of all video formats here.
pub const CLOCK_RATE: u32 = 90_000;

/// Octets of a frame that is put together at most: a key frame of 4K video takes 1 to 2 MB. A peer that never ends a
/// frame must not fill the memory.
pub const MAX_FRAME: usize = 4 << 20;

/// The payload of one RTP packet and its marker bit, which ends a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The last packet of the frame.
    pub marker: bool,
    /// The payload.
    pub payload: Vec<u8>,
}
