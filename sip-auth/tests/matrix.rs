//! What the server says to every kind of credentials, for every algorithm and quality of protection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use sip_auth::{
    Algorithm, Attempts, Authenticator, BadCredentials, ChallengeReason, ClientPolicy, Qop, Secret, Verdict,
    Verifier,
};
use sip_message::{Method, Request};

/// What the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Accepted,
    Challenged,
    Stale,
    Bad,
}

fn seen(verdict: &Verdict) -> Seen {
    match verdict {
        Verdict::Accepted(_) => Seen::Accepted,
        Verdict::Challenge { stale: false, .. } => Seen::Challenged,
        Verdict::Challenge { stale: true, .. } => Seen::Stale,
        Verdict::Bad(_) => Seen::Bad,
        Verdict::Exempt => panic!("not for INVITE"),
    }
}

/// A server and a request that it would accept.
struct Case {
    server: Verifier,
    now: std::time::Instant,
    client: Authenticator,
    request: Request,
}

fn case(algorithm: Algorithm, qop: Qop, password: &str) -> Case {
    let mut config = config();
    config.algorithms = vec![algorithm];
    config.offer_integrity = true;
    let (mut server, now) = verifier(config);
    let mut client =
        Authenticator::new(ClientPolicy { prefer_integrity: qop == Qop::AuthInt, ..ClientPolicy::default() });
    client.add_account(Some(REALM), "alice", Secret::password(password));
    let mut request = invite();
    let response = refused(&mut server, &request, now);
    client.answer(&mut request, &response, &mut Attempts::default(), "c-nonce").unwrap();
    assert_eq!(credentials(&request).param("qop").unwrap(), qop.as_str());
    Case { server, now, client, request }
}

#[test]
fn r14_the_digest_matrix() {
    type Run = fn(&mut Case) -> Verdict;
    fn judge(case: &mut Case, request: &Request, later: Duration) -> Verdict {
        let now = case.now + later;
        case.server.verify(request, now, secret_of)
    }
    const NOW: Duration = Duration::ZERO;
    let rows: [(&str, Seen, Run); 18] = [
        ("ok", Seen::Accepted, |c| judge(c, &c.request.clone(), NOW)),
        ("replayed nc", Seen::Stale, |c| {
            assert_eq!(seen(&judge(c, &c.request.clone(), NOW)), Seen::Accepted);
            judge(c, &c.request.clone(), NOW)
        }),
        ("nc gap", Seen::Accepted, |c| {
            assert_eq!(seen(&judge(c, &c.request.clone(), NOW)), Seen::Accepted);
            let mut later = invite();
            for n in 0..7 {
                c.client.authorize(&mut later, &format!("c{n}"));
            }
            assert_eq!(credentials(&later).param("nc").unwrap(), "00000008");
            judge(c, &later, NOW)
        }),
        ("nc overtaken", Seen::Accepted, |c| {
            let (first, mut second) = (c.request.clone(), invite());
            c.client.authorize(&mut second, "c2");
            assert_eq!(seen(&judge(c, &second, NOW)), Seen::Accepted);
            judge(c, &first, NOW)
        }),
        ("just in time", Seen::Accepted, |c| judge(c, &c.request.clone(), Duration::from_secs(300))),
        ("expired", Seen::Stale, |c| judge(c, &c.request.clone(), Duration::from_millis(300_001))),
        ("expired and wrong", Seen::Challenged, |c| {
            let wrong = edited(&c.request, |text| text.replace("username=\"alice\"", "username=\"mallory\""));
            judge(c, &wrong, Duration::from_secs(301))
        }),
        ("foreign nonce", Seen::Stale, |c| {
            let mut config = c.server.config().clone();
            config.secret = [1; 32];
            let (mut other, _) = verifier(config);
            let mut request = invite();
            let response = refused(&mut other, &request, c.now);
            c.client.without_nonces().answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
            judge(c, &request, NOW)
        }),
        ("changed nonce", Seen::Challenged, |c| {
            let nonce = credentials(&c.request).param("nonce").unwrap().into_owned();
            let changed =
                edited(&c.request, |text| text.replace(&nonce, &nonce.chars().rev().collect::<String>()));
            judge(c, &changed, NOW)
        }),
        ("another uri in the request", Seen::Bad, |c| {
            let mut moved = c.request.clone();
            moved.set_uri(&"sip:carol@example.com".parse().unwrap());
            judge(c, &moved, NOW)
        }),
        ("another uri in the credentials", Seen::Challenged, |c| {
            // The same user, so it passes the comparison; but it is not what was signed.
            let changed = edited(&c.request, |text| text.replace(URI, "sip:bob@example.com;x=y"));
            judge(c, &changed, NOW)
        }),
        ("method swap", Seen::Challenged, |c| {
            let mut other = request(Method::Message, URI, "v=0\r\n");
            other.headers.copy_from(&c.request.headers, "Authorization");
            judge(c, &other, NOW)
        }),
        ("realm swap", Seen::Challenged, |c| {
            let other =
                edited(&c.request, |text| text.replace("realm=\"example.com\"", "realm=\"example.org\""));
            judge(c, &other, NOW)
        }),
        ("all unquoted that can be", Seen::Accepted, |c| {
            let bare = edited(&c.request, |text| {
                let mut text = text;
                for name in ["username", "nonce", "response", "cnonce"] {
                    let value = credentials(&c.request).param(name).unwrap().into_owned();
                    text = text.replace(&format!(" {name}=\"{value}\""), &format!(" {name}={value}"));
                }
                assert_eq!(text.matches('"').count(), 4, "realm and uri stay quoted: {text}");
                text
            });
            judge(c, &bare, NOW)
        }),
        ("all quoted", Seen::Accepted, |c| {
            let quoted = edited(&c.request, |text| {
                let mut text = text;
                for name in ["algorithm", "qop", "nc"] {
                    let value = credentials(&c.request).param(name).unwrap().into_owned();
                    text = text.replace(&format!("{name}={value}"), &format!("{name}=\"{value}\""));
                }
                assert_eq!(text.matches('"').count(), 18, "{text}");
                text
            });
            judge(c, &quoted, NOW)
        }),
        ("two headers, the other for another realm", Seen::Accepted, |c| {
            let mut two = c.request.clone();
            two.headers
                .push_front_raw("Authorization", "Digest realm=\"x\", nonce=\"y\", response=\"z\"")
                .unwrap();
            judge(c, &two, NOW)
        }),
        ("two headers, the other for a server of the same realm", Seen::Accepted, |c| {
            let mut two = c.request.clone();
            let other = format!(
                "Digest realm=\"{REALM}\", username=\"alice\", nonce=\"y\", response=\"z\", uri=\"{URI}\""
            );
            two.headers.push_front_raw("Authorization", &other).unwrap();
            judge(c, &two, NOW)
        }),
        ("twice the same parameter", Seen::Bad, |c| {
            let twice = edited(&c.request, |text| format!("{text}, username=\"mallory\""));
            judge(c, &twice, NOW)
        }),
    ];
    for algorithm in Algorithm::ALL {
        for qop in [Qop::Auth, Qop::AuthInt] {
            for (name, expected, run) in rows {
                let verdict = run(&mut case(algorithm, qop, PASSWORD));
                assert_eq!(seen(&verdict), expected, "{algorithm} {} {name}: {verdict:?}", qop.as_str());
            }
            let mut wrong = case(algorithm, qop, "wrong");
            let verdict = wrong.server.verify(&wrong.request, wrong.now, secret_of);
            assert!(
                matches!(
                    verdict,
                    Verdict::Challenge { stale: false, reason: ChallengeReason::WrongCredentials }
                ),
                "{algorithm} wrong password: {verdict:?}"
            );
            let mut right = case(algorithm, qop, PASSWORD);
            right.request.set_body("application/sdp", "v=1\r\n");
            let changed = seen(&right.server.verify(&right.request, right.now, secret_of));
            assert_eq!(
                changed == Seen::Accepted,
                qop == Qop::Auth,
                "{algorithm} {}: a changed body",
                qop.as_str()
            );
        }
    }
}

#[test]
fn an_unknown_user_gets_what_a_wrong_password_gets() {
    let mut case = case(Algorithm::MD5, Qop::Auth, PASSWORD);
    for secret in [None, Some(Secret::password("other"))] {
        let verdict = case.server.verify(&case.request, case.now, |_| secret);
        let mut answer = case.server.refusal(&case.request, &verdict, case.now).unwrap().build().unwrap();
        assert_eq!(answer.headers.remove("WWW-Authenticate"), 1);
        assert!(matches!(
            verdict,
            Verdict::Challenge { stale: false, reason: ChallengeReason::WrongCredentials }
        ));
        assert_eq!(answer.status().code(), 401);
    }
}

#[test]
fn what_unknown_users_are_compared_with_is_no_password() {
    let mut case = case(Algorithm::SHA_256, Qop::Auth, &"09".repeat(32));
    let verdict = case.server.verify(&case.request, case.now, |_| None);
    assert_eq!(seen(&verdict), Seen::Challenged);
}

#[test]
fn stored_hashes_serve_their_own_algorithm_alone() {
    use sip_auth::{Hash, digest::ha1};
    for (algorithm, accepted) in
        [(Algorithm::MD5, true), (Algorithm::MD5_SESS, true), (Algorithm::SHA_256, false)]
    {
        let mut case = case(algorithm, Qop::Auth, PASSWORD);
        let stored = Secret::ha1(Hash::Md5, ha1(Hash::Md5, "alice", REALM, PASSWORD));
        let verdict = case.server.verify(&case.request, case.now, |_| Some(stored));
        assert_eq!(seen(&verdict) == Seen::Accepted, accepted, "{algorithm}");
    }
}

#[test]
fn credentials_that_are_none_get_400_and_say_why_in_the_log() {
    use BadCredentials::*;
    let base = case(Algorithm::SHA_256, Qop::Auth, PASSWORD);
    let without = |name: &str| {
        let kept = credentials(&base.request);
        let params: Vec<String> =
            kept.params().iter().filter(|(n, _)| *n != name).map(|(n, v)| format!("{n}={v}")).collect();
        format!("Digest {}", params.join(", "))
    };
    let text = base.request.headers.text("Authorization").unwrap().to_owned();
    let cases = [
        (without("username"), Missing("username")),
        (without("uri"), Missing("uri")),
        (without("nonce"), Missing("nonce")),
        (without("response"), Missing("response")),
        (without("nc"), Missing("nc")),
        (without("cnonce"), Missing("cnonce")),
        (text.replace("nc=00000001", "nc=1"), Improper("nc")),
        (text.replace("nc=00000001", "nc=00000000"), Improper("nc")),
        (text.replace("nc=00000001", "nc=\"+0000001\""), Improper("nc")),
        (text.replace("qop=auth", "qop=auth-conf"), Improper("qop")),
        (text.replace("response=\"", "response=\"0"), Improper("response")),
        (format!("{text}, username*=UTF-8''x"), Twice("username")),
        ("Digest realm".to_owned(), Malformed),
    ];
    for (text, expected) in cases {
        let mut request = base.request.clone();
        request.headers.set_raw("Authorization", &text).unwrap();
        let mut server = base.server.clone();
        match server.verify(&request, base.now, secret_of) {
            Verdict::Bad(reason) => assert_eq!(reason, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let mut flooded = base.request.clone();
    (0..9).for_each(|_| flooded.headers.push_raw("Authorization", &text).unwrap());
    let mut server = base.server.clone();
    let verdict = server.verify(&flooded, base.now, secret_of);
    assert!(matches!(verdict, Verdict::Bad(TooMany)));
    assert_eq!(server.refusal(&flooded, &verdict, base.now).unwrap().build().unwrap().status().code(), 400);
}

#[test]
fn what_is_not_offered_or_empty_is_challenged() {
    let base = case(Algorithm::SHA_256, Qop::Auth, PASSWORD);
    let reason = |text: &str| {
        let mut request = base.request.clone();
        request.headers.set_raw("Authorization", text).unwrap();
        match base.server.clone().verify(&request, base.now, secret_of) {
            Verdict::Challenge { stale: false, reason } => reason,
            other => panic!("{text}: {other:?}"),
        }
    };
    let text = base.request.headers.text("Authorization").unwrap();
    assert_eq!(reason(&text.replace("SHA-256", "MD5")), ChallengeReason::AlgorithmNotOffered);
    assert_eq!(reason(&text.replace("SHA-256", "SHA-1")), ChallengeReason::AlgorithmNotOffered);
    assert_eq!(reason("Basic YWxpY2U6d29uZGVybGFuZA=="), ChallengeReason::NoCredentials);
    let announced =
        format!("Digest username=\"alice\", realm=\"{REALM}\", nonce=\"\", uri=\"{URI}\", response=\"\"");
    assert_eq!(reason(&announced), ChallengeReason::NoCredentials);
}

#[test]
fn ack_and_cancel_are_never_challenged_rfc_3261_section_22_1() {
    let (mut server, now) = verifier(config());
    for method in [Method::Ack, Method::Cancel] {
        let request = request(method, URI, "");
        let verdict = server.verify(&request, now, secret_of);
        assert!(matches!(verdict, Verdict::Exempt));
        assert!(server.refusal(&request, &verdict, now).is_none());
    }
}

#[test]
fn the_form_of_rfc_2069_serves_once_per_nonce() {
    use sip_auth::{DigestRequest, Hash, digest::ha1};
    let mut config = config();
    config.algorithms = vec![Algorithm::MD5];
    let (mut server, now) = verifier(config.clone());
    let nonce = server.new_nonce(now);
    let ha1 = ha1(Hash::Md5, "alice", REALM, PASSWORD);
    let (algorithm, method) = (Algorithm::MD5, "INVITE");
    let response =
        DigestRequest { algorithm, ha1: &ha1, nonce: &nonce, protection: None, method, uri: URI, body: b"" }
            .response();
    let mut request = invite();
    let text = format!(
        "Digest username=\"alice\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{URI}\", response=\"{response}\""
    );
    request.headers.set_raw("Authorization", &text).unwrap();
    assert_eq!(seen(&server.verify(&request, now, secret_of)), Seen::Accepted);
    assert_eq!(seen(&server.verify(&request, now, secret_of)), Seen::Stale);
    config.accept_without_qop = false;
    let (mut strict, _) = verifier(config);
    let verdict = strict.verify(&request, now, secret_of);
    assert!(matches!(verdict, Verdict::Challenge { reason: ChallengeReason::WithoutQop, .. }));
}

#[test]
fn extended_user_names_are_read_rfc_7616_section_3_4() {
    let (mut server, now) = verifier(config());
    let name = "J\u{e4}s\u{f8}n Doe";
    let mut client = Authenticator::default();
    client.add_account(None, name, Secret::password("x"));
    let mut request = invite();
    let response = refused(&mut server, &request, now);
    client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
    let request = edited(&request, |text| {
        text.replace(&format!("username=\"{name}\""), "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe")
    });
    let verdict = server.verify(&request, now, |user| (user == name).then(|| Secret::password("x")));
    assert_eq!(seen(&verdict), Seen::Accepted);
}

#[test]
fn memory_is_bounded_and_forgotten_nonces_are_stale() {
    let mut config = config();
    config.max_tracked_nonces = 3;
    let (mut server, now) = verifier(config);
    let mut requests = Vec::new();
    for second in 0..5 {
        let now = now + Duration::from_secs(second);
        let (mut client, mut request) = (alice(), invite());
        let response = refused(&mut server, &request, now);
        client.answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
        assert_eq!(seen(&server.verify(&request, now, secret_of)), Seen::Accepted);
        requests.push((client, request));
    }
    assert_eq!(server.tracked_nonces(), 3);
    let now = now + Duration::from_secs(5);
    for (client, request) in &mut requests {
        assert_eq!(seen(&server.verify(request, now, secret_of)), Seen::Stale, "no replay, forgotten or not");
        client.authorize(request, "d");
    }
    let again: Vec<Seen> =
        requests.iter().map(|(_, request)| seen(&server.verify(request, now, secret_of))).collect();
    assert_eq!(again, [Seen::Stale, Seen::Stale, Seen::Accepted, Seen::Accepted, Seen::Accepted]);
}

#[test]
fn servers_with_one_secret_take_each_others_nonces_and_survive_a_restart() {
    let (mut first, now) = verifier(config());
    let mut request = invite();
    let response = refused(&mut first, &request, now);
    alice().answer(&mut request, &response, &mut Attempts::default(), "c").unwrap();
    // A minute later, in another process: its own clock starts at zero, the time of day goes on.
    let mut second = Verifier::new(config(), now, Duration::from_secs(1_700_000_060)).unwrap();
    assert_eq!(seen(&second.verify(&request, now, secret_of)), Seen::Accepted);
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    use sip_auth::VerifierConfigError::*;
    let fails = |edit: fn(&mut sip_auth::VerifierConfig)| {
        let mut config = config();
        edit(&mut config);
        Verifier::new(config, std::time::Instant::now(), Duration::ZERO).unwrap_err()
    };
    assert_eq!(fails(|c| c.algorithms.clear()), NoAlgorithm);
    assert_eq!(fails(|c| c.algorithms.push(Algorithm::MD5)), AlgorithmTwice(Algorithm::MD5));
    assert_eq!(fails(|c| c.realm = "a\r\nb".into()), InvalidRealm);
}
