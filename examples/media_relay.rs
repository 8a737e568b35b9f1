//! A media relay: calls have two legs on ports of their own, and what comes on one goes out on the other. Where the parties are
//! is learned from their packets; a signalling server would say it (`Leg::new`, `Bridge::set_remote`).
//!
//! `cargo run --release -p examples --example media_relay -- 127.0.0.1 18000 100 [--pace MICROSECONDS] [--srtp]`: leg A of call
//! number i is at port 18000 + 4 i, leg B two ports above; with port 0 they are where there is room, and are printed. With `--srtp` every call passes two bridges in a row, with keys on the
//! leg between them; with `--twice` two bridges without, to compare with. Enter or end of input ends it.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtp::relay::net::{Config, Ports, Relay, RelayedCall};
use rtp::relay::{Bridge, Leg, Side};
use rtp::session::Remote;
use rtp::srtp::{MasterKey, Profile, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing: ADDRESS PORT CALLS"));
    let (address, base, calls) = (next("address")?, next("port")?, next("number of calls")?);
    let (address, base, calls): (IpAddr, u16, u16) = (address.parse()?, base.parse()?, calls.parse()?);
    let (mut config, mut twice, mut srtp) = (Config::default(), false, false);
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--pace" => {
                config.pace = Duration::from_micros(arguments.next().ok_or("--pace MICROSECONDS")?.parse()?);
            }
            "--twice" => twice = true,
            "--srtp" => srtp = true,
            other => return Err(format!("{other}? --pace MICROSECONDS, --twice or --srtp").into()),
        }
    }
    let relay = Relay::start(config)?;
    let mut relayed: Vec<RelayedCall> = Vec::new();
    for number in 0..calls {
        let port = |leg: u16| match base {
            0 => Some(0),
            _ => number.checked_mul(4)?.checked_add(leg)?.checked_add(base),
        };
        let too_high = "the ports of so many calls do not fit; begin with a lower one";
        let (a, b) = (bind(address, port(0).ok_or(too_high)?)?, bind(address, port(2).ok_or(too_high)?)?);
        if base == 0 {
            println!("call {number}: A at {}, B at {}", a.rtp.local_addr()?, b.rtp.local_addr()?);
        }
        let now = Instant::now();
        if !(twice || srtp) {
            relayed.push(relay.add(a, b, Bridge::new(Leg::new(now, None), Leg::new(now, None)))?);
            continue;
        }
        // The two bridges know where each other is.
        let (left, right) = (bind(address, 0)?, bind(address, 0)?);
        let mut inner =
            [&right, &left].map(|other| Ok(Leg::new(now, Some(Remote::port_pair(other.rtp.local_addr()?)))));
        if srtp {
            let keys = [key()?, key()?];
            let [one, other] = &keys;
            let sessions = [Session::new(PROFILE, one, other)?, Session::new(PROFILE, other, one)?];
            let mut sessions = sessions.into_iter();
            inner = inner.map(|leg: io::Result<Leg>| {
                let session = sessions.next().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(leg?.protected(session))
            });
        }
        let [towards_right, towards_left] = inner;
        relayed.push(relay.add(a, left, Bridge::new(Leg::new(now, None), towards_right?))?);
        relayed.push(relay.add(right, b, Bridge::new(towards_left?, Leg::new(now, None)))?);
    }
    println!("{calls} calls are relayed");
    io::stdin().read_line(&mut String::new())?;
    let packets = |side| relayed.iter().map(|call| call.bridge().statistics(side).packets).sum::<u64>();
    println!("{} packets there, {} back", packets(Side::A), packets(Side::B));
    Ok(())
}

const PROFILE: Profile = Profile::AesCm128HmacSha1Tag80;

fn bind(address: IpAddr, port: u16) -> io::Result<Ports> {
    Ok(Ports { rtp: UdpSocket::bind((address, port))?, rtcp: None })
}

fn key() -> Result<MasterKey, Box<dyn Error>> {
    let (mut key, mut salt) = ([0; 16], [0; 14]);
    getrandom::fill(&mut key)?;
    getrandom::fill(&mut salt)?;
    Ok(MasterKey::new(PROFILE, &key, &salt)?)
}
