//! A server in the making.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sip_message::Uri;
use sip_transport::Locals;
use sip_transport::tokio::tls::{CredentialsError, Tls};
use sip_transport::tokio::{BindError, Driver, Listen, ListenError, Options, Resolve, Sockets, Tap};
use sip_transport::websocket::Origins;

use super::cores::Cores;
use super::outside::{
    answer_questions, ask_router, ask_users, keep_events, keep_messages, wake_phones, write_records,
};
use super::{MsrpRelay, Running, Server};
use crate::events::{EventConfig, EventStore, EventStoreError};
use crate::keeper::Keeper;
use crate::location::disk::{Disk, RealDisk};
use crate::location::{Flush, Journal, JournalError, LocationStore, LocationStoreError, MemoryLocation};
use crate::messages::{MessageFileError, MessageStore};
use crate::operation::CallRecordFile;
use crate::protection::ProtectionConfig;
use crate::push::{PushConfig, PushGateway};
use crate::routing::Router;
use crate::settings::Settings;
use crate::users::UserStore;
use crate::{Config, ConfigError, ServerCore, Users, registrar};

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
    messages: Option<Arc<dyn MessageStore>>,
    events: Option<Arc<dyn EventStore>>,
    router: Option<Arc<dyn Router>>,
    gateway: Option<Arc<dyn PushGateway>>,
    settings: Option<Settings>,
    file: Option<LocationFile>,
    tls: Option<Tls>,
    relay: Option<MsrpRelay>,
    shards: usize,
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
    /// The location store outside cannot be used.
    #[error(transparent)]
    LocationStore(#[from] LocationStoreError),
    /// The store of users cannot be read.
    #[error(transparent)]
    Users(#[from] crate::users::UserStoreError),
    /// The store of subscriptions and publications cannot be used.
    #[error(transparent)]
    Events(#[from] EventStoreError),
    /// The file of messages cannot be used.
    #[error(transparent)]
    Messages(#[from] MessageFileError),
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
    /// The relay of session messages cannot be started.
    #[error("the relay of session messages: {0}")]
    MsrpRelay(String),
    /// The operating system gives no thread.
    #[error("no thread from the operating system: {0}")]
    Thread(std::io::Error),
    /// The operating system gives no randomness.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            listen: Vec::new(),
            config: Config::new([0; 32], Locals::default()),
            options: Options::default(),
            store: None,
            records: None,
            users: None,
            messages: None,
            events: None,
            router: None,
            gateway: None,
            settings: None,
            file: None,
            tls: None,
            relay: None,
            shards: 1,
            error: None,
        }
    }

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

    /// Shares the calls out among so many cores, at most [`MAX_SHARDS`](sip_transaction::MAX_SHARDS), which work at the same time on as
    /// many threads as the runtime has. Each call is one core's alone, so that no message of it overtakes another; registrations,
    /// subscriptions and all else stay with the first. One (the default) costs least where one processor is enough.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards.clamp(1, sip_transaction::MAX_SHARDS);
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

    /// Relays session messages and files of the server's users (RFC 4976): phones behind NAT reach each other by it. The users are those
    /// of [`users`](Self::users); who guesses passwords there is not heard by the server either.
    pub fn msrp_relay(mut self, relay: MsrpRelay) -> Self {
        self.relay = Some(relay);
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

    /// Keeps messages for users who are away in this store, and delivers them when they come. How is said by
    /// [`Config::messages`].
    pub fn message_store(mut self, store: impl MessageStore) -> Self {
        self.messages = Some(Arc::new(store));
        self.config.messages.get_or_insert_default();
        self.config.external_messages = true;
        self
    }

    /// Keeps messages for users who are away in this file of `SQLite`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be used, or this was built without the feature `sqlite`.
    pub fn message_file(self, path: impl AsRef<Path>) -> Result<Self, BuildError> {
        #[cfg(feature = "sqlite")]
        return Ok(self.message_store(crate::messages::SqliteMessages::open(path)?));
        #[cfg(not(feature = "sqlite"))]
        Err(BuildError::Messages(MessageFileError {
            path: path.as_ref().display().to_string(),
            why: "this program was built without the feature sqlite".into(),
        }))
    }

    /// Keeps subscriptions and publications in this store, so that they outlive the process. What changes is written behind, within
    /// [`WRITE_BEHIND`](crate::events::WRITE_BEHIND): a refresh that a crash loses is answered 481, and phones subscribe anew.
    pub fn event_store(mut self, store: impl EventStore) -> Self {
        self.events = Some(Arc::new(store));
        self.config.keep_events = true;
        self
    }

    /// Keeps subscriptions and publications in this file of `SQLite`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be used, or this was built without the feature `sqlite`.
    pub fn event_file(self, path: impl AsRef<Path>) -> Result<Self, BuildError> {
        #[cfg(feature = "sqlite")]
        return Ok(self.event_store(crate::events::SqliteEvents::open(path)?));
        #[cfg(not(feature = "sqlite"))]
        Err(BuildError::Events(EventStoreError {
            place: path.as_ref().display().to_string(),
            why: "this program was built without the feature sqlite".into(),
        }))
    }

    /// Keeps bindings in a store outside instead of in memory.
    pub fn location(mut self, store: impl LocationStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Keeps bindings in a Redis or Valkey, by its URL: several servers of the same domains share them. `authorities` may have issued its
    /// certificate, in PEM, those of the system if there are none; `prefix` is what its keys begin with, `sip:location:` if it is not
    /// given.
    ///
    /// # Errors
    /// When the URL or the authorities cannot be used, or this was built without the feature `redis`.
    pub fn location_redis(
        self,
        url: &str,
        authorities: Option<&[u8]>,
        prefix: Option<&str>,
    ) -> Result<Self, BuildError> {
        #[cfg(feature = "redis")]
        {
            let store = crate::location::RedisLocation::new(url, authorities)?;
            Ok(self.location(match prefix {
                Some(prefix) => store.prefix(prefix),
                None => store,
            }))
        }
        #[cfg(not(feature = "redis"))]
        {
            let _ = (authorities, prefix);
            let scheme = url.split("://").next().unwrap_or_default();
            let why = "this program was built without the feature redis".into();
            Err(LocationStoreError { place: format!("{scheme}://..."), why }.into())
        }
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

    /// Wakes phones that sleep by push notifications of these services (RFC 8599).
    pub fn push_gateway(mut self, gateway: impl PushGateway, config: PushConfig) -> Self {
        self.gateway = Some(Arc::new(gateway));
        self.config.push = Some(config);
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

    /// Answers SUBSCRIBE and PUBLISH for the users. See [`Config::events`].
    pub fn events(mut self, config: EventConfig) -> Self {
        self.config.events = Some(config);
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
        let Self {
            listen,
            mut config,
            options,
            store,
            file,
            records,
            users,
            messages,
            events,
            router,
            gateway,
            settings,
            tls,
            relay,
            shards,
            error,
        } = self;
        if let Some(error) = error {
            return Err(error.into());
        }
        if listen.is_empty() {
            return Err(ConfigError::NoListener.into());
        }
        let running =
            Arc::new(Running { settings: Mutex::new(settings), tls: tls.clone(), relay: Mutex::default() });
        let origins = options.origins.clone();
        let sockets = match tls {
            Some(tls) => Sockets::bind_with_tls(&listen, tls)?,
            None => Sockets::bind(&listen)?,
        };
        getrandom::fill(&mut config.rng_seed).map_err(BuildError::Random)?;
        config.locals = sockets.locals().clone();
        config.external_location = store.is_some();
        if let Some(store) = &store
            && let Some(shared) = store.open().await?
        {
            config.shared_location = true;
            config.dialog_key.get_or_insert(shared.key);
        }
        config.external_router = router.is_some();
        config.limits = config.limits.shared_out(shards);
        let timeout = config.limits.question_timeout;
        let push_timeout = config.push.as_ref().map_or(timeout, |push| push.wait);
        // A clock before 1970 gives nonces that no other clock takes, and does no other harm.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = tokio::time::Instant::now().into_std();
        let kept = match &events {
            Some(store) => store.load().await?,
            None => Vec::new(),
        };
        let (core, journal) = match file {
            None => (ServerCore::new(config.clone(), now, unix)?, None),
            Some(LocationFile { path, flush, disk }) => {
                config.external_location = true; // no other table
                if config.dialog_key.is_none() {
                    config.dialog_key = Some(kept_key(&path)?);
                }
                let mut table = MemoryLocation::new(config.limits.bindings, now, unix);
                let journal = Journal::open_on(disk, path, &mut table)?;
                let core = ServerCore::with_durable_location(config.clone(), now, unix, table)?;
                (core, Some((journal, flush)))
            }
        };
        let mut all = core.shared_out(&config, shards, now, unix)?;
        if let Some(home) = all.first_mut() {
            let kept_ones = kept.len();
            let of_use = home.restore_events(now, kept);
            if kept_ones > 0 {
                tracing::info!(of_use, all = kept_ones, "subscriptions and publications are back");
            }
        }
        let Some(cores) = Cores::of(Driver::spawn_shards(all, sockets, options)) else {
            return Err(ConfigError::NoListener.into()); // there is one core at least
        };
        let home = &cores.home;
        let keeper = match journal {
            Some((journal, flush)) => {
                Some(Keeper::start(home.clone(), journal, flush).map_err(BuildError::Thread)?)
            }
            None => None,
        };
        let mut carriers = Vec::new();
        for core in cores.all() {
            if let Some(store) = &store {
                carriers.push(tokio::spawn(answer_questions(core.clone(), store.clone(), timeout)));
            }
            if let Some(router) = &router {
                carriers.push(tokio::spawn(ask_router(core.clone(), router.clone(), timeout)));
            }
            if let Some(gateway) = &gateway {
                carriers.push(tokio::spawn(wake_phones(core.clone(), gateway.clone(), push_timeout)));
            }
        }
        let records = records.map(|file| tokio::spawn(write_records(cores.clone(), file)));
        if let Some(store) = &users
            && let Err(error) = store.ready().await
        {
            tracing::error!(%error, "until that changes, what its users send is answered 503");
        }
        if let Some(store) = users {
            let asks = cores.all().map(|core| tokio::spawn(ask_users(core.clone(), store.clone(), timeout)));
            carriers.extend(asks);
        }
        carriers.extend(messages.map(|store| tokio::spawn(keep_messages(home.clone(), store, timeout))));
        let events = events.map(|store| tokio::spawn(keep_events(home.clone(), store)));
        if let Some(relay) = relay {
            let authorities = running.tls.as_ref().and_then(Tls::authorities);
            let relay = relay.start(home.clone(), authorities, &origins).await?;
            *running.relay() = Some(relay);
        }
        Ok(Server { cores, carriers, records, events, keeper, running })
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
