//! Accepting connections: the limits at the door, and the handshakes behind it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::tokio::net::TcpStream;
use ::tokio::sync::Notify;
use ::tokio::time::{sleep, timeout};

use crate::core::Core;
use crate::path::{CloseReason, FlowEvent, FlowId, Path, SendError, Transport};
use crate::tokio::connection::{self, Task};
use crate::tokio::driver::{Shared, State, add, close};
use crate::tokio::establish::{Established, Role};
use crate::tokio::listen::Listener;
use crate::tokio::proxied;
use crate::tokio::socket::Socket;
use crate::tokio::table::{Full, Origin};

/// How long to wait after an accept that failed because we have no more file descriptors: it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the driver closes, or `retired` says that this listener is no longer wanted.
pub(super) async fn accept<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    listener: Listener,
    retired: Arc<Notify>,
) {
    let mut life = shared.life();
    let listener = Arc::new(listener);
    loop {
        let accepted = ::tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = Shared::<C>::closing(&mut life) => return,
            () = retired.notified() => return,
        };
        match accepted {
            Ok((stream, remote)) => admit(&shared, stream, remote, &listener),
            // The peer has gone before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                shared.enter(|state, _| add(&mut state.wire.counters.accept_pauses));
                tracing::warn!(%error, bound = %listener.bound, "no connection can be accepted now");
                ::tokio::select! {
                    () = sleep(ACCEPT_PAUSE) => {}
                    () = Shared::<C>::closing(&mut life) => return,
                }
            }
        }
    }
}

/// Counts a handshake under way for as long as it lives.
struct Handshaking<C>(Arc<Shared<C>>);

impl<C> Handshaking<C> {
    fn begin(shared: &Arc<Shared<C>>, limit: usize) -> Option<Handshaking<C>> {
        let running: &AtomicUsize = &shared.handshakes;
        let more = |count: usize| count.checked_add(1).filter(|count| *count <= limit);
        running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Handshaking(shared.clone()))
    }
}

impl<C> Drop for Handshaking<C> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes an accepted connection into the table, or drops it where a limit says so.
fn admit<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    stream: TcpStream,
    remote: SocketAddr,
    listener: &Arc<Listener>,
) {
    connection::prepare(&stream, shared.limits.unacknowledged);
    let local = stream.local_addr().unwrap_or(listener.bound);
    let path = Path { transport: listener.transport, local, remote, flow: None };
    let proxied = listener.is_proxy(remote.ip());
    // A proxy of connections stands for many sources; each is counted when it is known.
    let source = (!proxied).then_some(remote.ip());
    if listener.transport == Transport::Tcp && !proxied {
        let socket = Arc::new(Socket::plain(stream));
        let admitted = shared.enter(|state, now| {
            let (path, wake) = enter_table(shared, state, path, source, Some(socket.clone()), now)?;
            add(&mut state.wire.counters.accepted);
            state.events.push_back(FlowEvent::Opened { path });
            Some((path, wake, now))
        });
        if let Some((path, wake, now)) = admitted {
            let first_message_by = now.checked_add(shared.limits.first_message);
            let task = Task { socket, path, wake, accepted: true, inbound: None, whole_by: first_message_by };
            let task = Box::new(task);
            shared.spawn(task.run(shared.clone()));
        }
        return;
    }
    let Some(handshaking) = Handshaking::begin(shared, shared.limits.handshakes) else {
        shared.enter(|state, _| add(&mut state.wire.counters.refused_handshakes));
        tracing::debug!(%remote, "connection refused: too many handshakes under way");
        return;
    };
    let admitted = shared.enter(|state, now| enter_table(shared, state, path, source, None, now));
    if let Some((path, wake)) = admitted {
        let proxy = proxied.then(|| listener.clone());
        shared.spawn(shake_hands(shared.clone(), stream, path, wake, proxy, handshaking));
    }
}

/// A place in the table, if there is room.
fn enter_table<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    state: &mut State<C>,
    path: Path,
    source: Option<IpAddr>,
    socket: Option<Arc<Socket>>,
    now: Instant,
) -> Option<(Path, Arc<Notify>)> {
    if state.wire.closed {
        return None;
    }
    if let Err(full) = state.wire.table.has_room(&shared.limits, source) {
        refuse(state, full, path.remote);
        return None;
    }
    let flow = state.wire.new_flow();
    let path = Path { flow: Some(flow), ..path };
    let wake = state.wire.table.insert(flow, path, Origin::Accepted(socket), now);
    Some((path, wake))
}

fn refuse<C>(state: &mut State<C>, full: Full, remote: SocketAddr) {
    let counters = &mut state.wire.counters;
    add(match full {
        Full::Total => &mut counters.refused_total,
        Full::Source => &mut counters.refused_per_source,
    });
    tracing::debug!(%remote, ?full, "connection refused by a limit");
}

/// Makes an accepted connection one that carries messages, then serves it.
async fn shake_hands<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    stream: TcpStream,
    path: Path,
    wake: Arc<Notify>,
    proxy: Option<Arc<Listener>>,
    handshaking: Handshaking<C>,
) {
    let Some(flow) = path.flow else { return };
    let mut life = shared.life();
    let work = async {
        let path = match proxy {
            Some(_) => came_through_proxy(&shared, &stream, flow, path).await?,
            None => path,
        };
        let limits = shared.limits.message;
        let role = Role::Accepted;
        let established =
            shared.security.establish(stream, path.transport, path.remote, role, limits).await?;
        Ok((path, established))
    };
    let done = ::tokio::select! {
        done = timeout(shared.limits.handshake, work) => done,
        () = Shared::<C>::closing(&mut life) => Ok(Err(SendError::Closed)),
    };
    drop(handshaking);
    let (path, established) = match done {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => {
            tracing::debug!(%path, %error, "handshake failed");
            shared.enter(|state, _| {
                add(&mut state.wire.counters.handshake_failures);
                close(state, flow, CloseReason::Error(error));
            });
            return;
        }
        Err(_) => {
            shared.enter(|state, _| {
                add(&mut state.wire.counters.handshake_timeouts);
                close(state, flow, CloseReason::Error(SendError::TimedOut));
            });
            return;
        }
    };
    let Established { socket, inbound, proof } = established;
    let opened = shared.enter(|state, now| {
        let connection = state.wire.table.get_mut(flow)?;
        connection.path = path;
        connection.socket = Some(socket.clone());
        let proven = proof.event(path);
        connection.proof = proof;
        connection.last_activity = now;
        add(&mut state.wire.counters.accepted);
        state.events.push_back(FlowEvent::Opened { path });
        state.events.extend(proven);
        Some(now)
    });
    if let Some(now) = opened {
        let whole_by = now.checked_add(shared.limits.first_message);
        // A task of its own: what the handshake needed is not kept while the connection is served.
        let inbound = Some(Box::new(inbound));
        let task = Box::new(Task { socket, path, wake, accepted: true, inbound, whole_by });
        shared.spawn(task.run(shared.clone()));
    }
}

/// Reads the header that a trusted proxy of connections puts before everything, and takes its word for the source.
async fn came_through_proxy<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    stream: &TcpStream,
    flow: FlowId,
    path: Path,
) -> Result<Path, SendError> {
    let Some(remote) = proxied::read_header(stream).await? else { return Ok(path) };
    shared.enter(|state, _| {
        if let Err(full) = state.wire.table.has_room(&shared.limits, Some(remote.ip())) {
            // The place is taken already: only the source's own limit counts.
            if full == Full::Source {
                refuse(state, full, remote);
                return Err(SendError::TooManyConnections);
            }
        }
        state.wire.table.came_from(flow, remote);
        Ok(Path { remote, ..path })
    })
}
