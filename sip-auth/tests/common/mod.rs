//! Requests and parties that the tests share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use sip_auth::{Authenticator, Secret, Verifier, VerifierConfig};
use sip_message::headers::Credentials;
use sip_message::{Method, Request, Response, Uri};

pub(crate) const REALM: &str = "example.com";
pub(crate) const URI: &str = "sip:bob@example.com";
pub(crate) const PASSWORD: &str = "wonder: \"land\" \\";

pub(crate) fn request(method: Method, uri: &str, body: &str) -> Request {
    let uri: Uri = uri.parse().unwrap();
    Request::builder(method.clone(), &uri)
        .raw("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .raw("From", "<sip:alice@example.com>;tag=1")
        .raw("To", "<sip:bob@example.com>")
        .raw("Call-ID", "1@192.0.2.1")
        .raw("CSeq", &format!("1 {method}"))
        .body("application/sdp", body.to_owned())
        .build()
        .unwrap()
}

pub(crate) fn invite() -> Request {
    request(Method::Invite, URI, "v=0\r\n")
}

pub(crate) fn secret_of(name: &str) -> Option<Secret> {
    (name == "alice").then(|| Secret::password(PASSWORD))
}

pub(crate) fn alice() -> Authenticator {
    let mut alice = Authenticator::default();
    alice.add_account(None, "alice", Secret::password(PASSWORD));
    alice
}

pub(crate) fn config() -> VerifierConfig {
    VerifierConfig::new(REALM, [9; 32])
}

/// A verifier and the time of its start.
pub(crate) fn verifier(config: VerifierConfig) -> (Verifier, Instant) {
    let now = Instant::now();
    (Verifier::new(config, now, Duration::from_secs(1_700_000_000)).unwrap(), now)
}

/// The refusal of a request, as the client gets it.
pub(crate) fn refused(server: &mut Verifier, request: &Request, now: Instant) -> Response {
    let verdict = server.verify(request, now, secret_of);
    server.refusal(request, &verdict, now).expect("a refusal").build().unwrap()
}

pub(crate) fn credentials(request: &Request) -> Credentials {
    request.headers.text("Authorization").expect("credentials").parse().unwrap()
}

/// The request with the text of its Authorization changed.
pub(crate) fn edited(request: &Request, edit: impl FnOnce(String) -> String) -> Request {
    let mut request = request.clone();
    let text = request.headers.text("Authorization").unwrap().to_owned();
    request.headers.set_raw("Authorization", &edit(text)).unwrap();
    request
}
