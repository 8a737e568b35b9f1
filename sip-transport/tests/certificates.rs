//! Forty certificates, each shown by a server to our client and by a client to our server, and what RFC 5922 makes of each.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "peer/certificates.rs"]
#[allow(dead_code, unreachable_pub)]
mod authority;
mod peer;

use std::time::Duration;

use authority::{Authority, dns, ip, params, uri};
use peer::{Peer, options};
use rcgen::{
    CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sip_transport::tokio::tls::{ClientCertificates, Tls};
use sip_transport::tokio::{Options, Sockets};
use sip_transport::{FlowEvent, SendError, TlsFailure, Token, Transmit, Transport};
use tokio::time::timeout;

/// What a certificate does for the domain `example.com`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// It proves it.
    Good,
    /// It is valid and proves something else, or nothing.
    Other,
    /// It is not valid.
    Bad(TlsFailure),
}

use Outcome::{Bad, Good, Other};

struct Case {
    what: &'static str,
    /// The chain in PEM, the end entity first, and its key.
    chain: String,
    key: String,
    to_clients: Outcome,
    /// What our server makes of the same certificate in a client's hands.
    to_servers: Outcome,
}

fn named(common: &str, mut params: CertificateParams) -> CertificateParams {
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

fn usages(usages: &[Usage], mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = usages.to_vec();
    params
}

fn valid(from: i32, until: i32, mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    params
}

fn extension(
    oid: &[u64],
    critical: bool,
    content: &[u8],
    mut params: CertificateParams,
) -> CertificateParams {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    params.custom_extensions.push(extension);
    params
}

fn good() -> CertificateParams {
    params(vec![dns("example.com")])
}

/// All of them. A client whose names cannot be read is certified, and proves none.
fn cases(ca: &Authority) -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut add = |what: &'static str, params: CertificateParams, outcome: Outcome| {
        let (chain, key) = ca.issue(params);
        let unreadable = what.starts_with("NUL") || what == "unreadable names";
        let to_servers = if unreadable { Other } else { outcome };
        all.push(Case { what, chain, key, to_clients: outcome, to_servers });
    };
    add("DNS", good(), Good);
    add("DNS in capitals", params(vec![dns("EXAMPLE.COM")]), Good);
    add("DNS, second of several", params(vec![dns("a.example"), dns("example.com")]), Good);
    add("URI", params(vec![uri("sip:example.com")]), Good);
    add("URI in capitals", params(vec![uri("SIP:Example.Com")]), Good);
    add("URI with port and parameters", params(vec![uri("sip:example.com:5061;lr")]), Good);
    add(
        "URI of the domain, DNS of the host",
        params(vec![dns("proxy.example.net"), uri("sip:example.com")]),
        Good,
    );
    add(
        "DNS of the domain beside a URI of another",
        params(vec![dns("example.com"), uri("sip:example.net")]),
        Other,
    );
    add("URI with a user", params(vec![uri("sip:alice@example.com")]), Other);
    add("URI with a user, DNS good", params(vec![uri("sip:alice@example.com"), dns("example.com")]), Good);
    add("URI sips", params(vec![uri("sips:example.com")]), Other);
    add("URI https, DNS good", params(vec![uri("https://example.com"), dns("example.com")]), Good);
    add("URI https alone", params(vec![uri("https://example.com")]), Other);
    add("CN alone", named("example.com", params(vec![])), Good);
    add("CN of another", named("example.net", params(vec![])), Other);
    add("CN is no domain", named("Example Company, the one and only", params(vec![])), Other);
    add("CN good beside a DNS of another", named("example.com", params(vec![dns("example.net")])), Other);
    add("CN good beside an address", named("example.com", params(vec![ip("192.0.2.1")])), Other);
    add("no name at all", params(vec![]), Other);
    add("wildcard", params(vec![dns("*.com")]), Other);
    add("wildcard of the domain", params(vec![dns("*.example.com")]), Other);
    add("wildcard in CN", named("*.com", params(vec![])), Other);
    add("subdomain", params(vec![dns("sip.example.com")]), Other);
    add("parent domain", params(vec![dns("com")]), Other);
    add("domain as suffix", params(vec![dns("badexample.com")]), Other);
    add("domain as prefix", params(vec![dns("example.com.evil.example")]), Other);
    add("leading dot", params(vec![dns(".example.com")]), Other);
    add("address", params(vec![ip("127.0.0.1")]), Other);
    add("NUL in DNS", params(vec![dns("example.com\0.evil.example")]), Bad(TlsFailure::BadCertificate));
    add("NUL in URI", params(vec![uri("sip:example.com\0.evil.example")]), Bad(TlsFailure::BadCertificate));
    let mut nul = params(vec![]);
    nul.distinguished_name.push(DnType::CommonName, DnValue::Utf8String("example.com\0.evil.example".into()));
    add("NUL in CN", nul, Bad(TlsFailure::BadCertificate));
    add("expired", valid(2001, 2002, good()), Bad(TlsFailure::Expired));
    add("not yet valid", valid(2090, 2091, good()), Bad(TlsFailure::NotYetValid));
    add("no extended key usage", usages(&[], good()), Good);
    add("usage: code signing", usages(&[Usage::CodeSigning], good()), Bad(TlsFailure::WrongPurpose));
    let unknown = extension(&[1, 3, 6, 1, 4, 1, 99_999, 1], true, &[5, 0], good());
    add("unknown critical extension", unknown, Bad(TlsFailure::BadCertificate));
    let names = extension(&[2, 5, 29, 17], false, &[0x30, 0x03, 0x82, 0x7f, 0x61], params(vec![]));
    add("unreadable names", names, Bad(TlsFailure::BadCertificate));

    for (what, usage, to_clients, to_servers) in [
        ("usage: servers", Usage::ServerAuth, Good, Bad(TlsFailure::WrongPurpose)),
        ("usage: clients", Usage::ClientAuth, Bad(TlsFailure::WrongPurpose), Good),
    ] {
        let (chain, key) = ca.issue(usages(&[usage], good()));
        all.push(Case { what, chain, key, to_clients, to_servers });
    }
    let mut chained = |what, issuer: &Authority, send: bool, outcome| {
        let (end, key) = issuer.issue(good());
        let chain = if send { format!("{end}{}", issuer.pem()) } else { end };
        all.push(Case { what, chain, key, to_clients: outcome, to_servers: outcome });
    };
    let below = ca.intermediate("Below");
    chained("a chain of two", &below, true, Good);
    chained("a chain without its middle", &below, false, Bad(TlsFailure::UnknownIssuer));
    chained("another authority", &Authority::new("Stranger"), true, Bad(TlsFailure::UnknownIssuer));
    chained(
        "an authority of the same name",
        &Authority::new("Test CA"),
        true,
        Bad(TlsFailure::BadCertificate),
    );

    // Issued by one that is no authority.
    let key = KeyPair::generate().unwrap();
    let mut not_ca = named("Not an authority", good());
    (not_ca.is_ca, not_ca.key_usages) = (IsCa::NoCa, vec![KeyUsagePurpose::DigitalSignature]);
    let middle = rcgen::CertifiedIssuer::signed_by(not_ca, key, &ca.issuer).unwrap();
    let key = KeyPair::generate().unwrap();
    let end = good().signed_by(&key, &middle).unwrap().pem();
    let chain = format!("{end}{}", middle.pem());
    let outcome = Bad(TlsFailure::BadCertificate);
    let key = key.serialize_pem();
    all.push(Case { what: "issued by no authority", chain, key, to_clients: outcome, to_servers: outcome });

    let key = KeyPair::generate().unwrap();
    let chain = good().self_signed(&key).unwrap().pem();
    let outcome = Bad(TlsFailure::UnknownIssuer);
    let key = key.serialize_pem();
    all.push(Case { what: "self-signed", chain, key, to_clients: outcome, to_servers: outcome });
    all
}

fn start(listen: &str, tls: Tls) -> Peer {
    Peer::over(Sockets::bind_with_tls(&[listen.parse().unwrap()], tls).unwrap(), Options::default())
}

/// Our own options refuse to load some of these; a stranger would not, and shows them as they are.
mod stranger {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::ResolvesServerCert;
    use rustls::sign::CertifiedKey;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::Case;

    #[derive(Debug)]
    struct This(Arc<CertifiedKey>);

    impl ResolvesServerCert for This {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    impl rustls::client::ResolvesClientCert for This {
        fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
        fn has_certs(&self) -> bool {
            true
        }
    }

    fn key(case: &Case) -> This {
        let chain = CertificateDer::pem_slice_iter(case.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(case.key.as_bytes()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        This(Arc::new(CertifiedKey::new(chain, key)))
    }

    /// A server that shows the certificate to whoever connects, and ends with the connection.
    pub(crate) fn serve(case: &Case) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(key(case))));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(config).unwrap();
            while tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
        });
        at
    }

    /// A client that shows it, sends one message and waits for the end or an answer.
    pub(crate) fn connect(case: &Case, at: SocketAddr, root: &str, message: &str) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_client_cert_resolver(Arc::new(key(case)));
        let name = ServerName::try_from("server.example").unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(at).unwrap();
        tls.writer().write_all(message.as_bytes()).unwrap();
        while tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
    }
}

/// RFC 5922 §7.3, and RFC 5280 below it.
#[tokio::test]
async fn what_a_server_shows_is_believed_as_rfc_5922_has_it() {
    let ca = Authority::new("Test CA");
    let cases = cases(&ca);
    assert!(cases.len() >= 40, "{}", cases.len());
    for case in cases {
        let what = case.what;
        let at = stranger::serve(&case);
        let mut client = start("tls:client:127.0.0.1", ca.tls(&["client.example"]));
        let transmit = options(Transport::Tls, at, at, 1);
        client.send(Transmit { domain: Some("example.com".into()), ..transmit });
        let outcome = loop {
            match client.next().await {
                peer::Seen::Flow(FlowEvent::Opened { .. }) => break Good,
                peer::Seen::Flow(FlowEvent::SendFailed { token, error, .. }) => {
                    assert_eq!(token, Token(1));
                    break match error {
                        SendError::Tls(TlsFailure::OtherDomain) => Other,
                        SendError::Tls(failure) => Bad(failure),
                        other => panic!("{what}: {other}"),
                    };
                }
                _ => {}
            }
        };
        assert_eq!(outcome, case.to_clients, "{what}");
    }
}

/// RFC 5922 §7.4: the server lets in who is certified, and believes only the domains that RFC 5922 finds.
#[tokio::test]
async fn what_a_client_shows_is_believed_as_rfc_5922_has_it() {
    let ca = Authority::new("Test CA");
    for case in cases(&ca) {
        let (what, expected) = (case.what, case.to_servers);
        let asking = ca.options(&["server.example"]).client_certificates(ClientCertificates::Required);
        let mut server = start("tls:127.0.0.1:0", Tls::new(asking).unwrap());
        let at = server.at(Transport::Tls);
        let root = ca.pem();
        // An advertised address where nobody listens: only the connection itself can lead to the client.
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let message = peer::text(Transport::Tls, nowhere, 1).replacen(";rport", ";rport;alias", 1);
        let client = std::thread::spawn(move || stranger::connect(&case, at, &root, &message));
        let outcome = loop {
            // A refused client is nobody to the core: it shows in the counters alone.
            if server.handle.counters().handshake_failures > 0 {
                break Bad(TlsFailure::BadCertificate);
            }
            if let Ok(Some(peer::Seen::Request(..))) =
                timeout(Duration::from_millis(10), server.seen.recv()).await
            {
                let transmit = options(Transport::Tls, at, nowhere, 7);
                server.send(Transmit { domain: Some("example.com".into()), ..transmit });
                break if server.handle.connections() == 1 { Good } else { Other };
            }
        };
        server.handle.close();
        client.join().unwrap();
        match (outcome, expected) {
            (Bad(_), Bad(_)) => {}
            (outcome, expected) => assert_eq!(outcome, expected, "{what}"),
        }
    }
}
