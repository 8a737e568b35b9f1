//! Presence documents: people, devices and what they do; what others have defined; documents put together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::presence::rpid::{Choice, PlaceIs, Qualified, TimeOffset, UserInput};
use sip_dialog::packages::presence::{
    Activity, AudioPlace, Basic, Device, Extension, InputState, Mood, Note, Person, PlaceType, Presence,
    Privacy, Relationship, Rpid, ServiceClass, Tuple,
};
use sip_dialog::packages::{Content, DocumentError, MAX_OCTETS};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn again(document: &Presence) -> Presence {
    Presence::parse(document.to_xml().as_bytes()).unwrap()
}

/// RFC 4480 §4: all of it is read.
#[test]
fn rfc4480_4_rich_presence() {
    let document = Presence::parse(&data("rfc4480-1-presence.xml")).unwrap();
    assert_eq!(document.extensions, []);
    let [mobile, secretary, mail] = &document.tuples[..] else { panic!() };
    assert_eq!(mobile.device_ids, ["urn:device:0003ba4811e3"]);
    let of = |tuple: &Tuple| tuple.rpid.relationship.as_ref().and_then(|it| it.known().next());
    assert_eq!((of(mobile), of(secretary)), (Some(Relationship::Presentity), Some(Relationship::Assistant)));
    let class = mail.rpid.service_class.as_ref().unwrap();
    assert_eq!(class.known().collect::<Vec<_>>(), [ServiceClass::Electronic]);
    assert_eq!(mail.rpid.class.as_deref(), Some("email"));
    assert_eq!(mail.rpid.status_icons[0].value, "http://example.com/mail.png");
    assert!(document.tuples.iter().all(|tuple| tuple.extensions.is_empty()));

    let device = &document.devices[0];
    assert_eq!((device.id.as_str(), device.device_id.as_str()), ("pc147", "urn:device:0003ba4811e3"));
    let input = &device.rpid.user_input.as_ref().unwrap().value;
    assert_eq!((input.state, input.idle_threshold), (InputState::Idle, Some(600)));
    assert_eq!(input.last_input.as_deref(), Some("2004-10-21T13:20:00-05:00"));
    assert_eq!(device.notes[0].text, "PC");

    let person = &document.persons[0];
    let rpid = &person.rpid;
    let away = &rpid.activities[0];
    assert_eq!(away.known().collect::<Vec<_>>(), [Activity::Away]);
    assert_eq!(away.from.as_deref(), Some("2005-05-30T12:00:00+05:00"));
    assert_eq!(
        (away.until.as_deref(), &*away.notes[0].text),
        (Some("2005-05-30T17:00:00+05:00"), "Far away")
    );
    let brooding = Choice::Other(Note { text: "brooding".into(), language: None });
    assert_eq!(rpid.moods[0].value, [Choice::Word(Mood::Angry), brooding]);
    assert_eq!(rpid.place_is[0].value, PlaceIs { audio: Some(AudioPlace::Noisy), video: None, text: None });
    assert_eq!(rpid.place_types[0].value, [Choice::Word(PlaceType::Residence)]);
    assert_eq!(rpid.privacy[0].value, [Choice::Word(Privacy::Unknown)]);
    assert_eq!(
        rpid.spheres[0].value,
        [Choice::Other(Note { text: "bowling league".into(), language: None })]
    );
    assert_eq!(rpid.time_offsets[0].value, TimeOffset { minutes: -240, description: None });
    assert_eq!(person.extensions, []);
    assert_eq!(person.timestamp.as_deref(), Some("2005-05-30T16:09:44+05:00"));
    assert_eq!(again(&document), document);
}

/// RFC 4480 §3.2, §6: several activities, with words of others among them, and one that nobody has defined.
#[test]
fn rfc4480_6_words_of_others() {
    let text = r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
        xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="sip:a@b">
        <d:person id="p">
          <r:activities id="a1" x:sure="0.5"><r:vacation/><x:fishing bait="fly">for <x:fish/> </x:fishing>
            <r:other xml:lang="en">reading</r:other><r:gaming/></r:activities>
          <r:activities from="2026-01-01T00:00:00Z"><r:breakfast/></r:activities>
          <r:activities>just text</r:activities>
          <r:time-offset>about two hours</r:time-offset>
          <r:time-offset description="America/New_York">-300
          </r:time-offset>
          <r:class>one</r:class><r:class>two</r:class>
        </d:person></presence>"#;
    let document = Presence::parse(text.as_bytes()).unwrap();
    let person = &document.persons[0];
    let [first, second] = &person.rpid.activities[..] else { panic!() };
    assert_eq!((first.id.as_deref(), first.attributes[0].namespace()), (Some("a1"), "urn:x"));
    let fishing = Extension::new("urn:x", "fishing")
        .with_attribute("bait", "fly")
        .with_text("for ")
        .with_child(Extension::new("urn:x", "fish"))
        .with_text(" ");
    let reading = Note { text: "reading".into(), language: Some("en".into()) };
    let gaming = Extension::new("urn:ietf:params:xml:ns:pidf:rpid", "gaming");
    assert_eq!(
        first.value,
        [
            Choice::Word(Activity::Vacation),
            Choice::Element(fishing),
            Choice::Other(reading),
            Choice::Element(gaming)
        ]
    );
    assert_eq!(second.from.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(person.rpid.time_offsets[0].value.minutes, -300);
    assert_eq!(person.rpid.class.as_deref(), Some("one"));
    let kept: Vec<(&str, &str)> = person.extensions.iter().map(|it| (it.name(), it.text())).collect();
    assert_eq!(kept, [("activities", "just text"), ("time-offset", "about two hours"), ("class", "two")]);
    assert_eq!(again(&document), document);
}

/// RFC 4479 §7.1, RFC 3863 §4.2.3: what we do not know is written as it came, `mustUnderstand` with it.
#[test]
fn rfc3863_4_2_4_extensions_are_kept() {
    let document = Presence::parse(&data("rfc4479-1-presence.xml").clone()).unwrap();
    let caps = &document.tuples[0].extensions[0];
    assert_eq!((caps.namespace(), caps.name()), ("urn:ietf:params:xml:ns:pidf:caps", "servcaps"));
    let methods = caps.elements().nth(1).and_then(|methods| methods.elements().next()).unwrap();
    assert_eq!(methods.elements().map(Extension::name).collect::<Vec<_>>(), ["MESSAGE", "OPTIONS"]);
    assert!(document.to_xml().contains(r#"<servcaps xmlns="urn:ietf:params:xml:ns:pidf:caps">"#));
    assert_eq!(again(&document), document);

    let document = Presence::parse(&data("rfc3863-6-presence.xml")).unwrap();
    let first = document.tuples[0].extensions[0].elements().next().unwrap();
    let must = first.attribute_of("urn:ietf:params:xml:ns:pidf", "mustUnderstand");
    assert_eq!((first.name(), must, first.text()), ("ex1", Some("1"), "val1"));
    assert_eq!(document.extensions[0].text(), "My extended presentity information");
    assert_eq!(again(&document), document);

    // White space within what is not ours is text; elements of no namespace stay so; declarations do not leak.
    let text = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='a' xmlns:q='urn:q'>\
        <q:a q:k='1' k='2' xml:lang='en' xml:space='preserve'> <b xmlns=''> &lt;<c xmlns='urn:ietf:params:xml:ns:pidf'/></b>\n</q:a>\
        <nobody:heard of='it'/></presence>";
    let document = Presence::parse(text.as_bytes()).unwrap();
    let [a] = &document.extensions[..] else { panic!() };
    assert_eq!((a.attribute("k"), a.attribute_of("urn:q", "k")), (Some("2"), Some("1")));
    assert_eq!((a.attribute("xml:lang"), a.attribute("xml:space")), (Some("en"), Some("preserve")));
    let [Content::Text(before), Content::Element(b), Content::Text(after)] = a.content() else { panic!() };
    assert_eq!((before.as_str(), after.as_str(), b.namespace(), b.text()), (" ", "\n", "", "<"));
    assert_eq!(b.elements().next().unwrap().namespace(), "urn:ietf:params:xml:ns:pidf");
    assert_eq!(again(&document), document);
}

/// Data that lacks its identifier is kept as it came, and the rest is read.
#[test]
fn persons_and_devices_without_identifiers() {
    let text = r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model" entity="a">
        <d:person/><d:device id="1"/><d:device><d:deviceID>urn:x</d:deviceID></d:device>
        <d:device id="2"><d:deviceID>urn:x</d:deviceID></d:device></presence>"#;
    let document = Presence::parse(text.as_bytes()).unwrap();
    assert_eq!((document.persons.len(), document.devices.len(), document.extensions.len()), (0, 1, 3));
    assert_eq!(again(&document), document);
}

/// What there is twice does not take the place of the first, whatever is printed when.
#[test]
fn what_is_there_twice() {
    let text = r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
        xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="a">
        <tuple id="1"><status/><status/><contact>1</contact><contact>2</contact><timestamp>1</timestamp>
          <timestamp>2</timestamp><x:y/></tuple>
        <d:person id="p"><d:timestamp>1</d:timestamp><d:timestamp>2</d:timestamp><x:y/>
          <r:sphere><r:other xml:lang="en">choir</r:other></r:sphere><r:sphere><r:other/></r:sphere>
          <r:sphere><r:note>n</r:note><r:other>choir</r:other></r:sphere><r:sphere>work</r:sphere>
          <r:place-is><x:audio><r:ok/></x:audio></r:place-is></d:person>
        <d:device id="d"><d:deviceID>1</d:deviceID><d:deviceID>2</d:deviceID></d:device></presence>"#;
    let document = Presence::parse(text.as_bytes()).unwrap();
    let tuple = &document.tuples[0];
    assert_eq!((tuple.contact.as_deref(), tuple.timestamp.as_deref()), (Some("1"), Some("1")));
    let names: Vec<&str> = tuple.extensions.iter().map(Extension::name).collect();
    assert_eq!(names, ["y", "status", "contact", "timestamp"]);
    assert_eq!(document.devices[0].device_id, "1");
    assert_eq!(document.persons[0].rpid.spheres.len(), 4);
    assert_eq!(document.persons[0].rpid.place_is, []);
    assert_eq!(again(&document), document);
}

fn one(id: &str, basic: Basic, contact: &str) -> Presence {
    let mut presence = Presence::new("sip:other@example.com", basic, Some(contact));
    presence.tuples[0].id = id.into();
    presence
}

/// RFC 3856 §6.5: the phone, the PC and the calendar of somebody.
#[test]
fn documents_are_put_together() {
    let phone = one("t1", Basic::Open, "sip:phone@example.com");
    let mut computer = one("t1", Basic::Closed, "sip:computer@example.com");
    let activity = Qualified { id: Some("t1".into()), ..Qualified::words([Activity::Meeting]) };
    let rpid = Rpid { activities: vec![activity], ..Rpid::default() };
    computer.persons.push(Person { id: "t1-2".into(), rpid, ..Person::default() });
    computer.extensions.push(Extension::new("urn:x", "mood-ring").with_text("green"));
    let calendar = Presence {
        notes: vec![Note { text: "Back soon".into(), language: None }],
        devices: vec![Device { id: "t1".into(), device_id: "urn:d".into(), ..Device::default() }],
        ..computer.clone()
    };
    let all = [&phone, &computer, &calendar, &phone];
    let composed = Presence::composed("sip:alice@example.com", all);
    assert_eq!(composed.entity, "sip:alice@example.com");
    let contacts: Vec<(&str, Option<&str>)> =
        composed.tuples.iter().map(|it| (it.id.as_str(), it.contact.as_deref())).collect();
    assert_eq!(contacts, [("t1", Some("sip:phone@example.com")), ("t1-3", Some("sip:computer@example.com"))]);
    // Who had an identifier keeps it.
    assert_eq!(composed.persons.len(), 1);
    assert_eq!(composed.persons[0].id, "t1-2");
    assert_eq!(composed.persons[0].rpid.activities[0].id.as_deref(), Some("t1-4"));
    assert_eq!(composed.devices[0].id, "t1-5");
    assert_eq!((composed.notes.len(), composed.extensions.len()), (1, 1));
    assert!(composed.is_open());
    // The same again, whatever has been said twice.
    assert_eq!(Presence::composed("sip:alice@example.com", all), composed);
    assert_eq!(Presence::composed("sip:alice@example.com", [&composed, &composed]), composed);
    assert_eq!(again(&composed), composed);
    assert_eq!(
        Presence::composed("sip:a@b", []),
        Presence { entity: "sip:a@b".into(), ..Presence::default() }
    );
}

/// What many publish is no more than a watcher reads.
#[test]
fn what_is_put_together_is_bounded() {
    let long = "x".repeat(40_000);
    let notes: Vec<Presence> = (0..20)
        .map(|n| Presence {
            notes: vec![Note { text: format!("{n}{long}"), language: None }],
            ..Presence::default()
        })
        .collect();
    let composed = Presence::composed("sip:a@b", &notes);
    assert_eq!(composed.notes.len(), 13);
    assert!(composed.to_xml().len() <= MAX_OCTETS);
    assert_eq!(again(&composed), composed);
    let many: Vec<Presence> = (0..3)
        .map(|part| Presence {
            tuples: (0..3_000).map(|n| Tuple { id: format!("{part}-{n}"), ..Tuple::default() }).collect(),
            ..Presence::default()
        })
        .collect();
    let composed = Presence::composed("sip:a@b", &many);
    assert!(composed.tuples.len() > 5_000 && composed.tuples.len() < 9_000);
    assert_eq!(again(&composed), composed);
}

/// A namespace with a long name would be written at each of its elements.
#[test]
fn namespaces_with_long_names() {
    let text = format!("<presence entity='a' xmlns:x='{}'><x:a/></presence>", "x".repeat(257));
    assert!(matches!(Presence::parse(text.as_bytes()), Err(DocumentError::TooMany(_))));
    let twice = "<presence entity='a' xmlns:x='urn:x' xmlns:y='urn:x'><x:a x:k='' y:k=''/></presence>";
    assert!(matches!(Presence::parse(twice.as_bytes()), Err(DocumentError::Syntax(_))));
    let named = "<presence entity='a' xmlns:x='urn:x'><x:1/></presence>";
    assert!(matches!(Presence::parse(named.as_bytes()), Err(DocumentError::Syntax(_))));
}

// ---- round trips -------------------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&\"'\r\n\tä ]{0,8}".prop_map(|text| text.trim().to_string())
}

fn extension() -> impl Strategy<Value = Extension> {
    let namespace = prop::sample::select(vec!["urn:x", "urn:y", "urn:ietf:params:xml:ns:pidf:rpid"]);
    let attribute = ("(urn:x|urn:y|)", "[a-z]{1,3}", text());
    let bare = (namespace, "[a-z][a-z0-9.-]{0,4}", prop::collection::vec(attribute, 0..3)).prop_map(
        |(namespace, name, attributes)| {
            let mut element = Extension::new(namespace, &format!("own-{name}"));
            for (namespace, name, value) in attributes {
                if element.attribute_of(&namespace, &name).is_none() {
                    element = element.with_attribute_of(&namespace, &name, &value);
                }
            }
            element
        },
    );
    bare.prop_recursive(4, 12, 3, |inner| {
        let namespace = prop::sample::select(vec!["urn:x", "urn:z"]);
        (namespace, prop::collection::vec((text(), inner), 0..3)).prop_map(|(namespace, inside)| {
            inside.into_iter().fold(Extension::new(namespace, "e"), |it, (text, child)| {
                it.with_text(&text).with_child(child)
            })
        })
    })
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    prop::collection::vec(extension(), 0..3)
}

fn activities() -> impl Strategy<Value = Qualified<Vec<Choice<Activity>>>> {
    let choice = prop_oneof![
        prop::sample::select(vec![Activity::Away, Activity::OnThePhone, Activity::Worship])
            .prop_map(Choice::Word),
        text().prop_map(|text| Choice::Other(Note { text, language: None })),
        extension().prop_map(Choice::Element),
    ];
    let optional = || prop::option::of(text());
    (optional(), optional(), optional(), text(), prop::collection::vec(choice, 0..4)).prop_map(
        |(id, from, until, note, value)| {
            let notes = vec![Note { text: note, language: Some("en".into()) }];
            Qualified { id, from, until, notes, ..Qualified::new(value) }
        },
    )
}

fn rpid() -> impl Strategy<Value = Rpid> {
    let input = prop::option::of((any::<Option<u64>>(), prop::option::of(text())));
    let offsets = prop::collection::vec((any::<i32>(), prop::option::of(text())), 0..2);
    (prop::collection::vec(activities(), 0..3), prop::option::of(text()), offsets, input).prop_map(
        |(activities, class, offsets, input)| Rpid {
            activities,
            class,
            moods: vec![Qualified::words([Mood::InLove, Mood::Hungry])],
            time_offsets: offsets
                .into_iter()
                .map(|(minutes, description)| Qualified::new(TimeOffset { minutes, description }))
                .collect(),
            user_input: input.map(|(idle_threshold, last_input)| {
                Qualified::new(UserInput { state: InputState::Active, idle_threshold, last_input })
            }),
            ..Rpid::default()
        },
    )
}

fn presence() -> impl Strategy<Value = Presence> {
    let notes = || prop::collection::vec(text().prop_map(|text| Note { text, language: None }), 0..2);
    let person = (text(), rpid(), extensions(), notes(), prop::option::of(text())).prop_map(
        |(id, rpid, extensions, notes, timestamp)| Person { id, rpid, extensions, notes, timestamp },
    );
    let device = (text(), text(), rpid(), extensions(), notes()).prop_map(
        |(id, device_id, rpid, extensions, notes)| Device {
            id,
            device_id,
            rpid,
            extensions,
            notes,
            timestamp: None,
        },
    );
    let tuple = (text(), extensions(), prop::collection::vec(text(), 0..3), rpid(), extensions()).prop_map(
        |(id, status_extensions, device_ids, rpid, extensions)| Tuple {
            id,
            status_extensions,
            device_ids,
            rpid,
            extensions,
            ..Tuple::default()
        },
    );
    let many = (
        prop::collection::vec(tuple, 0..3),
        prop::collection::vec(person, 0..3),
        prop::collection::vec(device, 0..3),
    );
    (text(), many, notes(), extensions()).prop_map(
        |(entity, (tuples, persons, devices), notes, extensions)| Presence {
            entity,
            tuples,
            notes,
            persons,
            devices,
            extensions,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rich_presence_reads_as_it_was_written(document in presence()) {
        prop_assert_eq!(Presence::parse(document.to_xml().as_bytes()), Ok(document));
    }

    /// Put together once more it is the same, and it can be read.
    #[test]
    fn composition_is_stable(documents in prop::collection::vec(presence(), 0..4)) {
        let composed = Presence::composed("sip:a@b", &documents);
        prop_assert_eq!(Presence::composed("sip:a@b", [&composed]), composed.clone());
        prop_assert_eq!(Presence::parse(composed.to_xml().as_bytes()), Ok(composed.clone()));
        let mut ids: Vec<&str> = composed.tuples.iter().map(|it| it.id.as_str()).collect();
        ids.extend(composed.persons.iter().map(|it| it.id.as_str()));
        ids.extend(composed.devices.iter().map(|it| it.id.as_str()));
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
    }
}
