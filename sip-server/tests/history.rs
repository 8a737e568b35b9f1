//! History-Info of the phones that a call was sent to (RFC 7044), and what of it leaves the domain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_message::headers::HistoryInfo;
use sip_server::settings::Settings;
use world::{ALICE, BOB, BOB2, Sent, World, names, only};

const BOTH: &str = "<sip:bob@192.0.2.12>, <sip:bob@192.0.2.13>;q=0.5, <sip:bob@192.0.2.14>;q=0.5";

fn by(more: &str) -> World {
    let text = format!(
        "authentication = false\ndomains = [\"example.com\"]\nrouting.history_contacts = true\n{more}\n"
    );
    let settings = Settings::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    World::with(|config| settings.configure(config))
}

fn call_with(world: &mut World, uri: &str, extra: &str) -> Vec<Sent> {
    let text = world.request(ALICE, "INVITE", uri, extra);
    world.udp(ALICE, text)
}

fn call(world: &mut World) -> Vec<Sent> {
    call_with(world, "sip:bob@example.com", "")
}

fn history(sent: &Sent) -> Vec<String> {
    sent.request().headers.all::<HistoryInfo>().map(|entry| entry.unwrap().to_string()).collect()
}

fn to<'s>(sent: &'s [Sent], at: &str) -> &'s Sent {
    sent.iter().find(|sent| sent.name() == "INVITE" && sent.to() == at).unwrap()
}

/// §10.3 rules 2, 3 and 5, §10.4 `rc`: an index for each fork; of parallel ones each is told its own alone, later ones what the
/// earlier came to.
#[test]
fn each_fork_has_its_index_and_tells_of_those_before() {
    let mut world = by("");
    world.register("bob", BOTH, "");
    let sent = call(&mut world);
    let first = to(&sent, BOB);
    assert_eq!(history(first), ["<sip:bob@example.com>;index=1", "<sip:bob@192.0.2.12>;index=1.1;rc=1"]);
    let sent = world.answer(first, 486, "");
    let failed = "<sip:bob@192.0.2.12?Reason=SIP%3Bcause%3D486>;index=1.1;rc=1";
    let of = |sent: &[Sent], at: &str, index: u32| {
        let own = format!("<sip:bob@{}>;index=1.{index};rc=1", at.trim_end_matches(":5060"));
        assert_eq!(history(to(sent, at)), ["<sip:bob@example.com>;index=1", failed, own.as_str()]);
    };
    let (second, third) = if history(to(&sent, BOB2))[2].contains("1.2") { (2, 3) } else { (3, 2) };
    of(&sent, BOB2, second);
    of(&sent, "192.0.2.14:5060", third);
}

/// §9.1, §10.3 rule 1 and 6: others' entries are continued; where one is missing a 0 stands for it.
#[test]
fn the_history_of_others_is_continued() {
    let mut world = by("");
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let before = "History-Info: <sip:office@far.example>;index=1, <sip:bob@example.com>;index=1.2;mp=1\r\n";
    let sent = call_with(&mut world, "sip:bob@example.com", before);
    assert_eq!(
        history(only(&sent, "INVITE")),
        [
            "<sip:office@far.example>;index=1",
            "<sip:bob@example.com>;index=1.2;mp=1",
            "<sip:bob@192.0.2.12>;index=1.2.1;rc=1.2"
        ]
    );
    let gap = "History-Info: <sip:office@far.example>;index=1.1\r\n";
    let sent = call_with(&mut world, "sip:bob@example.com", gap);
    assert_eq!(
        history(only(&sent, "INVITE"))[1..],
        ["<sip:bob@example.com>;index=1.1.0", "<sip:bob@192.0.2.12>;index=1.1.0.1;rc=1.1.0"]
    );
    // What cannot be continued is left as it came.
    let odd = "History-Info: <sip:bob@example.com>\r\n";
    let sent = call_with(&mut world, "sip:bob@example.com", odd);
    assert_eq!(history(only(&sent, "INVITE")), ["<sip:bob@example.com>"]);
}

/// §10.3 rule 3: a user to whom a call is forwarded comes after the phones that were tried, one entry for all of that user's.
#[test]
fn forwarding_comes_after_the_phones_that_were_tried() {
    let mut world = by("[[user]]\nname = \"bob\"\nforward.busy = \"carol\"\n[[user]]\nname = \"carol\"");
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    world.register("carol", "<sip:carol@192.0.2.15>;q=0.7, <sip:carol@192.0.2.16>;q=0.3", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 486, "");
    let carol = only(&sent, "INVITE");
    assert_eq!(
        history(carol),
        [
            "<sip:bob@example.com?Reason=SIP%3Bcause%3D486>;index=1",
            "<sip:bob@192.0.2.12?Reason=SIP%3Bcause%3D486>;index=1.1;rc=1",
            "<sip:carol@example.com>;index=1.2;mp=1",
            "<sip:carol@192.0.2.15>;index=1.2.1;rc=1.2"
        ]
    );
    let sent = world.answer(carol, 480, "");
    assert_eq!(
        history(only(&sent, "INVITE"))[2..],
        [
            "<sip:carol@example.com>;index=1.2;mp=1",
            "<sip:carol@192.0.2.15?Reason=SIP%3Bcause%3D480>;index=1.2.1;rc=1.2",
            "<sip:carol@192.0.2.16>;index=1.2.2;rc=1.2"
        ]
    );
}

/// §10.3 rule 4, §10.4: "the rightmost value of the hi-index MUST be incremented"; no `mp` or `rc` that the Contact has not.
#[test]
fn a_redirection_stands_beside_the_phone_that_sent_it() {
    let mut world =
        by("routing.recurse_redirects = true\n[[user]]\nname = \"bob\"\n[[user]]\nname = \"dave\"");
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    world.register("dave", "<sip:dave@192.0.2.15>", "");
    let sent = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 302, "Contact: <sip:dave@example.com>");
    assert_eq!(
        history(only(&sent, "INVITE")),
        [
            "<sip:bob@example.com>;index=1",
            "<sip:bob@192.0.2.12?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1",
            "<sip:dave@example.com>;index=1.2",
            "<sip:dave@192.0.2.15>;index=1.2.1;rc=1.2"
        ]
    );
}

/// §10.4: a trunk is another place of the same number; a request that goes on as it came is `np`.
#[test]
fn trunks_and_targets_that_stay() {
    let trunk = "[[route]]\nprefix = \"+\"\ntrunk = \"t\"\ncallers = \"anyone\"\n[[trunk]]\nname = \"t\"\n\
                 gateways = [{ uri = \"sip:192.0.2.91\" }, { uri = \"sip:192.0.2.92\", priority = 1 }]\n";
    let mut world = by(trunk);
    let sent = call_with(&mut world, "sip:+49301@example.com", "");
    let sent = world.answer(only(&sent, "INVITE"), 503, "");
    let last = history(only(&sent, "INVITE"));
    assert_eq!(last.last().unwrap(), "<sip:+49301@192.0.2.92>;index=1.2;rc=1");
    let settings = Settings::parse(
        "authentication = false\ndomains = [\"example.com\"]\nrouting.history_contacts = true",
    );
    let mut world = World::with(|config| {
        settings.unwrap().configure(config);
        config.open_relay = true;
    });
    let sent = call_with(&mut world, "sip:x@192.0.2.77", "");
    assert_eq!(
        history(only(&sent, "INVITE")),
        ["<sip:x@192.0.2.77>;index=1", "<sip:x@192.0.2.77>;index=1.1;np=1"]
    );
}

/// Without the setting no phone is told.
#[test]
fn without_the_setting_nothing_is_told_of_phones() {
    let mut world = World::new();
    world.register("bob", BOTH, "");
    let sent = call(&mut world);
    let sent = world.answer(to(&sent, BOB), 486, "");
    assert!(sent.iter().filter(|sent| sent.name() == "INVITE").all(|sent| history(sent).is_empty()));
}

// ---- privacy ----------------------------------------------------------------------------------------------------------

/// §10.1.1, §10.1.2: a caller who wants none gets none; entries of our domain that are private leave it without a name, and with
/// their place; those of others are theirs.
#[test]
fn private_entries_do_not_leave_the_domain_with_a_name() {
    let rules =
        "[[user]]\nname = \"bob\"\nforward.always = \"sip:desk@192.0.2.66\"\n[[user]]\nname = \"carol\"";
    let before = "History-Info: <sip:office@far.example?Privacy=history>;index=1, \
                  <sip:shop@example.com?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1.1;mp=1, \
                  <sip:bob@example.com>;index=1.2;mp=1.1\r\n";
    let mut world = by(rules);
    let sent = call_with(&mut world, "sip:bob@example.com", before);
    assert_eq!(
        history(only(&sent, "INVITE")),
        [
            "<sip:office@far.example?Privacy=history>;index=1",
            "<sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1",
            "<sip:bob@example.com?Reason=SIP%3Bcause%3D302>;index=1.2;mp=1.1",
            "<sip:desk@192.0.2.66>;index=1.2.1;mp=1.2"
        ]
    );
    let sent = call_with(&mut world, "sip:bob@example.com", &format!("Privacy: history;id\r\n{before}"));
    let forwarded = only(&sent, "INVITE");
    assert_eq!(
        history(forwarded),
        [
            "<sip:office@far.example?Privacy=history>;index=1",
            "<sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1",
            "<sip:anonymous@anonymous.invalid>;index=1.2;mp=1.1"
        ]
    );
    assert!(!forwarded.request().headers.contains("Privacy"), "both wishes are fulfilled");
    // Within the domain names stay, and the wish.
    world.register("carol", "<sip:carol@192.0.2.15>", "");
    let inside = "Privacy: history\r\nHistory-Info: <sip:shop@example.com>;index=1\r\n";
    let sent = call_with(&mut world, "sip:carol@example.com", inside);
    let forwarded = only(&sent, "INVITE");
    assert_eq!(history(forwarded), ["<sip:shop@example.com>;index=1"]);
    assert_eq!(forwarded.request().headers.text("Privacy"), Some("history"));
}

/// A long history is cut, not passed on for ever.
#[test]
fn a_history_has_an_end() {
    let mut world = by("");
    world.register("bob", "<sip:bob@192.0.2.12>", "");
    let many: Vec<String> =
        (1..200).map(|number| format!("<sip:bob@example.com>;index=1.{number}")).collect();
    let sent =
        call_with(&mut world, "sip:bob@example.com", &format!("History-Info: {}\r\n", many.join(", ")));
    assert_eq!(names(&sent), ["INVITE"]);
    assert!(history(only(&sent, "INVITE")).len() <= 34);
}
