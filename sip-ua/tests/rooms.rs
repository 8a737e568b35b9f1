//! Chat rooms (RFC 7701) over loopback sockets, through a server: a phone that hosts one, others that come, write and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::time::Duration;

use sip_dialog::SubscriptionChange;
use sip_dialog::packages::conference::{ConferenceInfo, Roster};
use sip_server::{Server, Users};
use sip_ua::{ChatRoom, Phone, RoomChat, RoomPolicy, SessionError, Subscription};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// A server and a room at it.
struct World {
    at: SocketAddr,
    room: ChatRoom,
    host: Phone,
    hosting: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl World {
    async fn new(change: impl FnOnce(&mut RoomPolicy)) -> Self {
        let users = Users::parse("friends:secret\nalice:secret\nbob:secret\ncarol:secret\n").unwrap();
        let server = Server::builder().listen("udp:127.0.0.1:0").domain("127.0.0.1").users(users);
        let server = server.build().await.unwrap();
        let at = server.locals().iter().next().unwrap().bound;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let _ = server.run_until(stopped).await;
        });
        let host = Phone::builder(&format!("sip:friends@{at}")).password("secret").focus();
        let host = host.listen("udp:127.0.0.1:0").bind().await.unwrap();
        patient("registering", host.register()).await.unwrap();
        let mut policy = RoomPolicy::default();
        change(&mut policy);
        let room = ChatRoom::new(&format!("sip:friends@{at}"), policy).unwrap();
        let hosting = tokio::spawn({
            let (room, host) = (room.clone(), host.clone());
            async move { room.serve(&host).await }
        });
        Self { at, room, host, hosting, stop, serving }
    }

    fn uri(&self) -> String {
        format!("sip:friends@{}", self.at)
    }

    async fn phone(&self, user: &str) -> Phone {
        let builder = Phone::builder(&format!("sip:{user}@{}", self.at)).password("secret");
        let phone = builder.listen("udp:127.0.0.1:0").bind().await.unwrap();
        patient("registering", phone.register()).await.unwrap();
        phone
    }

    async fn join(&self, phone: &Phone) -> RoomChat {
        patient("joining", phone.join_room(&self.uri())).await.unwrap()
    }

    /// Waits until so many are there.
    async fn filled(&self, count: usize) {
        patient("their coming and going", async {
            while self.room.participants().len() != count {
                self.room.changed().await;
            }
        })
        .await;
    }

    async fn end(self) {
        patient("closing", self.host.close()).await;
        patient("the end of the room", self.hosting).await.unwrap();
        drop(self.stop);
        patient("the end of the server", self.serving).await.unwrap();
    }
}

async fn heard(room: &mut RoomChat) -> (String, String, bool) {
    let message = patient("a message", room.next()).await.unwrap();
    (message.from, message.text, message.private)
}

fn refused(result: Result<(), SessionError>) -> u16 {
    match result.unwrap_err() {
        SessionError::NotDelivered(msrp::Failure::Status(status)) | SessionError::Nickname(status) => {
            status.code()
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn rfc_7701_6_what_one_writes_all_others_read_and_private_messages_one() {
    let world = World::new(|_| {}).await;
    let phones = [world.phone("alice").await, world.phone("bob").await, world.phone("carol").await];
    let (mut alice, mut bob, mut carol) =
        (world.join(&phones[0]).await, world.join(&phones[1]).await, world.join(&phones[2]).await);
    assert!(alice.takes_nicknames() && alice.takes_private_messages());
    let [alice_uri, bob_uri] = [0, 1].map(|at: usize| phones[at].address());
    patient("sending", alice.send("Grüß Gott, everybody")).await.unwrap();
    for room in [&mut bob, &mut carol] {
        assert_eq!(heard(room).await, (alice_uri.clone(), "Grüß Gott, everybody".into(), false));
    }
    // §6.2: to Bob alone; the next to all comes to Carol as the next one.
    patient("sending", alice.send_to(&bob_uri, "between us")).await.unwrap();
    patient("sending", bob.send("Hello Alice")).await.unwrap();
    assert_eq!(heard(&mut bob).await, (alice_uri.clone(), "between us".into(), true));
    assert_eq!(heard(&mut carol).await, (bob_uri.clone(), "Hello Alice".into(), false));
    assert_eq!(heard(&mut alice).await, (bob_uri, "Hello Alice".into(), false));
    let nobody = format!("sip:dave@{}", world.at);
    assert_eq!(refused(patient("sending", alice.send_to(&nobody, "?")).await), 404);
    // Whoever leaves hears nothing more, and cannot be written to.
    let carol_uri = phones[2].address();
    patient("leaving", carol.leave()).await;
    world.filled(2).await;
    assert_eq!(refused(patient("sending", alice.send_to(&carol_uri, "?")).await), 404);
    patient("sending", bob.send("still here")).await.unwrap();
    assert_eq!(heard(&mut alice).await.1, "still here");
    // §5.3: the room is closed, for all.
    world.room.close();
    assert!(
        patient("the end", alice.next()).await.is_none() && patient("the end", bob.next()).await.is_none()
    );
    world.filled(0).await;
    world.end().await;
}

/// The next document that the subscription brings.
async fn told(subscription: &mut Subscription, roster: &mut Roster) {
    loop {
        match patient("a NOTIFY", subscription.next()).await.unwrap() {
            SubscriptionChange::Notified { request, .. } if !request.body().is_empty() => {
                roster.receive(ConferenceInfo::parse(request.body()).unwrap());
                return;
            }
            SubscriptionChange::Terminated { .. } => panic!("it has ended"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn rfc_7701_7_nicknames_are_reserved_and_the_roster_tells_them() {
    let world = World::new(|policy| policy.reserved_nicknames = vec!["admin".into()]).await;
    let (alice, bob) = (world.phone("alice").await, world.phone("bob").await);
    let outside =
        patient("subscribing", bob.subscribe(&world.uri(), "conference", &[ConferenceInfo::CONTENT_TYPE]))
            .await;
    if let Ok(mut outside) = outside {
        let ended = patient("the refusal", outside.next()).await;
        assert!(matches!(ended, None | Some(SubscriptionChange::Terminated { .. })), "{ended:?}");
    }
    let mut in_room = world.join(&alice).await;
    let uri = world.uri();
    let subscribed = alice.subscribe(&uri, "conference", &[ConferenceInfo::CONTENT_TYPE]);
    let mut subscription = patient("subscribing", subscribed).await.unwrap();
    let mut roster = Roster::new();
    told(&mut subscription, &mut roster).await;
    assert_eq!(roster.users().map(|user| user.entity.clone()).collect::<Vec<_>>(), [alice.address()]);
    let mut also_in_room = world.join(&bob).await;
    patient("the nickname", in_room.nickname("The Boss")).await.unwrap();
    assert_eq!(refused(patient("the nickname", also_in_room.nickname("the  BOSS")).await), 425);
    assert_eq!(refused(patient("the nickname", also_in_room.nickname("Admin")).await), 425);
    patient("the nickname", also_in_room.nickname("Robert \"Bob\"")).await.unwrap();
    while roster.user(&bob.address()).is_none_or(|user| user.nickname.is_none()) {
        told(&mut subscription, &mut roster).await;
    }
    assert_eq!(roster.user(&bob.address()).unwrap().nickname.as_deref(), Some("Robert \"Bob\""));
    assert_eq!(roster.user(&alice.address()).unwrap().nickname.as_deref(), Some("The Boss"));
    drop(also_in_room);
    while roster.users().count() != 1 {
        told(&mut subscription, &mut roster).await;
    }
    // §7.3: given back.
    patient("the nickname", in_room.nickname("")).await.unwrap();
    while roster.users().any(|user| user.nickname.is_some()) {
        told(&mut subscription, &mut roster).await;
    }
    world.end().await;
}

#[tokio::test]
async fn rfc_7701_4_1_a_room_that_allows_little() {
    let world = World::new(|policy| {
        (policy.nicknames, policy.private_messages, policy.sessions) = (false, false, 1);
    })
    .await;
    let (alice, bob) = (world.phone("alice").await, world.phone("bob").await);
    let mut in_room = world.join(&alice).await;
    assert!(!in_room.takes_nicknames() && !in_room.takes_private_messages());
    assert_eq!(refused(patient("the nickname", in_room.nickname("Al")).await), 403);
    // Nothing is sent that all would read.
    assert_eq!(refused(patient("sending", in_room.send_to(&bob.address(), "psst")).await), 428);
    let full = patient("joining", bob.join_room(&world.uri())).await;
    assert!(matches!(full, Err(SessionError::Call(_))), "{full:?}");
    // §5.2: who does not wrap messages is not let in.
    let plain = patient("joining", bob.chat_session(&world.uri())).await;
    assert!(matches!(plain, Err(SessionError::Call(_))), "{plain:?}");
    patient("leaving", in_room.leave()).await;
    world.filled(0).await;
    world.join(&bob).await;
    world.end().await;
}

/// RFC 7701 §6.4: somebody who writes more than others read at once gets everything answered, and nobody waits for ever.
#[tokio::test]
async fn many_messages_in_both_directions_do_not_stand_in_each_others_way() {
    const EACH: usize = 300;
    let world = World::new(|_| {}).await;
    let phones = [world.phone("alice").await, world.phone("bob").await];
    let rooms = [world.join(&phones[0]).await, world.join(&phones[1]).await];
    let talk = rooms.map(|mut room| async move {
        for number in 0..EACH {
            room.send(&number.to_string()).await.unwrap();
        }
        // Nobody reads before everybody has written; what did not fit in between is counted in a notice.
        let (mut heard, mut left_out) = (0, 0);
        while heard + left_out < EACH {
            let message = room.next().await.unwrap();
            match message.text.split_once(" messages were left out") {
                Some((count, _)) => left_out += count.parse::<usize>().unwrap(),
                None => heard += 1,
            }
        }
        (room, heard)
    });
    let [alice, bob] = talk;
    let ((_alice, heard), (_bob, also)) = patient("the talk", async { tokio::join!(alice, bob) }).await;
    assert!(heard > 0 && also > 0);
    world.end().await;
}

/// RFC 4579 §4.2: whoever joins learns that the other side is a focus.
#[tokio::test]
async fn the_contact_of_a_room_says_isfocus() {
    let world = World::new(|_| {}).await;
    let options = format!("sip:friends@{}", world.host.locals().iter().next().unwrap().bound);
    let alice = world.phone("alice").await;
    let capabilities = patient("asking", alice.options(&options)).await.unwrap();
    assert!(
        capabilities.headers.text("Contact").is_some_and(|contact| contact.contains(";isfocus")),
        "{capabilities:?}"
    );
    world.end().await;
}
