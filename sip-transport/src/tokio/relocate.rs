//! Which listeners there are: opened at the start, and others when the network becomes another one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ::tokio::sync::Notify;

use crate::core::Core;
use crate::locals::{Local, Locals};
use crate::path::{CloseReason, Transport};
use crate::tokio::driver::{Handle, Outgoing, Shared, State, Udp, close};
use crate::tokio::listen::{BindError, Listen, Listener, Sockets, has_address};
use crate::tokio::udp::DatagramSocket;
use crate::tokio::{accept, datagram};

impl<C: Core + Send + 'static> Handle<C> {
    /// Takes what the network has become: `listen` says where each of the [`locals`](Handle::locals) is to be, in their order.
    /// Those that are to be at another address are closed and opened there; of the others peers are told the address that
    /// this machine has now. Connections from addresses that are left for good are closed. `act` tells the core of its
    /// listeners before anything leaves by them.
    ///
    /// # Errors
    /// If one cannot be opened: then nothing has changed.
    pub fn relocate<R>(
        &self,
        listen: &[Listen],
        act: impl FnOnce(&mut C, Instant, &Locals) -> R,
    ) -> Result<R, BindError> {
        let before = self.locals();
        let pairs = || before.iter().zip(listen);
        let moves = |local: &Local, wanted: &Listen| wanted.address.ip() != local.bound.ip();
        let fresh: Vec<Listen> = pairs()
            .filter(|(local, wanted)| moves(local, wanted))
            .map(|(_, wanted)| wanted.clone())
            .collect();
        let gone: Vec<&Local> =
            pairs().filter(|(local, wanted)| moves(local, wanted)).map(|(local, _)| local).collect();
        let _guard = self.shared.runtime.enter();
        let Sockets { udp, streams, locals, .. } = self.shared.security.bind(&fresh)?;
        let mut opened = locals.iter().cloned();
        let locals: Locals = pairs()
            .filter_map(|(local, wanted)| match moves(local, wanted) {
                true => opened.next(),
                false => Some(wanted.tell(local.clone())),
            })
            .collect();
        Ok(self.shared.enter(|state, now| {
            self.shared.retire(state, &gone);
            state.wire.locals = locals.clone();
            self.shared.listen(state, udp, streams);
            for (flow, ip) in state.wire.table.local_addresses() {
                if !still_ours(&locals, ip) {
                    close(state, flow, CloseReason::Local);
                }
            }
            act(&mut state.core, now, &locals)
        }))
    }
}

/// Whether a connection from this address can go on: a listener is there, or at all addresses and this machine still has it.
fn still_ours(locals: &Locals, ip: IpAddr) -> bool {
    let everywhere =
        |local: &Local| local.bound.ip().is_unspecified() && local.bound.is_ipv4() == ip.is_ipv4();
    locals.iter().any(|local| local.bound.ip() == ip) || locals.iter().any(everywhere) && has_address(ip)
}

impl<C: Core + Send + 'static> Shared<C> {
    /// Begins to serve these sockets.
    pub(super) fn listen(
        self: &Arc<Self>,
        state: &mut State<C>,
        udp: Vec<(DatagramSocket, SocketAddr)>,
        streams: Vec<Listener>,
    ) {
        for (socket, bound) in udp {
            let flow = state.wire.new_flow();
            let (full, retired) = (AtomicBool::new(false), AtomicBool::new(false));
            let udp = Arc::new(Udp { bound, flow, full, wake: Notify::new(), retired });
            let socket = Arc::new(socket);
            state.wire.udp.push(Outgoing::new(udp.clone(), socket.clone()));
            self.spawn(datagram::run(self.clone(), socket, udp));
        }
        for listener in streams {
            let door = Arc::new(Notify::new());
            state.wire.doors.push((listener.transport, listener.bound, door.clone()));
            self.spawn(accept::accept(self.clone(), listener, door));
        }
    }

    /// Lets go of the sockets of these listeners; what waits to be sent is sent first, as far as the kernel takes it.
    fn retire(&self, state: &mut State<C>, gone: &[&Local]) {
        for index in 0..state.wire.udp.len() {
            Self::send_queue(state, index);
        }
        let is_lost = |transport, bound| gone.iter().any(|l| (l.transport, l.bound) == (transport, bound));
        state.wire.udp.retain(|outgoing| {
            let stays = !is_lost(Transport::Udp, outgoing.udp.bound);
            if !stays {
                outgoing.udp.retired.store(true, Ordering::Relaxed);
                outgoing.udp.wake.notify_one();
            }
            stays
        });
        state.wire.doors.retain(|(transport, bound, door)| {
            let stays = !is_lost(*transport, *bound);
            if !stays {
                door.notify_one();
            }
            stays
        });
    }
}
