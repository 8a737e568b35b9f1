//! The stream's task: datagrams in, a frame out every 20 ms.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use rtp::audio_stream::FRAME_DURATION;
use rtp::session::{Channel, Transmit};
use tokio::time::MissedTickBehavior;

use super::wire::Wire;
use super::{MAX_DIGITS, MAX_RECORDING, Media, MediaPort, MediaTap, Source, State};

/// The largest datagram worth reading: no audio packet comes near the usual MTU.
const DATAGRAM: usize = 2048;

/// What there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    frame: bool,
    rtp: bool,
    rtcp: bool,
    /// Media was agreed on, or the call is over.
    changed: bool,
}

pub(super) async fn run(media: Arc<Media>, port: MediaPort, tap: Option<MediaTap>) {
    let mut ticks = tokio::time::interval(FRAME_DURATION);
    // A late task catches up: the peer expects 50 packets a second.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut outgoing = Vec::new();
    let mut wire = Wire { port, tap };
    let mut wake = pin!(media.wake.notified());
    loop {
        // Polled by hand: a `select!` makes and drops a future for each of these at every turn, for every call.
        let due = poll_fn(|context| {
            let due = Due {
                frame: ticks.poll_tick(context).is_ready(),
                rtp: wire.port.rtp.poll_recv_ready(context).is_ready(),
                rtcp: wire.port.rtcp.poll_recv_ready(context).is_ready(),
                changed: wake.as_mut().poll(context).is_ready(),
            };
            if due == Due::default() { Poll::Pending } else { Poll::Ready(due) }
        })
        .await;
        if due.rtp {
            receive(&media, &wire, Channel::Rtp);
        }
        if due.rtcp {
            receive(&media, &wire, Channel::Rtcp);
        }
        if due.frame {
            let now = Instant::now();
            let mut state = media.state();
            if state.active {
                state.frame(now);
            }
            state.collect(&mut outgoing);
            let notify = state.notify_due();
            drop(state);
            wire.send(&mut outgoing);
            if notify {
                media.changed.notify_waiters();
            }
        }
        if due.changed {
            wake.set(media.wake.notified());
        }
        let mut state = media.state();
        if let Some(fresh) = state.fresh.take() {
            wire.port = fresh;
        }
        if state.closing {
            break;
        }
    }
    let recording = {
        let mut state = media.state();
        state.stream.close(Instant::now(), None);
        state.collect(&mut outgoing);
        let rate = state.stream.sample_rate();
        state.record_path.take().zip(state.recording.take()).map(|(path, samples)| (path, samples, rate))
    };
    wire.send(&mut outgoing);
    if let Some((path, samples, rate)) = recording {
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || {
            rtp::audio::wav::write_at(path, &samples.into_samples(), rate)
        })
        .await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, path = shown, "the recording could not be written"),
            Err(error) => tracing::error!(%error, path = shown, "the recording could not be written"),
        }
    }
    let both = media.state().both_sides.take();
    if let Some(both) = both {
        match tokio::task::spawn_blocking(move || both.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the recording of both sides is not complete"),
            Err(error) => tracing::error!(%error, "the recording of both sides is not complete"),
        }
    }
    media.state().finished = true;
    media.changed.notify_waiters();
}

fn receive(media: &Media, wire: &Wire, channel: Channel) {
    wire.receive(channel, &mut [0; DATAGRAM], |from, datagram| {
        media.state().stream.receive(Instant::now(), channel, from, datagram)
    });
}

impl State {
    /// One frame each way.
    fn frame(&mut self, now: Instant) {
        let (mut frame, mut heard) = (std::mem::take(&mut self.frame), std::mem::take(&mut self.heard));
        frame.fill(0);
        match &mut self.source {
            Source::Silent => {}
            Source::Echo(heard) => frame.clone_from(heard),
            Source::Live(live) => live.next_spoken(&mut frame),
            Source::Samples { samples, at } => {
                let rest = samples.get(*at..).unwrap_or_default();
                for (slot, sample) in frame.iter_mut().zip(rest) {
                    *slot = *sample;
                }
                *at = at.saturating_add(frame.len());
            }
        }
        if self.muted {
            frame.fill(0); // what plays goes on, unheard
        }
        self.stream.tick(now, &frame);
        self.stream.fill(now, &mut heard);
        match &mut self.source {
            Source::Echo(last) => last.clone_from(&heard),
            Source::Live(live) => live.was_heard(&heard),
            _ => {}
        }
        if let Some(recording) = &mut self.recording
            && recording.len() < MAX_RECORDING
        {
            recording.push(&heard);
        }
        if let Some(both) = &self.both_sides {
            both.frame(now, &frame, &heard);
        }
        (self.frame, self.heard) = (frame, heard);
        self.stream.handle_timeout(now);
        while let Some(digit) = self.stream.poll_digit() {
            if self.digits.len() < MAX_DIGITS {
                self.digits.push_back(digit);
            }
        }
        while let Some(event) = self.stream.poll_event() {
            tracing::trace!(?event, "rtp");
            self.quality.take(event);
        }
    }

    /// Whether a handle may wait for something that is now so.
    fn notify_due(&mut self) -> bool {
        let played = matches!(&self.source, Source::Samples { samples, at } if *at >= samples.len());
        if played {
            self.source = Source::Silent;
        }
        let pressing = self.stream.is_sending_digits();
        let pressed = std::mem::replace(&mut self.pressing, pressing) && !pressing;
        played || pressed || !self.digits.is_empty()
    }

    fn collect(&mut self, outgoing: &mut Vec<Transmit>) {
        while let Some(transmit) = self.stream.poll_transmit() {
            outgoing.push(transmit);
        }
    }
}
