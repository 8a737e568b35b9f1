//! Several servers with their bindings in one Redis: called through each other, in each other's way, and without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use interop::{Call, Certificates, Dir, Process, Redis, Server, UdpPeer, program, turn, within};
use sip_message::Response;
use sip_message::headers::Contact;
use sip_ua::Phone;

const PROGRAMS: [&str; 2] = ["redis-server", "redis-cli"];

/// Two servers with one Redis.
struct Group {
    dirs: [Dir; 2],
    servers: [Server; 2],
    redis: Redis,
    settings: String,
}

impl Group {
    fn start(name: &str, more: &str) -> Self {
        let dirs = ["a", "b"].map(|one| Dir::new(&format!("{name}-{one}")));
        let redis = Redis::start(&dirs[0]);
        let settings = format!("domains = [\"example.test\"]\nlocation = \"{}\"\n{more}", redis.url());
        let servers = [0, 1].map(|at| Server::start_by(&dirs[at], &settings));
        Self { dirs, servers, redis, settings }
    }

    /// The same with servers that ask nobody who they are.
    fn open(name: &str) -> Self {
        Self::start(name, "authentication = false\n[registrar]\nmax_bindings = 20\n")
    }

    fn peer(&self, at: usize) -> UdpPeer {
        UdpPeer::new(self.servers[at].udp)
    }

    /// The contacts of a user as a server tells them.
    fn contacts(&self, at: usize, user: &str) -> Vec<String> {
        let ok = register(&self.peer(at), user, "query", 1, &[]).expect("an answer");
        assert_eq!(ok.status().code(), 200, "{user}");
        contacts(&ok)
    }
}

fn contacts(response: &Response) -> Vec<String> {
    let all = response.headers.all::<Contact>().map(Result::unwrap);
    all.filter_map(|contact| Some(contact.uri()?.user()?.to_owned())).collect()
}

/// A REGISTER with these contacts and their times.
fn register(peer: &UdpPeer, user: &str, call: &str, cseq: u32, contacts: &[(&str, u32)]) -> Option<Response> {
    let here = peer.address();
    let call_id = format!("{user}-{call}");
    let lines: String = contacts
        .iter()
        .map(|(name, expires)| format!("Contact: <sip:{name}@{here}>;expires={expires}\r\n"))
        .collect();
    let text = format!(
        "REGISTER sip:example.test SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@example.test>;tag=r\r\nTo: <sip:{user}@example.test>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    peer.ask(&text, &call_id)
}

#[track_caller]
fn assert_unavailable(response: &Response) {
    assert_eq!(response.status().code(), 503);
    assert!(response.headers.contains("Retry-After"), "{response}");
}

/// Registers until it is granted.
#[track_caller]
fn registers_within(peer: &UdpPeer, user: &str, patience: Duration) -> Duration {
    let begin = Instant::now();
    for cseq in 1.. {
        let answer = register(peer, user, "again", cseq, &[(user, 600)]).expect("an answer");
        if answer.status().code() == 200 {
            break;
        }
        assert_unavailable(&answer);
        assert!(begin.elapsed() < patience, "the location store is not found again");
        thread::sleep(Duration::from_millis(50));
    }
    begin.elapsed()
}

/// A phone is registered over its connection to one server. A call by the other one reaches it, with sound, and both stay in the way
/// until its end; then the phone is with the other server.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_phone_of_one_server_is_called_through_the_other() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let mut group = Group::start(
        "shared-call",
        "[[user]]\nname = \"alice\"\npassword = \"alice-secret\"\n[[user]]\nname = \"bob\"\npassword = \"bob-secret\"\n",
    );
    let secret = "bob-secret";
    for (at, other) in [(0, 1), (1, 0)] {
        let builder = Phone::builder("sip:bob@example.test").listen("tcp:127.0.0.1:0").password(secret);
        let proxy = format!("sip:{};transport=tcp", group.servers[at].tcp);
        let bob = builder.proxy(&proxy).bind().await.unwrap();
        within("bob's registration", bob.register()).await.unwrap();
        let list =
            Process::start(&group.dirs[0], "list", program(), ["location", "list", &group.redis.url()]);
        let listed = tokio::task::spawn_blocking(move || {
            let mut list = list;
            assert_eq!(list.finish(), 0, "{:?}", list.lines());
            list.lines().join("\n")
        });
        let listed = listed.await.unwrap();
        assert!(listed.contains("bob@example.test") && listed.contains("expires="), "{listed}");
        let proxy = group.servers[other].uri();
        let arguments = [
            "--from",
            "sip:alice@example.test",
            "--password",
            "alice-secret",
            "--proxy",
            &proxy,
            "--for",
            "1",
        ];
        let call = Call::start(&group.dirs[other], "call", "sip:bob@example.test", arguments);
        let incoming = within("the call", bob.incoming()).await.unwrap();
        let answered = within("its answer", incoming.answer()).await.unwrap();
        within("its end", answered.ended()).await;
        let call =
            tokio::task::spawn_blocking(move || Call::end(call, Duration::from_secs(30))).await.unwrap();
        assert_eq!(call.code, 0, "{}", call.json);
        within("bob's leave", bob.unregister()).await;
    }
    let counts = group.servers.each_mut().map(Server::end);
    assert!(counts.iter().all(|counts| counts.proxied >= 4), "INVITE and BYE of both calls: {counts:?}");
}

/// Eight phones of one user refresh through both servers at once, each with two contacts in one REGISTER: no answer tells of one
/// without the other, and in the end nothing is missing.
#[test]
fn two_servers_that_change_the_same_user_lose_nothing() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let group = Group::open("shared-race");
    thread::scope(|scope| {
        for phone in 0..8_usize {
            let group = &group;
            scope.spawn(move || {
                let peer = group.peer(phone % 2);
                let pair = [format!("p{phone}x"), format!("p{phone}y")];
                let mut cseq = 0;
                // It goes and comes, and stays in the end.
                for round in (0..20).rev() {
                    let expires = if round % 2 == 0 { 600 } else { 0 };
                    loop {
                        cseq += 1;
                        let both = [(&pair[0][..], expires), (&pair[1][..], expires)];
                        let answer = register(&peer, "bob", &pair[0], cseq, &both).expect("an answer");
                        if answer.status().code() != 200 {
                            // Too many others were faster.
                            assert_eq!(answer.status().code(), 500, "{answer}");
                            continue;
                        }
                        let all = contacts(&answer);
                        assert_eq!(all.contains(&pair[0]), expires > 0, "{all:?}");
                        for other in 0..8 {
                            let has = |half| all.contains(&format!("p{other}{half}"));
                            assert_eq!(has("x"), has("y"), "half of a REGISTER: {all:?}");
                        }
                        break;
                    }
                }
            });
        }
    });
    for at in [0, 1] {
        let mut all = group.contacts(at, "bob");
        all.sort();
        let wanted: Vec<String> =
            (0..8).flat_map(|phone| ["x", "y"].map(|half| format!("p{phone}{half}"))).collect();
        assert_eq!(all, wanted);
    }
}

/// Registers users by four phones until told to end; those that were granted.
fn register_many(group: &Group, at: usize, name: &str, stop: &AtomicBool) -> Vec<String> {
    let run = |phone: usize| {
        let peer = group.peer(at);
        let mut granted = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let user = format!("{name}{phone}x{number}");
            match register(&peer, &user, "r", 1, &[(&user, 600)]) {
                Some(answer) if answer.status().code() == 200 => granted.push(user),
                Some(answer) => assert_unavailable(&answer),
                None => break,
            }
        }
        granted
    };
    thread::scope(|scope| {
        let phones: Vec<_> = (0..4).map(|phone| scope.spawn(move || run(phone))).collect();
        phones.into_iter().flat_map(|phone| phone.join().unwrap()).collect()
    })
}

/// R41: SIGKILL of a server and of Redis amid registrations. What was acknowledged is there, at the other server and at this one after
/// its next start.
#[test]
fn r41_kills_lose_nothing_that_was_acknowledged() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let mut group = Group::open("shared-kill");
    let kill_amid = |group: &mut Group, name: &str, kill: &dyn Fn(&Group)| {
        let stop = AtomicBool::new(false);
        let granted = thread::scope(|scope| {
            let group = &*group;
            let many = scope.spawn(|| register_many(group, 0, name, &stop));
            thread::sleep(Duration::from_millis(700));
            kill(group);
            stop.store(true, Ordering::Relaxed);
            many.join().unwrap()
        });
        assert!(granted.len() > 50, "{} registrations", granted.len());
        granted
    };
    let signal = |id: u32| {
        let _ = std::process::Command::new("kill").args(["-KILL", &id.to_string()]).status();
    };
    let mut granted = kill_amid(&mut group, "s", &|group| signal(group.servers[0].process.id()));
    let peer = group.peer(1);
    let there = |peer: &UdpPeer, granted: &[String]| {
        for user in granted {
            let ok = register(peer, user, "query", 1, &[]).expect("an answer");
            assert_eq!((ok.status().code(), contacts(&ok)), (200, vec![user.clone()]));
        }
    };
    there(&peer, &granted);
    group.servers[0] = Server::start_by(&group.dirs[0], &group.settings);
    granted.extend(kill_amid(&mut group, "r", &|group| signal(group.redis.id())));
    group.redis.kill();
    group.redis.start_again(&group.dirs[0]);
    for at in [0, 1] {
        registers_within(&group.peer(at), "carol", Duration::from_secs(5));
        there(&group.peer(at), &granted);
    }
    println!("{} acknowledged before two kills, all there", granted.len());
}

/// R41: Redis stands still for 3 s, is gone, and comes back with no script that it knew.
#[test]
fn r41_a_redis_that_is_silent_or_gone_is_503_and_found_again() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let mut group = Group::open("shared-gone");
    let peer = group.peer(0);
    registers_within(&peer, "alice", Duration::from_secs(5));
    group.redis.freeze();
    let frozen = Instant::now();
    let begin = Instant::now();
    assert_unavailable(&register(&peer, "bob", "r", 1, &[("bob", 600)]).expect("an answer"));
    let first = begin.elapsed();
    assert!(first < Duration::from_millis(2600), "{first:?}");
    // It is known to be silent now: who comes is not made to wait, but for the one who looks whether it is back.
    let mut calls = Vec::new();
    while frozen.elapsed() < Duration::from_secs(3) {
        let peer = group.peer(0);
        let user = format!("u{}", calls.len());
        calls.push(thread::spawn(move || {
            let begin = Instant::now();
            (register(&peer, &user, "r", 1, &[(&user, 600)]).expect("an answer"), begin.elapsed())
        }));
        thread::sleep(Duration::from_millis(20));
    }
    group.redis.thaw();
    let thawed = registers_within(&peer, "bob", Duration::from_secs(3));
    let asked = calls.len();
    let mut waited = 0;
    for call in calls {
        let (answer, took) = call.join().unwrap();
        // Who looks whether it is back may find it.
        if took > Duration::from_millis(250) || answer.status().code() == 200 {
            waited += 1;
        } else {
            assert_unavailable(&answer);
        }
    }
    assert!(waited * 4 <= asked && asked >= 20, "{waited} of {asked} waited");
    println!("silent: 503 after {first:?}, {waited} of {asked} others waited; back after {thawed:?}");

    // Scripts that it has forgotten are told again.
    group.redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(register(&peer, "dave", "r", 1, &[("dave", 600)]).unwrap().status().code(), 200);

    group.redis.kill();
    let begin = Instant::now();
    assert_unavailable(&register(&peer, "erin", "r", 1, &[("erin", 600)]).expect("an answer"));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    group.redis.start_again(&group.dirs[0]);
    let back = registers_within(&peer, "erin", Duration::from_secs(2));
    println!("gone: back after {back:?}");
    for user in ["alice", "bob", "dave", "erin"] {
        assert_eq!(group.contacts(1, user), [user], "what was acknowledged is there");
    }
}

/// Redis over TLS shows a certificate of the authority that is named; without that name it is not believed.
#[test]
fn a_redis_over_tls_has_to_prove_who_it_is() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let dir = Dir::new("shared-tls");
    let certificates = Certificates::new(&dir);
    let redis = Redis::start_secure(&dir, &certificates);
    let base =
        format!("domains = [\"example.test\"]\nauthentication = false\nlocation = \"{}\"\n", redis.url());
    let authority = format!("{base}location_authority = \"{}\"\n", certificates.ca.display());
    let mut server = Server::start_by(&dir, &authority);
    let granted = register(&UdpPeer::new(server.udp), "alice", "r", 1, &[("alice", 600)]).expect("an answer");
    assert_eq!(granted.status().code(), 200);
    server.end();
    let file = dir.write("strangers.toml", format!("listen = [\"udp:127.0.0.1:0\"]\n{base}"));
    let mut process =
        Process::start(&dir, "stranger", program(), ["server", "--config", file.to_str().unwrap()]);
    let code = process.finish();
    let said = process.lines().join("\n");
    assert!(code != 0 && said.contains("certificate"), "{said}");
}

/// A key is damaged: its user alone is refused, and the operator is told which key. A wrong password is told at the start.
#[test]
fn a_damaged_key_and_a_wrong_password() {
    let Some(_turn) = turn(&PROGRAMS) else { return };
    let group = Group::open("shared-damage");
    let peer = group.peer(0);
    let sip = |arguments: &[&str]| {
        let mut process = Process::start(&group.dirs[1], "sip", program(), arguments);
        (process.finish(), process.lines().join("\n"))
    };
    for user in ["alice", "bob", "carol"] {
        registers_within(&peer, user, Duration::from_secs(5));
    }
    let url = group.redis.url();
    let (code, said) = sip(&["location", "check", &url]);
    assert!(code == 0 && said.contains("3 addresses with 3 bindings"), "{said}");
    group.redis.command(&["SETRANGE", "sip:location:bob@example.test", "60", "xxxx"]);
    group.redis.command(&["DEL", "sip:location:carol@example.test"]);
    group.redis.command(&["LPUSH", "sip:location:carol@example.test", "what"]);
    for user in ["bob", "carol"] {
        let answer = register(&peer, user, "again", 9, &[(user, 600)]).expect("an answer");
        assert_unavailable(&answer);
    }
    assert_eq!(register(&peer, "alice", "again", 9, &[("alice", 600)]).unwrap().status().code(), 200);
    let lines = group.servers[0].process.lines();
    for user in ["bob", "carol"] {
        let key = format!("sip:location:{user}@example.test");
        assert!(lines.iter().any(|line| line.contains(&key)), "{lines:?}");
    }
    let (code, said) = sip(&["location", "list", &url]);
    assert!(
        code != 0
            && said.contains("alice@example.test ")
            && said.contains("sip:location:bob@example.test: it is damaged"),
        "{said}"
    );
    group.redis.command(&["DEL", "sip:location:bob@example.test"]);
    assert_eq!(register(&peer, "bob", "again", 10, &[("bob", 600)]).unwrap().status().code(), 200);

    // The keys end by themselves.
    let left: i64 = group.redis.command(&["PTTL", "sip:location:bob@example.test"]).parse().unwrap();
    assert!((590_000..=600_000).contains(&left), "{left}");

    let wrong = group.redis.url_with("guess");
    let (code, said) = sip(&[
        "server",
        "--listen",
        "udp:127.0.0.1:0",
        "--domain",
        "example.test",
        "--no-auth",
        "--location",
        &wrong,
    ]);
    assert!(code != 0 && said.contains("authentication failed") && !said.contains("guess"), "{code}: {said}");
}
