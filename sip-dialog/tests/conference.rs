//! Who is in a conference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::conference::{
    ConferenceInfo, ConferenceMedia, Endpoint, EndpointStatus, Part, Roster, User,
};
use sip_dialog::packages::{DocumentError, MAX_ROWS, Update};

fn data(name: &str) -> ConferenceInfo {
    let octets = std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    ConferenceInfo::parse(&octets).unwrap()
}

#[test]
fn rfc4575_7_1_a_basic_document() {
    let document = data("rfc4575-1-conference-info.xml");
    assert_eq!(
        (&*document.entity, document.version, document.part),
        ("sips:conf233@example.com", 1, Part::Full)
    );
    assert_eq!(document.subject.as_deref(), Some("Agenda: This month's goals"));
    assert_eq!(document.user_count, Some(33));
    let [bob, alice] = document.users.as_slice() else { panic!("{:?}", document.users) };
    assert_eq!((&*bob.entity, bob.display_text.as_deref()), ("sip:bob@example.com", Some("Bob Hoskins")));
    assert_eq!(bob.endpoints[0].status, Some(EndpointStatus::Disconnected));
    let audio = ConferenceMedia {
        label: Some("34567".into()),
        source: Some("534232".into()),
        direction: Some("sendrecv".into()),
        ..ConferenceMedia::new("1", "audio")
    };
    assert_eq!(alice.endpoints[0].media, [audio]);
    assert_eq!(document.to_body().content_type, "application/conference-info+xml");
}

/// §7.2: a document with all that there is, sidebars too, which are passed over.
#[test]
fn rfc4575_7_2_a_rich_document() {
    let document = data("rfc4575-2-conference-info.xml");
    assert_eq!(ConferenceInfo::parse(document.to_xml().as_bytes()).as_ref(), Ok(&document));
    assert!(!document.users.is_empty() && document.users.iter().all(|user| !user.endpoints.is_empty()));
    let mut roster = Roster::new();
    assert_eq!(roster.receive(document.clone()), Update::Gap, "it is a partial one");
    assert_eq!(roster.users().count(), document.users.len());
}

fn partial(version: u32, users: Vec<User>) -> ConferenceInfo {
    ConferenceInfo {
        part: Part::Partial,
        users_part: Part::Partial,
        users,
        ..ConferenceInfo::new("sip:c@h", version)
    }
}

fn user(entity: &str, part: Part) -> User {
    User { part, ..User::new(entity) }
}

#[test]
fn rfc4575_4_2_partial_documents_change_what_they_name() {
    let mut roster = Roster::new();
    let mut full = ConferenceInfo::new("sip:c@h", 1);
    full.subject = Some("Friday".into());
    full.users = vec![
        User {
            display_text: Some("Alice".into()),
            endpoints: vec![Endpoint {
                status: Some(EndpointStatus::Connected),
                media: vec![ConferenceMedia::new("1", "audio")],
                ..Endpoint::new("sip:alice@1")
            }],
            ..User::new("sip:alice@h")
        },
        User::new("sip:bob@h"),
    ];
    assert_eq!(roster.receive(full), Update::Applied);
    // Alice has a nickname and a second device, on the first video too; Bob has left, Carol has come.
    let first = Endpoint {
        part: Part::Partial,
        media: vec![ConferenceMedia::new("2", "video")],
        ..Endpoint::new("sip:alice@1")
    };
    let alice = User {
        nickname: Some("Al".into()),
        endpoints: vec![first, Endpoint::new("sip:alice@2")],
        ..user("sip:alice@h", Part::Partial)
    };
    let mut news = partial(2, vec![alice, user("sip:bob@h", Part::Deleted), user("sip:carol@h", Part::Full)]);
    news.user_count = Some(2);
    assert_eq!(roster.receive(news), Update::Applied);
    let alice = roster.user("sip:alice@h").unwrap();
    assert_eq!((alice.display_text.as_deref(), alice.nickname.as_deref()), (Some("Alice"), Some("Al")));
    assert_eq!(alice.endpoints.len(), 2);
    assert_eq!(
        (alice.endpoints[0].status, alice.endpoints[0].media.len()),
        (Some(EndpointStatus::Connected), 2)
    );
    assert_eq!(roster.users().map(|user| &*user.entity).collect::<Vec<_>>(), ["sip:alice@h", "sip:carol@h"]);
    let info = roster.info().unwrap();
    assert_eq!((info.subject.as_deref(), info.user_count), (Some("Friday"), Some(2)));
    // A device goes, one document is lost, an old one comes late, and the conference ends.
    let gone = Endpoint { part: Part::Deleted, ..Endpoint::new("sip:alice@1") };
    let alice = User { endpoints: vec![gone], ..user("sip:alice@h", Part::Partial) };
    assert_eq!(roster.receive(partial(4, vec![alice])), Update::Gap);
    assert_eq!(roster.user("sip:alice@h").unwrap().endpoints.len(), 1);
    assert_eq!(roster.receive(partial(3, vec![user("sip:alice@h", Part::Deleted)])), Update::Stale);
    assert!(!roster.is_over());
    roster.receive(ConferenceInfo { part: Part::Deleted, ..ConferenceInfo::new("sip:c@h", 5) });
    assert!(roster.is_over() && roster.users().count() == 0);
}

#[test]
fn rfc6501_4_6_5_nicknames_have_a_namespace_of_their_own() {
    let mut document = ConferenceInfo::new("sip:c@h", 1);
    document.users.push(User { nickname: Some("Al <1>".into()), ..User::new("sip:alice@h") });
    let text = document.to_xml();
    assert!(text.contains("xmlns:xcon=\"urn:ietf:params:xml:ns:xcon-conference-info\""), "{text}");
    assert!(text.contains("<xcon:nickname>Al &lt;1&gt;</xcon:nickname>"), "{text}");
    assert_eq!(ConferenceInfo::parse(text.as_bytes()), Ok(document));
}

#[test]
fn a_full_document_has_what_it_must_have() {
    let text = ConferenceInfo::new("sip:c@h", 0).to_xml();
    assert!(text.contains("<conference-description>") && text.contains("<users state=\"full\">"), "{text}");
}

#[test]
fn partial_documents_do_not_fill_the_memory() {
    let mut roster = Roster::new();
    let some = |prefix: u32| {
        (0..1_000u32).map(move |number| user(&format!("sip:{prefix}-{number}@h"), Part::Partial))
    };
    for version in 0..20 {
        roster.receive(partial(version, some(version).collect()));
    }
    assert!(roster.users().count() <= MAX_ROWS);
    let mut roster = Roster::new();
    for version in 0..20 {
        let endpoints = (0..1_000u32).map(|number| Endpoint::new(&format!("{version}-{number}"))).collect();
        roster.receive(partial(version, vec![User { endpoints, ..user("sip:a@h", Part::Partial) }]));
    }
    assert!(roster.user("sip:a@h").unwrap().endpoints.len() <= MAX_ROWS + 1_000);
}

#[test]
fn what_is_none_is_refused() {
    for text in [
        "<conference-info/>",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' version='1'/>",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='a'/>",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='a' version='1' state='half'/>",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='a' version='1'><users><user/></users></conference-info>",
    ] {
        let refused = ConferenceInfo::parse(text.as_bytes());
        assert!(matches!(refused, Err(DocumentError::Malformed { .. })), "{text}: {refused:?}");
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::Full), Just(Part::Partial), Just(Part::Deleted)]
}

fn word() -> impl Strategy<Value = String> {
    "[a-z<>&\"' .-]{0,8}[a-z]"
}

prop_compose! {
    fn users()(
        entity in word(), part in part(), display_text in proptest::option::of(word()),
        nickname in proptest::option::of(word()), roles in proptest::collection::vec(word(), 0..3),
        devices in proptest::collection::vec((word(), word()), 0..3),
    ) -> User {
        let trim = |text: Option<String>| text.map(|text| text.trim().to_owned());
        let endpoints = devices.into_iter().map(|(entity, id)| Endpoint {
            status: Some(EndpointStatus::OnHold), media: vec![ConferenceMedia::new(&id, "video")], ..Endpoint::new(&entity)
        });
        User {
            entity, part, display_text: trim(display_text), nickname: trim(nickname),
            roles: roles.into_iter().map(|role| role.trim().to_owned()).collect(), endpoints: endpoints.collect(),
        }
    }
}

proptest! {
    #[test]
    fn print_and_parse_are_inverse(
        version: u32, part in part(), users_part in part(), users in proptest::collection::vec(users(), 0..4),
        locked in proptest::option::of(any::<bool>()), user_count in proptest::option::of(any::<u32>()),
    ) {
        let mut document = ConferenceInfo { part, users_part, users, locked, user_count, ..ConferenceInfo::new("sip:c@h", version) };
        if document.users.is_empty() && document.part != Part::Full {
            document.users_part = Part::Partial; // nothing is said of them
        }
        let text = document.to_xml();
        prop_assert_eq!(ConferenceInfo::parse(text.as_bytes()), Ok(document), "{}", text);
    }
}
