//! The line of a session in offer and answer (RFC 4975 §8, RFC 4145, RFC 5547 §6).

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msrp::file::{FileSelector, TransferId};
use msrp::sdp::Setup;
use msrp::tokio::{Endpoint, Options, Pending};
use msrp::{MediaTypes, Path};
use sdp::sdp_types::Attribute;
use sdp::{Direction, LocalMedia, LocalStream, MediaKind, Negotiated, SessionDescription};

use super::SessionError;
use crate::media::{MediaPlace, MediaSession};
use crate::phone::CallError;

/// MSRP over TCP (RFC 4975 §8.1).
const PROTOCOL: &str = "TCP/MSRP";
/// What a chat takes.
const TEXTS: &str = "text/plain";

/// What one side says of a session.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) path: Path,
    pub(super) takes: MediaTypes,
    pub(super) setup: Option<Setup>,
    pub(super) file: Option<FileSelector>,
    pub(super) transfer: Option<TransferId>,
}

impl Said {
    /// Reads it from attributes; `None` without a path.
    fn read<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        fn value<T: FromStr>(text: Option<&str>) -> Option<T> {
            text.and_then(|text| text.parse().ok())
        }
        Some(Self {
            path: value(attribute("path"))?,
            // RFC 4975 §8.6: it must be there; who says nothing is tried.
            takes: value(attribute("accept-types")).unwrap_or_else(MediaTypes::any),
            setup: value(attribute("setup")),
            file: value(attribute("file-selector")),
            transfer: value(attribute("file-transfer-id")),
        })
    }

    /// What an offer says of its first line, if that is a session over TCP.
    pub(super) fn of_offer(offer: &[u8]) -> Option<Self> {
        let offer: SessionDescription = std::str::from_utf8(offer).ok()?.parse().ok()?;
        let section = offer.media().next()?;
        let media = section.media();
        let session =
            media.media == "message" && media.proto.eq_ignore_ascii_case(PROTOCOL) && media.port != 0;
        if session { Self::read(|name| section.attribute(name)) } else { None }
    }
}

/// The end of a session that waits to be agreed on. It is the media of its call.
#[derive(Debug)]
pub(super) struct SessionMedia {
    local: LocalMedia,
    agreed: Mutex<Option<Said>>,
}

/// What both the call and the session are made of.
pub(super) struct Opened {
    pub(super) media: Arc<SessionMedia>,
    pub(super) pending: Pending,
    pub(super) endpoint: Endpoint,
}

/// Listens for a session; `setup` and `more` go into its line.
pub(super) async fn open(
    place: MediaPlace,
    setup: Setup,
    direction: Direction,
    more: &[(&str, String)],
) -> Result<Opened, SessionError> {
    let host = match place.told {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let listening = Endpoint::bind(Options::new(SocketAddr::new(place.bind, 0)).host(host)).await;
    let endpoint = listening.map_err(CallError::Media)?;
    let pending = endpoint.open().map_err(|error| CallError::Media(std::io::Error::other(error)))?;
    let port = endpoint.address().map_or(0, |address| address.port());
    let types = match more.iter().find(|(name, _)| *name == "accept-types") {
        Some(_) => None,
        None => Some(("accept-types", TEXTS.to_owned())),
    };
    let own = [("path", pending.uri().to_string()), ("setup", setup.to_string())];
    let all = own.iter().chain(&types).chain(more);
    let attributes =
        all.map(|(name, value)| Attribute { attribute: (*name).into(), value: Some(value.clone()) });
    let stream = LocalStream::other(MediaKind::Message, SocketAddr::new(place.told, port), PROTOCOL, ["*"])
        .with_direction(direction)
        .with_options(|options| options.attributes = attributes.collect());
    let media = Arc::new(SessionMedia { local: LocalMedia::new([stream]), agreed: Mutex::new(None) });
    Ok(Opened { media, pending, endpoint })
}

impl SessionMedia {
    fn lock(&self) -> MutexGuard<'_, Option<Said>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the other side says, once it has.
    pub(super) fn agreed(&self) -> Result<Said, SessionError> {
        self.lock().clone().ok_or(SessionError::NotDescribed)
    }
}

impl MediaSession for SessionMedia {
    fn describe(&self) -> LocalMedia {
        self.local.clone()
    }

    fn apply(&self, agreed: &Negotiated) {
        let peer = agreed.streams.first().and_then(|stream| stream.peer());
        if let Some(said) = peer.and_then(|peer| Said::read(|name| peer.attribute(name))) {
            *self.lock() = Some(said);
        }
    }

    fn close(&self) {}
}
