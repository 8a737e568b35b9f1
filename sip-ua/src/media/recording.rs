//! What is heard, kept in memory.

/// Samples of a piece: four seconds at 8 kHz.
const PIECE: usize = 32_000;

/// Samples in pieces. One that doubled whenever it is full would copy itself then, and hundreds of calls that began together would do
/// so in the same moment: long enough to miss their next packets.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pieces: Vec<Vec<i16>>,
    length: usize,
}

impl Recording {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, mut samples: &[i16]) {
        self.length = self.length.saturating_add(samples.len());
        while !samples.is_empty() {
            let room = match self.pieces.last() {
                Some(piece) => PIECE.saturating_sub(piece.len()),
                None => 0,
            };
            if room == 0 {
                self.pieces.push(Vec::with_capacity(PIECE));
                continue;
            }
            let (now, later) = samples.split_at(room.min(samples.len()));
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(now);
            }
            samples = later;
        }
    }

    pub(super) fn into_samples(self) -> Vec<i16> {
        self.pieces.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_whatever_its_pieces() {
        let samples: Vec<i16> = (0..200_000).map(|number| number as i16).collect();
        let mut recording = Recording::default();
        for part in samples.chunks(777).chain([&[][..]]) {
            recording.push(part);
        }
        assert_eq!((recording.len(), recording.into_samples()), (200_000, samples));
    }
}
