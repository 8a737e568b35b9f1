//! What an established call of a phone costs in memory, and that all of it comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)] // the figures are what one runs it for

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sip_ua::{NoMedia, Phone};
use tokio::sync::oneshot;

const CALLS: usize = 3000;
/// Octets for a call that stands, its task and its share of the tables included.
const MOST: usize = 2_560;
/// The same in the 32 seconds after its answer, when its transactions absorb repetitions (RFC 6026 §7.1): what a process that was
/// called all at once asks the system for.
const MOST_FRESH: usize = 3_328;

/// A caller made of text and a socket, so that nothing but the phone is measured.
struct Caller {
    socket: UdpSocket,
    phone: SocketAddr,
}

impl Caller {
    fn request(&self, number: usize, cseq: usize, method: &str, tag: &str, uri: &str, body: &str) -> String {
        let here = self.socket.local_addr().unwrap();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};rport;branch=z9hG4bK{number:08x}.{cseq}.{method}\r\n\
             Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@a.example>;tag={number:08x}\r\n\
             To: <sip:uas@127.0.0.1>{tag}\r\nCall-ID: {number:08x}-5d0a91c2@a.example\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:alice@{here}>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn send(&self, request: &str) {
        self.socket.send_to(request.as_bytes(), self.phone).unwrap();
    }

    /// The final response to what was sent last.
    fn answer(&self) -> String {
        let mut octets = [0; 2048];
        loop {
            let length = self.socket.recv(&mut octets).expect("an answer in time");
            let text = std::str::from_utf8(&octets[..length]).unwrap();
            if !text.starts_with("SIP/2.0 1") {
                assert!(text.starts_with("SIP/2.0 200 "), "{text}");
                return text.into();
            }
        }
    }

    /// The tag and the address of the phone, once the call stands.
    fn call(&self, number: usize) -> (String, String) {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                     m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                     a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";
        self.send(&self.request(number, 1, "INVITE", "", "sip:uas@127.0.0.1", offer));
        let answer = self.answer();
        let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let tag = field("To: <sip:uas@127.0.0.1>");
        let contact = field("Contact: <").trim_end_matches('>').to_owned();
        self.send(&self.request(number, 1, "ACK", &tag, &contact, ""));
        (tag, contact)
    }

    fn hang_up(&self, number: usize, (tag, contact): &(String, String)) {
        self.send(&self.request(number, 2, "BYE", tag, contact, ""));
        self.answer();
    }
}

/// Does something in a thread of its own, whose memory is not counted, while the phone goes on.
async fn meanwhile<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = oneshot::channel();
    thread::spawn(move || tell.send(work()).map_err(drop).unwrap());
    told.await.unwrap()
}

/// The timers of all transactions pass.
async fn pass() {
    tokio::time::pause();
    for _ in 0..70 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
}

/// A phone that answers every call and waits for its end, as `examples/answering_phone.rs`.
async fn answers(phone: Phone) {
    while let Some(incoming) = phone.incoming().await {
        tokio::spawn(async move {
            incoming.ring().unwrap();
            incoming.answer().await.unwrap().ended().await;
        });
    }
}

/// After its transactions are over a call that stands keeps its dialog, its session and a task that waits.
#[test]
fn an_established_call_is_small_and_all_of_it_comes_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let phone = runtime.block_on(async {
        let phone = Phone::builder("sip:uas@127.0.0.1").listen("udp:127.0.0.1:0");
        phone.media_engine(Arc::new(NoMedia)).max_calls(CALLS).bind().await.unwrap()
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let caller = Arc::new(Caller { socket, phone: phone.locals().iter().next().unwrap().bound });

    // What a phone needs however many calls it has: a batch of datagrams.
    runtime.block_on(async {
        tokio::spawn(answers(phone.clone()));
        let caller = Arc::clone(&caller);
        meanwhile(move || caller.hang_up(CALLS, &caller.call(CALLS))).await;
    });
    let mut standing = Vec::new();
    let taken = allocation_counter::measure(|| {
        runtime.block_on(async {
            let caller = Arc::clone(&caller);
            standing = meanwhile(move || (0..CALLS).map(|number| caller.call(number)).collect()).await;
        });
    });
    let passed = allocation_counter::measure(|| runtime.block_on(pass()));
    let fresh = usize::try_from(taken.bytes_current).unwrap() / CALLS;
    println!("{fresh} octets for each call whose transactions absorb repetitions");
    let each = usize::try_from(taken.bytes_current + passed.bytes_current).unwrap() / CALLS;
    println!(
        "{each} octets in {} pieces for each established call",
        (taken.count_current + passed.count_current) as usize / CALLS
    );

    let returned = allocation_counter::measure(|| {
        runtime.block_on(async {
            let caller = Arc::clone(&caller);
            meanwhile(move || {
                standing.iter().enumerate().for_each(|(number, call)| caller.hang_up(number, call));
            })
            .await;
            pass().await;
        });
    });
    let kept =
        usize::try_from(taken.bytes_current + passed.bytes_current + returned.bytes_current).unwrap() / CALLS;
    println!("{kept} octets kept for each call that has ended");
    assert!(each <= MOST && fresh <= MOST_FRESH, "{each} octets for each call, {fresh} at first");
    // What stays is room in tables for as many again.
    assert!(kept <= MOST / 8, "{kept} octets are kept for each call");
}
