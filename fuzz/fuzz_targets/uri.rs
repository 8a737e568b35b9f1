//! Two URIs, a line each: read or refused, printed as they came, compared the same way round and the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::{ImPres, ServiceUrn, Tel, Uri};
use sip_message::headers::{Contact, Header, NameAddr};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(address) = first.parse::<NameAddr>() {
        assert_eq!(address.to_string().parse::<NameAddr>().map(|read| read.uri().clone()).as_ref(), Ok(address.uri()));
    }
    if let Ok(contact) = Contact::parse(first) {
        let _ = (contact.q(), contact.expires());
    }
    if let Ok(tel) = first.parse::<Tel>() {
        assert!(tel.equivalent(&tel) && tel.to_string().parse::<Tel>().is_ok_and(|again| again == tel));
        let _ = (tel.digits(), tel.is_global(), tel.phone_context().is_some());
    }
    let Ok(mut one) = first.parse::<Uri>() else { return };
    assert_eq!(one.to_string(), first);
    assert!(one.equivalent(&one));
    assert!(one.canonical_aor().is_ascii());
    let _ = (one.user_decoded(), one.host_port(), one.maddr(), one.headers().count());
    if let Ok(mailbox) = ImPres::of(&one) {
        assert!(mailbox.equivalent(&mailbox) && !mailbox.domain().is_empty());
        assert!(mailbox.to_sip().is_ok_and(|sip| sip.user_decoded().is_some_and(|user| user == mailbox.user())));
    }
    if let Ok(service) = ServiceUrn::of(&one) {
        assert!(service.includes(&service) && service.labels().all(|label| !label.is_empty()));
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
    }
});
