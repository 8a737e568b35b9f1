//! SRTP with keys by SDES (RFC 4568): what the phone offers, and what it does with what was agreed.

use rtp::srtp::{EncryptedElements, KeyError, MasterKey, MasterKeyIdentifier, Profile, Receiver, Sender};
use sdp::{CryptoSuite, Protection, SrtpKey, StreamKeys, Unencrypted};

/// Whether the phone's own media is protected, with keys that travel in the session descriptions: only as secret as the signalling, so
/// use TLS where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Srtp {
    /// Plain RTP, and nothing else.
    #[default]
    Off,
    /// If the other side can: offered so that phones without it ignore it (RFC 8643), and once more as a demand if that is
    /// refused, for phones that take nothing else; accepted in either form.
    Optional,
    /// Or no call.
    Required,
}

/// The suites offered and accepted if nothing else was said, most wanted first: GCM takes less time than counter mode with HMAC.
pub(crate) const SUITES: [CryptoSuite; 3] =
    [CryptoSuite::AeadAes128Gcm, CryptoSuite::AesCm128HmacSha1_80, CryptoSuite::AesCm128HmacSha1_32];

impl Srtp {
    /// What is negotiated, with fresh keys.
    pub(super) fn protection(
        self,
        suites: &[CryptoSuite],
    ) -> Result<(Protection, Vec<SrtpKey>), getrandom::Error> {
        let protection = match self {
            Self::Off => return Ok((Protection::None, Vec::new())),
            Self::Optional => Protection::SdesOptional,
            Self::Required => Protection::SdesRequired,
        };
        let mut failed = None;
        let mut fresh =
            |suite| SrtpKey::generate(suite, |place| failed = getrandom::fill(place).err().or(failed));
        let keys = suites.iter().copied().map(&mut fresh).collect();
        match failed {
            Some(error) => Err(error),
            None => Ok((protection, keys)),
        }
    }
}

/// The keys in force, so that only what changes is started anew: a sender that began again with a key would repeat its keystream.
#[derive(Debug, Default)]
pub(super) struct Keys {
    current: Option<StreamKeys>,
    /// Header extensions have keys too (RFC 6904).
    header: bool,
}

/// What is to be changed in a stream; `None` leaves it as it is.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) sender: Option<Option<Sender>>,
    pub(super) receiver: Option<Option<Receiver>>,
}

impl Keys {
    /// None yet; with those for header extensions, or without.
    pub(super) fn with_header(header: bool) -> Self {
        Self { current: None, header }
    }

    /// Takes over what was agreed.
    pub(super) fn agree(&mut self, agreed: Option<&StreamKeys>) -> Result<Changes, KeyError> {
        let mut changes = Changes::default();
        let before = self.current.as_ref();
        if before.map(|keys| &keys.send) != agreed.map(|keys| &keys.send) {
            let sender = agreed.map(|keys| sender(&keys.send, self.header));
            changes.sender = Some(sender.transpose()?);
        }
        let received = |keys: &StreamKeys| (keys.receive.clone(), keys.receive_also.clone());
        if before.map(received) != agreed.map(received) {
            let receiver = agreed.map(|keys| receiver(keys, self.header));
            changes.receiver = Some(receiver.transpose()?);
        }
        self.current = agreed.cloned();
        Ok(changes)
    }

    /// The suite in force.
    pub(super) fn suite(&self) -> Option<CryptoSuite> {
        self.current.as_ref().map(|keys| keys.send.suite())
    }
}

fn sender(key: &SrtpKey, header: bool) -> Result<Sender, KeyError> {
    let Unencrypted { srtp, srtcp } = key.unencrypted();
    let master = master_key(key)?;
    let mut sender = Sender::new(profile(key)?, &master)?.unencrypted(srtp, srtcp);
    if header {
        sender = sender.encrypting(&master, EncryptedElements::default())?;
    }
    Ok(match identifier(key) {
        Some(identifier) => sender.identified_by(identifier),
        None => sender,
    })
}

fn receiver(keys: &StreamKeys, header: bool) -> Result<Receiver, KeyError> {
    let first = &keys.receive;
    let master = master_key(first)?;
    let mut receiver = Receiver::new(profile(first)?, &master)?;
    if header {
        receiver = receiver.encrypting(&master, EncryptedElements::default())?;
    }
    if let Some(identifier) = identifier(first) {
        receiver = receiver.identified_by(identifier);
    }
    for key in &keys.receive_also {
        if let Some(identifier) = identifier(key) {
            receiver = receiver.and(identifier, &master_key(key)?)?;
        }
    }
    Ok(receiver.unencrypted_rtp(first.unencrypted().srtp))
}

fn identifier(key: &SrtpKey) -> Option<MasterKeyIdentifier> {
    key.mki().and_then(|mki| MasterKeyIdentifier::new(mki.value, mki.length))
}

fn master_key(key: &SrtpKey) -> Result<MasterKey, KeyError> {
    MasterKey::from_key_and_salt(profile(key)?, key.key_and_salt())
}

/// The profile of a suite. Only what was offered is ever agreed on.
fn profile(key: &SrtpKey) -> Result<Profile, KeyError> {
    Ok(match key.suite() {
        CryptoSuite::AesCm128HmacSha1_32 => Profile::AesCm128HmacSha1Tag32,
        CryptoSuite::AesCm192HmacSha1_80 => Profile::AesCm192HmacSha1Tag80,
        CryptoSuite::AesCm192HmacSha1_32 => Profile::AesCm192HmacSha1Tag32,
        CryptoSuite::AesCm256HmacSha1_80 => Profile::AesCm256HmacSha1Tag80,
        CryptoSuite::AesCm256HmacSha1_32 => Profile::AesCm256HmacSha1Tag32,
        CryptoSuite::AeadAes128Gcm => Profile::AeadAes128Gcm,
        CryptoSuite::AeadAes256Gcm => Profile::AeadAes256Gcm,
        _ => Profile::AesCm128HmacSha1Tag80,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(send: u8, receive: u8) -> StreamKeys {
        let suite = CryptoSuite::AesCm128HmacSha1_80;
        let key = |octet| SrtpKey::new(suite, &[octet; 30]).unwrap();
        StreamKeys { tag: 1, send: key(send), receive: key(receive), receive_also: Vec::new() }
    }

    /// RFC 4568 §7.1.4: a new offer with the old keys goes on with the old contexts, each direction by itself.
    #[test]
    fn only_the_direction_whose_key_is_new_starts_anew() {
        let mut current = Keys::default();
        let changes = |changes: Changes| {
            (
                changes.sender.map(|sender| sender.is_some()),
                changes.receiver.map(|receiver| receiver.is_some()),
            )
        };
        assert_eq!(changes(current.agree(Some(&keys(1, 2))).unwrap()), (Some(true), Some(true)));
        assert_eq!(changes(current.agree(Some(&keys(1, 2))).unwrap()), (None, None));
        assert_eq!(changes(current.agree(Some(&keys(1, 3))).unwrap()), (None, Some(true)));
        assert_eq!(changes(current.agree(Some(&keys(4, 3))).unwrap()), (Some(true), None));
        assert_eq!(current.suite(), Some(CryptoSuite::AesCm128HmacSha1_80));
        assert_eq!(changes(current.agree(None).unwrap()), (Some(false), Some(false)));
        assert_eq!(current.suite(), None);
    }

    #[test]
    fn each_call_has_keys_of_its_own() {
        let (protection, one) = Srtp::Required.protection(&SUITES).unwrap();
        let (_, other) = Srtp::Required.protection(&SUITES).unwrap();
        assert_eq!((protection, one.len()), (Protection::SdesRequired, 3));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        assert_eq!(Srtp::Off.protection(&SUITES).unwrap(), (Protection::None, vec![]));
    }
}
