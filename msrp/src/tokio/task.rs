//! The task of one connection: octets in, octets out, commands of applications, events to them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tokio::sync::{Semaphore, mpsc, oneshot, watch};
use ::tokio::time::sleep_until;
use bytes::Bytes;

use super::shared::Shared;
use super::socket::{Read, Socket};
use crate::connection::{
    Claim, Connection, Directory, MAX_OUTGOING, MAX_SENT, MessageKey, SendError, SessionKey,
};
use crate::event::{Event, Failure};
use crate::framing::Limits;
use crate::message::Ident;
use crate::outgoing::Message;
use crate::session::SessionConfig;
use crate::status::StatusCode;
use crate::uri::{Path, Uri};

/// Octets taken from the core before the kernel has taken them.
const BATCH: usize = 262_144;
/// Reads and writes in a row before others of the runtime have their turn.
const ROUNDS: usize = 16;
/// A connection without a session is closed after this time: one that was never used costs a stranger nothing (RFC 4976 §6.1).
const IDLE: Duration = Duration::from_secs(30);
/// Messages whose receipts may be held; above it those are forgotten that nobody asks for.
const MAX_TRACKED: usize = MAX_OUTGOING + MAX_SENT;
/// Commands that wait for the task; whoever sends more waits with them.
pub(super) const COMMANDS: usize = 64;
/// Events that wait for an application; then its connection is not read.
pub(super) const EVENTS: usize = 64;

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

/// How far a message of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Sending,
    Accepted,
    Delivered,
    Failed(Failure),
}

/// What applications ask a connection to do.
#[derive(Debug)]
pub(super) enum Command {
    Add {
        config: Box<SessionConfig>,
        events: mpsc::Sender<Event>,
        reply: oneshot::Sender<Result<SessionKey, SendError>>,
    },
    Send {
        session: SessionKey,
        message: Box<Message>,
        tell: watch::Sender<Stage>,
        credit: Option<Arc<Semaphore>>,
        reply: oneshot::Sender<Result<MessageKey, SendError>>,
    },
    Feed {
        message: MessageKey,
        octets: Bytes,
    },
    Finish {
        message: MessageKey,
        reply: oneshot::Sender<Result<(), SendError>>,
    },
    Abort {
        message: MessageKey,
    },
    AbortUnfinished {
        message: MessageKey,
    },
    Refuse {
        session: SessionKey,
        id: Ident,
        status: StatusCode,
    },
    Nickname {
        session: SessionKey,
        name: String,
        reply: oneshot::Sender<Result<(), SendError>>,
    },
    /// The peer has another path.
    Remote {
        session: SessionKey,
        path: Box<Path>,
        reply: oneshot::Sender<Result<(), SendError>>,
    },
    End {
        session: SessionKey,
    },
    /// Asks a relay for a URI.
    #[cfg(feature = "auth")]
    Auth {
        auth: Box<crate::auth::Auth>,
        reply: oneshot::Sender<Result<crate::auth::Grant, crate::auth::AuthError>>,
    },
}

/// A session that a first request claimed: whom to tell.
pub(super) struct Waiter {
    pub(super) config: Box<SessionConfig>,
    pub(super) events: mpsc::Sender<Event>,
    /// One of these certificates has to be shown, if there are any (RFC 4975 §14.4).
    pub(super) announced: Vec<[u8; 32]>,
    pub(super) ready: oneshot::Sender<Claimed>,
}

/// What has come for a session that waits.
pub(super) struct Claimed {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) key: SessionKey,
    /// The fingerprint of the certificate that was shown.
    pub(super) shown: Option<[u8; 32]>,
}

/// The table of waiting sessions, as one connection sees it.
struct Claims<'s> {
    shared: &'s Shared,
    shown: Option<[u8; 32]>,
    claimed: Vec<(Uri, Waiter)>,
}

impl Directory for Claims<'_> {
    fn claim(&mut self, connection: u64, local: &Uri) -> Claim {
        match self.shared.claim(connection, local, self.shown) {
            Ok(waiter) => {
                let config = waiter.config.clone();
                self.claimed.push((local.clone(), waiter));
                Claim::Bind(config)
            }
            Err(claim) => claim,
        }
    }
}

struct Route {
    events: mpsc::Sender<Event>,
    local: Uri,
}

struct Track {
    tell: watch::Sender<Stage>,
    credit: Option<Arc<Semaphore>>,
    is_finished: bool,
}

pub(super) struct Task {
    id: u64,
    core: Connection,
    socket: Socket,
    /// The fingerprint of the peer's certificate.
    shown: Option<[u8; 32]>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// For sessions that a request of the peer's begins.
    handle: mpsc::Sender<Command>,
    routes: HashMap<SessionKey, Route>,
    messages: HashMap<MessageKey, Track>,
    out: VecDeque<Bytes>,
    /// Events for which their applications have no room. Nothing is read while there are any, so they are what came of one read.
    waiting: VecDeque<(SessionKey, mpsc::Sender<Event>, Event)>,
    idle_since: Instant,
    #[cfg(feature = "auth")]
    auths: HashMap<
        crate::connection::AuthKey,
        oneshot::Sender<Result<crate::auth::Grant, crate::auth::AuthError>>,
    >,
}

impl Task {
    pub(super) fn new(
        id: u64,
        socket: Socket,
        shared: Arc<Shared>,
        handle: mpsc::Sender<Command>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let core = Connection::new(id, Limits::default(), Box::new(super::shared::random));
        let core = if socket.is_websocket() { core.in_messages() } else { core };
        Self {
            id,
            core,
            shown: socket.peer_fingerprint(),
            socket,
            shared,
            commands,
            handle,
            routes: HashMap::new(),
            messages: HashMap::new(),
            out: VecDeque::new(),
            waiting: VecDeque::new(),
            idle_since: now(),
            #[cfg(feature = "auth")]
            auths: HashMap::new(),
        }
    }

    /// Runs until the connection is over.
    pub(super) async fn run(mut self) {
        let _ = self.go().await;
        // Who asks for something from now on is told so, instead of waiting for an answer that nobody gives.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.core.closed();
        self.socket.shut_down(&mut self.out);
        self.shared.closed(self.id);
        self.dispatch();
        // Applications learn of the end however slow they are, and none of them waits for another.
        let mut rest: HashMap<SessionKey, (mpsc::Sender<Event>, Vec<Event>)> = HashMap::new();
        for (key, sender, event) in self.waiting.drain(..) {
            rest.entry(key).or_insert_with(|| (sender, Vec::new())).1.push(event);
        }
        for (sender, events) in rest.into_values() {
            ::tokio::spawn(async move {
                for event in events {
                    if sender.send(event).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    async fn go(&mut self) -> io::Result<()> {
        loop {
            let mut rounds = 0;
            while self.turn()? {
                rounds += 1;
                if rounds >= ROUNDS {
                    ::tokio::task::yield_now().await;
                    rounds = 0;
                }
            }
            let due = self.core.poll_timeout();
            let idle = self.routes.is_empty().then(|| self.idle_since.checked_add(IDLE)).flatten();
            let due = due.into_iter().chain(idle).chain(self.socket.due()).min();
            let wants_input = self.waiting.is_empty() && self.core.wants_input();
            let wants_output = !self.out.is_empty() || self.socket.is_pending();
            let blocked = self.waiting.front().map(|(_, sender, _)| sender.clone());
            ::tokio::select! {
                () = self.socket.readable(), if wants_input => {}
                () = self.socket.writable(), if wants_output => {}
                command = self.commands.recv() => {
                    if let Some(command) = command {
                        self.command(command);
                    }
                }
                () = async { if let Some(sender) = &blocked { let _ = sender.reserve().await; } }, if blocked.is_some() => {}
                () = async { if let Some(due) = due { sleep_until(due.into()).await; } }, if due.is_some() => {
                    let time = now();
                    self.core.handle_timeout(time);
                    self.socket.tick()?;
                    if idle.is_some_and(|idle| idle <= time) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Does what can be done without waiting; whether there may be more.
    fn turn(&mut self) -> io::Result<bool> {
        let mut progress = false;
        while let Ok(command) = self.commands.try_recv() {
            self.command(command);
            progress = true;
        }
        self.dispatch();
        // Commands may have filled the core beyond what one batch takes: the next turn has the rest.
        let mut octets = self.out.iter().map(Bytes::len).sum::<usize>();
        while octets < BATCH
            && let Some(piece) = self.core.poll_transmit()
        {
            octets = octets.saturating_add(piece.len());
            self.socket.put(piece, self.core.is_at_chunk_end(), &mut self.out);
        }
        if octets < BATCH {
            self.socket.put_control(&mut self.out);
        }
        if !self.out.is_empty() || self.socket.is_pending() {
            match self.socket.write(&mut self.out) {
                Ok(()) => {
                    self.core.transmitted(now());
                    progress = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        progress |= self.dispatch();
        if self.waiting.is_empty() && self.core.wants_input() {
            match self.socket.read(self.core.buffer_mut()) {
                Ok(Read::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Read::Control) => progress = true,
                Ok(Read::Some) => {
                    progress = true;
                    self.received().inspect_err(|_| self.socket.set_violated())?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        progress |= self.dispatch();
        Ok(progress)
    }

    fn received(&mut self) -> io::Result<()> {
        let mut claims = Claims { shared: &self.shared, shown: self.shown, claimed: Vec::new() };
        let result = self.core.receive(now(), &mut claims);
        for (local, waiter) in claims.claimed {
            let Some(key) = self.core.session(&local) else {
                self.shared.forget(&local);
                continue;
            };
            self.routes.insert(key, Route { events: waiter.events, local: local.clone() });
            let claimed = Claimed { commands: self.handle.clone(), key, shown: self.shown };
            if waiter.ready.send(claimed).is_err() {
                self.end(key); // nobody waits for it any more
            }
        }
        result.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn end(&mut self, key: SessionKey) {
        self.core.remove(key);
        self.left(key);
    }

    fn left(&mut self, key: SessionKey) {
        if let Some(route) = self.routes.remove(&key) {
            self.shared.forget(&route.local);
            self.idle_since = self.idle_since.max(now());
        }
    }

    /// Hands events out as far as there is room. Receipts are told in any case: an application may wait for one and take no
    /// events meanwhile. Whether a session ended thereby, which leaves something to send.
    fn dispatch(&mut self) -> bool {
        let mut ended = false;
        #[cfg(feature = "auth")]
        while let Some((key, result)) = self.core.poll_auth() {
            // A connection to our relay stays as long as the URI that it gave: that is good on this connection only.
            let valid = result.as_ref().ok().and_then(crate::auth::Grant::expires).map(Duration::from_secs);
            if let Some(until) = valid.and_then(|valid| now().checked_add(valid)) {
                self.idle_since = self.idle_since.max(until);
            }
            if let Some(reply) = self.auths.remove(&key) {
                let _ = reply.send(result);
            }
        }
        while let Some((key, event)) = self.core.poll_event() {
            match event {
                Event::Drained(message, octets) => {
                    if let Some(credit) = self.messages.get(&message).and_then(|track| track.credit.as_ref())
                    {
                        credit.add_permits(octets);
                    }
                }
                Event::Sent(message) => {
                    // A failure may still be told, to whoever holds the receipt.
                    let keep = self.core.expects_report(message)
                        || self.messages.get(&message).is_some_and(|track| !track.tell.is_closed());
                    self.stage(message, Stage::Accepted, !keep);
                }
                Event::Delivered(message) => self.stage(message, Stage::Delivered, true),
                Event::Unconfirmed(message) => self.stage(message, Stage::Failed(Failure::Closed), true),
                Event::Failed(message, failure) => self.stage(message, Stage::Failed(failure), true),
                other => {
                    let is_over = matches!(other, Event::Closed(_));
                    if let Some(route) = self.routes.get(&key) {
                        if route.events.is_closed() {
                            self.end(key);
                            ended = true;
                            continue;
                        }
                        self.waiting.push_back((key, route.events.clone(), other));
                    }
                    if is_over {
                        self.left(key);
                    }
                }
            }
        }
        while let Some((key, sender, event)) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = sender.try_send(event) {
                self.waiting.push_front((key, sender, event));
                break;
            }
        }
        ended
    }

    fn stage(&mut self, message: MessageKey, stage: Stage, is_last: bool) {
        let Some(track) = self.messages.get(&message) else { return };
        track.tell.send_replace(stage);
        if let (Stage::Failed(_), Some(credit)) = (stage, &track.credit) {
            credit.close();
        }
        if is_last {
            self.messages.remove(&message);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Add { config, events, reply } => {
                let local = config.local.clone();
                let result = self.core.add(*config);
                if let Ok(key) = result {
                    self.routes.insert(key, Route { events, local });
                }
                if let Err(Ok(key)) = reply.send(result) {
                    self.end(key);
                }
            }
            Command::Send { session, message, tell, credit, reply } => {
                if self.messages.len() > MAX_TRACKED {
                    let core = &self.core;
                    self.messages.retain(|key, track| core.is_under_way(*key) || !track.tell.is_closed());
                }
                let result = self.core.send(session, *message);
                if let Ok(key) = result {
                    self.messages.insert(key, Track { tell, credit, is_finished: false });
                }
                // Who gave up waiting has sent it all the same.
                let _ = reply.send(result);
            }
            Command::Feed { message, octets } => {
                if self.core.feed(message, octets) == Err(SendError::Length) {
                    self.core.abort(message);
                }
            }
            Command::Finish { message, reply } => {
                let result = self.core.finish(message);
                match (result, self.messages.get_mut(&message)) {
                    (Ok(()), Some(track)) => track.is_finished = true,
                    (Err(SendError::Length), _) => self.core.abort(message),
                    _ => {}
                }
                let _ = reply.send(result);
            }
            Command::Abort { message } => self.core.abort(message),
            Command::AbortUnfinished { message } => {
                if self.messages.get(&message).is_some_and(|track| !track.is_finished) {
                    self.core.abort(message);
                }
            }
            Command::Refuse { session, id, status } => self.core.refuse(session, id, status),
            Command::Nickname { session, name, reply } => {
                let _ = reply.send(self.core.nickname(session, &name));
            }
            Command::Remote { session, path, reply } => {
                let _ = reply.send(self.core.set_remote(session, &path));
            }
            Command::End { session } => self.end(session),
            #[cfg(feature = "auth")]
            Command::Auth { auth, reply } => match self.core.auth(*auth) {
                Ok(key) => {
                    self.auths.insert(key, reply);
                }
                // Dropping it tells that the connection takes no more.
                Err(_) => drop(reply),
            },
        }
    }
}
