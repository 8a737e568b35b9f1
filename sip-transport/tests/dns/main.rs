//! NAPTR, SRV, A and AAAA from a name server on loopback with a real zone file: what is found, what is not, and what is
//! not believed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod server;

use std::time::{Duration, Instant};

use server::NameServer;
use sip_transport::resolve::{Need, Progress, Resolution};
use sip_transport::tokio::{DnsResolver, Resolve, locate};
use sip_transport::{Naptr, Question, Records, ResolveError, Srv, Supported, Transport};

const ZONE: &str = r#"
$TTL 60
@                    IN SOA   ns.example.test. admin.example.test. 1 3600 600 86400 60
@                    IN NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.example.test.
@                    IN NAPTR 90 50 "s" "SIP+D2T"  "" _sip._tcp.example.test.
@                    IN NAPTR 90 60 "s" "SIP+D2U"  "" _sip._udp.example.test.
_sips._tcp           IN SRV   0 1 5061 sip1.example.test.
_sip._tcp            IN SRV   10 60 5070 sip1.example.test.
_sip._tcp            IN SRV   20 0  5071 alias.example.test.
_sip._tcp            IN SRV   30 0  5072 gone.example.test.
_sip._udp            IN SRV   10 60 5060 sip1.example.test.
sip1                 IN A     192.0.2.7
sip1                 IN AAAA  2001:db8::7
alias                IN CNAME sip2.example.test.
sip2                 IN A     192.0.2.8
loop1                IN CNAME loop2.example.test.
loop2                IN CNAME loop1.example.test.
v4                   IN A     192.0.2.9
once                 IN A     192.0.2.10
forged               IN A     192.0.2.11
half                 IN CNAME v4.example.test.
_sip._udp.slow       IN SRV   1 0 5060 v4.example.test.
_sip._udp.slow       IN SRV   2 0 5060 silent.example.test.
"#;

async fn start() -> (NameServer, DnsResolver) {
    let many: String = (0..100).map(|n| format!("many IN A 198.51.100.{n}\n")).collect();
    let server = NameServer::start(&format!("{ZONE}{many}")).await;
    let resolver = DnsResolver::with_servers(&[server.address]).unwrap();
    (server, resolver)
}

fn supported() -> Supported {
    [Transport::Udp, Transport::Tcp]
        .iter()
        .fold(Supported::NONE, |set, transport| set.with(*transport, true).with(*transport, false))
}

async fn next_hops(resolver: &DnsResolver, uri: &str, supported: Supported) -> Progress {
    let need = Need { size: 900, supported, random: 1 };
    locate(resolver, Resolution::new(&uri.parse().unwrap(), need), |_, _| ()).await
}

fn places(progress: Progress) -> Vec<String> {
    match progress {
        Progress::Done(list) => list.iter().map(|to| format!("{} {}", to.transport, to.remote)).collect(),
        other => panic!("{other:?}"),
    }
}

fn ips(list: &[&str]) -> Result<Records, ResolveError> {
    Ok(Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect()))
}

#[tokio::test]
async fn records_of_each_kind_are_found_and_others_are_not() {
    let (_server, resolver) = start().await;
    let Records::Naptr(mut naptr) = resolver.resolve(Question::Naptr("example.test".into())).await.unwrap()
    else {
        panic!()
    };
    naptr.sort_by_key(|record| (record.order, record.preference));
    let text = |text: &str| text.to_owned();
    let first = Naptr {
        order: 50,
        preference: 50,
        flags: text("s"),
        service: text("SIPS+D2T"),
        regexp: text(""),
        replacement: text("_sips._tcp.example.test."),
    };
    assert_eq!((naptr.len(), &naptr[0]), (3, &first));

    let srv = resolver.resolve(Question::Srv("_sips._tcp.example.test".into())).await.unwrap();
    let expected = Srv { priority: 0, weight: 1, port: 5061, target: text("sip1.example.test.") };
    assert_eq!(srv, Records::Srv(vec![expected]));

    assert_eq!(resolver.resolve(Question::A("sip1.example.test".into())).await, ips(&["192.0.2.7"]));
    assert_eq!(resolver.resolve(Question::Aaaa("sip1.example.test".into())).await, ips(&["2001:db8::7"]));
    for question in [
        Question::Srv("_sip._sctp.example.test".into()),
        Question::Naptr("sip1.example.test".into()),
        Question::A("nowhere.example.test".into()),
        Question::Aaaa("v4.example.test".into()),
    ] {
        assert_eq!(resolver.resolve(question).await, Err(ResolveError::NotFound));
    }
}

/// The whole way: NAPTR to SRV to both address families, an alias among the targets, and one target that is dead.
#[tokio::test]
async fn rfc_3263_from_naptr_to_addresses_in_failover_order() {
    let (server, resolver) = start().await;
    let found = places(next_hops(&resolver, "sip:bob@example.test", supported()).await);
    assert_eq!(found, ["TCP [2001:db8::7]:5070", "TCP 192.0.2.7:5070", "TCP 192.0.2.8:5071"]);
    // "once a match is found the client MUST NOT consider records with a different Order": TLS is not ours.
    assert_eq!(server.count("_sips._tcp.example.test. SRV"), 0);
    let tls = supported().with(Transport::Tls, true);
    let found = places(next_hops(&resolver, "sips:bob@example.test", tls).await);
    assert_eq!(found, ["TLS 192.0.2.7:5061"]);
}

#[tokio::test]
async fn an_answer_too_long_for_a_datagram_comes_over_tcp() {
    let (server, resolver) = start().await;
    let Ok(Records::Addresses(list)) = resolver.resolve(Question::A("many.example.test".into())).await else {
        panic!()
    };
    assert_eq!(list.len(), 100);
    assert!(server.over_tcp("many.example.test. A"));
}

#[tokio::test]
async fn aliases_in_a_circle_end_in_an_error() {
    let (server, resolver) = start().await;
    let found = next_hops(&resolver, "sip:loop1.example.test:5060", supported()).await;
    assert!(matches!(found, Progress::Failed(_)), "{found:?}");
    assert!(server.asked.lock().unwrap().len() <= 20, "{:?}", server.asked.lock().unwrap());
    let found = places(next_hops(&resolver, "sip:half.example.test:5060", supported()).await);
    assert_eq!(found, ["UDP 192.0.2.9:5060"]);
}

#[tokio::test]
async fn a_domain_that_does_not_exist_fails() {
    let (_server, resolver) = start().await;
    let found = next_hops(&resolver, "sip:nowhere.example.test", supported()).await;
    let Progress::Failed(reason) = found else { panic!("{found:?}") };
    assert_eq!(reason.to_string(), "nowhere.example.test: no such name or no such record");
}

/// A question that is lost on the way is asked again, and not more often than needed.
#[tokio::test]
async fn a_lost_question_is_asked_again() {
    let (server, resolver) = start().await;
    let v4 = Supported::NONE.with(Transport::Udp, true);
    let start = Instant::now();
    let found = places(next_hops(&resolver, "sip:once.example.test:5060", v4).await);
    assert_eq!(found, ["UDP 192.0.2.10:5060"]);
    assert_eq!(server.count("once.example.test. A"), 2);
    assert!(start.elapsed() < Duration::from_secs(20), "well within Timer B: {:?}", start.elapsed());
}

/// A server that never says a word about one target does not hold the others up.
#[tokio::test]
async fn a_silent_target_is_waited_for_a_moment_only() {
    let (_server, resolver) = start().await;
    let v4 = Supported::NONE.with(Transport::Udp, true);
    let start = Instant::now();
    let found = places(next_hops(&resolver, "sip:slow.example.test;transport=udp", v4).await);
    assert_eq!(found, ["UDP 192.0.2.9:5060"]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Nobody listens where the name server should be: that is known at once, and no reason to wait for the question behind.
#[tokio::test]
async fn a_name_server_that_is_not_there_fails_at_once() {
    let closed = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let resolver = DnsResolver::with_servers(&[closed]).unwrap();
    let start = Instant::now();
    assert_eq!(resolver.resolve(Question::A("v4.example.test".into())).await, Err(ResolveError::Failed));
    let found = next_hops(&resolver, "sip:bob@example.test", supported()).await;
    let Progress::Failed(reason) = found else { panic!("{found:?}") };
    assert_eq!(reason.to_string(), "example.test: the name servers could not answer");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// One that says nothing costs seconds, far less than Timer B.
#[tokio::test]
async fn a_silent_name_server_is_given_up_after_seconds() {
    let (server, resolver) = start().await;
    let start = Instant::now();
    let found = resolver.resolve(Question::A("silent.example.test".into())).await;
    assert_eq!(found, Err(ResolveError::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(server.count("silent.example.test. A") >= 2, "it was asked again");
}

/// R21: another source, a wrong id, another question, ten thousand of them: none is believed.
#[tokio::test]
async fn ten_thousand_forged_answers_are_not_accepted() {
    let server = NameServer::start(ZONE).await;
    for _ in 0..10 {
        // A fresh resolver each time: an answer that was believed before must not hide behind the cache.
        let resolver = DnsResolver::with_servers(&[server.address]).unwrap();
        let found = resolver.resolve(Question::A("forged.example.test".into())).await;
        assert_eq!(found, ips(&["192.0.2.11"]));
    }
    assert!(server.count("forged.example.test. A") >= 10, "each asked for itself");
}
