//! A film for a video call: an IVF file, shown at its own pace.

use std::path::Path;
use std::time::Duration;

use rtp::video::ivf::{self, Ivf};
use sip_ua::{Video, VideoCodec, VideoError, VideoFrame};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::exit::Failure;

/// How long the last frame is seen.
const LAST_FRAME: Duration = Duration::from_millis(200);

/// A film that is ready to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Film(Ivf);

impl Film {
    /// Reads a film, before anybody is called for it.
    pub(crate) fn read(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let fault =
            |error: &dyn std::fmt::Display| Failure::fault(format_args!("{}: {error}", path.display()));
        let octets = std::fs::read(path).map_err(|error| fault(&error))?;
        let film = ivf::parse(octets.into()).map_err(|error| fault(&error))?;
        if film.frames.is_empty() {
            return Err(fault(&"there is not one frame in it"));
        }
        Ok(Some(Self(film)))
    }

    /// The format that a call needs for it.
    pub(crate) fn codec(&self) -> VideoCodec {
        self.0.codec
    }

    /// Shows it once, says so, and goes on seeing what the peer shows until the pictures are over.
    pub(crate) async fn show(self, video: Video, shown: oneshot::Sender<()>) {
        let began = Instant::now();
        let mut last = Duration::ZERO;
        for (time, data) in self.0.frames {
            watch_until(&video, began + time).await;
            last = time;
            // Behind a wish for a key frame the stream leaves out what cannot be decoded, until the film has one.
            match video.send(VideoFrame::new(self.0.codec, time, data)).await {
                Ok(()) => {}
                Err(VideoError::Ended) => return,
                Err(error) => tracing::warn!(%error, "a frame is left out"),
            }
        }
        watch_until(&video, began + last + LAST_FRAME).await;
        let _ = shown.send(()); // the call may be over
        while video.next().await.is_some() {}
    }
}

/// Takes what the peer shows until then, or until the pictures are over.
async fn watch_until(video: &Video, until: Instant) {
    let watch = async { while video.next().await.is_some() {} };
    tokio::select! { () = sleep_until(until) => {}, () = watch => {} }
}
