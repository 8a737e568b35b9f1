//! The adaptive jitter buffer beside one of a fixed 60 ms, over simulated networks in virtual time. The table is printed by
//! `cargo test -p rtp --release --test playout -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::audio::speech::speech_like;
use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format};
use rtp::codec::Codec;
use rtp::emodel::{self, Conditions};
use rtp::jitter;
use rtp::ntp::NtpTimestamp;
use rtp::session::{self, Channel, Remote};

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64) / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }
}

/// What a network does to packet `n`: its delay in milliseconds, or `None` if it is lost.
type Network = Box<dyn FnMut(u32, &mut Random) -> Option<f64>>;

struct Trace {
    name: &'static str,
    /// Parts in a million by which the sender's clock is faster than ours.
    drift: f64,
    /// Speech for so many packets, then nothing for as many.
    spurts: Option<u32>,
    network: Network,
}

/// Loss in bursts (Gilbert and Elliott): enters the bad state with `enter`, leaves it with `leave`, loses half in it.
fn bursts(enter: f64, leave: f64) -> impl FnMut(&mut Random) -> bool {
    let mut bad = false;
    move |random| {
        bad = if bad { random.uniform() >= leave } else { random.uniform() < enter };
        bad && random.uniform() < 0.5
    }
}

fn traces() -> Vec<Trace> {
    let trace = |name, network: Network| Trace { name, drift: 0.0, spurts: None, network };
    let lan = || -> Network { Box::new(|_, random| Some(5.0 + random.uniform())) };
    let mut queue = 0.0;
    let mut lossy = bursts(0.01, 0.3);
    vec![
        trace("quiet network", lan()),
        Trace { drift: 200.0, ..trace("quiet, clock +200 ppm", lan()) },
        Trace { drift: -200.0, ..trace("quiet, clock -200 ppm", lan()) },
        trace("jitter 40 ± 30 ms", Box::new(|_, random| Some(10.0 + random.uniform() * 60.0))),
        trace("exponential jitter, 8 ms", Box::new(|_, random| Some(20.0 + random.exponential(8.0)))),
        trace(
            "loss in bursts, 3 ms jitter",
            Box::new(move |_, random| {
                let jitter = random.exponential(3.0);
                (!lossy(random)).then_some(30.0 + jitter)
            }),
        ),
        trace(
            "queue that fills now and then",
            Box::new(move |_, random| {
                queue = f64::max(0.0, queue - 12.0);
                if random.uniform() < 0.006 {
                    queue = 90.0;
                }
                Some(15.0 + queue + random.uniform() * 4.0)
            }),
        ),
        trace(
            "route 80 ms longer for a third",
            Box::new(|n, random| {
                Some(if (1000..2000).contains(&n) { 100.0 } else { 20.0 } + random.uniform() * 4.0)
            }),
        ),
        Trace {
            spurts: Some(60),
            ..trace("talk spurts, 4 ms jitter", Box::new(|_, random| Some(20.0 + random.exponential(4.0))))
        },
    ]
}

#[derive(Debug)]
struct Figures {
    /// Mean time in the buffer, in milliseconds.
    delay: f64,
    /// Share of frames made up, in percent.
    concealed: f64,
    mos: f64,
}

const PACKETS: u32 = 3000;

/// A minute of a call in which only the network's own delay is not ours to answer for.
fn play(mut trace: Trace, jitter: jitter::Config) -> Figures {
    let start = Instant::now();
    let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let session = session::Config::new([1; 32], "test@example.com", NtpTimestamp(0));
    let mut stream = AudioStream::new(start, Config { session, jitter, format: Format::of(Codec::PCMU, 0) });
    stream.set_remote(start, Remote::port_pair(peer));
    let speech = speech_like(FRAME * 500, 7);
    let frames: Vec<Vec<u8>> = speech.chunks(FRAME).map(|frame| rtp::g711::Law::Mu.encode(frame)).collect();
    let mut random = Random(42);
    let mut sequence = 0u16;
    let mut packets: Vec<(Duration, Vec<u8>)> = Vec::new();
    for n in 0..PACKETS {
        if trace.spurts.is_some_and(|length| n / length % 2 == 1) {
            continue;
        }
        sequence = sequence.wrapping_add(1);
        let Some(delay) = (trace.network)(n, &mut random) else { continue };
        let sent = f64::from(n) * 20.0 * (1.0 - trace.drift / 1e6);
        let header = rtp::packet::Header {
            payload_type: 0,
            marker: false,
            sequence_number: sequence,
            timestamp: n * FRAME as u32,
            ssrc: 7,
        };
        let packet = header.build(&frames[n as usize % frames.len()]).unwrap().to_vec();
        packets.push((Duration::from_secs_f64((sent + delay) / 1000.0), packet));
    }
    packets.sort();
    let mut arrivals = packets.into_iter().peekable();
    let (mut delays, mut count) = (0.0, 0u32);
    for tick in 0..PACKETS + 10 {
        let now = FRAME_DURATION * tick + Duration::from_millis(7);
        while let Some((at, packet)) = arrivals.next_if(|(at, _)| *at <= now) {
            let _ = stream.receive(start + at, Channel::Rtp, peer, &packet);
        }
        let played = stream.statistics().jitter.played;
        let _ = stream.next_frame(start + now);
        let statistics = stream.statistics().jitter;
        if statistics.played > played {
            delays += statistics.delay.as_secs_f64() * 1000.0;
            count += 1;
        }
    }
    let statistics = stream.statistics().jitter;
    let made_up = (statistics.missing + statistics.shortened) as f64;
    let delay = delays / f64::from(count.max(1));
    let loss = made_up / (statistics.played as f64 + made_up);
    let conditions = Conditions {
        delay: Duration::from_secs_f64((delay + 40.0) / 1000.0),
        loss,
        burst_ratio: 1.0,
        codec: Codec::PCMU.impairment(),
    };
    Figures { delay, concealed: loss * 100.0, mos: emodel::estimate(&conditions).mos }
}

/// Per trace: the delay in milliseconds and the concealed share in percent that the adaptive buffer stays below, both with some
/// room for what is chance.
const LIMITS: [(f64, f64); 9] = [
    (48.0, 0.4),
    (48.0, 0.4),
    (48.0, 0.4),
    (60.0, 0.5),
    (58.0, 0.6),
    (50.0, 3.0),
    (115.0, 0.8),
    (45.0, 0.8),
    (40.0, 8.5),
];

#[test]
fn the_adaptive_buffer_is_better_than_a_fixed_one_on_every_network() {
    println!("{:32} {:>25} {:>25}", "", "adaptive", "60 ms");
    let heads = format!("{:>9} {:>9} {:>5}", "delay", "concealed", "MOS");
    println!("{:32} {heads} {heads}", "");
    let mut failures = Vec::new();
    for ((trace, other), (delay, concealed)) in traces().into_iter().zip(traces()).zip(LIMITS) {
        let name = trace.name;
        let adaptive = play(trace, jitter::Config::default());
        let fixed = play(other, jitter::Config::fixed(Duration::from_millis(60)));
        println!(
            "{name:32} {:6.1} ms {:7.2} % {:5.2} {:6.1} ms {:7.2} % {:5.2}",
            adaptive.delay, adaptive.concealed, adaptive.mos, fixed.delay, fixed.concealed, fixed.mos
        );
        // Better by a tenth on one of the two, and on the other not worse by more than chance.
        let shorter = adaptive.delay < fixed.delay * 0.9 && adaptive.concealed < fixed.concealed + 0.7;
        // Where 60 ms is too short, waiting longer must be worth it: half as much made up, and a better score with the delay
        // counted.
        let clearer = adaptive.concealed < fixed.concealed / 2.0 && adaptive.mos > fixed.mos + 0.04;
        if !(shorter || clearer) || adaptive.delay > delay || adaptive.concealed > concealed {
            failures.push((name, adaptive, fixed));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
