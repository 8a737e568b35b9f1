//! What holds for every value: what is printed reads back as the same value, and nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use bytes::Bytes;
use common::{INVITE, any_uri, name_addr, params, request, sip_uri, via};
use proptest::prelude::*;
use sip_message::headers::{
    AcceptContact, AlertInfo, AnswerMode, Authorization, Contact, Diversion, Header, HistoryInfo,
    MaxForwards, Reason, RecordRoute, Route, Supported, To, Via, WwwAuthenticate,
};
use sip_message::{AlertUrn, Limits, Message, Request, StatusCode, Uri};

fn printed<H: Header>(header: &H) -> String {
    let mut text = String::new();
    header.write(&mut text);
    text
}

fn parse(octets: &[u8]) -> Message {
    Message::parse(Bytes::copy_from_slice(octets), &Limits::default()).unwrap()
}

/// A valid message with some octets replaced, removed and inserted.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..3u8, prop_oneof![any::<u8>(), special()]);
    prop::collection::vec(change, 1..12).prop_map(|changes| {
        let mut octets = INVITE.as_bytes().to_vec();
        for (at, kind, octet) in changes {
            let at = at.index(octets.len());
            match kind {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                _ => drop(octets.remove(at)),
            }
        }
        octets
    })
}

fn special() -> impl Strategy<Value = u8> {
    prop::sample::select(b"\r\n \t:;,<>\"\\@%=[]()?*/\0".to_vec())
}

/// Reads every typed field that the crate has something to say about.
fn read_everything(octets: &[u8]) {
    let Ok(message) = Message::parse(Bytes::copy_from_slice(octets), &Limits::default()) else { return };
    let headers = message.headers();
    let _ = (headers.all::<Via>().count(), headers.all::<Contact>().count(), headers.get::<To>());
    let _ = (headers.all::<Route>().count(), headers.all::<RecordRoute>().count());
    let _ = (headers.get::<Authorization>(), headers.all::<Supported>().count());
    for (name, value) in headers.iter() {
        let _ = (name.len(), value.len());
    }
    match &message {
        Message::Request(request) => {
            if let Ok(uri) = request.uri() {
                let _ = (uri.canonical_aor(), uri.equivalent(&uri), uri.user_decoded().is_some());
            }
            let _ = request.check();
            let reply = request.reply(sip_message::StatusCode::BAD_REQUEST).to_tag("t").build().unwrap();
            let again = Message::parse(reply.to_bytes(), &Limits::default()).expect("a reply is a message");
            assert_eq!(again, Message::Response(reply), "the reply reads as it was written");
        }
        Message::Response(response) => drop(response.check()),
    }
    let wire = message.to_bytes();
    let again = Message::parse(wire.clone(), &Limits::default()).expect("what was printed is a message");
    assert_eq!(again.to_bytes(), wire, "printing is stable");
    assert_eq!(again.headers(), message.headers());
}

proptest! {
    #[test]
    fn a_uri_reads_as_it_was_printed(uri in any_uri()) {
        let again: Uri = uri.to_string().parse().unwrap();
        prop_assert_eq!(&again, &uri);
        prop_assert!(again.equivalent(&uri));
    }

    /// The user part holds any text: what goes in comes out (RFC 3261 §19.1.2).
    #[test]
    fn a_user_of_any_characters_survives(user in "\\PC{1,20}") {
        let uri = Uri::sip(Some(&user), "example.com", None).unwrap();
        prop_assert_eq!(uri.user_decoded().unwrap(), user.as_str());
    }

    /// RFC 3261 §19.1.4: equality is symmetric, and equal URIs have one canonical address-of-record.
    #[test]
    fn equality_of_uris_is_symmetric(a in sip_uri(), b in sip_uri()) {
        prop_assert_eq!(a.equivalent(&b), b.equivalent(&a));
        if a.equivalent(&b) {
            prop_assert_eq!(a.canonical_aor(), b.canonical_aor());
        }
        let text = a.to_string();
        let (user, host) = text.split_at(text.find('@').unwrap_or(3) + 1);
        let upper: Uri = (user.to_owned() + &host.replacen(a.host(), &a.host().to_uppercase(), 1)).parse().unwrap();
        prop_assert_eq!(upper.canonical_aor(), a.canonical_aor());
    }

    #[test]
    fn uri_parameters_set_and_removed_leave_no_trace(uri in sip_uri(), value in "\\PC{0,8}") {
        let mut changed = uri.clone();
        changed.set_param("zz-own", Some(&value));
        prop_assert!(changed.param("ZZ-OWN").flatten().is_some());
        changed.remove_param("zz-own");
        prop_assert_eq!(changed.to_string(), uri.to_string());
    }

    #[test]
    fn a_name_addr_reads_as_it_was_printed(address in name_addr()) {
        let again = To::parse(&printed(&To::from(address.clone()))).unwrap();
        prop_assert_eq!(again.0, address);
    }

    /// RFC 7044 §10.3: entries in order, each as it was written, and the reason of one in it.
    #[test]
    fn a_history_reads_as_it_was_printed(uris in prop::collection::vec(sip_uri(), 1..6), status in 300..700u16) {
        let status = StatusCode::new(status).unwrap();
        let mut entries = vec![HistoryInfo::first(&uris[0])];
        for uri in &uris[1..] {
            let last = entries.pop().unwrap().because(status);
            let next = last.next(uri).unwrap();
            entries.extend([last, next]);
        }
        for (number, entry) in (1u32..).zip(&entries) {
            let again = HistoryInfo::parse(&printed(entry)).unwrap();
            prop_assert_eq!(&again, entry);
            prop_assert_eq!(again.index().unwrap().collect::<Vec<_>>(), [number]);
            let said = again.reason().and_then(|reason| reason.status());
            prop_assert_eq!(said, (number as usize != entries.len()).then_some(status));
        }
        let missing = entries.last().unwrap().missing(&uris[0]).unwrap();
        prop_assert_eq!(missing.index().unwrap().last(), Some(0));
    }

    /// RFC 3840 §9: features come out as they went in.
    #[test]
    fn features_read_as_they_were_printed(uri in sip_uri(), values in prop::collection::vec("[a-zA-Z0-9./!-]{1,8}", 0..5)) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let contact = Contact::new(&uri).with_feature("+sip.test", &values);
        let again = Contact::parse(&printed(&contact)).unwrap();
        prop_assert_eq!(again.features("+sip.test").unwrap(), values.clone());
        let wanted = AcceptContact::new("*").with_feature("+sip.test", &values).with_param("explicit", None);
        let again = AcceptContact::parse(&printed(&wanted)).unwrap();
        prop_assert!(again.is_explicit() && !again.is_required());
        prop_assert_eq!(again, wanted);
    }

    /// RFC 7462 §7.
    #[test]
    fn an_alert_reads_as_it_was_printed(names in prop::collection::vec("[a-z]([a-z0-9-]{0,6}[a-z0-9])?", 2..5)) {
        let text = format!("urn:alert:{}", names.join(":"));
        let alert: AlertUrn = text.parse().unwrap();
        let info = AlertInfo::parse(&printed(&AlertInfo::new(alert.uri()))).unwrap();
        prop_assert_eq!(info.indication(), Some(alert));
    }

    /// RFC 3326, RFC 5373, RFC 5806: what the helpers make is read as the same.
    #[test]
    fn reasons_modes_and_diversions_read_as_they_were_printed(cause in 0..128u8, uri in sip_uri(), counter in 1..100u32) {
        let reason = Reason::parse(&printed(&Reason::q850(cause))).unwrap();
        prop_assert_eq!(reason.q850_cause(), Some(cause));
        let mode = AnswerMode::parse(&printed(&AnswerMode::automatic().or_not_at_all())).unwrap();
        prop_assert!(mode.is_automatic() && mode.is_required());
        let diversion = Diversion::new(&uri).with_param("reason", Some("user-busy")).with_param("counter", Some(&counter.to_string()));
        let again = Diversion::parse(&printed(&diversion)).unwrap();
        prop_assert_eq!((again.counter(), again.reason().unwrap().into_owned()), (counter, "user-busy".to_owned()));
    }

    #[test]
    fn a_via_reads_as_it_was_printed(via in via()) {
        prop_assert_eq!(Via::parse(&printed(&via)).unwrap(), via);
    }

    #[test]
    fn parameters_give_back_what_was_set(params in params()) {
        let mut via = Via::new("UDP", "h", None);
        for (name, value) in &params {
            via.set_param(name, value.as_deref());
        }
        let again = Via::parse(&printed(&via)).unwrap();
        for (name, value) in &params {
            let last = params.iter().rev().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
            if std::ptr::eq(last, params.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap()) {
                let read = again.params().unquoted(name);
                match value {
                    // A value that was given in quotes means its content.
                    Some(value) if !value.starts_with('"') => prop_assert_eq!(read.as_deref(), Some(value.as_str())),
                    Some(_) => prop_assert!(read.is_some()),
                    None => prop_assert_eq!(again.param(name), Some(None)),
                }
            }
        }
    }

    #[test]
    fn a_challenge_reads_as_it_was_printed(realm in "\\PC{0,20}", nonce in "\\PC{0,20}", algorithm in common::token()) {
        let made = WwwAuthenticate(
            sip_message::headers::Challenge::new("Digest")
                .quoted("realm", &realm)
                .quoted("nonce", &nonce)
                .token("algorithm", &algorithm),
        );
        let again = WwwAuthenticate::parse(&printed(&made)).unwrap();
        prop_assert_eq!(&again, &made);
        prop_assert_eq!(again.0.param("realm").unwrap(), realm.as_str());
    }

    #[test]
    fn a_message_reads_as_it_was_printed(request in request()) {
        let wire = request.to_bytes();
        let again = Message::parse(wire.clone(), &Limits::default()).unwrap();
        prop_assert_eq!(&again, &Message::Request(request.clone()));
        prop_assert_eq!(again.to_bytes(), wire, "untouched, it leaves octet for octet as it came");
        prop_assert_eq!(again.as_request().unwrap().check(), Ok(()));
    }

    /// What a proxy pushes and the next hop's response pops leaves nothing behind (RFC 3261 §16.6, §16.7).
    /// Into memory of any size: the whole message, or how much would be needed and no panic.
    #[test]
    fn a_message_is_written_into_what_it_fits(octets in mutated(), request in request(), edit in any::<bool>()) {
        for mut message in Message::parse(octets.into(), &Limits::default()).into_iter().chain([request.into()]) {
            if edit {
                message.headers_mut().push_front(&Via::new("UDP", "h", None));
            }
            let whole = message.to_bytes();
            let mut memory = vec![0; whole.len() + 8];
            for size in (0..=memory.len()).rev() {
                match message.write_into(&mut memory[..size]) {
                    Ok(length) => {
                        prop_assert!(size >= length);
                        prop_assert_eq!(&memory[..length], &whole[..]);
                    }
                    Err(error) => prop_assert!(size < error.needed && error.needed >= whole.len()),
                }
            }
        }
    }

    /// A message that stops within a line gets that line's end.
    #[test]
    fn a_message_that_was_cut_off_is_written_whole(cut in any::<prop::sample::Index>()) {
        let octets = &INVITE.as_bytes()[..1 + cut.index(INVITE.len())];
        if let Ok(message) = Message::parse(octets.to_vec().into(), &Limits::default()) {
            let whole = message.to_bytes();
            let mut memory = vec![0; whole.len()];
            prop_assert_eq!(message.write_into(&mut memory), Ok(whole.len()));
            prop_assert_eq!(&memory[..], &whole[..]);
        }
    }

    #[test]
    fn push_and_pop_are_inverse(request in request(), via in via(), route in name_addr()) {
        let wire = request.to_bytes();
        let mut changed = Request::parse(wire.clone(), &Limits::default()).unwrap();
        let route = Route::from(route);
        changed.headers.push_front(&via);
        changed.headers.push_front(&route);
        prop_assert_eq!(changed.headers.get::<Via>().unwrap().unwrap(), via.clone());
        let mut changed = Request::parse(changed.to_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(changed.headers.pop_front::<Route>().unwrap().unwrap(), route);
        prop_assert_eq!(changed.headers.pop_front::<Via>().unwrap().unwrap(), via);
        prop_assert_eq!(changed.to_bytes(), wire);
    }

    /// Elements of one line and elements of several lines are the same list (RFC 3261 §7.3.1).
    #[test]
    fn a_list_on_one_line_equals_a_list_on_many(vias in prop::collection::vec(via(), 1..5), cut in any::<prop::sample::Index>()) {
        let one: Vec<String> = vias.iter().map(printed).collect();
        let at = cut.index(one.len());
        let lines = if at == 0 {
            format!("Via: {}\r\n", one.join(" ,\r\n\t"))
        } else {
            format!("v: {}\r\nVIA : {}\r\n", one[..at].join(","), one[at..].join(" , "))
        };
        let message = parse(format!("OPTIONS sip:a@b SIP/2.0\r\n{lines}\r\n").as_bytes());
        let read: Vec<Via> = message.headers().all().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&read, &vias);
        let mut headers = message.headers().clone();
        for via in &vias {
            let popped = headers.pop_front::<Via>().unwrap();
            prop_assert_eq!(popped.as_ref(), Some(via));
        }
        prop_assert_eq!(headers.count("Via"), 0);
    }

    /// Replacing the first element does what changing it to that does.
    #[test]
    fn a_replaced_element_is_an_updated_one(request in request(), new in via(), joined in any::<bool>()) {
        let mut one = request;
        if joined {
            let all: Vec<String> = one.headers.all::<Via>().map(|via| printed(&via.unwrap())).collect();
            one.headers.remove("Via");
            one.headers.push_front_raw("Via", &all.join(" ,")).unwrap();
            one.headers.push_front_raw("Via", ",").unwrap();
        }
        let mut other = one.clone();
        prop_assert_eq!(one.headers.update_first::<Via>(|via| *via = new.clone()), Ok(true));
        prop_assert!(other.headers.replace_first(&new));
        prop_assert_eq!(one.to_bytes(), other.to_bytes());
    }

    #[test]
    fn an_update_changes_its_element_alone(request in request()) {
        let mut changed = request.clone();
        changed.headers.update_first::<MaxForwards>(|hops| hops.0 = 3).unwrap();
        prop_assert_eq!(changed.headers.len(), request.headers.len());
        for (before, after) in request.headers.iter().zip(changed.headers.iter()) {
            prop_assert!(before == after || before.0 == "Max-Forwards");
        }
        prop_assert_eq!(changed.headers.text("max-forwards"), Some("3"));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        read_everything(&octets);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(INVITE|SIP/2.0) [ -~\r\n\t]{0,300}") {
        read_everything(text.as_bytes());
    }

    #[test]
    fn a_mutated_message_is_read_or_refused(octets in mutated()) {
        read_everything(&octets);
    }

    #[test]
    fn any_value_of_a_typed_field_is_read_or_refused(value in "\\PC{0,60}") {
        let _ = (Via::parse(&value), To::parse(&value), Contact::parse(&value), value.parse::<Uri>().is_ok());
        if let Ok(contact) = Contact::parse(&value) {
            let _ = (contact.q(), contact.expires());
            prop_assert_eq!(Contact::parse(&printed(&contact)).unwrap(), contact);
        }
        if let Ok(via) = Via::parse(&value) {
            prop_assert_eq!(Via::parse(&printed(&via)).unwrap(), via);
        }
        if let Ok(credentials) = Authorization::parse(&value) {
            prop_assert_eq!(Authorization::parse(&printed(&credentials)).unwrap(), credentials);
        }
    }
}

/// RFC 3261 §18.3: a datagram that ends early is answered with 400, and reading it never panics.
#[test]
fn every_truncation_of_an_invite() {
    let whole = INVITE.as_bytes();
    let head = INVITE.find("\r\n\r\n").unwrap() + 4;
    let line = INVITE.find("\r\n").unwrap();
    for length in 0..=whole.len() {
        read_everything(&whole[..length]);
        let message = Message::parse(Bytes::copy_from_slice(&whole[..length]), &Limits::default());
        match message {
            Err(_) => assert!(length < line, "{length} octets hold a start line"),
            Ok(Message::Response(_)) => panic!("no response at {length}"),
            Ok(Message::Request(request)) if length == whole.len() => assert_eq!(request.check(), Ok(())),
            Ok(Message::Request(request)) => {
                let error = request.check().expect_err("a cut message is refused");
                // "SIP/2." is another version than 2.0
                let status = if length < line { 505 } else { 400 };
                assert_eq!(error.status.code(), status, "{length}: {error}");
                assert_eq!(request.body().len(), length.saturating_sub(head));
            }
        }
    }
}

/// A head may be cut off in its last line's end. One CR is half of that end; of two the first is a lone CR, which makes the
/// line malformed. Either way what is printed reads the same.
#[test]
fn a_head_cut_off_behind_cr() {
    for (end, value) in
        [("", Some("SIP/2.0/UDP h")), ("\r", Some("SIP/2.0/UDP h")), ("\r\r", None), ("\r\r\r", None)]
    {
        let octets = format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h{end}");
        let message = Message::parse(octets.into(), &Limits::default()).unwrap();
        assert_eq!(message.headers().text("Via"), value, "{end:?}");
        let again = Message::parse(message.to_bytes(), &Limits::default()).unwrap();
        assert_eq!(again, message, "{end:?}");
        let mut edited = message.clone();
        edited.headers_mut().push_raw("Via", "SIP/2.0/UDP g").unwrap();
        assert_eq!(Message::parse(edited.to_bytes(), &Limits::default()).unwrap(), edited, "{end:?}");
    }
}
