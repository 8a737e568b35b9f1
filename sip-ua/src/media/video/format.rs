//! Video as the phone offers it, and what is to be sent by what was agreed.

use std::net::SocketAddr;

use rtp::video::Codec;
use rtp::video_stream::{Feedback, Format};
use sdp::{LocalStream, MediaStream, Payload, RtcpMux};

/// The profile and level of H.264 that nearly everything decodes: Constrained Baseline, 3.1 (1280x720 at 30 frames a second).
pub(crate) const PROFILE_LEVEL_ID: &str = "42e01f";
/// What is said and heard at once (RFC 4585 §4.2, RFC 5104 §7.1).
const NACK: &str = "nack";
const PLI: &str = "nack pli";
const FIR: &str = "ccm fir";

/// What the phone is told of video.
#[derive(Clone, Debug)]
pub(crate) struct VideoOptions {
    /// Most wanted first.
    pub(crate) codecs: Vec<Codec>,
    /// What the phone decodes of H.264.
    pub(crate) profile_level_id: String,
}

impl VideoOptions {
    /// What is offered and accepted at an address. Feedback is offered in `RTP/AVP`, for peers without it to ignore, as protection
    /// that may be had or not is (RFC 8643 §3.1); `RTP/AVPF` is accepted as well.
    pub(crate) fn describe(&self, told: SocketAddr) -> LocalStream {
        let mut codecs: Vec<sdp::Codec> = Vec::new();
        for codec in &self.codecs {
            let formats = match codec {
                Codec::H264 => {
                    vec![
                        sdp::Codec::h264(&self.profile_level_id, 1),
                        sdp::Codec::h264(&self.profile_level_id, 0),
                    ]
                }
                Codec::Vp8 => vec![sdp::Codec::vp8()],
                _ => Vec::new(),
            };
            for format in formats {
                if !codecs.contains(&format) {
                    codecs.push(format);
                }
            }
        }
        let repairs: Vec<_> = codecs.iter().map(sdp::Codec::retransmission).collect();
        codecs.extend(repairs);
        LocalStream::video(told, codecs)
            .with_rtcp_mux(RtcpMux::Negotiate)
            .with_options(|more| more.feedback = [NACK, PLI, FIR].map(str::to_owned).to_vec())
    }
}

/// What is sent and understood after offer and answer, and the parameters that the peer wants it with.
pub(super) fn agreed(video: &MediaStream) -> Option<(Format, Option<String>)> {
    let (payload, codec) = video.send.iter().find_map(|payload| Some((payload, codec_of(payload)?)))?;
    let mut format = Format::new(codec, payload.payload_type);
    // Without the parameter mode 0 is meant (RFC 6184 §8.1).
    let mode = payload.codec.parameter("packetization-mode");
    format.single_units = codec == Codec::H264 && !matches!(mode, Some("1" | "2"));
    format.retransmission = video.retransmission(payload.payload_type).map(|repair| repair.send.payload_type);
    format.receive =
        video.receive.iter().filter_map(|payload| Some((payload.payload_type, codec_of(payload)?))).collect();
    let repairs = video.companions().iter().filter(|companion| companion.receive.codec.is_retransmission());
    format.receive_retransmission = repairs
        .filter_map(|companion| {
            let repaired = companion.receive.codec.parameter("apt")?.parse().ok()?;
            Some((companion.receive.payload_type, repaired))
        })
        .collect();
    let takes = |message: &str| {
        video.feedback().iter().any(|feedback| {
            feedback.message == message
                && feedback.payload_type.is_none_or(|number| number == payload.payload_type)
        })
    };
    format.feedback = Feedback { nack: takes(NACK), pli: takes(PLI), fir: takes(FIR) };
    Some((format, payload.codec.fmtp().map(str::to_owned)))
}

fn codec_of(payload: &Payload) -> Option<Codec> {
    Codec::from_name(payload.codec.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdp::{LocalMedia, OfferAnswer, SessionDescription};

    /// Our answer, and what is agreed on.
    fn answer(offer: &str) -> (String, Option<(Format, Option<String>)>) {
        let options =
            VideoOptions { codecs: vec![Codec::Vp8, Codec::H264], profile_level_id: PROFILE_LEVEL_ID.into() };
        let at = "192.0.2.2:4000".parse().unwrap();
        let mut machine = OfferAnswer::new(LocalMedia::new([options.describe(at)]), 1).unwrap();
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        let offer = SessionDescription::parse(format!("{head}{offer}").as_bytes()).unwrap();
        let answer = machine.receive_offer(&offer).unwrap().to_string();
        (answer, machine.current().unwrap().video().and_then(agreed))
    }

    /// RFC 6184 §8.2.2, RFC 4588 §8, RFC 4585 §4.2: by the peer's numbers and parameters, in the profile of its offer.
    #[test]
    fn rfc4585_4_2_an_offer_with_early_feedback_is_taken_as_it_is() {
        let (answer, agreed) = answer(
            "m=video 5000 RTP/AVPF 99 97 98\r\na=rtpmap:97 H264/90000\r\n\
             a=fmtp:97 packetization-mode=1;profile-level-id=42e00d\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\n\
             a=rtpmap:99 H265/90000\r\na=rtcp-fb:97 nack pli\r\na=rtcp-fb:* nack\r\n",
        );
        assert!(answer.contains("m=video 4000 RTP/AVPF 97 98\r\n"), "{answer}");
        let (format, parameters) = agreed.unwrap();
        let expected = Format {
            feedback: Feedback { nack: true, pli: true, fir: false },
            ..Format::new(Codec::H264, 97).with_repair(98, 98)
        };
        assert_eq!(format, expected);
        assert!(parameters.unwrap().contains("profile-level-id=42e00d"));
    }

    /// RFC 6184 §8.1: packetization mode 0 is meant where nothing is said.
    #[test]
    fn rfc6184_8_1_a_peer_that_says_nothing_takes_single_units() {
        let (_, agreed) = answer(
            "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\n",
        );
        let (format, _) = agreed.unwrap();
        assert_eq!(format, Format { single_units: true, ..Format::new(Codec::H264, 96) });
    }
}
