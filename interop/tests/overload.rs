//! R34: more than `sip server` is made for, while calls stand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use interop::{Dir, Server, turn, within};
use sip_ua::{Call, NoMedia, Phone};

/// Datagrams a second.
const RATE: u64 = 20_000;
/// For how long: seconds, if `INTEROP_R34` does not say another number.
const FLOOD: u64 = 15;
/// Calls that stand meanwhile.
const CALLS: usize = 20;
/// What the server may take, however long it lasts (R34).
const MEMORY: u64 = 256 << 20;

async fn registered(user: &str, server: &Server) -> Phone {
    let phone = Phone::builder(&format!("sip:{user}@example.test")).password("secret");
    let phone = phone.listen("udp:127.0.0.1:0").proxy(&server.uri()).media_engine(Arc::new(NoMedia));
    let phone = phone.max_calls(1_000).bind().await.unwrap();
    within("registration", phone.register()).await.unwrap();
    phone
}

/// One of the datagrams: each fourth is no SIP, the others are requests that nobody has proved to be somebody's.
fn datagram(number: u64, from: SocketAddr) -> String {
    let method = match number % 4 {
        0 => return format!("{number}\r\n: junk \0 INVITE sip:\r\n\r\n"),
        1 => "INVITE",
        2 => "REGISTER",
        _ => "OPTIONS",
    };
    let uri = if method == "INVITE" { "sip:bob@example.test" } else { "sip:example.test" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKf{number};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.test>;tag=f{number}\r\nTo: <sip:alice@example.test>\r\nCall-ID: flood-{number}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:alice@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Sends until told to stop; gives how many.
fn flood(to: SocketAddr, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = socket.local_addr().unwrap();
    let (begin, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = begin.elapsed().as_micros() as u64 * RATE / 1_000_000;
        while sent < due {
            let _ = socket.send_to(datagram(sent, from).as_bytes(), to);
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// Re-INVITEs of all calls in turn until `until`: how long each took, and how many failed.
async fn changes(calls: &[Arc<Call>], until: Instant) -> (Vec<Duration>, usize) {
    let mut each = tokio::task::JoinSet::new();
    for call in calls {
        let call = Arc::clone(call);
        each.spawn(async move {
            let (mut took, mut failed) = (Vec::new(), 0);
            while Instant::now() < until {
                let begin = Instant::now();
                match call.refresh().await {
                    Ok(()) => took.push(begin.elapsed()),
                    Err(_) => failed += 1,
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (took, failed)
        });
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    for (some, bad) in each.join_all().await {
        took.extend(some);
        failed += bad;
    }
    took.sort();
    (took, failed)
}

fn share(took: &[Duration], part: f64) -> Duration {
    took[((took.len() - 1) as f64 * part) as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn r34_calls_stand_in_a_flood_of_twenty_thousand_datagrams_a_second() {
    let Some(_turn) = turn(&[]) else { return };
    let flood_time = std::env::var("INTEROP_R34").ok().and_then(|seconds| seconds.parse().ok());
    let flood_time = Duration::from_secs(flood_time.unwrap_or(FLOOD));
    let dir = Dir::new("r34");
    let users = ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned()));
    let mut server = Server::start(&dir, Some(&users), &[]);
    let (alice, bob) = (registered("alice", &server).await, registered("bob", &server).await);
    let (mut calls, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let calling = alice.call("sip:bob@example.test").await.unwrap();
        answered.push(within("a call", bob.incoming()).await.unwrap().answer().await.unwrap());
        calls.push(Arc::new(within("the answer", calling.answered()).await.unwrap()));
    }
    let (calm, _) = changes(&calls, Instant::now() + Duration::from_secs(2)).await;
    let before = server.process.memory();

    let stop = Arc::new(AtomicBool::new(false));
    let flooding = {
        let (to, stop) = (server.udp, Arc::clone(&stop));
        thread::spawn(move || flood(to, &stop))
    };
    let (took, failed) = changes(&calls, Instant::now() + flood_time).await;
    stop.store(true, Ordering::Relaxed);
    let sent = flooding.join().unwrap();
    let memory = server.process.memory();
    let (after, failed_after) = changes(&calls, Instant::now() + Duration::from_secs(2)).await;
    println!(
        "{sent} datagrams in {flood_time:?}; re-INVITEs: {} of {} succeeded, median {:.1?}, p99 {:.1?} (before {:.1?}, after {:.1?}); \
         {} MiB, {} before",
        took.len(),
        took.len() + failed,
        share(&took, 0.5),
        share(&took, 0.99),
        share(&calm, 0.99),
        share(&after, 0.99),
        memory >> 20,
        before >> 20
    );
    assert!(sent > RATE * flood_time.as_secs() / 2, "the machine sends no flood: {sent}");
    assert!(failed * 100 <= took.len(), "{failed} of {} failed", took.len() + failed);
    assert!(took.len() > CALLS * 5, "{} changes", took.len());
    assert!(memory < MEMORY, "{memory} bytes");
    assert_eq!(failed_after, 0);
    for (call, other) in calls.into_iter().zip(answered) {
        within("BYE", Arc::into_inner(call).unwrap().hang_up()).await;
        within("the end", other.ended()).await;
    }
    alice.close().await;
    bob.close().await;
    assert_eq!(server.end().bindings, 0);
}
