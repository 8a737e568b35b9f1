//! Whether everything in the demonstration was as it should be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rtp::audio::correlate::correlate;
use rtp::audio::wav;
use sip_dialog::Cause;
use sip_message::Method;

use super::script::{ALICE_PRESSES, BOB_PRESSES, Story};
use super::watch::{Kind, Seen, Sent};
use crate::media;

/// Share of the sent speech that must be found in a recording. A machine under load loses a few packets; a call with
/// a fault loses all of it.
const HEARD: f64 = 0.7;
/// What must not be in a recording is found there by chance at most this much.
const NOT_HEARD: f64 = 0.2;
/// The demonstration promises to be over by then.
const AT_MOST: Duration = Duration::from_secs(20);

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// What should be so.
    pub(crate) what: &'static str,
    /// Whether it was.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) found: String,
}

/// Where everybody sat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seats {
    pub(crate) alice: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) bob: SocketAddr,
}

/// Looks at everything.
pub(crate) fn all(story: &Story, sent: &[Sent], seats: Seats, recordings: &[PathBuf; 2]) -> Vec<Check> {
    let mut checks = signalling(story, sent, seats);
    checks.extend(audio(story, recordings));
    checks.extend(hold(story, sent, seats));
    checks.extend(media(story));
    let took = story.took;
    checks.push(check("over in time", took < AT_MOST, format!("{:.1} s", took.as_secs_f64())));
    checks
}

fn check(what: &'static str, ok: bool, found: String) -> Check {
    Check { what, ok, found }
}

fn signalling(story: &Story, sent: &[Sent], seats: Seats) -> Vec<Check> {
    let messages: Vec<(&Sent, Seen)> = sent
        .iter()
        .filter(|sent| sent.kind == Kind::Sip)
        .filter_map(|sent| Seen::of(&sent.bytes).map(|seen| (sent, seen)))
        .collect();
    let count = |from: SocketAddr, to: SocketAddr, method: Method, status: Option<u16>| {
        messages
            .iter()
            .filter(|(sent, seen)| {
                sent.from == from && sent.to == to && seen.method == method && seen.status == status
            })
            .count()
    };
    let Seats { alice, server, bob } = seats;
    let mut checks = Vec::new();
    for (what, phone, granted) in [
        ("alice registered with digest authentication", alice, story.granted[0]),
        ("bob registered with digest authentication", bob, story.granted[1]),
    ] {
        let challenges = count(server, phone, Method::Register, Some(401));
        let granted_times = count(server, phone, Method::Register, Some(200));
        // Once to register, once to unregister.
        let ok = granted > 0 && challenges >= 1 && granted_times >= 2;
        checks.push(check(
            what,
            ok,
            format!(
                "{challenges} × 401, {granted_times} × 200, {granted} s granted, unregistered at the end"
            ),
        ));
    }
    let challenged = count(server, alice, Method::Invite, Some(407));
    let answered = count(server, alice, Method::Invite, Some(200));
    let acknowledged = count(server, bob, Method::Ack, None);
    checks.push(check(
        "the proxy asked alice for her password, bob rang and answered",
        challenged >= 1 && story.progress.contains(&180) && answered >= 1 && acknowledged >= 1,
        format!(
            "{challenged} × 407, progress {:?}, {answered} × 200, {acknowledged} × ACK to bob",
            story.progress
        ),
    ));
    let direct = messages.iter().filter(|(sent, _)| sent.from != server && sent.to != server).count();
    let byes = count(alice, server, Method::Bye, None).min(count(server, bob, Method::Bye, None));
    checks.push(check(
        "every request of the call went through the proxy (Record-Route)",
        direct == 0 && byes >= 1,
        format!("{direct} messages past it"),
    ));
    let [at_alice, at_bob] = &story.summaries;
    let ended =
        matches!(at_alice.ended.cause, Cause::HungUp) && matches!(at_bob.ended.cause, Cause::HungUpByPeer(_));
    checks.push(check(
        "alice hung up, and bob knew",
        ended && count(server, alice, Method::Bye, Some(200)) >= 1,
        format!("the call lasted {:.1} s", at_alice.duration.as_secs_f64()),
    ));
    let [to_alice, to_bob] = &story.digits;
    checks.push(check(
        "digits came as they were pressed, both ways",
        to_bob == ALICE_PRESSES && to_alice == BOB_PRESSES,
        format!("bob heard {to_bob:?} of {ALICE_PRESSES:?}, alice {to_alice:?} of {BOB_PRESSES:?}"),
    ));
    checks
}

fn audio(story: &Story, recordings: &[PathBuf; 2]) -> Vec<Check> {
    let [of_alice, of_bob] = recordings;
    let ([alice_said, bob_said], [alice_again, bob_again]) = (&story.speech, &story.later_speech);
    let mut checks = Vec::new();
    for (path, what, said, what_again, said_again) in [
        (
            of_alice,
            "alice's recording holds what bob said",
            bob_said,
            "and what he said after the hold",
            bob_again,
        ),
        (
            of_bob,
            "bob's recording holds what alice said",
            alice_said,
            "and what she said after the hold",
            alice_again,
        ),
    ] {
        match wav::read(path) {
            Ok(recording) => {
                checks.push(heard(what, said, &recording));
                checks.push(heard(what_again, said_again, &recording));
            }
            Err(error) => checks.push(check(what, false, format!("{}: {error}", path.display()))),
        }
    }
    let recording = wav::read(of_alice).unwrap_or_default();
    let share = correlate(&story.held_speech, &recording).matched;
    checks.push(check(
        "alice's recording holds nothing that bob said while he was held",
        !recording.is_empty() && share <= NOT_HEARD,
        format!("{:.0} % found", share * 100.0),
    ));
    checks
}

fn heard(what: &'static str, speech: &[i16], recording: &[i16]) -> Check {
    let found = correlate(speech, recording);
    let ok = found.segments > 0 && found.matched >= HEARD;
    check(
        what,
        ok,
        format!(
            "{:.0} % of {} pieces found, the whole correlates by {:.2}",
            found.matched * 100.0,
            found.segments,
            found.coefficient
        ),
    )
}

fn hold(story: &Story, sent: &[Sent], seats: Seats) -> Vec<Check> {
    let [from, to] = story.held_between;
    // His media leaves from the port that his descriptions named (RFC 4961).
    let of_bob = media_ports_of(sent, seats.bob);
    let packets = sent
        .iter()
        .filter(|sent| sent.kind == Kind::Rtp && of_bob.contains(&sent.from.port()))
        .filter(|sent| sent.at >= from && sent.at < to)
        .count();
    let [held, held_after] = story.bob_held;
    vec![
        check(
            "bob knew when he was held and when no more",
            held && !held_after,
            format!("held: {held}, after the resumption: {held_after}"),
        ),
        check(
            "bob's phone sent no audio while it was held",
            packets == 0 && !of_bob.is_empty(),
            format!(
                "{packets} packets in {:.1} s",
                to.duration_since(from).unwrap_or_default().as_secs_f64()
            ),
        ),
    ]
}

/// Ports that a party named in its session descriptions (RFC 8866 §5.14).
pub(crate) fn media_ports_of(sent: &[Sent], party: SocketAddr) -> Vec<u16> {
    let mut ports: Vec<u16> = sent
        .iter()
        .filter(|sent| sent.kind == Kind::Sip && sent.from == party)
        .flat_map(|sent| {
            String::from_utf8_lossy(&sent.bytes)
                .lines()
                .filter_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())
                .collect::<Vec<u16>>()
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn media(story: &Story) -> Vec<Check> {
    let [alice, bob] = &story.summaries;
    let trips: Vec<String> = [alice, bob]
        .into_iter()
        .filter_map(|summary| media::round_trip(&summary.statistics))
        .map(|trip| format!("{:.2} ms", trip.as_secs_f64() * 1000.0))
        .collect();
    vec![check(
        "both measured the round trip by RTCP reports",
        trips.len() == 2,
        if trips.is_empty() { "no reports came".into() } else { trips.join(", ") },
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtp::audio::speech::speech_like;
    use std::time::SystemTime;

    #[test]
    fn a_recording_of_something_else_or_of_half_of_it_is_found_out() {
        let said = speech_like(16_000, 1);
        assert!(heard("it", &said, &said).ok);
        assert!(!heard("silence", &said, &vec![0; 16_000]).ok);
        assert!(!heard("another", &said, &speech_like(16_000, 2)).ok);
        let mut half = said.clone();
        half[8000..].fill(0);
        assert!(!heard("half", &said, &half).ok);
    }

    #[test]
    fn media_ports_are_those_that_the_party_itself_named() {
        let (alice, server) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let sent = |from, to, port: u16| Sent {
            at: SystemTime::UNIX_EPOCH,
            from,
            to,
            kind: Kind::Sip,
            bytes: format!("INVITE sip:b@c SIP/2.0\r\n\r\nv=0\r\nm=audio {port} RTP/AVP 0 101\r\n").into(),
        };
        let all = [sent(alice, server, 4002), sent(server, alice, 5000), sent(alice, server, 4000)];
        assert_eq!(media_ports_of(&all, alice), [4000, 4002]);
    }
}
