//! Connected identity (RFC 4916): who is at the other end, told by the From of requests in a dialog.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod pair;

use pair::Pair;
use sip_dialog::{Body, Error, Event};
use sip_message::headers::{From, NameAddr, Supported, To};
use sip_message::{Method, StatusCode};

fn pair() -> Pair {
    Pair::of(|config, _| config.connected_identity = true)
}

fn carol() -> NameAddr {
    "Carol <sip:carol@example.com>".parse().unwrap()
}

/// §4.1, §4.2: `from-change` in the INVITE and in its 2xx; then Bob, who is Carol, says so by UPDATE, and Alice writes to her.
#[test]
fn the_caller_hears_who_answered() {
    let mut pair = pair();
    let (call, incoming) = pair.connect();
    for (_, message) in pair.seen.iter().take(2) {
        assert!(message.headers().all::<Supported>().flatten().any(|tag| tag.0 == "from-change"));
    }
    assert!(pair.bob.owes_identity(incoming) && !pair.alice.owes_identity(call));
    assert_eq!(pair.bob.change_identity(pair.now, incoming, &carol()), Ok(true));
    assert!(!pair.bob.owes_identity(incoming));
    pair.settle();
    let Some(Event::PeerIdentified { identity, .. }) = pair.alice.poll_event() else { panic!() };
    assert_eq!((identity.display_name(), identity.uri().as_str()), (Some("Carol"), "sip:carol@example.com"));
    assert_eq!(pair.log, ["<- UPDATE", "-> 200 UPDATE"]);
    // §4.4.1: To has the new URI from now on, and so has her From; the tags stay.
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.settle();
    let bye = pair.last_request(&Method::Bye, true);
    let update = pair.last_request(&Method::Update, false);
    let (to, from) = (bye.headers.require::<To>().unwrap(), update.headers.require::<From>().unwrap());
    assert_eq!((to.0.uri(), to.tag()), (from.0.uri(), from.tag()));
    pair.nothing_is_left();
}

/// §4.3: by re-INVITE to a peer that takes no UPDATE; §4.4.2: a request that is refused changes nothing.
#[test]
fn a_change_counts_when_it_is_accepted() {
    for accepted in [true, false] {
        let mut pair = Pair::of(|config, alice| {
            config.connected_identity = true;
            config.allow.retain(|method| !alice || *method != Method::Update);
        });
        let (call, incoming) = pair.connect();
        assert_eq!(pair.bob.change_identity(pair.now, incoming, &carol()), Ok(false));
        pair.bob.reinvite(pair.now, incoming, Some(Body::sdp("hold"))).unwrap();
        pair.settle();
        assert!(matches!(pair.alice.poll_event(), Some(Event::Reinvited { .. })));
        match accepted {
            true => pair.alice.accept(pair.now, call, Some(Body::sdp("held"))).unwrap(),
            false => pair.alice.reject(pair.now, call, StatusCode::NOT_ACCEPTABLE_HERE).unwrap(),
        }
        pair.settle();
        let remote = pair.alice.dialog(call).unwrap().remote().uri().as_str();
        assert_eq!(remote == "sip:carol@example.com", accepted, "{remote}");
        let told = matches!(pair.alice.poll_event(), Some(Event::PeerIdentified { .. }));
        assert_eq!(told, accepted);
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.nothing_is_left();
    }
}

/// Whoever did not say `from-change` is told nothing, and a From that changes all the same is not believed.
#[test]
fn nothing_changes_for_those_who_do_not_support_it() {
    let mut pair = Pair::of(|config, alice| config.connected_identity = !alice);
    let (call, incoming) = pair.connect();
    assert!(!pair.bob.takes_new_identity(incoming) && !pair.bob.owes_identity(incoming));
    let told = pair.bob.change_identity(pair.now, incoming, &carol());
    assert!(matches!(told, Err(Error::WrongState { .. })), "{told:?}");
    let before = pair.alice.dialog(call).unwrap().remote().clone();
    pair.bob.update(pair.now, incoming, None, None).unwrap();
    pair.settle();
    assert_eq!(pair.alice.dialog(call).unwrap().remote(), &before);
    pair.alice.hang_up(pair.now, call).unwrap();
    pair.nothing_is_left();
}
