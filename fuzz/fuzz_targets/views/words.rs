//! Fields of words, numbers and parameters.

use super::{read, reads_back};
use sip_message::HeaderName;
use sip_message::headers::*;

pub fn ask(name: HeaderName, value: &str) {
    ask_negotiation(name, value);
    ask_subscription(name, value);
    ask_proofs(name, value);
    if let Some(kind) = read::<ContentType>(name, value) {
        assert!(kind.is(&kind.kind().to_ascii_uppercase(), kind.subtype()));
        reads_back(&kind.with_param("own", Some("a;b")));
    }
    if let Some(disposition) = read::<ContentDisposition>(name, value) {
        let _ = disposition.is_required();
        assert!(!disposition.with_param("handling", Some("optional")).is_required());
    }
    if let Some(id) = read::<ContentId>(name, value) {
        assert!(!id.is_named_by(id.as_str()));
        reads_back(&ContentId::new(id.as_str()));
    }
    if let Some(expires) = read::<SessionExpires>(name, value) {
        let _ = expires.refresher();
        let theirs = expires.with_refresher(Refresher::Uas);
        assert_eq!(theirs.refresher(), Some(Refresher::Uas));
        reads_back(&theirs);
    }
    if let Some(mode) = read::<AnswerMode>(name, value) {
        let _ = (mode.is_automatic(), mode.or_not_at_all().is_required());
    }
    if let Some(wanted) = read::<AcceptContact>(name, value) {
        let _ = (wanted.is_required(), wanted.is_explicit());
        reads_back(&wanted.with_feature("+sip.own", &["a", "b"]));
    }
    if let Some(reason) = read::<Reason>(name, value) {
        let _ = reason.status();
        assert!(reason.q850_cause().is_none_or(|cause| Reason::q850(cause).q850_cause() == Some(cause)));
    }
    if let Some(date) = read::<Date>(name, value) {
        assert_eq!(Date::from_unix_seconds(date.unix_seconds()), Some(date));
    }
    if let Some(MaxForwards(hops)) = read::<MaxForwards>(name, value) {
        assert_eq!(MaxForwards(hops).decrement().is_none(), hops == 0);
    }
    if let Some(user) = read::<UserToUser>(name, value)
        && let Some(octets) = user.octets()
    {
        assert_eq!(UserToUser::from_octets(&octets).octets(), Some(octets));
    }
    if let Some(charging) = read::<PChargingVector>(name, value) {
        let _ = charging.value("icid-value");
        reads_back(&charging.with_param("own", Some("a b")));
    }
    let _ = read::<ReferSub>(name, value).map(|wanted| wanted.is_true());
    let _ = read::<GeolocationRouting>(name, value).map(|allowed| allowed.is_yes());
}

fn ask_negotiation(name: HeaderName, value: &str) {
    if let Some(Ok(range)) = read::<Accept>(name, value).map(|accept| accept.range()) {
        assert!(range.q() <= 1000);
        let _ = (range.matches(&ContentType::new("application", "sdp")), range.params().iter().count());
    }
    if let Some(language) = read::<AcceptLanguage>(name, value) {
        assert!(language.q() <= 1000);
        reads_back(&AcceptLanguage::new(&language.value).with_param("q", Some("0.5")));
        assert_eq!(language.param("q").flatten(), language.params.value("q"));
    }
    if let Some(tag) = read::<Supported>(name, value) {
        assert!(tag.tag().as_str().eq_ignore_ascii_case(&tag.0));
        assert_eq!(Supported::from(tag.tag()).tag().to_string(), tag.tag().as_str());
    }
    if let Some(coding) = read::<ContentEncoding>(name, value) {
        assert_eq!(coding.is_identity(), coding.0.eq_ignore_ascii_case("identity"));
    }
    if let Some(resource) = read::<ResourcePriority>(name, value) {
        assert_eq!(format!("{}.{}", resource.namespace(), resource.priority()), resource.as_str());
    }
    if let Some(privacy) = read::<Privacy>(name, value) {
        assert!(privacy.values.iter().all(|one| privacy.wants(one)));
        let words: Vec<&str> = privacy.values.iter().map(String::as_str).collect();
        assert_eq!(Privacy::new(&words), privacy);
    }
    if let Some(etag) = read::<SipETag>(name, value) {
        reads_back(&SipETag::new(etag.as_str()));
    }
}

fn ask_subscription(name: HeaderName, value: &str) {
    if let Some(event) = read::<Event>(name, value) {
        assert!(event.matches(&event) && event.package().as_str() == event.token);
        let other = event.clone().with_param("id", Some("own"));
        assert_eq!((other.id(), other.matches(&event)), (Some("own"), event.id() == Some("own")));
    }
    if let Some(packages) = read::<AllowEvents>(name, value) {
        assert_eq!(packages.package().as_str(), packages.as_str());
    }
    if let Some(state) = read::<SubscriptionState>(name, value) {
        assert!(!(state.is_active() && state.is_terminated()));
        let _ = (state.expires(), state.reason(), state.retry_after());
    }
    if let Some(reason) = read::<Reason>(name, value) {
        let cause = reason.cause().unwrap_or_default();
        let made = Reason::with_cause(&reason.token, cause, "a \"b\"");
        assert_eq!(made.cause(), Some(cause));
        reads_back(&made);
    }
}

fn ask_proofs(name: HeaderName, value: &str) {
    if let Some(WwwAuthenticate(challenge)) = read::<WwwAuthenticate>(name, value) {
        let params = challenge.params();
        for (known, value) in params.iter() {
            assert!(params.count(known) > 0 && params.raw(known).is_some());
            let _ = (challenge.param(known), value.len());
        }
        let made = Challenge::new(challenge.scheme())
            .quoted("realm", "a \"b\"")
            .token("stale", "true")
            .token("x", "a b");
        assert_eq!(made.to_string().parse::<Challenge>().as_ref(), Ok(&made));
        assert_eq!(made.param("realm").as_deref(), Some("a \"b\""));
    }
    if let Some(proof) = read::<AuthenticationInfo>(name, value) {
        let more = proof.quoted("own", "a \"b\"").token("more", "x");
        assert!(more.param("own").is_some() && more.param("more").is_some());
        reads_back(&more);
    }
}
