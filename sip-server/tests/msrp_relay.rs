//! The relay of session messages beside a server, over loopback sockets (RFC 4976).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use msrp::auth::{Account, AuthError};
use msrp::tokio::tls::{Tls, Trust};
use msrp::tokio::{ConnectError, Endpoint, Options, Pending};
use msrp::{Event, Message, Uri};
use sip_auth::{Hash, HexDigest, Secret};
use sip_server::settings::Settings;
use sip_server::{MsrpIdentity, MsrpRelay, Server, Users};

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it takes too long")
}

/// A certificate for 127.0.0.1 in PEM, its key, and the same certificate in DER.
fn certificate() -> (String, String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().to_vec())
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sip-msrp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn identity(folder: &Folder) -> (MsrpIdentity, Vec<u8>) {
    let (certificate, key, authority) = certificate();
    let file = folder.write("both.pem", &format!("{certificate}{key}"));
    (MsrpIdentity::from_pem_files(&file, &file).unwrap(), authority)
}

/// A client that is to be behind the relay.
async fn client(
    relay: SocketAddr,
    authority: &[u8],
    name: &str,
    password: &str,
) -> Result<Pending, ConnectError> {
    let tls = Tls::new(None, &Trust::Authorities(vec![authority.to_vec()])).unwrap();
    let endpoint = Endpoint::bind(Options::active_only().tls(tls)).await.unwrap();
    let mut pending = endpoint.open().unwrap();
    let uri: Uri = format!("msrps://127.0.0.1:{};tcp", relay.port()).parse().unwrap();
    patient(pending.authenticate(&[(uri, Account::new(name, password))])).await?;
    Ok(pending)
}

/// A text from one to the other through the relay.
async fn talk(alice: Pending, bob: Pending) {
    let path = bob.path().unwrap();
    let (alice, bob) = patient(async { tokio::join!(alice.connect(path), bob.accept()) }).await;
    let (alice, mut bob) = (alice.unwrap(), bob.unwrap());
    alice.send(Message::text("hello")).await.unwrap();
    loop {
        if let Event::Message(message) = patient(bob.next()).await.unwrap() {
            assert_eq!(message.text(), Some("hello"));
            return;
        }
    }
}

/// Users are those of the server, with their password or what is kept in its place for the server's realm.
#[tokio::test]
async fn users_of_the_server_talk_through_its_relay_and_nobody_else() {
    let folder = Folder::new("users");
    let (identity, authority) = identity(&folder);
    let ha1 = Hash::Md5.digest(&[b"bob", b"example.com", b"builder"]);
    let users = Users::new()
        .with("alice", Secret::password("wonderland"))
        .with("bob", Secret::ha1(Hash::Md5, HexDigest::parse(Hash::Md5, ha1.as_str()).unwrap()));
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com").users(users);
    let relay = MsrpRelay::new("127.0.0.1:0".parse().unwrap(), identity).host("127.0.0.1");
    let server = builder.msrp_relay(relay).build().await.unwrap();
    let at = server.msrp_relay().unwrap();
    let alice = client(at, &authority, "alice", "wonderland").await.unwrap();
    let bob = client(at, &authority, "bob", "builder").await.unwrap();
    talk(alice, bob).await;
    for (name, password) in [("alice", "guess"), ("mallory", "wonderland")] {
        let refused = client(at, &authority, name, password).await;
        assert!(matches!(refused, Err(ConnectError::Auth(AuthError::Credentials))), "{refused:?}");
    }
    let counts = server.handle().snapshot().msrp_relay.unwrap();
    assert_eq!((counts.granted, counts.wrong_credentials), (2, 2));
    assert!(counts.forwarded > 0 && counts.octets >= 5, "{counts:?}");
    assert_eq!(server.handle().counts().server.wrong_credentials, 2);
    let handle = server.handle();
    server.close().await;
    assert!(handle.snapshot().msrp_relay.is_none(), "it ends with the server, whoever still looks");
    assert!(client(at, &authority, "alice", "wonderland").await.is_err());
}

fn settings(certificate: &FilePath, key: &FilePath) -> String {
    format!(
        "listen = [\"udp:127.0.0.1:0\"]\ndomains = [\"127.0.0.1\"]\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\
         [msrp]\nrelay = \"127.0.0.1:0\"\n[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
         [[user]]\nname = \"bob\"\npassword = \"builder\"\n"
    )
}

/// The relay of a file of settings: another password and another certificate hold after a reload, and sessions go on.
#[tokio::test]
async fn the_relay_of_settings_takes_new_certificates_and_passwords_without_a_new_start() {
    let folder = Folder::new("settings");
    let (old_pem, old_key, old) = certificate();
    let (certificate_file, key_file) =
        (folder.write("cert.pem", &old_pem), folder.write("key.pem", &old_key));
    let text = settings(&certificate_file, &key_file);
    let file = folder.write("server.toml", &text);
    let server = Server::from_settings(&Settings::read(&file).unwrap()).unwrap().build().await.unwrap();
    let at = server.msrp_relay().unwrap();
    let alice = client(at, &old, "alice", "wonderland").await.unwrap();
    let bob = client(at, &old, "bob", "builder").await.unwrap();

    let (new_pem, new_key, new) = certificate();
    folder.write("cert.pem", &new_pem);
    folder.write("key.pem", &new_key);
    folder.write("server.toml", &text.replace("builder", "architect"));
    assert_eq!(server.handle().reload(Settings::read(&file).unwrap()).unwrap(), Vec::<&str>::new());
    talk(alice, bob).await;
    assert!(matches!(client(at, &old, "bob", "architect").await, Err(ConnectError::Connect(_))));
    assert!(matches!(client(at, &new, "bob", "builder").await, Err(ConnectError::Auth(_))));
    client(at, &new, "bob", "architect").await.unwrap();

    folder.write("server.toml", &text.replace("[msrp]", "[msrp]\nconnections = 5"));
    assert_eq!(server.handle().reload(Settings::read(&file).unwrap()).unwrap(), ["msrp"]);
    server.close().await;
}

/// A client behind a WebSocket, as a page in a browser is (RFC 7977), and a phone with a relay of the usual kind.
#[tokio::test]
async fn users_behind_websockets_talk_through_the_relay_of_settings() {
    let folder = Folder::new("websockets");
    let (pem, key, authority) = certificate();
    let text = settings(&folder.write("cert.pem", &pem), &folder.write("key.pem", &key));
    let text = text.replace("[msrp]", "[msrp]\nwebsockets = \"127.0.0.1:0\"");
    let server = Server::from_settings(&Settings::parse(&text).unwrap()).unwrap().build().await.unwrap();
    let bob = client(server.msrp_relay().unwrap(), &authority, "bob", "builder").await.unwrap();
    let tls = Tls::new(None, &Trust::Authorities(vec![authority])).unwrap();
    let endpoint = Endpoint::bind(Options::active_only().tls(tls)).await.unwrap();
    let mut alice = endpoint.open().unwrap();
    let at = server.msrp_websockets().unwrap();
    let uri: Uri = format!("msrps://alice@127.0.0.1:{};ws", at.port()).parse().unwrap();
    let account = Account::new("alice", "wonderland");
    patient(alice.authenticate(&[(uri, account)])).await.unwrap();
    assert!(alice.uri().is_websocket());
    talk(alice, bob).await;
    server.close().await;
}

#[test]
fn what_the_relay_needs_is_told_with_its_place() {
    let faults = |text: &str| Settings::parse(text).unwrap_err().to_string();
    let well = "domains = [\"example.com\"]\n[[user]]\nname = \"a\"\npassword = \"b\"\n";
    let text = faults(&format!("{well}[msrp]\nrelay = \"nowhere\"\nhost = \"a b\"\nexpires = 5\n"));
    for expected in [
        "6:9: msrp.relay needs a certificate",
        "6:9: msrp.relay: expected an ADDRESS:PORT",
        "7:8: \"a b\" is no host name or address",
        "8:11: expires: expected 60 to 86400",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let alone = faults("domains = [\"example.com\"]\n[msrp]\nwebsockets = \"there\"\n");
    for expected in
        ["3:14: msrp.websockets is another way to the relay", "3:14: msrp.websockets: expected an ADDRESS"]
    {
        assert!(alone.contains(expected), "{alone}");
    }
    let open = "authentication = false\ndomains = [\"example.com\"]\n[msrp]\nrelay = \"127.0.0.1:2855\"\n";
    assert!(
        faults(open).contains("4:9: msrp.relay serves users who prove who they are alone"),
        "{}",
        faults(open)
    );
    let stored =
        "users_database = \"users.db\"\ndomains = [\"example.com\"]\n[msrp]\nrelay = \"127.0.0.1:2855\"\n";
    assert!(faults(stored).contains("4:9: msrp.relay knows the users of [[user]]"), "{}", faults(stored));
}
