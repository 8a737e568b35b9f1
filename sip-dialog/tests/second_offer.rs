//! An offer that is refused and made once more in another form (RFC 3261 §8.1.3.5, §21.4.26).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
mod pair;

use pair::{Pair, invite};
use sip_dialog::{Body, Cause, Event};
use sip_message::StatusCode;

#[test]
fn rfc3261_8_1_3_5_the_second_offer_has_the_next_cseq_of_the_same_call() {
    for status in [
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::NOT_ACCEPTABLE_HERE,
        StatusCode::NOT_ACCEPTABLE_ANYWHERE,
    ] {
        let mut pair = Pair::new();
        let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
        pair.alice.offer_if_refused(call, Body::sdp("second offer")).unwrap();
        pair.settle();
        let Some(Event::Incoming { request: first, call: refused, .. }) = pair.bob.poll_event() else {
            panic!()
        };
        pair.bob.reject(pair.now, refused, status).unwrap();
        pair.settle();
        let second = loop {
            match pair.bob.poll_event() {
                Some(Event::Incoming { request, call, .. }) => {
                    pair.bob.accept(pair.now, call, Some(Body::sdp("answer"))).unwrap();
                    break request;
                }
                Some(_) => {}
                None => panic!("no second INVITE after {status}"),
            }
        };
        pair.settle();
        assert_eq!((first.body().as_ref(), second.body().as_ref()), (&b"offer"[..], &b"second offer"[..]));
        for same in ["Call-ID", "From", "To"] {
            assert_eq!(first.headers.text(same), second.headers.text(same));
        }
        assert_eq!(second.headers.text("CSeq"), Some("2 INVITE"));
        assert!(
            matches!(pair.alice.poll_event(), Some(Event::OfferedAgain { call: again }) if again == call)
        );
        assert!(
            matches!(pair.alice.poll_event(), Some(Event::Answered { call: stands, .. }) if stands == call)
        );
        assert!(pair.alice.offer_if_refused(call, Body::sdp("third")).is_err(), "it is answered");
        pair.alice.hang_up(pair.now, call).unwrap();
        pair.settle();
        pair.nothing_is_left();
    }
}

#[test]
fn it_is_made_once_and_for_nothing_else_than_what_was_offered() {
    for (status, invites) in [(StatusCode::NOT_ACCEPTABLE_HERE, 2), (StatusCode::BUSY_HERE, 1)] {
        let mut pair = Pair::new();
        let call = pair.alice.invite(pair.now, invite(Some("offer"))).unwrap();
        pair.alice.offer_if_refused(call, Body::sdp("second offer")).unwrap();
        pair.settle();
        let mut came = 0;
        while let Some(event) = pair.bob.poll_event() {
            if let Event::Incoming { call, .. } = event {
                came += 1;
                pair.bob.reject(pair.now, call, status).unwrap();
                pair.settle();
            }
        }
        assert_eq!(came, invites);
        let ended = std::iter::from_fn(|| pair.alice.poll_event()).find_map(|event| match event {
            Event::Ended { cause: Cause::Rejected(response), .. } => Some(response.status()),
            _ => None,
        });
        assert_eq!(ended, Some(status));
        pair.nothing_is_left();
    }
}
