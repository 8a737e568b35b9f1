//! RFC 7701, rule by rule.

use bytes::Bytes;
use msrp::Ident;
use sip_dialog::messaging::cpim::CpimAddress;

use super::*;

const ROOM: &str = "sip:friends@chat.example.com";
const ALICE: &str = "sip:alice@example.com";
const BOB: &str = "sip:bob@example.com";

fn room(change: impl FnOnce(&mut RoomPolicy)) -> Rules {
    let mut policy = RoomPolicy::default();
    change(&mut policy);
    Rules::new(ROOM.parse().unwrap(), policy)
}

fn device(takes_private: bool, wrapped: &str) -> Device {
    Device { takes_private, wrapped: wrapped.parse().unwrap() }
}

fn enter(room: &mut Rules, who: &str) -> Seat {
    room.enter(who.parse().unwrap(), device(true, "*")).unwrap()
}

/// A message as it comes out of a session.
fn message(from: &str, to: &[&str]) -> Received {
    let mut cpim = Cpim::new("text/plain", "Hello");
    cpim.push_from(&CpimAddress::new(None, from));
    for to in to {
        cpim.push_to(&CpimAddress::new(None, to));
    }
    received(Cpim::CONTENT_TYPE, cpim.to_octets())
}

fn received(content_type: &str, body: Bytes) -> Received {
    Received {
        id: "m1xx".parse::<Ident>().unwrap(),
        content_type: content_type.into(),
        fields: Vec::new(),
        body,
    }
}

#[test]
fn rfc_7701_6_1_a_message_to_the_room_goes_to_all_others() {
    let mut room = room(|_| {});
    let (alice, bob, phone) = (enter(&mut room, ALICE), enter(&mut room, BOB), enter(&mut room, ALICE));
    assert_eq!(room.recipients(alice, &message(ALICE, &[ROOM])), Ok(vec![bob, phone]));
    // The same user by other words, and the same room.
    let words = message("sip:alice@EXAMPLE.com;transport=tcp", &["sips:friends@chat.example.com"]);
    assert_eq!(room.recipients(alice, &words), Ok(vec![bob, phone]));
    assert_eq!(
        room.recipients(bob, &message("im:bob@example.com", &["im:friends@chat.example.com"])),
        Ok(vec![alice, phone])
    );
    room.leave(bob, Instant::now());
    assert_eq!(room.recipients(alice, &message(ALICE, &[ROOM])), Ok(vec![phone]));
    assert_eq!(room.recipients(bob, &message(BOB, &[ROOM])), Err(StatusCode::NO_SESSION));
}

#[test]
fn rfc_7701_6_3_nobody_speaks_for_another_and_everything_is_wrapped() {
    let mut room = room(|_| {});
    let (alice, _) = (enter(&mut room, ALICE), enter(&mut room, BOB));
    assert_eq!(room.recipients(alice, &message(BOB, &[ROOM])), Err(StatusCode::FORBIDDEN));
    assert_eq!(
        room.recipients(alice, &message("sip:alice@example.org", &[ROOM])),
        Err(StatusCode::FORBIDDEN)
    );
    assert_eq!(room.recipients(alice, &message("Alice", &[ROOM])), Err(StatusCode::FORBIDDEN));
    let plain = received("text/plain", Bytes::from_static(b"Hello"));
    assert_eq!(room.recipients(alice, &plain), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    let broken = received("Message/CPIM; charset=utf-8", Bytes::from_static(b"Hello"));
    assert_eq!(room.recipients(alice, &broken), Err(StatusCode::BAD_REQUEST));
}

#[test]
fn rfc_7701_6_2_one_recipient_who_is_there_and_takes_private_messages() {
    let mut room = room(|_| {});
    let (alice, bob, again) = (enter(&mut room, ALICE), enter(&mut room, BOB), enter(&mut room, BOB));
    let old = room.enter("sip:carol@example.com".parse().unwrap(), device(false, "*")).unwrap();
    let hidden = enter(&mut room, "sip:anonymous@anonymous.invalid");
    assert_eq!(room.recipients(alice, &message(ALICE, &[BOB])), Ok(vec![bob, again]), "each device");
    assert_eq!(room.recipients(alice, &message(ALICE, &["im:bob@example.com"])), Ok(vec![bob, again]));
    for (to, status) in [
        (&["sip:dave@example.com"][..], StatusCode::NOT_FOUND),
        (&["Bob"], StatusCode::NOT_FOUND),
        (&["sip:carol@example.com"], StatusCode::NO_PRIVATE_MESSAGES),
        (&["sip:anonymous@anonymous.invalid"], StatusCode::NOT_FOUND),
        (&[BOB, "sip:carol@example.com"], StatusCode::FORBIDDEN),
        (&[], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(room.recipients(alice, &message(ALICE, to)), Err(status), "{to:?}");
    }
    let all = room.recipients(alice, &message(ALICE, &[ROOM])).unwrap();
    assert!(all.contains(&old) && all.contains(&hidden));
    let mut copied = Cpim::new("text/plain", "Hello");
    copied.push_from(&CpimAddress::new(None, ALICE));
    copied.push_to(&CpimAddress::new(None, BOB));
    copied.push_cc(&CpimAddress::new(None, "sip:carol@example.com"));
    let copied = received(Cpim::CONTENT_TYPE, copied.to_octets());
    assert_eq!(room.recipients(alice, &copied), Err(StatusCode::FORBIDDEN));
}

#[test]
fn rfc_7701_4_1_what_the_room_does_not_allow_is_refused() {
    let mut room = room(|policy| {
        (policy.private_messages, policy.nicknames, policy.sessions, policy.sessions_of_one) =
            (false, false, 3, 2);
        policy.wrapped_types = "text/plain".parse().unwrap();
    });
    let (alice, bob) = (enter(&mut room, ALICE), enter(&mut room, BOB));
    assert_eq!(room.recipients(alice, &message(ALICE, &[BOB])), Err(StatusCode::FORBIDDEN));
    assert_eq!(room.nickname(alice, "Al", Instant::now()), StatusCode::FORBIDDEN);
    let mut picture = Cpim::new("image/png", "...");
    picture.push_from(&CpimAddress::new(None, ALICE));
    picture.push_to(&CpimAddress::new(None, ROOM));
    let picture = received(Cpim::CONTENT_TYPE, picture.to_octets());
    assert_eq!(room.recipients(alice, &picture), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    assert!(room.enter(BOB.parse().unwrap(), device(true, "*")).is_some());
    assert!(
        room.enter("sip:carol@example.com".parse().unwrap(), device(true, "*")).is_none(),
        "three are in"
    );
    room.leave(bob, Instant::now());
    enter(&mut room, BOB);
    room.leave(alice, Instant::now());
    assert!(room.enter(BOB.parse().unwrap(), device(true, "*")).is_none(), "two devices of Bob are in");
}

#[test]
fn rfc_7701_6_1_who_cannot_show_it_does_not_get_it() {
    let mut room = room(|_| {});
    let alice = enter(&mut room, ALICE);
    room.enter(BOB.parse().unwrap(), device(true, "text/html")).unwrap();
    let carol =
        room.enter("sip:carol@example.com".parse().unwrap(), device(true, "text/plain text/html")).unwrap();
    assert_eq!(room.recipients(alice, &message(ALICE, &[ROOM])), Ok(vec![carol]));
    assert_eq!(room.recipients(alice, &message(ALICE, &[BOB])), Ok(vec![]));
}

#[test]
fn rfc_7701_7_nicknames_belong_to_users() {
    let mut room = room(|policy| policy.reserved_nicknames = vec!["Admin".into()]);
    let (alice, bob, phone) = (enter(&mut room, ALICE), enter(&mut room, BOB), enter(&mut room, ALICE));
    let mut now = Instant::now();
    assert_eq!(room.nickname(alice, "The Boss", now), StatusCode::OK);
    assert_eq!(room.nickname(bob, "  the  BOSS", now), StatusCode::NICKNAME_FAILED);
    assert_eq!(room.nickname(bob, "admin", now), StatusCode::NICKNAME_FAILED);
    assert_eq!(room.nickname(bob, " \u{202e}", now), StatusCode::MALFORMED_NICKNAME);
    assert_eq!(room.nickname(phone, "the boss", now), StatusCode::OK, "§7.1: another device of the user");
    let shown: Vec<_> = room.roster().collect();
    assert_eq!(shown[0], (ALICE.into(), Some("The Boss".into())));
    assert_eq!(shown[1], (BOB.into(), None));
    // §7.2: what fails changes nothing; what succeeds frees the old one.
    assert_eq!(room.nickname(phone, "admin", now), StatusCode::NICKNAME_FAILED);
    assert_eq!(room.nickname(alice, "Al", now), StatusCode::OK);
    assert_eq!(room.nickname(bob, "the boss", now), StatusCode::NICKNAME_FAILED, "the phone has it");
    assert_eq!(room.nickname(phone, "", now), StatusCode::OK);
    assert_eq!(room.nickname(bob, "the boss", now), StatusCode::OK);
    // Left: it waits for its user.
    room.leave(bob, now);
    assert_eq!(room.nickname(alice, "the boss", now), StatusCode::NICKNAME_FAILED);
    now += RoomPolicy::default().quarantine * 2;
    assert_eq!(room.nickname(alice, "the boss", now), StatusCode::OK);
}

#[test]
fn users_without_a_name_are_not_one_user() {
    let mut room = room(|_| {});
    let [one, other] = [(); 2].map(|()| enter(&mut room, "sip:anonymous@anonymous.invalid"));
    let now = Instant::now();
    assert_eq!(room.nickname(one, "Zorro", now), StatusCode::OK);
    assert_eq!(room.nickname(other, "zorro", now), StatusCode::NICKNAME_FAILED);
}
