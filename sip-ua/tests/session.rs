//! Sessions of messages and files between two phones over loopback sockets, through a server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use msrp::file::{FileError, FileSelector, Sha1Hash};
use msrp::tokio::{Endpoint, Options, Pending};
use msrp::{Message, Path};
use sdp::sdp_types::Attribute;
use sdp::{Direction, LocalMedia, LocalStream, MediaKind, Negotiated};
use sip_message::StatusCode;
use sip_server::{Server, Users};
use sip_ua::{
    CallError, FileToSend, IncomingCall, IncomingChat, MediaEngine, MediaFuture, MediaPlace, MediaSession,
    Phone, SessionError,
};
use tokio::sync::{Notify, oneshot};

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// Alice and Bob, registered at a server.
struct World {
    alice: Phone,
    bob: Phone,
    to_bob: String,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let users = Users::parse("alice:secret\nbob:secret\n").unwrap();
        let server = Server::builder().listen("udp:127.0.0.1:0").domain("127.0.0.1").users(users);
        let server = server.build().await.unwrap();
        let at = server.locals().iter().next().unwrap().bound;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let _ = server.run_until(stopped).await;
        });
        let (alice, bob) = (Self::phone("alice", at).await, Self::phone("bob", at).await);
        Self { alice, bob, to_bob: format!("sip:bob@{at}"), stop, serving }
    }

    async fn phone(user: &str, at: SocketAddr) -> Phone {
        let builder = Phone::builder(&format!("sip:{user}@{at}")).password("secret");
        let phone = builder.listen("udp:127.0.0.1:0").bind().await.unwrap();
        patient("registering", phone.register()).await.unwrap();
        phone
    }

    async fn invited(&self) -> IncomingCall {
        patient("the INVITE", self.bob.incoming()).await.unwrap()
    }

    async fn chat(&self) -> IncomingChat {
        self.invited().await.into_chat().unwrap()
    }

    async fn end(self) {
        self.alice.close().await;
        self.bob.close().await;
        drop(self.stop);
        self.serving.await.unwrap();
    }
}

/// RFC 4975 §4: the session is agreed on by INVITE, texts of any length go both ways, and BYE ends it for both.
#[tokio::test]
async fn texts_both_ways() {
    let world = World::new().await;
    let accepted = async { world.chat().await.accept().await };
    let (alice, bob) =
        patient("the session", async { tokio::join!(world.alice.chat_session(&world.to_bob), accepted) })
            .await;
    let (mut alice, mut bob) = (alice.unwrap(), bob.unwrap());
    assert_eq!(bob.remote().uri().user(), Some("alice"));
    let long = "ä long text ☕ ".repeat(20_000);
    patient("sending", alice.send("hello")).await.unwrap();
    patient("sending", alice.send(&long)).await.unwrap();
    assert_eq!(patient("a text", bob.next()).await.as_deref(), Some("hello"));
    assert_eq!(patient("a text", bob.next()).await, Some(long));
    patient("sending", bob.send("and back")).await.unwrap();
    patient("sending", bob.send("bye")).await.unwrap();
    patient("the end", bob.close()).await;
    for expected in [Some("and back"), Some("bye"), None] {
        assert_eq!(patient("a text", alice.next()).await.as_deref(), expected);
    }
    assert!(patient("sending", alice.send("too late")).await.is_err());
    drop(alice);
    world.end().await;
}

/// RFC 5547 §8: a file with its name, size and hash, and how far it is; what is too large is not taken.
#[tokio::test]
async fn files() {
    let world = World::new().await;
    let octets: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let file = || FileToSend::new("a picture.png", octets.clone()).media_type("image/png");
    let mut progress = Vec::new();
    let sending = world.alice.send_file(&world.to_bob, file(), |octets| progress.push(octets));
    let receiving = async {
        let chat = world.chat().await;
        let described = chat.file().unwrap();
        assert_eq!((described.safe_name(), described.size), (Some("a picture.png"), Some(300_000)));
        let mut saved = Vec::new();
        let save = |piece: &[u8]| {
            saved.extend_from_slice(piece);
            Ok(())
        };
        let length = chat.receive(1_000_000).await.unwrap().save(save).await.unwrap();
        (length, saved)
    };
    let (sent, (length, saved)) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    sent.unwrap();
    assert_eq!(length, 300_000);
    assert!(saved == octets);
    assert!(progress.is_sorted() && progress.last() == Some(&300_000), "{progress:?}");

    let sending = world.alice.send_file(&world.to_bob, file(), |_| {});
    let receiving = async { world.chat().await.receive(1000).await.map(drop) };
    let (sent, received) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    assert!(matches!(received, Err(SessionError::File(FileError::TooLarge(1000)))), "{received:?}");
    let refused = |sent: &Result<(), SessionError>| {
        matches!(sent, Err(SessionError::Call(CallError::Rejected { status: StatusCode::DECLINE, .. })))
    };
    assert!(refused(&sent), "{sent:?}");

    let sending = world.alice.send_file(&world.to_bob, file(), |_| {});
    let refusing = async { world.chat().await.reject(StatusCode::DECLINE).unwrap() };
    let (sent, ()) = patient("the refusal", async { tokio::join!(sending, refusing) }).await;
    assert!(refused(&sent), "{sent:?}");
    world.end().await;
}

/// A call is no chat, and a chat no call: who answers one with sound refuses it (488).
#[tokio::test]
async fn calls_are_something_else() {
    let world = World::new().await;
    let calling = patient("calling", world.alice.call(&world.to_bob)).await.unwrap();
    let call = world.invited().await.into_chat().unwrap_err();
    call.reject(StatusCode::BUSY_HERE).unwrap();
    assert!(patient("the refusal", calling.answered()).await.is_err());
    let answering = async { world.invited().await.answer().await.map(drop) };
    let (asked, answered) =
        patient("the refusal", async { tokio::join!(world.alice.chat_session(&world.to_bob), answering) })
            .await;
    assert!(matches!(answered, Err(CallError::BadMedia)), "{answered:?}");
    let status = match asked {
        Err(SessionError::Call(error)) => error.status(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status, Some(StatusCode::NOT_ACCEPTABLE_HERE));
    world.end().await;
}

/// Media that describe another file than the one that is sent in their session.
#[derive(Debug)]
struct Liar {
    endpoint: Endpoint,
    selector: FileSelector,
    opened: Mutex<Option<Pending>>,
    agreed: Mutex<Option<(Pending, Path)>>,
    changed: Notify,
}

#[derive(Debug)]
struct Lying(Arc<Liar>);

impl MediaEngine for Lying {
    fn open(&self, _: MediaPlace) -> MediaFuture<'_, std::io::Result<Arc<dyn MediaSession>>> {
        let session: Arc<dyn MediaSession> = Arc::new(Lies(Arc::clone(&self.0)));
        Box::pin(std::future::ready(Ok(session)))
    }
}

#[derive(Debug)]
struct Lies(Arc<Liar>);

impl MediaSession for Lies {
    fn describe(&self) -> LocalMedia {
        let pending = self.0.endpoint.open().unwrap();
        let attributes = [
            ("path", pending.uri().to_string()),
            ("accept-types", "image/png".into()),
            ("setup", "active".into()),
            ("file-selector", self.0.selector.to_string()),
            ("file-transfer-id", "1".into()),
        ];
        *self.0.opened.lock().unwrap() = Some(pending);
        let attributes =
            attributes.map(|(name, value)| Attribute { attribute: name.into(), value: Some(value) });
        let stream =
            LocalStream::other(MediaKind::Message, self.0.endpoint.address().unwrap(), "TCP/MSRP", ["*"]);
        let stream = stream.with_direction(Direction::SendOnly);
        LocalMedia::new([stream.with_options(|options| options.attributes = attributes.into())])
    }

    fn apply(&self, agreed: &Negotiated) {
        let path = agreed.streams[0].peer().unwrap().attribute("path").unwrap().parse().unwrap();
        let opened = self.0.opened.lock().unwrap().take();
        *self.0.agreed.lock().unwrap() = opened.map(|pending| (pending, path));
        self.0.changed.notify_one();
    }

    fn close(&self) {}
}

/// RFC 5547 §8.3.2: a file that is not the one described is no file.
#[tokio::test]
async fn a_file_that_is_another() {
    let endpoint = Endpoint::bind(Options::new("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let selector = FileSelector {
        name: Some("../../picture.png".into()),
        media_type: Some("image/png".into()),
        size: Some(4),
        hash: Some(Sha1Hash::of(b"good")),
    };
    let (opened, agreed) = (Mutex::default(), Mutex::default());
    let liar = Arc::new(Liar { endpoint, selector, opened, agreed, changed: Notify::new() });
    let builder = Phone::builder("sip:mallory@example.com").listen("udp:127.0.0.1:0");
    let mallory = builder.media_engine(Arc::new(Lying(Arc::clone(&liar)))).bind().await.unwrap();
    let bob = Phone::builder("sip:bob@example.com").listen("udp:127.0.0.1:0").bind().await.unwrap();
    let to = format!("sip:bob@{}", bob.locals().iter().next().unwrap().bound);
    let calling = patient("calling", mallory.call(&to)).await.unwrap();
    let receiving = async {
        let chat = bob.incoming().await.unwrap().into_chat().unwrap();
        assert_eq!(chat.file().unwrap().safe_name(), Some("picture.png"));
        chat.receive(1000).await.unwrap().save(|_| Ok(())).await
    };
    let lying = async {
        let _call = calling.answered().await.unwrap();
        liar.changed.notified().await;
        let (pending, path) = liar.agreed.lock().unwrap().take().unwrap();
        let session = pending.connect(path).await.unwrap();
        session.send(Message::new("image/png", "evil")).await.unwrap().accepted().await.unwrap();
        (_call, session)
    };
    let (received, _held) = patient("the file", async { tokio::join!(receiving, lying) }).await;
    assert!(matches!(received, Err(SessionError::File(FileError::Hash))), "{received:?}");
    mallory.close().await;
    bob.close().await;
}

/// A file of these octets that goes with the test.
struct OnDisk(std::path::PathBuf);

impl OnDisk {
    fn new(name: &str, octets: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("sip-ua-{}-{name}", std::process::id()));
        std::fs::write(&path, octets).unwrap();
        Self(path)
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// RFC 5547 §6, §8.3.1: a transfer that breaks off goes on where it was, from disk; the hash is that of the whole. Who does not have what
/// comes before refuses, and so is the rest of another file.
#[tokio::test]
async fn rfc_5547_6_the_rest_of_a_file_from_disk() {
    let world = World::new().await;
    let octets: Vec<u8> =
        (0..2_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let disk = OnDisk::new("whole.bin", &octets);
    let limit = 10_000_000;

    // The first time the receiver's disk is full after a while.
    let mut saved = Vec::new();
    let sending = world.alice.send_file(&world.to_bob, FileToSend::at(&disk.0), |_| {});
    let receiving = async {
        let save = |piece: &[u8]| {
            if saved.len() > 500_000 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            saved.extend_from_slice(piece);
            Ok(())
        };
        world.chat().await.receive(limit).await.unwrap().save(save).await
    };
    let (sent, received) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    assert!(sent.is_err() && matches!(received, Err(SessionError::Write(_))), "{sent:?} {received:?}");
    let have = saved.len();
    assert!(have > 500_000 && have < octets.len());

    // Of the rest the file is written behind what is there.
    let rest = FileToSend::at(&disk.0).after(have as u64);
    let mut progress = Vec::new();
    let sending = world.alice.send_file(&world.to_bob, rest, |octets| progress.push(octets));
    let before = saved.clone();
    let receiving = async {
        let chat = world.chat().await;
        assert_eq!(chat.range().unwrap().start, have as u64 + 1);
        assert_eq!(chat.file().unwrap().size, Some(2_000_000));
        let save = |piece: &[u8]| {
            saved.extend_from_slice(piece);
            Ok(())
        };
        chat.receive_rest(limit, before.as_slice()).await.unwrap().save(save).await
    };
    let (sent, received) = patient("the rest", async { tokio::join!(sending, receiving) }).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), 2_000_000);
    assert!(saved == octets);
    assert!(progress[0] > have as u64 && progress.last() == Some(&2_000_000), "{progress:?}");

    // Who has less, or takes whole files alone, refuses.
    for take_rest in [true, false] {
        let rest = FileToSend::at(&disk.0).after(have as u64);
        let sending = world.alice.send_file(&world.to_bob, rest, |_| {});
        let receiving = async {
            let chat = world.chat().await;
            match take_rest {
                true => chat.receive_rest(limit, &before[..have - 1]).await.map(drop),
                false => chat.receive(limit).await.map(drop),
            }
        };
        let (sent, received) = patient("the refusal", async { tokio::join!(sending, receiving) }).await;
        assert!(matches!(received, Err(SessionError::Range)), "{received:?}");
        assert!(
            matches!(sent, Err(SessionError::Call(CallError::Rejected { status: StatusCode::DECLINE, .. }))),
            "{sent:?}"
        );
    }

    // What is there is the beginning of another file.
    let mut other = before.clone();
    other[0] ^= 1;
    let sending = world.alice.send_file(&world.to_bob, FileToSend::at(&disk.0).after(have as u64), |_| {});
    let receiving = async {
        world.chat().await.receive_rest(limit, other.as_slice()).await.unwrap().save(|_| Ok(())).await
    };
    let (_, received) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    assert!(matches!(received, Err(SessionError::File(FileError::Hash))), "{received:?}");

    // Nobody is called for a file that is not there, or too short.
    let nothing = world.alice.send_file(&world.to_bob, FileToSend::at("/nowhere/at/all"), |_| {}).await;
    assert!(matches!(nothing, Err(SessionError::Read(_))), "{nothing:?}");
    let short = FileToSend::at(&disk.0).after(2_000_001);
    assert!(matches!(world.alice.send_file(&world.to_bob, short, |_| {}).await, Err(SessionError::Read(_))));
    world.end().await;
}

/// RFC 5547 §8.2.2, §8.3.2: who wants a file asks for it by what it knows of it; it is sent, or refused; of one that broke off the rest.
#[tokio::test]
async fn rfc_5547_8_2_2_files_that_the_receiver_asks_for() {
    let world = World::new().await;
    let octets: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let file = || FileToSend::new("minutes.txt", octets.clone()).media_type("text/plain");
    let named = FileSelector { name: Some("minutes.txt".into()), ..FileSelector::default() };
    let sending = async {
        let chat = world.chat().await;
        assert!(chat.file().is_none(), "none is to come");
        assert_eq!(chat.wanted().unwrap().safe_name(), Some("minutes.txt"));
        chat.send(file(), |_| {}).await
    };
    let mut saved = Vec::new();
    let receiving = async {
        let coming = world.alice.request_file(&world.to_bob, &named, 1_000_000).await.unwrap();
        assert_eq!(coming.selector().hash, Some(Sha1Hash::of(&octets)));
        coming
            .save(|piece| {
                saved.extend_from_slice(piece);
                Ok(())
            })
            .await
    };
    let (sent, received) = patient("the file", async { tokio::join!(sending, receiving) }).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), 300_000);
    assert!(saved == octets);

    // The rest, by its hash alone.
    let hashed = FileSelector { hash: Some(Sha1Hash::of(&octets)), ..FileSelector::default() };
    let mut progress = Vec::new();
    let sending = async { world.chat().await.send(file(), |octets| progress.push(octets)).await };
    let mut rest = Vec::new();
    let receiving = async {
        let have = &octets[..200_000];
        let coming =
            world.alice.request_rest(&world.to_bob, &hashed, 1_000_000, 200_000, have).await.unwrap();
        coming
            .save(|piece| {
                rest.extend_from_slice(piece);
                Ok(())
            })
            .await
    };
    let (sent, received) = patient("the rest", async { tokio::join!(sending, receiving) }).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), 300_000);
    assert!(rest == octets[200_000..]);
    assert!(progress.first().is_some_and(|&first| first > 200_000), "{progress:?}");

    // There is none; another one; one that is too large.
    let refused = |result: &Result<_, SessionError>, wanted: StatusCode| matches!(result, Err(SessionError::Call(CallError::Rejected { status, .. })) if *status == wanted);
    let refusing = async { world.chat().await.reject(StatusCode::NOT_FOUND).unwrap() };
    let asking = world.alice.request_file(&world.to_bob, &named, 1_000_000);
    let (asked, ()) = patient("the refusal", async { tokio::join!(asking, refusing) }).await;
    assert!(refused(&asked.map(drop), StatusCode::NOT_FOUND));
    let other = async { world.chat().await.send(FileToSend::new("minutes.txt", "other"), |_| {}).await };
    let asking = world.alice.request_file(&world.to_bob, &hashed, 1_000_000);
    let (asked, sent) = patient("the refusal", async { tokio::join!(asking, other) }).await;
    assert!(matches!(sent, Err(SessionError::OtherFile)), "{sent:?}");
    assert!(refused(&asked.map(drop), StatusCode::NOT_ACCEPTABLE_HERE));
    let sending = async { world.chat().await.send(file(), |_| {}).await };
    let asking = world.alice.request_file(&world.to_bob, &named, 1_000);
    let (asked, sent) = patient("the refusal", async { tokio::join!(asking, sending) }).await;
    assert!(matches!(asked, Err(SessionError::File(FileError::TooLarge(1_000)))), "{asked:?}");
    assert!(sent.is_err());
    // Nobody asks for nothing at all.
    let nothing = world.alice.request_file(&world.to_bob, &FileSelector::default(), 1_000).await;
    assert!(matches!(nothing, Err(SessionError::NotDescribed)), "{nothing:?}");
    world.end().await;
}
