//! Info packages (RFC 6086): which INFO each side of a call takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use pair::{Pair, invite};
use sip_dialog::{Body, Event};
use sip_message::{Method, StatusCode};
use sip_transport::Core as _;

/// What Alice and Bob take; `None`: they know nothing of packages.
fn pair(alices: Option<&[&str]>, bobs: Option<&[&str]>) -> Pair {
    let own =
        |packages: Option<&[&str]>| packages.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
    Pair::of(|config, is_alice| config.info_packages = own(if is_alice { alices } else { bobs }))
}

/// `Recv-Info` of all that passed and had one: whether from Alice, the method or status, the value.
fn told(pair: &Pair) -> Vec<(bool, String, String)> {
    let of = |(from_alice, message): &(bool, sip_message::Message)| {
        let packages = message.headers().text("Recv-Info")?.to_owned();
        let what = match message {
            sip_message::Message::Request(request) => request.method().to_string(),
            sip_message::Message::Response(response) => response.status().code().to_string(),
        };
        Some((*from_alice, what, packages))
    };
    pair.seen.iter().filter_map(of).collect()
}

/// §5.2.2, §5.2.3: who knows of packages says so in its INVITE, even with none; the answer says it too, and 18x that are not reliable do
/// not. Each knows then what it may send.
#[test]
fn both_sides_say_what_they_take() {
    let mut pair = pair(Some(&[]), Some(&["weather", "Foo"]));
    let (call, incoming) = pair.connect();
    let all = told(&pair);
    assert_eq!(all, [(true, "INVITE".into(), String::new()), (false, "200".into(), "weather, Foo".into())]);
    assert_eq!(pair.alice.peer_takes_info(call, "WEATHER"), Some(true));
    assert_eq!(pair.alice.peer_takes_info(call, "foo"), Some(true));
    assert_eq!(pair.alice.peer_takes_info(call, "bar"), Some(false));
    assert_eq!(
        pair.bob.peer_takes_info(incoming, "foo"),
        Some(false),
        "she knows of packages and takes none"
    );
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// §5.2.3: no response says it whose request does not; such a peer gets nothing of a package.
#[test]
fn who_knows_nothing_of_packages_is_told_nothing() {
    let mut silent = pair(None, Some(&["weather"]));
    let (call, incoming) = silent.connect();
    assert_eq!(told(&silent), []);
    assert_eq!(silent.bob.peer_takes_info(incoming, "weather"), None);
    assert_eq!(silent.alice.peer_takes_info(call, "weather"), None);

    let mut asking = pair(Some(&["weather"]), None);
    let (call, incoming) = asking.connect();
    assert_eq!(told(&asking).len(), 1, "the INVITE");
    assert_eq!(asking.alice.peer_takes_info(call, "weather"), None);
    assert_eq!(asking.bob.peer_takes_info(incoming, "weather"), Some(true), "what she has said he may use");
}

/// §4.2.2: a package that was not named is a 469, with what is taken.
#[test]
fn a_package_that_is_not_taken() {
    let mut pair = pair(Some(&[]), Some(&["weather"]));
    let (call, _) = pair.connect();
    for (package, taken) in
        [("Weather", Ok(Some("weather".to_owned()))), ("bar", Err(StatusCode::BAD_INFO_PACKAGE))]
    {
        let fields = [("Info-Package", package)];
        pair.alice.request_in_call_with(pair.now, call, Method::Info, &fields, None).unwrap();
        pair.settle();
        let info = pair.last_request(&Method::Info, true);
        assert_eq!(pair.bob.info_package(&info), taken);
        let refusal = pair.bob.bad_info_package(info.reply(StatusCode::BAD_INFO_PACKAGE)).build().unwrap();
        assert_eq!(refusal.headers.text("Recv-Info"), Some("weather"));
    }
}

/// §5.2.4: what a re-INVITE says counts when it is accepted, and not if it is refused.
#[test]
fn a_refused_change_of_packages_is_none() {
    let mut pair = pair(Some(&["weather"]), Some(&[]));
    let (call, incoming) = pair.connect();
    let takes = |pair: &Pair, package: &str| pair.bob.peer_takes_info(incoming, package);
    for accepted in [false, true] {
        pair.alice.reinvite(pair.now, call, Some(Body::sdp("hold"))).unwrap();
        let sent = pair.alice.poll_transmit().unwrap();
        let changed =
            String::from_utf8(sent.payload.to_vec()).unwrap().replace("Recv-Info: weather", "Recv-Info: bar");
        pair.inject_to_bob(&changed);
        assert!(matches!(pair.bob.poll_event(), Some(Event::Reinvited { .. })));
        assert_eq!((takes(&pair, "weather"), takes(&pair, "bar")), (Some(true), Some(false)), "not yet");
        if accepted {
            pair.bob.accept(pair.now, incoming, Some(Body::sdp("held"))).unwrap();
        } else {
            pair.bob.reject(pair.now, incoming, StatusCode::NOT_ACCEPTABLE_HERE).unwrap();
        }
        pair.settle();
        assert_eq!((takes(&pair, "weather"), takes(&pair, "bar")), (Some(!accepted), Some(accepted)));
    }
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}

/// §5.2.3: an UPDATE says it, and its answer.
#[test]
fn an_update_says_it() {
    let mut pair = pair(Some(&["foo"]), Some(&["weather"]));
    let (call, _) = pair.connect();
    let before = told(&pair).len();
    pair.alice.update(pair.now, call, None, None).unwrap();
    pair.settle();
    let all = told(&pair).split_off(before);
    assert_eq!(all, [(true, "UPDATE".into(), "foo".into()), (false, "200".into(), "weather".into())]);
}

/// §5.2.3: a reliable 18x says it as well.
#[test]
fn a_reliable_response_says_it() {
    let mut pair = Pair::of(|config, _| {
        config.info_packages = Some(vec!["weather".into()]);
        config.reliable = sip_dialog::ReliableProvisionals::All;
    });
    pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
    pair.settle();
    let incoming = pair.bob_is_called();
    pair.bob.ring(pair.now, incoming, StatusCode::RINGING, None).unwrap();
    pair.settle();
    let all = told(&pair);
    assert!(all.contains(&(false, "180".into(), "weather".into())), "{all:?}");
}
