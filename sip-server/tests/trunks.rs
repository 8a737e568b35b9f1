//! What the server does for its trunks by itself: OPTIONS to gateways, REGISTER to registrars; by hand, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_message::Method;
use sip_message::headers::{CSeq, Expires};
use sip_server::Config;
use sip_server::settings::Settings;
use world::{ALICE, Sent, World, names, only};

const ONE: &str = "192.0.2.91:5060";
const TWO: &str = "192.0.2.92:5060";

fn by(trunk: &str) -> (World, String) {
    let text = format!(
        r#"
        authentication = false
        domains = ["example.com"]
        [[user]]
        name = "bob"
        [[route]]
        prefix = "+"
        trunk = "carrier"
        callers = "anyone"
        [[trunk]]
        name = "carrier"
        gateways = [{{ uri = "sip:192.0.2.91" }}, {{ uri = "sip:192.0.2.92", priority = 1 }}]
        {trunk}
        "#
    );
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    (World::with(|config| settings.configure(config)), text)
}

/// Lets time pass, in steps that are shorter than T1; gateways and registrar answer what is sent to them at once. Gives what was sent.
fn live(
    world: &mut World,
    seconds: u64,
    mut answer: impl FnMut(&Sent) -> Option<(u16, String)>,
) -> Vec<Sent> {
    let mut all = Vec::new();
    for _ in 0..seconds * 4 {
        let mut sent = world.pass(Duration::from_millis(250));
        while !sent.is_empty() {
            let mut more = Vec::new();
            for one in sent {
                let answered = one.message.as_request().and_then(|_| answer(&one));
                if let Some((status, extra)) = answered {
                    more.extend(world.answer(&one, status, &extra));
                }
                all.push(one);
            }
            sent = more;
        }
    }
    all
}

fn called(world: &mut World) -> String {
    let text = world.request(ALICE, "INVITE", "sip:+49301@example.com", "");
    let sent = world.udp(ALICE, text);
    only(&sent, "INVITE").to()
}

const CHECK: &str = "check = { interval = 10, falls = 3, rises = 2 }";

/// Three failures in a row put a gateway down, two answers up again; one alone does nothing.
#[test]
fn gateways_that_do_not_answer_are_not_called() {
    let (mut world, _) = by(CHECK);
    let well = |_: &Sent| Some((200, String::new()));
    let sent = live(&mut world, 60, well);
    let asked: Vec<&Sent> = sent.iter().filter(|sent| sent.is(&Method::Options)).collect();
    for gateway in [ONE, TWO] {
        let times = asked.iter().filter(|sent| sent.to() == gateway).count();
        assert!((5..=7).contains(&times), "{gateway} was asked {times} times in a minute");
    }
    assert_eq!(called(&mut world), ONE);
    // 404 is an answer, 503 is none.
    live(&mut world, 60, |_| Some((404, String::new())));
    assert_eq!(called(&mut world), ONE);
    let ill = |sent: &Sent| Some(if sent.to() == ONE { (503, String::new()) } else { (200, String::new()) });
    live(&mut world, 15, ill);
    assert_eq!(called(&mut world), ONE, "once or twice is not thrice");
    live(&mut world, 30, ill);
    assert_eq!(called(&mut world), TWO);
    let status = world.core.trunks();
    assert_eq!(
        status[0].gateways,
        [("sip:192.0.2.91".to_owned(), false), ("sip:192.0.2.92".to_owned(), true)]
    );
    live(&mut world, 30, well);
    assert_eq!(called(&mut world), ONE, "it is back");
    // Silence of both: tried all the same.
    live(&mut world, 300, |sent| sent.is(&Method::Invite).then(|| (486, String::new())));
    assert!(world.core.trunks()[0].gateways.iter().all(|(_, up)| !up));
    assert_eq!(called(&mut world), ONE);
}

const REGISTRATION: &str = r#"
username = "us"
password = "secret"
registration = { registrar = "sip:192.0.2.80", address = "sip:us@carrier.example", contact = "bob", expires = 600 }
"#;
const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\"";

fn registers(sent: &[Sent]) -> Vec<&Sent> {
    sent.iter().filter(|sent| sent.is(&Method::Register)).collect()
}

/// RFC 3261 §10.2: challenged, granted, refreshed in time; and a call to the Contact reaches the user.
#[test]
fn a_trunk_registers_refreshes_and_is_called() {
    let (mut world, _) = by(REGISTRATION);
    let bob = world.register("bob", "<sip:bob@192.0.2.12:5060>", "");
    assert_eq!(bob.status().code(), 200);
    let granted = |sent: &Sent| {
        let known = sent.request().headers.contains("Authorization");
        let contact = sent.request().headers.text("Contact").unwrap();
        Some(if known {
            (200, format!("Contact: {contact};expires=300"))
        } else {
            (401, CHALLENGE.to_owned())
        })
    };
    let sent = live(&mut world, 5, granted);
    let first = registers(&sent);
    assert_eq!(first.len(), 2, "with and without credentials: {:?}", names(&sent));
    let cseq = |sent: &Sent| sent.request().headers.require::<CSeq>().unwrap().number;
    assert_eq!((cseq(first[0]), cseq(first[1])), (1, 2));
    assert_eq!(first[0].request().uri_text(), "sip:192.0.2.80");
    let same = |name: &str| first[0].request().headers.text(name) == first[1].request().headers.text(name);
    assert!(same("Call-ID") && same("From") && same("Contact"));
    assert_eq!(world.core.trunks()[0].registered, Some(true));
    // 300 s were granted, 600 wanted: refreshed after 240, at once with credentials.
    assert!(registers(&live(&mut world, 230, granted)).is_empty());
    let again = live(&mut world, 20, granted);
    assert_eq!(registers(&again).len(), 1);
    assert_eq!(cseq(registers(&again)[0]), 3);

    let contact = first[0].request().headers.text("Contact").unwrap().trim_matches(['<', '>']).to_owned();
    assert_eq!(contact, "sip:bob@192.0.2.1:5060");
    let text = world.request("192.0.2.80:5060", "INVITE", &contact, "");
    let sent = world.udp("192.0.2.80:5060", text);
    assert_eq!(only(&sent, "INVITE").to(), "192.0.2.12:5060");
}

/// §10.2.8: longer after 423; RFC 3261 §20.33: later after Retry-After; RFC 5626 §4.5: ever later after silence.
#[test]
fn a_trunk_that_cannot_register_tries_again() {
    let (mut world, _) = by(REGISTRATION);
    let brief = |sent: &Sent| {
        let expires = sent.request().headers.require::<Expires>().unwrap().0;
        Some(if expires < 900 {
            (423, "Min-Expires: 900".to_owned())
        } else {
            (503, "Retry-After: 100".to_owned())
        })
    };
    let sent = live(&mut world, 5, brief);
    let expires: Vec<u32> =
        registers(&sent).iter().map(|one| one.request().headers.require::<Expires>().unwrap().0).collect();
    assert_eq!(expires, [600, 900]);
    assert_eq!(world.core.trunks()[0].registered, Some(false));
    assert!(registers(&live(&mut world, 90, brief)).is_empty(), "as the registrar says");
    assert_eq!(registers(&live(&mut world, 15, brief)).len(), 1);
    // Wrong credentials are not sent over and over.
    let (mut world, _) = by(REGISTRATION);
    let sent = live(&mut world, 300, |_| Some((401, CHALLENGE.to_owned())));
    let tries = registers(&sent).len();
    assert!((4..=14).contains(&tries), "{tries} REGISTERs in five minutes");
}

/// A reload keeps what stays, begins what is new and ends what is gone.
#[test]
fn trunks_survive_a_reload() {
    let (mut world, text) = by(&format!("{CHECK}\n{REGISTRATION}"));
    let granted = |sent: &Sent| {
        let contact =
            sent.request().headers.text("Contact").map(|contact| format!("Contact: {contact};expires=300"));
        Some((200, contact.unwrap_or_default()))
    };
    live(&mut world, 30, granted);
    let turn = |world: &mut World, text: &str| {
        let mut config = Config::new([0; 32], world::locals());
        Settings::parse(text).unwrap().configure(&mut config);
        world.core.reconfigure(config, world.now).unwrap();
    };
    turn(&mut world, &text);
    assert_eq!(world.core.trunks()[0].registered, Some(true));
    assert!(registers(&live(&mut world, 60, granted)).is_empty(), "nothing has changed");
    turn(&mut world, &text.replace("password = \"secret\"", "password = \"another\""));
    assert_eq!(registers(&live(&mut world, 5, granted)).len(), 1);
    turn(&mut world, &text.replace(CHECK, "").replace(REGISTRATION.trim(), ""));
    assert!(world.core.trunks().is_empty());
    assert!(live(&mut world, 600, granted).is_empty());
    world.assert_nothing_left();
}

/// A gateway whose address cannot be reached does not stop anything else.
#[test]
fn a_check_that_cannot_be_sent_counts_as_silence() {
    let (mut world, _) = by("check = { interval = 1, falls = 1 }");
    for _ in 0..10 {
        for sent in world.pass(Duration::from_secs(1)) {
            if sent.to() == ONE {
                world.fail(&sent);
            } else {
                world.answer(&sent, 200, "");
            }
        }
    }
    assert_eq!(called(&mut world), TWO);
}
