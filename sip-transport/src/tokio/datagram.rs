//! The task of a UDP socket: reads in batches, and sends what waited.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::tokio::net::UdpSocket;
use bytes::Bytes;

use crate::core::Core;
use crate::ingress::{self, Rejected};
use crate::path::{Path, Transport};
use crate::tokio::driver::{Shared, Udp, add};

/// Datagrams read before the core is locked for them: enough to spread the cost of the lock, few enough that nobody
/// waits long for it.
const BATCH: usize = 32;

/// No datagram is larger.
const DATAGRAM: usize = 65_536;

pub(super) async fn run<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    socket: Arc<UdpSocket>,
    index: usize,
) {
    let Some(udp) = shared.udp.get(index) else { return };
    let mut life = shared.life();
    let mut buffer = vec![0_u8; DATAGRAM];
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let waiting = udp.waiting.load(Ordering::Relaxed);
        ::tokio::select! {
            ready = socket.readable() => {
                if let Err(error) = ready {
                    tracing::error!(%error, bound = %udp.bound, "the socket is lost");
                    return;
                }
                read(&shared, &socket, udp, &mut buffer, &mut batch);
            }
            _ = socket.writable(), if waiting => shared.send_waiting(index),
            () = udp.wake.notified() => {}
            () = Shared::<C>::closing(&mut life) => {
                // A last try for what waits; what the kernel does not take now is lost as datagrams are.
                shared.send_waiting(index);
                shared.drop_socket(index);
                return;
            }
        }
    }
}

/// Reads what is there, up to a batch, parses it without the lock, and hands it to the core.
fn read<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    socket: &UdpSocket,
    udp: &Udp,
    buffer: &mut [u8],
    batch: &mut Vec<(Path, Bytes)>,
) {
    while batch.len() < BATCH {
        match socket.try_recv_from(buffer) {
            Ok((length, remote)) => {
                let path = Path { transport: Transport::Udp, local: udp.bound, remote, flow: Some(udp.flow) };
                // A copy of its own: a message that is kept for long keeps no more memory than itself.
                batch.push((path, Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) => {
                // Some systems report here that an earlier datagram of ours reached nobody.
                tracing::debug!(%error, bound = %udp.bound, "receive error");
                break;
            }
        }
    }
    if batch.is_empty() {
        return;
    }
    let limits = shared.limits.message;
    let parsed: Vec<_> = batch
        .drain(..)
        .map(|(path, bytes)| (path, ingress::datagram(bytes.clone(), path, &limits), bytes))
        .collect();
    shared.enter(|state, now| {
        for (path, received, bytes) in parsed {
            state.wire.tap(true, &path, &bytes);
            match received {
                Ok(received) => {
                    add(&mut state.wire.counters.received);
                    state.core.receive(now, received);
                }
                Err(Rejected::KeepAlive) => add(&mut state.wire.counters.keep_alives),
                Err(reason) => {
                    add(&mut state.wire.counters.rejected_datagrams);
                    tracing::debug!(%path, %reason, "datagram dropped");
                }
            }
        }
    });
}
