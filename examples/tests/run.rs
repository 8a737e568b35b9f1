//! The examples run: each as a program of its own, against phones and other examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sip_ua::{Call, Phone, VideoCodec, VideoEvent, VideoFrame};

/// No wait of these tests is longer on a machine that is not broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// An example that runs, and is ended with the test.
struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let test = std::env::current_exe().unwrap();
        let path: PathBuf = test.parent().unwrap().parent().unwrap().join("examples").join(name);
        assert!(path.exists(), "{} is built by `cargo test -p examples` as a whole", path.display());
        let mut child =
            Command::new(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line with this text.
    async fn line(&self, text: &str) -> String {
        let lines = async {
            loop {
                match self.lines.try_recv() {
                    Ok(line) if line.contains(text) => return line,
                    Ok(_) => {}
                    Err(std::sync::mpsc::TryRecvError::Empty) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    Err(error) => panic!("no line with {text:?}: {error}"),
                }
            }
        };
        patient(text, lines).await
    }

    async fn address(&self) -> String {
        self.line("listening udp:").await.strip_prefix("listening udp:").unwrap().to_owned()
    }

    fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANY: &str = "udp:127.0.0.1:0";

async fn phone(user: &str) -> (Phone, String) {
    let phone = Phone::builder(&format!("sip:{user}@localhost")).listen(ANY).bind().await.unwrap();
    let address = phone.locals().iter().next().unwrap().uri(Some(user)).unwrap().to_string();
    (phone, address)
}

async fn answer(phone: &Phone) -> Call {
    patient("a call", phone.incoming()).await.unwrap().answer().await.unwrap()
}

/// Keys from one end to the other, both ways: the two hear each other.
async fn hear_each_other(one: &Call, other: &Call) {
    for (speaker, listener) in [(one, other), (other, one)] {
        patient("digits", speaker.audio().send_digits("7")).await.unwrap();
        assert_eq!(patient("a digit", listener.audio().next_digit()).await, Some('7'));
    }
}

#[tokio::test]
async fn ivr() {
    let (operator, operator_at) = phone("operator").await;
    let menu = Example::start("ivr", &[ANY, &operator_at]);
    let (caller, _) = phone("caller").await;
    let call = patient("calling", caller.call(&format!("sip:menu@{}", menu.address().await))).await.unwrap();
    let call = patient("the answer", call.answered()).await.unwrap();
    patient("digits", call.audio().send_digits("1")).await.unwrap();
    menu.line("key 1").await;
    patient("digits", call.audio().send_digits("0")).await.unwrap();
    let following = async { caller.next_referral().await.follow().await.unwrap().answered().await.unwrap() };
    let (connected, at_operator) = tokio::join!(following, answer(&operator));
    menu.line("connected: 200").await;
    hear_each_other(&connected, &at_operator).await;
    connected.hang_up().await;
}

#[tokio::test]
async fn attended_transfer() {
    let ((bob, bob_at), (carol, carol_at)) = (phone("bob").await, phone("carol").await);
    let secretary = Example::start("attended_transfer", &[ANY, &bob_at, &carol_at]);
    let first = answer(&bob).await;
    let second = answer(&carol).await;
    let following = async { bob.next_referral().await.follow().await.unwrap().answered().await.unwrap() };
    let (connected, replacing) = tokio::join!(following, answer(&carol));
    secretary.line("are connected: 200").await;
    hear_each_other(&connected, &replacing).await;
    patient("the end", first.ended()).await;
    patient("the end", second.ended()).await;
    assert_eq!(secretary.end(), Some(0));
}

/// RFC 3725 §4.1: the media of the two is between themselves.
#[tokio::test]
async fn click_to_dial() {
    let ((alice, alice_at), (bob, bob_at)) = (phone("alice").await, phone("bob").await);
    let dial = Example::start("click_to_dial", &[ANY, &alice_at, &bob_at]);
    let (one, other) = tokio::join!(answer(&alice), answer(&bob));
    dial.line("they talk to each other").await;
    hear_each_other(&one, &other).await;
    one.hang_up().await;
    patient("the other's end", other.ended()).await;
    dial.line("it is over").await;
}

/// 1234 is the doorman's phone, which has registered nowhere; the boss is not for strangers.
#[tokio::test]
async fn custom_router() {
    let (door, door_at) = phone("door").await;
    let server = Example::start("custom_router", &[ANY, &door_at, "sip:machine@127.0.0.1:9"]);
    let at = server.address().await;
    let (caller, _) = phone("caller").await;
    let calling = async {
        let ringing = caller.call(&format!("sip:1234@{at}")).await.unwrap();
        patient("the answer", ringing.answered()).await.unwrap()
    };
    let (call, at_door) = tokio::join!(calling, answer(&door));
    hear_each_other(&call, &at_door).await;
    call.hang_up().await;
    let refused = patient("calling", caller.call(&format!("sip:boss@{at}"))).await.unwrap();
    let error = patient("a refusal", refused.answered()).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}

#[tokio::test]
async fn voicemail() {
    let folder = std::env::temp_dir().join(format!("voicemail-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let machine = Example::start("voicemail", &[ANY, folder.to_str().unwrap()]);
    let at = machine.address().await;
    let owner = Phone::builder("sip:owner@localhost").listen(ANY).proxy(&format!("sip:{at}")).bind();
    let owner = owner.await.unwrap();
    let mut waiting = owner.waiting_messages().await.unwrap();
    assert_eq!(patient("the first state", waiting.next()).await.unwrap().voice().unwrap().new, 0);
    let (caller, _) = phone("caller").await;
    let call = patient("calling", caller.call(&format!("sip:owner@{at}"))).await.unwrap();
    let call = patient("the answer", call.answered()).await.unwrap();
    let spoken = rtp::audio::speech::speech_like(16_000, 5);
    machine.line("recording").await;
    patient("speaking", call.audio().play_samples(spoken.clone())).await.unwrap();
    call.hang_up().await;
    machine.line("recorded").await;
    assert_eq!(patient("the new state", waiting.next()).await.unwrap().voice().unwrap().new, 1);
    let heard = rtp::audio::wav::read(folder.join("message-1.wav")).unwrap();
    let likeness = rtp::audio::correlate::correlate(&spoken, &heard);
    assert!(likeness.coefficient > 0.9, "{likeness:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn presence_watcher() {
    use sip_dialog::packages::presence::{Basic, Presence};
    use sip_dialog::{Acceptance, Notification};

    let bob = Phone::builder("sip:bob@localhost").listen(ANY).notifies("presence").bind().await.unwrap();
    let at = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let watcher = Example::start("presence_watcher", &[ANY, &at]);
    let state = |basic| Notification::full(Presence::new("sip:bob@localhost", basic, None).to_body());
    let mut subscriber = patient("the subscriber", bob.next_subscriber()).await;
    let acceptance = Acceptance { state: Some(state(Basic::Open)), ..Acceptance::default() };
    subscriber.accept(acceptance).unwrap();
    watcher.line("is open").await;
    subscriber.notify(state(Basic::Closed)).unwrap();
    watcher.line("is closed").await;
    drop(subscriber);
    watcher.line("cannot be watched").await;
    assert_eq!(watcher.end(), Some(0));
}

#[tokio::test]
async fn load_generator_and_answering_phone() {
    let uas = Example::start("answering_phone", &["--listen", ANY]);
    let target = format!("sip:uas@{}", uas.address().await);
    let load = Example::start("load_generator", &[ANY, &target, "200", "300", "100"]);
    let told = load.line("calls in").await;
    assert!(told.starts_with("300 calls") && told.contains(" 0 failed"), "{told}");
    assert_eq!(load.end(), Some(0));
}

#[tokio::test]
async fn echo_phone() {
    let echo = Example::start("echo_phone", &[ANY]);
    let at = echo.address().await;
    let (caller, _) = phone("caller").await;
    let call = patient("calling", caller.call(&format!("sip:echo@{at}"))).await.unwrap();
    let call = patient("the answer", call.answered()).await.unwrap();
    let spoken = rtp::audio::speech::speech_like(8_000, 2);
    call.audio().start_recording();
    patient("speaking", call.audio().play_samples(spoken.clone())).await.unwrap();
    patient("the way back", call.audio().play_samples(vec![0; 4000])).await.unwrap();
    let likeness = rtp::audio::correlate::correlate(&spoken, &call.audio().stop_recording());
    assert!(likeness.coefficient > 0.9, "{likeness:?}");
    call.hang_up().await;
    echo.line("listened to itself").await;
}

#[tokio::test]
async fn video_echo() {
    let echo = Example::start("video_echo", &[ANY]);
    let builder = Phone::builder("sip:caller@localhost").video([VideoCodec::Vp8]).listen(ANY);
    let caller = builder.bind().await.unwrap();
    let call = patient("calling", caller.call(&format!("sip:echo@{}", echo.address().await))).await.unwrap();
    let call = patient("the answer", call.answered()).await.unwrap();
    let video = call.video().expect("the echo has video");
    for number in 0..20u8 {
        // A key frame of VP8 has an even first octet.
        let data = [&[0x10 + u8::from(number > 0)][..], &[number; 3000]].concat();
        video
            .send(VideoFrame::new(VideoCodec::Vp8, Duration::from_millis(40) * number.into(), data))
            .await
            .unwrap();
    }
    for number in 0..20u8 {
        let frame = loop {
            match patient("a frame", video.next()).await.expect("pictures") {
                VideoEvent::Frame(frame) => break frame,
                other => assert_ne!(other, VideoEvent::Lost, "nothing is lost here"),
            }
        };
        assert_eq!((frame.key_frame, frame.data.last()), (number == 0, Some(&number)));
    }
    call.hang_up().await;
    echo.line("looked at itself for 20 frames").await;
}

#[tokio::test]
async fn talking_phone() {
    let talker = Example::start("talking_phone", &[ANY, "440"]);
    let at = talker.address().await;
    let (caller, _) = phone("caller").await;
    let call = patient("calling", caller.call(&format!("sip:talker@{at}"))).await.unwrap();
    let call = patient("the answer", call.answered()).await.unwrap();
    call.audio().start_recording();
    patient("a second", call.audio().play_samples(vec![0; 8000])).await.unwrap();
    let heard = call.audio().stop_recording();
    assert!(
        rtp::audio::tone::detect_tone(&heard, 440.0) > 0.9,
        "{:?}",
        rtp::audio::tone::dominant_frequency(&heard)
    );
    call.hang_up().await;
}

/// The one that registers, calls, plays a file and hangs up.
#[tokio::test]
async fn phone_example() {
    let users = sip_server::Users::parse("alice:secret\n").unwrap();
    let server = sip_server::Server::builder().listen(ANY).domain("127.0.0.1").users(users);
    let server = server.build().await.unwrap();
    let us = format!("sip:alice@{}", server.locals().iter().next().unwrap().bound);
    let serving = tokio::spawn(server.run_until(std::future::pending::<()>()));
    let echo = Example::start("echo_phone", &[ANY]);
    let them = format!("sip:echo@{}", echo.address().await);
    let file = std::env::temp_dir().join(format!("phone-example-{}.wav", std::process::id()));
    rtp::audio::wav::write(&file, &rtp::audio::speech::speech_like(8_000, 4)).unwrap();
    let phone = Example::start("phone", &[&us, "secret", &them, file.to_str().unwrap()]);
    phone.line("estimated quality").await;
    assert_eq!(tokio::task::spawn_blocking(move || phone.end()).await.unwrap(), Some(0));
    echo.line("listened to itself").await;
    std::fs::remove_file(&file).unwrap();
    serving.abort();
}

/// Two parties that know no more than a port each hear each other, with keys in between and without.
#[tokio::test]
async fn the_media_relay_brings_two_parties_together() {
    use rtp::packet::{Header, Packet};
    use std::net::UdpSocket;
    for option in [None, Some("--srtp")] {
        let mut arguments = vec!["127.0.0.1", "0", "1"];
        arguments.extend(option);
        let relay = Example::start("media_relay", &arguments);
        let line = relay.line("call 0: A at ").await;
        let (a, b) = line.strip_prefix("call 0: A at ").and_then(|rest| rest.split_once(", B at ")).unwrap();
        relay.line("1 calls are relayed").await;
        let parties = [(a, 1), (b, 2)].map(|(at, ssrc)| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(at).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            (socket, ssrc)
        });
        let mut heard = [0, 0];
        let mut number = 0;
        // The first packets of each are those that it is known by.
        while heard.iter().any(|count| *count < 10) {
            assert!(number < 1000, "{heard:?}");
            for (socket, ssrc) in &parties {
                let header = Header {
                    payload_type: 0,
                    marker: false,
                    sequence_number: number,
                    timestamp: 0,
                    ssrc: *ssrc,
                };
                socket.send(&header.build(&[0x7f; 160]).unwrap()).unwrap();
            }
            for ((socket, own), heard) in parties.iter().zip(&mut heard) {
                let mut buffer = [0; 2048];
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let packet = Packet::parse(&buffer[..length]).unwrap();
                assert_eq!((packet.header.ssrc, packet.payload), (3 - own, &[0x7f; 160][..]));
                *heard += 1;
            }
            number += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chat_over_msrp() {
    let chat = Example::start("msrp_chat", &[]);
    chat.line("a=path:msrp://127.0.0.1:").await;
    assert_eq!(chat.line("Bob hears").await, "Bob hears: Hey Bob, are you there?");
    assert_eq!(chat.line("Alice hears").await, "Alice hears: Hi, Alice! I'm Bob!");
}
