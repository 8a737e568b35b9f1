//! R40: the system's clock jumps by an hour and by ten years, and stands still, while phones are registered at `sip server` and call. Everything goes on: what
//! lasts for a time is measured by a clock that nobody sets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;

use interop::{Dir, Own, Server, turn, within};

/// The library of Debian's package faketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The clock of a server, which a file sets.
struct Clock(std::path::PathBuf);

impl Clock {
    fn new(dir: &Dir) -> Self {
        Self(dir.write("clock", "+0"))
    }

    /// `+3600`: an hour ahead; a date and time: it stands still there.
    fn set(&self, to: &str) {
        // At once, not octet by octet: the server may be looking.
        let new = self.0.with_extension("new");
        std::fs::write(&new, to).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn environment(&self) -> Vec<String> {
        [
            format!("LD_PRELOAD={FAKETIME}"),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.0.display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        ]
        .to_vec()
    }
}

fn users() -> Vec<(String, String)> {
    ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned())).to_vec()
}

async fn registered(user: &str, server: &Server) -> Own {
    let phone = sip_ua::Phone::builder(&format!("sip:{user}@example.test")).password("secret").expires(300);
    let own = Own::with(user, phone.listen("udp:127.0.0.1:0").proxy(&server.uri())).await;
    within("registration", own.phone.register()).await.unwrap();
    own
}

/// Seconds that a phone's binding is still good for.
async fn left(own: &Own) -> u32 {
    let bindings = within("bindings", own.phone.bindings(None, None)).await.unwrap();
    assert_eq!(bindings.len(), 1, "{bindings:?}");
    bindings[0].expires().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn r40_nothing_ends_early_or_late_when_the_clock_jumps_or_stands_still() {
    let Some(_turn) = turn(&[FAKETIME]) else { return };
    let dir = Dir::new("clock");
    let clock = Clock::new(&dir);
    let mut server = Server::start_in(&dir, &clock.environment(), "127.0.0.1", Some(&users()), &[]);
    let maps = std::fs::read_to_string(Path::new("/proc").join(server.process.id().to_string()).join("maps"));
    assert!(maps.unwrap().contains("libfaketime"), "the server's clock is the test's");
    let alice = registered("alice", &server).await;
    let bob = registered("bob", &server).await;
    let challenged = |own: &Own| own.received("SIP/2.0 401").len() + own.received("SIP/2.0 407").len();

    let calling = alice.phone.call("sip:bob@example.test").await.unwrap();
    let incoming = within("a call", bob.phone.incoming()).await.unwrap();
    let standing = incoming.answer().await.unwrap();
    let call = within("the answer", calling.answered()).await.unwrap();
    let jumps = ["+0", "+3600", "+0", "-3600", "+0", "+315576000", "-315576000", "2020-02-29 23:59:59", "+0"];
    for to in jumps {
        // One call rings while the clock jumps: its transactions have an hour behind them, or ten years ahead.
        let calling = alice.phone.call("sip:bob@example.test").await.unwrap();
        let ringing = within("a call that rings", bob.phone.incoming()).await.unwrap();
        ringing.ring().unwrap();
        clock.set(to);
        let before = challenged(&alice) + challenged(&bob);
        for own in [&alice, &bob] {
            let left = left(own).await;
            assert!((240..=300).contains(&left), "{left} s left at {to}");
        }
        let answered = ringing.answer().await.unwrap();
        let second = within("the answer", calling.answered()).await.unwrap();
        within("a change of the new call", second.refresh()).await.unwrap();
        within("BYE", second.hang_up()).await;
        within("its end", answered.ended()).await;
        within("a change of the old call", call.hold()).await.unwrap();
        within("and another", call.resume()).await.unwrap();
        within("registration", alice.phone.register()).await.unwrap();
        // Nonces last by the same clock: what was good is good. A question of its own is challenged each time.
        assert_eq!(challenged(&alice) + challenged(&bob) - before, 2, "the two questions alone, at {to}");
    }
    within("BYE", call.hang_up()).await;
    within("the end", standing.ended()).await;
    alice.phone.close().await;
    bob.phone.close().await;
    assert_eq!(server.end().bindings, 0);
}

/// RFC 7616 §3.3, §3.4: a nonce that this server has not made, by a clock an hour or ten years before or behind, is none; with the right
/// password behind it the challenge is `stale`, and the phone goes on without asking anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn r40_nonces_of_another_time_are_stale() {
    let Some(_turn) = turn(&[FAKETIME]) else { return };
    let dir = Dir::new("clock-nonce");
    let clock = Clock::new(&dir);
    let port = interop::free_tcp_and_udp_port();
    let listen = format!("udp:127.0.0.1:{port}");
    let start = |clock: &Clock| {
        let mut server =
            Server::start_in(&dir, &clock.environment(), "127.0.0.1", Some(&users()), &["--listen", &listen]);
        server.process.wait_for(&listen);
        server.udp.set_port(port);
        server
    };
    let mut server = start(&clock);
    let alice = registered("alice", &server).await;
    for to in ["+3600", "-3600", "+315576000", "-315576000"] {
        server.end();
        clock.set(to);
        server = start(&clock);
        let before = alice.received("SIP/2.0 401").len();
        within("registration", alice.phone.register()).await.unwrap();
        let asked = alice.received("SIP/2.0 401").split_off(before);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].to_lowercase().contains("stale=true"), "{}", asked[0]);
    }
    alice.phone.close().await;
    assert_eq!(server.end().bindings, 0);
}
