//! Files to play and to record, and what a call's media was like, for people and for machines.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sip_ua::{Codec, CryptoSuite, Statistics};

use crate::exit::Failure;

/// Reads what is to be played, before anybody is called for it.
pub(crate) fn to_play(path: Option<&Path>) -> Result<Option<Vec<i16>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    match rtp::audio::wav::read(path) {
        Ok(samples) => Ok(Some(samples)),
        Err(error) => Err(Failure::fault(format_args!("{}: {error}", path.display()))),
    }
}

/// Makes sure that there is a folder for the recording, while it is not too late.
pub(crate) fn can_record(path: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Failure::fault(format_args!("{} is a folder; name a file in it", path.display())));
    }
    if folder.is_dir() {
        Ok(())
    } else {
        Err(Failure::fault(format_args!("{}: there is no folder {}", path.display(), folder.display())))
    }
}

/// The figures of one side as JSON. What was not measured is null.
pub(crate) fn to_json(statistics: &Statistics) -> Value {
    let (sent, received) = (statistics.session.sent, statistics.session.received);
    json!({
        "sent_packets": sent.packets,
        "received_packets": received.packets,
        "lost_packets": received.lost(),
        "late_packets": statistics.jitter.late,
        "loss_percent": round(received.fraction_lost() * 100.0),
        "jitter_ms": round(milliseconds(received.jitter)),
        "round_trip_ms": round_trip(statistics).map(|time| round(milliseconds(time))),
        "mos_estimate": mos(statistics).map(round),
    })
}

/// How what we said has travelled.
pub(crate) fn spoken(codec: Codec, suite: Option<CryptoSuite>) -> String {
    match suite {
        Some(suite) => format!("{}, protected with {}", codec.name(), suite.name()),
        None => codec.name().to_owned(),
    }
}

/// The figures of one side in a line.
pub(crate) fn to_line(statistics: &Statistics) -> String {
    let (sent, received) = (statistics.session.sent, statistics.session.received);
    let mut line = format!(
        "{} packets sent, {} received, {} lost ({:.1} %), jitter {:.1} ms",
        sent.packets,
        received.packets,
        received.lost(),
        received.fraction_lost() * 100.0,
        milliseconds(received.jitter)
    );
    if let Some(time) = round_trip(statistics) {
        line.push_str(&format!(", round trip {:.1} ms", milliseconds(time)));
    }
    if let Some(mos) = mos(statistics) {
        line.push_str(&format!(", MOS {mos:.1} (estimate by ITU-T G.107)"));
    }
    line
}

/// A table with a row for each party.
pub(crate) fn table(rows: &[(&str, &Statistics)]) -> String {
    let mut text = format!(
        "{:<8}{:>8}{:>10}{:>7}{:>7}{:>11}{:>13}{:>7}\n",
        "", "sent", "received", "lost", "late", "jitter", "round trip", "MOS*"
    );
    for (name, statistics) in rows {
        let (sent, received) = (statistics.session.sent, statistics.session.received);
        let trip = round_trip(statistics)
            .map_or_else(|| "-".to_owned(), |time| format!("{:.2} ms", milliseconds(time)));
        let mos = mos(statistics).map_or_else(|| "-".to_owned(), |mos| format!("{mos:.2}"));
        text.push_str(&format!(
            "{name:<8}{:>8}{:>10}{:>7}{:>7}{:>11}{trip:>13}{mos:>7}\n",
            sent.packets,
            received.packets,
            received.lost(),
            statistics.jitter.late,
            format!("{:.2} ms", milliseconds(received.jitter)),
        ));
    }
    text.push_str("* estimate by the E-model of ITU-T G.107 from loss, delay and codec; nobody listened\n");
    text
}

/// Mean round-trip time, if the peer's reports allowed to measure one.
pub(crate) fn round_trip(statistics: &Statistics) -> Option<Duration> {
    statistics.session.round_trip.map(|trip| trip.mean())
}

/// The estimate says something only about what was received.
fn mos(statistics: &Statistics) -> Option<f64> {
    (statistics.session.received.packets > 0).then_some(statistics.quality.mos)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Seconds for JSON, to the millisecond.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
