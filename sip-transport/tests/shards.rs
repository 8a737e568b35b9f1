//! Cores side by side over real sockets.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use sip_message::{HeaderName, Message, Method, StatusCode};
use sip_transport::limits::Limits;
use sip_transport::tokio::{Driver, Options, ShardHandle, Sockets};
use sip_transport::{
    Answer, Backlog, Core, FlowEvent, Path, Query, QueryKey, Question, Received, ResolveError, Shard, Token,
    Transmit, Transport, response,
};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Names carry the number of their core from here on.
const SHIFT: u32 = 8;

/// Answers with the number of its core and how many messages of this Call-ID it has had.
#[derive(Debug, Default)]
struct Counting {
    shard: usize,
    shards: usize,
    seen: BTreeMap<String, Vec<u32>>,
    out: VecDeque<Transmit>,
    queries: VecDeque<Query>,
    notes: VecDeque<(usize, String)>,
    heard: Vec<String>,
    failed: Vec<u64>,
    resolved: Vec<u64>,
    due: Option<Instant>,
    fired: usize,
    waited: Vec<Duration>,
    lost: u32,
}

impl Counting {
    fn all(shards: usize) -> Vec<Counting> {
        (0..shards).map(|shard| Counting { shard, shards, ..Counting::default() }).collect()
    }

    fn name(&self, number: u64) -> u64 {
        number << SHIFT | self.shard as u64
    }
}

impl Core for Counting {
    fn receive(&mut self, _: Instant, received: Received) {
        let Message::Request(request) = received.message else { return };
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap().to_owned();
        let cseq = request.headers.text(HeaderName::CSEQ).unwrap();
        let number = cseq.split(' ').next().unwrap().parse().unwrap();
        self.seen.entry(call_id.clone()).or_default().push(number);
        if *request.method() == Method::Options {
            self.notes.extend((0..self.shards).map(|other| (other, call_id.clone())));
        }
        let reply = request.reply(StatusCode::OK).to_tag("t").raw("X-Core", &self.shard.to_string());
        let reply = reply.build().unwrap();
        let way = response::path_of(&reply, &received.path).unwrap();
        let token = Token(self.name(u64::from(number)));
        let payload = reply.to_bytes();
        self.out.push_back(Transmit { path: way.path, payload, reopen: None, domain: None, token });
    }
    fn flow_event(&mut self, _: Instant, event: FlowEvent) {
        if let FlowEvent::SendFailed { token, .. } = event {
            self.failed.push(token.0);
        }
    }
    fn resolved(&mut self, _: Instant, answer: Answer) {
        assert_eq!(answer.records, Err(ResolveError::NotFound));
        self.resolved.push(answer.key.0);
    }
    fn handle_timeout(&mut self, _: Instant) {
        self.due = None;
        self.fired += 1;
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }
    fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }
    fn backlog(&mut self, _: Instant, backlog: Backlog) {
        self.waited.push(backlog.waited);
        self.lost += backlog.lost;
    }
}

impl Shard for Counting {
    type Note = String;

    fn key(received: &Received) -> Option<&str> {
        let headers = received.message.headers();
        let invite = received.message.as_request().is_some_and(|request| *request.method() == Method::Invite);
        if invite { headers.text(HeaderName::CALL_ID) } else { None }
    }
    fn shard_of(name: u64) -> Option<usize> {
        Some((name & ((1 << SHIFT) - 1)) as usize)
    }
    fn noted(&mut self, _: Instant, note: String) {
        self.heard.push(note);
    }
    fn poll_note(&mut self) -> Option<(usize, String)> {
        self.notes.pop_front()
    }
}

struct NoSuchName;

impl sip_transport::tokio::Resolve for NoSuchName {
    fn resolve(&self, _: Question) -> sip_transport::tokio::Resolving {
        Box::pin(async { Err(ResolveError::NotFound) })
    }
}

fn spawn(shards: usize, limits: Limits) -> (Vec<ShardHandle<Counting>>, SocketAddr) {
    let sockets = Sockets::bind(&["udp:127.0.0.1:0".parse().unwrap()]).unwrap();
    let at = sockets.locals().iter().next().unwrap().bound;
    let resolver = std::sync::Arc::new(NoSuchName);
    let options = Options { limits, resolver: Some(resolver), ..Options::default() };
    (Driver::spawn_shards(Counting::all(shards), sockets, options), at)
}

async fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

async fn send(client: &UdpSocket, method: &str, call_id: &str, number: u32) {
    let text = format!(
        "{method} sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{call_id}{number}\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:b@b>\r\nCall-ID: {call_id}\r\nCSeq: {number} {method}\r\n\r\n",
        client.local_addr().unwrap()
    );
    client.send(text.as_bytes()).await.unwrap();
}

async fn answer(client: &UdpSocket) -> (String, usize) {
    let mut octets = [0; 1500];
    let length = timeout(Duration::from_secs(20), client.recv(&mut octets)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&octets[..length]).into_owned();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} {text}")).trim().to_owned()
    };
    (field("Call-ID:"), field("X-Core:").parse().unwrap())
}

/// Waits until a core says so.
async fn until(handle: &ShardHandle<Counting>, what: &str, holds: impl Fn(&Counting) -> bool) {
    let begun = Instant::now();
    while !handle.look(|core| holds(core)) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Each call is one core's, its messages come to it in their order, and all cores have some.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_is_one_cores_and_its_messages_stay_in_order() {
    const CALLS: u32 = 60;
    const MESSAGES: u32 = 40;
    let (handles, at) = spawn(3, Limits::default());
    let client = client(at).await;
    let mut cores: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for number in 0..MESSAGES {
        for call in 0..CALLS {
            send(&client, "INVITE", &format!("call{call}"), number).await;
        }
        for _ in 0..CALLS {
            let (call, core) = answer(&client).await;
            cores.entry(call).or_default().insert(core);
        }
    }
    assert_eq!(cores.len(), CALLS as usize);
    assert!(cores.values().all(|cores| cores.len() == 1), "{cores:?}");
    assert_eq!(cores.values().flatten().collect::<BTreeSet<_>>().len(), 3);
    let in_order: Vec<u32> = (0..MESSAGES).collect();
    for handle in &handles {
        handle.look(|core| assert!(core.seen.values().all(|seen| *seen == in_order)));
    }
    handles[0].close();
    handles[0].stopped().await;
}

/// A burst for one call that nobody waits for in between: none overtakes another, however many threads there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_stays_in_order() {
    let (handles, at) = spawn(4, Limits::default());
    let client = client(at).await;
    for number in 0..200 {
        send(&client, "INVITE", "one", number).await;
    }
    let mut core = None;
    for _ in 0..200 {
        core = Some(answer(&client).await.1);
    }
    let seen = handles[core.unwrap()].look(|core| core.seen["one"].clone());
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.len(), 200);
}

/// What has no key comes to the core at home, and what it tells comes to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_shared_out_is_the_first_ones_and_notes_are_carried() {
    let (handles, at) = spawn(3, Limits::default());
    let client = client(at).await;
    for number in 0..5 {
        send(&client, "OPTIONS", &format!("call{number}"), number).await;
        assert_eq!(answer(&client).await, (format!("call{number}"), 0));
    }
    for handle in &handles {
        until(handle, "five notes", |core| core.heard.len() == 5).await;
        handle.look(|core| assert_eq!(core.heard, ["call0", "call1", "call2", "call3", "call4"]));
    }
}

/// Failures and answers of name servers go to the core that has sent or asked, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_of_it_is_told_to_who_did_it() {
    let (handles, _) = spawn(3, Limits::default());
    for (shard, handle) in handles.iter().enumerate() {
        handle.with(|core, _| {
            let name = core.name(77);
            // There is no listener for TCP that it could be sent from.
            let path = Path::to(Transport::Tcp, "127.0.0.1:9".parse().unwrap());
            let payload = b"x".as_slice().into();
            core.out.push_back(Transmit { path, payload, reopen: None, domain: None, token: Token(name) });
            core.queries.push_back(Query { key: QueryKey(name), question: Question::A("a.invalid".into()) });
        });
        until(handle, "the failure", |core| !core.failed.is_empty() && !core.resolved.is_empty()).await;
        let name = 77 << SHIFT | shard as u64;
        handle.look(|core| assert_eq!((&core.failed, &core.resolved), (&vec![name], &vec![name])));
    }
    for handle in &handles {
        handle.look(|core| assert_eq!((core.failed.len(), core.resolved.len()), (1, 1)));
    }
}

/// A timeout that a core names in whatever way comes, and that of one is not that of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_core_has_its_own_timeout() {
    let (handles, _) = spawn(2, Limits::default());
    handles[1].with(|core, now| core.due = Some(now + Duration::from_millis(50)));
    until(&handles[1], "its timeout", |core| core.fired == 1).await;
    assert_eq!(handles[0].look(|core| core.fired), 0);
}

/// A core that stands still makes its own messages wait, up to the limit; the others go on, and what was lost is told and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_for_one_core_is_bounded_and_the_others_go_on() {
    let (handles, at) = spawn(2, Limits { shard_queue: 10, ..Limits::default() });
    let client = client(at).await;
    send(&client, "INVITE", "probe", 0).await;
    let (_, busy) = answer(&client).await;
    let (held, hold) = std::sync::mpsc::channel::<()>();
    let (holds, is_held) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let stuck = handles[busy].clone();
    let thread = std::thread::spawn(move || {
        stuck.look(|_| {
            holds.send(()).unwrap();
            // The thread that waits for this core may be the one that listens to the sockets. Whoever has something to do takes that over.
            while hold.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                runtime.spawn(async {});
            }
        });
    });
    is_held.await.unwrap();
    // One turn may have been taken out of the queue before the core was found held.
    for number in 1..100 {
        send(&client, "INVITE", "probe", number).await;
    }
    let other = (0..).map(|number| format!("other{number}"));
    let mut answered = 0;
    for call in other.take(40) {
        send(&client, "INVITE", &call, 0).await;
        if let Ok((_, core)) = timeout(Duration::from_millis(200), answer(&client)).await {
            assert_ne!(core, busy);
            answered += 1;
            if answered == 3 {
                break;
            }
        }
    }
    assert_eq!(answered, 3, "the other core answers");
    let overflowed = handles[0].counters().shard_overflowed;
    assert!((80..=130).contains(&overflowed), "{overflowed}");
    held.send(()).unwrap();
    thread.join().unwrap();
    until(&handles[busy], "it hears of what was lost", |core| core.lost > 0).await;
    let (seen, waited) = handles[busy].look(|core| (core.seen["probe"].len(), core.waited.clone()));
    assert!(seen <= 1 + 2 * 10, "{seen}");
    assert!(waited.iter().max() > Some(&Duration::ZERO), "it is told how long they have waited");
}

/// One core alone sits in the driver itself.
#[tokio::test]
async fn one_core_is_driven_as_ever() {
    let (handles, at) = spawn(1, Limits::default());
    assert_eq!(handles.len(), 1);
    let client = client(at).await;
    send(&client, "INVITE", "a", 1).await;
    assert_eq!(answer(&client).await, ("a".to_owned(), 0));
    assert_eq!(handles[0].counters().received, 1);
    handles[0].close();
    handles[0].stopped().await;
}
