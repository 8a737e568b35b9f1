//! RTP and RTCP sessions, jitter buffer, G.711, telephone events and audio helpers, without I/O.
//!
//! Everything here is a pure core: datagrams and instants go in, datagrams and events come out. There is no socket,
//! no clock and no source of randomness inside, so the same code runs on a network and in a simulation, and a test
//! of an hour's call takes a second.
//!
//! | module | what | RFC |
//! |---|---|---|
//! | [`audio_stream`] | one audio stream of a call, composed of all below | |
//! | [`video_stream`] | one video stream of a call: encoded frames in and out, what is lost sent again | |
//! | [`session`] | RTP session, RTCP timing, symmetric RTP | 3550, 4961, 5761 |
//! | [`srtp`] | SRTP and SRTCP: packets encrypted and authenticated | 3711, 6188, 7714 |
//! | [`packet`], [`extension`], [`rtcp`], [`demux`] | what is on the wire, feedback and extended reports too | 3550 §5 §6, 8285, 4585, 5104, 3611, 7983 |
//! | [`relay`] | media passed on between two parties, re-encrypted and re-written if need be | 3550 §7 |
//! | [`retransmission`] | packets sent again | 4588 |
//! | [`jitter`], [`concealment`] | playout | |
//! | [`codec`] | G.711, G.722, L16, Opus (feature `opus`), comfort noise, redundancy | 3551, 3389, 2198, 6716, 7587 |
//! | [`g711`] | A-law and µ-law | 3551, ITU-T G.711 |
//! | [`dtmf`] | digits as events, tones and bodies of INFO, and from each to each other | 4733, ITU-T Q.23, Q.24 |
//! | [`mixer`] | conferences: N-1 mixing, who speaks | |
//! | [`statistics`], [`emodel`] | counters, estimated quality | 3550 §6.4, ITU-T G.107 |
//! | [`video`] | H.264 and VP8 in packets, descriptors of VP9 and AV1, key frames | 6184, 7741, 9628 |
//! | [`audio`] | WAV files, both sides of a call in one of them, tones, a speech-like signal, correlation | |
//!
//! [`guide`] goes through calls over sockets, recordings, keys, digits, relays, conferences and pictures.
//!
//! Send a signal to a peer and find it again in what the peer heard:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use rtp::audio::{correlate::correlate, speech::speech_like};
//! use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format};
//! use rtp::g711::Law;
//! use rtp::ntp::NtpTimestamp;
//! use rtp::session::{self, Remote};
//!
//! let mut now = Instant::now();
//! let config = |seed| Config {
//!     session: session::Config::new([seed; 32], "me@example.com", NtpTimestamp::from_unix(Duration::ZERO)),
//!     jitter: Default::default(),
//!     format: Format::new(Law::Mu, Some(101)),
//! };
//! let (mut alice, mut bob) = (AudioStream::new(now, config(1)), AudioStream::new(now, config(2)));
//! let (at_alice, at_bob) = ("192.0.2.1:4000".parse()?, "192.0.2.2:4000".parse()?);
//! alice.set_remote(now, Remote::port_pair(at_bob));
//! bob.set_remote(now, Remote::port_pair(at_alice));
//!
//! let (speech, mut heard) = (speech_like(16_000, 1), Vec::new());
//! for frame in speech.as_chunks::<FRAME>().0 {
//!     alice.tick(now, frame);
//!     while let Some(transmit) = alice.poll_transmit() {
//!         let _ = bob.receive(now, transmit.channel, at_alice, &transmit.payload);
//!     }
//!     heard.extend(bob.next_frame(now));
//!     now += FRAME_DURATION;
//! }
//! assert!(correlate(&speech, &heard).matched > 0.9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audio;
pub mod audio_stream;
pub mod codec;
pub mod concealment;
pub mod demux;
pub mod dtmf;
pub mod emodel;
pub mod extension;
pub mod g711;
#[doc = include_str!("guide.md")]
pub mod guide {}
pub mod jitter;
pub mod mixer;
pub mod ntp;
pub mod packet;
mod protection;
mod random;
pub mod relay;
pub mod retransmission;
pub mod rtcp;
pub mod session;
pub mod srtp;
pub mod statistics;
pub mod video;
pub mod video_stream;
