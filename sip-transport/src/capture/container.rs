//! The two kinds of capture files: pcap (<https://www.tcpdump.org/manpages/pcap-savefile.5.html>) and pcapng
//! (draft-ietf-opsawg-pcapng), both in either byte order.

use std::io::{self, Read};
use std::time::Duration;

use super::read::ReadError;

/// Packets are at most 64 KiB, some more on loopback; blocks of other kinds (names, comments, secrets) may be larger, but
/// a length beyond this is no capture.
const LARGEST: u32 = 16 << 20;
/// Interfaces of one section whose link types are kept. A file can name any number of them.
const INTERFACES: usize = 4_096;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2; // obsolete, and still found
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Options of an interface description.
const TIME_RESOLUTION: u16 = 9;
const TIME_OFFSET: u16 = 14;

/// What a file is by its first four octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pcap { big_endian: bool, units: u64 },
    Pcapng,
}

impl Kind {
    pub(super) fn of(magic: [u8; 4]) -> Option<Kind> {
        let units = |magic| match magic {
            // The third is of a variant with longer packet headers (Kuznetzov), which is refused later.
            0xa1b2_c3d4 => Some(1_000_000),
            0xa1b2_3c4d => Some(1_000_000_000),
            _ => None,
        };
        let (little, big) = (u32::from_le_bytes(magic), u32::from_be_bytes(magic));
        if big == SECTION_HEADER {
            return Some(Kind::Pcapng);
        }
        let little = units(little).map(|units| Kind::Pcap { big_endian: false, units });
        little.or_else(|| units(big).map(|units| Kind::Pcap { big_endian: true, units }))
    }
}

/// Tells the packets of a file with their time and link type (<https://www.tcpdump.org/linktypes.html>).
pub(super) fn packets(file: impl Read, mut tell: impl FnMut(Duration, u32, &[u8])) -> Result<(), ReadError> {
    let mut input = Input { file, at: 0, block: Vec::new() };
    let mut magic = [0; 4];
    if !input.exact(&mut magic)? {
        return Err(ReadError::NoCapture);
    }
    match Kind::of(magic) {
        None => Err(ReadError::NoCapture),
        Some(Kind::Pcap { big_endian, units }) => pcap(&mut input, Order { big_endian }, units, &mut tell),
        Some(Kind::Pcapng) => pcapng(&mut input, &mut tell),
    }
}

/// The file, and how far it was read.
struct Input<R> {
    file: R,
    at: u64,
    block: Vec<u8>,
}

impl<R: Read> Input<R> {
    /// Fills `place`; `false` at the end of the file, be it in the middle: captures that were stopped hard end so.
    fn exact(&mut self, place: &mut [u8]) -> Result<bool, ReadError> {
        match self.file.read_exact(place) {
            Ok(()) => {
                self.at = self.at.saturating_add(place.len() as u64);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The next octets into `block`; `false` at the end of the file. A length costs memory only as far as the file has
    /// octets for it.
    fn next(&mut self, length: u32) -> Result<bool, ReadError> {
        self.block.clear();
        let read = self.file.by_ref().take(length.into()).read_to_end(&mut self.block)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(self.block.len() as u64 == u64::from(length))
    }
}

/// The byte order of a file or section.
#[derive(Clone, Copy)]
struct Order {
    big_endian: bool,
}

impl Order {
    fn half(self, octets: &[u8], at: usize) -> Option<u16> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    fn word(self, octets: &[u8], at: usize) -> Option<u32> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }

    fn double(self, octets: &[u8], at: usize) -> Option<i64> {
        let octets = *octets.get(at..)?.first_chunk()?;
        Some(if self.big_endian { i64::from_be_bytes(octets) } else { i64::from_le_bytes(octets) })
    }
}

fn pcap(
    input: &mut Input<impl Read>,
    order: Order,
    units: u64,
    tell: &mut impl FnMut(Duration, u32, &[u8]),
) -> Result<(), ReadError> {
    let mut header = [0; 20]; // version, time zone, accuracy, snap length, link type
    if !input.exact(&mut header)? {
        return Err(ReadError::Damaged(input.at));
    }
    // The upper bits tell of frame check sequences.
    let link = order.word(&header, 16).unwrap_or(0) & 0x0fff_ffff;
    loop {
        let (mut head, begin) = ([0; 16], input.at);
        if !input.exact(&mut head)? {
            return Ok(());
        }
        let word = |at| order.word(&head, at).unwrap_or(0);
        let (seconds, rest, length) = (word(0), word(4), word(8));
        if length > LARGEST {
            return Err(ReadError::Damaged(begin));
        }
        if !input.next(length)? {
            return Ok(());
        }
        tell(
            Duration::from_secs(seconds.into()).saturating_add(fraction(rest.into(), units)),
            link,
            &input.block,
        );
    }
}

/// One interface of a pcapng section.
#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    /// Units of its time in a second.
    units: u64,
    /// Seconds to add to its time.
    offset: i64,
}

fn pcapng(
    input: &mut Input<impl Read>,
    tell: &mut impl FnMut(Duration, u32, &[u8]),
) -> Result<(), ReadError> {
    let mut order = Order { big_endian: false };
    let mut interfaces: Vec<Interface> = Vec::new();
    let (mut kind, mut begin) = (SECTION_HEADER, 0);
    loop {
        let mut head = [0; 8];
        let (length_octets, order_octets) = head.split_at_mut(4);
        if !input.exact(length_octets)? {
            return if begin == 0 { Err(ReadError::Damaged(begin)) } else { Ok(()) };
        }
        let mut read = 8;
        if kind == SECTION_HEADER {
            // The byte order of the section stands behind the length of its first block.
            if !input.exact(order_octets)? {
                return Err(ReadError::Damaged(begin));
            }
            order.big_endian = match order_octets {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(ReadError::Damaged(begin)),
            };
            interfaces.clear();
            read = 12;
        }
        let length = order.word(length_octets, 0).unwrap_or(0);
        let rest = length.checked_sub(read).filter(|&rest| rest >= 4 && length <= LARGEST);
        let rest = rest.filter(|_| length.is_multiple_of(4)).ok_or(ReadError::Damaged(begin))?;
        if !input.next(rest)? {
            return Ok(());
        }
        let (body, end) =
            input.block.split_at_checked(input.block.len().saturating_sub(4)).unwrap_or_default();
        if order.word(end, 0) != Some(length) {
            return Err(ReadError::Damaged(begin));
        }
        match kind {
            INTERFACE_DESCRIPTION if interfaces.len() < INTERFACES => {
                let interface = interface(order, body).ok_or(ReadError::Damaged(begin))?;
                interfaces.push(interface);
            }
            PACKET | ENHANCED_PACKET => {
                let index = match kind {
                    PACKET => order.half(body, 0).map(u32::from),
                    _ => order.word(body, 0),
                };
                if let Some((at, link, data)) = packet(order, body, index, &interfaces) {
                    tell(at, link, data);
                }
            }
            SIMPLE_PACKET => {
                if let (Some(interface), Some(length)) = (interfaces.first(), order.word(body, 0)) {
                    let data = body.get(4..).unwrap_or_default();
                    let length = usize::try_from(length).unwrap_or(usize::MAX).min(data.len());
                    tell(Duration::ZERO, interface.link, data.get(..length).unwrap_or_default());
                }
            }
            _ => {}
        }
        begin = input.at;
        let mut next = [0; 4];
        if !input.exact(&mut next)? {
            return Ok(());
        }
        kind = if u32::from_be_bytes(next) == SECTION_HEADER {
            SECTION_HEADER
        } else {
            order.word(&next, 0).unwrap_or(0)
        };
    }
}

fn interface(order: Order, body: &[u8]) -> Option<Interface> {
    let mut interface = Interface { link: order.half(body, 0)?.into(), units: 1_000_000, offset: 0 };
    let mut options = body.get(8..)?;
    while let (Some(code), Some(length)) = (order.half(options, 0), order.half(options, 2)) {
        let value = options.get(4..).unwrap_or_default();
        match code {
            0 => break,
            // An interface of which the time cannot be understood still has packets.
            TIME_RESOLUTION => {
                interface.units =
                    value.first().and_then(|&octet| resolution(octet)).unwrap_or(interface.units);
            }
            TIME_OFFSET => interface.offset = order.double(value, 0).unwrap_or(0),
            _ => {}
        }
        let length = usize::from(length).next_multiple_of(4);
        options = value.get(length..).unwrap_or_default();
    }
    Some(interface)
}

/// A power of ten, or of two if the highest bit is set.
fn resolution(octet: u8) -> Option<u64> {
    let base: u64 = if octet & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(u32::from(octet & 0x7f))
}

fn packet<'a>(
    order: Order,
    body: &'a [u8],
    index: Option<u32>,
    interfaces: &[Interface],
) -> Option<(Duration, u32, &'a [u8])> {
    let interface = interfaces.get(usize::try_from(index?).ok()?)?;
    let stamp = u64::from(order.word(body, 4)?) << 32 | u64::from(order.word(body, 8)?);
    let length = usize::try_from(order.word(body, 12)?).ok()?;
    let data = body.get(20..)?;
    let seconds = stamp.checked_div(interface.units)?.saturating_add_signed(interface.offset);
    let rest = fraction(stamp.checked_rem(interface.units)?, interface.units);
    Some((
        Duration::from_secs(seconds).saturating_add(rest),
        interface.link,
        data.get(..length.min(data.len()))?,
    ))
}

/// So many of the units of a second.
fn fraction(count: u64, units: u64) -> Duration {
    let nanoseconds = u128::from(count).saturating_mul(1_000_000_000).checked_div(u128::from(units));
    Duration::from_nanos(nanoseconds.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}
