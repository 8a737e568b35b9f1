//! The client's half of AUTH (RFC 4976 §5.1, §9.1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use bytes::Bytes;
use msrp::auth::{Account, Auth, AuthError, Next};
use msrp::{Head, Ident, Path, StatusCode, Uri};

const ALICE: &str = "msrps://alice.example.com:9892/98cjs;tcp";

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn auth(account: Account) -> Auth {
    let relay: Path = "msrps://alice@intra.example.com;tcp".parse().unwrap();
    Auth::new(account, relay, uri(ALICE)).unwrap()
}

fn account() -> Account {
    Account::new("Alice", "secret")
}

fn request(auth: &mut Auth) -> String {
    let id: Ident = "49fh".parse().unwrap();
    String::from_utf8(auth.request(id, 0x0a4f_113b).unwrap().to_vec()).unwrap()
}

fn answer(auth: &mut Auth, status: &str, fields: &str) -> Result<Next, AuthError> {
    let text = format!(
        "MSRP 49fh {status}\r\nTo-Path: {ALICE}\r\nFrom-Path: msrps://intra.example.com;tcp\r\n{fields}"
    );
    auth.answered(&Head::parse(Bytes::from(text), false).unwrap())
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"intra.example.com\", qop=\"auth\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"\r\n";
const GRANT: &str = "Use-Path: msrps://intra.example.com:9000/jui787s2f;tcp\r\nExpires: 900\r\n";

#[test]
fn rfc_4976_5_1_a_relay_challenges_and_gives_a_uri() {
    let mut auth = auth(account());
    let first = request(&mut auth);
    assert_eq!(
        first,
        format!(
            "MSRP 49fh AUTH\r\nTo-Path: msrps://alice@intra.example.com;tcp\r\nFrom-Path: {ALICE}\r\n-------49fh$\r\n"
        )
    );
    assert_eq!(answer(&mut auth, "401 Unauthorized", CHALLENGE), Ok(Next::Again));
    let second = request(&mut auth);
    // HA1 = MD5(Alice:intra.example.com:secret), A2 = AUTH and the rightmost URI of To-Path; computed with another program.
    assert!(
        second.contains("Authorization: Digest username=\"Alice\", realm=\"intra.example.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"msrps://alice@intra.example.com;tcp\", qop=auth, nc=00000001, cnonce=\"000000000a4f113b\", response=\"23aade2f976eba26710c3488728b3f7e\"\r\n"),
        "{second}"
    );
    let Ok(Next::Granted(grant)) = answer(
        &mut auth,
        "200 OK",
        &(GRANT.to_owned()
            + "Authentication-Info: nextnonce=\"next\", rspauth=\"1e6f6d35003acd4df828baae249844c4\", cnonce=\"000000000a4f113b\", nc=00000001, qop=auth\r\n"),
    ) else {
        panic!("no URI");
    };
    assert_eq!((grant.expires(), grant.renew_after().unwrap().as_secs()), (Some(900), 810));
    // The path of RFC 4976 §5.1, with one relay.
    let peer: Path = "msrps://d.example.net:9000/d;tcp msrps://f.example.net:9/f;tcp".parse().unwrap();
    assert_eq!(
        grant.towards(&peer).unwrap().to_string(),
        format!("msrps://intra.example.com:9000/jui787s2f;tcp {peer}")
    );
    assert_eq!(
        grant.offered(&uri(ALICE)).unwrap().to_string(),
        format!("msrps://intra.example.com:9000/jui787s2f;tcp {ALICE}")
    );
    // To renew, the nonce that was announced is used at once.
    let renewal = request(&mut auth);
    assert!(renewal.contains("nonce=\"next\"") && renewal.contains("nc=00000001"), "{renewal}");
}

#[test]
fn rfc_4976_5_1_the_order_of_several_relays() {
    let mut auth = auth(account());
    request(&mut auth);
    let Ok(Next::Granted(grant)) =
        answer(&mut auth, "200 OK", "Use-Path: msrps://b.example:1/b;tcp msrps://c.example:1/c;tcp\r\n")
    else {
        panic!("no URI");
    };
    assert_eq!(
        grant.offered(&uri(ALICE)).unwrap().to_string(),
        format!("msrps://c.example:1/c;tcp msrps://b.example:1/b;tcp {ALICE}")
    );
}

#[test]
fn a_stale_nonce_is_replaced_and_wrong_credentials_are_the_end() {
    let mut alice = auth(account());
    request(&mut alice);
    answer(&mut alice, "401 Unauthorized", CHALLENGE).unwrap();
    request(&mut alice);
    let stale = CHALLENGE.replace("nonce=\"", "stale=TRUE, nonce=\"new-");
    assert_eq!(answer(&mut alice, "401 Unauthorized", &stale), Ok(Next::Again));
    assert!(request(&mut alice).contains("nonce=\"new-dcd98"));
    assert_eq!(answer(&mut alice, "401 Unauthorized", CHALLENGE), Err(AuthError::Credentials));
    // Nor does it go on for ever.
    let mut alice = auth(account());
    let mut asked = 0;
    let end = loop {
        request(&mut alice);
        asked += 1;
        match answer(&mut alice, "401 Unauthorized", &stale) {
            Ok(Next::Again) => {}
            end => break end,
        }
    };
    assert_eq!((end, asked), (Err(AuthError::TooOften), 5));
}

#[test]
fn rfc_4976_9_1_other_schemes_and_qualities_are_not_answered() {
    for challenge in [
        "WWW-Authenticate: Basic realm=\"x\"\r\n",
        "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n",
        "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"\r\n",
        "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth\", algorithm=MD5-sess\r\n",
        "",
    ] {
        let mut auth = auth(account());
        request(&mut auth);
        let end = answer(&mut auth, "401 Unauthorized", challenge);
        assert_eq!(end, Err(AuthError::Answer("WWW-Authenticate")), "{challenge}");
    }
    let two = "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth\", algorithm=SHA-512-256\r\n\
               WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", qop=\"auth,auth-int\", algorithm=SHA-256\r\n";
    let mut auth = auth(account());
    request(&mut auth);
    assert_eq!(answer(&mut auth, "401 Unauthorized", two), Ok(Next::Again));
    assert!(request(&mut auth).contains(", algorithm=SHA-256\r\n"));
}

#[test]
fn an_interval_out_of_bounds_is_asked_for_again_within_them_and_403_is_the_end() {
    let mut auth = auth(account().expires(10));
    assert!(request(&mut auth).contains("Expires: 10\r\n"));
    assert_eq!(answer(&mut auth, "423 Interval Out-of-Bounds", "Min-Expires: 60\r\n"), Ok(Next::Again));
    assert!(request(&mut auth).contains("Expires: 60\r\n"));
    assert_eq!(answer(&mut auth, "423 Interval Out-of-Bounds", "Max-Expires: 30\r\n"), Ok(Next::Again));
    assert!(request(&mut auth).contains("Expires: 30\r\n"));
    assert!(matches!(answer(&mut auth, "423 X", "Max-Expires: 900\r\n"), Err(AuthError::Answer(_))));
    // Without any bound it is left to the relay, once.
    assert_eq!(answer(&mut auth, "423 X", ""), Ok(Next::Again));
    assert!(!request(&mut auth).contains("Expires"));
    assert!(matches!(answer(&mut auth, "423 X", ""), Err(AuthError::Answer(_))));
    assert_eq!(answer(&mut auth, "403 Forbidden", ""), Err(AuthError::Forbidden));
    let gone = answer(&mut auth, "501 What", "").unwrap_err();
    assert_eq!(gone, AuthError::Failed(msrp::Failure::Status(StatusCode::UNKNOWN_METHOD)));
}

#[test]
fn a_relay_that_does_not_prove_itself_and_uris_that_nobody_can_use_are_refused() {
    let mut alice = auth(account());
    request(&mut alice);
    answer(&mut alice, "401 Unauthorized", CHALLENGE).unwrap();
    request(&mut alice);
    let lie = format!("{GRANT}Authentication-Info: rspauth=\"00\", qop=auth\r\n");
    assert_eq!(answer(&mut alice, "200 OK", &lie), Err(AuthError::NotProven));
    for bad in
        ["", "Use-Path: msrps://intra.example.com/jui787s2f;tcp\r\n", "Use-Path: msrps://i.example:9;tcp\r\n"]
    {
        let mut auth = auth(account());
        request(&mut auth);
        assert_eq!(answer(&mut auth, "200 OK", bad), Err(AuthError::Answer("Use-Path")));
    }
}

#[test]
fn rfc_4976_9_2_nothing_is_asked_without_tls_unless_the_caller_insists() {
    let plain: Path = "msrp://relay.example.com:2855;tcp".parse().unwrap();
    assert_eq!(Auth::new(account(), plain.clone(), uri(ALICE)).unwrap_err(), AuthError::Insecure);
    assert!(Auth::new(account().over_plain_tcp(), plain, uri(ALICE)).is_ok());
    // A name that would become another line.
    let mut evil = auth(Account::new("a\r\nTo-Path: x", "secret"));
    request(&mut evil);
    answer(&mut evil, "401 Unauthorized", CHALLENGE).unwrap();
    assert_eq!(evil.request("49fi".parse().unwrap(), 1), Err(AuthError::Name));
}
