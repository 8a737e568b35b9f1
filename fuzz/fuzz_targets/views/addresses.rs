//! Fields with an address, a host or a dialog in them.

use super::{read, reads_back};
use sip_message::headers::*;
use sip_message::{HeaderName, Uri};

pub fn ask(name: HeaderName, value: &str) {
    if let Some(via) = read::<Via>(name, value) {
        ask_via(via);
    }
    if let Some(mut from) = read::<From>(name, value) {
        from.set_tag("own");
        assert_eq!(from.tag(), Some("own"));
        reads_back(&from);
        from.remove_tag();
        assert_eq!(from.tag(), None);
        reads_back(&from.clone().with_tag("other"));
    }
    if let Some(contact) = read::<Contact>(name, value) {
        assert_eq!(contact.is_star(), contact.uri().is_none());
        assert!(contact.q().is_none_or(|q| q <= 1000));
        let _ = (contact.expires(), contact.to_string());
        reads_back(&contact.clone().with_param("own", Some("a b")));
        if let Some(address) = contact.address().cloned() {
            ask_address(address);
        }
    }
    if let Some(Route(address)) = read::<Route>(name, value) {
        let _ = (address.uri().has_lr(), address.uri().transport_param());
        assert_eq!(Route::from(address.clone()).to_string(), address.to_string());
    }
    if let Some(mut alert) = read::<AlertInfo>(name, value) {
        if let Some(indication) = alert.indication() {
            assert!(indication.is_kind_of(&indication) && indication.indication().count() > 0);
        }
        alert.set_param("own", None);
        assert_eq!(alert.param("own"), Some(None));
        reads_back(&AlertInfo::from(alert.0.clone()).with_param("more", Some("\"")));
    }
    if let Some(call) = read::<CallInfo>(name, value) {
        assert_eq!(call.purpose(), call.param("purpose").flatten());
    }
    if let Some(entry) = read::<HistoryInfo>(name, value) {
        let _ = (entry.index().map(Iterator::count), entry.reason().and_then(|reason| reason.cause()));
        let uri = entry.0.uri().clone();
        for made in [entry.next(&uri), entry.missing(&uri)].into_iter().flatten() {
            assert!(made.index().is_some());
            reads_back(&made);
        }
        reads_back(&HistoryInfo::first(&uri));
        reads_back(&entry.because(sip_message::StatusCode::BUSY_HERE));
    }
    if let Some(diversion) = read::<Diversion>(name, value) {
        let _ = (diversion.reason(), diversion.counter());
    }
    if let Some(trigger) = read::<TriggerConsent>(name, value) {
        assert_eq!(
            TriggerConsent::new(trigger.uri()).is_ok_and(|made| made == trigger),
            trigger.params().is_empty()
        );
        reads_back(&trigger.with_param("own", Some("a b")));
    }
    ask_dialogs(name, value);
}

fn ask_via(mut via: Via) {
    assert!(!via.host().is_empty() && !via.transport().is_empty());
    assert_eq!(via.branch(), via.params().value("branch"));
    assert!(via.port().is_none_or(|port| via.to_string().contains(&format!(":{port}"))));
    let _ = (via.received(), via.rport(), via.maddr(), via.ttl(), format!("{via:?}"));
    via.set_param("received", Some("2001:db8::9"));
    assert_eq!(via.received(), Some("2001:db8::9"));
    reads_back(&via);
    assert!(via.remove_param("received") && via.param("received").is_none() && !via.remove_param("received"));
    reads_back(&via);
}

fn ask_address(mut address: NameAddr) {
    let before = address.clone();
    assert_eq!(address, before);
    let _ = format!("{address:?}");
    let named = address.clone().with_display_name("a \"b\" \\");
    assert_eq!(
        named.to_string().parse::<NameAddr>().as_ref().map(|read| read.display_name()),
        Ok(named.display_name())
    );
    address.set_param("own", Some("x"));
    assert!(address.remove_param("own") && address.param("own").is_none());
    address.uri_mut().remove_headers();
    assert_eq!(address.uri().headers().count(), 0);
    assert!(address.uri().as_str().parse::<Uri>().is_ok_and(|uri| uri == *address.uri()));
}

fn ask_dialogs(name: HeaderName, value: &str) {
    if let Some(replaces) = read::<Replaces>(name, value) {
        assert!(replaces.params().iter().count() >= 2);
        let made = Replaces::new(replaces.call_id(), replaces.to_tag(), replaces.from_tag());
        assert_eq!((made.call_id(), made.to_tag()), (replaces.call_id(), replaces.to_tag()));
        assert!(!made.early_only() && made.with_early_only().early_only());
        reads_back(&replaces);
    }
    if let Some(target) = read::<TargetDialog>(name, value) {
        assert!(
            !target.call_id().is_empty() && !target.local_tag().is_empty() && !target.remote_tag().is_empty()
        );
    }
    if let Some(id) = read::<SessionId>(name, value) {
        assert!(id.local().len() == 32 && id.remote().is_none_or(|remote| remote.len() == 32));
        let number = u128::from_str_radix(id.local(), 16).expect("32 hexadecimal digits");
        reads_back(&SessionId::new(number, Some(number)));
        assert_eq!(id.remote().is_some(), !id.params().is_empty() && id.params().get("remote").is_some());
    }
    if let Some(identity) = read::<Identity>(name, value) {
        assert!(!identity.digest().is_empty() && !identity.algorithm().is_empty());
        let _ = identity.ppt();
        if let Some(info) = identity.info().and_then(|info| info.parse::<Uri>().ok()) {
            let made = Identity::new(identity.digest(), &info).with_param("alg", Some(identity.algorithm()));
            assert_eq!((made.digest(), made.info()), (identity.digest(), identity.info()));
        }
        let _ = identity.params().unquoted("ppt");
    }
}
