//! The seam between a call and its media: another engine than ours can be put in its place.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtp::audio_stream::Statistics;
use rtp::rtcp::extended::Wanted;
use sdp::sdp_types::Attribute;
use sdp::{CryptoSuite, LocalMedia, LocalStream, Negotiated, Protection, RtcpMux, SrtpKey};

use super::video::VideoMedia;
use super::{Audio, Media, MediaOptions, MediaPort, MediaReport, Srtp, Video, codecs};

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

    /// Which extended reports the peer wants of us, by its `a=rtcp-xr` (RFC 3611 §5.2). Told before [`apply`](Self::apply).
    fn extended_reports(&self, wanted: Wanted) {
        let _ = wanted;
    }

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

    /// What a report of the call's quality says of its media (RFC 6035); `None` reports nothing.
    fn report(&self) -> Option<MediaReport> {
        None
    }

    /// The sound of it, if the session is one of the phone's own engine.
    fn audio(&self) -> Option<Audio> {
        None
    }

    /// Whether pictures are offered and accepted, as [`describe`](Self::describe) tells from now on.
    ///
    /// # Errors
    /// If there can be none.
    fn want_video(&self, wanted: bool) -> io::Result<()> {
        if wanted { Err(io::Error::from(io::ErrorKind::Unsupported)) } else { Ok(()) }
    }

    /// Its pictures, while offer and answer have them, if the session is one of the phone's own engine.
    fn video(&self) -> Option<Video> {
        None
    }
}

/// Why there are no pictures.
const NO_VIDEO: &str = "the phone was set up without video: PhoneBuilder::video";

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
            let mut local = describe(&self.options, told)?;
            let mut video = None;
            if let Some(options) = &self.options.video {
                let port = MediaPort::bind(place.bind)?;
                let told = SocketAddr::new(place.told, port.address().port());
                let (protection, keys) = keys(self.options.srtp, &self.options.srtp_suites)?;
                local = local.with_stream(options.describe(told).with_sdes(protection, keys));
                video = Some((port, options));
            }
            let media = Media::start(port, &self.options).map_err(io::Error::other)?;
            let pictures = video.map(|(port, options)| VideoMedia::start(port, &self.options, options));
            let pictures = pictures.transpose().map_err(|error| {
                media.close();
                io::Error::other(error)
            })?;
            let session = OwnSession {
                media,
                pictures,
                local: Mutex::new(local),
                srtp: self.options.srtp,
                srtp_suites: self.options.srtp_suites.clone(),
            };
            Ok(Arc::new(session) as Arc<dyn MediaSession>)
        })
    }
}

/// What a phone with these options offers at an address.
fn describe(options: &MediaOptions, told: SocketAddr) -> io::Result<LocalMedia> {
    let stream = LocalStream::audio(told)
        .with_codecs(codecs::offered(&options.codecs, options.sending))
        .with_rtcp_mux(RtcpMux::Negotiate);
    // Asks for the peer's extended reports, in offers and answers alike (RFC 3611 §5.2).
    let stream = match options.extended_reports {
        Wanted::NONE => stream,
        wanted => {
            let (attribute, value) = (Wanted::ATTRIBUTE.to_owned(), Some(wanted.to_string()));
            stream.with_options(|more| more.attributes.push(Attribute { attribute, value }))
        }
    };
    let stream = match options.levels.extension() {
        Some(levels) => stream.with_extensions([levels]),
        None => stream,
    };
    let (protection, keys) = keys(options.srtp, &options.srtp_suites)?;
    Ok(LocalMedia::new([stream.with_sdes(protection, keys)]))
}

/// How a stream is protected, with keys of its own (RFC 4568 §6.1).
fn keys(srtp: Srtp, suites: &[CryptoSuite]) -> io::Result<(Protection, Vec<SrtpKey>)> {
    srtp.protection(suites).map_err(io::Error::other)
}

#[derive(Debug)]
struct OwnSession {
    media: Arc<Media>,
    pictures: Option<Arc<VideoMedia>>,
    local: Mutex<LocalMedia>,
    srtp: Srtp,
    srtp_suites: Vec<CryptoSuite>,
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
        let sound = self.media.relocate(place.bind)?;
        let pictures = self.pictures.as_ref().map(|pictures| pictures.relocate(place.bind)).transpose()?;
        let mut local = self.local();
        for (stream, port) in local.streams.iter_mut().zip([Some(sound), pictures]) {
            // Another address, other keys (RFC 4568 §7.1.4).
            (stream.protection, stream.keys) = keys(self.srtp, &self.srtp_suites)?;
            stream.relocate(SocketAddr::new(place.told, port.unwrap_or(stream.address.port())));
        }
        Ok(())
    }

    fn apply(&self, agreed: &Negotiated) {
        self.media.apply(agreed);
        if let Some(pictures) = &self.pictures {
            pictures.apply(agreed.video());
        }
    }

    fn extended_reports(&self, wanted: Wanted) {
        self.media.extended_reports(wanted);
    }

    fn digit(&self, key: char) {
        self.media.digit(key);
    }

    fn close(&self) {
        self.media.close();
        if let Some(pictures) = &self.pictures {
            pictures.close();
        }
    }

    fn finished(&self) -> MediaFuture<'_, ()> {
        Box::pin(self.media.finished())
    }

    fn statistics(&self) -> Statistics {
        self.media.statistics()
    }

    fn report(&self) -> Option<MediaReport> {
        let told = self.local().streams.first().map(|stream| stream.address)?;
        self.media.report(told)
    }

    fn audio(&self) -> Option<Audio> {
        Some(Audio { media: Some(Arc::clone(&self.media)) })
    }

    fn want_video(&self, wanted: bool) -> io::Result<()> {
        match self.local().streams.get_mut(1) {
            Some(stream) => stream.enabled = wanted,
            None if wanted => return Err(io::Error::new(io::ErrorKind::Unsupported, NO_VIDEO)),
            None => {}
        }
        Ok(())
    }

    fn video(&self) -> Option<Video> {
        self.pictures.as_ref().and_then(Video::of)
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
