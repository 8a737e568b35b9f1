//! An IPv6 address that swallows connections, over real sockets (RFC 8305): a listener whose queue is full lets the
//! kernel drop every further SYN, as a broken tunnel does.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Method, Request, StatusCode, Uri};
use sip_transaction::tokio::{Endpoint, Incoming};
use sip_transport::tokio::{Options, Resolve, Resolving};
use sip_transport::{Question, Records, ResolveError};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One name with an address of each family, both on loopback.
struct Dual;

impl Resolve for Dual {
    fn resolve(&self, question: Question) -> Resolving {
        let records = match question {
            Question::Aaaa(_) => Ok(Records::Addresses(vec!["::1".parse().unwrap()])),
            Question::A(_) => Ok(Records::Addresses(vec!["127.0.0.1".parse().unwrap()])),
            _ => Err(ResolveError::NotFound),
        };
        Box::pin(async move { records })
    }
}

/// A listener at this port of ::1 that takes no connection, with those that fill its queue. `None`: no IPv6 here.
fn black_hole(port: u16) -> Option<Vec<Socket>> {
    let at = SocketAddr::new("::1".parse().unwrap(), port);
    let listener = Socket::new(Domain::IPV6, Type::STREAM, None).ok()?;
    listener.bind(&at.into()).ok()?;
    listener.listen(0).ok()?;
    let mut held = vec![listener];
    loop {
        let filler = Socket::new(Domain::IPV6, Type::STREAM, None).ok()?;
        let connected = filler.connect_timeout(&at.into(), Duration::from_millis(300));
        held.push(filler);
        if connected.is_err() {
            return Some(held);
        }
        assert!(held.len() < 50, "this kernel has no bound on waiting connections");
    }
}

#[tokio::test]
async fn a_black_holed_ipv6_address_does_not_delay_a_request() {
    let bob = Endpoint::builder().listen("tcp:127.0.0.1:0").unwrap().bind().await.unwrap();
    let port = bob.locals().iter().next().unwrap().port;
    let Some(_hole) = black_hole(port) else {
        assert!(std::env::var_os("CI").is_none(), "no IPv6 on loopback");
        println!("skipped: no IPv6 on loopback");
        return;
    };
    let options = Options { resolver: Some(Arc::new(Dual)), ..Options::default() };
    let alice = Endpoint::builder().listen("tcp:127.0.0.1:0").unwrap().listen("tcp:[::1]:0").unwrap();
    let alice = alice.transport(options).bind().await.unwrap();

    let uri: Uri = format!("sip:bob@dual.example:{port};transport=tcp").parse().unwrap();
    let request = Request::builder(Method::Options, &uri)
        .header(&From::new(&"sip:alice@a.example".parse::<Uri>().unwrap()).with_tag(&alice.token()))
        .header(&To::new(&uri))
        .header(&CallId::new(&alice.token()))
        .header(&CSeq::new(1, Method::Options))
        .build()
        .unwrap();
    let start = Instant::now();
    let mut asked = alice.send(request).unwrap();
    let Some(Incoming::Request(incoming)) = bob.accept().await else { panic!("nothing came") };
    let took = start.elapsed();
    println!("arrived after {took:?}");
    // A quarter of a second on an idle machine; without a race it takes 8 s until the connection is given up.
    assert!(took >= Duration::from_millis(250), "not by way of the black hole: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    incoming.respond(&incoming.request().reply(StatusCode::OK).to_tag("bob").build().unwrap()).unwrap();
    assert_eq!(asked.final_response().await.unwrap().status(), StatusCode::OK);
}
