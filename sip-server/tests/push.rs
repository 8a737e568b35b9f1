//! Phones that are woken by push notifications (RFC 8599 §5), in virtual time; the gateway is the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::time::Duration;

use sip_message::Response;
use sip_server::location::QuestionKey;
use sip_server::push::{Push, PushConfig, PushError, PushGateway, Pushing};
use sip_server::{Config, Server};
use sip_transport::{CloseReason, FlowEvent, FlowId, Path, Transport};
use world::{ALICE, BOB, BOB2, SERVER, Sent, World, names, only};

const MOBILE: &str = "<sip:bob@192.0.2.12:5060;transport=tcp;pn-provider=fcm;pn-prid=token1;pn-param=app>";

fn world() -> World {
    World::with(|config| config.push = Some(PushConfig::new(&["fcm", "apns"])))
}

/// Several cores wake a phone each for its own calls.
fn of_one_core() -> World {
    World::of_one_core(|config| config.push = Some(PushConfig::new(&["fcm", "apns"])))
}

fn code(response: &Response) -> u16 {
    response.status().code()
}

fn caps(response: &Response) -> Vec<String> {
    let all = response.headers.all::<sip_message::headers::FeatureCaps>();
    all.map(|one| one.unwrap()).map(|one| format!("{}{}", one.value, one.params)).collect()
}

/// A phone registers over the connection `flow`.
fn registers(world: &mut World, flow: u64, contact: &str, extra: &str) -> Vec<Sent> {
    let lines = format!(
        "From: <sip:bob@example.com>;tag=r\r\nTo: <sip:bob@example.com>\r\nContact: {contact}\r\n{extra}"
    );
    let text = world.request(BOB, "REGISTER", "sip:example.com", &lines).replacen("UDP", "TCP", 1);
    world.tcp(BOB, flow, text)
}

/// The connection is gone: the phone sleeps.
fn falls_asleep(world: &mut World, flow: u64) {
    let path = Path {
        transport: Transport::Tcp,
        local: SERVER.parse().unwrap(),
        remote: BOB.parse().unwrap(),
        flow: Some(FlowId(flow)),
    };
    let closed = FlowEvent::Closed { path, reason: CloseReason::Peer };
    sip_transport::Core::flow_event(&mut world.core, world.now, closed);
}

fn call(world: &mut World) -> (String, Vec<Sent>) {
    let text = world.request(ALICE, "INVITE", "sip:bob@example.com", "");
    let sent = world.udp(ALICE, text.clone());
    (text, sent)
}

fn pushed(world: &mut World) -> (QuestionKey, Push) {
    world.core.poll_push().expect("a phone to be woken")
}

/// A sleeping phone, and a call for it that has asked for a notification.
fn called_asleep() -> (World, String, QuestionKey) {
    called_in(world())
}

fn called_in(mut world: World) -> (World, String, QuestionKey) {
    assert_eq!(names(&registers(&mut world, 1, MOBILE, "")), ["200"]);
    falls_asleep(&mut world, 1);
    let (text, sent) = call(&mut world);
    assert!(sent.is_empty(), "{:?}", names(&sent));
    let (key, push) = pushed(&mut world);
    assert_eq!(
        (push.provider.as_str(), push.prid.as_str(), push.param.as_deref()),
        ("fcm", "token1", Some("app"))
    );
    (world, text, key)
}

// ---- registrations ------------------------------------------------------------------------------------------------

/// §5.4, §5.6.1: the service that is supported is named, each in a field of its own; a question without a value names all; what
/// nobody knows is 555.
#[test]
fn rfc8599_5_6_1_a_registration_is_told_of_the_service() {
    let mut world = world();
    let ask = |world: &mut World, contact: &str, extra: &str| {
        let response = world.register("bob", contact, extra);
        (code(&response), caps(&response))
    };
    let one = vec!["*;+sip.pns=\"fcm\"".to_owned()];
    let both = vec!["*;+sip.pns=\"fcm\"".to_owned(), "*;+sip.pns=\"apns\"".to_owned()];
    assert_eq!(ask(&mut world, MOBILE, ""), (200, one.clone()));
    assert_eq!(ask(&mut world, "<sip:bob@192.0.2.12;pn-provider=FCM>", ""), (200, one));
    assert_eq!(ask(&mut world, "<sip:bob@192.0.2.12;pn-provider>", ""), (200, both));
    assert_eq!(ask(&mut world, "<sip:bob@192.0.2.12>", ""), (200, Vec::new()));
    assert_eq!(ask(&mut world, "<sip:bob@192.0.2.12;pn-provider=acme;pn-prid=x>", "").0, 555);
    // Who refreshes by itself is told when (§5.6.1.1).
    let itself = format!("{MOBILE};+sip.pnsreg");
    assert_eq!(
        ask(&mut world, &itself, ""),
        (200, vec!["*;+sip.pns=\"fcm\";+sip.pnsreg=\"121\"".to_owned()])
    );
    // A proxy before us does it: it is left to that.
    let elsewhere =
        "Feature-Caps: *;+sip.pns=\"acme\"\r\nPath: <sip:edge.example.com;lr>\r\nSupported: path\r\n";
    let acme = "<sip:bob@192.0.2.12;pn-provider=acme;pn-prid=x>";
    assert_eq!(ask(&mut world, acme, elsewhere), (200, Vec::new()));
    // A binding can always be removed.
    assert_eq!(ask(&mut world, "<sip:bob@192.0.2.12;pn-provider=acme>;expires=0", "").0, 200);
    // The parameters are kept with the binding.
    let kept = world.ask(
        BOB,
        "REGISTER",
        "sip:example.com",
        "From: <sip:bob@example.com>;tag=q\r\nTo: <sip:bob@example.com>\r\n",
    );
    assert!(kept.to_string().contains("pn-provider=fcm;pn-prid=token1;pn-param=app"));
    // Without a gateway nothing is promised and nothing refused.
    let mut plain = World::new();
    assert_eq!(ask(&mut plain, acme, ""), (200, Vec::new()));
    assert!(plain.core.poll_push().is_none());
}

// ---- calls --------------------------------------------------------------------------------------------------------

/// §5.6.2: notified, registered anew, reached by its new connection.
#[test]
fn rfc8599_5_6_2_a_phone_is_woken_and_rung() {
    let (mut world, _, key) = called_asleep();
    world.core.push_sent(world.now, key, Ok(()));
    assert!(world.seconds(2).is_empty());
    let sent = registers(&mut world, 2, MOBILE, "");
    assert_eq!(names(&sent), ["200", "INVITE"]);
    let invite = only(&sent, "INVITE");
    assert_eq!(invite.transmit.path.flow, Some(FlowId(2)));
    let answered = world.answer(invite, 200, "Contact: <sip:bob@192.0.2.12>");
    assert_eq!(names(&answered), ["200"]);
    assert_eq!((world.core.counters().pushes, world.core.counters().pushes_failed), (1, 0));
    world.assert_nothing_left();
}

/// "If the proxy has knowledge that the UA is awake ... does not need to request that a push notification be sent".
#[test]
fn rfc8599_5_6_2_a_phone_that_is_awake_is_called_at_once() {
    let mut world = world();
    registers(&mut world, 1, MOBILE, "");
    let (_, sent) = call(&mut world);
    assert_eq!(only(&sent, "INVITE").transmit.path.flow, Some(FlowId(1)));
    assert!(world.core.poll_push().is_none());
    // So is one without notifications.
    let mut plain = World::with(|config| config.push = Some(PushConfig::new(&["fcm"])));
    plain.register("bob", "<sip:bob@192.0.2.13>", "");
    assert_eq!(only(&call(&mut plain).1, "INVITE").to(), BOB2);
}

/// "MUST remove the SIP request from the bucket and send an error response": at once if the service refuses, else when the time is over.
#[test]
fn rfc8599_5_6_2_a_phone_that_cannot_be_woken_is_480() {
    let (mut world, _, key) = called_asleep();
    world.core.push_sent(world.now, key, Err(PushError::Unknown));
    assert_eq!(names(&world.sent()), ["480"]);
    assert_eq!(world.core.counters().pushes_failed, 1);
    world.assert_nothing_left();
    let (mut world, _, key) = called_asleep();
    world.core.push_sent(world.now, key, Ok(()));
    assert!(world.seconds(19).is_empty());
    assert_eq!(names(&world.seconds(2))[0], "480");
    // Whoever wakes too late rings nobody.
    assert_eq!(names(&registers(&mut world, 2, MOBILE, "")), ["200"]);
    world.assert_nothing_left();
    // A gateway that never answers.
    let (mut world, _, _) = called_asleep();
    assert_eq!(names(&world.seconds(21))[0], "480");
    world.assert_nothing_left();
}

/// RFC 4320: other requests wait shorter.
#[test]
fn rfc8599_5_6_2_other_requests_do_not_wait_long() {
    let mut world = world();
    registers(&mut world, 1, MOBILE, "");
    falls_asleep(&mut world, 1);
    let text = world.request(ALICE, "MESSAGE", "sip:bob@example.com", "");
    assert!(world.udp(ALICE, text.clone()).is_empty());
    let (key, _) = pushed(&mut world);
    world.core.push_sent(world.now, key, Ok(()));
    let woken = registers(&mut world, 2, MOBILE, "");
    assert_eq!(names(&woken), ["200", "MESSAGE"]);
    assert_eq!(names(&world.answer(only(&woken, "MESSAGE"), 200, "")), ["200"]);
    falls_asleep(&mut world, 2);
    let text = world.request(ALICE, "MESSAGE", "sip:bob@example.com", "");
    assert!(world.udp(ALICE, text).is_empty());
    assert_eq!(names(&world.seconds(7)), ["480"]);
}

/// The desk phone rings meanwhile; whichever is picked up, the other is left alone.
#[test]
fn a_phone_that_is_awake_rings_while_another_is_woken() {
    let both = |world: &mut World| {
        registers(world, 1, MOBILE, "");
        world.register("bob", "<sip:bob@192.0.2.13>", "");
        falls_asleep(world, 1);
        let (text, sent) = call(world);
        (text, only(&sent, "INVITE").request().clone(), sent)
    };
    let mut world = world();
    let (_, _, sent) = both(&mut world);
    let desk = only(&sent, "INVITE");
    assert_eq!(desk.to(), BOB2);
    pushed(&mut world);
    // Refused at the desk: the mobile phone is still waited for.
    assert_eq!(names(&world.answer(desk, 486, "")), ["ACK"]);
    let woken = registers(&mut world, 2, MOBILE, "");
    let mobile = only(&woken, "INVITE");
    assert_eq!(names(&world.answer(mobile, 200, "Contact: <sip:bob@192.0.2.12>")), ["200"]);
    world.assert_nothing_left();
    // Picked up at the desk: nobody waits any more.
    let mut world = self::world();
    let (_, _, sent) = both(&mut world);
    pushed(&mut world);
    assert_eq!(names(&world.answer(only(&sent, "INVITE"), 200, "Contact: <sip:bob@192.0.2.13>")), ["200"]);
    assert_eq!(names(&registers(&mut world, 2, MOBILE, "")), ["200"]);
    world.assert_nothing_left();
}

/// The caller gives up while the phone wakes.
#[test]
fn a_call_that_is_given_up_does_not_ring_the_phone_that_wakes() {
    let (mut world, text, _) = called_asleep();
    let cancel = text.replace("INVITE ", "CANCEL ").replace(" INVITE\r\n", " CANCEL\r\n");
    assert_eq!(names(&world.udp(ALICE, cancel)), ["200", "487"]);
    assert_eq!(names(&registers(&mut world, 2, MOBILE, "")), ["200"]);
    world.assert_nothing_left();
}

/// Two callers, one notification; another user's REGISTER with the same token wakes nobody.
#[test]
fn all_who_wait_for_a_phone_reach_it_and_nobody_else() {
    let (mut world, _, _) = called_in(of_one_core());
    call(&mut world);
    assert!(world.core.poll_push().is_none(), "it is under way");
    let thief = MOBILE.replace("bob@", "eve@");
    let lines =
        format!("From: <sip:eve@example.com>;tag=r\r\nTo: <sip:eve@example.com>\r\nContact: {thief}\r\n");
    let text = world.request(BOB2, "REGISTER", "sip:example.com", &lines).replacen("UDP", "TCP", 1);
    assert_eq!(names(&world.tcp(BOB2, 9, text)), ["200"]);
    // Nor does a contact without the token (§5.3).
    assert_eq!(names(&registers(&mut world, 3, "<sip:bob@192.0.2.12:5060;transport=tcp;x=1>", "")), ["200"]);
    let sent = registers(&mut world, 2, MOBILE, "");
    assert_eq!(names(&sent).iter().filter(|name| *name == "INVITE").count(), 2);
}

/// A step's time to ring goes on while the phone is woken, and forwarding follows.
#[test]
fn forwarding_does_not_wait_for_a_phone_that_sleeps() {
    let text = "authentication = false\ndomains = [\"example.com\"]\n[[user]]\nname = \"bob\"\n\
                forward = { no_answer = \"carol\", after = 10 }\n[[user]]\nname = \"carol\"\n";
    let settings = sip_server::settings::Settings::parse(text).unwrap();
    let mut world = World::with(|config: &mut Config| {
        settings.configure(config);
        config.push = Some(PushConfig::new(&["fcm"]));
    });
    registers(&mut world, 1, MOBILE, "");
    world.register("carol", "<sip:carol@192.0.2.13>", "");
    falls_asleep(&mut world, 1);
    let (_, sent) = call(&mut world);
    assert!(sent.is_empty());
    pushed(&mut world);
    let sent = world.pass(Duration::from_millis(10_100));
    assert_eq!(only(&sent, "INVITE").to(), BOB2);
    assert_eq!(names(&registers(&mut world, 2, MOBILE, "")), ["200"], "too late");
}

/// §13: the token is nobody's business but the phone's.
#[test]
fn the_token_is_told_to_no_other_phone() {
    let text = "authentication = false\ndomains = [\"example.com\"]\nrouting.history_contacts = true\n";
    let settings = sip_server::settings::Settings::parse(text).unwrap();
    let mut world = World::with(|config: &mut Config| {
        settings.configure(config);
        config.push = Some(PushConfig::new(&["fcm"]));
    });
    registers(&mut world, 1, MOBILE, "");
    world.register("bob", "<sip:bob@192.0.2.13>;q=0.5", "");
    let (_, sent) = call(&mut world);
    let sent = world.answer(only(&sent, "INVITE"), 486, "");
    let other = only(&sent, "INVITE");
    assert_eq!(other.to(), BOB2);
    assert!(other.text().contains("sip:bob@192.0.2.12:5060;transport=tcp?Reason"), "{}", other.text());
    assert!(!other.text().contains("pn-") && !other.text().contains("token1"));
}

/// What waits is bounded, and so is what is asked of the gateway.
#[test]
fn phones_that_are_woken_at_the_same_time_are_bounded() {
    let mut world = World::of_one_core(|config| {
        config.push = Some(PushConfig::new(&["fcm"]));
        config.limits.questions = 2;
    });
    registers(&mut world, 1, MOBILE, "");
    falls_asleep(&mut world, 1);
    assert!(call(&mut world).1.is_empty());
    assert!(call(&mut world).1.is_empty());
    assert_eq!(names(&call(&mut world).1), ["480"]);
    world.assert_nothing_left();
}

/// §5.5: a phone that does not refresh by itself is woken two minutes before its binding ends, once.
#[test]
fn rfc8599_5_5_a_binding_that_ends_is_refreshed() {
    let mut world = world();
    registers(&mut world, 1, MOBILE, "Expires: 600\r\n");
    falls_asleep(&mut world, 1);
    world.seconds(470);
    assert!(world.core.poll_push().is_none());
    world.seconds(20);
    let (key, push) = pushed(&mut world);
    assert_eq!(push.prid, "token1");
    world.core.push_sent(world.now, key, Ok(()));
    registers(&mut world, 2, MOBILE, "Expires: 600\r\n");
    world.seconds(470);
    assert!(world.core.poll_push().is_none());
    world.seconds(20);
    pushed(&mut world);
    // It did not come: the binding ends, and nobody is woken for it (§5.5).
    world.seconds(600);
    assert!(world.core.poll_push().is_none());
    assert_eq!(world.core.bindings(), 0);
    let (_, sent) = call(&mut world);
    assert_eq!(names(&sent), ["404"]);
    // One that wakes by itself is left alone.
    registers(&mut world, 3, &format!("{MOBILE};+sip.pnsreg"), "Expires: 600\r\n");
    world.seconds(599);
    assert!(world.core.poll_push().is_none());
}

/// Over sockets: the gateway is asked, the phone registers, and the message arrives.
#[tokio::test]
async fn a_gateway_of_ones_own_wakes_a_phone() {
    struct Told(tokio::sync::mpsc::UnboundedSender<Push>);
    impl PushGateway for Told {
        fn wake(&self, push: Push) -> Pushing<'_> {
            let sent = self.0.send(push).map_err(|_| PushError::Unavailable);
            Box::pin(std::future::ready(sent))
        }
    }
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let builder = Server::builder().listen("udp:127.0.0.1:0").domain("example.com");
    let server = builder.push_gateway(Told(told), PushConfig::new(&["fcm"])).build().await.unwrap();
    let at = server.locals().iter().next().unwrap().bound;
    let phone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    phone.connect(at).await.unwrap();
    let own = phone.local_addr().unwrap();
    let request = |method: &str, uri: &str, cseq: u32, more: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{cseq}\r\nFrom: <sip:bob@example.com>;tag=a\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: c-{method}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
        )
    };
    let contact = format!("Contact: <sip:bob@{own};pn-provider=fcm;pn-prid=t>\r\n");
    let mut buffer = vec![0; 65_536];
    let mut next = async || {
        let size =
            tokio::time::timeout(Duration::from_secs(20), phone.recv(&mut buffer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    };
    phone.send(request("REGISTER", "sip:example.com", 1, &contact).as_bytes()).await.unwrap();
    assert!(next().await.starts_with("SIP/2.0 200"));
    phone.send(request("MESSAGE", "sip:bob@example.com", 1, "").as_bytes()).await.unwrap();
    assert_eq!(hears.recv().await.unwrap().prid, "t");
    phone.send(request("REGISTER", "sip:example.com", 2, &contact).as_bytes()).await.unwrap();
    let both = [next().await, next().await];
    assert!(both.iter().any(|text| text.starts_with("MESSAGE sip:bob@")), "{both:?}");
    assert!(both.iter().any(|text| text.starts_with("SIP/2.0 200")));
    server.close().await;
}
