//! Digest fields: the first octets of the input become credentials that a server judges and a challenge that a client
//! answers. Nothing panics, nothing is accepted that was not signed, and a client gives up.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sip_auth::{Attempts, Authenticator, Secret, Verdict, Verifier, VerifierConfig};
use sip_message::{Method, Request, StatusCode, Uri};

fn secret_of(name: &str) -> Option<Secret> {
    (name == "alice").then(|| Secret::password("a password that no input holds"))
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let uri: Uri = "sip:bob@example.com".parse().expect("a URI");
    let Ok(mut request) = Request::builder(Method::Invite, &uri)
        .raw("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .raw("From", "<sip:alice@example.com>;tag=1")
        .raw("To", "<sip:bob@example.com>")
        .raw("Call-ID", "1")
        .raw("CSeq", "1 INVITE")
        .build()
    else {
        return;
    };
    let now = Instant::now();
    let config = VerifierConfig::new("example.com", [7; 32]);
    let mut server = Verifier::new(config, now, Duration::from_secs(1_700_000_000)).expect("a configuration");
    if request.headers.push_raw("Authorization", first).is_ok() {
        let _ = request.headers.push_raw("Authorization", second);
        let verdict = server.verify(&request, now, secret_of);
        assert!(!matches!(verdict, Verdict::Accepted(_)));
        let refusal = server.refusal(&request, &verdict, now).expect("a refusal").build().expect("a response");
        assert!([400, 401].contains(&refusal.status().code()));
    }

    let mut client = Authenticator::default();
    client.add_account(None, "alice", Secret::password("secret"));
    let mut attempts = Attempts::default();
    let reply = request.reply(StatusCode::UNAUTHORIZED).raw("WWW-Authenticate", first).raw("WWW-Authenticate", second);
    let Ok(response) = reply.raw("Authentication-Info", second).build() else { return };
    let tries = (0..10).take_while(|_| client.answer(&mut request, &response, &mut attempts, "c").is_ok()).count();
    assert!(tries <= 4, "two realms, two tries each");
    let _ = client.receive_info(&request, &response);
    client.authorize(&mut request, "d");
});
