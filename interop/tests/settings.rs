//! `sip server --config`: what a file of settings says, with phones and a carrier of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use interop::{Baresip, Call, Dir, Kamailio, Linphone, Own, Server, Sipp, turn, within};

/// Erin answers all that is forwarded; the others are busy, away from their phones, or want their peace.
const SETTINGS: &str = r#"
domains = ["example.test"]

[[user]]
name = "alice"
password = "alice-secret"

[[user]]
name = "busy"
password = "busy-secret"
forward = { busy = "erin" }

[[user]]
name = "rings"
password = "rings-secret"
forward = { no_answer = "erin", after = 2 }

[[user]]
name = "away"
password = "away-secret"
forward = { unreachable = "erin" }

[[user]]
name = "peace"
password = "peace-secret"
do_not_disturb = true

[[user]]
name = "erin"
password = "erin-secret"

[[hunt_group]]
name = "together"
members = ["busy", "rings", "erin"]

[[hunt_group]]
name = "in-turn"
strategy = "serial"
members = ["peace", "busy", "rings", "erin"]
ring = 2
"#;

fn account(at: SocketAddr, user: &str) -> String {
    format!(
        "<sip:{user}@example.test>;auth_user={user};auth_pass={user}-secret;regint=300;\
         outbound=\"sip:{at};transport=udp\";answermode=auto;audio_codecs=PCMU/8000/1"
    )
}

/// Registers SIPp as a user who says 486 to so many calls.
fn busy(dir: &Dir, server: &Server, calls: u32) -> interop::Process {
    let busy = Sipp::scenario("uas-busy", None).calls(calls, 10, 60);
    let csv = "SEQUENTIAL\nbusy;[authentication username=busy password=busy-secret]\n";
    let csv = dir.write("busy.csv", csv).display().to_string();
    Sipp::scenario("register-with-digest", Some(server.udp))
        .with(["-key", "domain", "example.test", "-inf", &csv, "-p", &busy.port.to_string()])
        .run(dir, "busy-registers");
    busy.start(dir, "busy")
}

#[test]
fn hunt_groups_forwarding_and_do_not_disturb_with_baresip_linphonec_and_sipp() {
    let Some(_turn) = turn(&["baresip", "linphonec", "sipp"]) else { return };
    let dir = Dir::new("settings");
    let mut server = Server::start_by(&dir, SETTINGS);
    let mut erin = Baresip::start(&dir, &account(server.udp, "erin"), 440.0, &[]);
    erin.process.wait_for("200 OK");
    let mut rings = Linphone::start(&dir, server.udp, "rings", 600.0);
    let mut busy = busy(&dir, &server, 3);
    let call = |to: &str| {
        let own = ["--from", "sip:alice@example.test", "--password", "alice-secret", "--for", "0.5"];
        let to = format!("sip:{to}@example.test");
        Call::run(&dir, &to, own.into_iter().chain(["--proxy", &server.uri()]))
    };
    // Who they are, and whose phone rings in vain before Erin answers.
    for (to, in_vain) in
        [("busy", false), ("rings", true), ("away", false), ("together", true), ("in-turn", true)]
    {
        let call = call(to);
        assert_eq!((call.code, call.value("/result").as_str()), (0, Some("ended")), "{to}: {}", call.json);
        erin.process.wait_for("Call established");
        erin.process.wait_for("session closed");
        if in_vain {
            // The CANCEL came: it rings no more.
            rings.process.wait_for("ended");
        }
    }
    let refused = call("peace");
    assert_eq!(refused.value("/status").as_u64(), Some(480), "{}", refused.json);
    assert_eq!(busy.finish(), 0, "asked once for each call that led to him, and heard an ACK each time");
    assert_eq!(erin.process.interrupt(), 0);
    assert_eq!(server.process.interrupt(), 0);
}

/// A carrier that asks for digest: it is registered at, its numbers are called with credentials, and its users call ours by
/// that registration. Both
/// sides change the call and hang up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kamailio_as_carrier_of_a_trunk_with_credentials_and_registration() {
    let Some(_turn) = turn(&["kamailio"]) else { return };
    let dir = Dir::new("settings-trunk");
    let carrier = Kamailio::start_carrier(&dir);
    let at = carrier.address;
    let settings = format!(
        r#"
domains = ["example.test"]

[[user]]
name = "alice"
password = "secret"

[aliases]
office = "alice"

[[rewrite]]
pattern = '00([1-9][0-9]*)'
replace = '+$1'

[[route]]
pattern = '\+([1-9][0-9]*)'
trunk = "carrier"
number = '$1'

[[trunk]]
name = "carrier"
gateways = [{{ uri = "sip:{at};transport=tcp" }}]
username = "office"
password = "secret"
[trunk.check]
interval = 5
[trunk.registration]
registrar = "sip:{at}"
address = "sip:office@{at}"
contact = "office"
"#
    );
    let mut server = Server::start_by(&dir, &settings);
    let own = async |user: &str, domain: &str, proxy: &str| {
        let phone = sip_ua::Phone::builder(&format!("sip:{user}@{domain}")).password("secret");
        let own = Own::with(user, phone.listen("udp:127.0.0.1:0").proxy(proxy)).await;
        within("registration", own.phone.register()).await.unwrap();
        own
    };
    let alice = own("alice", "example.test", &server.uri()).await;
    let bob = own("4930100", &at.to_string(), &carrier.uri()).await;
    // The registration at the carrier, which nobody tells of here: the carrier finds Alice by it.
    let office = format!("sip:office@{at}");
    within("the carrier's way to Alice", async {
        while bob.phone.options(&office).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for (caller, callee, to) in
        [(&alice, &bob, "sip:004930100@example.test".to_owned()), (&bob, &alice, format!("sip:office@{at}"))]
    {
        for caller_ends in [true, false] {
            let calling = caller.phone.call(&to).await.unwrap();
            let answering =
                async { within("the call", callee.phone.incoming()).await.unwrap().answer().await.unwrap() };
            let (call, answered) =
                tokio::join!(async { within("the answer", calling.answered()).await.unwrap() }, answering);
            within("hold", call.hold()).await.unwrap();
            within("refresh", answered.refresh()).await.unwrap();
            let (ends, hears) = if caller_ends { (call, answered) } else { (answered, call) };
            within("BYE", ends.hang_up()).await;
            within("the end", hears.ended()).await;
        }
    }
    // The carrier's challenge is the server's to answer: Alice has seen none but the server's own.
    let asked: Vec<String> = alice.received("SIP/2.0 40");
    assert!(asked.iter().all(|text| text.contains("realm=\"example.test\"")), "{asked:?}");
    alice.phone.close().await;
    bob.phone.close().await;
    assert_eq!(server.end().bindings, 0);
}
