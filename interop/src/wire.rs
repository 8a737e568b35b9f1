//! A peer that says whatever it is told to, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use sip_message::framing::{Frame, StreamDecoder};
use sip_message::{Limits, Message, Request, Response};

/// How long an answer may take before there is none.
const ANSWER: Duration = Duration::from_secs(5);

/// A UDP socket.
#[derive(Debug)]
pub struct UdpPeer {
    socket: UdpSocket,
    target: SocketAddr,
}

impl UdpPeer {
    /// A socket on loopback that talks to `target`.
    ///
    /// # Panics
    /// If there is no socket to be had.
    pub fn new(target: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        Self { socket, target }
    }

    /// Its own address.
    ///
    /// # Panics
    /// If the socket has none.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// Sends a datagram.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn send(&self, octets: impl AsRef<[u8]>) {
        self.socket.send_to(octets.as_ref(), self.target).expect("a datagram that leaves");
    }

    /// The next response with this Call-ID, or `None` if there is none in time.
    pub fn response(&self, call_id: &str, patience: Duration) -> Option<Response> {
        self.next(patience, |message| match message {
            Message::Response(response) if response.headers.text("Call-ID") == Some(call_id) => {
                Some(response)
            }
            _ => None,
        })
    }

    /// The next request, or `None` if there is none in time.
    pub fn next_request(&self, patience: Duration) -> Option<Request> {
        self.next(patience, |message| match message {
            Message::Request(request) => Some(request),
            Message::Response(_) => None,
        })
    }

    fn next<T>(&self, patience: Duration, wanted: impl Fn(Message) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut octets = vec![0; 65_536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a time limit");
            match self.socket.recv(&mut octets) {
                Ok(length) => {
                    let datagram = octets[..length].to_vec();
                    let message = Message::parse(datagram.into(), &Limits::default()).ok();
                    if let Some(found) = message.and_then(&wanted) {
                        return Some(found);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Sends a request and gives its final response.
    pub fn ask(&self, request: &str, call_id: &str) -> Option<Response> {
        self.send(request);
        loop {
            let response = self.response(call_id, ANSWER)?;
            if response.status().is_final() {
                return Some(response);
            }
        }
    }

    /// Drops what has arrived.
    pub fn drain(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut octets = [0; 2048];
        while self.socket.recv(&mut octets).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpPeer {
    stream: TcpStream,
    decoder: StreamDecoder,
}

impl TcpPeer {
    /// A connection to `target`.
    ///
    /// # Panics
    /// If it is refused.
    pub fn connect(target: SocketAddr) -> Self {
        let stream = TcpStream::connect(target).expect("a connection");
        Self { stream, decoder: StreamDecoder::new(Limits::default()) }
    }

    /// Sends octets; a peer that has closed is no failure.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(octets.as_ref());
    }

    /// The next final response, or `None` once the peer has closed or said nothing in time.
    ///
    /// # Panics
    /// If what the peer sends is no SIP.
    pub fn response(&mut self) -> Option<Response> {
        self.stream.set_read_timeout(Some(ANSWER)).expect("a time limit");
        let mut octets = [0; 4096];
        loop {
            while let Some(frame) = self.decoder.next_frame().expect("well-framed answers") {
                if let Frame::Message(Message::Response(response)) = frame
                    && response.status().is_final()
                {
                    return Some(response);
                }
            }
            match self.stream.read(&mut octets) {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.decoder.push(&octets[..length]),
            }
        }
    }

    /// Whether the peer has closed the connection, or does so in time.
    pub fn is_closed(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(ANSWER));
        let mut octets = [0; 4096];
        loop {
            match self.stream.read(&mut octets) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }
}

/// The status code of an answer, 0 if there was none.
pub fn status_of(response: &Option<Response>) -> u16 {
    response.as_ref().map_or(0, |response| response.status().code())
}
