//! What can be said of settings only when all of them are read.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sip_auth::{Algorithm, Hash, HexDigest, Secret};
use sip_message::Uri;
use sip_transport::Transport;
use sip_transport::proxy_protocol::Network;
use sip_transport::tokio::Listen;

use super::events;
use super::fault::{Faults, did_you_mean};
use super::file::{File, UserSettings};
use super::routes;
use super::value::{At, Private};
use super::{Operation, Settings};
use crate::Users;
use crate::routing::Rules;

/// `open`: files that the settings name are looked at.
pub(super) fn check(file: File, folder: &Path, open: bool, faults: &mut Faults) -> Settings {
    let listen = listeners(&file, faults);
    for domain in file.domains.iter().filter(|domain| Uri::sip(None, domain, None).is_err()) {
        faults.add(domain.offset, format!("\"{}\" is no host name or address", **domain));
    }
    let users = users(&file, folder, open, faults);
    let next_hop = file.next_hop.as_ref().and_then(|text| sip_uri(text, faults));
    let mut algorithms: Vec<Algorithm> = Vec::new();
    for name in &file.digest {
        match name.parse() {
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) => {
                let hint = did_you_mean(name, Algorithm::ALL.iter().map(|known| known.as_str()));
                faults.add(name.offset, format!("\"{}\" is no digest algorithm that is known{hint}", **name));
            }
        }
    }
    if file.digest.is_empty() {
        faults.add(0, "digest is empty: name at least one algorithm, or leave it out");
    }
    if file.domains.is_empty() && next_hop.is_none() && file.route.is_empty() {
        faults.add(0, "there is nobody to serve: name the domains whose users register here, domains = [\"example.com\"]");
    }
    location(&file, faults);
    if let Some(empty) = file.messages.file.as_ref().filter(|path| path.is_empty()) {
        faults.add(empty.offset, "messages.file is empty: name a file, or leave it out to keep no messages");
    }
    if let Some(empty) = file.events.file.as_ref().filter(|path| path.is_empty()) {
        faults.add(
            empty.offset,
            "events.file is empty: name a file, or leave it out to keep subscriptions in memory",
        );
    }
    tls(&file, folder, open, faults);
    users_database(&file, faults);
    let hep = file.hep.as_ref().and_then(|hep| match hep.collector.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let at = if hep.collector.is_empty() { hep.at } else { hep.collector.offset };
            faults.add(
                at,
                "hep.collector: expected the capture server's ADDRESS:PORT, such as \"192.0.2.5:9060\"",
            );
            None
        }
    });
    numbers(&file, faults);
    let service_route = service_route(&file, faults);
    let trusted = networks(&file.protection.trusted, faults);
    let trusted_peers = networks(&file.trusted_peers, faults);
    let operation = operation(&file, folder, faults);
    let events = events::compile(&file, faults);
    let msrp_relay = msrp_relay(&file, faults);
    let msrp_websockets = msrp_websockets(&file, faults);
    // Names that may be in a database are let pass.
    let all_known = open && file.users_database.is_none();
    let set = routes::compile(&file, users.as_ref(), all_known, faults);
    Settings {
        folder: folder.to_owned(),
        listen,
        users,
        rules: Rules::new(set),
        next_hop,
        algorithms,
        hep,
        service_route,
        trusted,
        trusted_peers,
        operation,
        events,
        msrp_relay,
        msrp_websockets,
        file,
    }
}

fn location(file: &File, faults: &mut Faults) {
    let location = file.location.as_ref();
    if let Some(empty) = location.filter(|location| location.is_empty()) {
        faults.add(empty.offset, "location is empty: name a file, or \"memory\"");
    }
    let shared = location.filter(|location| crate::location::is_redis_url(location));
    for (name, value) in
        [("location_prefix", &file.location_prefix), ("location_authority", &file.location_authority)]
    {
        if let (Some(value), None) = (value, shared) {
            faults.add(
                value.offset,
                format!("{name} is about a location in Redis: write location = \"redis://HOST\""),
            );
        }
    }
    let Some(shared) = shared else { return };
    if file.location_flush.offset > 0 {
        faults.add(
            file.location_flush.offset,
            "location_flush is for a file: when its disk has a binding, Redis is told itself (appendfsync)",
        );
    }
    #[cfg(feature = "redis")]
    if let Err(error) = crate::location::RedisLocation::new(shared, None) {
        faults.add(shared.offset, format!("location: {}", error.why));
    }
    #[cfg(not(feature = "redis"))]
    faults.add(shared.offset, "location: this program was built without the feature redis");
    let secure = shared.starts_with("rediss://") || shared.starts_with("valkeys://");
    if let (Some(authority), false) = (&file.location_authority, secure) {
        faults.add(authority.offset, "location_authority is for TLS: write location = \"rediss://HOST\"");
    }
}

fn users_database(file: &File, faults: &mut Faults) {
    let database = file.users_database.as_ref();
    for (name, value) in
        [("users_query", &file.users_query), ("users_database_authority", &file.users_database_authority)]
    {
        if let (Some(value), None) = (value, database) {
            faults.add(value.offset, format!("{name} is about the users_database, which is not given"));
        }
    }
    let Some(database) = database else { return };
    if super::start::is_postgres(database) {
        #[cfg(feature = "postgres")]
        if let Err(error) = crate::users::PostgresUsers::new(database, None) {
            faults.add(database.offset, format!("users_database: {error}"));
        }
    } else if let Some(authority) = &file.users_database_authority {
        faults.add(
            authority.offset,
            "users_database_authority is for a PostgreSQL database, and this is a file",
        );
    }
}

fn msrp_websockets(file: &File, faults: &mut Faults) -> Option<std::net::SocketAddr> {
    let text = file.msrp.websockets.as_ref()?;
    if file.msrp.relay.is_none() {
        faults.add(
            text.offset,
            "msrp.websockets is another way to the relay: say where that listens, relay = \"0.0.0.0:2855\"",
        );
    }
    let address = text.parse().ok();
    if address.is_none() {
        faults.add(text.offset, "msrp.websockets: expected an ADDRESS:PORT, such as \"0.0.0.0:8443\"");
    }
    address
}

fn msrp_relay(file: &File, faults: &mut Faults) -> Option<std::net::SocketAddr> {
    let text = file.msrp.relay.as_ref()?;
    let mut wrong = |message: &str| faults.add(text.offset, message);
    if file.tls.as_ref().is_none_or(|tls| tls.certificate.is_none()) {
        wrong(
            "msrp.relay needs a certificate, since it speaks TLS alone: add [tls] with certificate = \"FILE\"",
        );
    }
    if !file.authentication {
        wrong("msrp.relay serves users who prove who they are alone, and authentication = false");
    }
    if file.users_database.is_some() && file.users_file.is_none() && file.user.is_empty() {
        wrong("msrp.relay knows the users of [[user]] and users_file, not those of users_database");
    }
    let address = text.parse().ok();
    if address.is_none() {
        wrong("msrp.relay: expected an ADDRESS:PORT, such as \"0.0.0.0:2855\"");
    }
    if let Some(host) = &file.msrp.host
        && msrp::Uri::new(true, host, 2855, "x").is_err()
    {
        faults.add(host.offset, format!("\"{}\" is no host name or address", **host));
    }
    address
}

/// RFC 3608 §6.3: "such route elements MUST include the loose-routing indicator parameter".
fn service_route(file: &File, faults: &mut Faults) -> Vec<Uri> {
    let mut all = Vec::new();
    for text in &file.registrar.service_route {
        match sip_uri(text, faults) {
            Some(uri) if !uri.has_lr() => {
                faults.add(text.offset, format!("a route needs ;lr: write it like \"{};lr\"", **text));
            }
            uri => all.extend(uri),
        }
    }
    all
}

fn operation(file: &File, folder: &Path, faults: &mut Faults) -> Operation {
    let http = file.operation.http.as_ref().and_then(|text| match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            faults.add(text.offset, "http: expected an ADDRESS:PORT, such as \"127.0.0.1:9090\"");
            None
        }
    });
    let records = file.operation.call_records.as_ref();
    if let Some(empty) = records.filter(|path| path.is_empty()) {
        faults.add(empty.offset, "call_records is empty: name a file, or leave it out");
    }
    Operation {
        call_records: records.map(|path| folder.join(&**path)),
        http,
        drain: Duration::from_secs(file.operation.drain.into()),
    }
}

fn listeners(file: &File, faults: &mut Faults) -> Vec<Listen> {
    let networks: Vec<Network> = networks(&file.proxy_protocol_from, faults);
    let is_there = |name: &At<String>| file.listen.iter().any(|one| **one == **name);
    for listener in file.advertise.keys().filter(|name| !is_there(name)) {
        let hint = did_you_mean(listener, file.listen.iter().map(|one| one.as_str()));
        faults.add(listener.offset, format!("there is no listener \"{}\"{hint}", **listener));
    }
    let mut all = Vec::new();
    for text in &file.listen {
        match text.parse::<Listen>() {
            Ok(listen) => {
                let secure = matches!(listen.transport, Transport::Tls | Transport::Wss);
                if secure && file.tls.as_ref().is_none_or(|tls| tls.certificate.is_none()) {
                    let message =
                        format!("{} needs a certificate: add [tls] with certificate = \"FILE\"", **text);
                    faults.add(text.offset, message);
                }
                let told = file.advertise.iter().find(|(name, _)| ***name == **text).map(|(_, told)| told);
                let listen = match told.map(|told| (told, outer_address(told))) {
                    Some((_, Some((host, port)))) => listen.advertise(host, port),
                    Some((told, None)) => {
                        let message = format!(
                            "\"{}\" is no host: write it like 203.0.113.7 or sip.example.com:5060",
                            **told
                        );
                        faults.add(told.offset, message);
                        listen
                    }
                    None => listen,
                };
                all.push(networks.iter().fold(listen, |listen, network| listen.proxy(*network)));
            }
            Err(error) => faults.add(text.offset, error.to_string()),
        }
    }
    if file.listen.is_empty() {
        faults.add(
            0,
            "listen is empty: name at least one listener, such as \"udp:192.0.2.1:5060\", or leave it out",
        );
    }
    all
}

/// A host, with a port or without.
fn outer_address(text: &str) -> Option<(String, Option<u16>)> {
    let uri: Uri = format!("sip:{text}").parse().ok()?;
    let bare = uri.user().is_none() && uri.params().next().is_none() && uri.headers().next().is_none();
    let ip = sip_transport::locals::parse_ip(uri.host());
    (bare && ip.is_none_or(|ip| !ip.is_unspecified())).then(|| (uri.host().to_owned(), uri.port()))
}

pub(super) fn networks(texts: &[At<String>], faults: &mut Faults) -> Vec<Network> {
    let read = |text: &At<String>| match text.parse() {
        Ok(network) => Some(network),
        Err(error) => {
            let error: sip_transport::proxy_protocol::NetworkError = error;
            faults.add(text.offset, error.to_string());
            None
        }
    };
    texts.iter().filter_map(read).collect()
}

/// A sip or sips URI.
pub(super) fn sip_uri(text: &At<String>, faults: &mut Faults) -> Option<Uri> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.is_sip() || uri.is_sips() => Some(uri),
        Ok(_) => {
            faults.add(text.offset, format!("\"{}\" is no sip or sips URI", **text));
            None
        }
        Err(error) => {
            faults.add(
                text.offset,
                format!("\"{}\" is no URI: {error}; write it like \"sip:192.0.2.9:5060\"", **text),
            );
            None
        }
    }
}

// ---- users ---------------------------------------------------------------------------------------------------

fn users(file: &File, folder: &Path, open: bool, faults: &mut Faults) -> Option<Users> {
    let mut users = Users::new();
    if let Some(path) = file.users_file.as_ref().filter(|_| open) {
        match Users::read(folder.join(&**path)) {
            Ok(read) => users = read,
            Err(error) => faults.add(path.offset, error.to_string()),
        }
    }
    let certified = file.tls.as_ref().is_some_and(|tls| !tls.user_authorities.is_empty());
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for user in &file.user {
        let name = user.name.as_str();
        if name.is_empty() {
            faults.add(user.at, "a user without a name: add name = \"alice\"");
            continue;
        }
        if name.contains(|c: char| c.is_whitespace() || c == ':') {
            faults.add(user.name.offset, "a user's name holds neither white space nor a colon");
        }
        if !names.insert(name) || users.contains(name) {
            faults.add(
                user.name.offset,
                format!("the user \"{name}\" is there already; take one of the two out"),
            );
        }
        match secret(user, file.authentication && !certified, faults) {
            Some(secret) => users = users.with(name, secret),
            None if certified => users = users.with_certificate(name),
            None => {}
        }
    }
    if !file.authentication {
        return None;
    }
    let expected = file.users_file.is_some() || file.users_database.is_some() || !file.user.is_empty();
    if !expected {
        faults.add(
            0,
            "there are no users: add [[user]] or users_file = \"FILE\", or write authentication = false if nobody shall \
             be asked who they are",
        );
    }
    Some(users)
}

fn secret(user: &UserSettings, needed: bool, faults: &mut Faults) -> Option<Secret> {
    let hashed = |hash: Hash, text: &At<Private>, faults: &mut Faults| {
        let digest = HexDigest::parse(hash, text);
        if digest.is_none() {
            faults.add(text.offset, format!("expected {} hexadecimal digits", hash.digits()));
        }
        digest.map(|digest| Secret::ha1(hash, digest))
    };
    match (&user.password, &user.ha1, &user.ha1_sha256) {
        (Some(password), None, None) => {
            if password.is_empty() {
                faults.add(password.offset, "the password is empty: everybody could be that user");
            }
            Some(Secret::password(password.as_str()))
        }
        (None, Some(text), None) => hashed(Hash::Md5, text, faults),
        (None, None, Some(text)) => hashed(Hash::Sha256, text, faults),
        (None, Some(md5), Some(sha)) => {
            let first = hashed(Hash::Md5, md5, faults)?;
            match HexDigest::parse(Hash::Sha256, sha) {
                Some(digest) => Some(first.and_ha1(Hash::Sha256, digest)),
                None => {
                    faults.add(sha.offset, format!("expected {} hexadecimal digits", Hash::Sha256.digits()));
                    None
                }
            }
        }
        (None, None, None) => {
            // The users' file may have it, or nobody is asked.
            if needed {
                let name = user.name.as_str();
                faults.add(
                    user.at,
                    format!("the user \"{name}\" has no password: add password, ha1 or ha1_sha256"),
                );
            }
            None
        }
        (Some(password), _, _) => {
            faults.add(password.offset, "both a password and a hash of one: take one of them out");
            None
        }
    }
}

// ---- files and numbers -----------------------------------------------------------------------------------------

fn tls(file: &File, folder: &Path, open: bool, faults: &mut Faults) {
    let Some(tls) = &file.tls else { return };
    if !["ignore", "ask", "require"].contains(&tls.clients.as_str()) {
        let hint = did_you_mean(&tls.clients, ["ignore", "ask", "require"]);
        faults.add(tls.clients.offset, format!("expected \"ignore\", \"ask\" or \"require\"{hint}"));
    }
    if let Some(first) = tls.user_authorities.first().filter(|_| *tls.clients == "ignore") {
        faults.add(
            first.offset,
            "user_authorities: nobody is asked for a certificate; write clients = \"ask\" or \"require\"",
        );
    }
    if let (Some(key), None) = (&tls.key, &tls.certificate) {
        faults.add(key.offset, "a key without a certificate: add certificate = \"FILE\"");
    }
    if open && let Err(error) = super::start::tls_options(tls, folder) {
        faults.add(tls.at, error.to_string());
    }
}

fn numbers(file: &File, faults: &mut Faults) {
    let registrar = &file.registrar;
    let mut within = |value: &At<u32>, name: &str, from: u32, to: u32| {
        if !(from..=to).contains(&**value) {
            faults.add(value.offset, format!("{name}: expected {from} to {to}"));
        }
    };
    within(&registrar.min_expires, "min_expires", 1, 3600);
    let (least, most) = (*registrar.min_expires, *registrar.max_expires);
    within(&registrar.max_expires, "max_expires", least, u32::MAX);
    if registrar.default_expires.offset > 0 && least <= most {
        within(&registrar.default_expires, "default_expires", least, most);
    }
    if let Some(threads) = &file.threads {
        within(threads, "threads", 1, u32::try_from(sip_transaction::MAX_SHARDS).unwrap_or(u32::MAX));
    }
    if let Some(expires) = &file.session_expires {
        within(&file.min_session_expires, "min_session_expires", 90, 86_400);
        within(expires, "session_expires", (*file.min_session_expires).clamp(90, 86_400), 86_400);
    }
    within(&file.limits.question_timeout, "question_timeout", 1, 30);
    within(&file.msrp.expires, "expires", 60, 86_400);
    for group in &file.hunt_group {
        within(&group.ring, "ring", 1, 180);
    }
    for user in &file.user {
        within(&user.forward.after, "after", 1, 180);
    }
    let limits = &file.limits;
    for (value, name) in [
        (&limits.contexts, "contexts"),
        (&limits.branches, "branches"),
        (&limits.bindings, "bindings"),
        (&limits.questions, "questions"),
    ] {
        if **value == 0 {
            faults.add(
                value.offset,
                format!("{name}: 0 would let nothing through; leave it out for the default"),
            );
        }
    }
}
