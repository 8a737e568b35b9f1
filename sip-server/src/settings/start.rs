//! A server of settings: what goes to the sockets, and what to the core.

use std::path::Path;
use std::time::Duration;

use sip_transport::hep::Agent;
use sip_transport::tokio::HepTap;
use sip_transport::tokio::tls::{
    ClientCertificates, CredentialsError, Identity, RevocationLists, Roots, Tls, TlsOptions,
};
use sip_transport::websocket::Origins;

use super::{File, MessageSettings, MsrpSettings, Settings, TlsSettings};
use crate::config::SessionTimer;
use crate::location::{Flush, LocationStoreError, is_redis_url};
use crate::messages::MessageConfig;
use crate::protection::ProtectionConfig;
use crate::server::{BuildError, MsrpIdentity, MsrpRelay, ServerBuilder};
use crate::{Config, Server, registrar};

/// The files of `[tls]`.
pub(super) fn tls_options(tls: &TlsSettings, folder: &Path) -> Result<TlsOptions, CredentialsError> {
    let mut options = TlsOptions::new().client_certificates(match tls.clients.as_str() {
        "ask" => ClientCertificates::Asked,
        "require" => ClientCertificates::Required,
        _ => ClientCertificates::Ignored,
    });
    if let Some(certificate) = &tls.certificate {
        let key = tls.key.as_ref().unwrap_or(certificate);
        options =
            options.identity(Identity::from_pem_files(folder.join(&**certificate), folder.join(&**key))?);
    }
    let mut roots: Option<Roots> = None;
    for file in &tls.authorities {
        let more = Roots::from_pem_file(folder.join(&**file))?;
        roots = Some(roots.unwrap_or_default().and(more));
    }
    let mut users: Option<Roots> = None;
    for file in &tls.user_authorities {
        let more = Roots::from_pem_file(folder.join(&**file))?;
        users = Some(users.unwrap_or_default().and(more));
    }
    if let Some(users) = users {
        options = options.user_roots(users);
    }
    let lists = tls.revocation_lists.iter().try_fold(RevocationLists::default(), |lists, file| {
        RevocationLists::from_file(folder.join(&**file)).map(|more| lists.and(more))
    })?;
    let options = options.revocation_lists(lists);
    Ok(match roots {
        Some(roots) => options.roots(roots),
        None => options,
    })
}

/// The users of `users_database`: a file of `SQLite`, or a `PostgreSQL` database by its URL.
fn with_database(builder: ServerBuilder, file: &File, folder: &Path) -> Result<ServerBuilder, BuildError> {
    let Some(database) = file.users_database.as_deref() else { return Ok(builder) };
    let query = file.users_query.as_deref().map(String::as_str);
    if is_postgres(database) {
        let authority = file.users_database_authority.as_ref().map(|path| folder.join(&**path));
        with_postgres(builder, database, query, authority.as_deref())
    } else {
        with_sqlite(builder, &folder.join(database), query)
    }
}

/// Bindings where `location` says: in a file, or in Redis.
fn with_location(builder: ServerBuilder, file: &File, folder: &Path) -> Result<ServerBuilder, BuildError> {
    let Some(location) = file.location.as_deref() else { return Ok(builder) };
    if location.as_str() == "memory" {
        return Ok(builder);
    }
    if is_redis_url(location) {
        let read = |path: &str| {
            let path = folder.join(path);
            std::fs::read(&path).map_err(|error| LocationStoreError {
                place: path.display().to_string(),
                why: error.to_string(),
            })
        };
        let authority = file.location_authority.as_ref().map(|path| read(path)).transpose()?;
        let prefix = file.location_prefix.as_ref().map(|prefix| prefix.as_str());
        return builder.location_redis(location, authority.as_deref(), prefix);
    }
    let flush = match *file.location_flush {
        0 => Flush::BeforeAnswer,
        time => Flush::Within(Duration::from_millis(time.into())),
    };
    Ok(builder.location_file(folder.join(location), flush))
}

/// Whether a database is named by an URL of `PostgreSQL`.
pub(super) fn is_postgres(database: &str) -> bool {
    database.starts_with("postgres://") || database.starts_with("postgresql://")
}

#[cfg(feature = "postgres")]
fn with_postgres(
    builder: ServerBuilder,
    url: &str,
    query: Option<&str>,
    authority: Option<&Path>,
) -> Result<ServerBuilder, BuildError> {
    use crate::users::{PostgresUsers, UserStoreError};
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| UserStoreError(format!("{}: {error}", path.display())))
    };
    let authority = authority.map(read).transpose()?;
    let users = PostgresUsers::new(url, authority.as_deref())?;
    Ok(builder.user_store(match query {
        Some(query) => users.query(query),
        None => users,
    }))
}

#[cfg(not(feature = "postgres"))]
fn with_postgres(
    _: ServerBuilder,
    _: &str,
    _: Option<&str>,
    _: Option<&Path>,
) -> Result<ServerBuilder, BuildError> {
    Err(crate::users::UserStoreError("this program was built without the feature postgres".into()).into())
}

#[cfg(feature = "sqlite")]
fn with_sqlite(
    builder: ServerBuilder,
    path: &Path,
    query: Option<&str>,
) -> Result<ServerBuilder, BuildError> {
    use crate::users::SqliteUsers;
    let users = match query {
        Some(query) => SqliteUsers::open_with_query(path, query)?,
        None => SqliteUsers::open(path)?,
    };
    Ok(builder.user_store(users))
}

#[cfg(not(feature = "sqlite"))]
fn with_sqlite(_: ServerBuilder, path: &Path, _: Option<&str>) -> Result<ServerBuilder, BuildError> {
    let why = format!("{}: this program was built without the feature sqlite", path.display());
    Err(crate::users::UserStoreError(why).into())
}

impl Settings {
    /// The certificates as their files are now; `None` without `[tls]`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn tls(&self) -> Result<Option<TlsOptions>, CredentialsError> {
        self.file.tls.as_ref().map(|tls| tls_options(tls, &self.folder)).transpose()
    }

    /// The relay of session messages, with the certificate as its files are now.
    pub(crate) fn msrp_identity(&self) -> Result<Option<MsrpIdentity>, BuildError> {
        let (Some(_), Some(tls)) = (self.msrp_relay, &self.file.tls) else { return Ok(None) };
        let Some(certificate) = &tls.certificate else { return Ok(None) };
        let key = tls.key.as_ref().unwrap_or(certificate);
        let (certificate, key) = (self.folder.join(&**certificate), self.folder.join(&**key));
        let identity = MsrpIdentity::from_pem_files(certificate, key);
        identity.map(Some).map_err(|error| BuildError::MsrpRelay(error.to_string()))
    }

    /// Sets everything that the core is told. Seed and listeners are left as they are.
    pub fn configure(&self, config: &mut Config) {
        let file = &self.file;
        config.domains = file.domains.iter().map(|domain| domain.to_string()).collect();
        config.realm = file.realm.as_ref().map(|realm| realm.to_string());
        config.users = self.users.clone();
        config.external_users = file.users_database.is_some();
        config.algorithms.clone_from(&self.algorithms);
        config.next_hop.clone_from(&self.next_hop);
        config.record_route = file.record_route;
        config.heed_overload = file.heed_overload;
        config.early_ends = file.routing.early_ends;
        config.session_timer = file
            .session_expires
            .as_ref()
            .map(|expires| SessionTimer { expires: **expires, min: *file.min_session_expires });
        config.recurse_redirects = file.routing.recurse_redirects;
        config.rules = self.rules.clone();
        config.service_route.clone_from(&self.service_route);
        config.trusted_peers.clone_from(&self.trusted_peers);
        config.events.clone_from(&self.events);
        config.keep_events = file.events.file.is_some();
        config.messages = file.messages.file.as_ref().map(|_| {
            let mut messages = MessageConfig::new();
            messages.per_user = file.messages.per_user;
            messages.users = file.messages.users;
            messages.age = Duration::from_secs(u64::from(file.messages.days).saturating_mul(86_400));
            messages
        });
        let watch = &file.protection;
        config.protection =
            (watch.on && (self.users.is_some() || file.users_database.is_some())).then(|| {
                let mut protection = ProtectionConfig::default();
                protection.trusted.extend(&self.trusted);
                protection.wrong_passwords = watch.wrong_passwords;
                protection.probes = watch.probes;
                protection.requests_per_second = watch.requests_per_second;
                protection.scanners = watch.scanners.iter().map(|name| name.to_string()).collect();
                protection.ban = Duration::from_secs(watch.ban.into());
                protection.longest_ban = Duration::from_secs(watch.longest_ban.into());
                protection
            });
        config.registrar = registrar::Config {
            // What the file does not say gives way to what it says.
            default_expires: (*file.registrar.default_expires)
                .min(*file.registrar.max_expires)
                .max(*file.registrar.min_expires),
            min_expires: *file.registrar.min_expires,
            max_expires: *file.registrar.max_expires,
            max_bindings: file.registrar.max_bindings,
            ..registrar::Config::default()
        };
        config.limits.contexts = *file.limits.contexts;
        config.limits.branches = *file.limits.branches;
        config.limits.bindings = *file.limits.bindings;
        config.limits.questions = *file.limits.questions;
        config.limits.question_timeout = Duration::from_secs(u64::from(*file.limits.question_timeout));
    }

    /// What a driver's sockets were made of and cannot be changed: names of those that differ.
    pub(crate) fn other_sockets(&self, other: &Self) -> Vec<&'static str> {
        let text = |all: &[super::At<String>]| all.iter().map(|one| one.to_string()).collect::<Vec<_>>();
        let origins = |settings: &Self| settings.file.websocket_origins.as_deref().map(text);
        let hep = |settings: &Self| {
            let key = settings.file.hep.as_ref().map(|hep| (hep.id, hep.key.clone()));
            (settings.hep, key)
        };
        let msrp = |settings: &Self| {
            let MsrpSettings { host, expires, connections, connections_per_source, .. } = &settings.file.msrp;
            let host = host.as_ref().map(|host| host.to_string());
            let at = (settings.msrp_relay, settings.msrp_websockets);
            (at, host, **expires, *connections, *connections_per_source)
        };
        let messages = |file: &File| {
            let MessageSettings { file, per_user, days, .. } = &file.messages;
            (file.as_ref().map(|file| file.to_string()), *per_user, *days)
        };
        let (old, new) = (&self.file, &other.file);
        let told = |file: &File| {
            let all = file.advertise.iter().map(|(one, told)| (one.to_string(), told.to_string()));
            all.collect::<Vec<_>>()
        };
        [
            ("listen", text(&old.listen) != text(&new.listen)),
            ("advertise", told(old) != told(new)),
            ("proxy_protocol_from", text(&old.proxy_protocol_from) != text(&new.proxy_protocol_from)),
            ("websocket_origins", origins(self) != origins(other)),
            ("tls", old.tls.is_some() != new.tls.is_some()),
            ("hep", hep(self) != hep(other)),
            ("msrp", msrp(self) != msrp(other)),
            ("operation", self.operation != other.operation),
            ("users_database", old.users_database.as_deref() != new.users_database.as_deref()),
            ("users_query", old.users_query.as_deref() != new.users_query.as_deref()),
            (
                "users_database_authority",
                old.users_database_authority.as_deref() != new.users_database_authority.as_deref(),
            ),
            ("events.file", old.events.file.as_deref() != new.events.file.as_deref()),
            ("messages", messages(old) != messages(new)),
            ("location", old.location.as_deref() != new.location.as_deref()),
            ("threads", old.threads.as_deref() != new.threads.as_deref()),
            ("location_flush", *old.location_flush != *new.location_flush),
            ("location_prefix", old.location_prefix.as_deref() != new.location_prefix.as_deref()),
            ("location_authority", old.location_authority.as_deref() != new.location_authority.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl Server {
    /// A server by settings, to be built. It runs on the threads of the caller's runtime, whatever number of them the settings name.
    ///
    /// # Errors
    /// When certificates cannot be read, or no socket for the capture server can be had.
    pub fn from_settings(settings: &Settings) -> Result<ServerBuilder, BuildError> {
        let threads = settings.file.threads.as_deref().copied().unwrap_or(1);
        let mut builder = Server::builder().shards(usize::try_from(threads).unwrap_or(1));
        for listen in &settings.listen {
            builder = builder.listen_at(listen.clone());
        }
        if let Some(options) = settings.tls()? {
            builder = builder.tls(Tls::new(options)?);
        }
        if let (Some(listen), Some(identity)) = (settings.msrp_relay, settings.msrp_identity()?) {
            let msrp = &settings.file.msrp;
            let relay = MsrpRelay::new(listen, identity)
                .expires(*msrp.expires)
                .limits(msrp.connections, msrp.connections_per_source);
            let relay = match settings.msrp_websockets {
                Some(listen) => relay.websockets(listen),
                None => relay,
            };
            builder = builder.msrp_relay(match &msrp.host {
                Some(host) => relay.host(host),
                None => relay,
            });
        }
        if let (Some(collector), Some(hep)) = (settings.hep, &settings.file.hep) {
            builder = builder.tap(HepTap::new(
                collector,
                Agent { id: hep.id, key: hep.key.as_ref().map(|key| key.as_str().to_owned()) },
            )?);
        }
        if let Some(origins) = &settings.file.websocket_origins {
            builder = builder.origins(Origins::Only(origins.iter().map(|one| one.to_string()).collect()));
        }
        builder = with_database(builder, &settings.file, &settings.folder)?;
        if let Some(file) = &settings.file.messages.file {
            builder = builder.message_file(settings.folder.join(&**file))?;
        }
        if let Some(file) = &settings.file.events.file {
            builder = builder.event_file(settings.folder.join(&**file))?;
        }
        builder = with_location(builder, &settings.file, &settings.folder)?;
        Ok(builder.configure(|config| settings.configure(config)).settings(settings.clone()))
    }
}
