//! The choice of keys: SDES in offers and answers (RFC 4568 §5.1, §7.1), and what DTLS needs.

use sdp_types::Setup;

use super::local::{LocalStream, Protection};
use super::negotiated::{PeerTransport, RejectReason, StreamKeys};
use super::profile::Profile;
use crate::MediaSection;
use crate::sdes::{Crypto, SrtpKey};

/// What we offer: each of our keys under a tag, that in use first, so that a peer that takes the first keeps it.
pub(super) fn offered(stream: &LocalStream, in_use: Option<&StreamKeys>) -> Vec<(u32, SrtpKey)> {
    if !stream.uses_sdes() {
        return Vec::new();
    }
    let current = |key: &&SrtpKey| in_use.is_some_and(|keys| keys.send.suite() == key.suite());
    let first = stream.keys.iter().filter(current);
    let others = stream.keys.iter().filter(|key| !current(key));
    (1..).zip(first.chain(others).cloned()).collect()
}

/// What we answer: the first line of the offer that we can use, since it is the offerer's order that counts (RFC 4568 §5.1.2).
/// Lines that ask for what we lack are passed over.
pub(super) fn choose(
    stream: &LocalStream,
    profile: Profile,
    offered: &[&str],
) -> Result<Option<StreamKeys>, RejectReason> {
    if !stream.uses_sdes() {
        return Ok(None);
    }
    let usable = |line: &&str| {
        let crypto: Crypto = line.parse().ok()?;
        let keys = crypto.usable_keys();
        let unencrypted = keys.first()?.unencrypted();
        if unencrypted.any() && !stream.options().allow_unencrypted {
            return None;
        }
        let send = stream.keys.iter().find(|key| Some(key.suite()) == crypto.known_suite())?;
        // RFC 4568 §6.3.2: what is not encrypted is so in both directions.
        agree(&crypto, send.clone().with_unencrypted(unencrypted), keys)
    };
    match offered.iter().find_map(usable) {
        Some(keys) => Ok(Some(keys)),
        None if profile.is_secure() || stream.protection == Protection::SdesRequired => {
            Err(RejectReason::NoUsableKeys)
        }
        None => Ok(None),
    }
}

/// Whether what we offer so is SRTP that encrypts, if the peer takes it: also where it could take it as plain RTP (RFC 8643 §3.1).
pub(super) fn offers_encryption(stream: &LocalStream, crypto: &[(u32, SrtpKey)]) -> bool {
    let keys = crypto.iter().any(|(_, key)| !key.unencrypted().srtp);
    stream.is_rtp() && (keys || stream.profile().is_dtls())
}

/// Whether what was agreed on is SRTP that encrypts.
pub(super) fn encrypts(profile: Option<Profile>, keys: Option<&StreamKeys>) -> bool {
    match keys {
        Some(keys) => !keys.send.unencrypted().srtp,
        None => profile.is_some_and(Profile::is_secure),
    }
}

/// What the answer chose of our keys (RFC 4568 §5.1.3). `None` if it is no answer to them.
pub(super) fn answered(
    offered: &[(u32, SrtpKey)],
    demanded: bool,
    answered: &[&str],
) -> Option<Option<StreamKeys>> {
    if offered.is_empty() {
        return Some(None);
    }
    if answered.is_empty() {
        return if demanded { None } else { Some(None) };
    }
    let chosen = |line: &&str| {
        let crypto: Crypto = line.parse().ok()?;
        let keys = crypto.usable_keys();
        let unencrypted = keys.first()?.unencrypted();
        let ours = |(tag, key): &&(u32, SrtpKey)| {
            *tag == crypto.tag
                && Some(key.suite()) == crypto.known_suite()
                && key.unencrypted() == unencrypted
        };
        let (_, send) = offered.iter().find(ours)?;
        agree(&crypto, send.clone(), keys)
    };
    answered.iter().find_map(chosen).map(Some)
}

/// RFC 4568 §7.1.2: the keys of both sides differ.
fn agree(crypto: &Crypto, send: SrtpKey, theirs: Vec<SrtpKey>) -> Option<StreamKeys> {
    if theirs.iter().any(|key| send.is_same_secret(key)) {
        return None;
    }
    let mut theirs = theirs.into_iter();
    let receive = theirs.next()?;
    Some(StreamKeys { tag: crypto.tag, send, receive, receive_also: theirs.collect() })
}

/// What the peer says of DTLS and ICE, where the local side has anything to do with them.
pub(super) fn peer_transport(
    stream: &LocalStream,
    section: &MediaSection<'_>,
    local_setup: Option<Setup>,
) -> Option<Box<PeerTransport>> {
    if stream.protection != Protection::Dtls && stream.options().attributes.is_empty() {
        return None;
    }
    Some(Box::new(PeerTransport {
        fingerprints: section.fingerprints(),
        setup: section.setup(),
        local_setup,
        tls_id: section.tls_id(),
        ice_ufrag: section.ice_ufrag().map(|ufrag| ufrag.to_string()),
        ice_pwd: section.ice_pwd().map(|password| password.to_string()),
        ice_options: section.ice_options(),
        candidates: section.candidates(),
        ice_lite: section.session_attributes().iter().any(|attribute| attribute.attribute == "ice-lite"),
        end_of_candidates: section.end_of_candidates(),
        attributes: match stream.options().transport {
            Some(_) => section.media().attributes.clone(),
            None => Vec::new(),
        },
    }))
}

/// The `a=setup` among our attributes.
pub(super) fn local_setup(stream: &LocalStream) -> Option<Setup> {
    let setup = stream.options().attributes.iter().find(|attribute| attribute.attribute == "setup");
    setup.and_then(|attribute| attribute.value.as_deref()).and_then(|value| value.parse().ok())
}

/// What an answer says for our `actpass`, which only offers may say: active, as RFC 5763 §5 advises, unless the peer is.
pub(super) fn answered_setup(ours: Option<Setup>, offered: Option<&Setup>) -> Option<Setup> {
    match (ours, offered) {
        (Some(Setup::ActPass), Some(Setup::Active)) => Some(Setup::Passive),
        (Some(Setup::ActPass), Some(Setup::HoldConn)) => Some(Setup::HoldConn),
        (Some(Setup::ActPass), _) => Some(Setup::Active),
        (ours, _) => ours,
    }
}
