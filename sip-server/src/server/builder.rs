//! A server in the making.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sip_message::Uri;
use sip_transport::Locals;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{Listen, ListenError, Options, Resolve, Tap};
use sip_transport::websocket::Origins;

use super::MsrpRelay;
use super::build::BuildError;
use crate::events::{EventConfig, EventStore};
use crate::location::disk::{Disk, RealDisk};
use crate::location::{Flush, LocationStore};
use crate::messages::MessageStore;
use crate::operation::CallRecordFile;
use crate::protection::ProtectionConfig;
use crate::push::{PushConfig, PushGateway};
use crate::routing::Router;
use crate::settings::Settings;
use crate::users::UserStore;
use crate::{Config, Users, registrar};

/// A location file.
pub(super) struct LocationFile {
    pub(super) path: PathBuf,
    pub(super) flush: Flush,
    pub(super) disk: Box<dyn Disk>,
}

/// A server in the making.
#[must_use = "a builder does nothing until build()"]
pub struct ServerBuilder {
    pub(super) listen: Vec<Listen>,
    pub(super) config: Config,
    pub(super) options: Options,
    pub(super) store: Option<Arc<dyn LocationStore>>,
    pub(super) records: Option<CallRecordFile>,
    pub(super) users: Option<Arc<dyn UserStore>>,
    pub(super) messages: Option<Arc<dyn MessageStore>>,
    pub(super) events: Option<Arc<dyn EventStore>>,
    pub(super) router: Option<Arc<dyn Router>>,
    pub(super) gateway: Option<Arc<dyn PushGateway>>,
    pub(super) settings: Option<Settings>,
    pub(super) file: Option<LocationFile>,
    pub(super) tls: Option<Tls>,
    pub(super) relay: Option<MsrpRelay>,
    pub(super) shards: usize,
    pub(super) error: Option<ListenError>,
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
        Err(BuildError::Messages(crate::messages::MessageFileError {
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
        Err(BuildError::Events(crate::events::EventStoreError {
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
            Err(crate::location::LocationStoreError { place: format!("{scheme}://..."), why }.into())
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
}
