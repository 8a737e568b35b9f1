//! R15: who may do what, as one table: every method, by every kind of sender, to every kind of target, over datagrams and connections.
//! What the table does not allow changes nothing and reaches nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::{Limits, Request};
use sip_server::Users;
use sip_transport::Transport;
use world::{ALICE, BOB, Sent, World};

const METHODS: [&str; 13] = [
    "REGISTER",
    "INVITE",
    "OPTIONS",
    "MESSAGE",
    "SUBSCRIBE",
    "PUBLISH",
    "NOTIFY",
    "REFER",
    "INFO",
    "UPDATE",
    "PRACK",
    "BYE",
    "FROBNICATE",
];

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sender {
    /// From elsewhere, and says so.
    Stranger,
    /// Says to be Alice and proves nothing.
    Claims,
    /// Says to be Alice and does not know her password.
    Guesses,
    /// Alice, who says to be Bob.
    ActsAsAnother,
    /// Says to be Alice in every field that names somebody, but not in From.
    Decorated,
    /// Says to be in a dialog that there never was.
    MadeUpDialog,
    /// Alice.
    Alice,
}

const SENDERS: [Sender; 7] = [
    Sender::Stranger,
    Sender::Claims,
    Sender::Guesses,
    Sender::ActsAsAnother,
    Sender::Decorated,
    Sender::MadeUpDialog,
    Sender::Alice,
];

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// To Bob, who has a phone here. A REGISTER binds Alice's own address.
    User,
    /// To elsewhere. A REGISTER binds Bob's address.
    Elsewhere,
}

impl Sender {
    fn fields(self) -> &'static str {
        match self {
            Self::Stranger => "From: <sip:carol@chicago.example>;tag=1\r\n",
            Self::Claims | Self::Guesses | Self::Alice => "From: <sip:alice@example.com>;tag=1\r\n",
            Self::ActsAsAnother => "From: <sip:bob@example.com>;tag=1\r\n",
            Self::Decorated => {
                "From: <sip:carol@chicago.example>;tag=1\r\nP-Asserted-Identity: <sip:alice@example.com>\r\n\
                 P-Preferred-Identity: <sip:alice@example.com>\r\nRemote-Party-ID: <sip:alice@example.com>\r\n\
                 Reply-To: <sip:alice@example.com>\r\nReplaces: c;to-tag=1;from-tag=2\r\n\
                 Referred-By: <sip:alice@example.com>\r\n"
            }
            Self::MadeUpDialog => {
                "From: <sip:carol@chicago.example>;tag=1\r\nRoute: <sip:192.0.2.1:5060;lr;tk=0123456789abcdef>\r\n"
            }
        }
    }

    fn password(self) -> Option<&'static str> {
        match self {
            Self::Guesses => Some("looking glass"),
            Self::ActsAsAnother | Self::Alice => Some("wonderland"),
            _ => None,
        }
    }

    /// The table.
    fn may(self, method: &str, target: Target) -> bool {
        match (self, method, target) {
            // Her own address, and nobody else's; From is whoever does it for her (RFC 3261 §10.2).
            (Self::Alice | Self::ActsAsAnother, "REGISTER", target) => target == Target::User,
            (_, "REGISTER", _) => false,
            // A user of ours calls whom she likes.
            (Self::Alice, _, _) => true,
            // Strangers reach our users, whatever else they say of themselves.
            (Self::Stranger | Self::Decorated | Self::MadeUpDialog, _, Target::User) => true,
            _ => false,
        }
    }
}

fn send(world: &mut World, transport: Transport, text: &str) -> Vec<Sent> {
    world.arrives(transport, ALICE, 7, text)
}

#[test]
fn r15_what_the_table_does_not_allow_changes_nothing_and_reaches_nobody() {
    let mut cases = 0;
    for transport in [Transport::Udp, Transport::Tcp] {
        for method in METHODS {
            for sender in SENDERS {
                for target in [Target::User, Target::Elsewhere] {
                    let got = outcome(transport, method, sender, target);
                    assert_eq!(
                        got.is_ok(),
                        sender.may(method, target),
                        "{transport:?} {method} by {sender:?} to {target:?}: {got:?}"
                    );
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 2 * 13 * 7 * 2);
}

/// Whether it was done; if not, with the status that said so.
fn outcome(transport: Transport, method: &str, sender: Sender, target: Target) -> Result<(), String> {
    let mut world = World::with(|config| {
        config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
    });
    bob_registers(&mut world);
    let (uri, to) = match (method, target) {
        ("REGISTER", Target::User) => ("sip:example.com", "sip:alice@example.com"),
        ("REGISTER", Target::Elsewhere) => ("sip:example.com", "sip:bob@example.com"),
        (_, Target::User) => ("sip:bob@example.com", "sip:bob@example.com"),
        (_, Target::Elsewhere) => ("sip:dave@192.0.2.99", "sip:dave@192.0.2.99"),
    };
    let tag = if sender == Sender::MadeUpDialog && method != "REGISTER" { ";tag=made-up" } else { "" };
    let lines = format!("{}To: <{to}>{tag}\r\nContact: <sip:alice@192.0.2.11>\r\n", sender.fields());
    let text = world.request(ALICE, method, uri, &lines);
    let mut sent = send(&mut world, transport, &text);
    let challenged = sent.first().is_some_and(|one| matches!(one.name().as_str(), "401" | "407"));
    if let (Some(password), true) = (sender.password(), challenged) {
        let again = world.request(ALICE, method, uri, &lines);
        let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
        let mut phone = Authenticator::default();
        phone.add_account(None, "alice", Secret::password(password));
        phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
        sent = send(&mut world, transport, &again.to_string());
    }
    let bindings = world.core.bindings();
    let forwarded = sent.iter().any(|one| one.message.as_request().is_some());
    let status = sent.iter().find(|one| one.message.as_response().is_some()).map(Sent::name);
    match method {
        "REGISTER" => {
            assert!(!forwarded, "no REGISTER leaves the registrar");
            assert_eq!(bindings == 2, status.as_deref() == Some("200"), "{status:?}");
            if bindings == 2 { Ok(()) } else { Err(status.unwrap_or_default()) }
        }
        _ => {
            assert_eq!(bindings, 1, "nothing else binds");
            assert_ne!(status.as_deref(), Some("200"), "nobody has answered");
            if forwarded { Ok(()) } else { Err(status.unwrap_or_default()) }
        }
    }
}

fn bob_registers(world: &mut World) {
    let lines =
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12>\r\n";
    let text = world.request(BOB, "REGISTER", "sip:example.com", lines);
    let sent = world.udp(BOB, text);
    let again = world.request(BOB, "REGISTER", "sip:example.com", lines);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "bob", Secret::password("builder"));
    phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
    world.udp(BOB, again.to_string());
    assert_eq!(world.core.bindings(), 1);
}

/// The same for what the server answers itself: who may watch whom, and publish whose state. What is not allowed leaves no
/// subscription, no publication and no NOTIFY behind.
#[test]
fn r15_subscriptions_and_publications() {
    const PACKAGES: [(&str, &str); 4] = [
        ("presence", "application/pidf+xml"),
        ("presence.winfo", "application/watcherinfo+xml"),
        ("message-summary", "application/simple-message-summary"),
        ("reg", "application/reginfo+xml"),
    ];
    let mut cases = 0;
    for transport in [Transport::Udp, Transport::Tcp] {
        for (package, content_type) in PACKAGES {
            for (method, whom) in
                [("SUBSCRIBE", "alice"), ("SUBSCRIBE", "bob"), ("PUBLISH", "alice"), ("PUBLISH", "bob")]
            {
                for sender in SENDERS {
                    let may = match (sender, method, whom) {
                        (Sender::Alice, "SUBSCRIBE", "bob") => package == "presence",
                        (Sender::Alice, "SUBSCRIBE", _) => true,
                        (Sender::Alice, _, "alice") => matches!(package, "presence" | "message-summary"),
                        _ => false,
                    };
                    let got = event_outcome(transport, (method, whom), (package, content_type), sender);
                    assert_eq!(got, may, "{transport:?} {method} {package} of {whom} by {sender:?}");
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 2 * 4 * 4 * 7);
}

fn event_outcome(
    transport: Transport,
    (method, whom): (&str, &str),
    (package, content_type): (&str, &str),
    sender: Sender,
) -> bool {
    let mut world = World::with(|config| {
        config.users = Some(Users::parse("alice:wonderland\nbob:builder\n").unwrap());
        config.events = Some(sip_server::events::EventConfig::new());
    });
    let body = match (method, package) {
        ("PUBLISH", "presence") => {
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:alice@example.com\"/>"
        }
        ("PUBLISH", "message-summary") => "Messages-Waiting: yes\r\n",
        ("PUBLISH", _) => "<x/>",
        _ => "",
    };
    let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let tag = if sender == Sender::MadeUpDialog { ";tag=made-up" } else { "" };
    let uri = format!("sip:{whom}@example.com");
    let lines = format!(
        "{}To: <{uri}>{tag}\r\nContact: <sip:alice@192.0.2.11>\r\nEvent: {package}\r\n{kind}Content-Length: {}\r\n",
        sender.fields(),
        body.len()
    );
    let text = world.request(ALICE, method, &uri, &lines) + body;
    let mut sent = send(&mut world, transport, &text);
    let challenged = sent.first().is_some_and(|one| matches!(one.name().as_str(), "401" | "407"));
    if let (Some(password), true) = (sender.password(), challenged) {
        let again = world.request(ALICE, method, &uri, &lines) + body;
        let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
        let mut phone = Authenticator::default();
        phone.add_account(None, "alice", Secret::password(password));
        phone.answer(&mut again, sent[0].response(), &mut Attempts::default(), "c").unwrap();
        sent = send(&mut world, transport, &again.to_string());
    }
    let done = sent.first().is_some_and(|one| one.name() == "200");
    let notified = sent.iter().any(|one| one.message.as_request().is_some());
    let (subscriptions, publications) = world.core.events().unwrap();
    assert_eq!(
        (subscriptions, publications),
        match (done, method) {
            (false, _) => (0, 0),
            (true, "SUBSCRIBE") => (1, 0),
            (true, _) => (0, 1),
        }
    );
    assert_eq!(notified, done && method == "SUBSCRIBE", "{sent:?}");
    done
}
