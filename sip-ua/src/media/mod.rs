//! The sound of a call: RTP sockets, a task that ticks every 20 ms, and the handle to what it plays and hears. Its pictures are in
//! [`video`].

mod audio;
mod both_sides;
mod codecs;
mod engine;
mod levels;
mod live;
mod port;
mod recording;
mod report;
mod security;
#[cfg(feature = "sound-card")]
mod sound_card;
mod task;
mod video;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rtp::audio_stream::{self, AudioStream, Format, Levels};
use rtp::codec::Codec;
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::rtcp::extended::Wanted;
use rtp::session::Remote;
use sdp::{CryptoSuite, MediaStream, Negotiated};
use tokio::sync::Notify;

pub use audio::{Audio, AudioError};
use both_sides::BothSides;
pub(crate) use codecs::Sending;
pub(crate) use engine::OwnEngine;
pub use engine::{MediaEngine, MediaFuture, MediaPlace, MediaSession, NoMedia};
pub use levels::AudioLevels;
pub use live::LiveSound;
pub(crate) use port::MediaPort;
use recording::Recording;
use report::Heard;
pub use report::MediaReport;
use security::Keys;
pub(crate) use security::SUITES;
pub use security::Srtp;
#[cfg(feature = "sound-card")]
pub use sound_card::{SoundCard, SoundCardError};
pub(crate) use video::{PROFILE_LEVEL_ID, VideoOptions};
pub use video::{Video, VideoError};

/// An RTP or RTCP datagram that passed, for captures.
#[derive(Clone, Copy, Debug)]
pub struct MediaPacket<'a> {
    /// When.
    pub at: SystemTime,
    /// Whether it came in.
    pub inbound: bool,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The datagram.
    pub payload: &'a [u8],
}

/// Sees every media packet.
pub type MediaTap = Arc<dyn Fn(&MediaPacket<'_>) + Send + Sync>;

/// What the phone tells each stream.
#[derive(Clone)]
pub(crate) struct MediaOptions {
    pub(crate) cname: String,
    pub(crate) rtcp_interval: Option<Duration>,
    pub(crate) tap: Option<MediaTap>,
    /// What the peer is asked for.
    pub(crate) extended_reports: Wanted,
    /// Most wanted first.
    pub(crate) codecs: Vec<Codec>,
    pub(crate) srtp: Srtp,
    /// Most wanted first.
    pub(crate) srtp_suites: Vec<CryptoSuite>,
    pub(crate) sample_rate: u32,
    pub(crate) sending: Sending,
    pub(crate) levels: AudioLevels,
    /// `None` makes calls of sound alone.
    pub(crate) video: Option<VideoOptions>,
}

impl std::fmt::Debug for MediaOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaOptions").field("cname", &self.cname).finish_non_exhaustive()
    }
}

/// What is sent in each frame.
#[derive(Debug, Default)]
enum Source {
    /// Silence.
    #[default]
    Silent,
    /// Samples from a position on.
    Samples { samples: Arc<[i16]>, at: usize },
    /// What was heard in the frame before.
    Echo(Vec<i16>),
    /// What is spoken as it happens; who speaks also hears.
    Live(Box<live::Connected>),
}

/// Ten hours of a call at 8 kHz; a recording that grows for ever would fill the memory.
const MAX_RECORDING: usize = 10 * 3600 * 8000;
/// Shortest delay of the jitter buffer.
const MINIMUM_DELAY: Duration = Duration::from_millis(60);
/// Frames of 20 ms.
const FRAMES_A_SECOND: u32 = 50;
/// Digits that wait to be taken; a peer can press thousands.
const MAX_DIGITS: usize = 256;

struct State {
    stream: AudioStream,
    /// The keys in force.
    keys: Keys,
    /// Memory for what is said in a frame, and for what is heard.
    frame: Vec<i16>,
    heard: Vec<i16>,
    source: Source,
    muted: bool,
    recording: Option<Recording>,
    record_path: Option<PathBuf>,
    both_sides: Option<BothSides>,
    digits: VecDeque<char>,
    /// Digits of ours were being sent in the last frame.
    pressing: bool,
    /// Sockets at another address, for the task to go on with.
    fresh: Option<MediaPort>,
    /// Where the sockets are.
    bound: SocketAddr,
    sending: Sending,
    /// For a report of the call's quality.
    quality: Heard,
    /// Media was agreed on; before it nothing is sent.
    active: bool,
    closing: bool,
    finished: bool,
}

/// The stream of one call, shared by its task, its handles and the call's core.
pub(crate) struct Media {
    state: Mutex<State>,
    /// Something that a handle waits for happened: played out, a digit, the end.
    changed: Notify,
    /// The task must look again: media agreed, or closing.
    wake: Notify,
}

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Media").field("rtp", &self.state().bound).finish_non_exhaustive()
    }
}

impl Media {
    /// Starts the stream's task on sockets that were bound for it.
    pub(crate) fn start(port: MediaPort, options: &MediaOptions) -> Result<Arc<Self>, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let wall_clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut session =
            rtp::session::Config::new(seed, &options.cname, NtpTimestamp::from_unix(wall_clock));
        if let Some(interval) = options.rtcp_interval {
            session.rtcp_minimum_interval = interval;
        }
        let config = audio_stream::Config {
            session,
            // Not below what a busy machine needs: its tasks wake late now and then.
            jitter: rtp::jitter::Config { minimum: MINIMUM_DELAY, ..Default::default() },
            format: Format::new(Law::Mu, None),
        };
        let frame = (options.sample_rate / FRAMES_A_SECOND) as usize;
        let media = Arc::new(Self {
            state: Mutex::new(State {
                stream: AudioStream::with_sample_rate(Instant::now(), config, options.sample_rate),
                keys: Keys::with_header(options.levels != AudioLevels::Off),
                frame: vec![0; frame],
                heard: vec![0; frame],
                source: Source::Silent,
                muted: false,
                recording: None,
                record_path: None,
                both_sides: None,
                digits: VecDeque::new(),
                pressing: false,
                fresh: None,
                bound: port.address(),
                sending: options.sending,
                quality: Heard::default(),
                active: false,
                closing: false,
                finished: false,
            }),
            changed: Notify::new(),
            wake: Notify::new(),
        });
        tokio::spawn(task::run(Arc::clone(&media), port, options.tap.clone()));
        Ok(media)
    }

    /// A panic elsewhere must not silence a call: the state is used as it stands.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes over what offer and answer agreed on.
    pub(crate) fn apply(&self, agreed: &Negotiated) {
        let Some(audio) = agreed.audio() else { return };
        let now = Instant::now();
        let mut state = self.state();
        if let Some(remote) = remote_of(audio) {
            state.stream.set_remote(now, remote);
            state.quality.agreed(remote.rtp);
        }
        if let Some(format) = codecs::agreed(audio, state.sending) {
            state.stream.set_format(format);
        }
        state.stream.set_multiplexed(audio.rtcp_mux);
        match state.keys.agree(audio.keys.as_deref()) {
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
        let (mut levels, encrypted) = levels::agreed(audio);
        if !state.stream.set_encrypted_elements(encrypted) {
            // Cannot be: only SRTP has them, and its keys are made for them. They are not to be seen.
            tracing::error!("encrypted header extensions were agreed on without keys");
            levels = Levels::default();
        }
        state.stream.set_levels(levels);
        state.stream.set_direction(direction_of(audio));
        state.active = true;
        drop(state);
        self.wake.notify_one();
    }

    /// What the peer wants of us.
    pub(crate) fn extended_reports(&self, wanted: Wanted) {
        self.state().stream.set_extended_reports(wanted);
    }

    /// Goes on at another address of this machine, with sockets of its own if these are bound elsewhere. Gives the port.
    pub(crate) fn relocate(&self, bind: std::net::IpAddr) -> std::io::Result<u16> {
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

    /// Ends the stream with an RTCP BYE and writes the recording.
    pub(crate) fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
    }

    /// Waits until the stream has ended and its recording is written.
    pub(crate) async fn finished(&self) {
        self.wait(|state| state.finished.then_some(())).await;
    }

    /// A digit that came by INFO.
    pub(crate) fn digit(&self, digit: char) {
        let mut state = self.state();
        if state.digits.len() < MAX_DIGITS {
            state.digits.push_back(digit);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Samples per second of what is played and heard.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.state().stream.sample_rate()
    }

    /// The codec in which we send.
    pub(crate) fn codec(&self) -> Codec {
        self.state().stream.format().codec
    }

    /// The suite that protects the call, if it is protected.
    pub(crate) fn crypto_suite(&self) -> Option<CryptoSuite> {
        self.state().keys.suite()
    }

    pub(crate) fn statistics(&self) -> audio_stream::Statistics {
        self.state().stream.statistics()
    }

    /// Waits until `look` finds what it looks for.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // a change between the look and the wait is not missed
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }
}

fn direction_of(stream: &MediaStream) -> audio_stream::Direction {
    match (stream.may_send(), stream.may_receive()) {
        (true, true) => audio_stream::Direction::SendReceive,
        (true, false) => audio_stream::Direction::SendOnly,
        (false, true) => audio_stream::Direction::ReceiveOnly,
        (false, false) => audio_stream::Direction::Inactive,
    }
}

fn remote_of(stream: &MediaStream) -> Option<Remote> {
    let rtp = stream.remote.socket_addr().filter(|address| !address.ip().is_unspecified())?;
    if stream.rtcp_mux {
        return Some(Remote::multiplexed(rtp));
    }
    let rtcp = stream.remote_rtcp.as_ref().and_then(|address| address.socket_addr());
    Some(match rtcp {
        Some(rtcp) => Remote { rtp, rtcp },
        None => Remote::port_pair(rtp),
    })
}
