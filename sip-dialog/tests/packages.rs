//! The bodies of event packages: the documents of the RFCs, round trips, and state put together from parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use proptest::prelude::*;
use sip_dialog::packages::dialog_info::{
    DialogEntry, DialogEvent, DialogInfo, DialogState, DialogTable, Direction, Name, Participant,
};
use sip_dialog::packages::message_summary::{Counts, MessageSummary};
use sip_dialog::packages::presence::{Basic, Note, Presence, Tuple};
use sip_dialog::packages::refer::Report;
use sip_dialog::packages::reginfo::{
    ContactEvent, ContactState, RegInfo, RegisteredContact, Registration, RegistrationState,
    RegistrationTable,
};
use sip_dialog::packages::{Completeness, DocumentError, MAX_ROWS, Update};
use sip_message::StatusCode;

// ---- dialog ------------------------------------------------------------------------------------------------------

/// The example of RFC 4235 §4.2, and what shared lines add to it (other namespaces, which are skipped).
#[test]
fn a_dialog_document() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
        <dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" xmlns:sa="urn:ietf:params:xml:ns:sa-dialog-info"
                     version="1" state="full" entity="sip:alice@example.com">
          <dialog id="123456" call-id="a'b" local-tag="l" remote-tag="r" direction="recipient">
            <sa:appearance>2</sa:appearance>
            <state event="remote-bye" code="200">terminated</state>
            <duration>274</duration>
            <replaces call-id="hg287s98s89" local-tag="6762h7" remote-tag="09278hsb"/>
            <referred-by display="Bob">sip:bob@example.com</referred-by>
            <local>
              <identity display="Alice">sip:alice@example.com</identity>
              <target uri="sip:alice@pc33.example.com">
                <param pname="isfocus" pval="true"/>
                <param pname="description" pval="Alice's desk &amp; office"/>
              </target>
            </local>
            <remote><identity>sip:bob@example.org</identity>
              <session-description type="application/sdp">v=0</session-description></remote>
          </dialog>
        </dialog-info>"#;
    let document = DialogInfo::parse(text.as_bytes()).unwrap();
    assert_eq!((document.version, document.completeness), (1, Completeness::Full));
    let dialog = &document.dialogs[0];
    assert_eq!(
        (dialog.state, dialog.event, dialog.code),
        (DialogState::Terminated, Some(DialogEvent::RemoteBye), Some(200))
    );
    assert_eq!((dialog.direction, dialog.duration), (Some(Direction::Recipient), Some(274)));
    assert_eq!(dialog.call_id.as_deref(), Some("a'b"));
    assert_eq!(dialog.replaces.as_ref().unwrap().2, "09278hsb");
    assert_eq!(dialog.referred_by.as_ref().unwrap().display.as_deref(), Some("Bob"));
    let (target, params) = dialog.local.target.as_ref().unwrap();
    assert_eq!(
        (target.as_str(), params[1].1.as_str()),
        ("sip:alice@pc33.example.com", "Alice's desk & office")
    );
    assert_eq!(dialog.remote.session_description.as_ref().unwrap().1, "v=0");
    assert_eq!(DialogInfo::parse(document.to_xml().as_bytes()).unwrap(), document);
    assert_eq!(document.to_body().content_type, "application/dialog-info+xml");
}

fn dialogs(version: u32, completeness: Completeness, dialogs: Vec<DialogEntry>) -> DialogInfo {
    DialogInfo { version, completeness, entity: "sip:a@b".into(), dialogs }
}

fn ids(table: &DialogTable) -> Vec<(&str, DialogState)> {
    table.dialogs().map(|dialog| (dialog.id.as_str(), dialog.state)).collect()
}

/// RFC 4235 §4.3: versions, full and partial state.
#[test]
fn dialogs_are_put_together() {
    use Completeness::{Full, Partial};
    use DialogState::{Confirmed, Early, Terminated, Trying};
    let entry = DialogEntry::new;
    let mut table = DialogTable::new();
    assert_eq!(table.receive(dialogs(7, Full, vec![entry("1", Early), entry("2", Trying)])), Update::Applied);
    assert_eq!(
        table.receive(dialogs(8, Partial, vec![entry("1", Confirmed), entry("3", Trying)])),
        Update::Applied
    );
    assert_eq!(ids(&table), [("1", Confirmed), ("2", Trying), ("3", Trying)]);
    // Older, and the same once more.
    assert_eq!(table.receive(dialogs(7, Full, vec![])), Update::Stale);
    assert_eq!(table.receive(dialogs(8, Partial, vec![entry("1", Early)])), Update::Stale);
    assert_eq!(ids(&table)[0], ("1", Confirmed));
    // A gap is applied, and the full state is to be asked for.
    assert_eq!(table.receive(dialogs(10, Partial, vec![entry("2", Terminated)])), Update::Gap);
    assert_eq!(ids(&table)[1], ("2", Terminated));
    assert_eq!(table.receive(dialogs(11, Partial, vec![])), Update::Applied);
    assert_eq!(ids(&table), [("1", Confirmed), ("3", Trying)], "what is over is seen once");
    assert_eq!(table.receive(dialogs(20, Full, vec![entry("9", Early)])), Update::Applied);
    assert_eq!(ids(&table), [("9", Early)]);
    // A notifier that numbers all of its documents alike, and one whose first is partial.
    assert_eq!(table.receive(dialogs(20, Full, vec![])), Update::Applied);
    assert_eq!(DialogTable::new().receive(dialogs(0, Partial, vec![])), Update::Gap);
}

/// RFC 4235 §4.1.6: what is not said again is as it was; what is said supersedes it all.
#[test]
fn participants_are_not_repeated() {
    let mut first = DialogEntry::new("1", DialogState::Early);
    let name = |uri: &str| Name { uri: uri.into(), display: None };
    first.remote.identities = vec![name("sip:a@b"), name("tel:1")];
    first.remote.target = Some(("sip:a@10.0.0.1".into(), vec![("isfocus".into(), "true".into())]));
    let mut table = DialogTable::new();
    table.receive(dialogs(0, Completeness::Full, vec![first.clone()]));
    table.receive(dialogs(1, Completeness::Partial, vec![DialogEntry::new("1", DialogState::Confirmed)]));
    let row = table.get("1").unwrap();
    assert_eq!((row.state, &row.remote), (DialogState::Confirmed, &first.remote));
    let mut third = DialogEntry::new("1", DialogState::Confirmed);
    third.remote.identities = vec![name("sip:c@d")];
    table.receive(dialogs(2, Completeness::Partial, vec![third]));
    let row = table.get("1").unwrap();
    assert_eq!(row.remote.identities, [name("sip:c@d")]);
    assert_eq!(row.remote.target, first.remote.target);
}

/// Documents with partial state cannot fill the memory.
#[test]
fn a_table_is_bounded() {
    let mut table = DialogTable::new();
    for version in 0..12 {
        let some =
            (0..1_000).map(|n| DialogEntry::new(&format!("{version}-{n}"), DialogState::Early)).collect();
        table.receive(dialogs(version, Completeness::Partial, some));
    }
    assert_eq!(table.dialogs().count(), MAX_ROWS);
    let mut table = RegistrationTable::new();
    for version in 0..12 {
        let contact = |n| {
            RegisteredContact::new(
                &format!("{version}-{n}"),
                "sip:x",
                ContactState::Active,
                ContactEvent::Created,
            )
        };
        let contacts = (0..1_000).map(contact).collect();
        let one = registration("1", RegistrationState::Active, contacts);
        table.receive(registrations(version, Completeness::Partial, vec![one]));
    }
    assert_eq!(table.contacts("1").count(), MAX_ROWS);
}

// ---- reg ---------------------------------------------------------------------------------------------------------

fn registration(id: &str, state: RegistrationState, contacts: Vec<RegisteredContact>) -> Registration {
    Registration { aor: format!("sip:{id}@example.com"), id: id.into(), state, contacts }
}

fn registrations(version: u32, completeness: Completeness, registrations: Vec<Registration>) -> RegInfo {
    RegInfo { version, completeness, registrations }
}

/// The example of RFC 3680 §5.3 with the GRUUs of RFC 5628 §7.
#[test]
fn a_registration_document() {
    let text = r#"<?xml version="1.0"?>
        <reginfo xmlns="urn:ietf:params:xml:ns:reginfo" xmlns:gr="urn:ietf:params:xml:ns:gruuinfo"
                 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="0" state="full">
          <registration aor="sip:user@example.com" id="as9" state="active">
            <contact id="76" state="active" event="registered" duration-registered="7322" q="0.8" callid="c" cseq="3">
              <uri>sip:user@pc887.example.com</uri>
              <unknown-param name="+sip.instance">"&lt;urn:uuid:f81d4fae&gt;"</unknown-param>
              <gr:pub-gruu uri="sip:user@example.com;gr=hha9s8d-999a"/>
              <gr:temp-gruu uri="sip:8ffkas08af7fasklzi9@example.com;gr" first-cseq="54301"/>
            </contact>
            <contact id="77" state="terminated" event="probation" retry-after="30" q="0.5">
              <uri>sip:user@university.edu</uri><display-name>At school</display-name>
            </contact>
          </registration>
        </reginfo>"#;
    let document = RegInfo::parse(text.as_bytes()).unwrap();
    let [first, second] = &document.registrations[0].contacts[..] else { panic!() };
    assert_eq!(first.params, [("+sip.instance".to_string(), "\"<urn:uuid:f81d4fae>\"".to_string())]);
    assert_eq!(first.public_gruu.as_deref(), Some("sip:user@example.com;gr=hha9s8d-999a"));
    assert_eq!(first.temporary_gruu, Some(("sip:8ffkas08af7fasklzi9@example.com;gr".into(), Some(54301))));
    assert_eq!((first.duration_registered, first.cseq), (Some(7322), Some(3)));
    assert_eq!((second.event, second.retry_after), (ContactEvent::Probation, Some(30)));
    assert_eq!(second.display_name.as_deref(), Some("At school"));
    assert_eq!(RegInfo::parse(document.to_xml().as_bytes()).unwrap(), document);
}

/// RFC 3680 §5.2.
#[test]
fn registrations_are_put_together() {
    use Completeness::{Full, Partial};
    let contact = |id: &str, state| RegisteredContact::new(id, "sip:x", state, ContactEvent::Registered);
    let (active, gone) = (ContactState::Active, ContactState::Terminated);
    let mut table = RegistrationTable::new();
    let of = |table: &RegistrationTable, id: &str| {
        table.contacts(id).map(|contact| contact.id.clone()).collect::<Vec<_>>()
    };
    let both = registration("a", RegistrationState::Active, vec![contact("1", active), contact("2", active)]);
    let other = registration("b", RegistrationState::Init, vec![]);
    assert_eq!(table.receive(registrations(0, Full, vec![both, other])), Update::Applied);
    let one = registration("a", RegistrationState::Active, vec![contact("1", gone), contact("3", active)]);
    assert_eq!(table.receive(registrations(1, Partial, vec![one])), Update::Applied);
    assert_eq!(of(&table, "a"), ["1", "2", "3"]);
    assert_eq!(table.contacts("a").next().unwrap().state, gone);
    let none = registration("a", RegistrationState::Terminated, vec![contact("2", gone), contact("3", gone)]);
    assert_eq!(table.receive(registrations(3, Partial, vec![none])), Update::Gap);
    assert_eq!(of(&table, "a"), ["2", "3"]);
    assert_eq!(table.receive(registrations(2, Full, vec![])), Update::Stale);
    assert_eq!(table.receive(registrations(4, Partial, vec![])), Update::Applied);
    assert_eq!(table.registrations().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(table.receive(registrations(5, Full, vec![])), Update::Applied);
    assert_eq!(table.registrations().count(), 0);
}

// ---- presence ----------------------------------------------------------------------------------------------------

/// The examples of RFC 3863 §4.3.1 and §4.3.2: extensions are skipped, whatever the prefix.
#[test]
fn a_presence_document() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
        <presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:im="urn:ietf:params:xml:ns:pidf:im"
             xmlns:myex="http://id.example.com/presence/" entity="pres:someone@example.com">
          <tuple id="bs35r9">
            <status><basic>open</basic><im:im>busy</im:im><myex:location>home</myex:location></status>
            <contact priority="0.8">im:someone@mobilecarrier.net</contact>
            <note xml:lang="en">Don't Disturb Please!</note>
            <note xml:lang="fr">Ne derangez pas, s'il vous plait</note>
            <timestamp>2001-10-27T16:49:29Z</timestamp>
          </tuple>
          <tuple id="eg92n8"><status><basic>closed</basic></status><contact priority="1.0">mailto:someone@example.com</contact></tuple>
          <note>I'll be in Tokyo next week</note>
        </presence>"#;
    let document = Presence::parse(text.as_bytes()).unwrap();
    assert!(document.is_open());
    let tuple = &document.tuples[0];
    assert_eq!((tuple.basic, tuple.priority.as_deref()), (Some(Basic::Open), Some("0.8")));
    assert_eq!(tuple.timestamp.as_deref(), Some("2001-10-27T16:49:29Z"));
    assert_eq!(tuple.notes[1].language.as_deref(), Some("fr"));
    assert_eq!(document.notes[0].text, "I'll be in Tokyo next week");
    assert_eq!(Presence::parse(document.to_xml().as_bytes()).unwrap(), document);
    let prefixed = r#"<impp:presence xmlns:impp="urn:ietf:params:xml:ns:pidf" xmlns:myex="http://id.example.com/presence/"
             entity="pres:someone@example.com"><impp:tuple id="ck38g9"><impp:status><impp:basic>open</impp:basic></impp:status>
             <myex:mytupletag>Extended value in tuple</myex:mytupletag><impp:contact priority="0.65">tel:+09012345678</impp:contact>
             </impp:tuple><myex:mytag>My extended presentity information</myex:mytag></impp:presence>"#;
    let document = Presence::parse(prefixed.as_bytes()).unwrap();
    assert_eq!(document.tuples[0].contact.as_deref(), Some("tel:+09012345678"));
    let made = Presence::new("sip:a@b", Basic::Closed, Some("sip:a@b"));
    assert!(!Presence::parse(made.to_xml().as_bytes()).unwrap().is_open());
}

/// What a document must have is asked for by name.
#[test]
fn documents_that_lack_something() {
    let missing = |error: DocumentError| match error {
        DocumentError::Malformed { element, what } => format!("{element} {what}"),
        other => other.to_string(),
    };
    let dialog = |text: &str| missing(DialogInfo::parse(text.as_bytes()).unwrap_err());
    assert_eq!(dialog("<reginfo/>"), "dialog-info the root");
    assert_eq!(dialog("<dialog-info state='full' entity='a'/>"), "dialog-info version");
    assert_eq!(dialog("<dialog-info state='full' entity='a' version='-1'/>"), "dialog-info version");
    assert_eq!(dialog("<dialog-info state='half' entity='a' version='1'/>"), "dialog-info state");
    let one =
        |dialog: &str| format!("<dialog-info state='full' entity='a' version='1'>{dialog}</dialog-info>");
    assert_eq!(dialog(&one("<dialog id='1'/>")), "dialog state");
    assert_eq!(dialog(&one("<dialog><state>trying</state></dialog>")), "dialog id");
    assert_eq!(dialog(&one("<dialog id='1'><state>lost</state></dialog>")), "dialog state");
    let reg = |text: &str| missing(RegInfo::parse(text.as_bytes()).unwrap_err());
    assert_eq!(reg("<reginfo state='full'/>"), "reginfo version");
    assert_eq!(
        reg("<reginfo state='full' version='0'><registration id='1' state='init'/></reginfo>"),
        "registration aor"
    );
    let presence = |text: &str| missing(Presence::parse(text.as_bytes()).unwrap_err());
    assert_eq!(presence("<presence/>"), "presence entity");
    assert_eq!(presence("<presence entity='a'><tuple id='1'/></presence>"), "tuple status");
    assert_eq!(
        presence(
            "<presence entity='a'><tuple id='1'><status><basic>ajar</basic></status></tuple></presence>"
        ),
        "tuple basic"
    );
    assert_eq!(
        Presence::parse(b"<!DOCTYPE presence []><presence entity='a'/>").unwrap_err(),
        DocumentError::DocumentType
    );
}

// ---- round trips -------------------------------------------------------------------------------------------------

/// Any text without white space around it and without what XML cannot say.
fn any_text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| {
        let text: String =
            chars.into_iter().filter(|c| !c.is_control() && !"\u{fffe}\u{ffff}".contains(*c)).collect();
        text.trim().to_string()
    })
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    prop::option::of(any_text())
}

fn participant() -> impl Strategy<Value = Participant> {
    let name = (any_text(), maybe()).prop_map(|(uri, display)| Name { uri, display });
    let params = prop::collection::vec((any_text(), any_text()), 0..3);
    let target = prop::option::of((any_text(), params));
    let session = prop::option::of((any_text(), any_text()));
    (prop::collection::vec(name, 0..3), target, session).prop_map(
        |(identities, target, session_description)| Participant { identities, target, session_description },
    )
}

fn dialog() -> impl Strategy<Value = DialogEntry> {
    use DialogState as S;
    let states = prop::sample::select(vec![S::Trying, S::Proceeding, S::Early, S::Confirmed, S::Terminated]);
    let events = prop::option::of(prop::sample::select(vec![DialogEvent::Cancelled, DialogEvent::LocalBye]));
    let direction = prop::option::of(prop::sample::select(vec![Direction::Initiator, Direction::Recipient]));
    let replaces = prop::option::of((any_text(), any_text(), any_text()));
    let names = (any_text(), maybe(), maybe(), maybe(), prop::option::of((any_text(), maybe())));
    let numbers = (any::<Option<u16>>(), any::<Option<u64>>());
    ((names, numbers), states, events, direction, replaces, (participant(), participant())).prop_map(
        |((names, (code, duration)), state, event, direction, replaces, (local, remote))| DialogEntry {
            id: names.0,
            call_id: names.1,
            local_tag: names.2,
            remote_tag: names.3,
            direction,
            state,
            event,
            code,
            duration,
            replaces,
            referred_by: names.4.map(|(uri, display)| Name { uri, display }),
            local,
            remote,
        },
    )
}

fn completeness() -> impl Strategy<Value = Completeness> {
    prop::sample::select(vec![Completeness::Full, Completeness::Partial])
}

fn contact() -> impl Strategy<Value = RegisteredContact> {
    let texts = (any_text(), any_text(), maybe(), maybe(), maybe(), maybe());
    let numbers = (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>());
    let params = prop::collection::vec((any_text(), any_text()), 0..3);
    let gruu = prop::option::of((any_text(), any::<Option<u64>>()));
    (texts, numbers, params, gruu, any::<bool>()).prop_map(
        |(texts, numbers, params, temporary_gruu, active)| {
            let state = if active { ContactState::Active } else { ContactState::Terminated };
            RegisteredContact {
                display_name: texts.2,
                expires: numbers.0,
                retry_after: numbers.1,
                duration_registered: numbers.2,
                q: texts.3,
                call_id: texts.4,
                cseq: numbers.3,
                params,
                public_gruu: texts.5,
                temporary_gruu,
                ..RegisteredContact::new(&texts.0, &texts.1, state, ContactEvent::Refreshed)
            }
        },
    )
}

fn note() -> impl Strategy<Value = Note> {
    (any_text(), maybe()).prop_map(|(text, language)| Note { text, language })
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let basic = prop::option::of(prop::sample::select(vec![Basic::Open, Basic::Closed]));
    let contact = prop::option::of((any_text(), maybe()));
    (any_text(), basic, contact, prop::collection::vec(note(), 0..3), maybe()).prop_map(
        |(id, basic, contact, notes, timestamp)| Tuple {
            id,
            basic,
            priority: contact.as_ref().and_then(|(_, priority)| priority.clone()),
            contact: contact.map(|(contact, _)| contact),
            notes,
            timestamp,
            ..Tuple::default()
        },
    )
}

fn field_name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z-]{0,12}"
}

fn counts() -> impl Strategy<Value = Counts> {
    (any::<u32>(), any::<u32>(), any::<Option<(u32, u32)>>()).prop_map(|(new, old, urgent)| Counts {
        new,
        old,
        urgent,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dialog_document_reads_as_it_was_written(
        version in any::<u32>(), completeness in completeness(), entity in any_text(),
        dialogs in prop::collection::vec(dialog(), 0..4),
    ) {
        let document = DialogInfo { version, completeness, entity, dialogs };
        prop_assert_eq!(DialogInfo::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn a_registration_document_reads_as_it_was_written(
        version in any::<u32>(), completeness in completeness(), aor in any_text(), id in any_text(),
        contacts in prop::collection::vec(contact(), 0..4),
    ) {
        let registrations = vec![Registration { aor, id, state: RegistrationState::Active, contacts }];
        let document = RegInfo { version, completeness, registrations };
        prop_assert_eq!(RegInfo::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn a_presence_document_reads_as_it_was_written(
        entity in any_text(), tuples in prop::collection::vec(tuple(), 0..4), notes in prop::collection::vec(note(), 0..3),
    ) {
        let document = Presence { entity, tuples, notes, ..Presence::default() };
        prop_assert_eq!(Presence::parse(document.to_xml().as_bytes()), Ok(document));
    }

    #[test]
    fn a_message_summary_reads_as_it_was_written(
        waiting in any::<bool>(), account in prop::option::of("sip:[a-z]{1,8}@[a-z]{1,8}"),
        counts in prop::collection::vec((field_name(), counts()), 0..4),
        messages in prop::collection::vec(prop::collection::vec((field_name(), "[!-~]( ?[!-~]){0,8}"), 1..4), 0..3),
    ) {
        prop_assume!(counts.iter().all(|(name, _)| !name.eq_ignore_ascii_case("Message-Account")));
        let summary = MessageSummary { waiting, account, counts, messages };
        prop_assert_eq!(MessageSummary::parse(summary.to_string().as_bytes()), Ok(summary));
    }

    #[test]
    fn a_report_reads_as_it_was_written(code in 100..700u16, reason in "[!-~]( ?[!-~]){0,20}") {
        let report = Report { status: StatusCode::new(code).unwrap(), reason: Some(reason) };
        prop_assert_eq!(Report::parse(&report.to_body().octets), Ok(Some(report)));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (DialogInfo::parse(&octets), RegInfo::parse(&octets), Presence::parse(&octets));
        let _ = (MessageSummary::parse(&octets), Report::parse(&octets.clone().into()));
    }
}
