//! Routing rules: call flows by hand, in virtual time, the rules written as in a file of settings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{Diversion, HistoryInfo};
use sip_message::{Limits, Request, Response};
use sip_server::routing::{Decision, Destination, Step, When};
use sip_server::settings::Settings;
use world::{ALICE, Sent, World, names, only};

const GATEWAY: &str = "192.0.2.91:5060";
const GATEWAY2: &str = "192.0.2.92:5060";

/// A server of example.com by these settings, nobody asked for a password. Users ring at `192.0.2.N`, as [`at`] says.
fn open(text: &str) -> World {
    by(&format!("authentication = false\ndomains = [\"example.com\"]\n{text}"))
}

fn by(text: &str) -> World {
    let settings = Settings::parse(text).unwrap();
    World::with(|config| settings.configure(config))
}

/// Where a user's phone is.
fn at(user: &str) -> String {
    let host = match user {
        "alice" => 101,
        "bob" => 102,
        "carol" => 103,
        _ => 104,
    };
    format!("192.0.2.{host}:5060")
}

fn register(world: &mut World, users: &[&str]) {
    for user in users {
        let response = world.register(user, &format!("<sip:{user}@{}>", at(user)), "");
        assert_eq!(code(&response), 200);
    }
}

fn code(response: &Response) -> u16 {
    response.status().code()
}

/// An INVITE of somebody elsewhere.
fn call(world: &mut World, uri: &str) -> Vec<Sent> {
    call_with(world, uri, "").1
}

fn call_with(world: &mut World, uri: &str, extra: &str) -> (String, Vec<Sent>) {
    let text = world.request(ALICE, "INVITE", uri, extra);
    let sent = world.udp(ALICE, text.clone());
    (text, sent)
}

/// The INVITEs among what was sent, by where they went.
fn rung(sent: &[Sent]) -> Vec<String> {
    sent.iter().filter(|sent| sent.name() == "INVITE").map(Sent::to).collect()
}

fn diversions(sent: &Sent) -> Vec<(String, String)> {
    let all = sent.request().headers.all::<Diversion>().map(Result::unwrap);
    all.map(|one| (one.0.uri().to_string(), one.reason().unwrap().into_owned())).collect()
}

// ---- names ----------------------------------------------------------------------------------------------------------

#[test]
fn without_rules_nothing_is_decided() {
    let mut world = open("");
    register(&mut world, &["bob"]);
    assert_eq!(rung(&call(&mut world, "sip:bob@example.com")), [at("bob")]);
    assert_eq!(world.core.counters().routed, 0);
}

#[test]
fn an_alias_leads_to_its_user_and_aliases_lead_to_aliases() {
    let mut world = open(
        "[[user]]\nname = \"bob\"\n[aliases]\nsales = \"shop\"\nshop = \"bob\"\nfar = \"sip:x@192.0.2.77\"",
    );
    register(&mut world, &["bob"]);
    let sent = call(&mut world, "sip:sales@example.com");
    assert_eq!(rung(&sent), [at("bob")]);
    assert!(diversions(only(&sent, "INVITE")).is_empty(), "another name is no diversion");
    assert_eq!(rung(&call(&mut world, "sip:far@example.com")), ["192.0.2.77:5060"]);
    assert_eq!(names(&call(&mut world, "sip:nobody@example.com")), ["404"]);
}

#[test]
fn requests_of_other_methods_follow_aliases_but_not_forwarding() {
    let mut world = open(
        "[[user]]\nname = \"bob\"\nforward.always = \"carol\"\n[[user]]\nname = \"carol\"\n[aliases]\nsales = \"bob\"",
    );
    register(&mut world, &["bob", "carol"]);
    let text = world.request(ALICE, "MESSAGE", "sip:sales@example.com", "");
    let sent = world.udp(ALICE, text);
    assert_eq!(only(&sent, "MESSAGE").to(), at("bob"));
}

// ---- forwarding -----------------------------------------------------------------------------------------------------

const FORWARDS: &str = r#"
[[user]]
name = "alice"
forward = { busy = "bob", no_answer = "carol", after = 15, unreachable = "sip:mail@192.0.2.88" }
[[user]]
name = "bob"
[[user]]
name = "carol"
"#;

#[test]
fn forward_on_busy() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    assert_eq!(rung(&sent), [at("alice")]);
    for busy in [486, 600] {
        let sent = call(&mut world, "sip:alice@example.com");
        let sent = world.answer(only(&sent, "INVITE"), busy, "");
        let forwarded = only(&sent, "INVITE");
        assert_eq!(forwarded.to(), at("bob"), "after {busy}");
        assert_eq!(diversions(forwarded), [("sip:alice@example.com".to_owned(), "user-busy".to_owned())]);
        // Bob refuses: it is his refusal or hers that the caller gets, and nobody else rings.
        let sent = world.answer(forwarded, 480, "");
        assert!(rung(&sent).is_empty());
        assert_eq!(names(&sent).last().unwrap(), &busy.to_string());
    }
}

/// The time to ring, RFC 3261 §16.6 step 11 in small: the branch is cancelled, and the next is tried at once.
#[test]
fn forward_on_no_answer() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let ringing = world.answer(only(&sent, "INVITE"), 180, "");
    assert_eq!(names(&ringing), ["180"]);
    assert!(names(&world.seconds(14)).is_empty());
    let sent = world.pass(Duration::from_millis(1200));
    assert_eq!(only(&sent, "CANCEL").to(), at("alice"));
    let forwarded = only(&sent, "INVITE");
    assert_eq!(forwarded.to(), at("carol"));
    assert_eq!(diversions(forwarded), [("sip:alice@example.com".to_owned(), "no-answer".to_owned())]);
    let ok = world.answer(forwarded, 200, "Contact: <sip:carol@192.0.2.103>");
    assert_eq!(names(&ok), ["200"]);
    assert_eq!(world.core.counters().rang_out, 1);
    world.assert_nothing_left();
}

/// §16.7 step 5: a 2xx wins however late it comes.
#[test]
fn a_200_that_crosses_the_cancel_of_the_time_to_ring_wins() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let first = only(&sent, "INVITE");
    world.answer(first, 180, "");
    let later = world.pass(Duration::from_millis(15_200));
    let second = only(&later, "INVITE");
    world.answer(second, 180, "");
    let won = world.answer(first, 200, "Contact: <sip:alice@192.0.2.101>");
    assert_eq!(only(&won, "200").to(), ALICE);
    let cancel = only(&won, "CANCEL");
    assert_eq!(cancel.to(), at("carol"));
    world.answer(second, 487, "");
    world.assert_nothing_left();
}

#[test]
fn a_late_180_of_a_phone_that_was_given_up_does_not_ring_the_caller() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let first = only(&sent, "INVITE");
    world.seconds(16);
    assert!(world.answer(first, 180, "").iter().all(|sent| sent.name() != "180"));
}

#[test]
fn forward_if_no_phone_is_there() {
    let mut world = open(FORWARDS);
    register(&mut world, &["bob", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let forwarded = only(&sent, "INVITE");
    assert_eq!(
        (forwarded.to().as_str(), forwarded.request().uri_text()),
        ("192.0.2.88:5060", "sip:mail@192.0.2.88")
    );
    assert_eq!(diversions(forwarded), [("sip:alice@example.com".to_owned(), "unavailable".to_owned())]);
    // A phone that is registered and dead is not there either: Timer B, before the time to ring.
    let mut world = open(&FORWARDS.replace("after = 15", "after = 60"));
    register(&mut world, &["alice"]);
    call(&mut world, "sip:alice@example.com");
    assert_eq!(rung(&world.seconds(33)).last().unwrap(), "192.0.2.88:5060");
}

/// RFC 7044 §10.3, §10.4, and the order of RFC 5806 §6: the last to divert stands first.
#[test]
fn a_call_that_is_forwarded_twice_tells_its_history() {
    let mut world = open(
        r#"
        [[user]]
        name = "alice"
        forward.always = "bob"
        [[user]]
        name = "bob"
        forward.busy = "sip:desk@192.0.2.66"
        "#,
    );
    register(&mut world, &["alice", "bob"]);
    let sent = call(&mut world, "sip:alice@example.com");
    assert_eq!(rung(&sent), [at("bob")], "always: her phone does not ring");
    let sent = world.answer(only(&sent, "INVITE"), 486, "");
    let last = only(&sent, "INVITE");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        diversions(last),
        [pair("sip:bob@example.com", "user-busy"), pair("sip:alice@example.com", "unconditional")]
    );
    let history: Vec<String> =
        last.request().headers.all::<HistoryInfo>().map(|entry| entry.unwrap().0.to_string()).collect();
    assert_eq!(
        history,
        [
            "<sip:alice@example.com?Reason=SIP%3Bcause%3D302>;index=1",
            "<sip:bob@example.com?Reason=SIP%3Bcause%3D486>;index=1.1;mp=1",
            "<sip:desk@192.0.2.66>;index=1.1.1;mp=1.1",
        ]
    );
}

/// RFC 7044 §10.1, and switched off.
#[test]
fn history_stays_private_where_it_shall() {
    let rules = "[[user]]\nname = \"alice\"\nforward.always = \"bob\"\n[[user]]\nname = \"bob\"";
    let mut world = open(rules);
    register(&mut world, &["bob"]);
    let (_, sent) = call_with(&mut world, "sip:alice@example.com", "Privacy: history\r\n");
    let request = only(&sent, "INVITE").request();
    assert!(!request.headers.contains("History-Info") && !request.headers.contains("Diversion"));
    let mut world = open(&format!("routing = {{ history = false }}\n{rules}"));
    register(&mut world, &["bob"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let request = only(&sent, "INVITE").request();
    assert!(!request.headers.contains("History-Info") && request.headers.contains("Diversion"));
}

#[test]
fn two_who_forward_to_each_other_end_the_call() {
    let mut world = open(
        "[[user]]\nname = \"alice\"\nforward.busy = \"bob\"\n[[user]]\nname = \"bob\"\nforward.busy = \"alice\"",
    );
    register(&mut world, &["alice", "bob"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let sent = world.answer(only(&sent, "INVITE"), 486, "");
    assert_eq!(rung(&sent), [at("bob")]);
    let sent = world.answer(only(&sent, "INVITE"), 486, "");
    assert!(rung(&sent).is_empty());
    assert_eq!(names(&sent).last().unwrap(), "486");
    world.assert_nothing_left();
}

#[test]
fn do_not_disturb_refuses_or_forwards() {
    let mut world = open("routing.do_not_disturb = 486\n[[user]]\nname = \"alice\"\ndo_not_disturb = true");
    register(&mut world, &["alice"]);
    assert_eq!(names(&call(&mut world, "sip:alice@example.com")), ["486"]);
    let mut world = open(
        "[[user]]\nname = \"alice\"\ndo_not_disturb = true\nforward.busy = \"bob\"\n[[user]]\nname = \"bob\"\n",
    );
    register(&mut world, &["alice", "bob"]);
    let sent = call(&mut world, "sip:alice@example.com");
    let sent = only(&sent, "INVITE");
    assert_eq!((sent.to(), diversions(sent)[0].1.as_str()), (at("bob"), "do-not-disturb"));
}

/// §16.10, before anybody is rung and between two steps.
#[test]
fn a_caller_who_hangs_up_is_not_forwarded() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "bob", "carol"]);
    let (text, sent) = call_with(&mut world, "sip:alice@example.com", "");
    let ringing = only(&sent, "INVITE");
    world.answer(ringing, 180, "");
    let cancel = text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n");
    let sent = world.udp(ALICE, cancel);
    assert_eq!(only(&sent, "CANCEL").to(), at("alice"));
    let ended = world.answer(ringing, 487, "");
    assert_eq!(names(&ended), ["ACK", "487"]);
    assert!(rung(&world.seconds(60)).is_empty(), "the time to ring is over, and nobody else is rung");
    world.assert_nothing_left();
}

// ---- hunt groups ----------------------------------------------------------------------------------------------------

fn group(strategy: &str, more: &str) -> String {
    let users = ["alice", "bob", "carol"].map(|name| format!("[[user]]\nname = \"{name}\"\n")).concat();
    format!(
        "{users}[[hunt_group]]\nname = \"team\"\nstrategy = \"{strategy}\"\nring = 10\nmembers = [\"alice\", \"bob\", \
         \"carol\"]\n{more}"
    )
}

#[test]
fn a_parallel_group_rings_all() {
    let mut world = open(&group("parallel", ""));
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:team@example.com");
    assert_eq!(rung(&sent), [at("alice"), at("bob"), at("carol")]);
    for phone in &sent {
        world.answer(phone, 180, "");
    }
    let won = world.answer(&sent[1], 200, "Contact: <sip:bob@192.0.2.102>");
    assert_eq!(names(&won).iter().filter(|name| *name == "CANCEL").count(), 2);
}

#[test]
fn a_serial_group_rings_one_after_the_other_even_after_a_603() {
    let mut world = open(&group("serial", "otherwise = \"sip:mail@192.0.2.88\""));
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:team@example.com");
    assert_eq!(rung(&sent), [at("alice")]);
    let sent = world.answer(only(&sent, "INVITE"), 603, "");
    assert_eq!(rung(&sent), [at("bob")]);
    world.answer(only(&sent, "INVITE"), 180, "");
    let sent = world.pass(Duration::from_millis(10_200));
    assert_eq!(rung(&sent), [at("carol")]);
    let sent = world.answer(sent.iter().find(|sent| sent.name() == "INVITE").unwrap(), 486, "");
    assert_eq!(rung(&sent), ["192.0.2.88:5060"]);
}

#[test]
fn a_round_robin_group_begins_with_the_next_each_time() {
    let mut world = open(&group("round-robin", ""));
    register(&mut world, &["alice", "bob", "carol"]);
    for first in ["alice", "bob", "carol", "alice"] {
        let sent = call(&mut world, "sip:team@example.com");
        assert_eq!(rung(&sent), [at(first)]);
    }
}

#[test]
fn members_who_are_away_are_passed_over() {
    let text = group("serial", "").replace("name = \"alice\"\n", "name = \"alice\"\ndo_not_disturb = true\n");
    let mut world = open(&text);
    register(&mut world, &["alice", "carol"]);
    assert_eq!(rung(&call(&mut world, "sip:team@example.com")), [at("carol")], "bob has no phone");
    assert_eq!(names(&call(&mut open(&text), "sip:team@example.com")), ["480"], "nobody is there");
}

// ---- dial plan, static routes, trunks -------------------------------------------------------------------------------

const OUTSIDE: &str = r#"
domains = ["example.com"]
[[user]]
name = "alice"
password = "wonderland"
[[user]]
name = "bob"
password = "builder"
forward.always = "+4930777"
[[rewrite]]
pattern = "00([1-9].*)"
replace = "+$1"
[[route]]
pattern = '\+(49.*)'
trunk = "carrier"
number = "00$1"
[[route]]
prefix = "+999"
reject = 484
[[route]]
pattern = "8(.*)"
to = "+49$1"
[[route]]
domain = "partner.example"
via = "sip:192.0.2.50"
callers = "anyone"
[[route]]
pattern = "info"
redirect = ["sip:info@elsewhere.example"]
[[trunk]]
name = "carrier"
strip = 2
add = "7"
gateways = [
    { uri = "sip:192.0.2.91", priority = 1 },
    { uri = "sip:192.0.2.92;transport=udp", priority = 2 },
]
"#;

/// Answers the 407 of an INVITE as a user of ours; gives what the server sent then.
fn call_as(world: &mut World, user: &str, password: &str, uri: &str) -> Vec<Sent> {
    let from = format!("From: <sip:{user}@example.com>;tag=c\r\n");
    let (text, sent) = call_with(world, uri, &from);
    let challenge =
        sent.iter().find(|sent| sent.name() == "407").unwrap_or_else(|| panic!("{:?}", names(&sent)));
    let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, user, Secret::password(password));
    phone.answer(&mut request, challenge.response(), &mut Attempts::default(), "c").unwrap();
    request.headers.set_raw("CSeq", "99 INVITE").unwrap();
    let text = request.to_string().replace("z9hG4bKtest", "z9hG4bKagain");
    world.udp(ALICE, text)
}

#[test]
fn a_user_calls_out_by_the_dial_plan() {
    let mut world = by(OUTSIDE);
    let sent = call_as(&mut world, "alice", "wonderland", "sip:004930123@example.com");
    let out = only(&sent, "INVITE");
    assert_eq!((out.to().as_str(), out.request().uri_text()), (GATEWAY, "sip:74930123@192.0.2.91"));
    assert!(
        !out.request().headers.contains("Proxy-Authorization"),
        "the carrier gets no credentials of ours"
    );
}

/// RFC 3261 §19.1.6, RFC 3966: telephone URIs, with separators.
#[test]
fn a_tel_uri_is_routed_by_the_dial_plan() {
    let mut world = by(OUTSIDE);
    let sent = call_as(&mut world, "alice", "wonderland", "tel:+49-30-123");
    assert_eq!(only(&sent, "INVITE").request().uri_text(), "sip:74930123@192.0.2.91");
    assert_eq!(names(&call(&mut open(""), "tel:+49-30-123")), ["416"], "without a dial plan");
    let sent = call_as(&mut world, "alice", "wonderland", "tel:+1-555");
    assert_eq!(names(&sent), ["404"]);
}

/// Toll fraud, each way that comes to mind: by number, by the route that makes one, around the dial plan, with a Route, with a To
/// tag; and with the owner's leave.
#[test]
fn strangers_do_not_call_at_our_expense() {
    let mut world = by(OUTSIDE);
    for uri in
        ["sip:+4930123@example.com", "sip:004930123@example.com", "tel:+4930123", "sip:830123@example.com"]
    {
        assert_eq!(names(&call(&mut world, uri)), ["403"], "{uri}");
    }
    let sent = call_as(&mut world, "alice", "wonderland", "sip:4930123@192.0.2.91");
    assert_eq!(names(&sent), ["403"], "a gateway that trusts our address");
    let from = "From: <sip:x@elsewhere.example>;tag=c\r\n";
    for extra in ["Route: <sip:192.0.2.91;lr>\r\n", "To: <sip:x@192.0.2.91>;tag=made-up\r\n"] {
        let (_, sent) = call_with(&mut world, "sip:4930123@192.0.2.91", &format!("{from}{extra}"));
        assert_eq!(names(&sent), ["403"], "{extra}");
    }
    // Bob's own choice: calls to him go out by the trunk.
    let sent = call(&mut world, "sip:bob@example.com");
    assert_eq!(only(&sent, "INVITE").to(), GATEWAY);
}

/// Whoever has a password is no more allowed to go around the dial plan than others.
#[test]
fn a_route_of_a_user_leads_around_no_dial_plan() {
    let mut world = by(OUTSIDE);
    let from = "From: <sip:alice@example.com>;tag=c\r\nRoute: <sip:192.0.2.92;lr>\r\n";
    let (text, sent) = call_with(&mut world, "sip:4930123@far.example", from);
    let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password("wonderland"));
    phone.answer(&mut request, only(&sent, "407").response(), &mut Attempts::default(), "c").unwrap();
    let sent = world.udp(ALICE, request.to_string().replace("z9hG4bKtest", "z9hG4bKagain"));
    assert_eq!(names(&sent), ["403"]);
}

#[test]
fn static_routes_redirect_refuse_and_know_domains() {
    let mut world = by(OUTSIDE);
    let sent = call(&mut world, "sip:info@example.com");
    let redirect = only(&sent, "302").response();
    assert_eq!(redirect.headers.text("Contact"), Some("<sip:info@elsewhere.example>"));
    assert_eq!(names(&call_as(&mut world, "alice", "wonderland", "sip:+999@example.com")), ["484"]);
    let sent = call(&mut world, "sip:joe@partner.example");
    let sent = only(&sent, "INVITE");
    assert_eq!(
        (sent.to().as_str(), sent.request().uri_text()),
        ("192.0.2.50:5060", "sip:joe@partner.example")
    );
}

/// A dialled `@` or `?` stays within the user part of what a route makes of it.
#[test]
fn what_is_dialled_does_not_become_another_host() {
    let mut world = open("[[route]]\npattern = '7(.*)'\nto = 'sip:$1@192.0.2.70'\ncallers = \"anyone\"");
    for evil in ["7x%40192.0.2.66%3Fa=", "7x%40192.0.2.66", "7a%20b"] {
        assert_eq!(
            rung(&call(&mut world, &format!("sip:{evil}@example.com"))),
            ["192.0.2.70:5060"],
            "{evil}"
        );
    }
    // What stands behind a colon or semicolon is no part of a name.
    for evil in ["7x%3Asip%3Ax%40192.0.2.66", "7x;a=b%40192.0.2.66"] {
        let sent = call(&mut world, &format!("sip:{evil}@example.com"));
        assert_eq!(only(&sent, "INVITE").request().uri_text(), "sip:x@192.0.2.70", "{evil}");
    }
}

/// RFC 3323 §4.1.1.3: a user who does not tell the callee who he is tells the server, by credentials.
#[test]
fn an_anonymous_user_is_asked_before_he_calls_out() {
    let mut world = by(OUTSIDE);
    let from = "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a\r\nPrivacy: id\r\n";
    let (text, sent) = call_with(&mut world, "sip:+4930123@example.com", from);
    let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password("wonderland"));
    phone.answer(&mut request, only(&sent, "407").response(), &mut Attempts::default(), "c").unwrap();
    let sent = world.udp(ALICE, request.to_string().replace("z9hG4bKtest", "z9hG4bKagain"));
    assert_eq!(only(&sent, "INVITE").to(), GATEWAY);
    // Who calls in anonymously is not asked, and not told that she is away.
    let (_, sent) = call_with(&mut world, "sip:alice@example.com", from);
    assert_eq!(names(&sent), ["404"]);
}

// ---- what holds for every request of a proxy ------------------------------------------------------------------------

/// RFC 5393 §4.2: a route that leads to ourselves is found out.
#[test]
fn a_route_that_leads_back_here_is_a_loop() {
    let mut world =
        open("[[route]]\ndomain = \"round.example\"\nvia = \"sip:192.0.2.1\"\ncallers = \"anyone\"");
    let mut sent = call(&mut world, "sip:x@round.example");
    let mut rounds = 0;
    while let Some(forwarded) = sent.iter().find(|sent| sent.name() == "INVITE") {
        assert_eq!(forwarded.to(), world::SERVER);
        let text = forwarded.text();
        sent = world.udp(world::SERVER, text);
        rounds += 1;
    }
    assert_eq!(names(&sent), ["482"]);
    assert!(rounds <= 2, "{rounds}: a Via of ours below that of the last hop shows it");
}

/// RFC 5393 §5.3.3, RFC 3261 §16.3 and §16.6 step 3.
#[test]
fn max_breadth_and_max_forwards_hold_for_groups() {
    let mut world = open(&group("parallel", ""));
    register(&mut world, &["alice", "bob", "carol"]);
    let (_, sent) = call_with(&mut world, "sip:team@example.com", "Max-Breadth: 2\r\n");
    assert_eq!(names(&sent), ["440"]);
    let (_, sent) = call_with(&mut world, "sip:team@example.com", "Max-Breadth: 6\r\nMax-Forwards: 5\r\n");
    for phone in &sent {
        let headers = &phone.request().headers;
        assert_eq!((headers.text("Max-Breadth"), headers.text("Max-Forwards")), (Some("2"), Some("4")));
    }
    let (_, sent) = call_with(&mut world, "sip:team@example.com", "Max-Forwards: 0\r\n");
    assert_eq!(names(&sent), ["483"]);
}

/// RFC 5630 §5.3: no rule takes a `sips` call out of TLS.
#[test]
fn a_sips_call_is_not_forwarded_in_the_clear() {
    let mut world = open(
        "[aliases]\nfar = \"sip:x@192.0.2.77\"\n[[route]]\nprefix = \"7\"\ntrunk = \"t\"\ncallers = \"anyone\"\n[[trunk]]\nname = \
         \"t\"\ngateways = [{ uri = \"sip:192.0.2.91\" }]\n[[route]]\ndomain = \"partner.example\"\nvia = \
         \"sip:192.0.2.50\"\ncallers = \"anyone\"",
    );
    for uri in ["sips:far@example.com", "sips:7123@example.com", "sips:x@partner.example"] {
        assert_eq!(names(&call(&mut world, uri)), ["480"], "{uri}");
        assert_eq!(rung(&call(&mut world, &uri.replacen("sips", "sip", 1))).len(), 1, "{uri}");
    }
}

#[test]
fn the_next_gateway_is_tried_after_503_silence_and_no_connection() {
    for how in 0..3 {
        let mut world = by(OUTSIDE);
        let sent = call_as(&mut world, "alice", "wonderland", "sip:+4930123@example.com");
        let first = only(&sent, "INVITE");
        assert_eq!(first.to(), GATEWAY);
        let sent = match how {
            0 => world.answer(first, 503, ""),
            1 => world.fail(first),
            _ => world.seconds(33),
        };
        let next = sent.iter().rfind(|sent| sent.name() == "INVITE").unwrap();
        assert_eq!(
            (next.to().as_str(), next.request().uri_text()),
            (GATEWAY2, "sip:74930123@192.0.2.92;transport=udp")
        );
        // What the callee says is no reason to try another gateway.
        let sent = world.answer(next, 486, "");
        assert_eq!(names(&sent), ["ACK", "486"]);
        assert_eq!(world.core.counters().other_gateways, 1);
    }
}

/// The gateway's challenge is answered by the server, once; the caller hears of it only if the password is wrong.
#[test]
fn a_trunk_that_asks_gets_our_credentials() {
    let settings = OUTSIDE.replace(
        "strip = 2",
        "username = \"us\"\npassword = \"carrier-secret\"\nasserted_identity = \"sip:+4930100@example.com\"\nstrip = 2",
    );
    let mut world = by(&settings);
    let sent = call_as(&mut world, "alice", "wonderland", "sip:+4930123@example.com");
    let first = only(&sent, "INVITE");
    let asserted = |sent: &Sent| sent.request().headers.text("P-Asserted-Identity").map(str::to_owned);
    assert_eq!(asserted(first).as_deref(), Some("<sip:+4930100@example.com>"));
    let challenge =
        "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\n";
    let sent = world.answer(first, 407, challenge);
    assert_eq!(names(&sent), ["ACK", "INVITE"]);
    let again = only(&sent, "INVITE");
    assert_eq!(again.to(), GATEWAY);
    let credentials = again.request().headers.text("Proxy-Authorization").unwrap();
    assert!(
        credentials.contains("username=\"us\"") && credentials.contains("realm=\"carrier\""),
        "{credentials}"
    );
    assert_eq!(again.request().headers.text("CSeq"), first.request().headers.text("CSeq"));
    assert_ne!(world::vias(&again.message)[0].branch(), world::vias(&first.message)[0].branch());
    // Refused all the same: no third time.
    let sent = world.answer(again, 407, challenge);
    assert_eq!(names(&sent), ["ACK", "407"]);
    world.assert_nothing_left();
}

/// A 407 of the first gateway does not use up what the second one needs; and what users assert of themselves goes nowhere.
#[test]
fn each_gateway_is_answered_and_callers_assert_nothing() {
    let mut world = by(&OUTSIDE.replace("strip = 2", "username = \"us\"\npassword = \"secret\"\nstrip = 2"));
    let sent = call_as(&mut world, "alice", "wonderland", "sip:+4930123@example.com");
    let challenge = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\"\n";
    let sent = world.answer(only(&sent, "INVITE"), 401, challenge);
    let sent = world.answer(only(&sent, "INVITE"), 503, "");
    let second = only(&sent, "INVITE");
    assert_eq!(second.to(), GATEWAY2);
    assert!(!second.request().headers.contains("Authorization"), "not before it asks");
    let sent = world.answer(second, 401, challenge);
    assert!(only(&sent, "INVITE").request().headers.contains("Authorization"));

    let mut world = by(&OUTSIDE.replace("trunk = \"carrier\"", "trunk = \"carrier\"\ncallers = \"anyone\""));
    let assert = "P-Asserted-Identity: <sip:president@example.com>\r\nP-Preferred-Identity: <sip:x@y>\r\n";
    let (_, sent) = call_with(&mut world, "sip:+4930123@example.com", assert);
    let request = only(&sent, "INVITE").request();
    assert!(
        !request.headers.contains("P-Asserted-Identity") && !request.headers.contains("P-Preferred-Identity")
    );
}

#[test]
fn routes_look_at_method_network_and_user() {
    let mut world = open(
        r#"
        [[route]]
        methods = ["MESSAGE"]
        before_users = true
        to = "sip:texts@192.0.2.70"
        callers = "anyone"
        [[route]]
        from_network = ["198.51.100.0/24"]
        prefix = "30"
        to = "bob"
        [[user]]
        name = "bob"
        "#,
    );
    register(&mut world, &["bob"]);
    let text = world.request(ALICE, "MESSAGE", "sip:bob@example.com", "");
    assert_eq!(only(&world.udp(ALICE, text), "MESSAGE").to(), "192.0.2.70:5060");
    assert_eq!(names(&call(&mut world, "sip:30123@example.com")), ["404"]);
    let text = world.request("198.51.100.7:5060", "INVITE", "sip:30123@example.com", "");
    assert_eq!(rung(&world.udp("198.51.100.7:5060", text)), [at("bob")], "an incoming call of the carrier's");
}

// ---- block lists ----------------------------------------------------------------------------------------------------

#[test]
fn block_lists_stop_callers_sources_and_numbers_but_no_emergency() {
    let mut world = open(
        r#"
        routing = { emergency = ["112"] }
        [[block]]
        caller = '.*@spam\.example'
        status = 603
        [[block]]
        source = ["192.0.2.200"]
        [[block]]
        called = '(00|\+)900.*|112'
        [[user]]
        name = "bob"
        [aliases]
        "112" = "bob"
        hot = "+900123"
        [[route]]
        pattern = '\+.*'
        to = "sip:out@192.0.2.70"
        callers = "anyone"
        "#,
    );
    register(&mut world, &["bob"]);
    let spam = "From: <sip:x@spam.example>;tag=1\r\n";
    assert_eq!(names(&call_with(&mut world, "sip:bob@example.com", spam).1), ["603"]);
    let text = world.request("192.0.2.200:5060", "INVITE", "sip:bob@example.com", "");
    assert_eq!(names(&world.udp("192.0.2.200:5060", text)), ["403"]);
    for uri in ["sip:+900123@example.com", "sip:00900123@example.com", "sip:hot@example.com", "tel:+900-123"]
    {
        assert_eq!(names(&call(&mut world, uri)), ["403"], "{uri}");
    }
    assert_eq!(rung(&call_with(&mut world, "sip:112@example.com", spam).1), [at("bob")]);
}

// ---- a router outside -----------------------------------------------------------------------------------------------

fn routed() -> World {
    let mut world = World::with(|config| config.external_router = true);
    register(&mut world, &["alice", "bob"]);
    world
}

/// What a router decides is done; where it says nothing the request goes its usual way.
#[test]
fn a_router_outside_decides() {
    let mut world = routed();
    assert!(call(&mut world, "sip:alice@example.com").is_empty(), "it waits");
    assert_eq!(world.trying, 1, "and its caller does not repeat itself");
    let (key, asked) = world.core.poll_call().unwrap();
    assert_eq!((asked.called.unwrap().as_str(), asked.user), ("alice@example.com", None));
    let steps = vec![
        Step::to(Destination::Uri("sip:alice@example.com".parse().unwrap())).ring(Duration::from_secs(5)),
        Step::to(Destination::Uri("sip:robot@192.0.2.70".parse().unwrap())).when(When::NoAnswer),
    ];
    world.core.decided(world.now, key, Some(Decision::Proxy(steps)));
    let sent = world.sent();
    assert_eq!(rung(&sent), [at("alice")], "a user of ours is looked up");
    assert_eq!(rung(&world.seconds(6)).last().unwrap(), "192.0.2.70:5060");
    call(&mut world, "sip:bob@example.com");
    let (key, _) = world.core.poll_call().unwrap();
    world.core.decided(world.now, key, Some(Decision::Default));
    assert_eq!(rung(&world.sent()), [at("bob")]);
}

#[test]
fn a_router_that_is_silent_or_fails_is_a_503() {
    let mut world = routed();
    call(&mut world, "sip:alice@example.com");
    assert_eq!(names(&world.seconds(9))[0], "503");
    let (key, _) = world.core.poll_call().map_or((None, ()), |(key, _)| (Some(key), ()));
    assert!(key.is_none(), "nobody needs to be asked any more");
    call(&mut world, "sip:bob@example.com");
    let (key, _) = world.core.poll_call().unwrap();
    world.core.decided(world.now, key, None);
    assert_eq!(names(&world.sent()), ["503"]);
    world.core.decided(world.now, key, Some(Decision::Default));
    assert!(world.sent().is_empty(), "too late");
    world.assert_nothing_left();
}

#[test]
fn a_call_that_is_cancelled_while_a_router_thinks_is_not_forwarded() {
    let mut world = routed();
    let (text, _) = call_with(&mut world, "sip:alice@example.com", "");
    let (key, _) = world.core.poll_call().unwrap();
    let sent = world.udp(ALICE, text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n"));
    assert_eq!(names(&sent), ["200", "487"]);
    world.core.decided(world.now, key, Some(Decision::Default));
    assert!(rung(&world.sent()).is_empty());
    world.assert_nothing_left();
}

#[test]
fn more_questions_than_may_wait_are_503() {
    let mut world = World::with(|config| {
        config.external_router = true;
        config.limits.questions = 1;
    });
    call(&mut world, "sip:alice@example.com");
    assert_eq!(names(&call(&mut world, "sip:alice@example.com")), ["503"]);
}

// ---- other settings while it runs -----------------------------------------------------------------------------------

fn reload(world: &mut World, text: &str) -> Vec<&'static str> {
    let settings =
        Settings::parse(&format!("authentication = false\ndomains = [\"example.com\"]\n{text}")).unwrap();
    let mut config = sip_server::Config::new([0; 32], world::locals());
    settings.configure(&mut config);
    world.core.reconfigure(config, world.now).unwrap()
}

/// Calls under way, bindings and whose turn it is stay.
#[test]
fn rules_change_under_a_call_that_rings() {
    let mut world = open(FORWARDS);
    register(&mut world, &["alice", "bob", "carol"]);
    let sent = call(&mut world, "sip:alice@example.com");
    world.answer(only(&sent, "INVITE"), 180, "");
    assert!(
        reload(&mut world, "[[user]]\nname = \"alice\"\nforward.always = \"bob\"\n[[user]]\nname = \"bob\"")
            .is_empty()
    );
    assert_eq!(rung(&call(&mut world, "sip:alice@example.com")), [at("bob")]);
    let ok = world.answer(only(&sent, "INVITE"), 200, "Contact: <sip:alice@192.0.2.101>");
    assert_eq!(names(&ok), ["200"], "the call of before is answered");
    assert_eq!(world.core.bindings(), 3);
    assert_eq!(
        reload(&mut world, "limits.bindings = 5\nheed_overload = true"),
        ["limits.bindings", "heed_overload"]
    );
}

/// Who is taken out of the settings is out at once; who stays keeps the nonces that are out. Asking nobody and asking again
/// leaves no door open.
#[test]
fn users_change_and_challenges_stay() {
    let users = |name: &str| {
        format!("domains = [\"example.com\"]\n[[user]]\nname = \"{name}\"\npassword = \"wonderland\"\n")
    };
    let mut world = by(&users("alice"));
    let turn = |world: &mut World, text: &str| {
        let mut config = sip_server::Config::new([0; 32], world::locals());
        Settings::parse(text).unwrap().configure(&mut config);
        world.core.reconfigure(config, world.now).unwrap();
    };
    let from = "From: <sip:alice@example.com>;tag=c\r\n";
    let (text, sent) = call_with(&mut world, "sip:x@elsewhere.example", from);
    let challenge = only(&sent, "407").response().clone();
    turn(&mut world, &format!("{}[[user]]\nname = \"bob\"\npassword = \"x\"\n", users("alice")));
    let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "alice", Secret::password("wonderland"));
    phone.answer(&mut request, &challenge, &mut Attempts::default(), "c").unwrap();
    let text = request.to_string();
    let again = |text: &str, branch: &str| text.replace("z9hG4bKtest", branch);
    let sent = world.udp(ALICE, again(&text, "z9hG4bKsecond"));
    assert!(sent.iter().all(|sent| sent.name() != "407"), "the nonce of before is good: {:?}", names(&sent));
    turn(&mut world, &users("carol"));
    phone.authorize(&mut request, "d");
    let sent = world.udp(ALICE, again(&request.to_string(), "z9hG4bKthird").replace("CSeq: 1 ", "CSeq: 7 "));
    assert_eq!(names(&sent), ["407"], "alice is gone");
    turn(&mut world, "domains = [\"example.com\"]\nauthentication = false");
    turn(&mut world, &users("carol"));
    let (_, sent) = call_with(&mut world, "sip:x@elsewhere.example", from);
    assert_eq!(names(&sent), ["407"]);
    assert_eq!(code(&world.register("alice", "<sip:a@h>", "")), 401);
}

// ---- an external location store under steps -------------------------------------------------------------------------

/// The users of a step are looked up outside, and the caller may hang up meanwhile.
#[test]
fn steps_wait_for_an_external_location_store() {
    let settings =
        Settings::parse(&format!("authentication = false\ndomains = [\"example.com\"]\n{FORWARDS}")).unwrap();
    let mut world = World::with(|config| {
        settings.configure(config);
        config.external_location = true;
    });
    let (text, sent) = call_with(&mut world, "sip:alice@example.com", "");
    assert!(sent.is_empty());
    assert!(world.core.poll_question().is_some());
    let sent = world.udp(ALICE, text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n"));
    assert_eq!(names(&sent), ["200", "487"]);
    world.assert_nothing_left();
    // No answer of the store: unreachable.
    call(&mut world, "sip:alice@example.com");
    assert_eq!(rung(&world.pass(Duration::from_millis(8200))), ["192.0.2.88:5060"]);
}
