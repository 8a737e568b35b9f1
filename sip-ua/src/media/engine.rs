//! The seam between a call and its media: another engine than ours can be put in its place.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtp::audio_stream::Statistics;
use sdp::{LocalMedia, LocalStream, Negotiated};

use super::{Audio, Media, MediaOptions, MediaPort, Srtp, codecs};

/// A future without a name.
pub type MediaFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the media of a call is to be: beside its signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPlace {
    /// The address of this machine to bind to; unspecified for any.
    pub bind: IpAddr,
    /// The address that the peer is told.
    pub told: IpAddr,
}

/// Makes the media of calls: sockets, codecs, sound. [`Phone`](crate::Phone) asks it once for each call.
///
/// The one that a phone has of its own sends and receives G.711 over RTP. Another one takes its place by
/// [`PhoneBuilder::media_engine`](crate::PhoneBuilder::media_engine): a gateway that has its media elsewhere, a test that
/// wants none ([`NoMedia`]).
pub trait MediaEngine: Debug + Send + Sync {
    /// Opens the media of one call, before its offer or answer is made.
    fn open(&self, place: MediaPlace) -> MediaFuture<'_, io::Result<Arc<dyn MediaSession>>>;
}

/// The media of one call. Called from within the phone's core: nothing here may block.
pub trait MediaSession: Debug + Send + Sync {
    /// What is offered to the peer, or answered with: addresses and codecs.
    fn describe(&self) -> LocalMedia;

    /// Offer and answer were exchanged, for the first time or anew, perhaps before the call is answered.
    fn apply(&self, agreed: &Negotiated);

    /// The phone is at another address: the media moves there, and [`describe`](Self::describe) tells the new place from now on.
    ///
    /// # Errors
    /// If there is no room there: the media stays where it is.
    fn relocate(&self, place: MediaPlace) -> io::Result<()> {
        let _ = place;
        Ok(())
    }

    /// The peer pressed a key that came by the signalling (INFO).
    fn digit(&self, key: char) {
        let _ = key;
    }

    /// The call is over.
    fn close(&self);

    /// Waits until all is put away: what was recorded is written.
    fn finished(&self) -> MediaFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What was sent and heard.
    fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// The sound of it, if the session is one of the phone's own engine.
    fn audio(&self) -> Option<Audio> {
        None
    }
}

/// The engine that a phone has of its own.
#[derive(Debug)]
pub(crate) struct OwnEngine {
    pub(crate) options: MediaOptions,
}

impl MediaEngine for OwnEngine {
    fn open(&self, place: MediaPlace) -> MediaFuture<'_, io::Result<Arc<dyn MediaSession>>> {
        Box::pin(async move {
            let port = MediaPort::bind(place.bind)?;
            let told = SocketAddr::new(place.told, port.address().port());
            let local = describe(&self.options, told)?;
            let media = Media::start(port, &self.options).map_err(io::Error::other)?;
            let session = OwnSession { media, local: Mutex::new(local), srtp: self.options.srtp };
            Ok(Arc::new(session) as Arc<dyn MediaSession>)
        })
    }
}

/// What a phone with these options offers at an address.
fn describe(options: &MediaOptions, told: SocketAddr) -> io::Result<LocalMedia> {
    let mut stream = LocalStream::audio(told);
    if !options.codecs.is_empty() {
        stream = stream.with_codecs(codecs::offered(&options.codecs));
    }
    let (protection, keys) = options.srtp.protection().map_err(io::Error::other)?;
    Ok(LocalMedia::new([stream.with_sdes(protection, keys)]))
}

#[derive(Debug)]
struct OwnSession {
    media: Arc<Media>,
    local: Mutex<LocalMedia>,
    srtp: Srtp,
}

impl OwnSession {
    fn local(&self) -> MutexGuard<'_, LocalMedia> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MediaSession for OwnSession {
    fn describe(&self) -> LocalMedia {
        self.local().clone()
    }

    fn relocate(&self, place: MediaPlace) -> io::Result<()> {
        // Another address, other keys (RFC 4568 §7.1.4).
        let (protection, keys) = self.srtp.protection().map_err(io::Error::other)?;
        let port = self.media.relocate(place.bind)?;
        let mut local = self.local();
        local.relocate(SocketAddr::new(place.told, port));
        *local = std::mem::replace(&mut *local, LocalMedia::new([])).with_sdes(protection, keys);
        Ok(())
    }

    fn apply(&self, agreed: &Negotiated) {
        self.media.apply(agreed);
    }

    fn digit(&self, key: char) {
        self.media.digit(key);
    }

    fn close(&self) {
        self.media.close();
    }

    fn finished(&self) -> MediaFuture<'_, ()> {
        Box::pin(self.media.finished())
    }

    fn statistics(&self) -> Statistics {
        self.media.statistics()
    }

    fn audio(&self) -> Option<Audio> {
        Some(Audio { media: Some(Arc::clone(&self.media)) })
    }
}

/// Signalling alone: calls describe an audio stream at the discard port and nothing is sent or heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMedia;

#[derive(Debug)]
struct NoSession(Mutex<IpAddr>);

impl MediaEngine for NoMedia {
    fn open(&self, place: MediaPlace) -> MediaFuture<'_, io::Result<Arc<dyn MediaSession>>> {
        Box::pin(std::future::ready(Ok(Arc::new(NoSession(Mutex::new(place.told))) as Arc<dyn MediaSession>)))
    }
}

impl MediaSession for NoSession {
    fn describe(&self) -> LocalMedia {
        let ip = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LocalMedia::audio(SocketAddr::new(ip, 9))
    }

    fn relocate(&self, place: MediaPlace) -> io::Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place.told;
        Ok(())
    }

    fn apply(&self, _: &Negotiated) {}

    fn close(&self) {}
}
