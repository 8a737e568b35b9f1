//! What a call says of itself and of who makes it, and what the callee makes of it: two phones over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use sip_message::headers::{
    AcceptContact, AlertInfo, Contact, Diversion, From, HistoryInfo, NameAddr, Reason, RejectContact,
    RequestDisposition, UserToUser,
};
use sip_message::{AlertUrn, StatusCode, Uri};
use sip_ua::core::{AnswerPolicy, HowToAnswer};
use sip_ua::{CallError, CallOptions, IncomingCall, NoMedia, OutgoingCall, Phone, PhoneBuilder};

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone(user: &str, change: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> Phone {
    let builder = Phone::builder(&format!("sip:{user}@example.com"));
    change(builder.listen("udp:127.0.0.1:0").media_engine(Arc::new(NoMedia))).bind().await.unwrap()
}

async fn calls(alice: &Phone, bob: &Phone, options: CallOptions) -> (OutgoingCall, IncomingCall) {
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let call = alice.call_with(&to, options).await.unwrap();
    let incoming = patient("the call", bob.incoming()).await.unwrap();
    (call, incoming)
}

fn carol() -> NameAddr {
    "\"Carol\" <sip:carol@example.com>".parse().unwrap()
}

/// RFC 3325 §5, §8: who calls is believed of a neighbour that is trusted, and of nobody else.
#[tokio::test]
async fn an_asserted_identity_counts_from_a_trusted_neighbour_alone() {
    let alice = phone("alice", |builder| builder).await;
    for (network, expected) in [("127.0.0.0/8", 1), ("192.0.2.0/24", 0)] {
        let bob = phone("bob", |builder| builder.trust(network).unwrap()).await;
        let options = CallOptions::new().asserted_identity(&carol());
        let (call, incoming) = calls(&alice, &bob, options).await;
        let asserted = incoming.asserted_identities();
        assert_eq!(asserted.len(), expected, "{network}");
        assert!(asserted.iter().all(|told| told.uri() == carol().uri()));
        drop((call, incoming));
        bob.close().await;
    }
    assert!(Phone::builder("sip:bob@example.com").trust("everybody").is_err());
    alice.close().await;
}

/// RFC 3323 §4.1.1.3, RFC 3325 §7: nothing in the INVITE says who Alice is but what the network has to know.
#[tokio::test]
async fn an_anonymous_call_does_not_tell_who_calls() {
    let (alice, bob) = (phone("alice", |builder| builder).await, phone("bob", |builder| builder).await);
    let (call, incoming) = calls(&alice, &bob, CallOptions::new().anonymous()).await;
    assert_eq!(incoming.from().uri().as_str(), "sip:anonymous@anonymous.invalid");
    assert!(incoming.privacy().unwrap().wants("id"));
    assert!(!incoming.request().to_string().contains("alice"), "{}", incoming.request());
    drop((call, incoming));
    let network = "<sip:alice@example.com>".parse().unwrap();
    let options = CallOptions::new().anonymous().preferred_identity(&network);
    let (call, incoming) = calls(&alice, &bob, options).await;
    let preferred = incoming.request().headers.text("P-Preferred-Identity").unwrap();
    assert_eq!(preferred, "<sip:alice@example.com>");
    // The dialog goes on as it began.
    let (call, called) = tokio::join!(call.answered(), incoming.answer());
    let (call, called) = (call.unwrap(), called.unwrap());
    let from: From = "<sip:anonymous@anonymous.invalid>".parse::<NameAddr>().unwrap().into();
    assert_eq!(called.connected_to().unwrap().uri(), from.0.uri());
    patient("hanging up", call.hang_up()).await;
    alice.close().await;
    bob.close().await;
}

/// RFC 5806, RFC 7044, RFC 7433, RFC 7462, RFC 3326, RFC 3841: set at one end, read at the other.
#[tokio::test]
async fn what_a_call_says_of_itself() {
    let (alice, bob) = (phone("alice", |builder| builder).await, phone("bob", |builder| builder).await);
    let boss: Uri = "sip:boss@example.com".parse().unwrap();
    let diversion = Diversion::new(&boss).with_param("reason", Some("no-answer"));
    let alert: AlertUrn = "urn:alert:source:external".parse().unwrap();
    let options = CallOptions::new()
        .diversion(&diversion)
        .header(&HistoryInfo::first(&boss).because(StatusCode::REQUEST_TIMEOUT))
        .user_to_user(&UserToUser::from_octets(b"ticket 7"))
        .alert(alert.uri())
        .reason(&Reason::q850(17))
        .accept_contact(&AcceptContact::new("*").with_feature("audio", &[]).with_param("require", None))
        .reject_contact(&RejectContact::new("*").with_feature("actor", &["msg-taker"]))
        .request_disposition("no-fork");
    let (call, incoming) = calls(&alice, &bob, options).await;
    assert_eq!(incoming.diversions(), [diversion]);
    assert_eq!(incoming.history()[0].reason().unwrap().cause(), Some(408));
    assert_eq!(incoming.user_to_user()[0].octets().unwrap(), b"ticket 7");
    assert_eq!(incoming.alerts().iter().map(AlertInfo::indication).collect::<Vec<_>>(), [Some(alert)]);
    assert_eq!(incoming.reasons()[0].q850_cause(), Some(17));
    let headers = &incoming.request().headers;
    let wanted = headers.require::<AcceptContact>().unwrap();
    assert!(wanted.is_required() && !wanted.is_explicit() && wanted.param("audio") == Some(None));
    assert_eq!(headers.require::<RejectContact>().unwrap().param("actor"), Some(Some("\"msg-taker\"")));
    assert_eq!(headers.require::<RequestDisposition>().unwrap().as_str(), "no-fork");
    let (call, called) = tokio::join!(call.answered(), incoming.answer());
    let (call, called) = (call.unwrap(), called.unwrap());
    patient("hanging up", called.hang_up_because(&Reason::q850(16))).await;
    let ended = patient("the end", call.ended()).await.ended;
    assert_eq!(ended.reasons()[0].q850_cause(), Some(16));
    alice.close().await;
    bob.close().await;
}

/// RFC 5373 §4.1, §4.5.1: at once for those on the list whom a trusted neighbour vouches for; `require` is refused for all
/// others; whoever only says in From that he is on the list is not.
#[tokio::test]
async fn calls_answer_themselves_for_those_who_may() {
    use HowToAnswer::{AtOnce, ByPerson, NotAtAll};
    let policy = AnswerPolicy {
        callers: vec!["sip:carol@example.com".parse().unwrap(), "sip:alice@example.com".parse().unwrap()],
        privileged: vec!["sip:fire@example.com".parse().unwrap()],
    };
    let alice = phone("alice", |builder| builder).await;
    let bob = phone("bob", |builder| builder.trust("127.0.0.1").unwrap().answer_policy(policy.clone())).await;
    let fire: NameAddr = "<sip:fire@example.com>".parse().unwrap();
    let auto = || CallOptions::new().answer_automatically(false);
    for (options, expected) in [
        (auto(), ByPerson),
        (auto().asserted_identity(&carol()), AtOnce),
        (CallOptions::new().asserted_identity(&carol()), ByPerson),
        (CallOptions::new().answer_automatically_with_privilege(false).asserted_identity(&carol()), ByPerson),
        (CallOptions::new().answer_automatically_with_privilege(true).asserted_identity(&fire), AtOnce),
        (auto().answer_automatically_with_privilege(true).asserted_identity(&carol()), AtOnce),
        (CallOptions::new().answer_automatically(true), NotAtAll),
        (CallOptions::new().answer_automatically_with_privilege(true).asserted_identity(&carol()), NotAtAll),
    ] {
        if expected == NotAtAll {
            let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
            let call = alice.call_with(&to, options).await.unwrap();
            let refused = patient("the refusal", call.answered()).await.err().unwrap();
            assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN));
            continue;
        }
        let (call, incoming) = calls(&alice, &bob, options.clone().field("Require", "answermode")).await;
        assert_eq!(incoming.how_to_answer(), expected, "{options:?}");
        drop((call, incoming));
    }
    // A phone without a policy does not know the extension at all.
    let carl = phone("carl", |builder| builder.trust("127.0.0.1").unwrap()).await;
    let (call, incoming) = calls(&alice, &carl, auto().asserted_identity(&carol())).await;
    assert_eq!(incoming.how_to_answer(), ByPerson);
    drop((call, incoming));
    let to = carl.locals().iter().next().unwrap().uri(Some("carl")).unwrap().to_string();
    let call = alice.call_with(&to, auto().field("Require", "answermode")).await.unwrap();
    let refused = patient("the refusal", call.answered()).await.err().unwrap();
    assert!(matches!(refused, CallError::Rejected { status: StatusCode::BAD_EXTENSION, .. }), "{refused}");
    for phone in [alice, bob, carl] {
        phone.close().await;
    }
}

/// RFC 3840 §5: what a phone can do stands in the Contact that it registers.
#[tokio::test]
async fn a_registration_tells_what_the_phone_can_do() {
    let server = sip_server::Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
    let server = server.build().await.unwrap();
    let at = server.locals().iter().next().unwrap().bound;
    let alice = phone("alice", |builder| {
        let builder = builder.proxy(&format!("sip:{at}")).registrar("sip:example.com");
        builder.feature("audio", &[]).feature("methods", &["INVITE", "BYE"])
    })
    .await;
    patient("registering", alice.register()).await.unwrap();
    let bindings = patient("asking", alice.bindings(None, None)).await.unwrap();
    let contact: &Contact = &bindings[0];
    assert_eq!(contact.features("audio"), Some(vec![]));
    assert_eq!(contact.features("methods").unwrap(), ["INVITE", "BYE"]);
    alice.close().await;
}
