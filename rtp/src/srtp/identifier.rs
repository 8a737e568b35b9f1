//! Master key identifiers (RFC 3711 §3.1): octets in each packet that tell which of several master keys protects it.

use super::{Error, Profile};

/// Most octets of an identifier (RFC 4568 §6.1).
const LONGEST: u8 = 128;

/// Names a master key in packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MasterKeyIdentifier(Box<[u8]>);

impl MasterKeyIdentifier {
    /// `value` in `length` octets, the highest first, as descriptions name it (RFC 4568 §6.1). `None` unless `length` is 1 to 128
    /// and the value fits.
    #[must_use]
    pub fn new(value: u64, length: u8) -> Option<Self> {
        if !(1..=LONGEST).contains(&length) {
            return None;
        }
        let octets = value.to_be_bytes();
        let (above, within) = octets.split_at(octets.len().saturating_sub(length.into()));
        if above.iter().any(|octet| *octet != 0) {
            return None;
        }
        let mut whole = vec![0; usize::from(length) - within.len()];
        whole.extend_from_slice(within);
        Some(Self(whole.into()))
    }

    /// Octets in each packet.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// Whether these are its octets.
    pub(super) fn is(&self, octets: &[u8]) -> bool {
        *self.0 == *octets
    }

    /// Puts it into a packet of which `behind` octets stand behind it.
    pub(super) fn insert(&self, packet: &mut Vec<u8>, behind: usize) {
        let at = packet.len().saturating_sub(behind);
        packet.splice(at..at, self.0.iter().copied());
    }
}

/// Where an identifier of `length` octets stands in a packet.
pub(super) fn place(packet: &[u8], length: usize, behind: usize) -> Result<std::ops::Range<usize>, Error> {
    let too_short = Error::TooShort { length: packet.len(), needed: length + behind };
    let start = packet.len().checked_sub(length + behind).ok_or(too_short)?;
    Ok(start..start + length)
}

/// Octets that an identifier and what stands behind it take, for a check of lengths.
pub(super) fn added(identifier: Option<&MasterKeyIdentifier>, profile: Profile) -> usize {
    identifier.map_or(0, MasterKeyIdentifier::length) + profile.rtp_tag_length()
}
