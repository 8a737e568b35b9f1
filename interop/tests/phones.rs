//! Phones of others at `sip server`, each from its registration with digest to the removal of it, over each transport that
//! it has: baresip, linphonec, SIPp, sipsak and JsSIP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;
use std::time::Duration;

use interop::{
    Baresip, Certificates, Counts, Dir, Linphone, Own, Phone, Process, Server, Sipp, WebPhone, turn, within,
};

const DOMAIN: [&str; 3] = ["-key", "domain", "example.test"];

fn users(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| (name.to_string(), format!("{name}-secret"))).collect()
}

fn answering(dir: &Dir, server: &Server, user: &str) -> Phone {
    let (address, password) = (format!("sip:{user}@example.test"), format!("{user}-secret"));
    let arguments = ["--register", &address, "--password", &password, "--proxy", &server.uri(), "--answer"];
    Phone::start(dir, user, arguments).registered()
}

/// Bob is baresip, Carol linphonec: each calls the other and hangs up; both take their registrations away.
fn baresip_and_linphonec(transport: &str) {
    let Some(_turn) = turn(&["baresip", "linphonec"]) else { return };
    let dir = Dir::new(&format!("phones-{transport}"));
    let certificates = Certificates::new(&dir);
    let mut server = Server::start_secure(&dir, &users(&["bob", "carol"]), &certificates);
    let at = match transport {
        "udp" => server.udp,
        "tcp" => server.tcp,
        _ => server.tls.unwrap(),
    };
    let account = format!(
        "<sip:bob@example.test;transport={transport}>;auth_user=bob;auth_pass=bob-secret;regint=300;\
         outbound=\"sip:{at};transport={transport}\";answermode=auto;audio_codecs=PCMU/8000/1"
    );
    let mut bob = match transport {
        "tls" => Baresip::start_with_tls(&dir, &account, 440.0, &[], &certificates),
        _ => Baresip::start(&dir, &account, 440.0, &[]),
    };
    bob.process.wait_for("200 OK");
    let mut carol = match transport {
        "udp" => Linphone::start(&dir, at, "carol", 600.0),
        "tcp" => Linphone::start_over_tcp(&dir, at, "carol", 600.0),
        _ => Linphone::start_over_tls(&dir, at, "carol", 600.0, &certificates),
    };

    carol.process.type_line("autoanswer enable");
    carol.process.wait_for("Auto answer enabled");
    bob.order("dial", "sip:carol@example.test");
    bob.process.wait_for("Call established");
    carol.process.wait_for("Media streams established");
    bob.order("hangup", "");
    carol.process.wait_for("ended");

    carol.process.type_line("call sip:bob@example.test");
    carol.process.wait_for("Media streams established");
    bob.process.wait_for("Call established");
    carol.process.type_line("terminate");
    bob.process.wait_for("session closed");

    carol.process.type_line("unregister");
    carol.heard();
    assert_eq!(bob.process.interrupt(), 0, "baresip ends well");
    let counts = server.end();
    assert_eq!((counts.proxied, counts.bindings), (4, 0), "{counts:?}");
}

#[test]
fn baresip_and_linphonec_call_each_other_over_udp() {
    baresip_and_linphonec("udp");
}

#[test]
fn baresip_and_linphonec_call_each_other_over_tcp() {
    baresip_and_linphonec("tcp");
}

#[test]
fn baresip_and_linphonec_call_each_other_over_tls() {
    baresip_and_linphonec("tls");
}

/// Thirty phones at ten a second. SIPp of Debian has no TLS.
#[test]
fn thirty_lives_of_a_phone_by_sipp_over_udp_and_tcp() {
    let Some(_turn) = turn(&["sipp"]) else { return };
    let dir = Dir::new("phones-sipp");
    let names: Vec<String> = (0..30).map(|number| format!("user{number}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("bob");
    let all = users(&all);
    let mut csv = String::from("SEQUENTIAL\n");
    for (name, password) in &all[..30] {
        writeln!(csv, "{name};[authentication username={name} password={password}]").unwrap();
    }
    let csv = dir.write("users.csv", csv).display().to_string();
    let mut server = Server::start(&dir, Some(&all), &[]);
    let mut bob = answering(&dir, &server, "bob");
    for transport in ["udp", "tcp"] {
        let target = if transport == "udp" { server.udp } else { server.tcp };
        let sipp = Sipp::scenario("phone", Some(target)).with(DOMAIN).with(["-inf", &csv]).service("bob");
        let sipp = if transport == "tcp" { sipp.tcp() } else { sipp };
        sipp.calls(30, 10, 30).run(&dir, transport);
    }
    assert_eq!(bob.process.interrupt(), 0);
    // Two of each phone, and of Bob's phone one and its removal. INVITE and BYE of each call.
    assert_eq!(server.end(), Counts { granted: 122, proxied: 120, refused: 0, bindings: 0 });
}

/// It registers, finds Bob by OPTIONS through the server, and takes its registration away. Its TLS hears no answers.
#[test]
fn sipsak_over_udp_and_tcp() {
    let Some(_turn) = turn(&["sipsak"]) else { return };
    let dir = Dir::new("phones-sipsak");
    let mut server = Server::start(&dir, Some(&users(&["bob", "dave"])), &[]);
    let mut bob = answering(&dir, &server, "bob");
    for (transport, at) in [("udp", server.udp), ("tcp", server.tcp)] {
        let sipsak = |arguments: &[&str]| {
            // Its own reading of ports in URIs is broken: the server is the outbound proxy.
            let proxy = at.to_string();
            let ways = ["-p", &proxy, "-E", transport, "-u", "dave", "-a", "dave-secret"];
            let all = ways.iter().chain(arguments);
            Process::start(&dir, "sipsak", "sipsak", all).finish_within(Duration::from_secs(30))
        };
        let own = ["-U", "-C", "sip:dave@127.0.0.1:9", "-s", "sip:dave@example.test"];
        assert_eq!(sipsak(&[&own[..], &["-x", "60"]].concat()), 0, "registration over {transport}");
        assert_eq!(sipsak(&["-s", "sip:bob@example.test"]), 0, "OPTIONS to Bob over {transport}");
        assert_eq!(sipsak(&[&own[..], &["-x", "0"]].concat()), 0, "removal over {transport}");
    }
    assert_eq!(bob.process.interrupt(), 0);
    assert_eq!(server.end().bindings, 0);
}

/// RFC 7118: a browser's client calls a phone and is called by it and by another of its kind, over WebSocket and secure
/// WebSocket; signalling alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_browsers_client_calls_is_called_and_hangs_up_over_web_socket() {
    let Some(_turn) = turn(&["node", WebPhone::LIBRARY]) else { return };
    let dir = Dir::new("phones-web");
    let certificates = Certificates::new(&dir);
    let mut server = Server::start_secure(&dir, &users(&["alice", "bob", "carol"]), &certificates);
    let (ws, wss) = server.ws.unwrap();
    let phone = sip_ua::Phone::builder("sip:bob@example.test").listen("udp:127.0.0.1:0").proxy(&server.uri());
    let bob = Own::with("bob", phone.password("bob-secret")).await;
    within("registration", bob.phone.register()).await.unwrap();

    let by = |at, secure, user: &str, action: &[&str]| {
        let password = format!("{user}-secret");
        WebPhone::start(&dir, at, secure, (user, &password), "example.test", action).registered()
    };
    // She calls him and hangs up.
    let mut alice = by(wss, true, "alice", &["call", "sip:bob@example.test"]);
    let call = within("her call", bob.phone.incoming()).await.unwrap().answer().await.unwrap();
    alice.process.wait_for("call confirmed");
    alice.process.type_line("hang up");
    within("her BYE", call.ended()).await;
    alice.process.wait_for("call ended by local");

    // He calls her and hangs up.
    let calling = bob.phone.call("sip:alice@example.test").await.unwrap();
    let call = within("her answer", calling.answered()).await.unwrap();
    alice.process.wait_for("call confirmed");
    within("his BYE", call.hang_up()).await;
    alice.process.wait_for("call ended by remote");

    // Another of her kind calls her, and she hangs up.
    let mut carol = by(ws, false, "carol", &["call", "sip:alice@example.test"]);
    alice.process.wait_for("call from sip:carol@example.test");
    alice.process.wait_for("call confirmed");
    carol.process.wait_for("call confirmed");
    alice.process.type_line("hang up");
    carol.process.wait_for("call ended by remote");
    alice.end();
    carol.end();
    bob.phone.close().await;
    assert_eq!(server.end().bindings, 0);
}
