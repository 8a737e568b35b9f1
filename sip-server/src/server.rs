//! A server over real sockets.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use sip_message::Uri;
use sip_transport::Locals;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{BindError, Driver, Handle, Listen, ListenError, Options, Resolve, Sockets, Tap};
use sip_transport::websocket::Origins;
use tokio::task::{JoinHandle, JoinSet};

use crate::keeper::Keeper;
use crate::location::disk::{Disk, RealDisk};
use crate::location::{
    Answer, Flush, Journal, JournalError, LocationStore, MemoryLocation, Question, QuestionKey, StoreError,
};
use crate::{Config, ConfigError, Counters, ServerCore, Users, registrar};

/// A SIP server: registrar, location service and stateful proxy on sockets.
///
/// It runs from [`build`](ServerBuilder::build) on, whether anybody waits for it or not. Dropping it closes its sockets:
/// calls that were set up go on, since their media does not pass through here, but their BYE finds nobody.
#[derive(Debug)]
pub struct Server {
    handle: Handle<ServerCore>,
    questions: Option<JoinHandle<()>>,
    keeper: Option<Keeper>,
}

/// A location file.
struct LocationFile {
    path: PathBuf,
    flush: Flush,
    disk: Box<dyn Disk>,
}

/// A server in the making.
#[must_use = "a builder does nothing until build()"]
pub struct ServerBuilder {
    listen: Vec<Listen>,
    config: Config,
    options: Options,
    store: Option<Arc<dyn LocationStore>>,
    file: Option<LocationFile>,
    tls: Option<Tls>,
    error: Option<ListenError>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A listener's text is not understood.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The location file cannot be used.
    #[error(transparent)]
    Location(#[from] JournalError),
    /// The operating system gives no thread.
    #[error("no thread from the operating system: {0}")]
    Thread(std::io::Error),
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
}

/// What a server has done and holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// Registrar and proxy.
    pub server: Counters,
    /// Transactions.
    pub transactions: sip_transaction::Counters,
    /// Sockets and connections.
    pub transport: sip_transport::limits::Counters,
    /// Bindings in the table in memory.
    pub bindings: usize,
    /// Requests under way, or waiting for stragglers.
    pub contexts: usize,
    /// Client and server transactions that are not over.
    pub live_transactions: usize,
    /// Open connections.
    pub connections: usize,
}

/// Looks into a running server. It does not keep the server running.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    handle: Handle<ServerCore>,
}

impl ServerHandle {
    /// What the server has done and holds now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let transport = self.handle.counters();
        let connections = self.handle.connections();
        self.handle.with(|core, _| Counts {
            server: core.counters(),
            transactions: *core.transactions().counters(),
            transport,
            bindings: core.bindings(),
            contexts: core.live_contexts(),
            live_transactions: core
                .transactions()
                .live_client()
                .saturating_add(core.transactions().live_server()),
            connections,
        })
    }

    /// Says how loaded this machine is by the owner's own measure (processors, memory, a drain before maintenance): at least this
    /// tier of refusal holds until another is told.
    pub fn set_least_tier(&self, tier: sip_transaction::Tier) {
        self.handle.with(|core, _| core.set_least_tier(tier));
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.handle.locals()
    }
}

impl Server {
    /// Starts with no listener, no domain and no users.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            listen: Vec::new(),
            config: Config::new([0; 32], Locals::default()),
            options: Options::default(),
            store: None,
            file: None,
            tls: None,
            error: None,
        }
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.handle.locals()
    }

    /// A handle for looking into it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { handle: self.handle.clone() }
    }

    /// Runs until `until` is ready, then closes all sockets. Gives what `until` gave.
    pub async fn run_until<F: Future>(self, until: F) -> F::Output {
        let output = until.await;
        self.close().await;
        output
    }

    /// Closes all sockets and the location file, and waits until they are closed.
    pub async fn close(mut self) {
        self.handle.close();
        self.handle.stopped().await;
        if let Some(keeper) = self.keeper.take() {
            // It ends with the write that it has at hand; a failure means that it has ended already.
            let _ = tokio::task::spawn_blocking(|| keeper.join()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(questions) = self.questions.take() {
            questions.abort();
        }
        self.handle.close();
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Listens at `udp:ADDRESS:PORT`, and `tcp:`, `tls:`, `ws:` and `wss:` alike; port 0 is a free one. What is wrong with
    /// it is told by [`build`](ServerBuilder::build).
    pub fn listen(mut self, listen: &str) -> Self {
        match listen.parse() {
            Ok(listen) => self.listen.push(listen),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Listens there.
    pub fn listen_at(mut self, listen: Listen) -> Self {
        self.listen.push(listen);
        self
    }

    /// The certificates for `tls:` and `wss:`, and the authorities to trust. A clone of it reloads them.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Which web pages may connect over WebSocket.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.options.origins = origins;
        self
    }

    /// Is responsible for a domain. The first one stands for the server's own addresses too, and is the realm.
    pub fn domain(mut self, name: impl Into<String>) -> Self {
        self.config.domains.push(name.into());
        self
    }

    /// Who may register and call. Without, nobody is asked who he is.
    pub fn users(mut self, users: Users) -> Self {
        self.config.users = Some(users);
        self
    }

    /// Keeps bindings in a store outside instead of in memory.
    pub fn location(mut self, store: impl LocationStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Keeps bindings in memory and in this file: one that was acknowledged is there after the next start, whatever ends the
    /// process, and after a power cut as far as `flush` says. The file is made if it is not there.
    ///
    /// What a request asks for is answered from memory. A change that the disk does not take within
    /// [`Limits::durable_timeout`](crate::Limits::durable_timeout) is answered 503 with Retry-After; calls go on.
    pub fn location_file(self, path: impl Into<PathBuf>, flush: Flush) -> Self {
        self.location_file_on(RealDisk, path, flush)
    }

    /// Likewise, on a disk of one's own: for tests of what a full one does.
    pub fn location_file_on(mut self, disk: impl Disk, path: impl Into<PathBuf>, flush: Flush) -> Self {
        self.file = Some(LocationFile { path: path.into(), flush, disk: Box::new(disk) });
        self
    }

    /// Forwards every initial request that is not for the server itself to this next hop.
    pub fn next_hop(mut self, uri: Uri) -> Self {
        self.config.next_hop = Some(uri);
        self
    }

    /// Whether requests of our users are challenged with 407 (the default, if there are users).
    pub fn challenge_calls(mut self, on: bool) -> Self {
        self.config.challenge_calls = on;
        self
    }

    /// Whether anybody's requests to foreign domains are forwarded. See [`Config::open_relay`].
    pub fn open_relay(mut self, on: bool) -> Self {
        self.config.open_relay = on;
        self
    }

    /// How the registrar works.
    pub fn registrar(mut self, config: registrar::Config) -> Self {
        self.config.registrar = config;
        self
    }

    /// Changes anything else of the configuration. Seed and listeners are set by [`build`](ServerBuilder::build).
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// What peers may make the sockets hold.
    pub fn transport_limits(mut self, limits: sip_transport::limits::Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Sees every message.
    pub fn tap(mut self, tap: impl Tap + 'static) -> Self {
        self.options.tap = Some(Box::new(tap));
        self
    }

    /// Answers questions about names, in place of the system's resolver.
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.options.resolver = Some(resolver);
        self
    }

    /// Binds the sockets and starts the server.
    ///
    /// # Errors
    /// When a listener is not understood or cannot be bound, when the configuration cannot work, or the location file is in use,
    /// damaged or none.
    #[allow(clippy::unused_async)] // a later store or socket may have to be waited for
    pub async fn build(self) -> Result<Server, BuildError> {
        let Self { listen, mut config, options, store, file, tls, error } = self;
        if let Some(error) = error {
            return Err(error.into());
        }
        if listen.is_empty() {
            return Err(ConfigError::NoListener.into());
        }
        let sockets = match tls {
            Some(tls) => Sockets::bind_with_tls(&listen, tls)?,
            None => Sockets::bind(&listen)?,
        };
        getrandom::fill(&mut config.rng_seed).map_err(BuildError::Random)?;
        config.locals = sockets.locals().clone();
        config.external_location = store.is_some();
        let timeout = config.limits.question_timeout;
        // A clock before 1970 gives nonces that no other clock takes, and does no other harm.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = tokio::time::Instant::now().into_std();
        let Some(LocationFile { path, flush, disk }) = file else {
            let handle = Driver::spawn(ServerCore::new(config, now, unix)?, sockets, options);
            let questions = store.map(|store| tokio::spawn(answer_questions(handle.clone(), store, timeout)));
            return Ok(Server { handle, questions, keeper: None });
        };
        config.external_location = true; // no other table
        let mut table = MemoryLocation::new(config.limits.bindings, now, unix);
        let journal = Journal::open_on(disk, path, &mut table)?;
        let core = ServerCore::with_durable_location(config, now, unix, table)?;
        let handle = Driver::spawn(core, sockets, options);
        let keeper = Keeper::start(handle.clone(), journal, flush).map_err(BuildError::Thread)?;
        Ok(Server { handle, questions: None, keeper: Some(keeper) })
    }
}

/// Carries questions to the store and answers back, many at a time: as many as the core lets wait.
async fn answer_questions(handle: Handle<ServerCore>, store: Arc<dyn LocationStore>, timeout: Duration) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            (key, question, now) = next_question(&handle) => {
                let (handle, store) = (handle.clone(), store.clone());
                running.spawn(async move {
                    let answer = tokio::time::timeout(timeout, store.answer(question, now)).await;
                    let answer = answer.unwrap_or(Answer::Failed(StoreError::Unavailable));
                    handle.with(|core, now| core.answer(now, key, answer));
                });
            }
            Some(_) = running.join_next() => {}
        }
    }
}

async fn next_question(handle: &Handle<ServerCore>) -> (QuestionKey, Question, Instant) {
    poll_fn(|context| {
        handle.with(|core, now| match core.poll_question() {
            Some((key, question)) => Poll::Ready((key, question, now)),
            None => {
                core.wake_on_question(context.waker().clone());
                Poll::Pending
            }
        })
    })
    .await
}
