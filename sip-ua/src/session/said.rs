//! What one side says of a session in its description (RFC 4975 §8, RFC 6135, RFC 6714, RFC 8122, RFC 5547 §6).

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use msrp::file::{FileRange, FileSelector, TransferId};
use msrp::sdp::{Cema, Chatroom, Described, Setup};
use msrp::{MediaTypes, Path};
use sdp::sdp_types::{Attribute, Fingerprint, HashFunc};
use sdp::{Direction, Host, MediaAddress, MediaStream, SessionDescription};
use tokio::net::lookup_host;

/// MSRP over TCP (RFC 4975 §8.1).
pub(super) const TCP: &str = "TCP/MSRP";
/// MSRP over TLS (RFC 4975 §8.1).
pub(super) const TLS: &str = "TCP/TLS/MSRP";
/// Certificates of a peer that are compared: a description full of them is none.
const MAX_FINGERPRINTS: usize = 8;

/// What one side says of a session.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) path: Path,
    pub(super) takes: MediaTypes,
    /// What it takes inside of other types (RFC 4975 §8.6).
    pub(super) wrapped: MediaTypes,
    /// It knows chat rooms (RFC 7701 §8).
    pub(super) chatroom: Option<Chatroom>,
    pub(super) setup: Option<Setup>,
    pub(super) file: Option<FileSelector>,
    pub(super) transfer: Option<TransferId>,
    pub(super) range: Option<FileRange>,
    /// It wants to be sent something and sends nothing itself.
    pub(super) only_receives: bool,
    /// Its line is `TCP/TLS/MSRP`.
    pub(super) secure: bool,
    /// SHA-256 fingerprints of its certificate.
    pub(super) fingerprints: Vec<[u8; 32]>,
    /// It has fingerprints, and none that we can compare.
    pub(super) unverifiable: bool,
    /// `a=msrp-cema`.
    pub(super) cema: bool,
    /// Its c and m lines.
    pub(super) media: Option<MediaAddress>,
}

/// `a=chatroom`, with or without a value (RFC 7701 §8).
fn chatroom(attributes: &[Attribute]) -> Option<Chatroom> {
    let found = attributes.iter().find(|attribute| attribute.attribute == "chatroom")?;
    found.value.as_deref().unwrap_or_default().parse().ok()
}

impl Said {
    /// Reads it from attributes; `None` without a path, or if that leads past the TLS that the line promises.
    fn read<'a>(protocol: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        fn value<T: FromStr>(text: Option<&str>) -> Option<T> {
            text.and_then(|text| text.parse().ok())
        }
        let path: Path = value(attribute("path"))?;
        let secure = protocol.eq_ignore_ascii_case(TLS);
        if secure && !path.first()?.is_secure() {
            return None;
        }
        Some(Self {
            path,
            // RFC 4975 §8.6: it must be there; who says nothing is tried.
            takes: value(attribute("accept-types")).unwrap_or_else(MediaTypes::any),
            wrapped: value(attribute("accept-wrapped-types")).unwrap_or_else(MediaTypes::any),
            chatroom: None,
            // RFC 6135 §4.2.1: `holdconn` counts as nothing.
            setup: value(attribute("setup")),
            file: value(attribute("file-selector")),
            transfer: value(attribute("file-transfer-id")),
            range: value(attribute("file-range")),
            only_receives: false,
            secure,
            fingerprints: Vec::new(),
            unverifiable: false,
            cema: false,
            media: None,
        })
    }

    fn fingerprinted(mut self, fingerprints: &[Fingerprint]) -> Self {
        // A relay's connection is not the peer's, and its certificate has an issuer (RFC 6135 §4.3).
        if self.uses_relay() {
            return self;
        }
        let sha256 = fingerprints.iter().filter(|one| one.hash_func == HashFunc::Sha256);
        let octets = sha256.filter_map(|one| one.fingerprint.as_slice().try_into().ok());
        self.fingerprints = octets.take(MAX_FINGERPRINTS).collect();
        self.unverifiable = self.fingerprints.is_empty() && !fingerprints.is_empty();
        self
    }

    /// What an offer says of its first line, if that is a session.
    pub(super) fn of_offer(offer: &[u8]) -> Option<Self> {
        let offer: SessionDescription = std::str::from_utf8(offer).ok()?.parse().ok()?;
        let section = offer.media().next()?;
        let media = section.media();
        let known = [TCP, TLS].iter().any(|known| media.proto.eq_ignore_ascii_case(known));
        if media.media != "message" || !known || media.port == 0 {
            return None;
        }
        let said = Self::read(&media.proto, |name| section.attribute(name))?;
        let mut said = said.fingerprinted(&section.fingerprints());
        said.cema = media.attributes.iter().any(|attribute| attribute.attribute == "msrp-cema");
        said.chatroom = chatroom(&media.attributes);
        said.only_receives = section.direction() == Direction::RecvOnly;
        said.media = section.rtp_address().ok();
        Some(said)
    }

    /// What an answer to an offer of this protocol says.
    pub(super) fn of_answer(protocol: &str, answer: &MediaStream) -> Option<Self> {
        let peer = answer.peer()?;
        let said = Self::read(protocol, |name| peer.attribute(name))?;
        let mut said = said.fingerprinted(&peer.fingerprints);
        said.cema = peer.attributes.iter().any(|attribute| attribute.attribute == "msrp-cema");
        said.chatroom = chatroom(&peer.attributes);
        said.media = Some(answer.remote.clone());
        Some(said)
    }

    pub(super) fn uses_relay(&self) -> bool {
        self.path.uris().len() > 1
    }

    /// Where its c and m lines lead, and whom its path's names mean (RFC 6714 §4.4).
    async fn places(&self) -> (Option<SocketAddr>, Vec<IpAddr>) {
        let media = match &self.media {
            Some(MediaAddress { host: Host::Ip(ip), port }) => Some(SocketAddr::new(*ip, *port)),
            Some(MediaAddress { host: Host::Name(name), port }) => {
                resolve(name, *port).await.first().copied()
            }
            None => None,
        };
        let mut addresses = Vec::new();
        for uri in self.path.uris().iter().filter(|uri| uri.address().is_none()) {
            // Names of relays alone: those of others say nothing that a connection would need.
            addresses.extend(resolve(uri.host(), 0).await.iter().map(SocketAddr::ip));
        }
        (media, addresses)
    }

    /// Where to connect to by an answer to our offer with `a=msrp-cema` (RFC 6714 §4.2).
    pub(super) async fn way_of_answer(&self, we_relay: bool) -> Way {
        self.way(|described| described.as_answer(we_relay)).await
    }

    /// The same by an offer (RFC 6714 §4.3).
    pub(super) async fn way_of_offer(&self, we_relay: bool) -> Way {
        self.way(|described| described.as_offer(we_relay)).await
    }

    async fn way(&self, judge: impl FnOnce(&Described<'_>) -> Cema) -> Way {
        let (media, addresses) = self.places().await;
        let Some(media) = media else { return Way::FallBack };
        let described = Described {
            path: &self.path,
            media: (media.ip(), media.port()),
            addresses: &addresses,
            cema: self.cema,
            setup: self.setup,
        };
        match judge(&described) {
            Cema::UseMediaLine => Way::MediaLine(media),
            Cema::UsePath => Way::Path,
            Cema::FallBack => Way::FallBack,
        }
    }
}

/// Where a session's connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the address of the peer's c and m lines.
    MediaLine(SocketAddr),
    /// To the first of its path.
    Path,
    /// Somebody on the way changed one of them and not the other.
    FallBack,
}

/// The addresses of a host; none if it has none.
pub(super) async fn resolve(host: &str, port: u16) -> Vec<SocketAddr> {
    match lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(_) => Vec::new(),
    }
}
