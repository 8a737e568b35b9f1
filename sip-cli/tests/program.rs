//! The program as a script sees it: output, exit codes, files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod running;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rtp::audio::correlate::correlate;
use rtp::audio::speech::speech_like;
use rtp::audio::wav;
use rtp::video::ivf;
use running::{Running, sip};
use serde_json::Value;
use sip_ua::{Phone, VideoCodec, VideoEvent};

/// One line on standard error, and this exit code.
fn fails(arguments: &[&str], code: i32) -> String {
    let output = sip(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("sip: "), "{error}");
    error
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_demonstration_verifies_itself_and_leaves_its_files() {
    let folder = folder("demo");
    let output = sip(&["demo", "--json", "--out", text(&folder)]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(output.status.code(), Some(0), "{told:#}");
    assert_eq!(told["verified"], true);
    assert!(told["checks"].as_array().unwrap().len() >= 15);
    let ladder = told["ladder"].as_array().unwrap();
    assert!(ladder.iter().any(|line| line.as_str().unwrap().contains(" INVITE 2 (sdp) ")), "{told:#}");
    for file in ["alice-heard.wav", "bob-heard.wav", "call.pcap"] {
        assert!(std::fs::metadata(folder.join(file)).unwrap().len() > 10_000, "{file}");
    }
}

#[test]
fn a_call_to_an_echo_hears_itself() {
    let folder = folder("echo");
    let (played, heard, recorded) =
        (folder.join("played.wav"), folder.join("heard.wav"), folder.join("recorded.wav"));
    let speech = speech_like(16_000, 9);
    wav::write(&played, &speech).unwrap();

    let phone = Running::start(&[
        "phone",
        "--listen",
        "udp:127.0.0.1:0",
        "--answer",
        "--echo",
        "--record",
        text(&recorded),
    ]);
    let uri = format!("sip:echo@{}", phone.address());
    let output = sip(&[
        "call",
        &uri,
        "--play",
        text(&played),
        "--for",
        "3",
        "--record",
        text(&heard),
        "--dtmf",
        "42#",
        "--json",
    ]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(output.status.code(), Some(0), "{told:#}");
    assert_eq!((&told["status"], &told["ended_by"]), (&Value::from(200), &Value::from("us")));
    assert!(told["media"]["received_packets"].as_u64().unwrap() > 50, "{told:#}");
    for digit in ["4", "2", "#"] {
        phone.line(&format!("digit {digit}"));
    }
    phone.line("ended by peer");
    for file in [&heard, &recorded] {
        let found = correlate(&speech, &wav::read(file).unwrap());
        // The digits stand in the place of some audio.
        assert!(found.matched > 0.4, "{}: {found:?}", file.display());
    }
}

/// The film of a file is shown to a peer that takes video; one that does not hears the call all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_shows_a_film() {
    let file = folder("film").join("film.ivf");
    let picture = |number: u8| [&[0x10 + u8::from(number > 0)][..], &[number; 2000]].concat().into();
    let frames: Vec<(Duration, _)> =
        (0..20).map(|number: u8| (Duration::from_millis(25) * number.into(), picture(number))).collect();
    std::fs::write(&file, ivf::write(VideoCodec::Vp8, (320, 240), &frames)).unwrap();
    for codecs in [&[VideoCodec::Vp8][..], &[]] {
        let builder = Phone::builder("sip:bob@localhost").video(codecs.iter().copied());
        let phone = builder.listen("udp:127.0.0.1:0").bind().await.unwrap();
        let uri = phone.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
        let file = file.clone();
        let calling = tokio::task::spawn_blocking(move || {
            sip(&["call", &uri, "--video", text(&file), "--dtmf", "5", "--json", "--for", "10"])
        });
        let call = phone.incoming().await.unwrap().answer().await.unwrap();
        let video = call.video();
        assert_eq!(video.is_some(), !codecs.is_empty());
        if let Some(video) = video {
            for (_, data) in &frames {
                let Some(VideoEvent::Frame(frame)) = video.next().await else { panic!("a frame is missing") };
                assert_eq!(frame.data, data);
            }
        }
        assert_eq!(call.audio().next_digit().await, Some('5'));
        call.hang_up().await;
        let output = calling.await.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(output.status.code(), Some(0), "{told:#}");
        match codecs {
            [] => assert_eq!(told["warning"], "the peer takes no video", "{told:#}"),
            _ => assert_eq!(
                (&told["video"]["codec"], &told["video"]["sent_frames"]),
                (&"VP8".into(), &20.into())
            ),
        }
    }
    let refused = fails(&["call", "sip:bob@127.0.0.1:9", "--video", text(&file.with_extension("none"))], 1);
    assert!(refused.contains("film.none"), "{refused}");
}

/// A network that is gone: no CANCEL may be sent (RFC 3261 §9.1), and nobody is waited for beyond `--ring`. A peer that has
/// said something and then falls silent is cancelled, and waited for a little.
#[test]
fn a_call_that_nobody_hears_ends_with_its_ring_time() {
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:bob@{}", gone.local_addr().unwrap());
    let start = Instant::now();
    let error = fails(&["call", &uri, "--ring", "1"], 4);
    assert!(error.contains("nothing was heard in 1.0 s"), "{error}");
    let output = sip(&["call", &uri, "--ring", "1", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (told["status"].as_u64(), told["result"].as_str()),
        (Some(408), Some("unreachable")),
        "{told}"
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    let trying = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        gone.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        while let Ok((length, from)) = gone.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("INVITE") && text.contains("caller@") {
                let lines = text.lines().filter(|line| {
                    ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
                });
                let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
                let answer = format!("SIP/2.0 100 Trying\r\n{lines}Content-Length: 0\r\n\r\n");
                gone.send_to(answer.as_bytes(), from).unwrap();
            }
            heard.push(text);
        }
        heard
    });
    let error = fails(&["call", &uri, "--ring", "1", "--from", "sip:caller@example.com"], 3);
    assert!(error.contains("not answered in time, cancelled"), "{error}");
    assert!(trying.join().unwrap().iter().any(|text| text.starts_with("CANCEL ")));
}

#[test]
fn nobody_answers_busy_and_declined_have_codes_of_their_own() {
    let mut phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let uri = format!("sip:bob@{}", phone.address());

    let error = fails(&["call", &uri, "--ring", "1"], 3);
    assert!(error.contains("not answered in time"), "{error}");
    phone.line("call 1 from");
    phone.line("gave up");

    let call = Running::start(&["call", &uri]);
    phone.line("call 2 from");
    phone.type_line("h");
    call.line("180 Ringing");
    assert_eq!(call.end(), Some(2));

    let call = Running::start(&["call", &uri, "--for", "1"]);
    phone.line("call 3 from");
    phone.type_line("a");
    call.line("answered after");
    assert_eq!(call.end(), Some(0));
    phone.line("call 3 ended by peer");

    phone.type_line("q");
    phone.line("bye");
    assert_eq!(phone.end(), Some(0));
}

#[test]
fn a_phone_calls_holds_resumes_and_presses_digits_as_it_is_told() {
    let mut bob = Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--answer", "--json"]);
    let first: Value = serde_json::from_str(&bob.line("listening")).unwrap();
    let address = first["at"].as_str().unwrap().strip_prefix("udp:").unwrap().to_owned();
    let mut alice =
        Running::start(&["phone", "--listen", "udp:127.0.0.1:0", "--from", "sip:alice@localhost"]);
    alice.type_line(&format!("c sip:bob@{address}"));
    alice.line("call 1 answered");
    let incoming: Value = serde_json::from_str(&bob.line("incoming")).unwrap();
    assert_eq!(incoming["from"], "<sip:alice@localhost>");
    alice.type_line("o");
    alice.line("call 1 held");
    alice.type_line("o");
    alice.line("call 1 resumed");
    alice.type_line("d 7*");
    assert!(bob.line("\"digit\":\"7\"").contains("\"call\":1"));
    bob.line("\"digit\":\"*\"");
    bob.type_line("h");
    alice.line("call 1 ended by peer");
    let ended: Value = serde_json::from_str(&bob.line("ended")).unwrap();
    assert_eq!((&ended["by"], &ended["digits_received"]), (&Value::from("us"), &Value::from("7*")));
}

#[test]
fn through_a_server_with_passwords() {
    let folder = folder("server");
    let users = folder.join("users");
    std::fs::write(&users, "# the house\nalice:wonderland\nbob:builder\n").unwrap();
    let server = Running::start(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "example.com",
        "--users",
        text(&users),
    ]);
    let proxy = format!("sip:{}", server.address());

    let wrong = ["phone", "--register", "sip:bob@example.com", "--password", "x", "--proxy", &proxy];
    assert!(fails(&wrong, 6).contains("check user and password"));

    let bob = Running::start(&[
        "phone",
        "--listen",
        "udp:127.0.0.1:0",
        "--register",
        "sip:bob@example.com",
        "--password",
        "builder",
        "--proxy",
        &proxy,
        "--answer",
        "--for",
        "30",
    ]);
    bob.line("registered sip:bob@example.com");

    let call = |uri: &str, password: &str, code: i32| {
        let from = "sip:alice@example.com";
        let output = sip(&[
            "call",
            uri,
            "--from",
            from,
            "--password",
            password,
            "--proxy",
            &proxy,
            "--for",
            "1",
            "--json",
        ]);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    call("sip:bob@example.com", "wonderland", 0);
    bob.line("call 1 from <sip:alice@example.com>");
    bob.line("ended by peer");
    call("sip:bob@example.com", "looking-glass", 6);
    assert_eq!(call("sip:carol@example.com", "wonderland", 5)["status"], 404);
    assert_eq!(call("sip:alice@example.com", "wonderland", 5)["status"], 480);
}

#[test]
fn who_cannot_be_reached_is_told_apart_from_who_refuses() {
    // A port that was free a moment ago: nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fails(&["call", &format!("sip:bob@{closed};transport=tcp")], 4);
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn wrong_usage_is_one_line_and_1() {
    for (arguments, reason) in [
        (&["call"][..], "URI"),
        (&["call", "bob"], "no address"),
        (&["call", "sip:bob@127.0.0.1", "--play", "/nonexistent.wav"], "/nonexistent.wav"),
        (&["call", "sip:bob@127.0.0.1", "--record", "/nonexistent/heard.wav"], "no folder /nonexistent"),
        (&["phone", "--listen", "udp:here"], "here"),
        (&["server", "--users", "/nonexistent"], "/nonexistent"),
        (&["dance"], "dance"),
    ] {
        let error = fails(arguments, 1);
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(sip(&["--help"]).status.code(), Some(0));
    assert_eq!(sip(&["--version"]).status.code(), Some(0));
}

/// Every fault has its line and column, and 1 is the exit code; nothing is started.
#[test]
fn settings_are_checked() {
    let file = folder("check").join("server.toml");
    std::fs::write(&file, "domians = [\"example.com\"]\nauthentication = 1\n").unwrap();
    let checked = sip(&["server", "--config", text(&file), "--check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(told.contains("server.toml:1:1: unknown key \"domians\"; did you mean \"domains\"?\n"), "{told}");
    assert!(told.contains("server.toml:2:18: expected true or false, found an integer\n"), "{told}");
    let json = sip(&["server", "--config", text(&file), "--check", "--json"]);
    assert!(String::from_utf8(json.stdout).unwrap().contains("\"line\":2"));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/server.toml");
    let checked = sip(&["server", "--config", example, "--check"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(String::from_utf8(checked.stdout).unwrap().contains("is well: 3 users"));
    assert!(fails(&["server", "--config", example, "--no-auth"], 1).contains("cannot be used with"));
}

/// SIGHUP: another user may register; a file with faults changes nothing and is told.
#[cfg(unix)]
#[test]
fn settings_are_reloaded_while_it_runs() {
    let file = folder("reload").join("server.toml");
    let settings = |user: &str| {
        let text = format!(
            "listen = [\"udp:127.0.0.1:0\"]\ndomains = [\"example.com\"]\n[[user]]\nname = \"{user}\"\npassword = \"x\"\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    settings("alice");
    let server = Running::start(&["server", "--config", text(&file)]);
    let proxy = format!("sip:{}", server.address());
    let register = |user: &str| {
        let address = format!("sip:{user}@example.com");
        let contact = format!("sip:{user}@192.0.2.7");
        sip(&["register", &address, "--contact", &contact, "--password", "x", "--proxy", &proxy])
            .status
            .code()
    };
    assert_eq!((register("alice"), register("bob")), (Some(0), Some(6)));
    settings("bob");
    server.hang_up();
    server.line("settings reloaded");
    assert_eq!((register("alice"), register("bob")), (Some(6), Some(0)));
    std::fs::write(&file, "listen = 5").unwrap();
    server.hang_up();
    server.line("the settings stay as they were");
    assert_eq!(register("bob"), Some(0));
}

#[cfg(unix)]
#[test]
fn ctrl_c_hangs_up_and_unregisters() {
    let folder = folder("interrupt");
    let users = folder.join("users");
    std::fs::write(&users, "bob:builder\n").unwrap();
    let server = Running::start(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "example.com",
        "--users",
        text(&users),
    ]);
    let proxy = format!("sip:{}", server.address());
    let bob = Running::start(&[
        "phone",
        "--listen",
        "udp:127.0.0.1:0",
        "--register",
        "sip:bob@example.com",
        "--password",
        "builder",
        "--proxy",
        &proxy,
        "--answer",
    ]);
    bob.line("registered");
    let call = Running::start(&["call", "sip:bob@example.com", "--proxy", &proxy]);
    call.line("answered");
    bob.line("call 1 answered");

    bob.interrupt();
    call.line("ended by the peer");
    bob.line("call 1 ended by us");
    assert_eq!(bob.end(), Some(0));
    server.interrupt();
    let last = server.line("bindings at the end");
    assert!(last.contains(" 0 bindings"), "{last}");
    assert_eq!(server.end(), Some(0));
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_it_rings_cancels() {
    let phone = Running::start(&["phone", "--listen", "udp:127.0.0.1:0"]);
    let uri = format!("sip:bob@{}", phone.address());
    let call = Running::start(&["call", &uri]);
    call.line("180 Ringing");
    call.interrupt();
    assert_eq!(call.end(), Some(3));
    phone.line("gave up");
}
