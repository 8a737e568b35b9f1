//! MSRP in the messages of a WebSocket (RFC 7977): each is one chunk.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
#[cfg(feature = "relay")]
pub use websocket_wire::Origins;
use websocket_wire::frame::{self, Decoder, Event, Masks, Opcode, Side};
use websocket_wire::handshake;

use super::socket::{Read, Socket};

/// RFC 7977 §4.1.
const SUBPROTOCOL: &str = "msrp";
/// Octets of a message: it is in memory whole before any of it is read.
const MAX_MESSAGE: usize = 262_144;
/// The same of who has not shown who he is: a head fits and a little text, and strangers shall not fill memory.
#[cfg(feature = "relay")]
const MAX_OF_STRANGER: usize = 32_768;
/// Octets of one read.
const READ: usize = 65_536;
/// After this silence the peer is asked whether it is there, which keeps the bindings of NATs and proxies as well (RFC 7977 §6).
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may then say nothing.
const PONG: Duration = Duration::from_secs(30);
/// Code of a regular end (RFC 6455 §7.4.1).
const NORMAL: u16 = 1_000;

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

/// The state of the frames of a connection.
pub(super) struct WebSocket {
    decoder: Decoder,
    masks: Masks,
    /// Of a chunk whose end is still to come.
    parts: Vec<Bytes>,
    /// The last ping: RFC 6455 §5.5.3 lets us answer that one alone, so many of them fill no memory.
    pong: Option<Bytes>,
    /// The code of the end, if there is a reason to end.
    close: u16,
    heard: Instant,
    /// We have asked and heard nothing since.
    asked: bool,
    asks: bool,
}

impl WebSocket {
    fn new(side: Side) -> Self {
        Self {
            decoder: Decoder::new(side, MAX_MESSAGE),
            masks: Masks::new(side),
            parts: Vec::new(),
            pong: None,
            close: NORMAL,
            heard: now(),
            asked: false,
            asks: false,
        }
    }

    #[cfg(feature = "relay")]
    pub(super) fn set_stranger(&mut self, is_stranger: bool) {
        self.decoder.set_limit(if is_stranger { MAX_OF_STRANGER } else { MAX_MESSAGE });
    }

    /// Octets of a chunk, in the order in which they are to be sent; with the last of them it becomes a message.
    pub(super) fn put(&mut self, octets: Bytes, is_last: bool, out: &mut VecDeque<Bytes>) {
        self.parts.push(octets);
        if is_last {
            let whole = self.parts.concat();
            self.parts.clear();
            out.push_back(frame::message(&whole, self.masks.next_mask()));
        }
    }

    /// Ping and pong, if they are due. They go between messages.
    pub(super) fn put_control(&mut self, out: &mut VecDeque<Bytes>) {
        if let Some(payload) = self.pong.take() {
            out.push_back(frame::encode(Opcode::Pong, &payload, self.masks.next_mask()));
        }
        if std::mem::take(&mut self.asks) {
            out.push_back(frame::encode(Opcode::Ping, b"", self.masks.next_mask()));
        }
    }

    pub(super) fn has_control(&self) -> bool {
        self.pong.is_some() || self.asks
    }

    pub(super) fn put_close(&mut self, out: &mut VecDeque<Bytes>) {
        out.push_back(frame::close(self.close, self.masks.next_mask()));
    }

    /// When [`tick`](Self::tick) is due.
    pub(super) fn due(&self) -> Instant {
        let silence = if self.asked { SILENCE.saturating_add(PONG) } else { SILENCE };
        self.heard.checked_add(silence).unwrap_or(self.heard)
    }

    /// Asks whether the peer is there.
    ///
    /// # Errors
    /// If it has not answered.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        if now() < self.due() {
            return Ok(());
        }
        if self.asked {
            return Err(io::ErrorKind::TimedOut.into());
        }
        (self.asked, self.asks) = (true, true);
        Ok(())
    }

    /// The next message among what was read; nothing until more is.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Read>> {
        match self.decoder.next_event() {
            Ok(None) => Ok(None),
            Ok(Some(Event::Message(message))) => {
                buffer.extend_from_slice(&message);
                Ok(Some(Read::Some))
            }
            Ok(Some(Event::Ping(payload))) => {
                self.pong = Some(payload);
                Ok(Some(Read::Control))
            }
            Ok(Some(Event::Pong)) => Ok(Some(Read::Control)),
            Ok(Some(Event::Close(_))) => Ok(Some(Read::End)),
            Err(violation) => {
                self.close = violation.close_code();
                Err(io::Error::new(io::ErrorKind::InvalidData, violation))
            }
        }
    }

    /// What is no MSRP chunk ends the connection as a breach of its protocol (RFC 6455 §7.4.1).
    pub(super) fn set_violated(&mut self) {
        self.close = 1_002;
    }

    /// Where to read to.
    pub(super) fn scratch() -> BytesMut {
        BytesMut::with_capacity(READ)
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        (self.heard, self.asked, self.asks) = (now(), false, false);
        self.decoder.push(octets);
    }
}

async fn write_all(socket: &mut Socket, octets: Bytes) -> io::Result<()> {
    let mut pieces = VecDeque::from([octets]);
    loop {
        match socket.write(&mut pieces) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await,
            result => return result,
        }
    }
}

/// Reads until `whole` has what it wants, and keeps what comes behind it.
async fn head<T>(
    socket: &mut Socket,
    mut whole: impl FnMut(&[u8]) -> io::Result<Option<(T, usize)>>,
) -> io::Result<(T, BytesMut)> {
    let mut octets = BytesMut::new();
    loop {
        match socket.read(&mut octets) {
            Ok(Read::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                if let Some((what, size)) = whole(&octets)? {
                    let rest = octets.split_off(size.min(octets.len()));
                    return Ok((what, rest));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable().await,
            Err(error) => return Err(error),
        }
    }
}

fn begun(mut socket: Socket, side: Side, rest: &[u8]) -> Socket {
    let mut websocket = WebSocket::new(side);
    websocket.decoder.push(rest);
    socket.websocket = Some(Box::new(websocket));
    socket
}

/// The upgrade of a connection that was accepted (RFC 7977 §4.1).
#[cfg(feature = "relay")]
pub(super) async fn accept(mut socket: Socket, origins: &Origins) -> io::Result<Socket> {
    let (answer, rest) = head(&mut socket, |octets| {
        Ok(match handshake::accept(octets, SUBPROTOCOL, origins) {
            Ok(answer) => answer.map(|(response, size)| (Ok(response), size)),
            Err(refusal) => Some((Err(refusal), octets.len())),
        })
    })
    .await?;
    match answer {
        Ok(response) => {
            write_all(&mut socket, response).await?;
            Ok(begun(socket, Side::Server, &rest))
        }
        Err(refusal) => {
            write_all(&mut socket, refusal.response()).await?;
            socket.shut_down(&mut VecDeque::new());
            Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
        }
    }
}

/// The upgrade of a connection that we have opened.
pub(super) async fn connect(mut socket: Socket, host: &str) -> io::Result<Socket> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    write_all(&mut socket, handshake::request(host, SUBPROTOCOL, key)).await?;
    let ((), rest) = head(&mut socket, |octets| {
        let size = handshake::accepted(octets, SUBPROTOCOL, key);
        let size = size.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(size.map(|size| ((), size)))
    })
    .await?;
    Ok(begun(socket, Side::Client, &rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7977 §6.
    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_and_then_given_up() {
        let mut ours = WebSocket::new(Side::Server);
        let mut out = VecDeque::new();
        ours.tick().unwrap();
        assert!(!ours.has_control());
        ::tokio::time::advance(SILENCE).await;
        ours.tick().unwrap();
        ours.put_control(&mut out);
        assert_eq!(out.pop_front().as_deref(), Some(b"\x89\x00".as_slice()));
        ::tokio::time::advance(PONG / 2).await;
        ours.tick().unwrap();
        ours.put_control(&mut out);
        assert!(out.is_empty(), "it is asked once");
        ours.push(&frame::encode(Opcode::Pong, b"", Some([1; 4])));
        assert_eq!(ours.next(&mut BytesMut::new()).unwrap(), Some(Read::Control));
        ::tokio::time::advance(SILENCE).await;
        ours.tick().unwrap();
        ours.put_control(&mut out);
        assert_eq!(out.len(), 1, "it has answered, and is asked anew");
        ::tokio::time::advance(PONG).await;
        assert_eq!(ours.tick().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn of_many_pings_the_last_is_answered() {
        let mut ours = WebSocket::new(Side::Server);
        for number in 0..100u8 {
            ours.push(&frame::encode(Opcode::Ping, &[number], Some([1; 4])));
            assert_eq!(ours.next(&mut BytesMut::new()).unwrap(), Some(Read::Control));
        }
        let mut out = VecDeque::new();
        ours.put_control(&mut out);
        assert_eq!(out, [Bytes::from_static(&[0x8a, 1, 99])]);
    }
}
