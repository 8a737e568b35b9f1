//! Digests of the RFCs, and digests of a second implementation (Python's hashlib).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_auth::digest::{Protection, ha1};
use sip_auth::{Algorithm, DigestRequest, Hash, Qop};

#[allow(clippy::too_many_arguments)]
fn response(
    algorithm: &str,
    (username, realm, password): (&str, &str, &str),
    nonce: &str,
    qop: Option<(Qop, &str, &str)>,
    method: &str,
    uri: &str,
    body: &[u8],
) -> String {
    let algorithm: Algorithm = algorithm.parse().unwrap();
    let ha1 = ha1(algorithm.hash, username, realm, password);
    let protection = qop.map(|(qop, nonce_count, cnonce)| Protection { qop, nonce_count, cnonce });
    DigestRequest { algorithm, ha1: &ha1, nonce, protection, method, uri, body }.response().to_string()
}

#[test]
fn rfc_2617_section_3_5() {
    let who = ("Mufasa", "testrealm@host.com", "Circle Of Life");
    let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
    let qop = Some((Qop::Auth, "00000001", "0a4f113b"));
    assert_eq!(
        response("MD5", who, nonce, qop, "GET", "/dir/index.html", b""),
        "6629fae49393a05397450978507c4ef1"
    );
    // The same without qop, as RFC 2069 computed it.
    assert_eq!(
        response("MD5", who, nonce, None, "GET", "/dir/index.html", b""),
        "670fd8c2df070c60b045671b8b24ff02"
    );
}

#[test]
fn rfc_7616_section_3_9_1() {
    let who = ("Mufasa", "http-auth@example.org", "Circle of Life");
    let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
    let qop = Some((Qop::Auth, "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"));
    let response = |algorithm| response(algorithm, who, nonce, qop, "GET", "/dir/index.html", b"");
    assert_eq!(response("MD5"), "8ca523f5e9506fed4657c9700eebdbec");
    assert_eq!(response("SHA-256"), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
}

/// The RFC prints a value of SHA-512 cut short (erratum 4897); this is the value of SHA-512/256.
#[test]
fn rfc_7616_section_3_9_2_as_corrected() {
    let who = ("J\u{e4}s\u{f8}n Doe", "api@example.org", "Secret, or not?");
    let nonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK";
    let qop = Some((Qop::Auth, "00000001", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"));
    assert_eq!(
        response("SHA-512-256", who, nonce, qop, "GET", "/doe.json", b""),
        "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    );
    assert_eq!(
        Hash::Sha512_256.digest(&[who.0.as_bytes(), who.1.as_bytes()]).as_str(),
        "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    );
}

#[test]
fn every_algorithm_and_quality_as_a_second_implementation_computes_it() {
    let cases = [
        ("MD5", "auth", "fbf91a714a64c4639f7c71e2194c2174"),
        ("MD5", "auth-int", "0d5398275c55bd53bd7effdbb7692497"),
        ("MD5-sess", "auth", "405582233701e7e66b6bf9d8a9faa30d"),
        ("MD5-sess", "auth-int", "54baa5c9f21ee7cc6e868be15d0882d0"),
        ("MD5", "", "9e05b5a091c7d3ac88ee2c47aa529023"),
        ("SHA-256", "auth", "2bd092d69dc577b4c365f1ea221be067a846fdb41f36d52a3c3b22977f835586"),
        ("SHA-256", "auth-int", "09c6be787efa4ec45ee8d6614a241d51f068e8830311a241b136e27f8303683f"),
        ("SHA-256-sess", "auth", "5450a0a8122097f4716632cc09265319fda2657959d897da3197fa8b21a3ae2d"),
        ("SHA-256-sess", "auth-int", "15aef06e941160d176de1b51bd78864cc49b4ee77ec40916688b87719ab592db"),
        ("SHA-256", "", "fe45b563cd00ade0eff50a3859251966c36996c698a7afa4c08f08085c95b929"),
        ("SHA-512-256", "auth", "1d5cb410a06c64701afcf023c9dc1650794800007174f490e207b2d385e66ec0"),
        ("SHA-512-256", "auth-int", "d0252a81667e5741e18b625a9672d1d88ab1280b35704196518771f8f1adca35"),
        ("SHA-512-256-sess", "auth", "87980f9fa1f06bd3e5c0e6eb1aa26375954e3977de911b3f4c685d2488a2cc62"),
        ("SHA-512-256-sess", "auth-int", "532da3645cfee1a989a4a0bbf6d07b5749affdf8e0999664e37c3e38dd96473e"),
        ("SHA-512-256", "", "47467f2a6dc4ed41e856003c44426fbf930581b27735ddbca1afa5825280fb21"),
    ];
    let who = ("alice", "atlanta.example", "p:a \"ss\"");
    for (algorithm, qop, expected) in cases {
        let qop = match qop {
            "auth" => Some(Qop::Auth),
            "auth-int" => Some(Qop::AuthInt),
            _ => None,
        };
        let protection = qop.map(|qop| (qop, "0000000a", "cnonce-2"));
        let got =
            response(algorithm, who, "nonce-1", protection, "INVITE", "sip:bob@biloxi.example", b"v=0\r\n");
        assert_eq!(got, expected, "{algorithm} {qop:?}");
    }
}

/// The vectors of the shared test data, if the environment variable SIP_CORPUS names it. No JSON library for four records:
/// every value stands on a line of its own.
#[test]
fn the_vectors_of_the_test_data() {
    let Some(corpus) = std::env::var_os("SIP_CORPUS") else {
        println!("skipped: SIP_CORPUS is not set");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&corpus).join("vectors/digest-rfc-vectors.json"))
        .unwrap();
    let mut checked = 0;
    for record in text.split("\n {").skip(1) {
        let field = |name: &str| {
            let start = record.find(&format!("\"{name}\": \""))? + name.len() + 5;
            Some(&record[start..start + record[start..].find('"')?])
        };
        let value = |name| field(name).unwrap_or_else(|| panic!("{name} in {record}"));
        let qop = Some((Qop::Auth, value("nc"), value("cnonce")));
        let who = (value("username"), value("realm"), value("password"));
        let got = response(value("algorithm"), who, value("nonce"), qop, value("method"), value("uri"), b"");
        assert_eq!(got, field("response_sha512_256").unwrap_or(value("response")), "{}", value("src"));
        checked += 1;
    }
    assert_eq!(checked, 4);
}
