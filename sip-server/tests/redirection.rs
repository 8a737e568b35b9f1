//! Recursion on 3xx (RFC 3261 §16.7 step 4): call flows by hand, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{Diversion, HistoryInfo, MaxForwards};
use sip_message::{HeaderName, Limits, Request};
use sip_server::settings::Settings;
use sip_transport::{Local, Locals, Transport};
use world::{ALICE, BOB, BOB2, Sent, World, names, only};

const MOBILE: &str = "192.0.2.77:5060";
const FAR: &str = "Contact: <sip:bob@192.0.2.77>";

/// A server of example.com that follows redirections; nobody is asked for a password.
fn following(more: &str) -> World {
    let text = format!(
        "authentication = false\ndomains = [\"example.com\"]\n[routing]\nrecurse_redirects = true\n{more}"
    );
    let settings = Settings::parse(&text).unwrap();
    World::with(|config| settings.configure(config))
}

/// The same for everybody's requests to anywhere.
fn relay() -> World {
    World::with(|config| (config.recurse_redirects, config.open_relay) = (true, true))
}

fn call_with(world: &mut World, uri: &str, extra: &str) -> Vec<Sent> {
    let text = world.request(ALICE, "INVITE", uri, extra);
    world.udp(ALICE, text)
}

fn call(world: &mut World) -> Vec<Sent> {
    call_with(world, "sip:bob@example.com", "")
}

/// The INVITEs among what was sent, by where they went.
fn rung(sent: &[Sent]) -> Vec<String> {
    sent.iter().filter(|sent| sent.name() == "INVITE").map(Sent::to).collect()
}

fn contacts(sent: &Sent) -> Option<&str> {
    sent.response().headers.text(HeaderName::CONTACT)
}

#[test]
fn without_the_setting_the_caller_decides() {
    let mut world = World::with(|config| config.open_relay = true);
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, FAR);
    assert_eq!(names(&sent), ["ACK", "302"]);
    assert_eq!(contacts(only(&sent, "302")), Some("<sip:bob@192.0.2.77>"));
}

#[test]
fn a_302_is_followed_and_the_caller_hears_only_the_answer() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, FAR);
    assert_eq!(names(&sent), ["ACK", "INVITE"]);
    let next = only(&sent, "INVITE");
    assert_eq!((next.to().as_str(), next.request().uri_text()), (MOBILE, "sip:bob@192.0.2.77"));
    assert_eq!(next.request().headers.require::<MaxForwards>().unwrap(), MaxForwards(69));
    assert_eq!(next.request().headers.count(HeaderName::RECORD_ROUTE), 1);
    assert_eq!(names(&world.answer(next, 200, "Contact: <sip:bob@192.0.2.77>")), ["200"]);
    assert_eq!(world.core.counters().redirects_followed, 1);
    world.assert_nothing_left();
}

/// §16.7 step 4, §16.6: by `q`, those of equal preference together; none of them goes back to the caller when all have failed.
#[test]
fn contacts_are_tried_by_preference() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let three = "Contact: <sip:a@192.0.2.71>;q=0.5, <sip:b@192.0.2.72>, <sip:c@192.0.2.73>;q=1.0";
    let first = world.answer(only(&sent, "INVITE"), 300, three);
    assert_eq!(rung(&first), ["192.0.2.72:5060", "192.0.2.73:5060"]);
    let invites: Vec<&Sent> = first.iter().filter(|sent| sent.name() == "INVITE").collect();
    assert_eq!(names(&world.answer(invites[0], 486, "")), ["ACK"]);
    let second = world.answer(invites[1], 404, "");
    assert_eq!(rung(&second), ["192.0.2.71:5060"]);
    assert_eq!(names(&world.answer(only(&second, "INVITE"), 480, "")), ["ACK", "486"]);
    world.assert_nothing_left();
}

/// "MUST remove them from the response": what is no SIP stays, for the caller.
#[test]
fn contacts_that_are_not_followed_go_to_the_caller() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let two = "Contact: <sip:b@192.0.2.72>, <mailto:bob@example.com>";
    let first = world.answer(only(&sent, "INVITE"), 302, two);
    assert_eq!(rung(&first), ["192.0.2.72:5060"]);
    let sent = world.answer(only(&first, "INVITE"), 486, "");
    assert_eq!(contacts(only(&sent, "302")), Some("<mailto:bob@example.com>"), "a 3xx is better than a 4xx");
}

/// "MUST NOT add a URI to the target set more than once": two phones that point at each other.
#[test]
fn no_target_is_tried_twice() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, FAR);
    let sent =
        world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:bob@192.0.2.12>, <sip:bob@192.0.2.77>");
    assert_eq!(names(&sent), ["ACK", "302"]);
    // By another name it is the same phone.
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:bob@example.com>");
    assert_eq!(names(&sent), ["ACK", "302"]);
    world.assert_nothing_left();
}

/// RFC 5393 §1: redirections lead to no more branches than a request may have.
#[test]
fn an_endless_chain_of_redirections_ends() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let mut sent = call(&mut world);
    let mut branches = 0_u64;
    while let Some(invite) = sent.iter().find(|sent| sent.name() == "INVITE") {
        branches += 1;
        sent = world.answer(invite, 302, &format!("Contact: <sip:n{branches}@192.0.2.77>"));
    }
    assert_eq!(branches, 16);
    assert_eq!(names(&sent), ["ACK", "302"]);
    world.assert_nothing_left();
}

/// RFC 5393 §5.3.3: the new branches share what the old one had.
#[test]
fn the_breadth_of_the_old_branch_is_shared() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>", "");
    let sent = call_with(&mut world, "sip:bob@example.com", "Max-Breadth: 4\r\n");
    let one = sent.iter().find(|sent| sent.to() == BOB).unwrap();
    let three = "Contact: <sip:a@192.0.2.71>, <sip:b@192.0.2.72>, <sip:c@192.0.2.73>";
    let sent = world.answer(one, 302, three);
    assert_eq!(rung(&sent), ["192.0.2.71:5060", "192.0.2.72:5060"], "two, the third waits");
    let breadth = |sent: &Sent| sent.request().headers.text(HeaderName::MAX_BREADTH).map(str::to_owned);
    assert!(sent.iter().filter(|sent| sent.name() == "INVITE").all(|sent| breadth(sent).unwrap() == "1"));
}

/// The phone that has sent the call on is replaced at once; the others ring on.
#[test]
fn a_redirection_does_not_wait_for_the_other_phones() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>", "");
    let first = call(&mut world);
    let one = first.iter().find(|sent| sent.to() == BOB).unwrap();
    let two = first.iter().find(|sent| sent.to() == BOB2).unwrap();
    world.answer(two, 180, "");
    let sent = world.answer(one, 302, FAR);
    assert_eq!(names(&sent), ["ACK", "INVITE"]);
    let next = only(&sent, "INVITE");
    world.answer(next, 180, "");
    let sent = world.answer(next, 200, "Contact: <sip:bob@192.0.2.77>");
    assert_eq!(names(&sent), ["200", "CANCEL"]);
    assert_eq!(only(&sent, "CANCEL").to(), BOB2);
    world.answer(only(&sent, "CANCEL"), 200, "");
    assert_eq!(names(&world.answer(two, 487, "")), ["ACK"]);
    world.assert_nothing_left();
}

/// A user of ours is looked up, with its own forwarding.
#[test]
fn a_contact_of_ours_is_looked_up() {
    let more = "[[user]]\nname = \"bob\"\n[[user]]\nname = \"dave\"\nforward.always = \"erin\"\n[[user]]\nname = \"erin\"\n";
    let mut world = following(more);
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    world.register("erin", "<sip:erin@192.0.2.15>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:dave@example.com>");
    let next = only(&sent, "INVITE");
    assert_eq!(next.request().uri_text(), "sip:erin@192.0.2.15");
    let diversions: Vec<(String, String)> = next
        .request()
        .headers
        .all::<Diversion>()
        .map(Result::unwrap)
        .map(|one| (one.0.uri().to_string(), one.reason().unwrap().into_owned()))
        .collect();
    let wanted = [("sip:dave@example.com", "unconditional"), ("sip:bob@example.com", "deflection")];
    assert_eq!(diversions, wanted.map(|(by, why)| (by.to_owned(), why.to_owned())));
    let history: Vec<String> =
        next.request().headers.all::<HistoryInfo>().map(|entry| entry.unwrap().to_string()).collect();
    assert_eq!(
        history,
        [
            "<sip:bob@example.com?Reason=SIP%3Bcause%3D302>;index=1",
            "<sip:dave@example.com?Reason=SIP%3Bcause%3D302>;index=1.1",
            "<sip:erin@example.com>;index=1.1.1;mp=1.1"
        ]
    );
    // Whom nobody can reach is no target: the caller hears of the redirection.
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:nobody@example.com>");
    assert_eq!(names(&sent), ["ACK", "302"]);
    world.assert_nothing_left();
}

// ---- what a phone cannot make the server do ---------------------------------------------------------------------------

/// No open relay: a phone's 302 opens no way for a caller who has none.
#[test]
fn a_redirection_leads_nowhere_that_the_caller_may_not_go() {
    let mut world = following("[[user]]\nname = \"bob\"\n");
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, FAR);
    assert_eq!(names(&sent), ["ACK", "302"], "a stranger's call goes to no foreign place");
    assert_eq!(world.core.counters().redirects_followed, 0);
    world.assert_nothing_left();
}

/// What the caller may do, the redirection may: a user of ours gets out, with what he has proven.
#[test]
fn a_redirection_leads_where_a_user_may_call() {
    let text = "domains = [\"example.com\"]\nrouting.recurse_redirects = true\nFOREIGN[[user]]\nname = \"alice\"\n\
                password = \"wonderland\"\n[[user]]\nname = \"bob\"\npassword = \"builder\"\n";
    for (foreign, expected) in [("", MOBILE), ("routing.foreign_domains = false\n", "")] {
        let settings = Settings::parse(&text.replace("FOREIGN", foreign)).unwrap();
        let mut world = World::with(|config| settings.configure(config));
        let lines = "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12>\r\n";
        let text = world.request(BOB, "REGISTER", "sip:example.com", lines);
        assert_eq!(names(&proven(&mut world, BOB, &text, "bob", "builder")), ["200"]);
        let from = "From: <sip:alice@example.com>;tag=a\r\n";
        let text = world.request(ALICE, "INVITE", "sip:bob@example.com", from);
        let sent = proven(&mut world, ALICE, &text, "alice", "wonderland");
        let sent = world.answer(only(&sent, "INVITE"), 302, FAR);
        assert_eq!(rung(&sent).concat(), expected);
    }
}

/// Sends a request, and again with credentials.
fn proven(world: &mut World, source: &str, text: &str, user: &str, password: &str) -> Vec<Sent> {
    let sent = world.udp(source, text);
    let mut request = Request::parse(text.to_owned().into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, user, Secret::password(password));
    phone.answer(&mut request, sent[0].response(), &mut Attempts::default(), "c").unwrap();
    let cseq = request.headers.text("CSeq").unwrap().replacen(char::is_numeric, "9", 1);
    request.headers.set_raw("CSeq", &cseq).unwrap();
    world.udp(source, request.to_string().replace("z9hG4bKtest", "z9hG4bKagain"))
}

/// The dial plan's trunk is for users; its gateways are not called around it; numbers that are blocked stay blocked.
#[test]
fn a_redirection_reaches_no_trunk_that_the_caller_has_no_right_to() {
    let more = "[[user]]\nname = \"bob\"\n[[trunk]]\nname = \"t\"\ngateways = [{ uri = \"sip:192.0.2.91\" }]\n\
                [[route]]\nprefix = \"00\"\ntrunk = \"t\"\ncallers = \"CALLERS\"\n[[block]]\ncalled = \"00900.*\"\n";
    let answer_with = |callers: &str, contact: &str| {
        let mut world = following(&more.replace("CALLERS", callers));
        world.register("bob", "<sip:bob@192.0.2.12>", "");
        let sent = call(&mut world);
        let sent = world.answer(only(&sent, "INVITE"), 302, &format!("Contact: <{contact}>"));
        let to = rung(&sent);
        if to.is_empty() { names(&sent).pop().unwrap() } else { to.concat() }
    };
    assert_eq!(answer_with("anyone", "sip:0049301234@example.com"), "192.0.2.91:5060");
    assert_eq!(answer_with("anyone", "sip:00900123@example.com"), "302");
    assert_eq!(answer_with("anyone", "sip:0049301234@192.0.2.91"), "302");
    assert_eq!(
        answer_with("anyone", "sip:bob@192.0.2.77"),
        "302",
        "foreign domains are closed where trunks are"
    );
    assert_eq!(answer_with("anyone", "sip:example.com"), "302", "the server itself");
}

/// §16.7 step 4: "SHOULD NOT recurse to a non-SIPS URI if the Request-URI of the original request was a SIPS URI".
#[test]
fn what_was_called_by_sips_stays_secure() {
    let mut world = World::with(|config| {
        (config.recurse_redirects, config.open_relay) = (true, true);
        let tls = Local::new(Transport::Tls, "192.0.2.1:5061".parse().unwrap());
        config.locals = Locals::new(world::locals().iter().cloned().chain([tls]).collect());
    });
    let lines = "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sips:bob@192.0.2.12:5061>\r\n";
    let text = world.request(BOB, "REGISTER", "sips:example.com", lines).replacen("UDP", "TLS", 1);
    assert_eq!(names(&world.arrives(Transport::Tls, BOB, 7, text)), ["200"]);
    let text = world.request(ALICE, "INVITE", "sips:bob@example.com", "").replacen("UDP", "TLS", 1);
    let sent = world.arrives(Transport::Tls, ALICE, 8, text);
    let invite = sent.iter().find(|sent| sent.name() == "INVITE").unwrap();
    let sent = world.answer(invite, 302, FAR);
    assert!(rung(&sent).is_empty(), "{:?}", names(&sent));
    assert_eq!(contacts(only(&sent, "302")), Some("<sip:bob@192.0.2.77>"));
}

/// A request in a dialog has its way: nothing is followed.
#[test]
fn in_a_dialog_nothing_is_followed() {
    let mut world = relay();
    let to = "To: <sip:x@192.0.2.12>;tag=callee\r\n";
    let text = world.request(ALICE, "INFO", "sip:x@192.0.2.12", to);
    let sent = world.udp(ALICE, text);
    let sent = world.answer(only(&sent, "INFO"), 302, FAR);
    assert_eq!(names(&sent), ["302"]);
}

// ---- calls that end meanwhile ----------------------------------------------------------------------------------------

#[test]
fn a_call_that_is_given_up_is_not_followed() {
    let mut world = relay();
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    let sent = world.udp(ALICE, text.clone());
    let invite = only(&sent, "INVITE");
    world.answer(invite, 180, "");
    let cancel = text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n");
    let sent = world.udp(ALICE, cancel);
    world.answer(only(&sent, "CANCEL"), 200, "");
    let sent = world.answer(invite, 302, FAR);
    assert_eq!(names(&sent), ["ACK", "302"]);
    world.assert_nothing_left();
}

/// A store outside answers late: meanwhile nothing is lost, and a caller who gives up gets the 487.
#[test]
fn where_a_redirection_leads_may_take_time_to_find() {
    use sip_server::location::{Answer, Bindings};
    let external = || {
        World::with(|config| {
            (config.recurse_redirects, config.open_relay, config.external_location) = (true, true, true);
        })
    };
    let ringing = |world: &mut World| {
        let text = world.request(ALICE, "INVITE", "sip:x@192.0.2.12", "");
        let sent = world.udp(ALICE, text.clone());
        let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:dave@example.com>");
        assert_eq!(names(&sent), ["ACK"]);
        (text, world.core.poll_question().unwrap().0)
    };
    let mut world = external();
    let (text, key) = ringing(&mut world);
    let cancel = text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n");
    assert_eq!(names(&world.udp(ALICE, cancel)), ["200", "487"]);
    world.core.answer(world.now, key, Answer::Found(Bindings::none()));
    assert!(world.sent().is_empty());
    world.assert_nothing_left();
    // Silence is no target either.
    let mut world = external();
    ringing(&mut world);
    assert!(names(&world.seconds(9)).contains(&"302".to_owned()));
    world.assert_nothing_left();
}

/// Forwarding on busy counts what the redirection came to, not the redirection.
#[test]
fn rules_go_on_after_what_a_redirection_came_to() {
    let more = "[[user]]\nname = \"bob\"\nforward.busy = \"carol\"\n[[user]]\nname = \"carol\"\n[[user]]\nname = \"dave\"\n";
    let mut world = following(more);
    for (user, host) in [("bob", 12), ("carol", 13), ("dave", 14)] {
        world.register(user, &format!("<sip:{user}@192.0.2.{host}>"), "");
    }
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:dave@example.com>");
    let dave = only(&sent, "INVITE");
    assert_eq!(dave.to(), "192.0.2.14:5060");
    let sent = world.answer(dave, 486, "");
    assert_eq!(rung(&sent), [BOB2]);
    // A 6xx ends the search among what the phone has named.
    let sent = call(&mut world);
    let two = "Contact: <sip:dave@example.com>, <sip:carol@example.com>;q=0.2";
    let sent = world.answer(only(&sent, "INVITE"), 302, two);
    let sent = world.answer(only(&sent, "INVITE"), 603, "");
    assert_eq!(names(&sent), ["ACK", "603"]);
}
