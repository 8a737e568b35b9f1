//! The messages of RFC 4475 and RFC 5118 through the proxy: forwarded with all that it does not understand as it came, or answered
//! as the list that lies beside them says. `SIP_CORPUS` names the folder that holds both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod world;

use std::path::PathBuf;

use sip_message::{Limits, Message};
use sip_server::Config;
use sip_transport::ingress::{self, Rejected};
use sip_transport::{
    Answer, Core, FlowId, Local, Locals, Path, Query, Question, Records, ResolveError, Transmit, Transport,
};
use world::{ALICE, SERVER, Sent, World};

const NEXT: &str = "192.0.2.50:5060";

/// What a proxy writes itself; all else has to come out as it went in.
const OURS: [&str; 6] = ["via", "v", "max-forwards", "route", "record-route", "content-length"];

fn proxy() -> World {
    World::with(|config: &mut Config| {
        config.domains.clear();
        let six = Local::new(Transport::Udp, "[2001:db8::1]:5060".parse().unwrap());
        config.locals = Locals::new(world::locals().iter().cloned().chain([six]).collect());
        config.next_hop = Some(format!("sip:{NEXT}").parse().unwrap());
    })
}

/// What the proxy sends when these octets come in a datagram.
fn given(world: &mut World, octets: Vec<u8>) -> Vec<Sent> {
    let path = Path {
        transport: Transport::Udp,
        local: SERVER.parse().unwrap(),
        remote: ALICE.parse().unwrap(),
        flow: Some(FlowId(1)),
    };
    match ingress::datagram(octets.into(), path, &Limits::default()) {
        Ok(received) => world.core.receive(world.now, received),
        // What the driver answers in the core's place.
        Err(Rejected::Via { answer: Some(answer), .. }) => {
            let message = Message::parse(answer.clone(), &Limits::default()).unwrap();
            return vec![Sent { transmit: Transmit::own(path, answer), message }];
        }
        Err(_) => return Vec::new(),
    }
    // All names lead to the next hop. A request in a dialog goes where it says, not by the configuration.
    while let Some(Query { key, question }) = world.core.poll_query() {
        let records = match question {
            Question::A(_) => Ok(Records::Addresses(vec!["192.0.2.50".parse().unwrap()])),
            _ => Err(ResolveError::NotFound),
        };
        world.core.resolved(world.now, Answer { key, question, records });
    }
    world.sent()
}

/// Field lines with what continues them.
fn lines(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in head.split_inclusive("\r\n").skip(1) {
        match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(last) => last.push_str(line),
            None => lines.push(line.to_owned()),
        }
    }
    lines.retain(|line| {
        let name = line.split(':').next().unwrap().trim().to_ascii_lowercase();
        !OURS.contains(&name.as_str()) && name != "l"
    });
    lines
}

fn split(octets: &[u8]) -> (String, Vec<u8>) {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").map_or(octets.len(), |at| at + 2);
    let body = octets.get(end + 2..).unwrap_or_default().to_vec();
    (octets[..end].iter().map(|octet| char::from(*octet)).collect(), body)
}

/// Some name an address of their own.
fn is_forwarded(sent: &Sent) -> bool {
    sent.message.as_request().is_some()
}

/// Whether what came out is one of the outcomes that the list allows.
fn judge(allowed: &str, octets: &[u8], sent: &[Sent]) -> Result<(), String> {
    let forwarded = sent.iter().find(|one| is_forwarded(one));
    let outcome = match (forwarded, sent) {
        (Some(_), _) => "forward".to_owned(),
        (None, []) => "drop".to_owned(),
        (None, [first, ..]) => first.name(),
    };
    let fits = allowed.split('|').any(|one| match one.split([' ', ';']).next().unwrap() {
        "absorb" => outcome == "drop",
        one => one == outcome,
    });
    if !fits {
        return Err(format!("{outcome}, not {allowed}"));
    }
    let Some(forwarded) = forwarded else { return Ok(()) };
    let ((before, body), (after, body_after)) = (split(octets), split(&forwarded.transmit.payload));
    let (before, after) = (lines(&before), lines(&after));
    if let Some(lost) = before.iter().find(|line| !after.contains(line)) {
        return Err(format!("{lost:?} is not in what was forwarded: {after:?}"));
    }
    // A datagram may be longer than its Content-Length says (RFC 3261 §18.3).
    if !body.starts_with(&body_after) {
        return Err("the body is another".into());
    }
    Ok(())
}

#[test]
fn rfc4475_and_5118_messages_pass_the_proxy_as_they_are_or_are_answered() {
    let Some(root) = std::env::var_os("SIP_CORPUS").map(PathBuf::from) else {
        println!("skipped: SIP_CORPUS does not name a folder with rfc4475 and rfc5118");
        return;
    };
    let (mut wrong, mut forwarded, mut judged) = (Vec::new(), 0, 0);
    for set in ["rfc4475", "rfc5118"] {
        let list = std::fs::read_to_string(root.join(set).join("EXPECT.tsv")).unwrap();
        let mut rows = list.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let names = rows.next().unwrap();
        let column = |name: &str| names.iter().position(|one| *one == name).unwrap();
        for row in rows {
            let (file, kind, allowed) = (row[column("file")], row[column("kind")], row[column("proxy")]);
            // A response needs the request before it.
            if kind != "request" || allowed == "-" {
                continue;
            }
            // In the archive its body is cut short, which RFC 3261 §18.3 makes 400; the whole one is in the list too.
            let allowed = if file == "ipv6-in-sdp.dat" { "400" } else { allowed };
            let octets = std::fs::read(root.join(set).join(file)).unwrap();
            let mut world = proxy();
            let sent = given(&mut world, octets.clone());
            judged += 1;
            forwarded += usize::from(sent.iter().any(is_forwarded));
            if let Err(error) = judge(allowed, &octets, &sent) {
                wrong.push(format!("{file}: {error}"));
            }
            world.seconds(400);
            assert_eq!((world.core.live_contexts(), world.core.armed_timers()), (0, 0), "{file}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 45 && forwarded > 20, "{forwarded} of {judged} forwarded");
}
