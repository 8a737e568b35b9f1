//! What goes with the sound of a call where both sides take it: one port for RTP and RTCP, pauses described, packets repeated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtp::audio::tone::Tone;
use rtp::demux::{Protocol, classify};
use rtp::packet::Packet;
use sip_message::{Message, Method, StatusCode};
use sip_ua::{Call, Codec, MediaPacket, Phone, PhoneBuilder};
use tokio::net::UdpSocket;

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    within(what, async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What a phone sent: local port, protocol, payload type.
type Seen = Arc<Mutex<Vec<(u16, Protocol, u8)>>>;

async fn phone(user: &str, set: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> (Phone, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let tap = Arc::new(move |packet: &MediaPacket<'_>| {
        if !packet.inbound {
            let kind = Packet::parse(packet.payload).map_or(0, |packet| packet.header.payload_type);
            noted.lock().unwrap().push((packet.local.port(), classify(packet.payload), kind));
        }
    });
    let builder = Phone::builder(&format!("sip:{user}@example.com"))
        .listen("udp:127.0.0.1:0")
        .rtcp_interval(Duration::from_millis(200))
        .media_tap(tap);
    (set(builder).bind().await.unwrap(), seen)
}

async fn connect(alice: &Phone, bob: &Phone) -> (Call, Call) {
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    within("the call", async {
        tokio::join!(async { alice.call(&to).await.unwrap().answered().await.unwrap() }, async {
            bob.incoming().await.unwrap().answer().await.unwrap()
        })
    })
    .await
}

fn count(seen: &Seen, which: impl Fn(&(u16, Protocol, u8)) -> bool) -> usize {
    seen.lock().unwrap().iter().filter(|packet| which(packet)).count()
}

/// RFC 5761 §5.1.1: what both understand is used, in both directions.
#[tokio::test]
async fn rfc5761_reports_come_to_the_port_of_the_sound() {
    let ((alice, from_alice), (bob, from_bob)) = (phone("alice", |b| b).await, phone("bob", |b| b).await);
    let (call, called) = connect(&alice, &bob).await;
    until("reports", || {
        [&call, &called].iter().all(|call| call.statistics().session.sent.reported.is_some())
    })
    .await;
    call.hang_up().await;
    for seen in [&from_alice, &from_bob] {
        let ports: BTreeSet<u16> = seen.lock().unwrap().iter().map(|(port, ..)| *port).collect();
        assert_eq!(ports.len(), 1, "{ports:?}");
        assert!(count(seen, |(_, protocol, _)| *protocol == Protocol::Rtcp) > 0);
    }
    alice.close().await;
    bob.close().await;
}

/// A peer that has never heard of any of it: the offer is answered with G.711 alone, and reports go to the next port.
#[tokio::test]
async fn a_peer_that_knows_none_of_it_has_a_call_as_before() {
    let (alice, seen) = phone("alice", |b| b.silence_suppression(true).redundancy(2)).await;
    let signalling = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let media = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = media.local_addr().unwrap().port();
    let callee = async {
        let mut buffer = [0; 65_535];
        loop {
            let (length, from) = signalling.recv_from(&mut buffer).await.unwrap();
            let Ok(Message::Request(request)) =
                Message::parse(buffer[..length].to_vec().into(), &Default::default())
            else {
                continue;
            };
            let mut response = request.reply(StatusCode::OK).to_tag("old");
            response = response.raw("Contact", &format!("<sip:bob@{}>", signalling.local_addr().unwrap()));
            match *request.method() {
                Method::Ack => continue,
                Method::Invite => {
                    let offer = String::from_utf8(request.body().to_vec()).unwrap();
                    for told in ["a=rtcp-mux\r\n", "a=rtpmap:13 CN/8000\r\n", " red/8000\r\n"] {
                        assert!(offer.contains(told), "{told}{offer}");
                    }
                    let answer = format!(
                        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
                    );
                    response = response.body("application/sdp", answer);
                }
                _ => {}
            }
            signalling.send_to(&response.build().unwrap().to_bytes(), from).await.unwrap();
        }
    };
    let to = format!("sip:bob@{}", signalling.local_addr().unwrap());
    let caller = async {
        let call = alice.call(&to).await.unwrap().answered().await.unwrap();
        until("sound and reports", || {
            count(&seen, |(_, protocol, _)| *protocol == Protocol::Rtcp) > 0 && count(&seen, |_| true) > 50
        })
        .await;
        call.hang_up().await;
    };
    tokio::select! {
        () = within("the call", caller) => {}
        () = callee => {}
    }
    let sound = |(_, protocol, _): &(u16, Protocol, u8)| *protocol == Protocol::Rtp;
    assert_eq!(count(&seen, sound), count(&seen, |packet| sound(packet) && packet.2 == 0), "PCMU alone");
    let rtp = seen.lock().unwrap().iter().find(|packet| sound(packet)).unwrap().0;
    assert_eq!(count(&seen, |(from, protocol, _)| *protocol == Protocol::Rtcp && *from != rtp + 1), 0);
    alice.close().await;
}

/// RFC 3389: a pause is described by few packets of type 13 and heard as a pause; who does not suppress sends all of it.
#[tokio::test]
async fn rfc3389_pauses_are_described_where_that_is_wanted() {
    let (alice, from_alice) = phone("alice", |b| b.silence_suppression(true)).await;
    let (bob, from_bob) = phone("bob", |b| b).await;
    let (call, called) = connect(&alice, &bob).await;
    let tone: Vec<i16> = Tone::sine(440.0).samples().take(8000).collect();
    within("a tone", call.audio().play_samples(tone)).await.unwrap();
    let spoken = count(&from_alice, |(_, protocol, kind)| *protocol == Protocol::Rtp && *kind == 0);
    assert!(spoken >= 40, "{spoken}");
    let before = count(&from_bob, |(_, protocol, _)| *protocol == Protocol::Rtp);
    until("four seconds of silence", || {
        count(&from_bob, |(_, protocol, _)| *protocol == Protocol::Rtp) >= before + 200
    })
    .await;
    let described = count(&from_alice, |(_, protocol, kind)| *protocol == Protocol::Rtp && *kind == 13);
    let after = count(&from_alice, |(_, protocol, kind)| *protocol == Protocol::Rtp && *kind == 0);
    assert!((1..60).contains(&described), "{described} descriptions");
    assert!(after < spoken + 100, "{spoken} packets spoken, {after} with the pause");
    assert_eq!(count(&from_bob, |(_, _, kind)| *kind == 13), 0);
    let heard = called.statistics();
    assert_eq!(heard.unknown_payloads, 0);
    assert_eq!(heard.session.received.lost(), 0);
    call.hang_up().await;
    alice.close().await;
    bob.close().await;
}

/// RFC 2198: packets carry those before them, and each side sends so only if the other can read it.
#[tokio::test]
async fn rfc2198_packets_are_repeated_where_both_want_it() {
    for (theirs, repeated) in [(1, true), (0, false)] {
        let (alice, from_alice) = phone("alice", |b| b.redundancy(2).codecs(&[Codec::G722])).await;
        let (bob, from_bob) = phone("bob", |b| b.redundancy(theirs).codecs(&[Codec::G722])).await;
        let (call, called) = connect(&alice, &bob).await;
        until("sound", || {
            [&call, &called].iter().all(|call| call.statistics().session.received.packets > 30)
        })
        .await;
        let (here, there) = (call.audio(), called.audio());
        let (pressed, heard) =
            within("a digit", async { tokio::join!(here.send_digits("5"), there.next_digit()) }).await;
        pressed.unwrap();
        assert_eq!(heard, Some('5'));
        for (seen, call) in [(&from_alice, &call), (&from_bob, &called)] {
            let plain = count(seen, |(_, protocol, kind)| *protocol == Protocol::Rtp && *kind == 9);
            let wrapped =
                count(seen, |(_, protocol, kind)| *protocol == Protocol::Rtp && *kind >= 96 && *kind != 101);
            assert_eq!((wrapped > 20, plain > 20), (repeated, !repeated), "{wrapped} wrapped, {plain} plain");
            assert_eq!(call.statistics().unknown_payloads, 0);
        }
        call.hang_up().await;
        alice.close().await;
        bob.close().await;
    }
}

/// RFC 3611 §5.2: who asks for the metrics of a call gets them with the peer's reports; who does not ask gets none.
#[tokio::test]
async fn rfc3611_5_2_what_the_peer_hears_is_told_to_those_who_ask() {
    let ((alice, _), (bob, _)) =
        (phone("alice", |b| b).await, phone("bob", |b| b.extended_reports(false)).await);
    let (call, called) = connect(&alice, &bob).await;
    until("the peer's metrics", || call.media_report().is_some_and(|report| report.heard_by_peer.is_some()))
        .await;
    let heard = call.media_report().unwrap();
    let metrics = heard.heard_by_peer.unwrap();
    assert_eq!((metrics.ssrc, metrics.loss_rate, metrics.burst_density), (heard.local.1, 0, 0));
    assert_eq!((metrics.gap_threshold, metrics.receiver_configuration), (16, 0xb0));
    assert!(metrics.r_factor > 80 && metrics.mos_listening > 40, "{metrics:?}");
    assert!(
        metrics.jitter_buffer_nominal >= 60 && metrics.jitter_buffer_absolute_maximum == 200,
        "{metrics:?}"
    );
    // Bob did not ask, and has had as many reports by now.
    until("a report", || called.statistics().session.sent.reported.is_some()).await;
    assert!(called.media_report().unwrap().heard_by_peer.is_none());
    call.hang_up().await;
    alice.close().await;
    bob.close().await;
}
