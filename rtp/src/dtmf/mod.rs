//! Digits: as RTP payload (RFC 4733), sent and received, as tones in the audio, as bodies of INFO, and from each of these to each
//! other.

pub mod inband;
pub mod info;
pub mod interworking;
mod receiver;
mod sender;

pub use receiver::{Notice, Receiver};
pub use sender::{EventPacket, MAX_QUEUED, QueueFull, Sender};

/// The longest duration of one segment (RFC 4733 §2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// An event code of RFC 4733 §3.2 (table 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event(pub u8);

impl Event {
    /// Hook flash.
    pub const FLASH: Self = Self(16);

    /// The event of a key: `0` to `9`, `*`, `#`, `A` to `D` in either case, and `!` for a hook flash.
    #[must_use]
    pub fn from_key(key: char) -> Option<Self> {
        let code = match key {
            '0'..='9' => key as u8 - b'0',
            '*' => 10,
            '#' => 11,
            'A'..='D' => key as u8 - b'A' + 12,
            'a'..='d' => key as u8 - b'a' + 12,
            '!' => 16,
            _ => return None,
        };
        Some(Self(code))
    }

    /// The key of the event, if it has one.
    #[must_use]
    pub fn key(self) -> Option<char> {
        match self.0 {
            0..=9 => Some(char::from(b'0' + self.0)),
            10 => Some('*'),
            11 => Some('#'),
            12..=15 => Some(char::from(b'A' + self.0 - 12)),
            16 => Some('!'),
            _ => None,
        }
    }
}

/// The payload of a telephone-event packet (RFC 4733 §2.3).
///
/// ```
/// use rtp::dtmf::{Event, Payload};
/// let payload = Payload { event: Event(5), end: true, volume: 10, duration: 800 };
/// assert_eq!(payload.to_octets(), [5, 0x8a, 0x03, 0x20]);
/// assert_eq!(Payload::parse(&payload.to_octets()), Some(payload));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What happens.
    pub event: Event,
    /// E bit: the event is over.
    pub end: bool,
    /// Power in -dBm0, 0 (loud) to 63.
    pub volume: u8,
    /// Duration so far in timestamp units.
    pub duration: u16,
}

impl Payload {
    /// Reads the first event of a payload; `None` if it is shorter than four octets.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[event, flags, high, low, ..] = payload else { return None };
        Some(Self {
            event: Event(event),
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn to_octets(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event.0, if self.end { 0x80 } else { 0 } | (self.volume & 0x3f), high, low]
    }
}

#[cfg(test)]
mod tests;
