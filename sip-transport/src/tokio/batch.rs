//! Datagrams by the dozen: one system call reads or sends up to [`BATCH`] of them where the kernel has `recvmmsg` and
//! `sendmmsg` (Linux), one each elsewhere.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use super::udp::DatagramSocket;

/// Datagrams in one go: enough to spread the cost of a system call, of the lock and of a wake-up, few enough that nobody
/// waits long for them.
pub(super) const BATCH: usize = 32;

/// No datagram is larger.
#[cfg(not(target_os = "linux"))]
const DATAGRAM: usize = 65_536;

#[cfg(target_os = "linux")]
pub(super) use linux::{Receiver, Sender, measure};
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{Receiver, Sender, measure};

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::RefCell;
    use std::io::{IoSlice, IoSliceMut};
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::{Duration, SystemTime};

    use nix::sys::socket::{
        ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, recvmmsg, recvmsg,
        sendmmsg, setsockopt, sockopt,
    };

    use super::{BATCH, Bytes, DatagramSocket, SocketAddr, io};
    use crate::core::Backlog;

    /// No socket is that far behind: the wall clock was set in the meantime.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Lets the kernel note when each datagram came, and how many found no room. A kernel that does not leaves us unaware of
    /// being behind.
    pub(in super::super) fn measure(socket: &impl AsFd) {
        if let Err(error) = setsockopt(socket, sockopt::ReceiveTimestampns, &true)
            .and_then(|()| setsockopt(socket, sockopt::RxqOvfl, &1))
        {
            tracing::debug!(%error, "how far behind a socket is will not be known");
        }
    }

    /// Room for each datagram. The kernel says when one was longer, which none of SIP's may be.
    const DATAGRAM: usize = 65_536;

    type Headers = RefCell<MultiHeaders<SockaddrStorage>>;

    thread_local! {
        // What the system calls fill in. It holds pointers, so each thread has its own; the calls do not nest. For reading
        // one of each family: the kernel leaves the length of an address there, and takes it for the room of the next.
        static READ_4: Headers = RefCell::new(MultiHeaders::preallocate(BATCH, None));
        static READ_6: Headers = RefCell::new(MultiHeaders::preallocate(BATCH, None));
        static WRITTEN: Headers = RefCell::new(MultiHeaders::preallocate(BATCH, None));
    }

    /// Reads datagrams of one socket.
    pub(in super::super) struct Receiver {
        ipv4: bool,
        /// The kernel touches only what a datagram fills, so that pages nobody needs cost no memory.
        buffer: Vec<u8>,
        /// What the kernel says beside a datagram.
        control: Vec<u8>,
        /// How many datagrams had found no room by then, as the kernel counts them.
        lost: u32,
    }

    impl Receiver {
        /// For a socket of one family.
        pub(in super::super) fn new(ipv4: bool) -> Receiver {
            let control = nix::cmsg_space!(nix::sys::time::TimeSpec, u32);
            Receiver { ipv4, buffer: vec![0; BATCH * DATAGRAM], control, lost: 0 }
        }

        /// Reads one datagram more and finds out how long it has waited: asked for when a batch was full, since what the kernel
        /// says beside each costs more than it is worth where nothing waits.
        pub(in super::super) fn backlog(
            &mut self,
            socket: &DatagramSocket,
            batch: &mut Vec<(SocketAddr, Bytes)>,
        ) -> Backlog {
            let mut backlog = Backlog::default();
            let _ = socket.try_read(|socket| {
                let octets = self.buffer.get_mut(..DATAGRAM).unwrap_or_default();
                let mut slices = [IoSliceMut::new(octets)];
                let flags = MsgFlags::MSG_DONTWAIT;
                let fd = socket.as_raw_fd();
                let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut self.control), flags)?;
                // What is said may be cut off; the datagram counts all the same.
                for said in message.cmsgs().into_iter().flatten() {
                    match said {
                        ControlMessageOwned::ScmTimestampns(came) => {
                            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                            let waited = now.unwrap_or_default().saturating_sub(Duration::from(came));
                            backlog.waited = if waited < LONGEST { waited } else { Duration::ZERO };
                        }
                        ControlMessageOwned::RxqOvfl(lost) => {
                            backlog.lost = lost.wrapping_sub(self.lost);
                            self.lost = lost;
                        }
                        _ => {}
                    }
                }
                let source = message.address.as_ref().and_then(address);
                let octets = message.iovs().next().unwrap_or_default();
                if let Some(source) = source
                    && !message.flags.contains(MsgFlags::MSG_TRUNC)
                {
                    batch.push((source, Bytes::copy_from_slice(octets)));
                }
                Ok(())
            });
            backlog
        }

        /// Appends what is there, up to a batch, each datagram in memory of its own: one that is kept for long keeps no
        /// more than itself. [`io::ErrorKind::WouldBlock`] when nothing is left.
        pub(in super::super) fn receive(
            &mut self,
            socket: &DatagramSocket,
            batch: &mut Vec<(SocketAddr, Bytes)>,
        ) -> io::Result<()> {
            let mut read = |fd, headers: &mut MultiHeaders<SockaddrStorage>| {
                let mut pieces = self.buffer.chunks_exact_mut(DATAGRAM);
                let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
                    std::array::from_fn(|_| [IoSliceMut::new(pieces.next().unwrap_or_default())]);
                let flags = MsgFlags::MSG_DONTWAIT;
                let mut count = 0_usize;
                for message in recvmmsg(fd, headers, slices.iter_mut(), flags, None)? {
                    count = count.saturating_add(1);
                    let Some(source) = message.address.as_ref().and_then(address) else { continue };
                    // One datagram is one piece; a truncated one is no message.
                    let octets = message.iovs().next().unwrap_or_default();
                    if !message.flags.contains(MsgFlags::MSG_TRUNC) {
                        batch.push((source, Bytes::copy_from_slice(octets)));
                    }
                }
                // Fewer than there was room for: nothing is left, and saying so spares the call that would find out.
                // The kernel tells of each datagram that comes later.
                if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            };
            let headers = if self.ipv4 { &READ_4 } else { &READ_6 };
            socket.try_read(|socket| headers.with_borrow_mut(|headers| read(socket.as_raw_fd(), headers)))
        }
    }

    /// Sends datagrams over one socket.
    pub(in super::super) struct Sender {
        addresses: Vec<Option<SockaddrStorage>>,
    }

    impl Sender {
        pub(in super::super) fn new() -> Sender {
            Sender { addresses: Vec::with_capacity(BATCH) }
        }

        /// Sends the first of these, up to a batch, and tells how many; the error is that of the very first.
        pub(in super::super) fn send<'a>(
            &mut self,
            socket: &DatagramSocket,
            datagrams: impl Iterator<Item = (&'a Bytes, SocketAddr)>,
        ) -> io::Result<usize> {
            self.addresses.clear();
            let mut slices: [[IoSlice<'_>; 1]; BATCH] = [[IoSlice::new(&[])]; BATCH];
            for (slice, (octets, to)) in slices.iter_mut().zip(datagrams) {
                *slice = [IoSlice::new(octets)];
                self.addresses.push(Some(to.into()));
            }
            let write = |fd, headers: &mut MultiHeaders<SockaddrStorage>| {
                let used = slices.get(..self.addresses.len()).unwrap_or_default();
                let flags = MsgFlags::MSG_DONTWAIT;
                let sent = sendmmsg(fd, headers, used.iter(), &self.addresses, [], flags)?;
                Ok(sent.count())
            };
            socket.try_write(|socket| WRITTEN.with_borrow_mut(|headers| write(socket.as_raw_fd(), headers)))
        }
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let four = storage.as_sockaddr_in().map(|&four| SocketAddr::V4(four.into()));
        four.or_else(|| storage.as_sockaddr_in6().map(|&six| SocketAddr::V6(six.into())))
            .filter(|_| storage.len() > 0)
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use super::{BATCH, Bytes, DATAGRAM, DatagramSocket, SocketAddr, io};
    use crate::core::Backlog;

    /// Nothing is measured here.
    pub(in super::super) fn measure<S>(_socket: &S) {}

    /// Reads datagrams of one socket.
    pub(in super::super) struct Receiver {
        buffer: Vec<u8>,
    }

    impl Receiver {
        /// For a socket of any family.
        pub(in super::super) fn new(_ipv4: bool) -> Receiver {
            Receiver { buffer: vec![0; DATAGRAM] }
        }

        /// Not known here.
        #[allow(clippy::unused_self)] // as where it is
        pub(in super::super) fn backlog(
            &mut self,
            _socket: &DatagramSocket,
            _batch: &mut Vec<(SocketAddr, Bytes)>,
        ) -> Backlog {
            Backlog::default()
        }

        /// Appends what is there, up to a batch, each datagram in memory of its own.
        pub(in super::super) fn receive(
            &mut self,
            socket: &DatagramSocket,
            batch: &mut Vec<(SocketAddr, Bytes)>,
        ) -> io::Result<()> {
            while batch.len() < BATCH {
                match socket.try_read(|socket| socket.try_recv_from(&mut self.buffer)) {
                    Ok((length, source)) => {
                        let octets = self.buffer.get(..length).unwrap_or_default();
                        batch.push((source, Bytes::copy_from_slice(octets)));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }

    /// Sends datagrams over one socket.
    pub(in super::super) struct Sender;

    impl Sender {
        pub(in super::super) fn new() -> Sender {
            Sender
        }

        /// Sends the first of these, up to a batch, and tells how many; the error is that of the very first.
        pub(in super::super) fn send<'a>(
            &mut self,
            socket: &DatagramSocket,
            datagrams: impl Iterator<Item = (&'a Bytes, SocketAddr)>,
        ) -> io::Result<usize> {
            let mut sent = 0_usize;
            for (octets, to) in datagrams.take(BATCH) {
                match socket.try_write(|socket| socket.try_send_to(octets, to)) {
                    Ok(_) => sent = sent.saturating_add(1),
                    Err(error) if sent == 0 => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(sent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(any: &str) -> DatagramSocket {
        let socket = std::net::UdpSocket::bind(any).unwrap();
        socket.set_nonblocking(true).unwrap();
        DatagramSocket::new(socket).unwrap()
    }

    #[tokio::test]
    async fn batches_arrive_whole_and_in_order_over_both_families() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (one, other) = (bound(any), bound(any));
            let (from, to) = (one.local_addr().unwrap(), other.local_addr().unwrap());
            let datagrams: Vec<Bytes> =
                (0..BATCH + 8).map(|n| Bytes::from(vec![n as u8; 1 + n * 100])).collect();
            let (mut sender, mut receiver) = (Sender::new(), Receiver::new(from.is_ipv4()));
            let (mut sent, mut got) = (0, Vec::new());
            while got.len() < datagrams.len() {
                if sent < datagrams.len() {
                    one.writable().await;
                    let count =
                        sender.send(&one, datagrams[sent..].iter().map(|octets| (octets, to))).unwrap();
                    assert!((1..=BATCH).contains(&count));
                    sent += count;
                }
                other.readable().await.unwrap();
                let _ = receiver.receive(&other, &mut got);
            }
            let expected: Vec<(SocketAddr, Bytes)> =
                datagrams.into_iter().map(|octets| (from, octets)).collect();
            assert_eq!(got, expected);
            assert_eq!(receiver.receive(&other, &mut got).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    /// What lay in the socket tells how long, and what found no room is counted once.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_backlog_is_measured() {
        use crate::core::Backlog;
        use std::time::{Duration, Instant};

        let (one, other) = (bound("127.0.0.1:0"), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        measure(&other);
        other.set_nonblocking(true).unwrap();
        let other = DatagramSocket::new(other).unwrap();
        let to = other.local_addr().unwrap();
        let datagram = Bytes::from(vec![1; 1_200]);
        let (mut sender, mut receiver) = (Sender::new(), Receiver::new(true));
        // The kernel's default has room for far fewer.
        let begin = Instant::now();
        let mut sent = 0;
        while sent < 20_000 {
            one.writable().await;
            sent += sender.send(&one, std::iter::repeat_n((&datagram, to), BATCH)).unwrap();
        }
        let wait = Duration::from_millis(30);
        tokio::time::sleep(wait).await;
        let mut got = Vec::new();
        other.readable().await.unwrap();
        receiver.receive(&other, &mut got).unwrap();
        assert_eq!(got.len(), BATCH);
        let backlog = receiver.backlog(&other, &mut got);
        assert_eq!(got.len(), BATCH + 1, "the one that was asked about is not lost");
        assert!(backlog.waited >= wait && backlog.waited <= begin.elapsed(), "{backlog:?}");
        assert_eq!(backlog.lost, 0, "none had been lost when this one came");
        while receiver.receive(&other, &mut got).is_ok() {}
        assert!(got.len() < sent);
        // The next that comes brings the count.
        let missing = sent - got.len();
        for _ in 0..2 {
            one.writable().await;
            assert_eq!(sender.send(&one, [(&datagram, to)].into_iter()).unwrap(), 1);
            other.readable().await.unwrap();
            let last = receiver.backlog(&other, &mut got);
            assert!(last.waited < Duration::from_secs(5));
            let expected = if got.len() + missing == sent + 1 { missing } else { 0 };
            assert_eq!(usize::try_from(last.lost).unwrap(), expected);
        }
        assert_eq!(receiver.backlog(&other, &mut got), Backlog::default());
    }

    #[tokio::test]
    async fn one_that_cannot_be_sent_does_not_stop_those_before_it() {
        let one = bound("127.0.0.1:0");
        let to = one.local_addr().unwrap();
        let datagrams = [Bytes::from_static(b"a"), Bytes::from(vec![0; 70_000]), Bytes::from_static(b"b")];
        let mut sender = Sender::new();
        one.writable().await;
        assert_eq!(sender.send(&one, datagrams.iter().map(|octets| (octets, to))).unwrap(), 1);
        let error = sender.send(&one, datagrams[1..].iter().map(|octets| (octets, to))).unwrap_err();
        assert_eq!(crate::path::SendError::from(&error), crate::path::SendError::TooLarge);
    }
}
