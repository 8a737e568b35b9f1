//! The start of a server: sockets, stores and cores come together.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sip_transport::tokio::tls::{CredentialsError, Tls};
use sip_transport::tokio::{BindError, Driver, ListenError, Sockets};

use super::builder::{LocationFile, ServerBuilder};
use super::cores::Cores;
use super::outside::{
    answer_questions, ask_router, ask_users, keep_events, keep_messages, wake_phones, write_records,
};
use super::{Running, Server};
use crate::events::EventStoreError;
use crate::keeper::Keeper;
use crate::location::{Journal, JournalError, LocationStoreError, MemoryLocation};
use crate::messages::MessageFileError;
use crate::{ConfigError, ServerCore};

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

impl ServerBuilder {
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
