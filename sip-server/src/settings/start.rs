//! A server of settings: what goes to the sockets, and what to the core.

use std::path::Path;
use std::time::Duration;

use sip_transport::hep::Agent;
use sip_transport::tokio::HepTap;
use sip_transport::tokio::tls::{ClientCertificates, CredentialsError, Identity, Roots, Tls, TlsOptions};
use sip_transport::websocket::Origins;

use super::{File, MessageSettings, Settings, TlsSettings};
use crate::config::SessionTimer;
use crate::location::Flush;
use crate::messages::MessageConfig;
use crate::protection::ProtectionConfig;
use crate::server::{BuildError, ServerBuilder};
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
    Ok(match roots {
        Some(roots) => options.roots(roots),
        None => options,
    })
}

#[cfg(feature = "sqlite")]
fn with_database(builder: ServerBuilder, path: &Path) -> Result<ServerBuilder, BuildError> {
    Ok(builder.user_store(crate::users::SqliteUsers::open(path)?))
}

#[cfg(not(feature = "sqlite"))]
fn with_database(_: ServerBuilder, path: &Path) -> Result<ServerBuilder, BuildError> {
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
            ("operation", self.operation != other.operation),
            ("users_database", old.users_database.as_deref() != new.users_database.as_deref()),
            ("events.file", old.events.file.as_deref() != new.events.file.as_deref()),
            ("messages", messages(old) != messages(new)),
            ("location", old.location.as_deref() != new.location.as_deref()),
            ("location_flush", old.location_flush != new.location_flush),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl Server {
    /// A server by settings, to be built.
    ///
    /// # Errors
    /// When certificates cannot be read, or no socket for the capture server can be had.
    pub fn from_settings(settings: &Settings) -> Result<ServerBuilder, BuildError> {
        let mut builder = Server::builder();
        for listen in &settings.listen {
            builder = builder.listen_at(listen.clone());
        }
        if let Some(options) = settings.tls()? {
            builder = builder.tls(Tls::new(options)?);
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
        if let Some(database) = &settings.file.users_database {
            builder = with_database(builder, &settings.folder.join(&**database))?;
        }
        if let Some(file) = &settings.file.messages.file {
            builder = builder.message_file(settings.folder.join(&**file))?;
        }
        if let Some(file) = &settings.file.events.file {
            builder = builder.event_file(settings.folder.join(&**file))?;
        }
        if let Some(location) = &settings.file.location {
            let flush = match settings.file.location_flush {
                0 => Flush::BeforeAnswer,
                time => Flush::Within(Duration::from_millis(time.into())),
            };
            builder = builder.location_file(settings.folder.join(&**location), flush);
        }
        Ok(builder.configure(|config| settings.configure(config)).settings(settings.clone()))
    }
}
