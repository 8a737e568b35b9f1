//! R42: settings and certificates change and the server is started anew, all at a hundred calls a second. No call fails and
//! no dialog is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use interop::{Certificates, Dir, PATIENCE, Process, Server, Sipp, free_tcp_and_udp_port, turn, within};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sip_transport::tokio::tls::{Roots, Tls, TlsOptions};
use sip_ua::NoMedia;

/// Calls of each run, at a hundred a second, a second long each.
const CALLS: u32 = 500;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn callee() -> Sipp {
    Sipp::scenario("uas-behind-proxy", None).calls(CALLS, 100, 60)
}

fn caller(dir: &Dir, scenario: &str, server: &Server, user: &str) -> Process {
    Sipp::scenario(scenario, Some(server.udp))
        .with(["-key", "domain", "example.test", "-d", "1000"])
        .service(user)
        .calls(CALLS, 100, 60)
        .start(dir, "caller")
}

/// Rules, users and limits come and go; the way to Bob, who is called by another name, stays.
#[test]
fn r42_settings_change_at_a_hundred_calls_a_second() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("reload");
    let one = "domains = [\"example.test\"]\nauthentication = false\n\n[aliases]\nsales = \"bob\"\n[[user]]\nname = \"bob\"\npassword = \"secret\"\n";
    let two = format!(
        "{one}[limits]\ncontexts = 100000\n\
         [[user]]\nname = \"carol\"\npassword = \"secret\"\nforward = {{ busy = \"bob\" }}\n\
         [[rewrite]]\npattern = '00(.*)'\nreplace = '+$1'\n\
         [[hunt_group]]\nname = \"all\"\nmembers = [\"bob\", \"carol\"]\n\
         [[block]]\ncaller = 'mallory'\n\
         [[route]]\nprefix = \"+\"\nreject = 404\n"
    );
    let mut server = Server::start_by(&dir, one);
    let callee = callee();
    let contact = at(callee.port).to_string();
    let callee = callee.start(&dir, "callee");
    Sipp::scenario("register-for-another", Some(server.udp))
        .with(["-key", "domain", "example.test", "-key", "contact", &contact])
        .service("bob")
        .run(&dir, "register");
    let mut caller = caller(&dir, "uac", &server, "sales");
    let mut reloads = 0;
    while !caller.ends_within(Duration::from_millis(200)) {
        server.reload(&dir, 0, if reloads % 2 == 0 { &two } else { one });
        reloads += 1;
    }
    Sipp::succeed(caller, &dir, "caller", PATIENCE);
    Sipp::succeed(callee, &dir, "callee", PATIENCE);
    println!("{CALLS} calls, {reloads} times other settings");
    assert!(reloads >= 10, "{reloads}");
    let counts = server.end();
    assert_eq!((counts.proxied, counts.refused), (2 * u64::from(CALLS), 0), "{counts:?}");
}

/// Callers are sent away with 503 while the server drains and call again, as RFC 3261 §21.5.4 has it; what stands goes on at
/// its successor, which knows nothing of it but the route.
#[test]
fn r42_a_server_drains_and_another_follows_at_a_hundred_calls_a_second() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("drain");
    let callee = callee();
    let port = free_tcp_and_udp_port();
    let settings = format!(
        "domains = [\"example.test\"]\nauthentication = false\nnext_hop = \"sip:{};transport=udp\"\n[operation]\ndrain = 3\n",
        at(callee.port)
    );
    let callee = callee.start(&dir, "callee");
    let mut server = Server::start_by_at(&dir, port, &settings);
    let mut caller = caller(&dir, "uac-calls-again", &server, "bob");
    sleep(Duration::from_secs(2));
    assert!(caller.is_running());
    let began = Instant::now();
    let first = server.end();
    let drained = began.elapsed();
    let mut server = Server::start_by_at(&dir, port, &settings);
    let caller_ended = caller.finish();
    println!("drained in {drained:.1?}; {first:?}");
    assert_eq!(caller_ended, 0, "SIPp counted failed calls");
    Sipp::succeed(callee, &dir, "callee", PATIENCE);
    let second = server.end();
    assert!(drained < Duration::from_secs(6), "{drained:?}");
    // Those before, those that were refused and called again, and those after: each INVITE and each BYE once.
    assert_eq!(first.proxied + second.proxied, 2 * u64::from(CALLS), "{first:?} {second:?}");
    assert!(
        first.proxied < u64::from(CALLS),
        "what came in two seconds, and nothing new in the drain: {first:?}"
    );
}

/// The certificate that a new connection gets to see.
fn certificate(to: SocketAddr, config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut tls =
        ClientConnection::new(Arc::clone(config), ServerName::try_from("example.test").unwrap()).unwrap();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    tls.peer_certificates().unwrap()[0].as_ref().to_vec()
}

/// Alice and Bob call over TLS, on connections that stay; connections that are made meanwhile see each new certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r42_certificates_change_at_a_hundred_calls_a_second_over_tls() {
    let Some(_turn) = turn(&[]) else { return };
    let dir = Dir::new("certificates");
    let certificates = Certificates::new(&dir);
    let users = ["alice", "bob"].map(|name| (name.to_owned(), "secret".to_owned()));
    let mut server = Server::start_secure(&dir, &users, &certificates);
    let to = server.tls.unwrap();
    let phone = async |user: &str| {
        let roots = Roots::from_pem_file(&certificates.ca).unwrap();
        let phone = sip_ua::Phone::builder(&format!("sip:{user}@example.test")).password("secret");
        let phone =
            phone.listen("tls:client:127.0.0.1").tls(Tls::new(TlsOptions::new().roots(roots)).unwrap());
        let phone = phone.media_engine(Arc::new(NoMedia)).max_calls(10_000).proxy(&format!("sips:{to}"));
        let phone = phone.bind().await.unwrap();
        within("registration", phone.register()).await.unwrap();
        phone
    };
    let (alice, bob) = (phone("alice").await, phone("bob").await);
    let answering = bob.clone();
    let answers = tokio::spawn(async move {
        let mut ended = tokio::task::JoinSet::new();
        for _ in 0..CALLS {
            let call = answering.incoming().await.unwrap().answer().await.unwrap();
            ended.spawn(async move { call.ended().await });
        }
        ended.join_all().await.len()
    });
    let begin = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    let offering = alice.clone();
    let offers = tokio::spawn(async move {
        for number in 0..CALLS {
            tokio::time::sleep_until((begin + Duration::from_millis(10) * number).into()).await;
            let alice = offering.clone();
            calls.spawn(async move {
                let call = alice.call("sip:bob@example.test").await.unwrap().answered().await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                call.hang_up().await;
                Ok::<_, sip_ua::CallError>(())
            });
        }
        calls.join_all().await
    });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.ca).unwrap()).unwrap();
    let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let mut seen = HashSet::from([certificate(to, &config)]);
    let mut changes = 0;
    while !offers.is_finished() {
        certificates.renew();
        server.process.hang_up();
        server.process.wait_for("certificates reloaded");
        changes += 1;
        let config = Arc::clone(&config);
        let now = tokio::task::spawn_blocking(move || certificate(to, &config)).await.unwrap();
        assert!(seen.insert(now), "the old certificate after change {changes}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let failed: Vec<_> = offers.await.unwrap().into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} calls failed: {:?}", failed.len(), failed.first());
    assert_eq!(within("the last BYE", answers).await.unwrap(), CALLS as usize);
    println!("{CALLS} calls over TLS, {changes} certificates");
    assert!(changes >= 5, "{changes}");
    alice.close().await;
    bob.close().await;
    let counts = server.end();
    assert_eq!((counts.proxied, counts.bindings), (2 * u64::from(CALLS), 0), "{counts:?}");
}
