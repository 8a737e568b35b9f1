//! The quality of a call as a report for those who keep the network (RFC 6035).

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use rtp::audio_stream::{Format, Statistics};
use rtp::emodel::{self, Conditions, Quality};
use rtp::rtcp::extended::{UNAVAILABLE, VoipMetrics, milliseconds};
use sip_dialog::DialogId;
use sip_dialog::packages::voice_quality::{
    BurstGapLoss, Delay, Dialog, JitterBuffer, Kind, MediaAddress, Metrics, PacketLoss, Percent,
    QualityEstimates, Quoted, Rates, Score, SessionDescription, Signal, Switch, VoiceQualityReport,
};
use sip_message::headers::Date;

/// What estimates the quality.
const ALGORITHM: &str = "G.107";
/// JBA of a jitter buffer that adapts itself (RFC 3611 §4.7.6).
const ADAPTIVE: u8 = 3;
/// PLC of concealment that goes beyond repeating (RFC 3611 §4.7.6).
const ENHANCED: u8 = 2;

/// What a report says of a call besides its statistics.
#[derive(Clone, Debug)]
pub struct ReportedCall<'a> {
    /// The dialog.
    pub dialog: &'a DialogId,
    /// We called; otherwise we were called.
    pub outgoing: bool,
    /// Who we are: a URI, maybe with a name.
    pub local: &'a str,
    /// Who the peer is.
    pub remote: &'a str,
    /// Where we receive media, and the SSRC that we send with.
    pub local_media: (SocketAddr, u32),
    /// Where the peer's media comes from, and its SSRC.
    pub remote_media: (SocketAddr, u32),
    /// When media began.
    pub began: SystemTime,
    /// Up to when the statistics count.
    pub ended: SystemTime,
    /// The call is over, and this is its last report.
    pub last: bool,
    /// What was agreed on.
    pub format: &'a Format,
    /// What the peer said of our stream, if it did (RFC 3611 §4.7).
    pub heard_by_peer: Option<&'a VoipMetrics>,
}

/// The report of a session (RFC 6035 §4.5): cumulative, from the start of media on.
///
/// The network's loss is what never came; what came too late for the jitter buffer is discarded. R and MOS are estimates by the
/// E-model (ITU-T G.107), those for listening without the delay.
#[must_use]
pub fn quality_report(statistics: &Statistics, call: &ReportedCall<'_>) -> VoiceQualityReport {
    let (start, stop) = (date(call.began), date(call.ended));
    let session = session_description(call.format);
    let expected = statistics.session.received.expected;
    let late = statistics.jitter.late + statistics.jitter.overflowed;
    let (lost, discarded) = (statistics.session.received.fraction_lost(), share(late, expected));
    let round_trip = statistics.session.round_trip.map(|measured| measured.mean());
    let buffer = &statistics.jitter;
    let local = Metrics {
        session: session.clone(),
        jitter_buffer: JitterBuffer {
            adaptive: Some(ADAPTIVE),
            nominal: Some(milliseconds(buffer.target)),
            maximum: Some(milliseconds(buffer.target.max(buffer.delay))),
            ..JitterBuffer::default()
        },
        packet_loss: PacketLoss {
            network: Some(Percent::of(lost)),
            discarded: Some(Percent::of(discarded)),
            ..PacketLoss::default()
        },
        delay: Delay {
            round_trip: round_trip.map(milliseconds),
            end_system: Some(milliseconds(buffer.target + call.format.packet_duration())),
            interarrival_jitter: Some(milliseconds(statistics.session.received.jitter)),
            ..Delay::default()
        },
        quality: estimates(statistics, call.format, lost + discarded),
        ..Metrics::new(start, stop)
    };
    let told_by_peer = statistics.session.sent.reported.map(|reported| {
        let lost = u64::try_from(reported.lost).unwrap_or(0);
        (share(lost, statistics.session.sent.packets), reported.jitter)
    });
    let remote = (told_by_peer.is_some() || call.heard_by_peer.is_some()).then(|| {
        let mut remote = Metrics { session, ..Metrics::new(start, stop) };
        if let Some((lost, jitter)) = told_by_peer {
            remote.packet_loss.network = Some(Percent::of(lost));
            remote.delay.interarrival_jitter = Some(milliseconds(jitter));
            remote.delay.round_trip = round_trip.map(milliseconds);
        }
        if let Some(metrics) = call.heard_by_peer {
            take_voip_metrics(&mut remote, metrics);
        }
        remote
    });
    let DialogId { call_id, local_tag, remote_tag } = call.dialog;
    let (from, to) = if call.outgoing { (local_tag, remote_tag) } else { (remote_tag, local_tag) };
    let tag = |tag: &String| Some(tag.clone()).filter(|tag| !tag.is_empty());
    VoiceQualityReport {
        kind: Kind::Session { last: call.last },
        call_id: call_id.clone(),
        local_id: call.local.to_owned(),
        remote_id: call.remote.to_owned(),
        originator: if call.outgoing { call.local } else { call.remote }.to_owned(),
        local_address: address(call.local_media),
        remote_address: address(call.remote_media),
        local_group: None,
        remote_group: None,
        local_mac: None,
        remote_mac: None,
        local,
        remote,
        dialog: Some(Dialog { call_id: call_id.clone(), to_tag: tag(to), from_tag: tag(from) }),
    }
}

fn session_description(format: &Format) -> SessionDescription {
    let duration = format.packet_duration().as_millis().max(1);
    let codec = format.codec;
    SessionDescription {
        payload_type: Some(format.payload_type),
        codec: Some(Quoted(codec.name().to_owned())),
        sample_rates: Some(Rates(vec![codec.sample_rate()])),
        packets_per_second: u32::try_from(1000 / duration).ok(),
        frame_duration: u16::try_from(duration).ok(),
        frames_per_packet: Some(1),
        concealment: Some(ENHANCED),
        silence_suppression: Some(Switch(format.comfort_noise.is_some() || format.discontinuous)),
        ..SessionDescription::default()
    }
}

fn estimates(statistics: &Statistics, format: &Format, loss: f64) -> QualityEstimates {
    let listening =
        emodel::estimate(&Conditions { loss, codec: format.codec.impairment(), ..Conditions::default() });
    let Quality { r_factor, mos } = statistics.quality;
    QualityEstimates {
        listening_r: Some(rounded(listening.r_factor)),
        conversational_r: Some(rounded(r_factor)),
        listening_mos: Some(Score::of(listening.mos)),
        conversational_mos: Some(Score::of(mos)),
        algorithm: Some(Quoted(ALGORITHM.to_owned())),
        ..QualityEstimates::default()
    }
}

/// What the peer measured, in place of what its reports only hint at (RFC 6035 §4.6.2). What it did not measure is left out.
fn take_voip_metrics(remote: &mut Metrics, metrics: &VoipMetrics) {
    let percent = |share: u8| Some(Percent::of(f64::from(share) / 256.0));
    let known = |value: u8| Some(value).filter(|value| *value != UNAVAILABLE);
    let level = |level: i8| Some(level).filter(|level| *level != UNAVAILABLE as i8);
    let score = |tenths: u8| known(tenths).map(|tenths| Score::of(f64::from(tenths) / 10.0));
    remote.packet_loss = PacketLoss {
        network: percent(metrics.loss_rate),
        discarded: percent(metrics.discard_rate),
        ..PacketLoss::default()
    };
    remote.burst_gap_loss = BurstGapLoss {
        burst_density: percent(metrics.burst_density),
        burst_duration: Some(u32::from(metrics.burst_duration)),
        gap_density: percent(metrics.gap_density),
        gap_duration: Some(u32::from(metrics.gap_duration)),
        gap_threshold: Some(metrics.gap_threshold),
        ..BurstGapLoss::default()
    };
    remote.delay.end_system = Some(metrics.end_system_delay);
    if metrics.round_trip_delay != 0 {
        remote.delay.round_trip = Some(metrics.round_trip_delay);
    }
    remote.signal = Signal {
        signal: level(metrics.signal_level),
        noise: level(metrics.noise_level),
        residual_echo_return_loss: known(metrics.residual_echo_return_loss),
        ..Signal::default()
    };
    remote.jitter_buffer = JitterBuffer {
        adaptive: Some(metrics.receiver_configuration >> 4 & 3),
        rate: Some(metrics.receiver_configuration & 15),
        nominal: Some(metrics.jitter_buffer_nominal),
        maximum: Some(metrics.jitter_buffer_maximum),
        absolute_maximum: Some(metrics.jitter_buffer_absolute_maximum),
        ..JitterBuffer::default()
    };
    remote.session.concealment = Some(metrics.receiver_configuration >> 6);
    remote.quality = QualityEstimates {
        conversational_r: known(metrics.r_factor),
        external_r_in: known(metrics.external_r_factor),
        listening_mos: score(metrics.mos_listening),
        conversational_mos: score(metrics.mos_conversational),
        ..QualityEstimates::default()
    };
}

fn address((address, ssrc): (SocketAddr, u32)) -> MediaAddress {
    MediaAddress { address: address.ip().to_canonical(), port: address.port(), ssrc }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

fn rounded(r_factor: f64) -> u8 {
    r_factor.clamp(0.0, 120.0).round() as u8
}

/// To the second; before 1970 and behind 9999 the nearest that there is.
fn date(time: SystemTime) -> Date {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(253_402_300_799);
    Date::from_unix_seconds(seconds).unwrap_or(Date::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION};
    use rtp::g711::Law;
    use rtp::ntp::NtpTimestamp;
    use rtp::session::{self, Channel, Remote};
    use std::time::{Duration, Instant};

    const ALICE: &str = "192.0.2.1:4000";
    const BOB: &str = "198.51.100.7:5000";

    fn format() -> Format {
        Format::new(Law::A, Some(101))
    }

    /// Alice's statistics after a call of `seconds` with Bob, 40 ms away, of whose packets every twentieth is lost; every
    /// fiftieth of hers.
    fn call(seconds: u32) -> Statistics {
        let mut now = Instant::now();
        let stream = |seed, peer: &str| {
            let ntp = NtpTimestamp::from_unix(Duration::from_secs(1_700_000_000));
            let session = session::Config::new([seed; 32], "party@example.com", ntp);
            let config = Config { session, jitter: Default::default(), format: format() };
            let mut stream = AudioStream::new(now, config);
            stream.set_remote(now, Remote::port_pair(peer.parse().unwrap()));
            stream
        };
        let (mut alice, mut bob) = (stream(1, BOB), stream(2, ALICE));
        let mut underway = Vec::new();
        for _ in 0..seconds * 50 {
            for (index, party, from) in [(0, &mut alice, ALICE), (1, &mut bob, BOB)] {
                party.tick(now, &[1000; FRAME]);
                party.handle_timeout(now);
                while let Some(transmit) = party.poll_transmit() {
                    underway.push((now + Duration::from_millis(40), index, from, transmit));
                }
                let _ = party.next_frame(now);
            }
            now += FRAME_DURATION;
            let (arrived, later): (Vec<_>, Vec<_>) = underway.into_iter().partition(|(due, ..)| *due <= now);
            underway = later;
            for (at, index, from, transmit) in arrived {
                let sequence = u16::from_be_bytes([transmit.payload[2], transmit.payload[3]]);
                let every = if index == 0 { 50 } else { 20 };
                if transmit.channel == Channel::Rtp && sequence % every == 0 {
                    continue;
                }
                let mut from: SocketAddr = from.parse().unwrap();
                from.set_port(from.port() + u16::from(transmit.channel == Channel::Rtcp));
                let to = if index == 0 { &mut bob } else { &mut alice };
                let _ = to.receive(at, transmit.channel, from, &transmit.payload);
            }
        }
        alice.statistics()
    }

    fn reported<'a>(dialog: &'a DialogId, format: &'a Format, outgoing: bool) -> ReportedCall<'a> {
        let began = UNIX_EPOCH + Duration::from_secs(1_097_432_623);
        ReportedCall {
            dialog,
            outgoing,
            local: "Alice <sip:alice@example.org>",
            remote: "<sip:bob@example.net>",
            local_media: (ALICE.parse().unwrap(), 0x1111),
            remote_media: (BOB.parse().unwrap(), 0x2222),
            began,
            ended: began + Duration::from_secs(60),
            last: true,
            format,
            heard_by_peer: None,
        }
    }

    fn dialog() -> DialogId {
        DialogId { call_id: "1@a".into(), local_tag: "mine".into(), remote_tag: "theirs".into() }
    }

    #[test]
    fn rfc6035_4_5_a_call_with_losses_both_ways_is_reported_as_it_was() {
        let (dialog, format) = (dialog(), format());
        let statistics = call(60);
        let report = quality_report(&statistics, &reported(&dialog, &format, true));
        assert_eq!(VoiceQualityReport::parse(report.to_string().as_bytes()).as_ref(), Ok(&report));
        assert_eq!(report.kind, Kind::Session { last: true });
        assert_eq!(report.local.start.to_rfc3339(), "2004-10-10T18:23:43Z");
        assert_eq!(report.local.stop.to_rfc3339(), "2004-10-10T18:24:43Z");

        let percent = |loss: &PacketLoss| loss.network.unwrap().percent();
        let lost = percent(&report.local.packet_loss);
        assert!((lost - 5.0).abs() < 0.2, "{lost} %");
        assert_eq!(report.local.delay.round_trip, Some(80));
        assert_eq!(report.local.session.packets_per_second, Some(50));
        assert_eq!(report.local.session.codec, Some(Quoted("PCMA".into())));
        let quality = &report.local.quality;
        let mos = quality.conversational_mos.unwrap().score();
        assert!((mos - statistics.quality.mos).abs() < 0.001);
        assert!(quality.listening_mos.unwrap().score() >= mos, "delay takes nothing from listening");
        // Bob's reports tell of the other direction.
        let remote = report.remote.unwrap();
        let lost = percent(&remote.packet_loss);
        assert!((lost - 2.0).abs() < 0.5, "{lost} %");
        assert_eq!(remote.quality, QualityEstimates::default());
    }

    #[test]
    fn rfc6035_4_6_1_who_called_is_the_originator_and_has_the_from_tag() {
        let (dialog, format) = (dialog(), format());
        let tags = |outgoing| {
            let report = quality_report(&Statistics::default(), &reported(&dialog, &format, outgoing));
            let Dialog { from_tag, to_tag, .. } = report.dialog.unwrap();
            (report.originator == report.local_id, from_tag.unwrap(), to_tag.unwrap())
        };
        assert_eq!(tags(true), (true, "mine".into(), "theirs".into()));
        assert_eq!(tags(false), (false, "theirs".into(), "mine".into()));
    }

    /// RFC 6035 §4.6.2: shares of 256, and what was not measured is left out.
    #[test]
    fn what_the_peer_measured_stands_in_the_remote_metrics() {
        let (dialog, format) = (dialog(), format());
        let metrics = VoipMetrics {
            ssrc: 1,
            loss_rate: 64,
            discard_rate: 0,
            burst_density: 128,
            gap_density: 2,
            burst_duration: 300,
            gap_duration: 5000,
            round_trip_delay: 90,
            end_system_delay: 70,
            signal_level: -20,
            noise_level: 127,
            residual_echo_return_loss: UNAVAILABLE,
            gap_threshold: 16,
            r_factor: 80,
            external_r_factor: UNAVAILABLE,
            mos_listening: 41,
            mos_conversational: UNAVAILABLE,
            receiver_configuration: 0b1011_0010,
            jitter_buffer_nominal: 40,
            jitter_buffer_maximum: 80,
            jitter_buffer_absolute_maximum: 200,
        };
        let call = ReportedCall { heard_by_peer: Some(&metrics), ..reported(&dialog, &format, true) };
        let report = quality_report(&Statistics::default(), &call);
        let remote = report.remote.as_ref().unwrap();
        let (signal, buffer, quality) = (&remote.signal, &remote.jitter_buffer, &remote.quality);
        assert_eq!(remote.packet_loss.network.unwrap().percent(), 25.0);
        assert_eq!(remote.burst_gap_loss.burst_density.unwrap().percent(), 50.0);
        assert_eq!((signal.signal, signal.noise, signal.residual_echo_return_loss), (Some(-20), None, None));
        assert_eq!((buffer.adaptive, buffer.rate, remote.session.concealment), (Some(3), Some(2), Some(2)));
        assert_eq!((quality.conversational_r, quality.external_r_in), (Some(80), None));
        assert_eq!((quality.listening_mos, quality.conversational_mos), (Some(Score::of(4.1)), None));
        assert_eq!(VoiceQualityReport::parse(report.to_string().as_bytes()).as_ref(), Ok(&report));
    }
}
