//! Sends a file of one GiB over loopback, once over plain TCP and once over MSRP, and prints both times.
//!
//! `cargo run --release -p msrp --example file_throughput [MEBIBYTES]`. With `profile`, MSRP's core alone moves the octets through
//! memory, for callgrind.
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use msrp::framing::Limits;
use msrp::tokio::{Endpoint, Options};
use msrp::{Connection, Delivery, Event, Message, NoDirectory, SessionConfig, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Octets read from a file at once.
const PIECE: usize = 262_144;

fn piece() -> Bytes {
    // Text with line ends and hyphens, so that the search for end-lines has something to look at.
    b"some text\r\n------- and more of it -\r\n".iter().copied().cycle().take(PIECE).collect()
}

async fn plain(pieces: usize) -> Result<Duration, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let start = Instant::now();
    let sender = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await?;
        let piece = piece();
        for _ in 0..pieces {
            stream.write_all(&piece).await?;
        }
        stream.shutdown().await
    });
    let (mut stream, _) = listener.accept().await?;
    let (mut buffer, mut octets) = (vec![0; PIECE], 0);
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        octets += length;
    }
    sender.await??;
    assert_eq!(octets, pieces * PIECE);
    Ok(start.elapsed())
}

async fn msrp(pieces: usize) -> Result<Duration, Box<dyn Error>> {
    let total = (pieces * PIECE) as u64;
    let (alice, bob) = (
        Endpoint::bind(Options::active_only()).await?,
        Endpoint::bind(Options::new("127.0.0.1:0".parse()?)).await?,
    );
    let (alice, mut bob) = (alice.open()?, bob.open()?);
    bob.config_mut().max_size = total;
    bob.config_mut().delivery = Delivery::Parts;
    let path = bob.uri().clone().into();
    let (alice, bob) = tokio::join!(alice.connect(path), bob.accept());
    let (alice, mut bob) = (alice?, bob?);
    let start = Instant::now();
    let sender = tokio::spawn(async move {
        let mut upload = alice.upload(Message::stream("application/octet-stream", Some(total))).await?;
        let piece = piece();
        for _ in 0..pieces {
            upload.write(piece.clone()).await?;
        }
        upload.finish().await?.accepted().await?;
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    let mut octets = 0;
    while let Some(event) = bob.next().await {
        match event {
            Event::Part { octets: part, .. } => octets += part.len() as u64,
            Event::Ended { .. } => break,
            _ => {}
        }
    }
    sender.await?.map_err(|error| error.to_string())?;
    assert_eq!(octets, total);
    Ok(start.elapsed())
}

/// The core alone, without sockets.
fn profile(pieces: usize) -> Result<(), Box<dyn Error>> {
    let (a, b): (Uri, Uri) = ("msrp://a:1/a;tcp".parse()?, "msrp://b:1/b;tcp".parse()?);
    let mut token = 0;
    let mut alice = Connection::new(
        1,
        Limits::default(),
        Box::new(move || {
            token += 1;
            token
        }),
    );
    let mut bob = Connection::new(2, Limits::default(), Box::new(|| 7));
    let session =
        alice.add(SessionConfig { remote: Some(b.clone().into()), active: true, ..SessionConfig::new(a) })?;
    bob.add(SessionConfig { max_size: u64::MAX, delivery: Delivery::Parts, ..SessionConfig::new(b) })?;
    let message = alice.send(session, Message::stream("application/octet-stream", None))?;
    let piece = piece();
    for _ in 0..pieces {
        alice.feed(message, piece.clone())?;
        while let Some(octets) = alice.poll_transmit() {
            bob.buffer_mut().extend_from_slice(&octets);
        }
        bob.receive(std::time::Instant::now(), &mut NoDirectory)?;
        while bob.poll_event().is_some() {}
        while alice.poll_event().is_some() {}
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let is_profile = first.as_deref() == Some("profile");
    let mebibytes: usize =
        if is_profile { arguments.next() } else { first }.map_or(Ok(1_024), |text| text.parse())?;
    let pieces = mebibytes * (1 << 20) / PIECE;
    if is_profile {
        return profile(pieces);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut least_plain, mut least_msrp) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        least_plain = least_plain.min(runtime.block_on(plain(pieces))?);
        least_msrp = least_msrp.min(runtime.block_on(msrp(pieces))?);
    }
    println!("{mebibytes} MiB, the best of three: plain TCP {least_plain:.2?}, MSRP {least_msrp:.2?}");
    println!("ratio {:.2}", least_msrp.as_secs_f64() / least_plain.as_secs_f64());
    Ok(())
}
