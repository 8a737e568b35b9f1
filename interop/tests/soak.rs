//! R36: calls, registrations, subscriptions and publications over UDP, TCP and WebSocket for as long as `SOAK_SECONDS` says: memory
//! and descriptors of the server do not grow, and nothing fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use interop::{Dir, Server, Sipp, turn, within};
use sip_dialog::packages::presence::{Basic, Presence};
use sip_ua::{NoMedia, Phone};

/// A run of this length at least is judged by how fast memory grows in its second half: an allocator and tables of many parts
/// take long to reach their largest size, and a leak never does.
const LONG: Duration = Duration::from_secs(3600);
/// Between two looks at the server's memory.
const LOOK: Duration = Duration::from_secs(10);
/// Until transactions end as fast as they begin.
const WARM_UP: Duration = Duration::from_secs(45);
/// As many on every machine that can: what the server holds for a while follows the rate.
const PHONES_PER_SECOND: u32 = 200;
const CALLS_PER_SECOND: u32 = 25;

/// A phone comes, is seen, sees another, and goes.
async fn comes_and_goes(server: &Server, number: u32) {
    let (ws, _) = server.ws.unwrap();
    let (listen, proxy) = match number % 3 {
        0 => ("udp:127.0.0.1:0", format!("sip:{};transport=udp", server.udp)),
        1 => ("tcp:127.0.0.1:0", format!("sip:{};transport=tcp", server.tcp)),
        _ => ("ws:client:127.0.0.1", format!("sip:{ws};transport=ws")),
    };
    let user = format!("sip:user{}@example.test", number % 100);
    let phone = Phone::builder(&user).listen(listen).proxy(&proxy).media_engine(std::sync::Arc::new(NoMedia));
    let phone = phone.bind().await.unwrap();
    within("its registration", phone.register()).await.unwrap();
    let mut watch = within("its subscription", phone.watch(&user)).await.unwrap();
    let is_there = within("its own state", watch.next()).await.unwrap();
    assert!(is_there.is_open());
    let away = Presence::new(&user, Basic::Closed, None);
    let published = within("its publication", phone.publish("presence", away.to_body())).await.unwrap();
    while within("what it published", watch.next()).await.unwrap().is_open() {}
    drop((published, watch));
    within("its end", phone.unregister()).await;
    within("its end", phone.close()).await;
}

/// Octets a second of the line that fits these looks best.
fn slope(looks: &[(Duration, u64)]) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: &dyn Fn(&(Duration, u64)) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(&|look| look.0.as_secs_f64()), mean(&|look| look.1 as f64));
    let with = |of: &dyn Fn(f64, f64) -> f64| {
        looks.iter().map(|look| of(look.0.as_secs_f64() - time, look.1 as f64 - memory)).sum::<f64>()
    };
    with(&|time, memory| time * memory) / with(&|time, _| time * time).max(1.0)
}

#[test]
fn the_slope_of_a_line() {
    let line = |seconds: u64| (Duration::from_secs(seconds), 1000 + 7 * seconds + seconds % 2);
    let looks: Vec<_> = (0..100).map(line).collect();
    assert!((slope(&looks) - 7.0).abs() < 0.01, "{}", slope(&looks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn r36_memory_and_descriptors_do_not_grow() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let lasts = Duration::from_secs(seconds);
    let dir = Dir::new("soak");
    let mut server = Server::start(&dir, None, &["--listen", "ws:127.0.0.1:0"]);
    let ws = server.process.wait_for("listening ws:");
    let ws: SocketAddr = ws.rsplit("ws:").next().unwrap().trim().parse().unwrap();
    server.ws = Some((ws, ws));

    let all = u32::try_from((WARM_UP + lasts).as_secs()).unwrap() * CALLS_PER_SECOND;
    let patience = WARM_UP + lasts + Duration::from_secs(60);
    let callee = Sipp::scenario("uas-behind-proxy", None).calls(all, CALLS_PER_SECOND, patience.as_secs());
    let contact = SocketAddr::from(([127, 0, 0, 1], callee.port)).to_string();
    let callee = callee.start(&dir, "callee");
    let target = server.udp;
    let register = |dir: &Dir| {
        Sipp::scenario("register-for-another", Some(target))
            .with(["-key", "domain", "example.test", "-key", "contact", &contact])
            .service("bob")
            .run(dir, "register");
    };
    register(&dir);
    let caller = Sipp::scenario("uac", Some(server.udp))
        .with(["-key", "domain", "example.test", "-d", "1000"])
        .service("bob")
        .calls(all, CALLS_PER_SECOND, patience.as_secs())
        .start(&dir, "caller");

    let began = Instant::now();
    let (mut number, mut before, mut registered) = (0_u32, None, Instant::now());
    let mut looks: Vec<(Duration, u64)> = Vec::new();
    while began.elapsed() < WARM_UP + lasts {
        comes_and_goes(&server, number).await;
        number += 1;
        let next = began + Duration::from_secs(1) * number / PHONES_PER_SECOND;
        tokio::time::sleep_until(next.into()).await;
        if registered.elapsed() > Duration::from_secs(30) {
            register(&dir);
            registered = Instant::now();
        }
        if before.is_none() && began.elapsed() >= WARM_UP {
            before = Some((server.process.memory(), server.process.descriptors()));
        }
        if looks.last().is_none_or(|(at, _)| began.elapsed() >= *at + LOOK) {
            looks.push((began.elapsed(), server.process.memory()));
        }
    }
    let (memory, descriptors) = before.unwrap();
    let grown = server.process.memory().saturating_sub(memory);
    let slope = slope(&looks[looks.len() / 2..]) * 3600.0 / 1e6;
    println!(
        "{number} phones and {all} calls in {:?}: {:.1} MB, {grown} octets more than after the warm-up, in the second half \
         {slope:.1} MB an hour; descriptors {descriptors} and {}",
        began.elapsed(),
        memory as f64 / 1e6,
        server.process.descriptors(),
    );
    if lasts >= LONG {
        assert!(slope < 1.0, "{slope} MB an hour");
    } else {
        let most = if lasts <= WARM_UP { 2_000_000 } else { 6_000_000 };
        assert!(grown < most, "{grown} octets more");
    }
    assert!(server.process.descriptors().abs_diff(descriptors) <= 2);
    Sipp::succeed(caller, &dir, "caller", patience);
    Sipp::succeed(callee, &dir, "callee", patience);
}
