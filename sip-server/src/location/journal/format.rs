//! What is in a location file: a header, a snapshot, and the changes since.
//!
//! ```text
//!   0  "SIPLOC" 1a 0a
//!   8  u32   version of the format
//!  12  u32   CRC-32 of the rest of the header
//!  16  u64   where the snapshot ends
//!  24  u64   the sequence number that the changes behind the snapshot follow
//!  32  u64   when it was written, in milliseconds of the Unix epoch
//!  40  u32   number of the process that wrote it
//!  44  20 zeros
//!  64  records in any order: the snapshot, complete when the file got its name
//!   …  records with growing sequence numbers: the changes
//! ```
//!
//! A write that a crash has cut short can only be the last one, so what cannot be read at the end, with nothing newer
//! behind it, was never acknowledged. What cannot be read anywhere else is damage.

use std::io::{self, Read};

use crate::location::record::{HEADER as RECORD_HEADER, LONGEST, MAGIC, Record, RecordError, Stamp, number};

const SIGNATURE: [u8; 8] = *b"SIPLOC\x1a\n";
/// The format that is written and read.
pub(super) const FORMAT: u32 = 1;
/// Octets of the header.
pub(super) const HEADER: usize = 64;

/// The start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) snapshot_end: u64,
    pub(super) stamp: Stamp,
}

impl FileHeader {
    pub(super) fn octets(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let fields: [(usize, &[u8]); 6] = [
            (0, &SIGNATURE),
            (8, &FORMAT.to_le_bytes()),
            (16, &self.snapshot_end.to_le_bytes()),
            (24, &self.stamp.sequence.to_le_bytes()),
            (32, &self.stamp.written.to_le_bytes()),
            (40, &self.stamp.run.to_le_bytes()),
        ];
        for (at, octets) in fields {
            if let Some(place) = out.get_mut(at..at.saturating_add(octets.len())) {
                place.copy_from_slice(octets);
            }
        }
        let sum = sum(&out).to_le_bytes();
        if let Some(place) = out.get_mut(12..16) {
            place.copy_from_slice(&sum);
        }
        out
    }

    pub(super) fn read(octets: &[u8]) -> Result<Self, Fault> {
        if octets.is_empty() {
            return Err(Fault::Empty);
        }
        if !octets.starts_with(&SIGNATURE) {
            return Err(Fault::Foreign);
        }
        let octets: &[u8; HEADER] = octets.first_chunk().ok_or(Fault::Damaged(0))?;
        if number::<4>(octets, 12) != sum(octets).to_le_bytes() {
            return Err(Fault::Damaged(0));
        }
        match u32::from_le_bytes(number(octets, 8)) {
            FORMAT => Ok(Self {
                snapshot_end: u64::from_le_bytes(number(octets, 16)),
                stamp: Stamp {
                    sequence: u64::from_le_bytes(number(octets, 24)),
                    written: u64::from_le_bytes(number(octets, 32)),
                    run: u32::from_le_bytes(number(octets, 40)),
                },
            }),
            newer => Err(Fault::Newer(newer)),
        }
    }
}

fn sum(octets: &[u8; HEADER]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(octets.get(..12).unwrap_or_default());
    sum.update(octets.get(16..).unwrap_or_default());
    sum.finalize()
}

/// Why octets are no location file.
#[derive(Debug)]
pub(super) enum Fault {
    Empty,
    Foreign,
    Newer(u32),
    Damaged(u64),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was found in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Where the next record goes.
    pub(super) end: u64,
    /// Octets behind that: a write that was cut short.
    pub(super) torn: u64,
    /// Records read.
    pub(super) records: u64,
    /// The highest of everything.
    pub(super) stamp: Stamp,
}

/// Reads a file and gives every record to `each`, in the order of the file.
pub(super) fn load(file: impl Read, mut each: impl FnMut(Record)) -> Result<Contents, Fault> {
    let mut window = Window::new(file);
    let header = FileHeader::read(window.peek(HEADER)?)?;
    window.skip(HEADER);
    let mut contents = Contents { stamp: header.stamp, ..Contents::default() };
    let mut last = header.stamp.sequence;
    loop {
        let at = window.at;
        let in_snapshot = at < header.snapshot_end;
        if at > header.snapshot_end && contents.end < header.snapshot_end {
            return Err(Fault::Damaged(header.snapshot_end)); // a record across the boundary
        }
        contents.end = at;
        if window.peek(1)?.is_empty() {
            return if in_snapshot { Err(Fault::Damaged(at)) } else { Ok(contents) };
        }
        let read = window.record()?;
        match read {
            Ok(record) if in_snapshot || record.stamp().sequence > last => {
                let stamp = record.stamp();
                contents.records = contents.records.saturating_add(1);
                contents.stamp = highest(contents.stamp, stamp);
                if !in_snapshot {
                    last = stamp.sequence;
                }
                window.skip(record.octets().len());
                each(record);
            }
            Err(RecordError::Version(version)) => return Err(Fault::Newer(version.into())),
            Ok(_) | Err(_) if in_snapshot => return Err(Fault::Damaged(at)),
            Ok(_) | Err(_) => {
                // Left over from a failed write, or torn: unless something newer stands behind it.
                if window.find(|record| record.stamp().sequence > last)? {
                    return Err(Fault::Damaged(at));
                }
                contents.torn = window.at.saturating_sub(at);
                return Ok(contents);
            }
        }
    }
}

/// Reads a damaged file: gives every record whose checksum fits to `each`. Gives how many octets belong to none.
pub(super) fn salvage(file: impl Read, mut each: impl FnMut(Record)) -> Result<u64, Fault> {
    let mut window = Window::new(file);
    let mut lost = 0_u64;
    if window.peek(HEADER)?.starts_with(&SIGNATURE) {
        window.skip(HEADER);
    }
    loop {
        match window.record()? {
            Ok(record) => {
                window.skip(record.octets().len());
                each(record);
            }
            Err(RecordError::Version(version)) => return Err(Fault::Newer(version.into())),
            Err(_) => {
                let at = window.at;
                let found = window.find(|_| true)?;
                lost = lost.saturating_add(window.at.saturating_sub(at));
                if !found {
                    return Ok(lost);
                }
            }
        }
    }
}

fn highest(a: Stamp, b: Stamp) -> Stamp {
    Stamp { sequence: a.sequence.max(b.sequence), written: a.written.max(b.written), run: a.run.max(b.run) }
}

/// Octets read at once.
const CHUNK: usize = 1 << 20;

/// A file seen through a window that moves forward.
struct Window<R> {
    file: R,
    buffer: Vec<u8>,
    start: usize,
    /// Where `start` is in the file.
    at: u64,
    ended: bool,
}

impl<R: Read> Window<R> {
    fn new(file: R) -> Self {
        Self { file, buffer: Vec::new(), start: 0, at: 0, ended: false }
    }

    /// The next `count` octets, or fewer at the end.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.buffer.len().saturating_sub(self.start) < count && !self.ended {
            self.buffer.drain(..self.start);
            self.start = 0;
            while self.buffer.len() < count && !self.ended {
                let read = self.file.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
                self.ended = read < CHUNK;
            }
        }
        let end = self.start.saturating_add(count).min(self.buffer.len());
        Ok(self.buffer.get(self.start..end).unwrap_or_default())
    }

    fn skip(&mut self, count: usize) {
        let count = count.min(self.buffer.len().saturating_sub(self.start));
        self.start = self.start.saturating_add(count);
        self.at = self.at.saturating_add(count as u64);
    }

    fn record(&mut self) -> io::Result<Result<Record, RecordError>> {
        let Some(length) = Record::length(self.peek(RECORD_HEADER)?) else {
            return Ok(Err(RecordError::Damaged));
        };
        Ok(Record::read(self.peek(length)?))
    }

    /// Moves forward to the next record that is `wanted`, from the next octet on.
    fn find(&mut self, wanted: impl Fn(&Record) -> bool) -> io::Result<bool> {
        self.skip(1);
        loop {
            let ahead = self.peek(LONGEST)?;
            if ahead.is_empty() {
                return Ok(false);
            }
            let until = ahead.windows(MAGIC.len()).position(|two| two == MAGIC);
            // The last octet may be the first of the two, unless nothing follows.
            let nothing = ahead.len().saturating_sub(1).max(1);
            match until {
                None => self.skip(nothing),
                Some(until) => {
                    self.skip(until);
                    // A record of a newer layout is one as well.
                    match self.record()? {
                        Ok(record) if wanted(&record) => return Ok(true),
                        Err(RecordError::Version(_)) => return Ok(true),
                        _ => self.skip(1),
                    }
                }
            }
        }
    }
}
