//! A server with a location file, over loopback sockets and on a disk that can be full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sip_message::{Limits, Message, Method, Response};
use sip_server::location::disk::{Disk, Medium, RealDisk};
use sip_server::location::{Flush, JournalError};
use sip_server::{BuildError, Server};
use tokio::net::UdpSocket;

const PATIENCE: Duration = Duration::from_secs(20);

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("location")
}

struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    sent: u32,
}

impl Phone {
    async fn new(server: &Server) -> Phone {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = server.locals().iter().next().unwrap().bound;
        Phone { socket, server, sent: 0 }
    }

    async fn message(&self) -> Message {
        let mut buffer = vec![0; 65_536];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await;
        let (len, _) = received.unwrap().unwrap();
        Message::parse(buffer[..len].to_vec().into(), &Limits::default()).unwrap()
    }

    async fn send(&mut self, method: &str, uri: &str, user: &str, extra: &str) {
        self.sent += 1;
        let (number, here) = (self.sent, self.socket.local_addr().unwrap());
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\nCall-ID: {user}\r\n\
             CSeq: {number} {method}\r\n{extra}Content-Length: 0\r\n\r\n"
        );
        self.socket.send_to(text.as_bytes(), self.server).await.unwrap();
    }

    async fn register(&mut self, user: &str) -> Response {
        let here = self.socket.local_addr().unwrap();
        self.send("REGISTER", "sip:example.com", user, &format!("Contact: <sip:{user}@{here}>\r\n")).await;
        let Message::Response(response) = self.message().await else { panic!("a response") };
        response
    }

    /// A MESSAGE to the user, which reaches this phone by its binding.
    async fn is_reached_as(&mut self, user: &str) {
        self.send("MESSAGE", &format!("sip:{user}@example.com"), "caller", "").await;
        let Message::Request(request) = self.message().await else { panic!("a request") };
        assert_eq!((request.method(), request.uri().unwrap().user()), (&Method::Message, Some(user)));
    }
}

async fn start(path: &Path, flush: Flush) -> Server {
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
    builder.location_file(path, flush).build().await.unwrap()
}

#[tokio::test]
async fn bindings_are_there_after_a_restart() {
    for flush in [Flush::BeforeAnswer, Flush::Within(Duration::from_secs(60))] {
        let path = file("restart");
        let server = start(&path, flush).await;
        let mut phone = Phone::new(&server).await;
        assert_eq!(phone.register("bob").await.status().code(), 200);
        phone.is_reached_as("bob").await;
        let second = Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
        let error = second.location_file(&path, flush).build().await.unwrap_err();
        assert!(matches!(error, BuildError::Location(JournalError::InUse(_))), "{error}");
        server.close().await;
        let server = start(&path, flush).await;
        assert_eq!(server.handle().counts().bindings, 1);
        phone.server = server.locals().iter().next().unwrap().bound;
        phone.is_reached_as("bob").await;
        server.close().await;
    }
}

#[derive(Clone, Default)]
struct FullAtTimes(Arc<AtomicBool>);

struct FileOnIt(Box<dyn Medium>, Arc<AtomicBool>);

impl Disk for FullAtTimes {
    fn open(&self, path: &Path, new: bool) -> io::Result<Box<dyn Medium>> {
        Ok(Box::new(FileOnIt(RealDisk.open(path, new)?, self.0.clone())))
    }
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.replace(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

impl Medium for FileOnIt {
    fn read_at(&mut self, octets: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(octets, at)
    }
    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            // As much as there is room for.
            self.0.write_at(&octets[..octets.len() / 3], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(octets, at)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.cut(length)
    }
}

/// R39: no false 200 while the disk is full, calls go on, and no restart is needed when there is room again.
#[tokio::test]
async fn a_full_disk_refuses_registrations_and_nothing_else() {
    let (path, disk) = (file("full"), FullAtTimes::default());
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
    let server = builder.location_file_on(disk.clone(), &path, Flush::BeforeAnswer).build().await.unwrap();
    let mut phone = Phone::new(&server).await;
    assert_eq!(phone.register("bob").await.status().code(), 200);
    disk.0.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = phone.register("carol").await;
        assert_eq!(refused.status().code(), 503);
        assert!(refused.headers.contains("Retry-After"));
    }
    phone.is_reached_as("bob").await;
    let answer = phone.message_after_options().await;
    assert_eq!(answer.status().code(), 200);
    disk.0.store(false, Ordering::SeqCst);
    assert_eq!(phone.register("carol").await.status().code(), 200);
    server.close().await;
    let server = start(&path, Flush::BeforeAnswer).await;
    assert_eq!(server.handle().counts().bindings, 2);
    server.close().await;
}

impl Phone {
    /// An OPTIONS to the server itself. What is repeated to the phone meanwhile is passed over.
    async fn message_after_options(&mut self) -> Response {
        self.send("OPTIONS", "sip:example.com", "caller", "").await;
        loop {
            if let Message::Response(response) = self.message().await
                && response.status().code() != 100
            {
                return response;
            }
        }
    }
}

/// Calls go on over a restart, since what is written into Record-Route is made with the same key again
/// (`a_server_that_was_started_anew_knows_the_dialogs_of_the_one_before` in `proxy.rs`).
#[tokio::test]
async fn the_key_of_dialogs_is_kept_beside_the_file() {
    let path = file("key");
    let key_file = PathBuf::from(format!("{}.key", path.display()));
    start(&path, Flush::BeforeAnswer).await.close().await;
    let key = std::fs::read(&key_file).unwrap();
    assert!(key.len() == 32 && key != [0; 32]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    start(&path, Flush::BeforeAnswer).await.close().await;
    assert_eq!(std::fs::read(&key_file).unwrap(), key);
    std::fs::write(&key_file, b"short").unwrap();
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
    let error = builder.location_file(&path, Flush::BeforeAnswer).build().await.unwrap_err();
    assert!(error.to_string().contains("remove the file to get a new one"), "{error}");
}
