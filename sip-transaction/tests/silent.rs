//! A listener whose kernel takes connections and acknowledges, and whose program never says anything, over real sockets.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Method, Request, Uri};
use sip_transaction::tokio::Endpoint;
use sip_transaction::{Failure, Timing};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn options(alice: &Endpoint, uri: &Uri) -> Request {
    Request::builder(Method::Options, uri)
        .header(&From::new(&"sip:alice@a.example".parse::<Uri>().unwrap()).with_tag(&alice.token()))
        .header(&To::new(uri))
        .header(&CallId::new(&alice.token()))
        .header(&CSeq::new(1, Method::Options))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_silent_connection_is_closed_with_timer_f_and_the_next_request_opens_another() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("sip:{};transport=tcp", silent.local_addr().unwrap()).parse().unwrap();
    let timing = Timing::with_t1(Duration::from_millis(4));
    let alice = Endpoint::builder().listen("tcp:127.0.0.1:0").unwrap().timing(timing).bind().await.unwrap();
    for _ in 0..2 {
        let mut asked = alice.send(options(&alice, &uri)).unwrap();
        let (mut accepted, _) = timeout(PATIENCE, silent.accept()).await.expect("no new connection").unwrap();
        assert_eq!(asked.final_response().await.unwrap_err(), Failure::Timeout);
        // The end of the connection is seen, behind the one request.
        let mut read = Vec::new();
        timeout(PATIENCE, accepted.read_to_end(&mut read)).await.expect("it stays open").unwrap();
        assert_eq!(String::from_utf8(read).unwrap().matches("OPTIONS sip:").count(), 1);
    }
}
