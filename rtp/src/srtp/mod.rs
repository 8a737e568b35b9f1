//! SRTP and SRTCP: RTP and RTCP encrypted and authenticated (RFC 3711, RFC 6188, RFC 7714).
//!
//! A [`Session`] has a [`Sender`] and a [`Receiver`], each with a master key that came from outside, and turns datagrams
//! into protected ones and back, in place. It keeps the roll-over counters, refuses what came before, what is forged and
//! what the life of a key does not cover, and never sends two packets under one index.
//!
//! | module | what | RFC 3711 |
//! |---|---|---|
//! | `profile` | [`Profile`]: ciphers, lengths, limits | §5, RFC 6188 §4, RFC 7714 §12 |
//! | `key_derivation` | [`MasterKey`] and the session keys out of it | §4.3, appendix B.3 |
//! | `counter_mode`, `protection` | one packet encrypted and tagged, verified and decrypted | §4.1, §4.2, RFC 7714 §8 §9 |
//! | `identifier` | [`MasterKeyIdentifier`]: which of several keys | §3.1 |
//! | `header_encryption` | [`EncryptedElements`] of header extensions | RFC 6904 |
//! | `replay` | index estimation, replay window | §3.3.1, §3.3.2, appendix A |
//! | `context` | [`Sender`], [`Receiver`], their sources, RTP | §3.2, §3.3 |
//! | `rtcp` | RTCP | §3.4 |
//!
//! Not here: the agreement on keys (RFC 4568, RFC 5764), key derivation rates other than zero, RTP without authentication.
//!
//! ```
//! use rtp::packet::Header;
//! use rtp::srtp::{Error, MasterKey, Profile, Session};
//!
//! let profile = Profile::AeadAes128Gcm;
//! let of_alice = MasterKey::new(profile, &[1; 16], &[2; 12])?;
//! let of_bob = MasterKey::new(profile, &[3; 16], &[4; 12])?;
//! let mut alice = Session::new(profile, &of_alice, &of_bob)?;
//! let mut bob = Session::new(profile, &of_bob, &of_alice)?;
//!
//! let header = Header { payload_type: 0, marker: true, sequence_number: 7, timestamp: 160, ssrc: 1 };
//! let plain = header.build(&[0xff; 160])?.to_vec();
//! let mut packet = plain.clone();
//! alice.protect_rtp(&mut packet)?;
//! assert_eq!(packet.len(), plain.len() + profile.rtp_tag_length());
//!
//! let mut copy = packet.clone();
//! bob.unprotect_rtp(&mut packet)?;
//! assert_eq!(packet, plain);
//! assert_eq!(bob.unprotect_rtp(&mut copy), Err(Error::Replayed { index: 7 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod context;
mod counter_mode;
mod header_encryption;
mod identifier;
mod key_derivation;
mod profile;
mod protection;
mod replay;
mod rtcp;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use context::{MAX_MASTER_KEYS, MAX_SOURCES, Receiver, Sender};
pub use header_encryption::EncryptedElements;
pub use identifier::MasterKeyIdentifier;
pub use key_derivation::{KeyError, MasterKey};
pub use profile::Profile;
pub use replay::REPLAY_WINDOW;

/// Why a packet is neither sent nor taken. Of those received, all but [`Error::Replayed`] and [`Error::TooOld`] are to be
/// counted and told at times: they are forged, or the two sides disagree about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header, or the tag behind it, runs past the end.
    #[error("packet too short: {needed} octets needed, {length} there")]
    TooShort {
        /// Octets there.
        length: usize,
        /// Octets that header, index and tag take.
        needed: usize,
    },
    /// More octets than one UDP datagram carries.
    #[error("packet of {length} octets exceeds a datagram; split the payload")]
    TooLong {
        /// Octets of the protected packet.
        length: usize,
    },
    /// No RTP or RTCP of version 2.
    #[error("version {version} in the header, only version 2 exists")]
    MalformedHeader {
        /// The version that was found.
        version: u8,
    },
    /// A packet of this index came, or was sent, before.
    #[error("packet {index} was there before")]
    Replayed {
        /// Roll-over counter and sequence number, or SRTCP index.
        index: u64,
    },
    /// So far behind the newest that nobody knows whether it came before.
    #[error("packet {index} is too far behind {newest}")]
    TooOld {
        /// Roll-over counter and sequence number, or SRTCP index.
        index: u64,
        /// The newest of this source.
        newest: u64,
    },
    /// The tag is not that of this packet under this key.
    #[error("the packet is forged, damaged, or protected with another key")]
    AuthenticationFailed,
    /// The packet names a master key that we do not have.
    #[error("the packet names a master key that was not agreed on")]
    UnknownMasterKey,
    /// The master key has protected as many packets as it may; agree on a new one.
    #[error("the key has protected all packets it may; agree on a new key")]
    KeyExhausted,
    /// There are [`MAX_SOURCES`] sources already; agree on a new key to start over.
    #[error("more than {MAX_SOURCES} sources under one key")]
    TooManySources,
}

/// Both directions of one RTP session.
pub struct Session {
    /// What we send.
    pub sender: Sender,
    /// What we receive.
    pub receiver: Receiver,
}

impl Session {
    /// A session in which we send with `local` and the other side with `remote`.
    ///
    /// # Errors
    /// [`KeyError`] if a key was made for a profile of other lengths.
    pub fn new(profile: Profile, local: &MasterKey, remote: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self { sender: Sender::new(profile, local)?, receiver: Receiver::new(profile, remote)? })
    }

    /// See [`Sender::protect_rtp`].
    ///
    /// # Errors
    /// [`Error`]; the packet is then as it was.
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.sender.protect_rtp(packet)
    }

    /// See [`Sender::protect_rtcp`].
    ///
    /// # Errors
    /// [`Error`]; the packet is then as it was.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.sender.protect_rtcp(packet)
    }

    /// See [`Receiver::unprotect_rtp`].
    ///
    /// # Errors
    /// [`Error`]; packet and context are then as they were.
    pub fn unprotect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.receiver.unprotect_rtp(packet)
    }

    /// See [`Receiver::unprotect_rtcp`].
    ///
    /// # Errors
    /// [`Error`]; packet and context are then as they were.
    pub fn unprotect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Error> {
        self.receiver.unprotect_rtcp(packet)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("profile", &self.sender.profile()).finish_non_exhaustive()
    }
}
