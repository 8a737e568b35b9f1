//! Connections: opening them, and the one task that serves each, whatever its transport (RFC 3261 §18, RFC 5626 §3.5.1 and
//! RFC 7118 §6 for keep-alives).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tokio::net::{TcpSocket, TcpStream};
use ::tokio::sync::Notify;
use ::tokio::time::{sleep_until, timeout};
use bytes::Bytes;
use sip_message::framing::FramingError;
use sip_message::headers::Via;
use sip_message::{Message, Method, Request, StatusCode};

use crate::core::Core;
use crate::ingress::{self, Rejected};
use crate::limits::Limits;
use crate::path::{CloseReason, FlowEvent, FlowId, KeepAliveAnswer, Path, SendError, Token};
use crate::tokio::driver::{Shared, State, add, close};
use crate::tokio::establish::{Established, Role, broken};
use crate::tokio::framing::{Broken, Inbound, Item};
use crate::tokio::socket::Socket;

/// Bytes read from the kernel at once.
const READ: usize = 16_384;

/// Reads before the other connections get their turn.
const READS_PER_TURN: usize = 8;

/// How long, and for how many bytes, a peer is listened to after its connection was found malformed, so that the
/// answer reaches it before a reset does.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 65_536;

/// Opens a connection that is in the table already with messages waiting, then serves it.
pub(super) fn open<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    flow: FlowId,
    path: Path,
    domain: Option<Arc<str>>,
    wake: Arc<Notify>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed: the future of a task that a send spawns would otherwise contain itself.
    Box::pin(async move {
        if let Some(task) = opened(&shared, flow, path, domain, wake).await {
            // Boxed again: what opening needs is not kept while the connection is served.
            shared.spawn(task.run(shared.clone()));
        }
    })
}

async fn opened<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    flow: FlowId,
    path: Path,
    domain: Option<Arc<str>>,
    wake: Arc<Notify>,
) -> Option<Box<Task>> {
    let mut life = shared.life();
    let connecting = async {
        let stream = connect(path).await.map_err(|error| SendError::from(&error))?;
        prepare(&stream, shared.limits.unacknowledged);
        let local = stream.local_addr().unwrap_or(path.local);
        let role = Role::Opened(domain.as_ref());
        let limits = shared.limits.message;
        let done = shared.security.establish(stream, path.transport, path.remote, role, limits).await;
        if done.is_err() {
            shared.enter(|state, _| add(&mut state.wire.counters.handshake_failures));
        }
        Ok((done?, local))
    };
    let connecting = ::tokio::select! {
        connecting = timeout(shared.limits.connect, connecting) => connecting,
        () = Shared::<C>::closing(&mut life) => return None,
    };
    let (Established { socket, inbound, proof }, local) = match connecting {
        Ok(Ok(established)) => established,
        failed => {
            let error =
                failed.map_or(SendError::TimedOut, |failed| failed.err().unwrap_or(SendError::Closed));
            shared.enter(|state, _| close(state, flow, CloseReason::Error(error)));
            return None;
        }
    };
    let path = Path { local, flow: Some(flow), ..path };
    shared.enter(|state, now| {
        let connection = state.wire.table.get_mut(flow)?;
        connection.path = path;
        connection.socket = Some(socket.clone());
        let proven = proof.event(path);
        connection.proof = proof;
        connection.last_activity = now;
        let awaited_by = std::mem::take(&mut connection.awaited_by);
        add(&mut state.wire.counters.opened);
        state.events.push_back(FlowEvent::Opened { path });
        state.events.extend(proven);
        state.events.extend(awaited_by.into_iter().map(|token| FlowEvent::Ready { token, path }));
        Some(())
    })?;
    let inbound = Some(Box::new(inbound));
    Some(Box::new(Task { socket, path, wake, accepted: false, inbound, whole_by: None }))
}

async fn connect(path: Path) -> io::Result<TcpStream> {
    let socket = if path.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !path.local.ip().is_unspecified() {
        socket.bind(path.local)?;
    }
    socket.connect(path.remote).await
}

/// A message is written whole: waiting for more to send along only delays it. And who does not acknowledge what was sent is
/// gone, though nobody said so.
pub(super) fn prepare(stream: &TcpStream, unacknowledged: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
        let milliseconds = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = setsockopt(stream, TcpUserTimeout, &milliseconds) {
            tracing::debug!(%error, "no TCP_USER_TIMEOUT");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged;
}

/// What the task of a connection does next.
enum Next {
    Wait { write: bool, idle_at: Option<Instant> },
    Gone,
}

enum Turn {
    /// `more`: there may be more to read without the kernel saying so.
    Open {
        more: bool,
    },
    Closed,
    Malformed,
}

/// What a turn of reading ended with.
enum Ended {
    Empty,
    TurnOver,
    Gone(CloseReason),
}

/// The task of an open connection. What it holds is what an idle connection costs: no buffer among it.
pub(super) struct Task {
    pub(super) socket: Arc<Socket>,
    pub(super) path: Path,
    pub(super) wake: Arc<Notify>,
    pub(super) accepted: bool,
    /// Only while something has come in part.
    pub(super) inbound: Option<Box<Inbound>>,
    /// A message that has begun must be whole in time, the first one from the moment of accepting.
    pub(super) whole_by: Option<Instant>,
}

impl Task {
    /// Serves the connection until it is closed by either side.
    ///
    /// It learns that the driver is closing by being out of the table. On the heap, since a future holds what is moved into
    /// it twice.
    pub(super) async fn run<C: Core + Send + 'static>(mut self: Box<Self>, shared: Arc<Shared<C>>) {
        let Some(flow) = self.path.flow else { return };
        // What came along with the end of a handshake was read with it.
        let mut more = true;
        loop {
            let next = shared.enter(|state, now| {
                let Some(connection) = state.wire.table.get_mut(flow) else { return Next::Gone };
                if let Err(error) = connection.write(now) {
                    close(state, flow, CloseReason::Error(broken(&error)));
                    return Next::Gone;
                }
                let idle_at = connection.last_activity.checked_add(shared.limits.idle);
                let idle_at = idle_at.into_iter().chain(self.whole_by).min();
                if idle_at.is_some_and(|at| at <= now) {
                    add(&mut state.wire.counters.idle_closed);
                    close(state, flow, CloseReason::Idle);
                    return Next::Gone;
                }
                Next::Wait { write: connection.wants_to_write(), idle_at }
            });
            let Next::Wait { write, idle_at } = next else { return };
            let idle = async {
                match idle_at {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let readable = async {
                if more {
                    ::tokio::task::yield_now().await;
                } else {
                    self.socket.readable().await;
                }
            };
            ::tokio::select! {
                () = readable => match self.turn(&shared, flow) {
                    Turn::Open { more: still } => more = still,
                    Turn::Closed => return,
                    Turn::Malformed => return linger(self.socket.stream()).await,
                },
                () = self.socket.writable(), if write => {}
                () = self.wake.notified() => {}
                () = idle => {}
            }
        }
    }

    /// Reads what is there and hands the messages in it to the core.
    fn turn<C: Core + Send + 'static>(&mut self, shared: &Arc<Shared<C>>, flow: FlowId) -> Turn {
        let path = self.path;
        let fresh = self.inbound.is_none();
        let mut inbound = self
            .inbound
            .take()
            .unwrap_or_else(|| Box::new(Inbound::of(path.transport, self.accepted, shared.limits.message)));
        let (ended, read) = self.fill(&mut inbound);
        if fresh && !read && matches!(ended, Ended::Empty) {
            return Turn::Open { more: false };
        }
        let mut items = Vec::new();
        let broken = loop {
            match inbound.next_item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let buffered = inbound.buffered();
        self.inbound = Some(inbound).filter(|inbound| !inbound.is_idle());
        shared.enter(|state, now| {
            let Some(connection) = state.wire.table.get_mut(flow) else { return Turn::Closed };
            connection.last_activity = now;
            if read {
                connection.last_heard = now;
            }
            let had_message = items.iter().any(|item| matches!(item, Item::Message(_)));
            if buffered == 0 && (had_message || self.whole_by.is_none()) {
                self.whole_by = None;
            } else if had_message || self.whole_by.is_none() {
                self.whole_by = now.checked_add(shared.limits.first_message);
            }
            for item in items {
                if !deliver(state, flow, path, item, now, &shared.limits) {
                    close(state, flow, CloseReason::Peer);
                    return Turn::Closed;
                }
            }
            if let Some(error) = broken {
                tracing::debug!(%path, %error, "malformed stream");
                add(&mut state.wire.counters.malformed_streams);
                answer_malformed(state, flow, path, error, now, &shared.limits);
                close(state, flow, CloseReason::Malformed);
                return Turn::Malformed;
            }
            match ended {
                Ended::Empty => Turn::Open { more: false },
                Ended::TurnOver => Turn::Open { more: true },
                Ended::Gone(reason) => {
                    close(state, flow, reason);
                    Turn::Closed
                }
            }
        })
    }

    /// Reads some of what there is. Tells how it ended, and whether anything came.
    fn fill(&self, inbound: &mut Inbound) -> (Ended, bool) {
        let mut buffer = [0_u8; READ];
        let mut any = false;
        for _ in 0..READS_PER_TURN {
            match self.socket.read(&mut buffer) {
                Ok(0) => return (Ended::Gone(CloseReason::Peer), any),
                Ok(length) => {
                    any = true;
                    inbound.push(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Ended::Empty, any),
                Err(error) => return (Ended::Gone(CloseReason::Error(broken(&error))), any),
            }
        }
        (Ended::TurnOver, any)
    }
}

/// Hands on what came. `false`: the peer ends the connection.
fn deliver<C: Core>(
    state: &mut State<C>,
    flow: FlowId,
    path: Path,
    item: Item,
    now: Instant,
    limits: &Limits,
) -> bool {
    match item {
        Item::Message(message) => {
            if state.wire.is_tapped() {
                state.wire.tap(true, &path, &message.to_bytes());
            }
            match ingress::message(message, path) {
                Ok(received) => {
                    add(&mut state.wire.counters.received);
                    note_alias(state, flow, &received.message, path);
                    state.core.receive(now, received);
                }
                Err(reason) => {
                    add(&mut state.wire.counters.rejected_messages);
                    tracing::debug!(%path, %reason, "message dropped");
                    if let Rejected::Via { answer: Some(answer), .. } = reason
                        && let Some(connection) = state.wire.table.get_mut(flow)
                    {
                        let answer = connection.outbound.message(answer);
                        put(state, flow, answer, now, limits);
                    }
                }
            }
        }
        Item::Unreadable(reason) => {
            add(&mut state.wire.counters.rejected_messages);
            tracing::debug!(%path, %reason, "message dropped");
        }
        Item::Ping => {
            add(&mut state.wire.counters.keep_alives);
            if let Some(connection) = state.wire.table.get_mut(flow) {
                let pong = connection.outbound.message(Bytes::from_static(b"\r\n"));
                put(state, flow, pong, now, limits);
            }
        }
        Item::KeepAlive => {
            add(&mut state.wire.counters.keep_alives);
            state.core.flow_event(now, FlowEvent::KeptAlive { path, answer: KeepAliveAnswer::Pong });
        }
        #[cfg(feature = "ws")]
        Item::WsPing(payload) => {
            add(&mut state.wire.counters.keep_alives);
            let connection = state.wire.table.get_mut(flow);
            if let Some(pong) = connection.and_then(|connection| connection.outbound.pong(&payload)) {
                put(state, flow, pong, now, limits);
            }
        }
        #[cfg(feature = "ws")]
        Item::WsClose(code) => {
            tracing::trace!(%path, ?code, "WebSocket close");
            say_close(state, flow, code.unwrap_or(1000), now, limits);
            return false;
        }
    }
    true
}

/// RFC 5923 §5: who has proven a domain with a certificate may say that requests to its own address can take the connection
/// that it opened. Which domains may is asked when it is used.
fn note_alias<C>(state: &mut State<C>, flow: FlowId, message: &Message, path: Path) {
    let Message::Request(request) = message else { return };
    let Some(connection) = state.wire.table.get_mut(flow) else { return };
    if !connection.accepted || !connection.proof.is_certificate() {
        return;
    }
    if let Ok(Some(via)) = request.headers.get::<Via>()
        && via.param("alias").is_some()
    {
        let port = via.port().unwrap_or(path.transport.default_port());
        state.wire.table.alias(flow, SocketAddr::new(path.remote.ip(), port));
    }
}

/// The close frame of a WebSocket, behind what waits.
#[cfg(feature = "ws")]
fn say_close<C>(state: &mut State<C>, flow: FlowId, code: u16, now: Instant, limits: &Limits) {
    let connection = state.wire.table.get_mut(flow);
    if let Some(frame) = connection.and_then(|connection| connection.outbound.close(code)) {
        put(state, flow, frame, now, limits);
    }
}

/// Sends bytes of our own over a connection, behind what waits. A peer that reads nothing gets none of them.
fn put<C>(state: &mut State<C>, flow: FlowId, bytes: Bytes, now: Instant, limits: &Limits) {
    if !state.wire.table.send(flow, &bytes, Token::NONE, limits, now) {
        tracing::debug!(%flow, "nothing of our own is sent to a peer that does not read");
    }
}

/// Answers a request after which the stream cannot be followed: 400 for its Content-Length, 413 for its size
/// (RFC 3261 §18.3, §21.4.11). An ACK is never answered.
fn answer_malformed<C>(
    state: &mut State<C>,
    flow: FlowId,
    path: Path,
    error: Broken,
    now: Instant,
    limits: &Limits,
) {
    #[cfg_attr(not(feature = "ws"), allow(clippy::infallible_destructuring_match))]
    let error = match error {
        Broken::Stream(error) => error,
        #[cfg(feature = "ws")]
        Broken::WebSocket(violation) => return say_close(state, flow, violation.close_code(), now, limits),
    };
    let (message, status, reason) = match error {
        FramingError::ContentLength(message) => (message, StatusCode::BAD_REQUEST, "Bad Content-Length"),
        FramingError::TooLarge { message, .. } => {
            (message, StatusCode::REQUEST_ENTITY_TOO_LARGE, StatusCode::REQUEST_ENTITY_TOO_LARGE.reason())
        }
        _ => return,
    };
    let Message::Request(mut request) = *message else { return };
    if *request.method() == Method::Ack || ingress::stamp(&mut request, &path).is_err() {
        return;
    }
    let response = request.reply(status).reason(reason).to_tag(&tag_for(&request)).build();
    match response {
        Ok(response) => {
            let bytes = response.to_bytes();
            state.wire.tap(false, &path, &bytes);
            put(state, flow, bytes, now, limits);
        }
        Err(error) => tracing::debug!(%path, %error, "no answer could be built"),
    }
}

/// A To tag that differs from request to request (RFC 3261 §19.3), without a generator of our own.
fn tag_for(request: &Request) -> String {
    format!("{:016x}", RandomState::new().hash_one(request.uri_text()))
}

/// After our FIN, reads on for a moment: closing with unread bytes would reset the connection, and the peer might
/// lose the answer.
async fn linger(stream: &TcpStream) {
    let drain = async {
        let mut left = LINGER_BYTES;
        while left > 0 && stream.readable().await.is_ok() {
            match throw_away(stream) {
                Ok(0) => return,
                Ok(length) => left = left.saturating_sub(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    // Running out of time is as good as the peer's end.
    let _ = timeout(LINGER, drain).await;
}

/// Its buffer is no part of any task.
fn throw_away(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 1024])
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockopt, sockopt::TcpUserTimeout};

    /// What it does to a connection that has died takes a network to be seen: `interop/tests/network.rs`.
    #[tokio::test]
    async fn a_connection_is_given_up_when_nothing_is_acknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream, Duration::from_secs(30));
        assert_eq!(getsockopt(&stream, TcpUserTimeout).unwrap(), 30_000);
        assert!(stream.nodelay().unwrap());
    }
}
