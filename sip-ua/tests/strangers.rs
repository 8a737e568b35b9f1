//! A live call under a flood of garbage at its media ports, over real sockets (R23).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sip_ua::{MediaPacket, Phone};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(2);
/// What the process may grow by meanwhile: sockets' buffers are the system's, and queues of ours are short.
const MAX_GROWTH: u64 = 64 << 20;

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Octets of memory that the process holds, where the system says.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4096)
}

/// Floods until it is told to stop; nothing must ever come back.
fn flood(targets: &[SocketAddr], stop: &AtomicBool, sent: &AtomicU64) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut state = 1u64;
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        for target in targets {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut datagram = [0; 172];
            datagram[..8].copy_from_slice(&state.to_be_bytes());
            datagram[8..12].copy_from_slice(&(state >> 20).to_be_bytes()[..4]);
            // RTP of any type, RTCP, STUN, or whatever.
            datagram[0] = [0x80, 0x80, 0x81, 0x00, datagram[0]][(state >> 40) as usize % 5];
            let length = if state >> 60 == 0 { (state >> 50) as usize % 20 } else { 172 };
            if socket.send_to(&datagram[..length], target).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        answers += usize::from(socket.recv_from(&mut [0; 2048]).is_ok());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_under_a_flood_at_its_media_ports() {
    let places = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
    let seen = Arc::clone(&places);
    let tap = Arc::new(move |packet: &MediaPacket<'_>| {
        let mut seen = seen.lock().unwrap();
        // Only what we send tells our own ports for sure.
        if !packet.inbound && !seen.contains(&packet.local) {
            seen.push(packet.local);
        }
    });
    let phone = async |user: &str| {
        let builder = Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0");
        builder.media_tap(tap.clone()).rtcp_interval(Duration::from_millis(300)).bind().await.unwrap()
    };
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let (call, called) = patient("the call", async {
        tokio::join!(async { alice.call(&to).await.unwrap().answered().await.unwrap() }, async {
            bob.incoming().await.unwrap().answer().await.unwrap()
        })
    })
    .await;

    // Media flows both ways, and so do reports, over the same two ports.
    let speech = rtp::audio::speech::speech_like(4 * 8000, 5);
    patient("the first digit", call.audio().send_digits("1")).await.unwrap();
    assert_eq!(patient("the first digit", called.audio().next_digit()).await, Some('1'));
    patient("reports", async {
        while places.lock().unwrap().len() < 2
            || [&call, &called].iter().any(|call| call.statistics().session.sent.reported.is_none())
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let targets = places.lock().unwrap().clone();

    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let before = resident();
    let flooding = std::thread::spawn({
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        move || flood(&targets, &stop, &sent)
    });
    let (begun, packets_before) = (Instant::now(), called.statistics().session.received.packets);
    let audio = call.audio();
    let talking = audio.play_samples(speech);
    tokio::pin!(talking);
    let mut keys = 0;
    while begun.elapsed() < FLOOD {
        // Keys get through while it lasts. The system drops what a full socket cannot take, so that on a slow machine all packets
        // of one may be gone; then it is pressed again, as anybody would.
        let key = ['4', '5', '6'][keys % 3];
        patient("a key", async {
            loop {
                call.audio().send_digits(&key.to_string()).await.unwrap();
                let next = tokio::time::timeout(Duration::from_secs(3), called.audio().next_digit()).await;
                match next.map(Option::unwrap) {
                    Ok(heard) if heard == key => break,
                    Ok(heard) => assert!("456".contains(heard), "nobody pressed {heard}"),
                    Err(_) => {}
                }
            }
        })
        .await;
        keys += 1;
        let _ = tokio::time::timeout(Duration::from_millis(100), &mut talking).await;
    }
    let after = resident();
    stop.store(true, Ordering::Relaxed);
    let answers = tokio::task::spawn_blocking(move || flooding.join().unwrap()).await.unwrap();
    audio.stop_playing();

    assert_eq!(answers, 0, "something was sent to the stranger");
    let sent = sent.load(Ordering::Relaxed);
    let statistics = called.statistics();
    let discarded = statistics.session.discarded;
    assert!(sent > 1000 && discarded.foreign + discarded.malformed > 500, "{sent} sent, {discarded:?}");
    // What a flood takes from the socket's buffer is lost before anybody sees it; the call must still be one.
    let heard = statistics.session.received.packets - packets_before;
    assert!(heard > 20, "{heard} packets in two seconds");
    if let (Some(before), Some(after)) = (before, after) {
        let growth = after.saturating_sub(before);
        assert!(growth < MAX_GROWTH, "{growth} octets more in memory");
    }
    patient("hanging up", call.hang_up()).await;
    patient("the other side", called.ended()).await;
    alice.close().await;
    bob.close().await;
}
