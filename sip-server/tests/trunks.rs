//! What the server does for its trunks by itself: OPTIONS to gateways, REGISTER to registrars; by hand, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_message::headers::{CSeq, Expires, RecordRoute};
use sip_message::{Method, Response};
use sip_server::routing::{Decision, Destination, Step};
use sip_server::settings::Settings;
use sip_server::{Config, Server};
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

// ---- how many calls -----------------------------------------------------------------------------------------------

fn invite(world: &mut World) -> (String, Vec<Sent>) {
    let text =
        world.request(ALICE, "INVITE", "sip:+49301@example.com", "Contact: <sip:carol@192.0.2.11>\r\n");
    let sent = world.udp(ALICE, text.clone());
    (text, sent)
}

fn out_by_it(world: &World) -> Option<usize> {
    world.core.trunks().first().and_then(|trunk| trunk.calls)
}

/// A request in the dialog of an answered call, from the callee's side.
fn from_callee(world: &mut World, method: &str, invite: &Sent, ok: &Response) -> Vec<Sent> {
    let header = |name: &str| ok.headers.text(name).unwrap().to_owned();
    let routes: String = invite
        .request()
        .headers
        .all::<RecordRoute>()
        .map(|route| format!("Route: {}\r\n", route.unwrap()))
        .collect();
    let lines = format!(
        "{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
        header("To"),
        header("From"),
        header("Call-ID")
    );
    let text = world.request(ONE, method, "sip:carol@192.0.2.11", &lines);
    world.udp(ONE, text)
}

/// A call is counted from its INVITE until it is refused, cancelled or over; one more is 503. Other requests are no calls.
#[test]
fn a_trunk_has_so_many_calls_and_no_more() {
    let (mut world, _) = by("max_calls = 1");
    assert_eq!(out_by_it(&world), Some(0));
    let (_, sent) = invite(&mut world);
    let first = only(&sent, "INVITE");
    assert_eq!(out_by_it(&world), Some(1));
    let (_, full) = invite(&mut world);
    assert_eq!((names(&full), world.core.counters().trunks_full), (vec!["503".to_owned()], 1));
    let text = world.request(ALICE, "MESSAGE", "sip:+49301@example.com", "");
    assert_eq!(only(&world.udp(ALICE, text), "MESSAGE").to(), ONE);
    // Refused: free at once.
    world.answer(first, 486, "");
    assert_eq!(out_by_it(&world), Some(0));
    // The next gateway of the trunk is the same call.
    let (text, sent) = invite(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 503, "");
    let second = only(&sent, "INVITE");
    assert_eq!((second.to().as_str(), out_by_it(&world)), (TWO, Some(1)));
    // Cancelled: free with the 487.
    world.answer(second, 180, "");
    let cancel = text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n");
    let sent = world.udp(ALICE, cancel);
    world.answer(only(&sent, "CANCEL"), 200, "");
    world.answer(second, 487, "");
    assert_eq!(out_by_it(&world), Some(0));
    // Answered: free when its BYE has arrived, not when one was refused.
    let (_, sent) = invite(&mut world);
    let third = only(&sent, "INVITE");
    let answered = world.answer(third, 200, "Contact: <sip:x@192.0.2.91>");
    let ok = only(&answered, "200").response().clone();
    world.seconds(3600);
    assert_eq!(out_by_it(&world), Some(1), "transactions end, calls go on");
    assert_eq!(names(&invite(&mut world).1), ["503"]);
    let sent = from_callee(&mut world, "INFO", third, &ok);
    world.answer(only(&sent, "INFO"), 200, "");
    assert_eq!(out_by_it(&world), Some(1));
    let sent = from_callee(&mut world, "BYE", third, &ok);
    world.answer(only(&sent, "BYE"), 200, "");
    assert_eq!(out_by_it(&world), Some(0));
    assert_eq!(names(&invite(&mut world).1), ["INVITE"]);
    assert!(world.core.call_statistics().is_none(), "nobody has asked for records");
    assert!(!world.core.has_call_record());
}

/// A call that nobody ends holds its place for a day.
#[test]
fn a_call_that_nobody_ends_does_not_hold_its_place_for_ever() {
    let (mut world, _) = by("max_calls = 1");
    let (_, sent) = invite(&mut world);
    world.answer(only(&sent, "INVITE"), 200, "Contact: <sip:x@192.0.2.91>");
    world.seconds(23 * 3600);
    assert_eq!(out_by_it(&world), Some(1));
    world.seconds(2 * 3600);
    assert_eq!(out_by_it(&world), Some(0));
}

/// Reloaded settings keep the count; a limit that is new counts from then on.
#[test]
fn calls_are_counted_over_a_reload() {
    let (mut world, text) = by("max_calls = 2");
    let (_, sent) = invite(&mut world);
    let first = only(&sent, "INVITE");
    let turn = |world: &mut World, text: &str| {
        let mut config = Config::new([0; 32], world::locals());
        Settings::parse(text).unwrap().configure(&mut config);
        world.core.reconfigure(config, world.now).unwrap();
    };
    turn(&mut world, &text.replace("max_calls = 2", "max_calls = 1"));
    assert_eq!(names(&invite(&mut world).1), ["503"]);
    world.answer(first, 404, "");
    assert_eq!(names(&invite(&mut world).1), ["INVITE"]);
    let (mut world, text) = by("");
    assert_eq!(out_by_it(&world), None);
    turn(&mut world, &text.replace("name = \"carrier\"", "name = \"carrier\"\nmax_calls = 1"));
    assert_eq!(names(&invite(&mut world).1), ["INVITE"]);
    assert_eq!(names(&invite(&mut world).1), ["503"]);
}

/// A full trunk gives way to the next step of a decision.
#[test]
fn a_full_trunk_gives_way_to_another() {
    let text = "authentication = false\ndomains = [\"example.com\"]\n[[trunk]]\nname = \"small\"\nmax_calls = 1\n\
                gateways = [{ uri = \"sip:192.0.2.91\" }]\n[[trunk]]\nname = \"large\"\n\
                gateways = [{ uri = \"sip:192.0.2.92\" }]\n";
    let settings = Settings::parse(text).unwrap();
    let mut world = World::with(|config| {
        settings.configure(config);
        config.external_router = true;
    });
    let by = |name: &str| Step::to(Destination::Trunk { name: name.into(), number: "1".into() });
    for gateway in [ONE, TWO, TWO] {
        assert!(invite(&mut world).1.is_empty());
        let (key, _) = world.core.poll_call().unwrap();
        world.core.decided(world.now, key, Some(Decision::Proxy(vec![by("small"), by("large")])));
        assert_eq!(only(&world.sent(), "INVITE").to(), gateway);
    }
}

// ---- who calls ------------------------------------------------------------------------------------------------------

/// A carrier may send a call whose From is in our own domain (the number called, or one that forwards): it is not asked for a
/// password that it cannot have, and reaches what a stranger reaches; the way out stays closed to it, whatever its From says.
#[test]
fn a_trunk_that_calls_in_by_a_number_of_ours_is_not_asked() {
    let text = "domains = [\"example.com\"]\n[[user]]\nname = \"bob\"\npassword = \"builder\"\n[aliases]\nshop = \"bob\"\n\
                [[route]]\nprefix = \"+\"\ntrunk = \"carrier\"\n[[trunk]]\nname = \"carrier\"\n\
                gateways = [{ uri = \"sip:192.0.2.91\" }]\n";
    let settings = Settings::parse(text).unwrap();
    let mut world = World::with(|config| settings.configure(config));
    let from = "From: <sip:bob@example.com>;tag=x\r\n";
    let mut asked = |source: &str, uri: &str| {
        let text = world.request(source, "INVITE", uri, from);
        names(&world.udp(source, text))
    };
    assert_eq!(asked(ONE, "sip:shop@example.com"), ["480"], "let in; nobody is registered");
    assert_eq!(asked(ALICE, "sip:shop@example.com"), ["407"], "anybody else proves that he is bob");
    assert_eq!(
        asked(ONE, "sip:+4930@example.com"),
        ["407"],
        "a phone behind that address may still prove it"
    );
    assert_eq!(asked(ONE, "sip:x@foreign.example"), ["407"]);
    let anonymous = "From: <sip:+4930@carrier.example>;tag=x\r\n";
    let text = world.request(ONE, "INVITE", "sip:+4930@example.com", anonymous);
    assert_eq!(names(&world.udp(ONE, text)), ["403"]);
}

/// A trunk may say of whom its settings allow that they call, of ours too; its calls come from its networks as well as from its
/// gateways. Nobody else may.
#[test]
fn a_trunk_says_who_calls_within_its_settings() {
    let text = "domains = [\"example.com\"]\n[[user]]\nname = \"bob\"\npassword = \"builder\"\n[aliases]\nshop = \"bob\"\n\
                [[route]]\nprefix = \"+\"\ntrunk = \"carrier\"\n[[trunk]]\nname = \"carrier\"\n\
                gateways = [{ uri = \"sip:gateway.carrier.example\" }]\naddresses = [\"192.0.2.88/29\"]\n\
                from = ['\\+.*@carrier\\.example', '\\+4930.*@example\\.com']\n";
    let settings = Settings::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::with(|config| settings.configure(config));
    let mut asked = |source: &str, from: &str| {
        let text =
            world.request(source, "INVITE", "sip:shop@example.com", &format!("From: <{from}>;tag=x\r\n"));
        names(&world.udp(source, text))
    };
    for from in ["sip:+441@carrier.example", "sip:+49301@Example.com", "sip:anonymous@anonymous.invalid"] {
        assert_eq!(asked(TWO, from), ["480"], "{from}: let in; nobody is registered");
    }
    for from in ["sip:bob@example.com", "sip:+441@other.example", "sip:+441@carrier.example.org"] {
        assert_eq!(asked(TWO, from), ["403"], "{from}");
    }
    assert_eq!(asked(ALICE, "sip:+49301@example.com"), ["407"], "this is a number of ours");
    // The way out is as closed as ever.
    let from = "From: <sip:+49301@example.com>;tag=x\r\n";
    let text = world.request(TWO, "INVITE", "sip:+4930@example.com", from);
    assert_eq!(names(&world.udp(TWO, text)), ["407"]);
    let bad = text_with(r#"from = ["+"]"#);
    let fault = Settings::parse(&bad).unwrap_err().to_string();
    assert!(fault.contains("regular expression"), "{fault}");
}

fn text_with(trunk: &str) -> String {
    format!("[[trunk]]\nname = \"carrier\"\ngateways = [{{ uri = \"sip:gateway.example\" }}]\n{trunk}\n")
}

/// RFC 3325 §9.2: a customer says by which of its numbers it wants to be known. From stays as it was.
#[test]
fn a_trunk_is_told_the_number_that_we_prefer() {
    let (mut world, _) = by("preferred_identity = \"sip:+4930100@example.com\"");
    let text = world.request(
        ALICE,
        "INVITE",
        "sip:+49301@example.com",
        "P-Preferred-Identity: <sip:liar@example.com>\r\nP-Asserted-Identity: <sip:liar@example.com>\r\n",
    );
    let sent = world.udp(ALICE, text);
    let headers = &only(&sent, "INVITE").request().headers;
    assert_eq!(headers.text("P-Preferred-Identity"), Some("<sip:+4930100@example.com>"));
    assert!(!headers.contains("P-Asserted-Identity"));
    assert_eq!(headers.text("From"), Some("<sip:carol@chicago.example>;tag=carol"));
    let both = "authentication = false\ndomains = [\"a.example\"]\n[[trunk]]\nname = \"t\"\nmax_calls = 0\n\
                gateways = [{ uri = \"sip:gw\" }]\nasserted_identity = \"sip:1@a\"\npreferred_identity = \"sip:1@a\"\n";
    let faults = Settings::parse(both).unwrap_err().to_string();
    assert_eq!(
        faults,
        "5:13: max_calls: 0 would let no call out; leave it out for any number\n\
         8:22: asserted_identity is there already: a carrier takes the one or the other"
    );
}

// ---- the end --------------------------------------------------------------------------------------------------------

/// RFC 3261 §10.2.2: the binding is removed, challenge or not, and never made again.
#[test]
fn a_trunk_is_left_when_the_server_ends() {
    for challenged in [false, true] {
        let (mut world, _) = by(REGISTRATION);
        let mut nonces = 0;
        let mut registrar = |sent: &Sent| {
            let known = sent.request().headers.contains("Authorization");
            let leaves = sent.request().headers.require::<Expires>().unwrap().0 == 0;
            if !known || (challenged && leaves && nonces == 0) {
                nonces += u32::from(leaves);
                let fresh = format!("{}{nonces}\", stale=true", CHALLENGE.split("n1").next().unwrap());
                return Some((401, if known { fresh } else { CHALLENGE.to_owned() }));
            }
            let contact = sent.request().headers.text("Contact").unwrap();
            Some((200, if leaves { String::new() } else { format!("Contact: {contact};expires=300") }))
        };
        live(&mut world, 5, &mut registrar);
        assert_eq!(world.core.trunks()[0].registered, Some(true));
        world.core.leave_trunks(world.now);
        assert!(world.core.are_trunks_leaving());
        let mut sent = world.sent();
        let mut expires = Vec::new();
        while let Some(one) = sent.first() {
            expires.push(one.request().headers.require::<Expires>().unwrap().0);
            let (status, extra) = registrar(one).unwrap();
            sent = world.answer(one, status, &extra);
        }
        assert_eq!(expires, if challenged { vec![0, 0] } else { vec![0] });
        assert!(!world.core.are_trunks_leaving());
        assert!(live(&mut world, 3600, &mut registrar).is_empty(), "never again");
        world.assert_nothing_left();
    }
}

/// A registrar that is silent holds nobody up for ever: the transaction ends, and with it the wish.
#[test]
fn a_silent_registrar_is_left_all_the_same() {
    let (mut world, _) = by(REGISTRATION);
    world.core.leave_trunks(world.now);
    assert!(!world.core.are_trunks_leaving(), "there is nothing to leave yet");
    let (mut world, _) = by(REGISTRATION);
    assert!(!registers(&world.seconds(2)).is_empty());
    world.core.leave_trunks(world.now);
    assert!(world.core.are_trunks_leaving(), "the REGISTER may have arrived");
    world.seconds(40);
    assert!(!world.core.are_trunks_leaving());
    world.assert_nothing_left();
}

/// The same over sockets: `close` waits for it.
#[tokio::test]
async fn close_takes_leave_of_the_registrar() {
    let registrar = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = registrar.local_addr().unwrap();
    let settings = Settings::parse(&format!(
        "listen = [\"udp:127.0.0.1:0\"]\nauthentication = false\ndomains = [\"example.com\"]\n[[user]]\nname = \"bob\"\n\
         [[trunk]]\nname = \"t\"\ngateways = [{{ uri = \"sip:{at}\" }}]\n\
         registration = {{ registrar = \"sip:{at}\", address = \"sip:us@{at}\", contact = \"bob\" }}\n"
    ))
    .unwrap();
    let server = Server::from_settings(&settings).unwrap().build().await.unwrap();
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((size, from)) = registrar.recv_from(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            let limits = sip_message::Limits::default();
            let request = sip_message::Request::parse(text.into(), &limits).unwrap();
            let expires = request.headers.require::<Expires>().unwrap().0;
            let reply = world::response_text(
                &request,
                200,
                &format!("Contact: {};expires={expires}", request.headers.text("Contact").unwrap()),
            );
            registrar.send_to(reply.as_bytes(), from).await.unwrap();
            let _ = told.send(expires);
        }
    });
    assert_eq!(hears.recv().await, Some(3600));
    server.close().await;
    assert_eq!(hears.recv().await, Some(0));
    answers.abort();
}
