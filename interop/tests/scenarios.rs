//! SIPp scenarios, by feature, against `sip phone`, `sip call` and `sip server`.
//!
//! Ours are in `scenarios/`. Those of other projects (GPL and others) are run where they lie: `SIP_CORPUS` names a folder with
//! `sipp/`, a folder for each project. A scenario fails if a message is missing, comes twice in another form, or is another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interop::{Call, Dir, Phone, Process, Server, Sipp, program, turn};

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Seconds that one scenario may take.
const SECONDS: u64 = 15;

fn bounded(sipp: Sipp) -> Sipp {
    sipp.service("bob").calls(1, 10, SECONDS)
}

/// SIPp calls a phone that answers.
fn calls_a_phone(name: &str) {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new(name);
    let mut phone = Phone::start(&dir, "phone", ["--answer"]);
    bounded(Sipp::scenario(name, Some(phone.udp))).run(&dir, "sipp");
    assert_eq!(phone.process.interrupt(), 0);
}

/// `sip call` calls SIPp.
fn is_called(name: &str) {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new(name);
    let sipp = bounded(Sipp::scenario(name, None));
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--for", "1"]);
    assert_eq!((call.code, call.value("/result").as_str()), (0, Some("ended")), "{}", call.json);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(SECONDS));
}

/// RFC 3262 §3: who requires reliable responses gets the 180 so, before somebody answers.
#[test]
fn a_caller_requires_reliable_responses() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uac-prack");
    // Somebody who answers well after the PRACK: a 200 may overtake the one to the PRACK, and SIPp wants them in order.
    let person = dir.write("person", "w 3\na\nw 5\n");
    let phone = Phone::start(&dir, "phone", ["--script", person.to_str().unwrap()]);
    bounded(Sipp::scenario("uac-prack", Some(phone.udp))).run(&dir, "sipp");
}

/// RFC 3262 §4: a reliable 183 is acknowledged; the callee that gets no PRACK does not answer.
#[test]
fn a_callee_answers_in_a_reliable_183() {
    is_called("uas-prack");
}

/// RFC 3311 §5.2: a refresh, hold and resume by UPDATE.
#[test]
fn a_caller_changes_the_session_by_update() {
    calls_a_phone("uac-update");
}

/// RFC 3264 §8.4, RFC 3261 §14.2: hold and resume by re-INVITE, and one without an offer.
#[test]
fn a_caller_changes_the_session_by_reinvite() {
    calls_a_phone("uac-reinvite");
}

/// RFC 4028 §9: 422 with Min-SE, then an interval that is agreed, and a refresh.
#[test]
fn a_caller_asks_for_a_session_interval_that_is_too_small() {
    calls_a_phone("uac-session-interval");
}

/// RFC 4028 §7.3: the call goes again with what a 422 asks for.
#[test]
fn a_callee_asks_for_a_longer_session_interval() {
    is_called("uas-session-interval");
}

/// RFC 4028 §10: who calls refreshes after half of the interval that was agreed, 45 seconds; no less is allowed.
#[test]
fn the_caller_refreshes_its_session() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uas-refreshed");
    program(); // built before SIPp's time begins
    let sipp = Sipp::scenario("uas-refreshed", None).service("bob").calls(1, 10, 80);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--for", "48"]);
    assert_eq!((call.code, call.value("/result").as_str()), (0, Some("ended")), "{}", call.json);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(SECONDS));
}

/// RFC 3891 §3: a call that takes the place of another, and two that may not.
#[test]
fn a_caller_replaces_its_call() {
    calls_a_phone("uac-replaces");
}

/// RFC 3515, RFC 5589 §6.2: the phone is transferred to a third party, and tells how it goes.
#[test]
fn a_caller_transfers_the_phone() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uac-refer");
    let third = bounded(Sipp::builtin("uas", None));
    let target = at(third.port).to_string();
    let third = third.start(&dir, "third");
    let mut phone = Phone::start(&dir, "phone", ["--answer"]);
    bounded(Sipp::scenario("uac-refer", Some(phone.udp))).with(["-key", "target", &target]).run(&dir, "sipp");
    assert_eq!(phone.process.interrupt(), 0, "it hangs up what it was transferred to");
    Sipp::succeed(third, &dir, "third", Duration::from_secs(SECONDS));
}

/// RFC 3515: the phone transfers its peer, hears that it went well, and hangs up.
#[test]
fn the_phone_transfers_its_callee() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uas-refer");
    let sipp = bounded(Sipp::scenario("uas-refer", None));
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let mut phone = Phone::start(&dir, "phone", Vec::<String>::new());
    phone.process.type_line(&format!("c sip:bob@{to}"));
    phone.process.wait_for("answered");
    phone.process.type_line("t sip:carol@192.0.2.7");
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(SECONDS));
    assert_eq!(phone.process.interrupt(), 0);
}

/// RFC 3261 §8.1.3.4: the call goes on where a 302 leads.
#[test]
fn a_callee_redirects() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uas-redirects");
    let third = bounded(Sipp::builtin("uas", None));
    let target = at(third.port).to_string();
    let third = third.start(&dir, "third");
    let sipp = bounded(Sipp::scenario("uas-redirects", None)).with(["-key", "target", &target]);
    let to = at(sipp.port);
    let sipp = sipp.start(&dir, "sipp");
    let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--for", "1"]);
    assert_eq!(call.code, 0, "{}", call.json);
    for (process, name) in [(sipp, "sipp"), (third, "third")] {
        Sipp::succeed(process, &dir, name, Duration::from_secs(SECONDS));
    }
}

/// SIPp asks the event server of `sip server`.
fn asks_a_server(name: &str) {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new(name);
    let mut server = Server::start(&dir, None, &[]);
    bounded(Sipp::scenario(name, Some(server.udp))).run(&dir, "sipp");
    assert_eq!(server.process.interrupt(), 0);
}

/// RFC 6665 §4.4.3: Expires 0 outside of a dialog.
#[test]
fn the_state_is_fetched_once() {
    asks_a_server("event-fetch");
}

/// RFC 6665 §4.2.1.1: 423 with Min-Expires.
#[test]
fn a_subscription_for_too_short_a_time() {
    asks_a_server("event-too-short");
}

/// RFC 6665 §4.2.2.
#[test]
fn a_notify_that_is_answered_481_ends_the_subscription() {
    asks_a_server("event-gone");
}

/// RFC 3903 §6: 412, 400 and 423, and a publication from its beginning to its end.
#[test]
fn publications_that_are_refused_and_one_that_is_not() {
    asks_a_server("publish-edges");
}

/// RFC 6665 §4.1.2.4: what `sip subscribe` makes of a NOTIFY that comes before the 2xx and of an old one.
#[test]
fn a_notifier_tells_before_it_answers() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("uas-notifies-first");
    let program = program(); // built before SIPp's time begins
    let sipp = bounded(Sipp::scenario("uas-notifies-first", None));
    let to = format!("sip:bob@{}", at(sipp.port));
    let sipp = sipp.start(&dir, "sipp");
    let arguments = ["subscribe", &to, "--package", "weather", "--listen", "udp:127.0.0.1:0"];
    let mut subscriber = Process::start(&dir, "subscriber", program, arguments);
    subscriber.wait_for("sunny");
    subscriber.wait_for("cloudy");
    subscriber.wait_for("ended: noresource");
    assert_eq!(subscriber.finish(), 0);
    Sipp::succeed(sipp, &dir, "sipp", Duration::from_secs(SECONDS));
    assert!(!subscriber.lines().iter().any(|line| line.contains("stale")));
}

// ---- of other projects -------------------------------------------------------------------------------------

/// The folder of their scenarios.
fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("SIP_CORPUS").map(|root| PathBuf::from(root).join("sipp"));
    let folder = folder.filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: SIP_CORPUS does not name a folder with sipp");
    }
    folder
}

/// One of them, with the data that lies beside it if it asks for any.
fn of_others(path: &Path, target: Option<SocketAddr>) -> Sipp {
    let sipp = bounded(Sipp::file(path, target));
    if !std::fs::read_to_string(path).unwrap().contains("[field") {
        return sipp;
    }
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let own = path.file_stem().unwrap().to_string_lossy();
    let is_own = |file: &PathBuf| file.file_stem().unwrap().to_string_lossy().starts_with(&*own);
    let data = beside.filter(|file| file.extension().is_some_and(|kind| kind == "csv"));
    let data = data.max_by_key(|file| (is_own(file), std::cmp::Reverse(file.clone()))).unwrap();
    sipp.with([OsStr::new("-inf"), data.as_os_str()])
}

/// Runs a table one by one and tells all that failed.
fn all(table: &[&str], mut one: impl FnMut(&str, PathBuf) -> Result<(), String>) {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let Some(folder) = corpus() else { return };
    let failed: Vec<String> = table
        .iter()
        .filter_map(|file| one(file, folder.join(file)).err().map(|error| format!("{file}: {error}")))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Whether SIPp got through.
fn passed(mut sipp: Process, dir: &Dir) -> Result<(), String> {
    // Longer than it gives itself.
    match sipp.finish_within(Duration::from_secs(SECONDS + 10)) {
        0 => Ok(()),
        code => {
            let errors = std::fs::read_to_string(dir.file("sipp-errors.log")).unwrap_or_default();
            Err(format!("SIPp ends with {code}: {}", errors.lines().take(20).collect::<Vec<_>>().join("\n")))
        }
    }
}

/// SIPp calls a phone that answers at once: `sip phone --answer`.
///
/// Those that are left out lose messages by chance, want a dial plan, another codec or data that is not there, or a 100
/// where none is due (RFC 3261 §17.2.1). Of these the RFC says otherwise:
///
/// | scenario | wants | and gets |
/// |---|---|---|
/// | `testsuite/invalid_uris` | 416 for a `tel` URI as Contact | 400: 416 is of the Request-URI (RFC 3261 §8.2.2.1) |
/// | `testsuite/headers/no_contact` | 400 to SUBSCRIBE too | 405: a phone without packages takes none (§8.2.1) |
/// | `testsuite/transfers/.../no_target_in_refer` | 202 | 400: one Refer-To is needed (RFC 3515 §2.4.2) |
/// | `sipp-scenarios/sipp_uac_bad_message` | 200 to a body without a type | 400 (RFC 3261 §20.15) |
/// | `siphon-rs/prack` | 200 to a PRACK for a 180 that was not reliable | 481 (RFC 3262 §3) |
const TO_A_PHONE: &[&str] = &[
    // calls, and an ACK that belongs to nothing
    "sipp/docs/uac.xml",
    "sipp-scenarios/sipp_uac_anonymous.xml",
    "siphon-rs/forking_invite.xml",
    "siphon-rs/route_bye.xml",
    "kamailio-tests/units/thacxx0006/uac.xml",
    "pjproject/uac-bad-ack.xml",
    // what is refused: 420, 415, 488
    "pjproject/uac-inv-multiple-require.xml",
    "testsuite/content_disposition/sipp/A_PARTY.xml",
    "testsuite/secure_calling/srtp_negotiation/sipp/decline.xml",
    // session timers (RFC 4028), re-INVITE, UPDATE (RFC 3311)
    "siphon-rs/session_timer.xml",
    "siphon-rs/session_timer_refresh.xml",
    "drachtio-server/uac-refresh.xml",
    "pjproject/uac-reinvite-port-0-bad-sdp.xml",
    "siphon-rs/update.xml",
    // transfer (RFC 3515), INFO, OPTIONS, MESSAGE
    "siphon-rs/refer.xml",
    "siphon-rs/info.xml",
    "siphon-rs/options.xml",
    "sipp-scenarios/sipp_uac_options.xml",
    "pjproject/uac-options.xml",
    "testsuite/handle_options_request/sipp/options_200.xml",
    "siphon-rs/message.xml",
    "pjproject/uac-message-no-body.xml",
];

#[test]
fn scenarios_of_others_that_call_a_phone() {
    // One phone for all: what a scenario leaves behind must not be in the way of the next.
    let mut phone: Option<(Phone, Dir)> = None;
    all(TO_A_PHONE, |_, path| {
        let start = || {
            let dir = Dir::new("phone-for-all");
            (Phone::start(&dir, "phone", ["--answer"]), dir)
        };
        let (phone, _) = phone.get_or_insert_with(start);
        let dir = Dir::new("corpus");
        let outcome = passed(of_others(&path, Some(phone.udp)).start(&dir, "sipp"), &dir);
        assert!(phone.process.is_running(), "the phone is there for more");
        outcome
    });
}

/// The phone hangs up: `sip phone --answer --for 2`.
const TO_A_PHONE_THAT_HANGS_UP: &[&str] = &[
    "drachtio-server/uac-session-expires-no-refresher.xml",
    // RFC 3261 §13.2.1: no offer in the INVITE, and no answer in the ACK
    "pjproject/uac-inv-and-ack-without-sdp.xml",
];

#[test]
fn scenarios_of_others_in_which_the_phone_hangs_up() {
    all(TO_A_PHONE_THAT_HANGS_UP, |_, path| {
        let dir = Dir::new("corpus");
        let phone = Phone::start(&dir, "phone", ["--answer", "--for", "2"]);
        let sipp = of_others(&path, Some(phone.udp)).start(&dir, "sipp");
        passed(sipp, &dir)
    });
}

/// SIPp asks a server without users: `sip server --no-auth`.
const TO_A_SERVER: &[&str] = &[
    "testsuite/handle_options_request/sipp/options_404.xml",
    "testsuite/incoming_calls_without_auth/sipp/unknown_destination.xml",
];

#[test]
fn scenarios_of_others_that_ask_a_server() {
    all(TO_A_SERVER, |_, path| {
        let dir = Dir::new("corpus");
        let mut server = Server::start(&dir, None, &[]);
        let outcome = passed(of_others(&path, Some(server.udp)).start(&dir, "sipp"), &dir);
        assert_eq!(server.process.interrupt(), 0);
        outcome
    });
}

/// `sip call` calls SIPp: `--ring` and `--for` seconds, and the exit code that tells what became of it.
const CALLED: &[(&str, &str, &str, i32)] = &[
    ("sipp/docs/uas.xml", "20", "1", 0),
    ("sipp/docs/3pcc-B.xml", "20", "1", 0),
    ("testsuite/transfers/blind_transfer/caller_refer_only/sipp/bob.xml", "20", "1", 0),
    // the callee hangs up
    ("testsuite/transfers/blind_transfer/caller_refer_only/sipp/charlie.xml", "20", "10", 0),
    ("drachtio-server/uas-bye.xml", "20", "10", 0),
    // its 200 to our BYE has its tag twice
    ("testsuite/hold_ice/sipp/phone_B.xml", "20", "1", 0),
    ("testsuite/rtp/asymmetric_rtp_codec/off/sipp/bob.xml", "20", "1", 0),
    // a provisional response alone, early media that does not fit, and CANCEL
    ("pjproject/uas-answer-183-without-to-tag.xml", "2", "1", 3),
    ("pjproject/uas-answer-183-wrong-media.xml", "2", "1", 3),
    ("drachtio-server/uas-cancel.xml", "2", "1", 3),
];

#[test]
fn scenarios_of_others_that_are_called() {
    let files: Vec<&str> = CALLED.iter().map(|(file, ..)| *file).collect();
    let mut rows = CALLED.iter();
    all(&files, |_, path| {
        let (_, ring, long, wanted) = rows.next().unwrap();
        let dir = Dir::new("corpus");
        let sipp = of_others(&path, None);
        let to = at(sipp.port);
        let sipp = sipp.start(&dir, "sipp");
        let call = Call::run(&dir, &format!("sip:bob@{to}"), ["--ring", ring, "--for", long]);
        passed(sipp, &dir)?;
        if call.code == *wanted {
            return Ok(());
        }
        Err(format!("sip call ends with {}: {}", call.code, call.json))
    });
}
