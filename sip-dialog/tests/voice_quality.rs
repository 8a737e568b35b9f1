//! Reports of voice quality: the examples of RFC 6035, what reporters write, and what is written reads back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::DocumentError;
use sip_dialog::packages::voice_quality::{
    Alert, BurstGapLoss, Delay, Dialog, Direction, JitterBuffer, Kind, MediaAddress, Metrics, PacketLoss,
    Percent, QualityEstimates, Quoted, Rates, Score, SessionDescription, Severity, Signal, Switch,
    VoiceQualityReport,
};
use sip_message::headers::Date;

/// The example of RFC 6035 §4.7.1, continuation lines, missing white space and the SSRC without 0x included.
const SESSION: &[u8] = include_bytes!("../../fuzz/seeds/packages/voice-quality");
/// That of §4.7.4.
const ALERT: &[u8] = include_bytes!("../../fuzz/seeds/packages/voice-quality-alert");

fn read(text: &str) -> Result<VoiceQualityReport, DocumentError> {
    VoiceQualityReport::parse(text.as_bytes())
}

#[test]
fn rfc6035_4_7_1_a_report_at_the_end_of_a_session() {
    let report = VoiceQualityReport::parse(&SESSION[1..]).unwrap();
    assert_eq!(report.kind, Kind::Session { last: true });
    assert_eq!(
        (report.call_id.as_str(), report.local_id.as_str()),
        ("6dg37f1890463", "Alice <sip:alice@example.org>")
    );
    assert_eq!(report.remote_group.as_deref(), Some("example-gateway-09871"));
    assert_eq!(report.local_mac.as_deref(), Some("00:1f:5b:cc:21:0f"));
    let address = MediaAddress { address: "10.10.1.100".parse().unwrap(), port: 5000, ssrc: 0x1a3b_5c7d };
    assert_eq!(report.local_address, address);
    let local = &report.local;
    assert_eq!(local.start.to_rfc3339(), "2004-10-10T18:23:43Z");
    assert_eq!(
        local.session,
        SessionDescription {
            payload_type: Some(0),
            codec: Some(Quoted("PCMU".into())),
            sample_rates: Some(Rates(vec![8000])),
            packets_per_second: Some(50),
            frame_duration: Some(20),
            frame_octets: Some(160),
            frames_per_packet: Some(1),
            concealment: Some(3),
            silence_suppression: Some(Switch(true)),
            ..SessionDescription::default()
        }
    );
    assert_eq!((local.jitter_buffer.adaptive, local.jitter_buffer.absolute_maximum), (Some(3), Some(120)));
    assert_eq!(local.packet_loss.network, Some(Percent::of(0.05)));
    assert_eq!(
        (local.burst_gap_loss.gap_duration, local.burst_gap_loss.gap_threshold),
        (Some(500), Some(16))
    );
    assert_eq!((local.delay.round_trip, local.delay.mean_absolute_jitter), (Some(200), Some(10)));
    assert_eq!((local.signal.signal, local.signal.noise), (Some(-18), Some(-50)));
    assert_eq!(local.quality.listening_mos, Some(Score::of(4.1)));
    assert_eq!(local.quality.algorithm, Some(Quoted("P.564".into())));
    assert_eq!(report.remote.as_ref().unwrap().signal.noise, Some(-45));
    let dialog = report.dialog.as_ref().unwrap();
    assert_eq!(dialog.call_id, "1890463548@alice.example.org");
    assert_eq!((dialog.to_tag.as_deref(), dialog.from_tag.as_deref()), (Some("8472761"), Some("9123dh311")));
    assert_eq!(read(&report.to_string()), Ok(report));
}

#[test]
fn rfc6035_4_7_4_an_alert() {
    let report = VoiceQualityReport::parse(&ALERT[1..]).unwrap();
    let alert = Alert { metric: "RLQ".into(), severity: Severity::Warning, direction: Direction::Local };
    assert_eq!(report.kind, Kind::Alert(alert));
    assert_eq!(
        (report.local.quality.listening_r, report.remote.as_ref().unwrap().quality.listening_r),
        (Some(60), Some(90))
    );
    // Its EXTR is none of the grammar's parameters.
    assert_eq!(report.local.quality.extensions, [("EXTR".into(), Some("90".into()))]);
    assert_eq!(read(&report.to_string()), Ok(report));
}

const SMALL: &str = "VQIntervalReport\nCallID:1\nLocalID:sip:a@b\nRemoteID:sip:c@d\nOrigID:sip:a@b\n\
    LocalAddr:IP=[2001:db8::1] PORT=4000 SSRC=0x1\nRemoteAddr: SSRC = 0xff IP = 192.0.2.1 PORT = 2\n\
    LocalMetrics:\nTimestamps:START=2020-01-01T00:00:00.123Z STOP=2020-01-01T00:01:00+00:00\n";

#[test]
fn what_reporters_write() {
    let report = read(SMALL).unwrap();
    assert_eq!(report.kind, Kind::Interval { last: false });
    assert_eq!(report.local_address.address, "2001:db8::1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!((report.remote_address.port, report.remote_address.ssrc), (2, 255));
    assert_eq!((&report.remote, &report.dialog, &report.local_group), (&None, &None, &None));
    let more = format!(
        "{SMALL}sessiondesc: FMTP=\"a=1; b=2\" SR=8000;16000 pd=\"my codec\" X-New X-Of=7\nSIGNAL:SL=loud NL=-50\n\
         PacketLoss:NLR=100.0 JDR=0.25\nX-Line: anything at all\n"
    );
    let report = read(&more).unwrap();
    let session = &report.local.session;
    assert_eq!(session.format_parameters, Some(Quoted("a=1; b=2".into())));
    assert_eq!(
        (&session.sample_rates, &session.codec),
        (&Some(Rates(vec![8000, 16_000])), &Some(Quoted("my codec".into())))
    );
    assert_eq!(session.extensions, [("X-New".into(), None), ("X-Of".into(), Some("7".into()))]);
    // What is no level is kept as it is.
    assert_eq!((report.local.signal.signal, report.local.signal.noise), (None, Some(-50)));
    assert_eq!(report.local.packet_loss.discarded.unwrap().percent(), 0.25);
    assert_eq!(report.local.extensions, ["X-Line: anything at all"]);
    assert_eq!(read(&report.to_string()), Ok(report));
}

#[test]
fn what_is_no_report() {
    let missing = |what| Err(DocumentError::Malformed { element: "VQReportEvent", what });
    assert_eq!(read(""), Err(DocumentError::Line(1)));
    assert_eq!(read("VQOther: CallTerm\n"), Err(DocumentError::Line(1)));
    assert_eq!(read("VQAlertReport: Type=NLR Severity=Terrible Dir=local\n"), Err(DocumentError::Line(1)));
    assert_eq!(read(&SMALL.replace("OrigID", "Other")), missing("OrigID"));
    assert_eq!(read(&SMALL.replace("CallID:1", "CallID:")), missing("CallID"));
    assert_eq!(read(&SMALL.replace("192.0.2.1", "192.0.2")), missing("RemoteAddr"));
    assert_eq!(read(&SMALL.replace("0xff", "0x1ffffffff")), missing("RemoteAddr"));
    assert_eq!(read(&SMALL.replace("STOP", "END")), missing("Timestamps"));
    assert_eq!(read(&SMALL.replace("LocalMetrics", "Else")), missing("LocalMetrics"));
    assert_eq!(read(&format!("{SMALL}a\0b\n")), Err(DocumentError::Line(10)));
    assert_eq!(read(&format!("{SMALL}{}", "X: 1\n".repeat(300))), Err(DocumentError::TooMany("lines")));
    assert_eq!(read(&" ".repeat(600_000)), Err(DocumentError::TooLong));
}

/// Texts that a line can have: no control characters, no white space at the ends.
fn text() -> impl Strategy<Value = String> {
    "[!-~\u{e9}]([ -~\u{e9}]{0,20}[!-~\u{e9}])?"
}

fn quoted() -> impl Strategy<Value = Option<Quoted>> {
    prop::option::of("[ -!#-~]{0,12}|[!#-~][!-~]{0,8}".prop_map(Quoted))
}

fn percent() -> impl Strategy<Value = Option<Percent>> {
    prop::option::of((0.0..=1.0).prop_map(Percent::of))
}

fn score() -> impl Strategy<Value = Option<Score>> {
    prop::option::of((0.0..5.0).prop_map(Score::of))
}

type Extensions = Vec<(String, Option<String>)>;

fn extensions() -> impl Strategy<Value = Extensions> {
    prop::collection::vec(("X-[A-Za-z0-9\"]{1,8}", prop::option::of("[!#-~][!-~]{0,8}|[ -!#-~]{0,8}")), 0..3)
}

prop_compose! {
    fn date()(seconds in -62_167_219_200i64..=253_402_300_799) -> Date {
        Date::from_unix_seconds(seconds).unwrap()
    }
}

prop_compose! {
    fn session()(
        codec in quoted(), format_parameters in quoted(), rates in prop::option::of(prop::collection::vec(any::<u32>(), 1..8)),
        numbers in any::<(Option<u8>, Option<u32>, Option<u16>, Option<u32>, Option<u8>, Option<u8>, Option<bool>)>(),
        extensions in extensions(),
    ) -> SessionDescription {
        SessionDescription {
            payload_type: numbers.0, codec, sample_rates: rates.map(Rates), packets_per_second: numbers.1,
            frame_duration: numbers.2, frame_octets: numbers.3, frames_per_packet: numbers.4, format_parameters,
            concealment: numbers.5, silence_suppression: numbers.6.map(Switch), extensions,
        }
    }
}

prop_compose! {
    fn quality()(
        r in any::<[Option<u8>; 4]>(), mos in (score(), score()),
        algorithms in (quoted(), quoted(), quoted(), quoted(), quoted(), quoted(), quoted()), extensions in extensions(),
    ) -> QualityEstimates {
        QualityEstimates {
            listening_r: r[0], listening_r_algorithm: algorithms.0, conversational_r: r[1],
            conversational_r_algorithm: algorithms.1, external_r_in: r[2], external_r_in_algorithm: algorithms.2,
            external_r_out: r[3], external_r_out_algorithm: algorithms.3, listening_mos: mos.0,
            listening_mos_algorithm: algorithms.4, conversational_mos: mos.1, conversational_mos_algorithm: algorithms.5,
            algorithm: algorithms.6, extensions,
        }
    }
}

prop_compose! {
    fn metrics()(
        start in date(), stop in date(), session in session(), quality in quality(),
        buffer in any::<(Option<u8>, Option<u8>, [Option<u16>; 3])>(), delays in any::<[Option<u16>; 6]>(),
        percents in (percent(), percent(), percent(), percent()),
        bursts in any::<(Option<u32>, Option<u32>, Option<u8>)>(),
        signal in any::<(Option<i8>, Option<i8>, Option<u8>)>(), more in extensions(),
        lines in prop::collection::vec("X-[a-z]{1,5}:[ -~]{0,10}[!-~]", 0..3),
    ) -> Metrics {
        Metrics {
            session,
            jitter_buffer: JitterBuffer {
                adaptive: buffer.0, rate: buffer.1, nominal: buffer.2[0], maximum: buffer.2[1],
                absolute_maximum: buffer.2[2], extensions: more.clone(),
            },
            packet_loss: PacketLoss { network: percents.0, discarded: percents.1, extensions: vec![] },
            burst_gap_loss: BurstGapLoss {
                burst_density: percents.2, burst_duration: bursts.0, gap_density: percents.3, gap_duration: bursts.1,
                gap_threshold: bursts.2, extensions: vec![],
            },
            delay: Delay {
                round_trip: delays[0], end_system: delays[1], one_way: delays[2], symmetric_one_way: delays[3],
                interarrival_jitter: delays[4], mean_absolute_jitter: delays[5], extensions: more,
            },
            signal: Signal {
                signal: signal.0, noise: signal.1, residual_echo_return_loss: signal.2, extensions: vec![],
            },
            quality,
            extensions: lines,
            ..Metrics::new(start, stop)
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let severity = prop_oneof![Just(Severity::Warning), Just(Severity::Critical), Just(Severity::Clear)];
    let direction = prop_oneof![Just(Direction::Local), Just(Direction::Remote)];
    let alert = ("[!#-~][!-~]{0,8}", severity, direction)
        .prop_map(|(metric, severity, direction)| Kind::Alert(Alert { metric, severity, direction }));
    prop_oneof![
        any::<bool>().prop_map(|last| Kind::Session { last }),
        any::<bool>().prop_map(|last| Kind::Interval { last }),
        alert
    ]
}

prop_compose! {
    fn report()(
        kind in kind(), texts in [text(), text(), text(), text()],
        optional in [prop::option::of(text()), prop::option::of(text()), prop::option::of(text()), prop::option::of(text())],
        addresses in any::<[(std::net::IpAddr, u16, u32); 2]>(), local in metrics(), remote in prop::option::of(metrics()),
        dialog in prop::option::of(("[!-:<-~]{0,9}", prop::option::of("[a-z0-9=]{0,6}"), prop::option::of("[a-z0-9]{0,6}"))),
    ) -> VoiceQualityReport {
        let [call_id, local_id, remote_id, originator] = texts;
        let [local_group, remote_group, local_mac, remote_mac] = optional;
        let [local_address, remote_address] =
            addresses.map(|(address, port, ssrc)| MediaAddress { address, port, ssrc });
        let dialog = dialog.map(|(call_id, to_tag, from_tag)| Dialog { call_id, to_tag, from_tag });
        VoiceQualityReport {
            kind, call_id, local_id, remote_id, originator, local_address, remote_address, local_group, remote_group,
            local_mac, remote_mac, local, remote, dialog,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_report_reads_as_it_was_written(report in report()) {
        prop_assert_eq!(read(&report.to_string()), Ok(report));
    }

    #[test]
    fn any_lines_are_read_or_refused_and_what_was_read_reads_back(
        lines in prop::collection::vec("(Timestamps|SessionDesc|Delay|QualityEst|X|DialogID|RemoteMetrics|LocalMAC):? ?[ -~]{0,30}", 0..12)
    ) {
        if let Ok(report) = read(&format!("{SMALL}{}", lines.join("\r\n"))) {
            prop_assert_eq!(read(&report.to_string()), Ok(report));
        }
    }
}
