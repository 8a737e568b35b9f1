//! R36: calls, registrations, subscriptions and publications over UDP, TCP and WebSocket for as long as `SOAK_SECONDS` says: memory
//! and descriptors of the server do not grow, and nothing fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use interop::{Dir, Server, Sipp, turn, within};
use sip_dialog::packages::presence::{Basic, Presence};
use sip_ua::{NoMedia, Phone};

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

/// How memory rises with time from the tenth minute on, by least squares: by then every table and cache has its size.
fn rise(minutes: &[(f64, f64)]) -> f64 {
    let late = minutes.get(9..).unwrap_or_default();
    let count = late.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| late.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|one| one.0), mean(|one| one.1));
    let both: f64 = late.iter().map(|one| (one.0 - time) * (one.1 - memory)).sum();
    let square: f64 = late.iter().map(|one| (one.0 - time).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
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
    let mut minutes: Vec<(f64, f64)> = Vec::new();
    while began.elapsed() < WARM_UP + lasts {
        comes_and_goes(&server, number).await;
        number += 1;
        let next = began + Duration::from_secs(1) * number / PHONES_PER_SECOND;
        tokio::time::sleep_until(next.into()).await;
        if registered.elapsed() > Duration::from_secs(30) {
            register(&dir);
            registered = Instant::now();
        }
        if before.is_some()
            && began.elapsed() >= Duration::from_secs(60) * u32::try_from(minutes.len() + 1).unwrap()
        {
            minutes.push((began.elapsed().as_secs_f64() / 3600.0, server.process.memory() as f64 / 1e6));
        }
        if before.is_none() && began.elapsed() >= WARM_UP {
            before = Some((server.process.memory(), server.process.descriptors(), Instant::now()));
        }
    }
    let (memory, descriptors, since) = before.unwrap();
    let grown = server.process.memory().saturating_sub(memory);
    let slope = grown as f64 / since.elapsed().as_secs_f64() * 3600.0 / 1e6;
    println!(
        "{number} phones and {all} calls in {:?}: {:.1} MB, {grown} octets more than after the warm-up ({slope:.1} MB an hour), \
         descriptors {descriptors} and {}",
        began.elapsed(),
        memory as f64 / 1e6,
        server.process.descriptors(),
    );
    let series: Vec<String> = minutes.iter().map(|(_, memory)| format!("{memory:.1}")).collect();
    println!("MB after each minute: {}; MB an hour since the tenth: {:.2}", series.join(" "), rise(&minutes));
    if lasts < Duration::from_secs(1800) {
        // An allocator takes whole pages: in a short run that is what grows, not what is held.
        assert!(grown < 2_000_000, "{grown} octets more");
    } else {
        assert!(rise(&minutes) < 1.0, "{:.2} MB an hour", rise(&minutes));
    }
    assert!(server.process.descriptors().abs_diff(descriptors) <= 2);
    Sipp::succeed(caller, &dir, "caller", patience);
    Sipp::succeed(callee, &dir, "callee", patience);
}
