//! How the sound of calls travels, as the command line says it: `--codecs`, `--srtp`; and who hears how it was.

use clap::{Args, ValueEnum};
use sip_ua::{Codec, PhoneBuilder, Srtp};

/// Codecs and protection of calls.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SoundArgs {
    /// The codecs of calls, most wanted first, separated by commas; G.711 in both laws without it.
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',')]
    pub(crate) codecs: Vec<CodecName>,

    /// Protect the media with SRTP, keys by SDES (RFC 4568): only as secret as the signalling that carries them.
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) srtp: Option<SrtpWhen>,

    /// Do not send pauses but describe them, to peers that take comfort noise (RFC 3389).
    #[arg(long)]
    pub(crate) silence_suppression: bool,

    /// Repeat each packet of sound in this many of those behind it, for peers that take it (RFC 2198).
    #[arg(long, value_name = "PACKETS", value_parser = clap::value_parser!(u8).range(0..=4), default_value_t = 0)]
    pub(crate) redundancy: u8,

    /// Report the quality of each call to this collector when the call is over (RFC 6035).
    #[arg(long, value_name = "URI")]
    pub(crate) quality_reports: Option<String>,
}

/// A codec by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecName {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722, wideband.
    G722,
    /// Opus.
    #[cfg(feature = "opus")]
    Opus,
    /// Linear samples of 16 kHz.
    L16,
}

impl CodecName {
    fn codec(self) -> Codec {
        match self {
            Self::Pcmu => Codec::PCMU,
            Self::Pcma => Codec::PCMA,
            Self::G722 => Codec::G722,
            #[cfg(feature = "opus")]
            Self::Opus => Codec::Opus,
            Self::L16 => Codec::L16 { sample_rate: 16_000, channels: 1 },
        }
    }
}

/// When media is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SrtpWhen {
    /// Never.
    Off,
    /// If the other side can.
    Optional,
    /// Always: who cannot gets no call.
    Required,
}

impl SoundArgs {
    /// A phone that does so.
    pub(crate) fn apply(&self, builder: PhoneBuilder) -> PhoneBuilder {
        let codecs: Vec<Codec> = self.codecs.iter().map(|name| name.codec()).collect();
        let mut builder =
            builder.codecs(&codecs).silence_suppression(self.silence_suppression).redundancy(self.redundancy);
        if let Some(collector) = &self.quality_reports {
            builder = builder.quality_reports(collector);
        }
        match self.srtp {
            None | Some(SrtpWhen::Off) => builder,
            Some(SrtpWhen::Optional) => builder.srtp(Srtp::Optional),
            Some(SrtpWhen::Required) => builder.srtp(Srtp::Required),
        }
    }
}
