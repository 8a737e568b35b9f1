//! The pictures of a call: sockets and a task of their own, and the handle to what is sent and seen.

mod format;
mod task;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use rtp::ntp::NtpTimestamp;
use rtp::video::Codec;
use rtp::video_stream::{Config, Direction, Event, Format, SendError, Statistics, VideoFrame, VideoStream};
use sdp::{CryptoSuite, MediaStream};
use tokio::sync::Notify;

pub(crate) use format::{PROFILE_LEVEL_ID, VideoOptions};

use super::security::Keys;
use super::{MediaOptions, MediaPort, direction_of, remote_of};

/// Why a picture was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The call is over, or has no video any more.
    #[error("the video is over")]
    Ended,
    /// The frame cannot be sent, now or ever.
    #[error(transparent)]
    Frame(SendError),
}

struct State {
    stream: VideoStream,
    keys: Keys,
    /// Counts the times that video came into the call; handles belong to one.
    generation: u64,
    /// Offer and answer have it.
    agreed: bool,
    /// What the peer wants it with, as `a=fmtp` says.
    parameters: Option<String>,
    direction: Direction,
    /// Sockets at another address, for the task to go on with.
    fresh: Option<MediaPort>,
    bound: SocketAddr,
    closing: bool,
}

impl State {
    fn is(&self, generation: u64) -> bool {
        self.agreed && !self.closing && self.generation == generation
    }
}

/// The video stream of one call, shared by its task, its handles and the call's core.
pub(crate) struct VideoMedia {
    state: Mutex<State>,
    /// Something that a handle waits for happened: an event, room to send, the end.
    changed: Notify,
    /// The task must look again.
    wake: Notify,
}

impl std::fmt::Debug for VideoMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoMedia").field("rtp", &self.state().bound).finish_non_exhaustive()
    }
}

impl VideoMedia {
    /// Starts the stream's task on sockets that were bound for it.
    pub(super) fn start(
        port: MediaPort,
        options: &MediaOptions,
        video: &VideoOptions,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let wall_clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let session = rtp::session::Config::new(seed, &options.cname, NtpTimestamp::from_unix(wall_clock));
        let codec = video.codecs.first().copied().unwrap_or(Codec::Vp8);
        let mut config = Config::new(session, Format::new(codec, 96)); // until offer and answer say more
        if let Some(interval) = options.rtcp_interval {
            config.session.rtcp_minimum_interval = interval;
        }
        let media = Arc::new(Self {
            state: Mutex::new(State {
                stream: VideoStream::new(Instant::now(), config),
                keys: Keys::default(),
                generation: 0,
                agreed: false,
                parameters: None,
                direction: Direction::SendReceive,
                fresh: None,
                bound: port.address(),
                closing: false,
            }),
            changed: Notify::new(),
            wake: Notify::new(),
        });
        tokio::spawn(task::run(Arc::clone(&media), port, options.tap.clone()));
        Ok(media)
    }

    /// A panic elsewhere must not stop a call: the state is used as it stands.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what offer and answer agreed on; `None` if that has no video.
    pub(super) fn apply(&self, agreed: Option<&MediaStream>) {
        let terms = agreed.and_then(|video| Some((video, format::agreed(video)?)));
        let mut state = self.state();
        match terms {
            None => {
                state.agreed = false;
                state.direction = Direction::Inactive;
                state.stream.set_direction(Direction::Inactive);
            }
            Some((video, (format, parameters))) => {
                if let Some(remote) = remote_of(video) {
                    state.stream.set_remote(Instant::now(), remote);
                }
                state.stream.set_multiplexed(video.rtcp_mux);
                state.stream.set_format(format);
                state.parameters = parameters;
                match state.keys.agree(video.keys.as_deref()) {
                    Ok(changes) => {
                        if let Some(sender) = changes.sender {
                            state.stream.protect_sent(sender);
                        }
                        if let Some(receiver) = changes.receiver {
                            state.stream.protect_received(receiver);
                        }
                    }
                    // Cannot be: a key has the length of its suite.
                    Err(error) => tracing::error!(%error, "the keys agreed on are of no use"),
                }
                state.direction = direction_of(video);
                let direction = state.direction;
                state.stream.set_direction(direction);
                if !std::mem::replace(&mut state.agreed, true) {
                    state.generation = state.generation.wrapping_add(1);
                    // What a former life of the stream has left is nobody's.
                    while state.stream.poll_event().is_some() {}
                }
            }
        }
        drop(state);
        self.wake.notify_one();
        self.changed.notify_waiters();
    }

    /// Goes on at another address of this machine. Gives the port.
    pub(super) fn relocate(&self, bind: std::net::IpAddr) -> std::io::Result<u16> {
        let mut state = self.state();
        if state.bound.ip() == bind {
            return Ok(state.bound.port());
        }
        let port = MediaPort::bind(bind)?;
        state.bound = port.address();
        state.fresh = Some(port);
        let at = state.bound.port();
        drop(state);
        self.wake.notify_one();
        Ok(at)
    }

    /// Ends the stream with an RTCP BYE.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
        self.changed.notify_waiters();
    }
}

/// The pictures of a call: encoded frames in both directions. A handle is of use while video is in the call; when it is taken
/// out, [`next`](Self::next) ends, and when it comes back, there is another handle.
#[derive(Clone, Debug)]
pub struct Video {
    media: Arc<VideoMedia>,
    generation: u64,
}

impl Video {
    /// A handle, if video is in the call.
    pub(super) fn of(media: &Arc<VideoMedia>) -> Option<Self> {
        let state = media.state();
        let generation = state.generation;
        state.is(generation).then(|| Self { media: Arc::clone(media), generation })
    }

    /// Sends a frame, and waits while earlier ones have not gone out yet. The first one has to be a key frame. While the stream is
    /// held, and until the key frame that [`Event::KeyFrameWanted`] asks for afterwards, frames are left out without an error.
    ///
    /// # Errors
    /// If the video is over, or the frame is none that can be sent.
    pub async fn send(&self, frame: VideoFrame) -> Result<(), VideoError> {
        let sent = self
            .wait(|state| match state.stream.send(&frame) {
                Err(SendError::Busy) => None,
                Ok(()) | Err(SendError::NotSending | SendError::KeyFrameNeeded) => Some(Ok(())),
                Err(SendError::Closed) => Some(Err(VideoError::Ended)),
                Err(error) => Some(Err(VideoError::Frame(error))),
            })
            .await
            .unwrap_or(Err(VideoError::Ended));
        self.media.wake.notify_one();
        sent
    }

    /// The next frame, loss, or wish of the peer; `None` when the video is over. Frames that nobody takes are given up after two
    /// seconds. Of several handles each event goes to one.
    pub async fn next(&self) -> Option<Event> {
        self.wait(|state| state.stream.poll_event()).await
    }

    /// Asks the peer for a key frame (RFC 4585 §6.3.1, RFC 5104 §4.3.1). False if it takes no such request, or nothing was seen of
    /// it yet.
    pub fn request_key_frame(&self) -> bool {
        let possible = {
            let mut state = self.media.state();
            state.is(self.generation) && state.stream.request_key_frame(Instant::now())
        };
        self.media.wake.notify_one();
        possible
    }

    /// The format in which we send.
    pub fn codec(&self) -> Codec {
        self.media.state().stream.format().codec
    }

    /// The parameters that the peer wants it in, as `a=fmtp` says: `profile-level-id` is the most that an encoder of H.264 may use
    /// (RFC 6184 §8.1).
    pub fn parameters(&self) -> Option<String> {
        self.media.state().parameters.clone()
    }

    /// Whether pictures are sent now: the stream is not held, and the peer takes them.
    pub fn is_sending(&self) -> bool {
        let state = self.media.state();
        state.is(self.generation) && matches!(state.direction, Direction::SendReceive | Direction::SendOnly)
    }

    /// The crypto suite that protects the pictures; `None` if nothing does.
    pub fn crypto_suite(&self) -> Option<CryptoSuite> {
        self.media.state().keys.suite()
    }

    /// Counters up to now.
    pub fn statistics(&self) -> Statistics {
        self.media.state().stream.statistics()
    }

    /// Waits until `look` finds what it looks for; `None` if the video is over.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        loop {
            let changed = self.media.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // a change between the look and the wait is not missed
            {
                let mut state = self.media.state();
                if !state.is(self.generation) {
                    return None;
                }
                if let Some(found) = look(&mut state) {
                    return Some(found);
                }
            }
            changed.await;
        }
    }
}
