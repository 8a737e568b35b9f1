//! TCP: accepting, opening, and the task of each connection (RFC 3261 §18, RFC 5626 §3.5.1 for keep-alives).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tokio::net::{TcpListener, TcpSocket, TcpStream};
use ::tokio::sync::Notify;
use ::tokio::time::{sleep, sleep_until, timeout};
use bytes::Bytes;
use sip_message::framing::{Frame, FramingError, StreamDecoder};
use sip_message::{Message, Method, Request, StatusCode};

use crate::core::Core;
use crate::ingress;
use crate::path::{CloseReason, FlowEvent, FlowId, Path, SendError, Token, Transport};
use crate::tokio::driver::{Shared, State, add, close};
use crate::tokio::table::Full;

/// Bytes read from the kernel at once.
const READ: usize = 16_384;

/// Reads before the other connections get their turn.
const READS_PER_TURN: usize = 8;

/// How long to wait after an accept that failed because we have no more file descriptors: it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long, and for how many bytes, a peer is listened to after its connection was found malformed, so that the
/// answer reaches it before a reset does.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 65_536;

pub(super) async fn accept<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    listener: TcpListener,
    bound: SocketAddr,
) {
    let mut life = shared.life();
    loop {
        let accepted = ::tokio::select! {
            accepted = listener.accept() => accepted,
            () = Shared::<C>::closing(&mut life) => return,
        };
        match accepted {
            Ok((stream, remote)) => admit(&shared, stream, remote, bound),
            Err(error) => {
                tracing::warn!(%error, %bound, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes an accepted connection into the table, or drops it where a limit says so.
fn admit<C: Core + Send + 'static>(
    shared: &Arc<Shared<C>>,
    stream: TcpStream,
    remote: SocketAddr,
    bound: SocketAddr,
) {
    prepare(&stream);
    let local = stream.local_addr().unwrap_or(bound);
    let stream = Arc::new(stream);
    let admitted =
        shared.enter(|state, now| match state.wire.table.has_room(&shared.limits, Some(remote.ip())) {
            Err(full) => {
                let counters = &mut state.wire.counters;
                add(match full {
                    Full::Total => &mut counters.refused_total,
                    Full::Source => &mut counters.refused_per_source,
                });
                tracing::debug!(%remote, ?full, "connection refused by a limit");
                None
            }
            Ok(()) => {
                add(&mut state.wire.counters.accepted);
                let flow = state.wire.new_flow();
                let path = Path { transport: Transport::Tcp, local, remote, flow: Some(flow) };
                let wake = state.wire.table.insert(flow, path, Some(stream.clone()), now);
                state.events.push_back(FlowEvent::Opened { path });
                Some((path, flow, wake, now))
            }
        });
    if let Some((path, flow, wake, now)) = admitted {
        let first_message_by = now.checked_add(shared.limits.first_message);
        shared.spawn(run(shared.clone(), stream, flow, path, wake, first_message_by));
    }
}

/// Opens a connection that is in the table already with messages waiting, then serves it.
pub(super) fn open<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    flow: FlowId,
    path: Path,
    wake: Arc<Notify>,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    // Boxed: the future of a task that a send spawns would otherwise contain itself.
    Box::pin(async move {
        let mut life = shared.life();
        let connecting = ::tokio::select! {
            connecting = timeout(shared.limits.connect, connect(path)) => connecting,
            () = Shared::<C>::closing(&mut life) => return,
        };
        let failed = |error| {
            shared.enter(|state, _| close(state, flow, CloseReason::Error(error)));
        };
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(SendError::from(&error)),
            Err(_) => return failed(SendError::TimedOut),
        };
        prepare(&stream);
        let local = stream.local_addr().unwrap_or(path.local);
        let stream = Arc::new(stream);
        let path = Path { local, flow: Some(flow), ..path };
        let opened = shared.enter(|state, now| {
            let Some(connection) = state.wire.table.get_mut(flow) else { return false };
            connection.path = path;
            connection.stream = Some(stream.clone());
            connection.last_activity = now;
            let awaited_by = std::mem::take(&mut connection.awaited_by);
            add(&mut state.wire.counters.opened);
            state.events.push_back(FlowEvent::Opened { path });
            let ready = awaited_by.into_iter().map(|token| FlowEvent::Ready { token, path });
            state.events.extend(ready);
            true
        });
        if opened {
            run(shared, stream, flow, path, wake, None).await;
        }
    })
}

async fn connect(path: Path) -> io::Result<TcpStream> {
    let socket = if path.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !path.local.ip().is_unspecified() {
        socket.bind(path.local)?;
    }
    socket.connect(path.remote).await
}

/// A message is written whole: waiting for more to send along only delays it.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
}

/// What the task of a connection does next.
enum Next {
    Wait { write: bool, idle_at: Option<Instant> },
    Gone,
}

/// Serves an open connection until it is closed by either side.
async fn run<C: Core + Send + 'static>(
    shared: Arc<Shared<C>>,
    stream: Arc<TcpStream>,
    flow: FlowId,
    path: Path,
    wake: Arc<Notify>,
    first_message_by: Option<Instant>,
) {
    let mut life = shared.life();
    let mut reader = Reader {
        decoder: StreamDecoder::new(shared.limits.message),
        // A message that has begun must be whole in time, the first one from the moment of accepting.
        whole_by: first_message_by,
    };
    loop {
        let next = shared.enter(|state, now| {
            let Some(connection) = state.wire.table.get_mut(flow) else { return Next::Gone };
            if let Err(error) = connection.write(now) {
                close(state, flow, CloseReason::Error(SendError::from(&error)));
                return Next::Gone;
            }
            let idle_at = connection.last_activity.checked_add(shared.limits.idle);
            let idle_at = idle_at.into_iter().chain(reader.whole_by).min();
            if idle_at.is_some_and(|at| at <= now) {
                add(&mut state.wire.counters.idle_closed);
                close(state, flow, CloseReason::Idle);
                return Next::Gone;
            }
            Next::Wait { write: !connection.queue.is_empty(), idle_at }
        });
        let Next::Wait { write, idle_at } = next else { return };
        let idle = async {
            match idle_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        ::tokio::select! {
            _ = stream.readable() => match reader.turn(&shared, &stream, flow, path) {
                Turn::Open => {}
                Turn::Closed => return,
                Turn::Malformed => return linger(&stream).await,
            },
            _ = stream.writable(), if write => {}
            () = wake.notified() => {}
            () = idle => {}
            () = Shared::<C>::closing(&mut life) => {
                // What waits was written above as far as the kernel took it; the rest of the goodbye is the FIN.
                shared.enter(|state, _| close(state, flow, CloseReason::Shutdown));
                return;
            }
        }
    }
}

enum Turn {
    Open,
    Closed,
    Malformed,
}

struct Reader {
    decoder: StreamDecoder,
    whole_by: Option<Instant>,
}

impl Reader {
    /// Reads what is there and hands the messages in it to the core.
    fn turn<C: Core + Send + 'static>(
        &mut self,
        shared: &Arc<Shared<C>>,
        stream: &TcpStream,
        flow: FlowId,
        path: Path,
    ) -> Turn {
        let ended = self.fill(stream);
        let mut frames = Vec::new();
        let broken = loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        shared.enter(|state, now| {
            let Some(connection) = state.wire.table.get_mut(flow) else { return Turn::Closed };
            connection.last_activity = now;
            let had_message = frames.iter().any(|frame| matches!(frame, Frame::Message(_)));
            if self.decoder.buffered() == 0 && (had_message || self.whole_by.is_none()) {
                self.whole_by = None;
            } else if had_message || self.whole_by.is_none() {
                self.whole_by = now.checked_add(shared.limits.first_message);
            }
            for frame in frames {
                deliver(state, flow, path, frame, now, &shared.limits);
            }
            if let Some(error) = broken {
                tracing::debug!(%path, %error, "malformed stream");
                add(&mut state.wire.counters.malformed_streams);
                answer_malformed(state, flow, path, error, now, &shared.limits);
                close(state, flow, CloseReason::Malformed);
                return Turn::Malformed;
            }
            match ended {
                None => Turn::Open,
                Some(reason) => {
                    close(state, flow, reason);
                    Turn::Closed
                }
            }
        })
    }

    /// Reads some of what the kernel has. Tells whether the stream ended, and how.
    fn fill(&mut self, stream: &TcpStream) -> Option<CloseReason> {
        let mut buffer = [0_u8; READ];
        for _ in 0..READS_PER_TURN {
            match stream.try_read(&mut buffer) {
                Ok(0) => return Some(CloseReason::Peer),
                Ok(length) => self.decoder.push(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(CloseReason::Error(SendError::from(&error))),
            }
        }
        None
    }
}

fn deliver<C: Core>(
    state: &mut State<C>,
    flow: FlowId,
    path: Path,
    frame: Frame,
    now: Instant,
    limits: &crate::limits::Limits,
) {
    match frame {
        Frame::Message(message) => {
            if state.wire.is_tapped() {
                state.wire.tap(true, &path, &message.to_bytes());
            }
            match ingress::message(message, path) {
                Ok(received) => {
                    add(&mut state.wire.counters.received);
                    state.core.receive(now, received);
                }
                Err(reason) => {
                    add(&mut state.wire.counters.rejected_messages);
                    tracing::debug!(%path, %reason, "message dropped");
                }
            }
        }
        Frame::Ping => {
            add(&mut state.wire.counters.keep_alives);
            put(state, flow, Bytes::from_static(b"\r\n"), now, limits);
        }
        Frame::Pong => add(&mut state.wire.counters.keep_alives),
    }
}

/// Sends bytes of our own over a connection, behind what waits. A peer that reads nothing gets none of them.
fn put<C>(state: &mut State<C>, flow: FlowId, bytes: Bytes, now: Instant, limits: &crate::limits::Limits) {
    if let Some(connection) = state.wire.table.get_mut(flow)
        && connection.enqueue(bytes, Token::NONE, limits)
        && let Err(error) = connection.write(now)
    {
        tracing::debug!(path = %connection.path, %error, "write failed");
    }
}

/// Answers a request after which the stream cannot be followed: 400 for its Content-Length, 413 for its size
/// (RFC 3261 §18.3, §21.4.11). An ACK is never answered.
fn answer_malformed<C>(
    state: &mut State<C>,
    flow: FlowId,
    path: Path,
    error: FramingError,
    now: Instant,
    limits: &crate::limits::Limits,
) {
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

/// Sends our FIN and reads on for a moment: closing with unread bytes would reset the connection, and the peer might
/// lose the answer.
async fn linger(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write) {
        tracing::debug!(%error, "shutdown failed");
        return;
    }
    let mut left = LINGER_BYTES;
    let drain = async {
        let mut buffer = [0_u8; 1024];
        while left > 0 && stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
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
