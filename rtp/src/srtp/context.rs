//! Cryptographic contexts of the two directions (RFC 3711 §3.2), and RTP through them (§3.3).

use super::header_encryption::{EncryptedElements, HeaderEncryption};
use super::identifier::{self, MasterKeyIdentifier};
use super::key_derivation::Stream;
use super::protection::{Position, Protection};
use super::replay::ReplayWindow;
use super::{Error, KeyError, MasterKey, Profile};
use crate::packet::{FIXED_HEADER_LENGTH, MAX_PACKET_LENGTH};

/// Sources (SSRC) of one direction. A peer that has the key, or a mixer gone wrong, could otherwise make us keep a replay
/// window for each of 2^32 of them. None is ever forgotten: its packets could then be replayed (RFC 3711 §9.1).
pub const MAX_SOURCES: usize = 64;

/// Master keys of one direction that packets may name. A peer could list many, each of which is expanded.
pub const MAX_MASTER_KEYS: usize = 8;

/// What is kept of each source of one direction; bounded by [`MAX_SOURCES`].
#[derive(Default)]
pub(super) struct Sources(Vec<(u32, ReplayWindow)>);

impl Sources {
    pub(super) fn get(&self, ssrc: u32) -> Option<&ReplayWindow> {
        self.0.iter().find(|source| source.0 == ssrc).map(|source| &source.1)
    }

    /// Whether a packet of this source could be noted.
    pub(super) fn room_for_another(&self) -> Result<(), Error> {
        if self.0.len() < MAX_SOURCES { Ok(()) } else { Err(Error::TooManySources) }
    }

    /// Notes a packet that was sent, or received and found authentic.
    pub(super) fn note(&mut self, at: Position) {
        match self.0.iter_mut().find(|source| source.0 == at.ssrc) {
            Some(source) => source.1.note(at.index),
            None => self.0.push((at.ssrc, ReplayWindow::starting_with(at.index))),
        }
    }

    /// Where an RTP packet stands, unless it came before or there is no room for its source.
    fn locate(&self, ssrc: u32, sequence_number: u16) -> Result<Position, Error> {
        let index = match self.get(ssrc) {
            Some(window) => {
                let index = window.estimate(sequence_number)?;
                window.check(index)?;
                index
            }
            None => {
                self.room_for_another()?;
                sequence_number.into()
            }
        };
        Ok(Position { ssrc, index })
    }
}

/// What either direction has: keys, and where its sources stand.
pub(super) struct Context {
    pub(super) profile: Profile,
    rtp: Protection,
    pub(super) rtcp: Protection,
    rtp_sources: Sources,
    pub(super) rtcp_sources: Sources,
    /// RTP is authenticated alone, and not encrypted.
    clear_rtp: bool,
    /// So is RTCP that we send.
    pub(super) clear_rtcp: bool,
    /// Elements of header extensions are encrypted.
    header: Option<Box<HeaderEncryption>>,
    /// RTP is not the usual one, where all behind the header is encrypted and nothing before: the one thing to look at for a packet.
    unusual: bool,
}

impl Context {
    fn new(profile: Profile, key: &MasterKey) -> Result<Self, KeyError> {
        key.check(profile)?;
        Ok(Self {
            profile,
            rtp: Protection::new(profile, key, Stream::Rtp),
            rtcp: Protection::new(profile, key, Stream::Rtcp),
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
            clear_rtp: false,
            clear_rtcp: false,
            header: None,
            unusual: false,
        })
    }

    fn encrypt_elements(&mut self, key: &MasterKey, elements: EncryptedElements) -> Result<(), KeyError> {
        key.check(self.profile)?;
        self.header = Some(Box::new(HeaderEncryption::new(self.profile, key, elements)));
        self.note_unusual();
        Ok(())
    }

    /// `false` without keys for them.
    fn set_encrypted(&mut self, elements: EncryptedElements) -> bool {
        let Some(header) = &mut self.header else { return elements.is_empty() };
        header.elements = elements;
        self.note_unusual();
        true
    }

    fn set_clear_rtp(&mut self, clear: bool) {
        self.clear_rtp = clear;
        self.note_unusual();
    }

    fn note_unusual(&mut self) {
        self.unusual =
            self.clear_rtp || self.header.as_ref().is_some_and(|header| !header.elements.is_empty());
    }

    /// Encrypts the elements of a packet, or decrypts them. What is only authenticated stays as it is (RFC 6904 §3.2).
    #[cold]
    fn apply_to_elements(&self, packet: &mut [u8], header: usize, at: Position) {
        if let Some(elements) = self.header.as_ref().filter(|_| !self.clear_rtp) {
            elements.apply(packet, header, at);
        }
    }

    /// The octets of an RTP packet of `length` octets, its tag left out, that stay as they are.
    fn clear_octets(&self, header: usize, length: usize) -> usize {
        if self.clear_rtp { length.max(header) } else { header }
    }

    fn open_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        let header = RtpHeader::parse(packet)?;
        let at = self.rtp_sources.locate(header.ssrc, header.sequence_number)?;
        let mut clear = header.length;
        if self.unusual {
            let sealed = packet.len().saturating_sub(self.profile.rtp_tag_length());
            clear = self.clear_octets(header.length, sealed);
        }
        self.rtp.open_rtp(packet, clear, at)?;
        if self.unusual {
            self.apply_to_elements(packet, header.length, at);
        }
        self.rtp_sources.note(at);
        Ok(())
    }
}

/// Protects what is sent, with the key that the other side calls its remote one.
pub struct Sender {
    pub(super) context: Context,
    pub(super) identifier: Option<MasterKeyIdentifier>,
    pub(super) rtp_packets: u64,
    pub(super) rtcp_packets: u64,
}

impl Sender {
    /// Derives the session keys.
    ///
    /// # Errors
    /// [`KeyError`] if the key was made for a profile of other lengths.
    pub fn new(profile: Profile, key: &MasterKey) -> Result<Self, KeyError> {
        let context = Context::new(profile, key)?;
        Ok(Self { context, identifier: None, rtp_packets: 0, rtcp_packets: 0 })
    }

    /// The same, naming the master key in each packet (RFC 3711 §3.1).
    #[must_use]
    pub fn identified_by(self, identifier: MasterKeyIdentifier) -> Self {
        Self { identifier: Some(identifier), ..self }
    }

    /// The same without encryption of RTP, of RTCP, or of both (RFC 4568 §6.3.2): packets are authenticated alone.
    #[must_use]
    pub fn unencrypted(mut self, rtp: bool, rtcp: bool) -> Self {
        self.context.set_clear_rtp(rtp);
        self.context.clear_rtcp = rtcp;
        self
    }

    /// The same with these elements of header extensions encrypted, under the master key that it was made with (RFC 6904).
    ///
    /// # Errors
    /// [`KeyError`] if the key was made for a profile of other lengths.
    pub fn encrypting(mut self, key: &MasterKey, elements: EncryptedElements) -> Result<Self, KeyError> {
        self.context.encrypt_elements(key, elements)?;
        Ok(self)
    }

    /// Encrypts these elements from now on, as another offer and answer has it, with the keys that
    /// [`encrypting`](Self::encrypting) derived. `false` without these: then none is encrypted, and none may be sent.
    #[must_use]
    pub fn set_encrypted(&mut self, elements: EncryptedElements) -> bool {
        self.context.set_encrypted(elements)
    }

    /// Encrypts and authenticates an RTP packet in place (RFC 3711 §3.3).
    ///
    /// Sequence numbers may go in any order inside the replay window, but each only once: a second packet under one number
    /// would be XORed with the same keystream (RFC 3711 §9.1, RFC 7714 §8.4). A stream best starts below 32,768, so that
    /// losing its first packets cannot hide a wrap from the receiver (RFC 4568 §6.4).
    ///
    /// # Errors
    /// [`Error`]; the packet is then as it was.
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.check_lifetime()?;
        let header = RtpHeader::parse(packet)?;
        check_length(packet.len() + identifier::added(self.identifier.as_ref(), self.context.profile))?;
        let at = self.context.rtp_sources.locate(header.ssrc, header.sequence_number)?;
        let mut clear = header.length;
        if self.context.unusual {
            // Nothing can go wrong behind this that would leave elements encrypted: both lengths were looked at.
            self.context.apply_to_elements(packet, header.length, at);
            clear = self.context.clear_octets(header.length, packet.len());
        }
        self.context.rtp.seal_rtp(packet, clear, at)?;
        if let Some(identifier) = &self.identifier {
            identifier.insert(packet, self.context.profile.behind_rtp_identifier());
        }
        self.context.rtp_sources.note(at);
        self.rtp_packets += 1;
        Ok(())
    }

    /// SRTP and SRTCP share the master key: whichever limit is reached first ends both (RFC 3711 §9.2).
    pub(super) fn check_lifetime(&self) -> Result<(), Error> {
        let used_up = self.rtp_packets >= self.context.profile.max_rtp_packets()
            || self.rtcp_packets >= self.context.profile.max_rtcp_packets();
        if used_up { Err(Error::KeyExhausted) } else { Ok(()) }
    }

    /// The profile it was made for.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.context.profile
    }
}

/// Verifies and decrypts what is received.
pub struct Receiver {
    context: Context,
    /// Names the key of `context`; every packet carries an identifier then.
    identifier: Option<MasterKeyIdentifier>,
    /// Further master keys.
    others: Vec<(MasterKeyIdentifier, Context)>,
}

impl Receiver {
    /// Derives the session keys.
    ///
    /// # Errors
    /// [`KeyError`] if the key was made for a profile of other lengths.
    pub fn new(profile: Profile, key: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self { context: Context::new(profile, key)?, identifier: None, others: Vec::new() })
    }

    /// The same for packets that name their master key (RFC 3711 §3.1), this one by `identifier`.
    #[must_use]
    pub fn identified_by(self, identifier: MasterKeyIdentifier) -> Self {
        Self { identifier: Some(identifier), ..self }
    }

    /// Takes packets under another master key as well. What is beyond [`MAX_MASTER_KEYS`], or has an identifier of another length
    /// than the first, is left out: no packet could name it.
    ///
    /// # Errors
    /// [`KeyError`] if the key was made for a profile of other lengths.
    pub fn and(mut self, identifier: MasterKeyIdentifier, key: &MasterKey) -> Result<Self, KeyError> {
        let mut context = Context::new(self.context.profile, key)?;
        if let Some(header) = &self.context.header {
            context.encrypt_elements(key, header.elements)?;
        }
        context.set_clear_rtp(self.context.clear_rtp);
        let alike = self.identifier.as_ref().is_some_and(|first| first.length() == identifier.length());
        if alike && self.others.len() + 1 < MAX_MASTER_KEYS {
            self.others.push((identifier, context));
        }
        Ok(self)
    }

    /// The same for header extensions with these elements encrypted, under the master key that it was made with (RFC 6904). Keys
    /// that come after it ([`and`](Self::and)) are for the same ones.
    ///
    /// # Errors
    /// [`KeyError`] if the key was made for a profile of other lengths.
    pub fn encrypting(mut self, key: &MasterKey, elements: EncryptedElements) -> Result<Self, KeyError> {
        self.context.encrypt_elements(key, elements)?;
        Ok(self)
    }

    /// Takes these elements as encrypted from now on; see [`Sender::set_encrypted`].
    #[must_use]
    pub fn set_encrypted(&mut self, elements: EncryptedElements) -> bool {
        let others = self.others.iter_mut().all(|(_, context)| context.set_encrypted(elements));
        self.context.set_encrypted(elements) && others
    }

    /// The same for RTP that is authenticated alone (RFC 4568 §6.3.2). Of RTCP each packet tells.
    #[must_use]
    pub fn unencrypted_rtp(mut self, clear: bool) -> Self {
        self.context.set_clear_rtp(clear);
        self.others.iter_mut().for_each(|(_, context)| context.set_clear_rtp(clear));
        self
    }

    /// Opens a packet with the key that it names. Its identifier is taken out, and put back if it cannot be opened.
    pub(super) fn open(
        &mut self,
        packet: &mut Vec<u8>,
        behind: usize,
        open: fn(&mut Context, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(first) = &self.identifier else { return open(&mut self.context, packet) };
        let place = identifier::place(packet, first.length(), behind)?;
        let named = packet.get(place.clone()).unwrap_or_default();
        let context = match first.is(named) {
            true => &mut self.context,
            false => {
                let other = self.others.iter_mut().find(|(identifier, _)| identifier.is(named));
                &mut other.ok_or(Error::UnknownMasterKey)?.1
            }
        };
        let taken: Vec<u8> = packet.drain(place.clone()).collect();
        let opened = open(context, packet);
        if opened.is_err() {
            packet.splice(place.start..place.start, taken);
        }
        opened
    }

    /// Verifies and decrypts an RTP packet in place, and removes its tag (RFC 3711 §3.3).
    ///
    /// The first packet of a source is taken to be in the first round of sequence numbers.
    ///
    /// # Errors
    /// [`Error`]; packet and context are then as they were.
    pub fn unprotect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        check_length(packet.len())?;
        let behind = self.context.profile.behind_rtp_identifier();
        self.open(packet, behind, Context::open_rtp)
    }

    /// The profile it was made for.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.context.profile
    }
}

/// A packet with more keystream than lies between two indexes, 2^20 octets (RFC 3711 §4.1.1), would be far longer.
pub(super) fn check_length(length: usize) -> Result<(), Error> {
    if length <= MAX_PACKET_LENGTH { Ok(()) } else { Err(Error::TooLong { length }) }
}

/// What SRTP needs of an RTP header; [`crate::packet::Packet`] would look for padding, which is encrypted.
struct RtpHeader {
    /// Octets up to the payload.
    length: usize,
    ssrc: u32,
    sequence_number: u16,
}

impl RtpHeader {
    fn parse(packet: &[u8]) -> Result<Self, Error> {
        let too_short = |needed| Error::TooShort { length: packet.len(), needed };
        let [first, _, s0, s1, _, _, _, _, c0, c1, c2, c3] =
            *packet.first_chunk::<FIXED_HEADER_LENGTH>().ok_or(too_short(FIXED_HEADER_LENGTH))?;
        if first >> 6 != 2 {
            return Err(Error::MalformedHeader { version: first >> 6 });
        }
        let mut length = FIXED_HEADER_LENGTH + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let words = packet.get(length + 2..length + 4).and_then(|octets| octets.first_chunk());
            length += 4 + usize::from(u16::from_be_bytes(*words.ok_or(too_short(length + 4))?)) * 4;
        }
        if length > packet.len() {
            return Err(too_short(length));
        }
        let (ssrc, sequence_number) = (u32::from_be_bytes([c0, c1, c2, c3]), u16::from_be_bytes([s0, s1]));
        Ok(Self { length, ssrc, sequence_number })
    }
}
