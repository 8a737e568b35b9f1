//! What a pending transaction costs beyond its message, and that all of it comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)] // the figures are what one runs it for

use std::time::{Duration, Instant};

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Limits, Method, Request, StatusCode, Uri};
use sip_transaction::{Config, Event, Transactions};
use sip_transport::{FlowId, Local, Locals, Path, Queues, Transport, ingress};

const PENDING: u64 = 20_000;
/// Octets for a pending transaction beyond its message, its share of the tables included.
const MOST: u64 = 1_024;

fn layer() -> Transactions {
    let local = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
    Transactions::new(Config::new([1; 32], Locals::new(vec![local])))
}

fn path() -> Path {
    let mut path = Path::to(Transport::Udp, "192.0.2.2:5060".parse().unwrap());
    (path.local, path.flow) = ("192.0.2.1:5060".parse().unwrap(), Some(FlowId(1)));
    path
}

fn invite(number: u64) -> bytes::Bytes {
    let text = format!(
        "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;rport;branch=z9hG4bK{number:016x}\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@a.example>;tag={number:x}\r\nTo: <sip:bob@b.example>\r\n\
         Call-ID: {number:x}@a.example\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
    );
    text.into()
}

/// What lives after `make` has made all, beyond what one message alone keeps.
fn each(name: &str, message: u64, make: impl FnOnce()) -> u64 {
    let taken = allocation_counter::measure(make).bytes_current;
    let each = u64::try_from(taken).unwrap() / PENDING;
    println!("{name}: {each} octets for each pending transaction, of which {message} are its message");
    each.saturating_sub(message)
}

/// What one message keeps while somebody has it.
fn message_alone() -> u64 {
    let mut kept = None;
    let taken = allocation_counter::measure(|| {
        kept = Some(ingress::datagram(invite(1), path(), &Limits::default()).unwrap());
    });
    drop(kept);
    u64::try_from(taken.bytes_current).unwrap()
}

fn passes(layer: &mut Transactions, mut now: Instant, out: &mut Queues<Event>) {
    for _ in 0..400 {
        now += Duration::from_secs(1);
        layer.handle_timeout(now, out);
        (out.transmits, out.events) = Default::default();
    }
    assert_eq!(layer.live_server() + layer.live_client(), 0);
}

#[test]
fn a_call_that_rings_at_the_server_is_small_and_all_comes_back() {
    let (mut layer, now, mut out) = (layer(), Instant::now(), Queues::new());
    let mut ringing = Vec::with_capacity(PENDING as usize);
    let alone = message_alone();
    let beyond = each("server", alone, || {
        for number in 0..PENDING {
            let invite = ingress::datagram(invite(number), path(), &Limits::default()).unwrap();
            layer.receive(now, invite, &mut out);
            let Some(Event::Request { tx, request, .. }) = out.events.pop_front() else { panic!() };
            layer
                .respond(now, tx, request.reply(StatusCode::RINGING).to_tag("t").build().unwrap(), &mut out)
                .unwrap();
            ringing.push((tx, number));
            (out.transmits, out.events) = Default::default();
        }
    });
    assert!(beyond <= MOST, "{beyond} octets");
    assert_eq!(layer.live_server() as u64, PENDING);
    // Busy, and no ACK ever comes (Timer H).
    let returned = allocation_counter::measure(|| {
        for (tx, number) in ringing {
            let invite = Request::parse(invite(number), &Limits::default()).unwrap();
            let busy = invite.reply(StatusCode::BUSY_HERE).to_tag("t").build().unwrap();
            layer.respond(now, tx, busy, &mut out).unwrap();
            (out.transmits, out.events) = Default::default();
        }
        passes(&mut layer, now, &mut out);
    });
    let left = (beyond + alone) as i64 + returned.bytes_current / PENDING as i64;
    println!("server: {left} octets left for each after the last timer");
    assert!(left < MOST as i64 / 8, "{left} octets for each are kept");
}

#[test]
fn a_call_that_rings_elsewhere_is_small_and_all_comes_back() {
    let (mut layer, now, mut out) = (layer(), Instant::now(), Queues::new());
    let uri: Uri = "sip:bob@192.0.2.2".parse().unwrap();
    let request = |number: u64| {
        let builder = Request::builder(Method::Invite, &uri)
            .header(&From::new(&uri).with_tag("t"))
            .header(&To::new(&uri));
        let builder = builder.header(&CallId::new(&number.to_string())).header(&CSeq::new(1, Method::Invite));
        builder.raw("Contact", "<sip:alice@192.0.2.1>").build().unwrap()
    };
    let alone = {
        let mut kept = None;
        let taken = allocation_counter::measure(|| kept = Some(request(1)));
        drop(kept);
        u64::try_from(taken.bytes_current).unwrap()
    };
    let mut all = || {
        for number in 0..PENDING {
            layer.send(now, request(number), path().into(), &mut out).unwrap();
            (out.transmits, out.events) = Default::default();
        }
    };
    // The request as it was given, and as it went.
    let beyond = each("client", 2 * alone, &mut all);
    assert!(beyond <= MOST, "{beyond} octets");
    assert_eq!(layer.live_client() as u64, PENDING);
    let returned = allocation_counter::measure(|| passes(&mut layer, now, &mut out)).bytes_current;
    let left = beyond as i64 + 2 * alone as i64 + returned / PENDING as i64;
    println!("client: {left} octets left for each after the last timer");
    assert!(left < MOST as i64 / 8, "{left} octets for each are kept");
}
