//! The task of a UDP socket: reads in batches, and sends in batches what others left for it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::core::{Backlog, Core};
use crate::ingress::{self, Rejected};
use crate::path::{FlowEvent, KeepAliveAnswer, Path, Transmit, Transport};
use crate::stun::{self, Binding};
use crate::tokio::batch::{BATCH, Receiver};
use crate::tokio::driver::{Shared, Udp, add};
use crate::tokio::udp::DatagramSocket;

pub(super) async fn run<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    socket: Arc<DatagramSocket>,
    udp: Arc<Udp>,
) {
    let udp = &*udp;
    let mut life = shared.life();
    // Made once: who waits is noted in a list each time.
    let mut closing = pin!(Shared::<C>::closing(&mut life));
    let mut left = pin!(udp.wake.notified());
    let mut receiver = Receiver::new(udp.bound.is_ipv4());
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let full = udp.full.load(Ordering::Relaxed);
        ::tokio::select! {
            biased;
            () = &mut closing => {
                // A last try for what waits; what the kernel does not take now is lost as datagrams are.
                shared.send_waiting(udp);
                shared.drop_socket(udp);
                return;
            }
            // What others left is sent when they had their turn: by then there may be more of it.
            () = &mut left, if !full => {
                left.set(udp.wake.notified());
                if udp.retired.load(Ordering::Relaxed) {
                    return;
                }
                shared.send_waiting(udp);
            }
            ready = socket.readable() => {
                if let Err(error) = ready {
                    tracing::error!(%error, bound = %udp.bound, "the socket is lost");
                    return;
                }
                read(&shared, &socket, udp, &mut receiver, &mut batch);
            }
            () = socket.writable(), if full => {
                if udp.retired.load(Ordering::Relaxed) {
                    return;
                }
                shared.send_waiting(udp);
            }
        }
    }
}

/// Reads what is there, up to a batch, parses it without the lock, and hands it to the core.
fn read<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    socket: &DatagramSocket,
    udp: &Udp,
    receiver: &mut Receiver,
    batch: &mut Vec<(SocketAddr, Bytes)>,
) {
    match receiver.receive(socket, batch) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        // Some systems report here that an earlier datagram of ours reached nobody.
        Err(error) => tracing::debug!(%error, bound = %udp.bound, "receive error"),
    }
    if batch.is_empty() {
        return;
    }
    // A full batch: there is more in the socket.
    let mut backlog = if batch.len() < BATCH { Backlog::default() } else { receiver.backlog(socket, batch) };
    backlog.socket = Some(udp.flow);
    let limits = shared.limits.message;
    let path = |remote| Path { transport: Transport::Udp, local: udp.bound, remote, flow: Some(udp.flow) };
    let parsed: Vec<_> = batch
        .drain(..)
        .map(|(remote, bytes)| {
            let path = path(remote);
            (path, ingress::datagram(bytes.clone(), path, &limits), bytes)
        })
        .collect();
    shared.enter(|state, now| {
        state.wire.counters.overflowed =
            state.wire.counters.overflowed.saturating_add(u64::from(backlog.lost));
        state.core.backlog(now, backlog);
        for (path, received, bytes) in parsed {
            if !matches!(received, Err(Rejected::KeepAlive | Rejected::Stun)) {
                state.wire.tap(true, &path, &bytes);
            }
            match received {
                Ok(received) => {
                    add(&mut state.wire.counters.received);
                    state.core.receive(now, received);
                }
                Err(Rejected::KeepAlive) => add(&mut state.wire.counters.keep_alives),
                Err(Rejected::Stun) => {
                    add(&mut state.wire.counters.keep_alives);
                    if let Some(answer) = stun::answer(&bytes, path.remote) {
                        shared.send_datagram(state, Transmit::own(path, answer));
                    } else if let Some(Binding::Answer { id, outcome }) = stun::parse(&bytes) {
                        let answer = KeepAliveAnswer::Stun { id, outcome };
                        state.core.flow_event(now, FlowEvent::KeptAlive { path, answer });
                    }
                }
                Err(reason) => {
                    add(&mut state.wire.counters.rejected_datagrams);
                    tracing::debug!(%path, %reason, "datagram dropped");
                    if let Rejected::Via { answer: Some(answer), .. } = reason {
                        shared.send_datagram(state, Transmit::own(path, answer));
                    }
                }
            }
        }
    });
}
