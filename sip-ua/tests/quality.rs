//! Reports of quality at the end of calls, to a collector that is a script (RFC 6035).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_dialog::packages::voice_quality::{Kind, VoiceQualityReport};
use sip_message::headers::CallId;
use sip_message::{Message, Method, Request, StatusCode};
use sip_ua::{BindError, Call, Phone, PhoneBuilder};
use tokio::net::UdpSocket;

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// A collector: it answers as it is told and shows what it was sent.
struct Collector(UdpSocket);

impl Collector {
    async fn start() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    fn uri(&self) -> String {
        format!("sip:collector@{}", self.0.local_addr().unwrap())
    }

    /// The next request that is none repeated, answered with this status.
    async fn next(&self, status: StatusCode, known: &[Request]) -> Request {
        let mut buffer = [0; 65_535];
        loop {
            let (length, from) = within("a report", self.0.recv_from(&mut buffer)).await.unwrap();
            let Message::Request(request) =
                Message::parse(buffer[..length].to_vec().into(), &Default::default()).unwrap()
            else {
                panic!("a collector is sent requests");
            };
            let response = request.reply(status).to_tag("collector").build().unwrap();
            self.0.send_to(&response.to_bytes(), from).await.unwrap();
            if known.iter().all(|known| call_id(known) != call_id(&request)) {
                return request;
            }
        }
    }
}

fn call_id(request: &Request) -> String {
    request.headers.get::<CallId>().unwrap().unwrap().as_str().to_owned()
}

fn report_of(request: &Request) -> VoiceQualityReport {
    assert_eq!(*request.method(), Method::Publish);
    assert_eq!(request.headers.text("Event"), Some("vq-rtcpxr"));
    assert_eq!(request.headers.text("Content-Type"), Some(VoiceQualityReport::CONTENT_TYPE));
    VoiceQualityReport::parse(request.body()).unwrap()
}

async fn phone(user: &str, set: impl FnOnce(PhoneBuilder) -> PhoneBuilder) -> Phone {
    set(Phone::builder(&format!("sip:{user}@example.com")).listen("udp:127.0.0.1:0")).bind().await.unwrap()
}

async fn connect(alice: &Phone, bob: &Phone) -> (Call, Call) {
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    within("the call", async {
        tokio::join!(async { alice.call(&to).await.unwrap().answered().await.unwrap() }, async {
            bob.incoming().await.unwrap().answer().await.unwrap()
        })
    })
    .await
}

/// RFC 6035 §4.3, §4.6: both phones report the call that both had, each from its side.
#[tokio::test]
async fn rfc6035_4_3_both_ends_of_a_call_report_it_when_it_is_over() {
    let collector = Collector::start().await;
    let uri = collector.uri();
    let alice = phone("alice", |builder| builder.display_name("Alice").quality_reports(&uri)).await;
    let bob = phone("bob", |builder| builder.quality_reports(&uri)).await;
    let (call, called) = connect(&alice, &bob).await;
    within("sound", async {
        while call.statistics().session.received.packets < 25
            || called.statistics().session.received.packets < 25
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let script = async {
        let first = collector.next(StatusCode::OK, &[]).await;
        let second = collector.next(StatusCode::OK, std::slice::from_ref(&first)).await;
        [report_of(&first), report_of(&second)]
    };
    let (reports, _) = tokio::join!(script, call.hang_up());
    let of = |who: &str| reports.iter().find(|report| report.local_id.contains(who)).unwrap();
    let (alices, bobs) = (of("sip:alice@"), of("sip:bob@"));

    assert_eq!(alices.call_id, bobs.call_id);
    assert_eq!(alices.dialog, bobs.dialog, "the tags are those of the call, whoever reports (§4.6.1)");
    assert!(alices.local_id.contains("Alice"), "{}", alices.local_id);
    assert_eq!(alices.originator, alices.local_id);
    assert!(bobs.originator.contains("sip:alice@"), "{}", bobs.originator);
    assert_eq!((&alices.local_address, &alices.remote_address), (&bobs.remote_address, &bobs.local_address));
    assert_ne!(alices.local_address.ssrc, 0);
    for report in [alices, bobs] {
        assert_eq!(report.kind, Kind::Session { last: true });
        assert_eq!(report.local.session.codec.as_ref().map(|codec| codec.0.as_str()), Some("PCMU"));
        assert!(report.local.quality.conversational_mos.unwrap().score() > 3.0);
        assert!(report.local.stop >= report.local.start);
    }
    within("the end", alice.close()).await;
    within("the end", bob.close()).await;
}

/// A phone that closes in the middle of a call has reported it when it is closed.
#[tokio::test]
async fn a_phone_that_closes_sends_its_last_report() {
    let collector = Collector::start().await;
    let alice = phone("alice", |builder| builder.quality_reports(&collector.uri())).await;
    let bob = phone("bob", |builder| builder).await;
    let (call, _called) = connect(&alice, &bob).await;
    let (request, ()) = tokio::join!(collector.next(StatusCode::FORBIDDEN, &[]), alice.close());
    assert!(report_of(&request).remote_id.contains("sip:bob@"));
    drop(call);
    within("the end", bob.close()).await;
}

/// A call that nobody answered has no media, and nothing is reported of it.
#[tokio::test]
async fn a_call_that_was_refused_is_not_reported() {
    let collector = Collector::start().await;
    let alice = phone("alice", |builder| builder.quality_reports(&collector.uri())).await;
    let bob = phone("bob", |builder| builder).await;
    let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
    let refused = async { bob.incoming().await.unwrap().reject(StatusCode::BUSY_HERE).unwrap() };
    let (outcome, ()) = within("the refusal", async {
        tokio::join!(async { alice.call(&to).await.unwrap().answered().await }, refused)
    })
    .await;
    assert!(outcome.is_err());
    within("the end", alice.close()).await;
    assert!(collector.0.try_recv_from(&mut [0; 64]).is_err());
    within("the end", bob.close()).await;
}

#[tokio::test]
async fn a_collector_that_is_no_address_is_told_at_once() {
    let bound = Phone::builder("sip:alice@example.com").quality_reports("the collector").bind().await;
    assert!(matches!(bound, Err(BindError::Address { text, .. }) if text == "the collector"));
}
