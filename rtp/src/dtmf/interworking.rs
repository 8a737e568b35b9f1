//! Digits heard in one way and sent in another, as a gateway between two parties does; each exactly once.
//!
//! ```text
//!   event(packet) --+                        +--> tick -> packets in place of audio   (RFC 4733)
//!   audio(samples) -+--> digits, in order ---+--> audio: tones in place of it         (in-band)
//!   info(body) -----+                        +--> poll_info -> one INFO after another (SIP)
//! ```
//!
//! One of these carries the digits of one direction. It listens to the one way that signalling agreed on and to no other: a peer
//! that sends events and leaves the tones in its audio presses each key once. What it takes from where:
//!
//! | from | heard | audio that is passed on |
//! |---|---|---|
//! | [`Way::Events`] | [`Interworking::event`] | unchanged |
//! | [`Way::Tones`] | [`Interworking::audio`] | 40 ms late, tones are silence in it ([`Filter`]) |
//! | [`Way::Info`] | [`Interworking::info`] | unchanged |
//!
//! A digit goes on when its key is released, so that it is as long there as it was here: at least 100 ms, at most 5 s. In one
//! and the same way there is nothing to do for tones, and audio passes untouched; events and INFO are sent anew. Events that are
//! no keys of a telephone end here.
//!
//! An [`AudioStream`](crate::audio_stream::AudioStream) reads and makes events itself: where one is at either end, give its digits
//! to [`Interworking::press`], and to it those of [`Interworking::poll_info`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::inband::Filter;
use super::info::Info;
use super::{Event, EventPacket, MAX_QUEUED, Notice, Receiver, Sender};
use crate::audio::SAMPLE_RATE;
use crate::audio::tone::Tone;

/// The shortest digit sent: 5 packets of 20 ms, of which one must arrive, and more than the 70 ms of RFC 4733 §3.1.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest: what holds a key for longer holds up the digits behind it.
const LONGEST: Duration = Duration::from_secs(5);
/// Pause behind a tone: more than the 40 ms of ITU-T Q.24, because a jitter buffer may shorten silence.
const TONE_GAP: Duration = Duration::from_millis(100);

/// How a party presses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Telephone events (RFC 4733).
    Events {
        /// Their timestamp units a second.
        clock_rate: u32,
    },
    /// Tones in the audio (ITU-T Q.23).
    Tones,
    /// SIP INFO, `application/dtmf-relay` or `application/dtmf`.
    Info,
}

/// See the [module](self).
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtp::dtmf::interworking::{Interworking, Way};
/// let (mut now, events) = (Instant::now(), Way::Events { clock_rate: 8000 });
/// let mut gateway = Interworking::new(events, Way::Info);
/// gateway.event(now, 8000, &[5, 10, 0, 160]);
/// gateway.event(now, 8000, &[5, 0x8a, 5, 0]);
/// let info = gateway.poll_info().ok_or("a digit")?;
/// assert_eq!((info.event.key(), info.duration), (Some('5'), Some(Duration::from_millis(160))));
/// gateway.info_answered(); // the next may go
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct Interworking {
    heard: Heard,
    sent: Sent,
    refused: u64,
}

#[derive(Debug)]
enum Heard {
    Events {
        receiver: Receiver,
        clock_rate: u32,
    },
    Tones(Box<Filter>),
    Info,
    /// From tones to tones: audio passes.
    Nothing,
}

#[derive(Debug)]
enum Sent {
    Events(Sender),
    Tones(Tones),
    Info { queue: VecDeque<Info>, underway: bool },
}

/// Tones that are being made.
#[derive(Debug, Default)]
struct Tones {
    queue: VecDeque<(Event, Duration)>,
    /// The tone, the next sample, samples of tone and of tone and pause.
    playing: Option<(Tone, u64, u64, u64)>,
}

impl Interworking {
    /// For one direction.
    #[must_use]
    pub fn new(from: Way, to: Way) -> Self {
        let heard = match (from, to) {
            (Way::Tones, Way::Tones) => Heard::Nothing,
            (Way::Tones, _) => Heard::Tones(Box::default()),
            (Way::Events { clock_rate }, _) => Heard::Events { receiver: Receiver::new(), clock_rate },
            (Way::Info, _) => Heard::Info,
        };
        let sent = match to {
            Way::Events { clock_rate } => Sent::Events(Sender::new(clock_rate)),
            Way::Tones => Sent::Tones(Tones::default()),
            Way::Info => Sent::Info { queue: VecDeque::new(), underway: false },
        };
        Self { heard, sent, refused: 0 }
    }

    /// Takes a packet of the telephone-event payload type.
    pub fn event(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        if let Heard::Events { receiver, .. } = &mut self.heard {
            receiver.receive(now, timestamp, payload);
            self.collect_events();
        }
    }

    /// Takes the next audio that is passed on, 8 kHz, and puts into its place what is to be passed on instead.
    pub fn audio(&mut self, now: Instant, samples: &mut [i16]) {
        self.handle_timeout(now);
        if let Heard::Tones(filter) = &mut self.heard {
            for notice in filter.process(samples) {
                if let Notice::Ended { event, duration, .. } = notice {
                    self.press(event, units(duration, SAMPLE_RATE));
                }
            }
        }
        if let Sent::Tones(tones) = &mut self.sent {
            tones.write(samples);
        }
    }

    /// Takes the body of an INFO, which is to be answered with 200.
    pub fn info(&mut self, info: &Info) {
        if let Heard::Info = self.heard {
            self.press(info.event, info.duration.unwrap_or(SHORTEST));
        }
    }

    /// The packet for this tick of `samples` timestamp units, the stream being at `timestamp`. `None`: send audio.
    pub fn tick(&mut self, timestamp: u32, samples: u32) -> Option<EventPacket> {
        match &mut self.sent {
            Sent::Events(sender) => sender.tick(timestamp, samples),
            _ => None,
        }
    }

    /// The next INFO to send. There is none until the one before was answered ([`Interworking::info_answered`]): two underway at
    /// once could arrive the other way round.
    pub fn poll_info(&mut self) -> Option<Info> {
        match &mut self.sent {
            Sent::Info { queue, underway } if !*underway => {
                let info = queue.pop_front()?;
                *underway = true;
                Some(info)
            }
            _ => None,
        }
    }

    /// The INFO sent last was answered, whatever the answer: sent again, a digit could be there twice.
    pub fn info_answered(&mut self) {
        if let Sent::Info { underway, .. } = &mut self.sent {
            *underway = false;
        }
    }

    /// When [`Interworking::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.heard {
            Heard::Events { receiver, .. } => receiver.poll_timeout(),
            _ => None,
        }
    }

    /// Ends an event whose packets stopped. [`Interworking::audio`] does it, too.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Heard::Events { receiver, .. } = &mut self.heard {
            receiver.handle_timeout(now);
            self.collect_events();
        }
    }

    /// The stream heard has another source: its timestamps have nothing to do with those seen.
    pub fn reset_source(&mut self) {
        if let Heard::Events { receiver, .. } = &mut self.heard {
            receiver.reset();
            self.collect_events();
        }
    }

    /// Whether nothing is being sent or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.sent {
            Sent::Events(sender) => sender.is_idle(),
            Sent::Tones(tones) => tones.queue.is_empty() && tones.playing.is_none(),
            Sent::Info { queue, underway } => queue.is_empty() && !underway,
        }
    }

    /// Digits that were not sent because [`MAX_QUEUED`] waited already.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn collect_events(&mut self) {
        while let Heard::Events { receiver, clock_rate } = &mut self.heard
            && let Some(notice) = receiver.poll()
        {
            let clock_rate = *clock_rate;
            if let Notice::Ended { event, duration, .. } = notice {
                self.press(event, units(duration, clock_rate));
            }
        }
    }

    /// A key that was heard by something else, [`AudioStream::poll_digit`](crate::audio_stream::AudioStream::poll_digit) for
    /// instance.
    pub fn press(&mut self, event: Event, duration: Duration) {
        if event.0 > 15 {
            return;
        }
        let duration = duration.clamp(SHORTEST, LONGEST);
        let taken = match &mut self.sent {
            Sent::Events(sender) => sender.push_for(event, duration).is_ok(),
            Sent::Tones(Tones { queue, .. }) => {
                let room = queue.len() < MAX_QUEUED;
                queue.extend(room.then_some((event, duration)));
                room
            }
            Sent::Info { queue, .. } => {
                let room = queue.len() < MAX_QUEUED;
                queue.extend(room.then_some(Info { event, duration: Some(duration) }));
                room
            }
        };
        self.refused += u64::from(!taken);
    }
}

impl Tones {
    fn write(&mut self, samples: &mut [i16]) {
        for sample in samples {
            if self.playing.is_none() {
                self.playing = self.queue.pop_front().and_then(|(event, duration)| {
                    let length = samples_of(duration);
                    Some((Tone::dtmf(event)?, 0, length, length + samples_of(TONE_GAP)))
                });
            }
            let Some((tone, index, sounding, all)) = &mut self.playing else { return };
            *sample = if index < sounding { tone.at(*index) } else { 0 };
            *index += 1;
            if index >= all {
                self.playing = None;
            }
        }
    }
}

fn samples_of(duration: Duration) -> u64 {
    duration.as_millis() as u64 * u64::from(SAMPLE_RATE) / 1000
}

fn units(duration: u32, clock_rate: u32) -> Duration {
    Duration::from_secs_f64(f64::from(duration) / f64::from(clock_rate.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Way = Way::Events { clock_rate: 8000 };

    fn info(key: char) -> Info {
        Info { event: Event::from_key(key).unwrap(), duration: None }
    }

    #[test]
    fn one_info_is_underway_at_a_time() {
        let mut gateway = Interworking::new(Way::Info, Way::Info);
        gateway.info(&info('1'));
        gateway.info(&info('2'));
        assert_eq!(gateway.poll_info().and_then(|info| info.event.key()), Some('1'));
        assert_eq!(gateway.poll_info(), None);
        gateway.info_answered();
        assert_eq!(gateway.poll_info().and_then(|info| info.event.key()), Some('2'));
        assert!(!gateway.is_idle());
        gateway.info_answered();
        assert!(gateway.is_idle());
    }

    #[test]
    fn what_comes_another_way_than_agreed_is_not_pressed() {
        let now = Instant::now();
        let mut gateway = Interworking::new(EVENTS, Way::Info);
        let mut tone: Vec<i16> = Tone::dtmf(Event(4)).unwrap().samples().take(1600).collect();
        let before = tone.clone();
        gateway.audio(now, &mut tone);
        assert_eq!(tone, before);
        gateway.info(&info('4'));
        assert_eq!(gateway.poll_info(), None);
        let mut gateway = Interworking::new(Way::Tones, Way::Tones);
        gateway.audio(now, &mut tone);
        gateway.event(now, 0, &[1, 0x8a, 3, 32]);
        assert!(tone == before && gateway.is_idle());
    }

    #[test]
    fn a_key_is_as_long_there_as_it_was_here_within_limits() {
        let now = Instant::now();
        let mut gateway = Interworking::new(Way::Events { clock_rate: 48_000 }, Way::Info);
        for (index, (duration, milliseconds)) in
            [(480, 100), (24_000, 500), (65_000, 1354)].into_iter().enumerate()
        {
            let [high, low] = u16::to_be_bytes(duration);
            gateway.event(now, 100_000 * index as u32, &[1, 0x8a, high, low]);
            let sent = gateway.poll_info().and_then(|info| info.duration).unwrap();
            assert_eq!(sent.as_millis(), milliseconds);
            gateway.info_answered();
        }
        gateway.event(now, 9_000_000, &[16, 0x8a, 3, 32]); // a hook flash is no key
        assert!(gateway.is_idle());
    }

    #[test]
    fn floods_of_digits_are_bounded_and_counted() {
        for to in [EVENTS, Way::Tones, Way::Info] {
            let mut gateway = Interworking::new(Way::Info, to);
            for _ in 0..MAX_QUEUED + 44 {
                gateway.info(&info('1'));
            }
            assert_eq!(gateway.refused(), 44);
        }
    }
}
