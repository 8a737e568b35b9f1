//! The lines of metrics (RFC 6035 §4.6.1), as RTCP XR counts them (RFC 3611 §4.7).

use std::fmt;

use sip_message::headers::Date;

use super::parameters::{Parameters, Percent, Quoted, Rates, Score, Switch, write_parameters};

/// A line of parameters, each of which may be missing.
macro_rules! line {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: Option<$kind>,)*
            /// What is known to others: names, and values where there are some.
            pub extensions: Vec<(String, Option<String>)>,
        }

        impl $name {
            pub(super) fn parse(text: &str) -> Self {
                let mut parameters = Parameters::read(text);
                Self { $($field: parameters.take($word),)* extensions: parameters.rest() }
            }

            pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let known: &[(&str, Option<String>)] =
                    &[$(($word, self.$field.as_ref().map(ToString::to_string)),)*];
                write_parameters(f, known, &self.extensions)
            }

            /// Whether it says nothing.
            pub fn is_empty(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

line! {
    /// The codec and its packets (§4.6.2.3).
    SessionDescription {
        /// Payload type.
        payload_type: u8 = "PT",
        /// Name of the codec.
        codec: Quoted = "PD",
        /// Hz; of codecs that change it the lowest and the highest.
        sample_rates: Rates = "SR",
        /// Packets a second.
        packets_per_second: u32 = "PPS",
        /// Milliseconds of a frame.
        frame_duration: u16 = "FD",
        /// Octets of a frame.
        frame_octets: u32 = "FO",
        /// Frames in a packet.
        frames_per_packet: u8 = "FPP",
        /// `fmtp` of the description.
        format_parameters: Quoted = "FMTP",
        /// Concealment: 0 unspecified, 1 disabled, 2 enhanced, 3 standard.
        concealment: u8 = "PLC",
        /// Pauses are not sent.
        silence_suppression: Switch = "SSUP",
    }
}

line! {
    /// The jitter buffer, in milliseconds (§4.6.2.6).
    JitterBuffer {
        /// 0 unknown, 2 fixed, 3 adaptive.
        adaptive: u8 = "JBA",
        /// How fast it adapts, 0 to 15.
        rate: u8 = "JBR",
        /// Delay now.
        nominal: u16 = "JBN",
        /// Delay at most in its present state.
        maximum: u16 = "JBM",
        /// Delay that it could ever have.
        absolute_maximum: u16 = "JBX",
    }
}

line! {
    /// What did not come, or not in time (§4.6.2.7).
    PacketLoss {
        /// Lost on the way.
        network: Percent = "NLR",
        /// Discarded by the jitter buffer.
        discarded: Percent = "JDR",
    }
}

line! {
    /// Losses by bursts and what is between them (§4.6.2.8).
    BurstGapLoss {
        /// Share lost within bursts.
        burst_density: Percent = "BLD",
        /// Mean length of a burst in milliseconds.
        burst_duration: u32 = "BD",
        /// Share lost between bursts.
        gap_density: Percent = "GLD",
        /// Mean length of a gap in milliseconds.
        gap_duration: u32 = "GD",
        /// Gmin, packets in sequence that end a burst.
        gap_threshold: u8 = "GMIN",
    }
}

line! {
    /// Delays in milliseconds (§4.6.2.9).
    Delay {
        /// There and back (RFC 3550 §6.4.1).
        round_trip: u16 = "RTD",
        /// In this end system.
        end_system: u16 = "ESD",
        /// One way, measured (RFC 2679).
        one_way: u16 = "OWD",
        /// Half of the round trip and both end systems.
        symmetric_one_way: u16 = "SOWD",
        /// Interarrival jitter (RFC 3550 §6.4.1).
        interarrival_jitter: u16 = "IAJ",
        /// Mean absolute jitter (ITU-T G.1020).
        mean_absolute_jitter: u16 = "MAJ",
    }
}

line! {
    /// Levels in dBm0 and dB (§4.6.2.10).
    Signal {
        /// Speech.
        signal: i8 = "SL",
        /// Noise.
        noise: i8 = "NL",
        /// Residual echo return loss.
        residual_echo_return_loss: u8 = "RERL",
    }
}

line! {
    /// How it sounds, and who says so (§4.6.2.11). R goes to 95, with wideband codecs to 120.
    QualityEstimates {
        /// R for listening.
        listening_r: u8 = "RLQ",
        /// Its algorithm.
        listening_r_algorithm: Quoted = "RLQEstAlg",
        /// R for conversation.
        conversational_r: u8 = "RCQ",
        /// Its algorithm.
        conversational_r_algorithm: Quoted = "RCQEstAlg",
        /// R of the segment beyond this one, towards us.
        external_r_in: u8 = "EXTRI",
        /// Its algorithm.
        external_r_in_algorithm: Quoted = "ExtRIEstAlg",
        /// R of the segment beyond this one, from us.
        external_r_out: u8 = "EXTRO",
        /// Its algorithm.
        external_r_out_algorithm: Quoted = "ExtROEstAlg",
        /// MOS for listening.
        listening_mos: Score = "MOSLQ",
        /// Its algorithm.
        listening_mos_algorithm: Quoted = "MOSLQEstAlg",
        /// MOS for conversation.
        conversational_mos: Score = "MOSCQ",
        /// Its algorithm.
        conversational_mos_algorithm: Quoted = "MOSCQEstAlg",
        /// The algorithm of all of them.
        algorithm: Quoted = "QoEEstAlg",
    }
}

/// What one side measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// When what was measured began.
    pub start: Date,
    /// When it ended.
    pub stop: Date,
    /// Codec and packets.
    pub session: SessionDescription,
    /// Jitter buffer.
    pub jitter_buffer: JitterBuffer,
    /// Losses.
    pub packet_loss: PacketLoss,
    /// Losses by bursts.
    pub burst_gap_loss: BurstGapLoss,
    /// Delays.
    pub delay: Delay,
    /// Levels.
    pub signal: Signal,
    /// Quality.
    pub quality: QualityEstimates,
    /// Lines known to others.
    pub extensions: Vec<String>,
}

impl Metrics {
    /// Nothing but a time.
    pub fn new(start: Date, stop: Date) -> Self {
        Self {
            start,
            stop,
            session: SessionDescription::default(),
            jitter_buffer: JitterBuffer::default(),
            packet_loss: PacketLoss::default(),
            burst_gap_loss: BurstGapLoss::default(),
            delay: Delay::default(),
            signal: Signal::default(),
            quality: QualityEstimates::default(),
            extensions: Vec::new(),
        }
    }
}
