//! The octets of one connection: TCP as it is, or TLS over it, and WebSocket over either. Nothing here waits but the handshake.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Instant;

use ::tokio::net::TcpStream;
use bytes::{Buf, Bytes, BytesMut};

/// Pieces given to the kernel at once.
const PIECES: usize = 64;
/// Octets of one read: enough that a file costs few system calls.
const READ: usize = 262_144;
/// Below this much room a new buffer is taken.
const LEAST_ROOM: usize = 16_384;

/// An open connection.
pub(super) struct Socket {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::Connection>>,
    #[cfg(feature = "ws")]
    pub(super) websocket: Option<Box<super::websocket::WebSocket>>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The end.
    End,
    /// There is more in the buffer: of a stream some octets, of a WebSocket one message.
    Some,
    /// Nothing for the buffer.
    #[cfg_attr(not(feature = "ws"), allow(dead_code))]
    Control,
}

/// Takes written octets off the pieces.
fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while written > 0
        && let Some(first) = pieces.front_mut()
    {
        let part = written.min(first.len());
        first.advance(part);
        written = written.saturating_sub(part);
        if first.is_empty() {
            pieces.pop_front();
        }
    }
}

impl Socket {
    pub(super) fn plain(stream: TcpStream) -> Self {
        // Chunks are written whole, so there is nothing to wait for.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "ws")]
            websocket: None,
        }
    }

    /// Whether each chunk is one message of a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        #[cfg(feature = "ws")]
        return self.websocket.is_some();
        #[cfg(not(feature = "ws"))]
        false
    }

    /// Octets of a chunk on their way out. `is_last`: they end it.
    pub(super) fn put(&mut self, octets: Bytes, is_last: bool, out: &mut VecDeque<Bytes>) {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            return websocket.put(octets, is_last, out);
        }
        let _ = is_last;
        out.push_back(octets);
    }

    /// What the transport itself has to say, behind what waits already.
    pub(super) fn put_control(&mut self, out: &mut VecDeque<Bytes>) {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            websocket.put_control(out);
        }
        let _ = out;
    }

    /// When [`tick`](Self::tick) is due.
    pub(super) fn due(&self) -> Option<Instant> {
        #[cfg(feature = "ws")]
        return self.websocket.as_ref().map(|websocket| websocket.due());
        #[cfg(not(feature = "ws"))]
        None
    }

    /// Keeps the connection alive.
    ///
    /// # Errors
    /// If the peer is not there any more.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            return websocket.tick();
        }
        Ok(())
    }

    /// Whether the peer has still to show who he is.
    #[cfg(feature = "relay")]
    pub(super) fn set_stranger(&mut self, is_stranger: bool) {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            websocket.set_stranger(is_stranger);
        }
        let _ = is_stranger;
    }

    /// What came is no MSRP.
    pub(super) fn set_violated(&mut self) {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            websocket.set_violated();
        }
    }

    /// The SHA-256 fingerprint of the peer's certificate, if it has shown one.
    pub(super) fn peer_fingerprint(&self) -> Option<[u8; 32]> {
        #[cfg(feature = "tls")]
        if let Some(certificates) = self.tls.as_ref()?.peer_certificates() {
            return certificates.first().map(|certificate| super::tls::fingerprint(certificate));
        }
        None
    }

    /// Writes what the kernel takes; `WouldBlock` when it takes no more.
    pub(super) fn write(&mut self, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
        while !pieces.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
            #[cfg(feature = "tls")]
            if let Some(tls) = &mut self.tls {
                let taken = io::Write::write_vectored(&mut tls.writer(), &slices)?;
                // Taken is taken, even if the kernel has no room for it now.
                advance(pieces, taken);
                push(&self.stream, tls)?;
                continue;
            }
            let written = self.stream.try_write_vectored(&slices)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            advance(pieces, written);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            push(&self.stream, tls)?;
        }
        Ok(())
    }

    /// Whether something waits encrypted, or that the transport itself has to say.
    pub(super) fn is_pending(&self) -> bool {
        #[cfg(feature = "ws")]
        if self.websocket.as_ref().is_some_and(|websocket| websocket.has_control()) {
            return true;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.wants_write();
        }
        false
    }

    /// Reads what is there, once.
    pub(super) fn read(&mut self, buffer: &mut BytesMut) -> io::Result<Read> {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            if let Some(read) = websocket.next(buffer)? {
                return Ok(read);
            }
            let mut scratch = super::websocket::WebSocket::scratch();
            if self.read_octets(&mut scratch)? == 0 {
                return Ok(Read::End);
            }
            if let Some(websocket) = &mut self.websocket {
                websocket.push(&scratch);
            }
            return Ok(Read::Control);
        }
        Ok(if self.read_octets(buffer)? == 0 { Read::End } else { Read::Some })
    }

    /// 0 is the end.
    fn read_octets(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.capacity().saturating_sub(buffer.len()) < LEAST_ROOM {
            buffer.reserve(READ);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            loop {
                let mut reader = tls.reader();
                match io::BufRead::fill_buf(&mut reader) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // An end without goodbye: the end-lines tell whether something is missing.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    Err(error) => return Err(error),
                    Ok(octets) => {
                        let length = octets.len();
                        buffer.extend_from_slice(octets);
                        io::BufRead::consume(&mut reader, length);
                        return Ok(length);
                    }
                }
                pull(&self.stream, tls)?;
            }
        }
        self.stream.try_read_buf(buffer)
    }

    pub(super) async fn readable(&self) {
        // An error shows again when reading.
        let _ = self.stream.readable().await;
    }

    pub(super) async fn writable(&self) {
        let _ = self.stream.writable().await;
    }

    /// Says goodbye as far as the kernel takes it, behind what waits; the connection closes when it is dropped.
    pub(super) fn shut_down(&mut self, out: &mut VecDeque<Bytes>) {
        #[cfg(feature = "ws")]
        if let Some(websocket) = &mut self.websocket {
            websocket.put_close(out);
            let _ = self.write(out);
        }
        let _ = out;
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = push(&self.stream, tls);
        }
    }
}

#[cfg(feature = "tls")]
impl Socket {
    /// TLS over a TCP connection, once the handshake is done.
    pub(super) async fn secure(stream: TcpStream, mut tls: rustls::Connection) -> io::Result<Self> {
        tls.set_buffer_limit(Some(READ));
        let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while tls.is_handshaking() || tls.wants_write() {
            match push(&stream, &mut tls) {
                Ok(()) if !tls.is_handshaking() => break,
                Ok(()) => {}
                Err(error) if waits(&error) => {
                    stream.writable().await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match pull(&stream, &mut tls) {
                Ok(()) => {}
                Err(error) if waits(&error) => stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { tls: Some(Box::new(tls)), ..Self::plain(stream) })
    }
}

/// Writes encrypted octets until none wait; `WouldBlock` if the kernel takes no more.
#[cfg(feature = "tls")]
fn push(stream: &TcpStream, tls: &mut rustls::Connection) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut Wire(stream))? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Reads and decrypts some; `WouldBlock` if the kernel has nothing.
#[cfg(feature = "tls")]
fn pull(stream: &TcpStream, tls: &mut rustls::Connection) -> io::Result<()> {
    if tls.read_tls(&mut Wire(stream))? == 0 && tls.is_handshaking() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let processed = tls.process_new_packets();
    // An alert, or the answer to a change of keys, leaves at once if it can.
    match push(stream, tls) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock && processed.is_ok() => return Err(error),
        _ => {}
    }
    processed.map(|_| ()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The kernel's side in the words of the standard library.
#[cfg(feature = "tls")]
struct Wire<'s>(&'s TcpStream);

#[cfg(feature = "tls")]
impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

#[cfg(feature = "tls")]
impl io::Write for Wire<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.try_write(octets)
    }

    fn write_vectored(&mut self, octets: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
