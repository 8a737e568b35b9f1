//! A server over real sockets.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use sip_message::Uri;
use sip_transport::Locals;
use sip_transport::tokio::tls::{CredentialsError, Tls};
use sip_transport::tokio::{BindError, Driver, Handle, Listen, ListenError, Options, Resolve, Sockets, Tap};
use sip_transport::websocket::Origins;
use tokio::task::{JoinHandle, JoinSet};

use crate::calls::{CallRecord, CallStatistics};
use crate::keeper::Keeper;
use crate::location::disk::{Disk, RealDisk};
use crate::location::{
    Answer, Flush, Journal, JournalError, LocationStore, MemoryLocation, Question, QuestionKey, StoreError,
};
use crate::operation::CallRecordFile;
use crate::protection::{ProtectionConfig, ProtectionCounters};
use crate::routing::{Router, ask_router};
use crate::settings::Settings;
use crate::users::UserStore;
use crate::{Config, ConfigError, Counters, ServerCore, Traffic, Users, registrar};

/// Call records written in one go.
const AT_ONCE: usize = 1024;

/// While a server drains.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A SIP server: registrar, location service and stateful proxy on sockets.
///
/// It runs from [`build`](ServerBuilder::build) on, whether anybody waits for it or not. Dropping it closes its sockets:
/// calls that were set up go on, since their media does not pass through here, but their BYE finds nobody.
#[derive(Debug)]
pub struct Server {
    handle: Handle<ServerCore>,
    questions: Option<JoinHandle<()>>,
    records: Option<JoinHandle<()>>,
    decisions: Option<JoinHandle<()>>,
    users: Option<JoinHandle<()>>,
    keeper: Option<Keeper>,
    running: Arc<Running>,
}

/// What a reload compares with and reaches.
#[derive(Debug, Default)]
struct Running {
    settings: Mutex<Option<Settings>>,
    tls: Option<Tls>,
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
    records: Option<CallRecordFile>,
    users: Option<Arc<dyn UserStore>>,
    router: Option<Arc<dyn Router>>,
    settings: Option<Settings>,
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
    /// Certificates cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// There is no socket for the capture server.
    #[error("the capture server cannot be reached: {0}")]
    Capture(#[from] std::io::Error),
    /// The location file cannot be used.
    #[error(transparent)]
    Location(#[from] JournalError),
    /// The store of users cannot be read.
    #[error(transparent)]
    Users(#[from] crate::users::UserStoreError),
    /// The key beside the location file cannot be read or made.
    #[error(
        "the key in {path}, with which calls go on over a restart: {error}; remove the file to get a new one"
    )]
    Key {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
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

/// Everything that a server counts, for [`metrics`](crate::operation).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it has done and holds.
    pub counts: Counts,
    /// What passed, by kind.
    pub traffic: Traffic,
    /// Calls, if they are followed.
    pub calls: Option<CallStatistics>,
    /// The watch over sources, if there is one, and how many it does not hear now.
    pub protection: Option<(ProtectionCounters, usize)>,
}

/// Looks into a running server. It does not keep the server running.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    handle: Handle<ServerCore>,
    running: Arc<Running>,
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

    /// Everything that the server counts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.counts();
        self.handle.with(|core, now| Snapshot {
            counts,
            traffic: core.traffic(),
            calls: core.call_statistics(),
            protection: core.protection_counters().map(|counters| (counters, core.banned(now).len())),
        })
    }

    /// Sources that are not heard, and for how long still.
    #[must_use]
    pub fn banned(&self) -> Vec<(IpAddr, Duration)> {
        self.handle.with(|core, now| core.banned(now))
    }

    /// Hears a source again. `false` if it was heard anyway.
    pub fn pardon(&self, ip: IpAddr) -> bool {
        self.handle.with(|core, now| core.pardon(now, ip))
    }

    /// Takes no new calls, registrations or other requests outside of dialogs from now on, or takes them again. Refused ones
    /// get 503 with Retry-After, so that phones go elsewhere; what is under way goes on.
    pub fn set_draining(&self, on: bool) {
        self.handle.with(|core, _| core.set_draining(on));
    }

    /// Takes nothing new, and waits until every request under way is answered and every answer acknowledged, no longer than
    /// `limit`. Gives whether all was done. Calls that are up go on, and find the server again at the same address.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.handle.with(|core, _| core.set_draining(true));
        let quiet = async {
            let live = |core: &mut ServerCore| {
                core.transactions().live_server() > 0 || core.transactions().live_client() > 0
            };
            while self.handle.look(live) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }

    /// Whether it takes no new calls.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.handle.look(|core| core.is_draining())
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

    /// How the trunks stand whose gateways are asked, or that register.
    #[must_use]
    pub fn trunks(&self) -> Vec<crate::TrunkStatus> {
        self.handle.look(|core| core.trunks())
    }

    /// Works by other settings from now on: users, domains, rules, limits, certificates. No transaction, call or connection is
    /// dropped. Gives the names of those that have changed and hold only after a new start, such as `listen`.
    ///
    /// # Errors
    /// When the settings cannot work; the old ones stay in force then.
    pub fn reload(&self, settings: Settings) -> Result<Vec<&'static str>, BuildError> {
        let options = settings.tls()?;
        let mut config = Config::new([0; 32], Locals::default());
        settings.configure(&mut config);
        let mut known = self.running.settings.lock().unwrap_or_else(PoisonError::into_inner);
        // The store is told of by its setting.
        config.external_location = self.handle.look(|core| core.has_external_location());
        if let (Some(options), Some(tls)) = (options, &self.running.tls) {
            tls.reload(options)?;
        }
        let mut later = self.handle.with(|core, now| core.reconfigure(config, now))?;
        // What the sockets were made of stays to be compared with.
        match &*known {
            Some(old) => later.extend(old.other_sockets(&settings)),
            None => *known = Some(settings),
        }
        Ok(later)
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
            records: None,
            users: None,
            router: None,
            settings: None,
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
        ServerHandle { handle: self.handle.clone(), running: self.running.clone() }
    }

    /// Runs until `until` is ready, then closes all sockets. Gives what `until` gave.
    pub async fn run_until<F: Future>(self, until: F) -> F::Output {
        let output = until.await;
        self.close().await;
        output
    }

    /// Closes all sockets and the location file, and waits until they are closed and the last call record is written.
    pub async fn close(mut self) {
        self.handle.with(|core, _| core.end_call_records());
        self.handle.close();
        self.handle.stopped().await;
        if let Some(records) = self.records.take() {
            // It has panicked, which is no reason to do so too.
            let _ = records.await;
        }
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
        if let Some(records) = self.records.take() {
            records.abort();
        }
        if let Some(users) = self.users.take() {
            users.abort();
        }
        if let Some(decisions) = self.decisions.take() {
            decisions.abort();
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

    /// Users in a store, beside those of [`users`](ServerBuilder::users).
    pub fn user_store(mut self, store: impl UserStore) -> Self {
        self.users = Some(Arc::new(store));
        self.config.external_users = true;
        self
    }

    /// Keeps bindings in a store outside instead of in memory.
    pub fn location(mut self, store: impl LocationStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The key of what is written into Record-Route and Path. See [`Config::dialog_key`].
    pub fn dialog_key(mut self, key: [u8; 32]) -> Self {
        self.config.dialog_key = Some(key);
        self
    }

    /// Appends a record of every call to this file.
    pub fn call_records(mut self, file: CallRecordFile) -> Self {
        self.config.call_records.get_or_insert_default();
        self.records = Some(file);
        self
    }

    /// Decides where requests go, before the rules of the configuration do.
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Some(Arc::new(router));
        self
    }

    /// What the server was made of, for [`ServerHandle::reload`] to compare with.
    pub(crate) fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
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

    /// Watches sources. See [`Config::protection`].
    pub fn protection(mut self, config: ProtectionConfig) -> Self {
        self.config.protection = Some(config);
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
        let Self { listen, mut config, options, store, file, records, users, router, settings, tls, error } =
            self;
        if let Some(error) = error {
            return Err(error.into());
        }
        if listen.is_empty() {
            return Err(ConfigError::NoListener.into());
        }
        let running = Arc::new(Running { settings: Mutex::new(settings), tls: tls.clone() });
        let sockets = match tls {
            Some(tls) => Sockets::bind_with_tls(&listen, tls)?,
            None => Sockets::bind(&listen)?,
        };
        getrandom::fill(&mut config.rng_seed).map_err(BuildError::Random)?;
        config.locals = sockets.locals().clone();
        config.external_location = store.is_some();
        config.external_router = router.is_some();
        let timeout = config.limits.question_timeout;
        // A clock before 1970 gives nonces that no other clock takes, and does no other harm.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = tokio::time::Instant::now().into_std();
        let (handle, keeper) = match file {
            None => (Driver::spawn(ServerCore::new(config, now, unix)?, sockets, options), None),
            Some(LocationFile { path, flush, disk }) => {
                config.external_location = true; // no other table
                if config.dialog_key.is_none() {
                    config.dialog_key = Some(kept_key(&path)?);
                }
                let mut table = MemoryLocation::new(config.limits.bindings, now, unix);
                let journal = Journal::open_on(disk, path, &mut table)?;
                let core = ServerCore::with_durable_location(config, now, unix, table)?;
                let handle = Driver::spawn(core, sockets, options);
                let keeper = Keeper::start(handle.clone(), journal, flush).map_err(BuildError::Thread)?;
                (handle, Some(keeper))
            }
        };
        let questions = store.map(|store| tokio::spawn(answer_questions(handle.clone(), store, timeout)));
        let records = records.map(|file| tokio::spawn(write_records(handle.clone(), file)));
        let decisions = router.map(|router| tokio::spawn(ask_router(handle.clone(), router, timeout)));
        let users = users.map(|store| tokio::spawn(ask_users(handle.clone(), store, timeout)));
        Ok(Server { handle, questions, records, decisions, users, keeper, running })
    }
}

/// The key in `FILE.key` beside a location file; a new one if there is none.
fn kept_key(location: &Path) -> Result<[u8; 32], BuildError> {
    let mut path = location.as_os_str().to_owned();
    path.push(".key");
    let path = PathBuf::from(path);
    let fault = |error| BuildError::Key { path: path.display().to_string(), error };
    match std::fs::read(&path) {
        Ok(octets) => octets.try_into().map_err(|_| fault(std::io::ErrorKind::InvalidData.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(BuildError::Random)?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&path).map_err(fault)?;
            file.write_all(&key).and_then(|()| file.sync_all()).map_err(fault)?;
            Ok(key)
        }
        Err(error) => Err(fault(error)),
    }
}

/// Writes call records until the server is closed and there is none left.
async fn write_records(handle: Handle<ServerCore>, mut file: CallRecordFile) {
    let mut ended = pin!(handle.stopped());
    let mut last = false;
    while !last {
        tokio::select! {
            biased;
            () = record_waits(&handle) => {}
            () = &mut ended => last = true,
        }
        let records: Vec<CallRecord> =
            handle.look(|core| std::iter::from_fn(|| core.poll_call_record()).take(AT_ONCE).collect());
        last &= records.len() < AT_ONCE;
        // A disk may stand still; the server must not.
        let written = tokio::task::spawn_blocking(move || {
            let result = file.append(&records);
            (file, result)
        });
        let Ok((returned, result)) = written.await else { return };
        file = returned;
        if let Err((lost, error)) = result {
            tracing::error!(%error, lost, "call records are lost");
            handle.look(|core| core.count_lost_records(lost));
        }
    }
}

async fn record_waits(handle: &Handle<ServerCore>) {
    poll_fn(|context| {
        handle.look(|core| {
            if core.has_call_record() {
                return Poll::Ready(());
            }
            core.wake_on_call_record(context.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

/// Carries user names to the store of users and secrets back, many at a time: as many as the core lets wait.
async fn ask_users(handle: Handle<ServerCore>, store: Arc<dyn UserStore>, timeout: Duration) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            (key, name) = next_user(&handle) => {
                let (handle, store) = (handle.clone(), store.clone());
                running.spawn(async move {
                    let found = tokio::time::timeout(timeout, store.find(name)).await;
                    let secret = match found {
                        Ok(Ok(secret)) => Ok(secret),
                        Ok(Err(error)) => {
                            tracing::error!(%error, "a user was not looked up");
                            Err(())
                        }
                        Err(_) => Err(()),
                    };
                    handle.with(|core, now| core.user_found(now, key, secret));
                });
            }
            Some(_) = running.join_next() => {}
        }
    }
}

async fn next_user(handle: &Handle<ServerCore>) -> (QuestionKey, String) {
    poll_fn(|context| {
        handle.with(|core, _| match core.poll_user() {
            Some(user) => Poll::Ready(user),
            None => {
                core.wake_on_user(context.waker().clone());
                Poll::Pending
            }
        })
    })
    .await
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
