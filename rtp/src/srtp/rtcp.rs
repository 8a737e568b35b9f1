//! RTCP through a context: SRTCP (RFC 3711 §3.4, RFC 7714 §9).

use super::context::{Context, check_length};
use super::identifier::MasterKeyIdentifier;
use super::protection::{ENCRYPTED, Position, RTCP_CLEAR, RTCP_INDEX};
use super::{Error, Receiver, Sender};

impl Sender {
    /// Encrypts and authenticates a compound RTCP packet in place.
    ///
    /// # Errors
    /// [`Error`]; the packet is then as it was.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let encrypt = !self.context.clear_rtcp;
        self.seal_rtcp(packet, encrypt)
    }

    /// Authenticates a compound RTCP packet that a monitor without the key shall read: the E bit is 0.
    ///
    /// # Errors
    /// [`Error`]; the packet is then as it was.
    pub fn authenticate_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.seal_rtcp(packet, false)
    }

    fn seal_rtcp(&mut self, packet: &mut Vec<u8>, encrypt: bool) -> Result<(), Error> {
        self.check_lifetime()?;
        let ssrc = ssrc(packet)?;
        let named = self.identifier.as_ref().map_or(0, MasterKeyIdentifier::length);
        check_length(packet.len() + RTCP_INDEX + named + self.context.profile.rtcp_tag_length())?;
        // The first index is 0; the lifetime of the key ends before the 31 bits do.
        let index = match self.context.rtcp_sources.get(ssrc) {
            Some(window) => window.newest() + 1,
            None => {
                self.context.rtcp_sources.room_for_another()?;
                0
            }
        };
        let at = Position { ssrc, index };
        self.context.rtcp.seal_rtcp(packet, encrypt, at)?;
        if let Some(identifier) = &self.identifier {
            identifier.insert(packet, self.context.profile.behind_rtcp_identifier());
        }
        self.context.rtcp_sources.note(at);
        self.rtcp_packets += 1;
        Ok(())
    }
}

impl Receiver {
    /// Verifies a compound RTCP packet in place, decrypts it if its E bit is set, and removes index and tag.
    ///
    /// # Errors
    /// [`Error`]; packet and context are then as they were.
    pub fn unprotect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        check_length(packet.len())?;
        let behind = self.profile().behind_rtcp_identifier();
        self.open(packet, behind, Context::open_rtcp)
    }
}

impl Context {
    fn open_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let ssrc = ssrc(packet)?;
        let trailer = self.rtcp.rtcp_trailer(packet)?;
        let at = Position { ssrc, index: (trailer & !ENCRYPTED).into() };
        match self.rtcp_sources.get(ssrc) {
            Some(window) => window.check(at.index)?,
            None => self.rtcp_sources.room_for_another()?,
        }
        self.rtcp.open_rtcp(packet, trailer, at)?;
        self.rtcp_sources.note(at);
        Ok(())
    }
}

/// The SSRC of the first packet of a compound.
fn ssrc(packet: &[u8]) -> Result<u32, Error> {
    let too_short = Error::TooShort { length: packet.len(), needed: RTCP_CLEAR };
    let [first, _, _, _, ssrc @ ..] = *packet.first_chunk::<RTCP_CLEAR>().ok_or(too_short)?;
    if first >> 6 != 2 {
        return Err(Error::MalformedHeader { version: first >> 6 });
    }
    Ok(u32::from_be_bytes(ssrc))
}
