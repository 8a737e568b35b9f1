//! Certificates in place of passwords: users of ours by the addresses in theirs, trunks by their name (RFC 5922).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use sip_auth::{Attempts, Authenticator, Secret};
use sip_message::headers::{CSeq, CallId, Contact, From, PAssertedIdentity, To};
use sip_message::{Limits, Method, Request};
use sip_server::settings::Settings;
use sip_server::{Server, Users};
use sip_transaction::Target;
use sip_transaction::tokio::Endpoint;
use sip_transport::identity::Identities;
use sip_transport::tokio::tls::{Identity, Roots, Tls, TlsOptions};
use sip_transport::{CloseReason, Core, FlowEvent, FlowId, Local, Locals, Path, Transport};
use world::{ALICE, BOB, Sent, World, names, only};

fn with_tls(change: impl FnOnce(&mut sip_server::Config)) -> World {
    World::with(|config| {
        let tls = Local::new(Transport::Tls, world::SERVER.parse().unwrap());
        config.locals = Locals::new(world::locals().iter().cloned().chain([tls]).collect());
        change(config);
    })
}

fn with_users() -> World {
    let mut world = with_tls(|config| {
        config.users = Some(Users::parse("bob:builder\n").unwrap().with_certificate("alice"));
    });
    // Bob's phone is there.
    let lines = "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12:5060>\r\n";
    let text = world.request(BOB, "REGISTER", "sip:example.com", lines);
    let challenged = world.udp(BOB, text);
    let again = with_password(&mut world, BOB, ("REGISTER", "sip:example.com", lines), &challenged[0]);
    assert_eq!(names(&world.udp(BOB, again)), ["200"]);
    world
}

/// The request of somebody with bob's password, after this challenge.
fn with_password(
    world: &mut World,
    source: &str,
    (method, uri, lines): (&str, &str, &str),
    to: &Sent,
) -> String {
    let again = world.request(source, method, uri, lines);
    let mut again = Request::parse(again.into(), &Limits::default()).unwrap();
    let mut phone = Authenticator::default();
    phone.add_account(None, "bob", Secret::password("builder"));
    phone.answer(&mut again, to.response(), &mut Attempts::default(), "c").unwrap();
    again.to_string()
}

fn connection(source: &str, flow: u64) -> Path {
    Path {
        local: world::SERVER.parse().unwrap(),
        flow: Some(FlowId(flow)),
        ..Path::to(Transport::Tls, source.parse().unwrap())
    }
}

/// A connection whose peer has shown a certificate for these.
fn shows(world: &mut World, source: &str, flow: u64, peer: Identities) {
    let event = FlowEvent::Proven { path: connection(source, flow), peer: Arc::new(peer) };
    world.core.flow_event(world.now, event);
}

fn users(all: &[&str]) -> Identities {
    Identities::of_users(all.iter().map(|uri| uri.parse().unwrap()).collect())
}

fn tls(world: &mut World, method: &str, uri: &str, lines: &str) -> Vec<Sent> {
    let text = world.request(ALICE, method, uri, lines).replacen("/UDP", "/TLS", 1);
    world.arrives(Transport::Tls, ALICE, 7, text)
}

fn register(world: &mut World, user: &str) -> String {
    let lines = format!(
        "From: <sip:{user}@example.com>;tag=r\r\nTo: <sip:{user}@example.com>\r\nContact: <sip:a@192.0.2.11:5060;transport=tls>\r\n"
    );
    let sent = tls(world, "REGISTER", "sip:example.com", &lines);
    assert_eq!(sent.len(), 1);
    sent[0].name()
}

fn invite(world: &mut World, from: &str, uri: &str) -> Vec<Sent> {
    tls(
        world,
        "INVITE",
        uri,
        &format!("From: {from};tag=1\r\nContact: <sip:a@192.0.2.11:5060;transport=tls>\r\n"),
    )
}

/// RFC 3261 §10.3 steps 3 and 4: the certificate proves who registers, and for whom he may.
#[test]
fn a_certificate_registers_the_users_that_it_names_and_nobody_else() {
    let mut world = with_users();
    assert_eq!(register(&mut world, "alice"), "401", "nothing is proven yet");
    shows(&mut world, ALICE, 7, users(&["sip:alice@example.com"]));
    assert_eq!(register(&mut world, "alice"), "200");
    assert_eq!(register(&mut world, "bob"), "403");
    // Another connection, and the same number on a transport without certificates, prove nothing.
    let lines = "From: <sip:alice@example.com>;tag=r\r\nTo: <sip:alice@example.com>\r\nContact: <sip:a@192.0.2.11>\r\n";
    let text = world.request(ALICE, "REGISTER", "sip:example.com", lines);
    assert_eq!(names(&world.arrives(Transport::Tls, ALICE, 8, text.as_str())), ["401"]);
    let text = world.request(ALICE, "REGISTER", "sip:example.com", lines);
    assert_eq!(names(&world.udp(ALICE, text)), ["401"]);
    // Nor does it when it is gone.
    let closed = FlowEvent::Closed { path: connection(ALICE, 7), reason: CloseReason::Peer };
    world.core.flow_event(world.now, closed);
    assert_eq!(register(&mut world, "alice"), "401");
}

/// RFC 3261 §22.3 in place of a challenge; RFC 3325 §5: who is proven is asserted.
#[test]
fn a_certificate_calls_as_the_users_that_it_names_and_as_no_other_of_ours() {
    let mut world = with_users();
    shows(&mut world, ALICE, 7, users(&["sip:alice@example.com", "sip:alice@elsewhere.example"]));
    let sent = invite(&mut world, "<sip:alice@example.com>", "sip:bob@example.com");
    let asserted: PAssertedIdentity = only(&sent, "INVITE").request().headers.require().unwrap();
    assert_eq!(asserted.0.uri().to_string(), "sip:alice@example.com");
    let sent = invite(&mut world, "<sip:bob@example.com>", "sip:bob@example.com");
    assert_eq!(names(&sent), ["403"], "From is another user's");
    // A user calls wherever she likes, also without saying who she is (RFC 3323 §4.1.1.3).
    for from in ["<sip:alice@example.com>", "Anonymous <sip:anonymous@anonymous.invalid>"] {
        let sent = invite(&mut world, from, "sip:dave@192.0.2.77:5060");
        assert_eq!(only(&sent, "INVITE").to(), "192.0.2.77:5060", "{from}");
    }
    // Any other From is a stranger's as ever: it reaches our users and nobody else.
    let sent = invite(&mut world, "<sip:alice@elsewhere.example>", "sip:bob@example.com");
    let invite_of_stranger = only(&sent, "INVITE").request().clone();
    assert!(!invite_of_stranger.headers.contains("P-Asserted-Identity"));
    let sent = invite(&mut world, "<sip:alice@elsewhere.example>", "sip:dave@192.0.2.77:5060");
    assert_eq!(names(&sent), ["403"]);
}

/// A certificate of a machine, of a domain, or of somebody who is no user any more proves no user.
#[test]
fn who_is_named_by_no_certificate_is_challenged_as_before() {
    for peer in [
        Identities::of_domain("example.com"),
        users(&["sip:alice@elsewhere.example"]),
        users(&["sip:dave@example.com"]),
    ] {
        let mut world = with_users();
        shows(&mut world, ALICE, 7, peer);
        let dave = invite(&mut world, "<sip:dave@example.com>", "sip:bob@example.com");
        assert!(matches!(names(&dave)[0].as_str(), "407"), "{dave:?}");
        assert_eq!(register(&mut world, "dave"), "401");
    }
}

/// Whoever gives a password all the same is judged by it: one connection may carry the requests of several.
#[test]
fn a_password_counts_where_the_certificate_names_another() {
    let mut world = with_users();
    shows(&mut world, ALICE, 7, users(&["sip:alice@example.com"]));
    let lines = "From: <sip:bob@example.com>;tag=1\r\n";
    let plain = world.request(BOB, "MESSAGE", "sip:bob@example.com", lines);
    let challenge = world.udp(BOB, plain);
    let message = ("MESSAGE", "sip:bob@example.com", lines);
    let text = with_password(&mut world, ALICE, message, &challenge[0]);
    let sent = world.arrives(Transport::Tls, ALICE, 7, text);
    assert_eq!(only(&sent, "MESSAGE").to(), BOB);
}

/// Users in a database are asked for by both of their names.
#[test]
fn users_outside_are_looked_up_for_a_certificate() {
    for known in ["alice", "alice@example.com", "nobody"] {
        let mut world = with_tls(|config| config.external_users = true);
        shows(&mut world, ALICE, 7, users(&["sip:alice@example.com"]));
        let lines = "From: <sip:alice@example.com>;tag=r\r\nTo: <sip:alice@example.com>\r\nContact: <sip:a@192.0.2.11>\r\n";
        let mut sent = tls(&mut world, "REGISTER", "sip:example.com", lines);
        let mut asked = Vec::new();
        while let Some((key, name)) = world.core.poll_user() {
            let secret = (name == known).then(|| Secret::password("x"));
            asked.push(name);
            world.core.user_found(world.now, key, Ok(secret));
            sent.extend(world.sent());
        }
        assert_eq!(asked, ["alice@example.com", "alice"], "{known}");
        assert_eq!(names(&sent), [if known == "nobody" { "401" } else { "200" }], "{known}");
    }
}

// ---- trunks --------------------------------------------------------------------------------------------------

const TRUNK: &str = r#"
domains = ["example.com"]
[[user]]
name = "bob"
password = "builder"
[[route]]
prefix = "+"
trunk = "carrier"
callers = "anyone"
[[trunk]]
name = "carrier"
gateways = [{ uri = "sip:203.0.113.5:5061;transport=tls" }]
tls_name = "sip.carrier.example"
from = ['\+.*@.*']
check = { interval = 10 }
"#;

fn with_trunk() -> World {
    let settings = Settings::parse(TRUNK).unwrap_or_else(|error| panic!("{error}"));
    with_tls(|config| settings.configure(config))
}

fn call_of_trunk(world: &mut World, flow: u64, from: &str) -> Vec<Sent> {
    // From another address than any that the settings name.
    let source = "198.51.100.9:40000";
    let lines = format!("From: {from};tag=1\r\nP-Asserted-Identity: <tel:+4930>\r\n");
    let text = world.request(source, "OPTIONS", "sip:bob@example.com", &lines);
    world.arrives(Transport::Tls, source, flow, text)
}

/// RFC 5922 §7.4: what comes over a connection that proves the trunk's name is the trunk's, wherever it comes from.
#[test]
fn a_trunk_is_known_by_the_name_in_its_certificate() {
    let mut world = with_trunk();
    let source = "198.51.100.9:40000";
    shows(&mut world, source, 3, Identities::of_domain("SIP.carrier.example"));
    shows(&mut world, source, 4, Identities::of_domain("carrier.example"));
    let ours = "<sip:+49301@example.com>";
    assert_eq!(names(&call_of_trunk(&mut world, 3, ours)), ["480"], "nobody is there, but it may ask");
    assert_eq!(names(&call_of_trunk(&mut world, 4, ours)), ["407"], "another name");
    assert_eq!(names(&call_of_trunk(&mut world, 5, ours)), ["407"], "no certificate");
    assert_eq!(names(&call_of_trunk(&mut world, 3, "<sip:bob@example.com>")), ["403"], "not its From");
}

/// RFC 5922 §7.3: a gateway proves the trunk's name, whatever its URI says: in calls, in their dialogs, and when it is asked.
#[test]
fn a_gateway_has_to_prove_the_name_of_its_trunk() {
    let mut world = with_trunk();
    let domain = |sent: &Sent| sent.transmit.domain.as_deref().map(str::to_owned);
    let named = Some("sip.carrier.example".to_owned());
    let sent = world.seconds(12);
    assert_eq!(domain(only(&sent, "OPTIONS")), named);
    let lines = "Contact: <sip:carol@192.0.2.11>\r\nCall-ID: c\r\n";
    let text = world.request(ALICE, "INVITE", "sip:+4930@example.com", lines);
    let sent = world.udp(ALICE, text);
    let invite = only(&sent, "INVITE");
    assert_eq!((invite.to(), domain(invite)), ("203.0.113.5:5061".to_owned(), named.clone()));
    let answered = world.answer(invite, 200, "Contact: <sip:x@203.0.113.5:5061;transport=tls>");
    let routes: Vec<String> = only(&answered, "200")
        .response()
        .headers
        .all::<sip_message::headers::RecordRoute>()
        .map(|one| format!("Route: <{}>\r\n", one.unwrap().uri()))
        .collect();
    let routes: String = routes.into_iter().rev().collect();
    for method in ["ACK", "BYE"] {
        let lines = format!("{routes}To: <sip:+4930@example.com>;tag=callee\r\nCall-ID: c\r\n");
        let text = world.request(ALICE, method, "sip:x@203.0.113.5:5061;transport=tls", &lines);
        let sent = world.udp(ALICE, text);
        assert_eq!(domain(only(&sent, method)), named, "{method}");
    }
}

#[test]
fn a_name_that_no_certificate_can_prove_is_a_fault() {
    for (bad, place) in [("sip.carrier.example:5061", "13:12"), ("*.carrier.example", "13:12"), ("", "13:12")]
    {
        let text = TRUNK.replace("tls_name = \"sip.carrier.example\"", &format!("tls_name = \"{bad}\""));
        let faults = Settings::parse(&text).unwrap_err().to_string();
        let expected = format!("{place}: \"{bad}\" is no domain name: write it like \"sip.carrier.example\"");
        assert_eq!(faults, expected);
    }
}

#[test]
fn certificates_of_users_that_nobody_is_asked_for_are_a_fault() {
    let text =
        "domains = [\"example.com\"]\n[tls]\nuser_authorities = [\"ca.pem\"]\n[[user]]\nname = \"alice\"\n";
    let faults = |text: &str| Settings::parse(text).unwrap_err().to_string();
    assert_eq!(
        faults(text),
        "3:21: user_authorities: nobody is asked for a certificate; write clients = \"ask\" or \"require\""
    );
    let asked = text.replace("[\"ca.pem\"]", "[\"ca.pem\"]\nclients = \"ask\"");
    let settings = Settings::parse(&asked).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        settings.users().unwrap().contains("alice") && settings.users().unwrap().secret("alice").is_none()
    );
    // Without certificates a user needs a password.
    let without = text.replace("user_authorities = [\"ca.pem\"]\n", "");
    assert_eq!(faults(&without), "3:1: the user \"alice\" has no password: add password, ha1 or ha1_sha256");
}

// ---- over sockets --------------------------------------------------------------------------------------------

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key.
    fn issue(&self, name: SanType) -> (String, String) {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![name];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("sip-certificates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The whole way: files named in the settings, a handshake with a certificate, a registration without a password.
#[tokio::test]
async fn a_phone_registers_over_tls_with_its_certificate() {
    let folder = Folder::new();
    let (of_servers, of_phones) = (Authority::new(), Authority::new());
    let write = |name: &str, text: &str| std::fs::write(folder.0.join(name), text).unwrap();
    let (chain, key) = of_servers.issue(SanType::DnsName("example.com".try_into().unwrap()));
    write("server.pem", &format!("{chain}{key}"));
    write("servers-ca.pem", &of_servers.0.pem());
    write("phones-ca.pem", &of_phones.0.pem());
    let text = "listen = [\"tls:127.0.0.1:0\"]\ndomains = [\"example.com\"]\n[tls]\ncertificate = \"server.pem\"\n\
                authorities = [\"servers-ca.pem\"]\nuser_authorities = [\"phones-ca.pem\"]\nclients = \"ask\"\n\
                [[user]]\nname = \"alice\"\n";
    write("sip.toml", text);
    let settings = Settings::read(folder.0.join("sip.toml")).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::from_settings(&settings).unwrap().build().await.unwrap();
    let at = server.locals().iter().next().unwrap().bound;
    let alice = || SanType::URI("sip:alice@example.com".try_into().unwrap());
    for (authority, user, status) in [
        (Some(&of_phones), "alice", 200),
        (Some(&of_phones), "bob", 403),
        (Some(&of_servers), "alice", 401),
        (None, "alice", 401),
    ] {
        let options = TlsOptions::new().roots(Roots::from_pem(of_servers.0.pem().as_bytes()).unwrap());
        let options = match authority.map(|authority| authority.issue(alice())) {
            Some((chain, key)) => {
                options.identity(Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap())
            }
            None => options,
        };
        let builder = Endpoint::builder().listen("tls:client:127.0.0.1").unwrap();
        let phone = builder.tls(Tls::new(options).unwrap()).bind().await.unwrap();
        let aor = format!("sip:{user}@example.com").parse().unwrap();
        let request = Request::builder(Method::Register, &"sip:example.com".parse().unwrap())
            .header(&From::new(&aor).with_tag("1"))
            .header(&To::new(&aor))
            .header(&CallId::new(&phone.token()))
            .header(&CSeq::new(1, Method::Register))
            .header(&Contact::new(&"sip:phone@192.0.2.11;transport=tls".parse().unwrap()))
            .build()
            .unwrap();
        let way = format!("sip:{at};transport=tls").parse().unwrap();
        let mut sent = phone.send_to(request, Target::Proving(way, "example.com".into())).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(20), sent.final_response()).await.unwrap();
        assert_eq!(response.unwrap().status().code(), status, "{user}");
        phone.close().await;
    }
    server.close().await;
}
