//! The client against our own server, and against challenges of others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use sip_auth::{Attempts, Authenticator, ClientError, ClientPolicy, Hash, Preference, Role, Secret, Verdict};
use sip_message::{Request, Response, StatusCode};

/// A 401 or 407 with these challenges: (name of the field, value).
fn challenge(request: &Request, status: u16, challenges: &[(&str, &str)]) -> Response {
    let reply = request.reply(StatusCode::new(status).unwrap());
    challenges.iter().fold(reply, |reply, (name, value)| reply.raw(*name, value)).build().unwrap()
}

const WWW: &str = "WWW-Authenticate";
const PROXY: &str = "Proxy-Authenticate";

/// The answer of `client` to challenges in a 401, as parameters of its first Authorization.
fn answered(
    client: &mut Authenticator,
    challenges: &[&str],
) -> Result<sip_message::headers::Credentials, ClientError> {
    let mut request = invite();
    let fields: Vec<(&str, &str)> = challenges.iter().map(|challenge| (WWW, *challenge)).collect();
    let response = challenge(&request, 401, &fields);
    client.answer(&mut request, &response, &mut Attempts::default(), "c")?;
    Ok(credentials(&request))
}

#[test]
fn the_strongest_algorithm_is_answered_and_others_are_ignored_rfc_8760_section_2_4() {
    let offers = [
        "Digest realm=\"r\", nonce=\"md5\", algorithm=MD5, qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"future\", algorithm=SHA3-512, qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"sha256\", algorithm=SHA-256, qop=\"auth\"",
        "Basic realm=\"r\"",
        "Digest realm=\"r\", nonce=\"strange\", algorithm=SHA-512-256, qop=\"auth-conf\"",
    ];
    assert_eq!(answered(&mut alice(), &offers).unwrap().param("nonce").unwrap(), "sha256");
    let mut topmost =
        Authenticator::new(ClientPolicy { preference: Preference::Topmost, ..ClientPolicy::default() });
    topmost.add_account(None, "alice", Secret::password(PASSWORD));
    assert_eq!(answered(&mut topmost, &offers).unwrap().param("nonce").unwrap(), "md5");
    let mut strict = Authenticator::new(ClientPolicy { weakest: Hash::Sha256, ..ClientPolicy::default() });
    strict.add_account(None, "alice", Secret::password(PASSWORD));
    assert_eq!(answered(&mut strict, &offers[..2]).unwrap_err(), ClientError::NoUsableChallenge);
}

#[test]
fn a_stored_hash_answers_only_challenges_of_its_algorithm() {
    let mut client = Authenticator::default();
    let stored = sip_auth::digest::ha1(Hash::Md5, "alice", "r", PASSWORD);
    client.add_account(Some("r"), "alice", Secret::ha1(Hash::Md5, stored));
    let offers = [
        "Digest realm=\"r\", nonce=\"sha256\", algorithm=SHA-256, qop=\"auth\"",
        "Digest realm=\"r\", nonce=\"md5\", qop=\"auth\"",
    ];
    let credentials = answered(&mut client, &offers).unwrap();
    assert_eq!(credentials.param("nonce").unwrap(), "md5");
    assert_eq!(credentials.param("algorithm"), None, "none was named");
}

#[test]
fn opaque_realm_quotes_and_the_form_without_qop_come_back_as_they_came() {
    let offer = r#"Digest realm="a \"b\" \\ c", nonce="n\"1", opaque="o, p=\"q\"""#;
    let credentials = answered(&mut alice(), &[offer]).unwrap();
    assert_eq!(credentials.params().raw("realm"), Some(r#""a \"b\" \\ c""#));
    assert_eq!(credentials.param("opaque").unwrap(), "o, p=\"q\"");
    assert_eq!(credentials.param("nonce").unwrap(), "n\"1");
    for name in ["qop", "nc", "cnonce", "algorithm"] {
        assert_eq!(credentials.param(name), None, "{name}");
    }
}

#[test]
fn what_must_and_must_not_be_quoted_rfc_7616_section_3_4() {
    let offer = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth,auth-int\", userhash=true";
    let credentials = answered(&mut alice(), &[offer]).unwrap();
    for (name, value) in credentials.params().iter() {
        let quoted = ["username", "realm", "nonce", "uri", "response", "cnonce"].contains(&name);
        assert_eq!(value.starts_with('"'), quoted, "{name}={value}");
    }
    let hashed = Hash::Sha256.digest(&[b"alice", b"r"]);
    assert_eq!(credentials.param("username").unwrap(), hashed.as_str());
}

#[test]
fn several_realms_of_user_agents_and_proxies_are_answered_at_once_rfc_3261_section_22_3() {
    let mut client = Authenticator::default();
    client.add_account(Some("one"), "alice1", Secret::password("1"));
    client.add_account(Some("two"), "alice2", Secret::password("2"));
    client.add_account(None, "alice", Secret::password("any"));
    let mut request = invite();
    let response = challenge(
        &request,
        407,
        &[
            (PROXY, "Digest realm=\"one\", nonce=\"a\", qop=\"auth\""),
            (PROXY, "Digest realm=\"two\", nonce=\"b\", qop=\"auth\""),
            (WWW, "Digest realm=\"three\", nonce=\"c\", qop=\"auth\""),
        ],
    );
    client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
    let names: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| name.ends_with("uthorization"))
        .map(|(name, value)| {
            let credentials: sip_message::headers::Credentials =
                std::str::from_utf8(value).unwrap().parse().unwrap();
            format!(
                "{name} {} {}",
                credentials.param("realm").unwrap(),
                credentials.param("username").unwrap()
            )
        })
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for expected in
        ["Proxy-Authorization one alice1", "Proxy-Authorization two alice2", "Authorization three alice"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
    }
}

#[test]
fn later_requests_go_unasked_with_a_rising_count_until_the_nonce_is_stale() {
    let (mut server, now) = verifier(config());
    let mut client = alice();
    let mut first = invite();
    let response = refused(&mut server, &first, now);
    client.answer(&mut first, &response, &mut Attempts::default(), "c1").unwrap();
    assert!(matches!(server.verify(&first, now, secret_of), Verdict::Accepted(_)));
    for count in 2..5 {
        let mut next = invite();
        assert_eq!(client.authorize(&mut next, &format!("c{count}")), 1);
        assert_eq!(credentials(&next).param("nc").unwrap(), format!("{count:08x}"));
        assert!(matches!(server.verify(&next, now, secret_of), Verdict::Accepted(_)));
    }
    // Ten minutes later the nonce is stale; the client retries by itself, once.
    let later = now + Duration::from_secs(600);
    let mut stale = invite();
    client.authorize(&mut stale, "c5");
    let response = refused(&mut server, &stale, later);
    assert_eq!(response.headers.text(WWW).unwrap().matches("stale=true").count(), 1);
    client.answer(&mut stale, &response, &mut Attempts::default(), "c6").unwrap();
    assert_eq!(credentials(&stale).param("nc").unwrap(), "00000001");
    assert_eq!(stale.headers.count("Authorization"), 1, "the old credentials are replaced");
    assert!(matches!(server.verify(&stale, later, secret_of), Verdict::Accepted(_)));
}

#[test]
fn a_wrong_password_is_tried_once_rfc_3261_section_22_1() {
    let (mut server, now) = verifier(config());
    let mut client = Authenticator::default();
    client.add_account(None, "alice", Secret::password("wrong"));
    let (mut request, mut attempts) = (invite(), Attempts::default());
    let response = refused(&mut server, &request, now);
    client.answer(&mut request, &response, &mut attempts, "c").unwrap();
    let response = refused(&mut server, &request, now);
    let before = request.clone();
    let error = client.answer(&mut request, &response, &mut attempts, "c").unwrap_err();
    assert_eq!(error, ClientError::Rejected { realm: REALM.into() });
    assert_eq!(request, before, "unchanged");
}

#[test]
fn a_server_that_is_never_content_is_left_after_two_tries() {
    let (mut client, mut request, mut attempts) = (alice(), invite(), Attempts::default());
    let mut outcome = Vec::new();
    for nonce in 0..5 {
        let value = format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", stale=true");
        let response = challenge(&request, 401, &[(WWW, &value)]);
        outcome.push(client.answer(&mut request, &response, &mut attempts, "c").is_ok());
    }
    assert_eq!(outcome, [true, true, false, false, false]);
}

#[test]
fn an_outdated_nonce_sent_unasked_is_replaced_once_even_without_stale() {
    let mut client = alice();
    answered(&mut client, &["Digest realm=\"r\", nonce=\"old\", qop=\"auth\""]).unwrap();
    let (mut request, mut attempts) = (invite(), Attempts::default());
    client.authorize(&mut request, "c");
    let response = challenge(&request, 401, &[(WWW, "Digest realm=\"r\", nonce=\"new\", qop=\"auth\"")]);
    client.answer(&mut request, &response, &mut attempts, "c").unwrap();
    let response = challenge(&request, 401, &[(WWW, "Digest realm=\"r\", nonce=\"newer\", qop=\"auth\"")]);
    let error = client.answer(&mut request, &response, &mut attempts, "c").unwrap_err();
    assert_eq!(error, ClientError::Rejected { realm: "r".into() });
}

#[test]
fn requests_challenged_with_one_nonce_share_its_count() {
    let mut client = alice();
    let counts = [1, 2].map(|_| {
        let offer = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
        answered(&mut client, &[offer]).unwrap().param("nc").unwrap().into_owned()
    });
    assert_eq!(counts, ["00000001", "00000002"]);
}

#[test]
fn proxies_in_a_chain_challenge_one_after_the_other() {
    let (mut client, mut request, mut attempts) = (alice(), invite(), Attempts::default());
    for realm in ["one", "two", "three"] {
        let value = format!("Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"");
        let response = challenge(&request, 407, &[(PROXY, &value)]);
        client.answer(&mut request, &response, &mut attempts, "c").unwrap();
    }
    assert_eq!(request.headers.count("Proxy-Authorization"), 3);
}

#[test]
fn responses_without_a_usable_challenge_are_errors_and_not_loops() {
    let request = invite();
    let answer = |status, challenges: &[(&str, &str)]| {
        let response = challenge(&request, status, challenges);
        Authenticator::default()
            .answer(&mut request.clone(), &response, &mut Attempts::default(), "c")
            .unwrap_err()
    };
    assert_eq!(answer(401, &[]), ClientError::NoUsableChallenge);
    assert_eq!(answer(401, &[(WWW, "Digest realm")]), ClientError::NoUsableChallenge);
    assert_eq!(answer(401, &[(WWW, "Digest realm=\"r\"")]), ClientError::NoUsableChallenge);
    assert_eq!(answer(403, &[(WWW, "Digest realm=\"r\", nonce=\"n\"")]), ClientError::NotAChallenge(403));
    let unknown = answer(401, &[(WWW, "Digest realm=\"r\", nonce=\"n\"")]);
    assert_eq!(unknown, ClientError::NoAccount { realms: vec!["r".into()] });
    let session = "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess";
    assert_eq!(answered(&mut alice(), &[session]).unwrap_err(), ClientError::NoUsableChallenge);
}

#[test]
fn a_session_key_keeps_its_client_nonce_rfc_7616_section_3_4_2() {
    let mut client = alice();
    let offer = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-sess, qop=\"auth\"";
    let first = answered(&mut client, &[offer]).unwrap();
    let mut next = invite();
    client.authorize(&mut next, "another");
    assert_eq!(credentials(&next).param("cnonce"), first.param("cnonce"));
    assert_eq!(credentials(&next).param("nc").unwrap(), "00000002");
}

#[test]
fn authentication_info_proves_the_server_and_brings_the_next_nonce() {
    let mut config = config();
    config.offer_integrity = true;
    let (mut server, now) = verifier(config);
    for prefer_integrity in [false, true] {
        let mut client = Authenticator::new(ClientPolicy { prefer_integrity, ..ClientPolicy::default() });
        client.add_account(None, "alice", Secret::password(PASSWORD));
        let mut request = invite();
        let response = refused(&mut server, &request, now);
        client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
        let Verdict::Accepted(accepted) = server.verify(&request, now, secret_of) else { panic!("refused") };
        let next = server.new_nonce(now);
        let info = accepted.authentication_info(b"v=2\r\n", Some(&next));
        let ok = |body: &str| {
            let body = body.to_owned();
            request.reply(StatusCode::OK).header(&info).body("application/sdp", body).build().unwrap()
        };
        let mut deceived = client.clone();
        let altered = deceived.receive_info(&request, &ok("v=3\r\n"));
        assert_eq!(altered.is_err(), prefer_integrity, "only auth-int protects the body");
        client.receive_info(&request, &ok("v=2\r\n")).unwrap();
        let mut second = invite();
        client.authorize(&mut second, "c2");
        assert_eq!(credentials(&second).param("nonce").unwrap(), next);
        assert_eq!(credentials(&second).param("nc").unwrap(), "00000001");
        assert!(matches!(server.verify(&second, now, secret_of), Verdict::Accepted(_)));
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let mut client = alice();
    let mut request = invite();
    let response = challenge(&request, 401, &[(WWW, "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"")]);
    client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
    let info = "rspauth=\"00000000000000000000000000000000\", qop=auth, cnonce=\"c\", nc=00000001";
    let response = request.reply(StatusCode::OK).raw("Authentication-Info", info).build().unwrap();
    let error = client.receive_info(&request, &response).unwrap_err();
    assert_eq!(error, ClientError::ServerNotAuthentic { realm: "r".into() });
}

#[test]
fn credentials_of_other_schemes_stay_and_realms_are_bounded() {
    let mut client = alice();
    for realm in 0..40 {
        answered(&mut client, &[&format!("Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"")]).unwrap();
    }
    let mut request = invite();
    request.headers.push_raw("Authorization", "Bearer token=\"x\"").unwrap();
    assert_eq!(client.authorize(&mut request, "c"), 16);
    assert_eq!(request.headers.count("Authorization"), 17);
    assert_eq!(client.without_nonces().authorize(&mut invite(), "c"), 0);
}

#[test]
fn a_proxy_asks_with_407_and_takes_proxy_authorization() {
    let mut config = config();
    config.role = Role::Proxy;
    let (mut proxy, now) = verifier(config);
    let (mut client, mut request) = (alice(), invite());
    let response = refused(&mut proxy, &request, now);
    assert_eq!(response.status().code(), 407);
    assert_eq!(response.headers.count(PROXY), 2, "one challenge per algorithm");
    assert!(response.headers.text(PROXY).unwrap().contains("SHA-256"), "the most wanted first");
    client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
    assert_eq!(request.headers.count("Proxy-Authorization"), 1);
    assert!(matches!(proxy.verify(&request, now, secret_of), Verdict::Accepted(_)));
}
