//! Calls with pictures: offered, answered or not, added and taken out, held, protected, and over a network that loses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sip_ua::{
    Call, CallOptions, ChangeError, MediaPacket, Phone, PhoneBuilder, Srtp, Video, VideoCodec, VideoEvent,
    VideoFrame,
};
use tokio::net::UdpSocket;

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two frames, so that a test takes seconds.
const FRAME: Duration = Duration::from_millis(10);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, set: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> Phone {
    set(Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0")).bind().await.unwrap()
}

fn both(builder: PhoneBuilder) -> PhoneBuilder {
    builder.video([VideoCodec::H264, VideoCodec::Vp8])
}

fn address(phone: &Phone) -> SocketAddr {
    phone.locals().iter().next().unwrap().bound
}

/// Alice calls Bob at this address, and he answers.
async fn connect(alice: &Phone, bob: &Phone, at: SocketAddr, options: CallOptions) -> (Call, Call) {
    let to = format!("sip:bob@{at}");
    within("the call", async {
        let callee = async { bob.incoming().await.unwrap().answer().await.unwrap() };
        let caller = async { alice.call_with(&to, options).await.unwrap().answered().await.unwrap() };
        tokio::join!(caller, callee)
    })
    .await
}

async fn call(alice: &Phone, bob: &Phone) -> (Call, Call) {
    connect(alice, bob, address(bob), CallOptions::new()).await
}

/// The picture of a number: a key frame of 20 packets or another of 3.
fn picture(codec: VideoCodec, number: u32, key_frame: bool) -> VideoFrame {
    let length = if key_frame { 20_000 } else { 3000 };
    let mut data = match (codec, key_frame) {
        (VideoCodec::H264, true) => {
            vec![0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 0, 0, 0, 1, 0x68, 0xce, 0, 0, 0, 1, 0x65]
        }
        (VideoCodec::H264, false) => vec![0, 0, 0, 1, 0x41],
        (_, key_frame) => vec![if key_frame { 0x10 } else { 0x11 }],
    };
    data.extend(format!("<{number}>").into_bytes());
    data.extend((0..length).map(|at: u32| (at.wrapping_mul(number + 7) >> 3) as u8 | 1));
    VideoFrame::new(codec, FRAME * number, data)
}

/// Films until nobody listens any more, with a key frame when one is wanted.
async fn film(video: &Video) {
    let (mut number, mut wanted) = (0, true);
    loop {
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, video.next()).await {
            wanted |= matches!(event, Some(VideoEvent::KeyFrameWanted));
            if event.is_none() {
                return;
            }
        }
        if video.send(picture(video.codec(), number, std::mem::take(&mut wanted))).await.is_err() {
            return;
        }
        number += 1;
        tokio::time::sleep(FRAME).await;
    }
}

/// Watches until that many frames have been seen: each as it was filmed, and decodable after the one in `last`. Gives how often
/// something was lost.
async fn watch_on(video: &Video, frames: usize, last: &mut Option<u32>) -> usize {
    let (mut seen, mut losses) = (0, 0);
    while seen < frames {
        match video.next().await.expect("pictures") {
            VideoEvent::Frame(frame) => {
                let number = filmed(&frame);
                let follows = last.is_some_and(|last| number == last + 1);
                assert!(frame.key_frame || follows, "{number} after {last:?}");
                *last = Some(number);
                seen += 1;
            }
            VideoEvent::Lost => losses += 1,
            _ => {}
        }
    }
    losses
}

async fn watch(video: &Video, frames: usize) -> usize {
    watch_on(video, frames, &mut None).await
}

/// Which frame it is, whole and as it was.
fn filmed(frame: &VideoFrame) -> u32 {
    let text = String::from_utf8_lossy(&frame.data[..40]);
    let (_, behind) = text.split_once('<').unwrap();
    let number = behind.split_once('>').unwrap().0.parse().unwrap();
    assert!(
        picture(frame.codec, number, frame.key_frame).data == frame.data,
        "{number} is not as it was filmed"
    );
    number
}

/// Each sees the other.
async fn see_each_other(one: &Video, other: &Video) {
    for (camera, screen) in [(one, other), (other, one)] {
        within("seeing", async {
            tokio::select! { _ = watch(screen, 20) => {}, () = film(camera) => panic!("the pictures end") }
        })
        .await;
    }
}

/// RFC 3264: `m=video` offered and answered; the first format of both is taken, feedback and repair too.
#[tokio::test]
async fn pictures_go_both_ways_in_the_format_that_both_have() {
    let alice = phone("alice", both).await;
    for codec in [VideoCodec::H264, VideoCodec::Vp8] {
        let bob = phone("bob", |builder| builder.video([codec])).await;
        let (caller, callee) = call(&alice, &bob).await;
        let (here, there) = (caller.video().unwrap(), callee.video().unwrap());
        assert_eq!((here.codec(), there.codec()), (codec, codec));
        let profile =
            here.parameters().is_some_and(|parameters| parameters.contains("profile-level-id=42e01f"));
        assert_eq!(profile, codec == VideoCodec::H264);
        see_each_other(&here, &there).await;
        assert!(there.request_key_frame());
        within("the wish", async { while here.next().await != Some(VideoEvent::KeyFrameWanted) {} }).await;
        caller.hang_up().await;
        assert_eq!(
            within("the end", async {
                while let Some(event) = there.next().await {
                    drop(event)
                }
            })
            .await,
            ()
        );
        assert!(there.send(picture(codec, 0, true)).await.is_err());
    }
}

/// RFC 3264 §6: who has no video refuses the line with port 0, and the call is one of sound, which a hold does not change.
#[tokio::test]
async fn rfc3264_6_a_peer_without_video_has_a_call_of_sound() {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&lines);
    let tap = move |_, _, _: &sip_transport::Path, message: &bytes::Bytes| {
        let text = String::from_utf8_lossy(message);
        let video = text.lines().filter(|line| line.starts_with("m=video")).map(str::to_owned);
        seen.lock().unwrap().extend(video);
    };
    let alice = phone("alice", |builder| both(builder).tap(Box::new(tap))).await;
    let bob = phone("bob", |builder| builder).await;
    let (caller, callee) = call(&alice, &bob).await;
    assert!(caller.video().is_none() && callee.video().is_none());
    let mut offered = std::mem::take(&mut *lines.lock().unwrap());
    assert!(!offered.remove(0).starts_with("m=video 0 "), "offered once");
    assert!(offered.iter().all(|line| line.starts_with("m=video 0 ")), "and refused: {offered:?}");
    caller.hold().await.unwrap();
    caller.resume().await.unwrap();
    let again = std::mem::take(&mut *lines.lock().unwrap());
    assert!(again.len() >= 4 && again.iter().all(|line| line.starts_with("m=video 0 ")), "{again:?}");
    assert!(matches!(caller.add_video().await, Err(ChangeError::NotTaken)));
    assert!(matches!(callee.add_video().await, Err(ChangeError::Unsupported(_))));
    caller.hang_up().await;
    // The other way round nothing is offered.
    let (caller, callee) = connect(&bob, &alice, address(&alice), CallOptions::new()).await;
    assert!(caller.video().is_none() && callee.video().is_none());
}

/// RFC 3264 §8.1, §8.2: pictures come into the call by a re-INVITE and leave it; either side may add them.
#[tokio::test]
async fn rfc3264_8_1_pictures_are_added_to_a_call_and_taken_out() {
    let (alice, bob) = (phone("alice", both).await, phone("bob", both).await);
    let (caller, callee) = connect(&alice, &bob, address(&bob), CallOptions::new().without_video()).await;
    assert!(caller.video().is_none() && callee.video().is_none());
    assert!(matches!(callee.add_video().await, Err(ChangeError::NotTaken)), "the caller wants none");
    let here = caller.add_video().await.unwrap();
    let there = within("the addition", callee.video_added()).await.unwrap();
    see_each_other(&here, &there).await;
    callee.remove_video().await.unwrap();
    assert!(caller.video().is_none() && callee.video().is_none());
    within("the end of the pictures", async { while here.next().await.is_some() {} }).await;
    assert!(matches!(caller.add_video().await, Err(ChangeError::NotTaken)), "the callee wants no more");
    let there = callee.add_video().await.unwrap();
    let here = within("the return", caller.video_added()).await.unwrap();
    see_each_other(&here, &there).await;
    caller.hang_up().await;
    assert!(within("the end", callee.video_added()).await.is_none());
}

#[tokio::test]
async fn a_caller_with_video_can_be_answered_without() {
    let (alice, bob) = (phone("alice", both).await, phone("bob", both).await);
    let to = format!("sip:bob@{}", address(&bob));
    let callee = async {
        let incoming = bob.incoming().await.unwrap();
        assert!(incoming.offers_video());
        incoming.answer_without_video().await.unwrap()
    };
    let caller = async { alice.call(&to).await.unwrap().answered().await.unwrap() };
    let (caller, callee) = within("the call", async { tokio::join!(caller, callee) }).await;
    assert!(caller.video().is_none() && callee.video().is_none());
    let there = callee.add_video().await.unwrap();
    see_each_other(&caller.video().unwrap(), &there).await;
}

/// RFC 3264 §8.4: a hold stops both streams; behind it the first picture is a key frame.
#[tokio::test]
async fn rfc3264_8_4_a_hold_stops_the_pictures_and_they_begin_again_with_a_key_frame() {
    let (alice, bob) = (phone("alice", both).await, phone("bob", both).await);
    let (caller, callee) = call(&alice, &bob).await;
    let (here, there) = (caller.video().unwrap(), callee.video().unwrap());
    let filming = film(&there);
    let held = async {
        let mut last = None;
        watch_on(&here, 10, &mut last).await;
        caller.hold().await.unwrap();
        assert!(here.is_sending() && callee.is_held_by_peer());
        // What was under way comes; then nothing does.
        while tokio::time::timeout(FRAME * 20, here.next()).await.is_ok() {}
        assert!(!there.is_sending());
        caller.resume().await.unwrap();
        let VideoEvent::Frame(first) = here.next().await.unwrap() else { panic!("something was lost") };
        assert!(first.key_frame);
        last = Some(filmed(&first));
        watch_on(&here, 10, &mut last).await;
    };
    within("the hold", async {
        tokio::select! { () = held => {}, () = filming => panic!("the pictures end") }
    })
    .await;
}

/// RFC 6141: when the network changes the pictures move with the call, with fresh keys (RFC 4568 §7.1.4).
#[tokio::test]
async fn pictures_go_on_from_another_address() {
    let secure = |builder: PhoneBuilder| both(builder).srtp(Srtp::Required);
    let (alice, bob) = (phone("alice", secure).await, phone("bob", secure).await);
    let (caller, callee) = call(&alice, &bob).await;
    let (here, there) = (caller.video().unwrap(), callee.video().unwrap());
    see_each_other(&here, &there).await;
    alice.move_to(&["udp:127.0.0.2:0"]).unwrap();
    within("a change", caller.refresh()).await.unwrap();
    see_each_other(&here, &there).await;
}

/// RFC 3550 §6.4.1: sound and pictures tell the time of one clock, by which they are played together.
#[tokio::test]
async fn rfc3550_6_4_1_sound_and_pictures_have_one_clock() {
    let often = |builder: PhoneBuilder| both(builder).rtcp_interval(Duration::from_millis(200));
    let (alice, bob) = (phone("alice", often).await, phone("bob", often).await);
    let (caller, callee) = call(&alice, &bob).await;
    let (here, there) = (caller.video().unwrap(), callee.video().unwrap());
    let look = async {
        loop {
            let Some(VideoEvent::Frame(frame)) = there.next().await else { continue };
            if let (Some(seen), Some(heard)) = (frame.captured, callee.audio().captured()) {
                // Sound waits in its buffer for a while, pictures do not.
                return seen.since(heard).unwrap_or_default().max(heard.since(seen).unwrap_or_default());
            }
        }
    };
    let apart = within("reports", async {
        tokio::select! { apart = look => apart, () = film(&here) => panic!("the pictures end") }
    })
    .await;
    assert!(apart < Duration::from_secs(3), "{apart:?}");
}

/// RFC 4568: pictures are protected as the sound is, with keys of their own, from the start and when they are added.
#[tokio::test]
async fn rfc4568_pictures_are_protected_with_keys_of_their_own() {
    let clear = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&clear);
    let tap = move |packet: &MediaPacket<'_>| {
        let parameter_sets = packet.payload.windows(4).any(|four| four == [0x67, 0x42, 0xe0, 0x1f]);
        *counter.lock().unwrap() += usize::from(parameter_sets);
    };
    let alice = phone("alice", |builder| both(builder).srtp(Srtp::Required)).await;
    let bob = phone("bob", |builder| both(builder).srtp(Srtp::Optional).media_tap(Arc::new(tap))).await;
    for options in [CallOptions::new(), CallOptions::new().without_video()] {
        let (caller, callee) = connect(&alice, &bob, address(&bob), options).await;
        let here = caller.add_video().await.unwrap();
        let there = within("the addition", callee.video_added()).await.unwrap();
        assert!(here.crypto_suite().is_some() && here.crypto_suite() == callee.audio().crypto_suite());
        see_each_other(&here, &there).await;
        caller.hang_up().await;
    }
    assert_eq!(*clear.lock().unwrap(), 0, "nothing goes in the clear");
}

/// Passes the signalling of a call on to `callee`, and its pictures over two sockets that lose and reorder.
async fn lossy(callee: SocketAddr, percent: u64) -> SocketAddr {
    let bind = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
    let (front, back, near, far) = (bind().await, bind().await, bind().await, bind().await);
    let at = front.local_addr().unwrap();
    let ports = [near.local_addr().unwrap().port(), far.local_addr().unwrap().port()];
    assert!(
        ports.iter().all(|port| *port >= 10_000),
        "written with as many digits as the ports they stand for"
    );
    // Where each of the two has its pictures: the caller's come in at `far`, and leave from `near`.
    let real: Arc<Mutex<[Option<SocketAddr>; 2]>> = Arc::default();
    let learned = Arc::clone(&real);
    let rewrite = move |datagram: &[u8], side: usize| -> Vec<u8> {
        let mut text = String::from_utf8(datagram.to_vec()).unwrap();
        if let Some(start) = text.find("m=video ").map(|start| start + "m=video ".len())
            && let Ok(port) = text[start..start + 5].parse::<u16>()
        {
            learned.lock().unwrap()[side] = Some(SocketAddr::from(([127, 0, 0, 1], port)));
            text.replace_range(start..start + 5, &ports[side].to_string());
        }
        text.into_bytes()
    };
    tokio::spawn(async move {
        let (mut one, mut other) = (vec![0; 65_536], vec![0; 65_536]);
        let mut caller = None;
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut one) => {
                    caller = Some(from);
                    back.send_to(&rewrite(&one[..length], 0), callee).await.unwrap();
                }
                Ok((length, _)) = back.recv_from(&mut other) => {
                    if let Some(caller) = caller {
                        front.send_to(&rewrite(&other[..length], 1), caller).await.unwrap();
                    }
                }
            }
        }
    });
    tokio::spawn(async move {
        let (mut one, mut other) = (vec![0; 2048], vec![0; 2048]);
        let (mut random, mut kept) = (7u64, [None, None]);
        loop {
            let (datagram, to, out) = tokio::select! {
                Ok((length, _)) = far.recv_from(&mut one) => (one[..length].to_vec(), 1, &near),
                Ok((length, _)) = near.recv_from(&mut other) => (other[..length].to_vec(), 0, &far),
            };
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let Some(address) = real.lock().unwrap()[to] else { continue };
            let kept: &mut Option<Vec<u8>> = &mut kept[to];
            match (random >> 33) % 100 {
                draw if draw < percent => {}                                            // lost
                draw if draw < percent + 3 && kept.is_none() => *kept = Some(datagram), // overtaken by the next one
                _ => {
                    let _ = out.send_to(&datagram, address).await;
                    if let Some(kept) = kept.take() {
                        let _ = out.send_to(&kept, address).await;
                    }
                }
            }
        }
    });
    at
}

/// RFC 4588: at 5 % loss both ways, and with packets that overtake each other, whatever is shown is right, and nearly all is.
#[tokio::test]
async fn rfc4588_pictures_get_over_a_network_that_loses() {
    for srtp in [Srtp::Off, Srtp::Required] {
        let (alice, bob) = (
            phone("alice", |builder| both(builder).srtp(srtp)).await,
            phone("bob", |builder| both(builder).srtp(srtp)).await,
        );
        let relay = lossy(address(&bob), 5).await;
        let (caller, callee) = connect(&alice, &bob, relay, CallOptions::new()).await;
        let (here, there) = (caller.video().unwrap(), callee.video().unwrap());
        within("watching", async {
            tokio::select! { _ = watch(&there, 200) => {}, () = film(&here) => panic!("the pictures end") }
        })
        .await;
        let (sent, seen) = (here.statistics(), there.statistics());
        assert!(seen.packets_mended > 5, "{seen:?}");
        assert!(sent.packets_repeated >= seen.packets_mended);
        assert!(seen.frames_damaged == 0 || seen.key_frames_asked > 0, "{seen:?}");
        caller.hang_up().await;
    }
}
