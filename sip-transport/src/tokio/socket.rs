//! The bytes of one connection: TCP as it is, or TLS over it. Reading and writing never wait.
//!
//! TLS is driven here by hand, without a task or buffers of its own: what a core sends is encrypted and handed to the kernel
//! at once, as over TCP, and an idle connection holds no more than the state of its ciphers.

use std::io::{self, IoSlice};
use std::net::Shutdown;
#[cfg(feature = "tls")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::io::Interest;
use ::tokio::net::TcpStream;
#[cfg(feature = "tls")]
use rustls::{Connection, Error};

/// Plain bytes encrypted at once: the size of one record. What the kernel does not take of it waits in memory.
#[cfg(feature = "tls")]
const RECORD: usize = 16_384;

/// An open connection, shared by its task and its place in the table.
pub(super) struct Socket {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<Mutex<Connection>>>,
}

impl Socket {
    pub(super) fn plain(stream: TcpStream) -> Socket {
        Socket {
            stream,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Writes as much of these as is taken, one behind the other. A part of it may wait, encrypted: see
    /// [`is_pending`](Socket::is_pending).
    pub(super) fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls() {
            self.push(&mut tls)?;
            let taken = io::Write::write_vectored(&mut tls.writer(), &within_a_record(pieces))?;
            return match self.push(&mut tls) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(taken),
            };
        }
        match pieces {
            [one] => self.stream.try_write(one),
            _ => self.stream.try_write_vectored(pieces),
        }
    }

    /// Hands the kernel what waits encrypted.
    pub(super) fn flush(&self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls() {
            return match self.push(&mut tls) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                other => other,
            };
        }
        Ok(())
    }

    /// Whether something waits encrypted.
    pub(super) fn is_pending(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls() {
            return tls.wants_write();
        }
        false
    }

    /// Reads what is there; 0 is the end. The error `WouldBlock` means that there is no more now.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls() {
            loop {
                match io::Read::read(&mut tls.reader(), buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // An end without goodbye: messages have lengths of their own, so nothing can have been cut off unseen.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    other => return other,
                }
                self.pull(&mut tls)?;
            }
        }
        read_all(&self.stream, buffer)
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) {
        // An error shows again when reading.
        let _ = self.stream.readable().await;
    }

    /// Waits until there may be room to write.
    pub(super) async fn writable(&self) {
        let _ = self.stream.writable().await;
    }

    /// Says goodbye as far as the kernel takes it: close_notify (RFC 8446 §6.1), then FIN.
    pub(super) fn shut_down(&self) {
        #[cfg(feature = "tls")]
        if let Some(mut tls) = self.tls() {
            tls.send_close_notify();
            // Who does not read now gets the FIN alone.
            let _ = self.push(&mut tls);
        }
        if let Err(error) = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            tracing::trace!(%error, "shutdown");
        }
    }

    /// The connection below, for what is read and thrown away after the end.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// As many of these as fit into one record, or the beginning of the first.
#[cfg(feature = "tls")]
fn within_a_record<'p>(pieces: &'p [IoSlice<'p>]) -> Vec<IoSlice<'p>> {
    let mut room = RECORD;
    let fit = pieces.iter().map_while(|piece| {
        let some = piece.get(..room.min(piece.len())).filter(|some| !some.is_empty())?;
        room = room.saturating_sub(some.len());
        Some(IoSlice::new(some))
    });
    fit.collect()
}

/// Reads what the kernel has. A piece that does not fill the buffer was all there is: the stream counts as empty from then
/// on, which spares the call that would find out. The kernel tells of whatever comes later, the end included, and an end
/// that it has told of already is never forgotten.
fn read_all(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let result = stream.try_io(Interest::READABLE, || {
        let length = io::Read::read(&mut &*socket2::SockRef::from(stream), buffer)?;
        read = Some(length);
        if length > 0 && length < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match (read, result) {
        (Some(length), _) => Ok(length),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Ok(0), // a success has a length
    }
}

#[cfg(feature = "tls")]
impl Socket {
    /// TLS over a TCP connection, once the handshake is done. On failure the alert that tells the peer has been sent.
    pub(super) async fn secure(stream: TcpStream, mut tls: Connection) -> io::Result<Socket> {
        // What one `write` leaves behind is the bound; the library's own would refuse part of a record.
        tls.set_buffer_limit(None);
        let socket = Socket { stream, tls: None };
        while tls.is_handshaking() || tls.wants_write() {
            match socket.push(&mut tls) {
                Ok(()) if !tls.is_handshaking() => break,
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.stream.writable().await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            match socket.pull(&mut tls) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(Socket { tls: Some(Box::new(Mutex::new(tls))), ..socket })
    }

    /// The peer's certificates, its own first; never an empty list.
    pub(super) fn peer_certificates(&self) -> Option<Vec<rustls::pki_types::CertificateDer<'static>>> {
        let tls = self.tls()?;
        let chain = tls.peer_certificates().filter(|chain| !chain.is_empty())?;
        Some(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
    }

    fn tls(&self) -> Option<MutexGuard<'_, Connection>> {
        self.tls.as_ref().map(|tls| tls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes encrypted bytes until none wait; `WouldBlock` if the kernel takes no more.
    fn push(&self, tls: &mut Connection) -> io::Result<()> {
        while tls.wants_write() {
            if tls.write_tls(&mut Wire(&self.stream))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reads and decrypts one piece; `WouldBlock` if the kernel has nothing.
    fn pull(&self, tls: &mut Connection) -> io::Result<()> {
        if tls.read_tls(&mut Wire(&self.stream))? == 0 && tls.is_handshaking() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let processed = tls.process_new_packets();
        // An alert, or the answer to a change of keys, leaves at once if it can.
        match self.push(tls) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && processed.is_ok() => {
                return Err(error);
            }
            _ => {}
        }
        processed.map(|_| ()).map_err(|error: Error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// The kernel's side in the words of the standard library.
#[cfg(feature = "tls")]
struct Wire<'s>(&'s TcpStream);

#[cfg(feature = "tls")]
impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_all(self.0, buffer)
    }
}

#[cfg(feature = "tls")]
impl io::Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
