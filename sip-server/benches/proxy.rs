//! What the core spends on one call through the proxy and on one registration, without sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod calls;

use calls::{BOB, Bench};
use criterion::{Criterion, criterion_group, criterion_main};
use sip_message::{Method, Uri};
use sip_server::AddressOfRecord;
use sip_server::routing::rules::Facts;
use sip_server::settings::Settings;

/// Settings of a thousand users and seventy patterns.
fn settings() -> Settings {
    let mut text = String::from("authentication = false\ndomains = [\"example.com\"]\n");
    for number in 0..1000 {
        text.push_str(&format!("[[user]]\nname = \"user{number}\"\nforward.busy = \"user0\"\n"));
    }
    text.push_str("[[user]]\nname = \"bob\"\nforward = { no_answer = \"user2\", unreachable = \"user3\" }\n");
    for number in 0..50 {
        text.push_str(&format!("[[route]]\npattern = '\\+{number}([0-9]+)'\nreject = 404\n"));
    }
    for number in 0..10 {
        text.push_str(&format!("[[rewrite]]\npattern = '00{number}(.*)'\nreplace = '+$1'\n"));
        text.push_str(&format!("[[block]]\ncaller = '.*@spam{number}'\n"));
    }
    text = text.replace("forward.busy = \"user0\"\n[[user]]\nname = \"user1\"", "[[user]]\nname = \"user1\"");
    Settings::parse(&text).unwrap()
}

/// What the rules alone take to decide.
fn decide(c: &mut Criterion, name: &str, user: &str) {
    let mut rules = settings().rules().clone();
    let uri: Uri = format!("sip:{user}@example.com").parse().unwrap();
    let caller: Uri = "sip:alice@chicago.example".parse().unwrap();
    let called = AddressOfRecord::new(&uri, "example.com");
    let facts = Facts {
        method: &Method::Invite,
        uri: &uri,
        called: called.as_ref(),
        caller: Some(&caller),
        user: None,
        source: [192, 0, 2, 11].into(),
        route: None,
    };
    c.bench_function(name, |b| b.iter(|| rules.decide(&facts)));
}

fn benches(c: &mut Criterion) {
    decide(c, "decision on a user who forwards", "bob");
    decide(c, "decision by the last of fifty patterns", "+4999");
    let mut registered = Bench::new(|_| {});
    let extra = "To: <sip:bob@example.com>\r\nContact: <sip:bob@192.0.2.12:5060>\r\nExpires: 7200\r\n";
    let register = registered.request("REGISTER", "sip:example.com", extra, "");
    let text = String::from_utf8(register.to_vec()).unwrap().replacen(
        "Contact: <sip:alice@192.0.2.11:5060>\r\n",
        "",
        1,
    );
    registered.give(BOB, text.into());
    c.bench_function("call by look-up, 6 messages in, 7 out", |b| b.iter(|| registered.call()));
    let settings = settings();
    let mut ruled = Bench::new(|config| settings.configure(config));
    let text = String::from_utf8(register.to_vec()).unwrap();
    ruled.give(BOB, text.replacen("Contact: <sip:alice@192.0.2.11:5060>\r\n", "", 1).into());
    c.bench_function("call by rules (forwarding, 70 patterns, 1,000 users)", |b| b.iter(|| ruled.call()));
    let mut fixed = Bench::new(|config| config.next_hop = Some("sip:192.0.2.12:5060".parse().unwrap()));
    c.bench_function("call to a fixed next hop, 6 messages in, 7 out", |b| b.iter(|| fixed.call()));
    let mut registrar = Bench::new(|_| {});
    c.bench_function("REGISTER, 10,000 users, no authentication", |b| b.iter(|| registrar.register()));
}

criterion_group!(all, benches);
criterion_main!(all);
