//! Two URIs, a line each: read or refused, printed as they came, compared the same way round and the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::headers::{Contact, Header, NameAddr};
use sip_message::{AlertUrn, ImPres, ServiceUrn, Tel, Uri};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(address) = first.parse::<NameAddr>() {
        assert_eq!(
            address.to_string().parse::<NameAddr>().map(|read| read.uri().clone()).as_ref(),
            Ok(address.uri())
        );
    }
    if let Ok(contact) = Contact::parse(first) {
        let _ = (contact.q(), contact.expires());
    }
    if let Ok(tel) = first.parse::<Tel>() {
        assert!(tel.equivalent(&tel) && tel.to_string().parse::<Tel>().is_ok_and(|again| again == tel));
        let _ = (tel.digits(), tel.is_global(), tel.phone_context().is_some(), tel.ext(), tel.isub());
        assert!(
            second.parse::<Tel>().is_ok_and(|other| tel.equivalent(&other))
                == second.parse::<Tel>().is_ok_and(|other| other.equivalent(&tel))
        );
    }
    let Ok(mut one) = first.parse::<Uri>() else { return };
    assert_eq!(one.to_string(), first);
    assert!(one.equivalent(&one));
    assert!(one.canonical_aor().is_ascii());
    let _ = (one.user_decoded(), one.host_port(), one.maddr(), one.headers().count());
    let _ = (one.has_lr(), one.transport_param());
    if let Ok(tel) = Tel::of_user(&one) {
        assert!(one.as_str().contains(tel.as_str()), "a number stands as it came");
    }
    if let Ok(mailbox) = ImPres::of(&one) {
        assert!(mailbox.is_im() != mailbox.is_pres() && mailbox.uri() == &one);
        assert!(mailbox.headers().count() <= first.len() && mailbox.to_string().parse::<ImPres>().is_ok());
        assert!(mailbox.equivalent(&mailbox) && !mailbox.domain().is_empty());
        assert!(
            mailbox.to_sip().is_ok_and(|sip| sip.user_decoded().is_some_and(|user| user == mailbox.user()))
        );
    }
    if let Ok(service) = ServiceUrn::of(&one) {
        assert!(service.includes(&service) && service.labels().all(|label| !label.is_empty()));
        assert!(service.equivalent(&service) && service.uri() == &one);
        assert!(
            !service.is_emergency()
                || "urn:service:sos".parse::<ServiceUrn>().is_ok_and(|sos| sos.includes(&service))
        );
        if let Ok(other) = second.parse::<ServiceUrn>() {
            assert_eq!(service.equivalent(&other), service.includes(&other) && other.includes(&service));
        }
    }
    if let Ok(alert) = AlertUrn::of(&one) {
        assert!(alert.is_kind_of(&alert) && !alert.category().is_empty() && alert.indication().count() > 0);
        assert_eq!(alert.to_string().parse::<AlertUrn>().as_ref(), Ok(&alert));
    }
    if let Ok(other) = second.parse::<Uri>() {
        assert_eq!(one.equivalent(&other), other.equivalent(&one));
        if one.equivalent(&other) && (one.is_sip() || one.is_sips()) {
            assert_eq!(one.canonical_aor(), other.canonical_aor());
        }
    }
    if one.is_sip() || one.is_sips() {
        one.set_param("own", Some(second));
        assert!(one.param("own").is_some());
        one.remove_param("own");
        assert_eq!(one.param("own"), None);
        if !second.is_empty() {
            let made = Uri::sip(Some(second), "example.com", None).expect("any user can be escaped");
            assert_eq!(made.user_decoded().as_deref(), Some(second));
        }
        // What may be a host makes a URI that reads back, and nothing else does.
        if let Ok(made) = Uri::sips(None, second, Some(5061)) {
            assert_eq!((made.host(), made.port()), (second, Some(5061)));
            assert_eq!(made.as_str().parse::<Uri>().as_ref(), Ok(&made));
        }
        one.remove_headers();
        assert_eq!(one.headers().count(), 0);
    }
});
