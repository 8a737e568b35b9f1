//! A server in operation, over loopback sockets: records on disk, health and metrics, a stop that waits.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sip_message::{Limits, Message, Method, Request, StatusCode};
use sip_server::operation::CallRecordFile;
use sip_server::operation::http::Endpoint;
use sip_server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(60);

async fn server(records: Option<&PathBuf>) -> Server {
    // Transactions over UDP linger for 64 T1 after their answer, which a drain waits for.
    let quick = |config: &mut Config| config.timing.t1 = Duration::from_millis(20);
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com").configure(quick);
    let builder = match records {
        Some(path) => builder.call_records(CallRecordFile::open(path).unwrap()),
        None => builder,
    };
    builder.build().await.unwrap()
}

/// Somebody with a socket.
struct Party(UdpSocket);

impl Party {
    async fn at(server: &Server) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server.locals().iter().next().unwrap().bound).await.unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn send(&self, text: &str) {
        self.0.send(text.as_bytes()).await.unwrap();
    }

    async fn request(&self, method: &str, uri: &str, to_tag: &str, extra: &str) {
        let here = self.address();
        self.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@chicago.example>;tag=a\r\nTo: <sip:bob@example.com>{to_tag}\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n{extra}Content-Length: 0\r\n\r\n"
        ))
        .await;
    }

    async fn next(&self) -> Message {
        let mut buffer = vec![0; 65_536];
        let length = tokio::time::timeout(PATIENCE, self.0.recv(&mut buffer)).await.unwrap().unwrap();
        Message::parse(buffer[..length].to_vec().into(), &Limits::default()).unwrap()
    }

    /// The next message that is no provisional response.
    async fn decisive(&self) -> Message {
        loop {
            match self.next().await {
                Message::Response(response) if response.status().is_provisional() => {}
                other => return other,
            }
        }
    }

    async fn answer(&self, request: &Request, status: StatusCode) {
        let contact = format!("<sip:bob@{}>", self.address());
        let reply = request.reply(status).to_tag("b").raw("Contact", &contact).build().unwrap();
        self.0.send(&reply.to_bytes()).await.unwrap();
    }
}

/// Bob registers; Alice calls him and he answers. Gives both, and the way of the dialog.
async fn call(server: &Server) -> (Party, Party, String) {
    let (alice, bob) = (Party::at(server).await, Party::at(server).await);
    let here = bob.address();
    bob.send(&format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKr\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:bob@{here}>\r\nContent-Length: 0\r\n\r\n"
    ))
    .await;
    assert_eq!(bob.next().await.as_response().unwrap().status(), StatusCode::OK);
    alice.request("INVITE", "sip:bob@example.com", "", "").await;
    let Message::Request(invite) = bob.next().await else { panic!("the INVITE") };
    bob.answer(&invite, StatusCode::OK).await;
    let ok = alice.decisive().await;
    let ok = ok.as_response().unwrap();
    assert_eq!(ok.status(), StatusCode::OK);
    let route = ok.headers.text("Record-Route").unwrap().to_owned();
    (alice, bob, route)
}

/// Alice sends BYE and Bob answers it.
async fn hang_up(alice: &Party, bob: &Party, route: &str) {
    let lines = format!("Route: {route}\r\n");
    alice.request("BYE", &format!("sip:bob@{}", bob.address()), ";tag=b", &lines).await;
    let bye = loop {
        match bob.next().await {
            Message::Request(request) if *request.method() == Method::Bye => break request,
            _ => {}
        }
    };
    bob.answer(&bye, StatusCode::OK).await;
    loop {
        if let Message::Response(response) = alice.next().await
            && response.headers.text("CSeq") == Some("1 BYE")
        {
            return assert_eq!(response.status(), StatusCode::OK);
        }
    }
}

async fn get(at: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sip-server-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn lines(path: &PathBuf) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn records_of_calls_are_on_disk_when_the_server_is_closed() {
    let folder = folder("records");
    let path = folder.join("calls.jsonl");
    let server = server(Some(&path)).await;
    let (alice, bob, route) = call(&server).await;
    hang_up(&alice, &bob, &route).await;
    // A call that is up when the server ends.
    let (_alice, _bob, _) = call(&server).await;
    server.close().await;
    let endings: Vec<_> =
        lines(&path).iter().map(|line| line["ending"].as_str().unwrap().to_owned()).collect();
    assert_eq!(endings, ["caller", "shutdown"]);
    assert_eq!(lines(&path)[0]["call_id"], "c");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_record_file_that_was_moved_away_is_made_anew_and_whole_lines_are_written() {
    let folder = folder("rotation");
    let (path, moved) = (folder.join("calls.jsonl"), folder.join("calls.1"));
    let server = server(Some(&path)).await;
    let alice = Party::at(&server).await;
    for round in 0..2 {
        alice.request("INVITE", &format!("sip:nobody{round}@example.com"), "", "").await;
        assert_eq!(alice.decisive().await.as_response().unwrap().status(), StatusCode::NOT_FOUND);
        alice.request("ACK", &format!("sip:nobody{round}@example.com"), ";tag=x", "").await;
        let written = async {
            while lines(&path).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, written).await.unwrap();
        if round == 0 {
            std::fs::rename(&path, &moved).unwrap();
        }
        // The same branch again would be a retransmission.
        tokio::time::timeout(PATIENCE, server.handle().drain(PATIENCE)).await.unwrap();
        server.handle().set_draining(false);
    }
    server.close().await;
    assert_eq!((lines(&path).len(), lines(&moved).len()), (1, 1));
    let error = CallRecordFile::open(folder.join("no/such/folder")).unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn metrics_and_health_are_told_by_http() {
    let folder = folder("metrics");
    let server = server(Some(&folder.join("calls.jsonl"))).await;
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = endpoint.address().unwrap();
    let serving = tokio::spawn(endpoint.serve(server.handle()));
    let (alice, bob, route) = call(&server).await;
    let (status, metrics) = get(at, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "sip_requests_received_total{method=\"INVITE\"} 1",
        "sip_registrations_active 1",
        "sip_dialogs_active 1",
        "sip_calls_total{code=\"200\"} 1",
        "sip_answer_delay_seconds_count 1",
        "# TYPE sip_pdd_seconds histogram",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
    hang_up(&alice, &bob, &route).await;
    assert!(get(at, "/metrics").await.1.contains("\nsip_dialogs_active 0\n"));
    assert_eq!(get(at, "/healthz").await.0, 200);
    assert_eq!(get(at, "/readyz").await, (200, "ready\n".to_owned()));
    server.handle().set_draining(true);
    assert_eq!(get(at, "/readyz").await.0, 503);
    assert_eq!(get(at, "/elsewhere").await.0, 404);
    serving.abort();
    server.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// New requests are refused with 503 and Retry-After, what is under way is finished.
#[tokio::test]
async fn a_server_that_drains_takes_nothing_new_and_finishes_what_there_is() {
    let server = server(None).await;
    let (alice, bob, route) = call(&server).await;
    let handle = server.handle();
    handle.set_draining(true);
    let stranger = Party::at(&server).await;
    stranger.request("OPTIONS", "sip:example.com", "", "").await;
    let refused = stranger.next().await;
    let refused = refused.as_response().unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains("Retry-After"));
    // The call that is up is ended through it.
    hang_up(&alice, &bob, &route).await;
    assert!(handle.drain(PATIENCE).await, "all was done");
    assert_eq!(handle.counts().live_transactions, 0);
    server.close().await;
}
