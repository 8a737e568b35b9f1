//! IVF files: encoded frames with their times, as encoders of VP8 write them (`ffmpeg -f ivf`). All numbers are little-endian.
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use rtp::video::{Codec, ivf};
//!
//! let frames = [(Duration::ZERO, Bytes::from_static(&[0x10, 1])), (Duration::from_millis(40), Bytes::from_static(&[0x11]))];
//! let file = ivf::write(Codec::Vp8, (320, 240), &frames);
//! let film = ivf::parse(file.into())?;
//! assert_eq!((film.codec, film.size, &film.frames[..]), (Codec::Vp8, (320, 240), &frames[..]));
//! # Ok::<(), ivf::IvfError>(())
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::Codec;

const SIGNATURE: &[u8; 4] = b"DKIF";
/// Octets of the header; version 0 has no other length.
const HEADER: u16 = 32;
/// Units of time in a second in what is written.
const RATE: u32 = 90_000;

/// The film of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivf {
    /// The format of its frames.
    pub codec: Codec,
    /// Width and height.
    pub size: (u16, u16),
    /// When each frame is shown, and its bit stream. A last one that is cut off is left out.
    pub frames: Vec<(Duration, Bytes)>,
}

/// Why a file is no film.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IvfError {
    /// It does not begin as one.
    #[error("this is no IVF file")]
    NoIvf,
    /// Its frames are of a format that cannot be sent.
    #[error("the frames are of format {0:?}; H264 and VP80 can be sent")]
    Codec(String),
    /// Its clock stands still.
    #[error("the file has no rate of time")]
    NoRate,
}

/// Reads a file. The frames share its memory.
///
/// # Errors
/// [`IvfError`].
pub fn parse(mut file: Bytes) -> Result<Ivf, IvfError> {
    let header = file.first_chunk::<{ HEADER as usize }>().ok_or(IvfError::NoIvf)?;
    let [s0, s1, s2, s3, _, _, h0, h1, c0, c1, c2, c3, w0, w1, v0, v1, r0, r1, r2, r3, t0, t1, t2, t3, ..] =
        *header;
    let length = usize::from(u16::from_le_bytes([h0, h1]));
    if [s0, s1, s2, s3] != *SIGNATURE || length < HEADER.into() || length > file.len() {
        return Err(IvfError::NoIvf);
    }
    let codec = match &[c0, c1, c2, c3] {
        b"VP80" => Codec::Vp8,
        b"H264" => Codec::H264,
        other => return Err(IvfError::Codec(String::from_utf8_lossy(other).into_owned())),
    };
    let size = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([v0, v1]));
    let (rate, scale) = (u32::from_le_bytes([r0, r1, r2, r3]), u32::from_le_bytes([t0, t1, t2, t3]));
    if rate == 0 {
        return Err(IvfError::NoRate);
    }
    let _ = file.split_to(length);
    let mut frames = Vec::new();
    while let Some(&[l0, l1, l2, l3, t0, t1, t2, t3, t4, t5, t6, t7]) = file.first_chunk::<12>() {
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let time = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let Some(end) = length.checked_add(12).filter(|end| *end <= file.len()) else { break };
        let frame = file.split_to(end).slice(12..);
        let nanoseconds =
            u128::from(time).saturating_mul(scale.into()).saturating_mul(1_000_000_000) / u128::from(rate);
        frames.push((Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)), frame));
    }
    Ok(Ivf { codec, size, frames })
}

/// Writes a file; times to the nearest of [90,000](super::CLOCK_RATE) units a second.
#[must_use]
pub fn write(codec: Codec, (width, height): (u16, u16), frames: &[(Duration, Bytes)]) -> Vec<u8> {
    let mut file = SIGNATURE.to_vec();
    file.extend(0u16.to_le_bytes());
    file.extend(HEADER.to_le_bytes());
    file.extend(match codec {
        Codec::Vp8 => b"VP80",
        Codec::H264 => b"H264",
    });
    file.extend([width, height].map(u16::to_le_bytes).concat());
    let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
    file.extend([RATE, 1, count, 0].map(u32::to_le_bytes).concat());
    for (time, frame) in frames {
        let units = (time.as_nanos() * u128::from(RATE) + 500_000_000) / 1_000_000_000;
        file.extend(u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
        file.extend(u64::try_from(units).unwrap_or(u64::MAX).to_le_bytes());
        file.extend_from_slice(frame);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_film_says_why() {
        let film = write(Codec::Vp8, (1, 1), &[(Duration::ZERO, Bytes::from_static(&[1; 9]))]);
        let changed = |at: usize, octets: &[u8]| {
            let mut film = film.clone();
            film[at..at + octets.len()].copy_from_slice(octets);
            parse(film.into())
        };
        assert_eq!(changed(0, b"RIFF"), Err(IvfError::NoIvf));
        assert_eq!(changed(8, b"AV01"), Err(IvfError::Codec("AV01".into())));
        assert_eq!(changed(16, &[0; 4]), Err(IvfError::NoRate));
        assert_eq!(parse(Bytes::copy_from_slice(&film[..30])), Err(IvfError::NoIvf));
        let cut = parse(Bytes::copy_from_slice(&film[..film.len() - 1])).unwrap();
        assert!(cut.frames.is_empty(), "a frame that is cut off");
        assert!(changed(32, &[0xff; 4]).unwrap().frames.is_empty(), "one that lies about its length");
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(head: bool, octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = if head { write(Codec::H264, (4, 4), &[]) } else { Vec::new() };
            file.extend(octets);
            let _ = parse(file.into());
        }
    }
}
