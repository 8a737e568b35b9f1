//! `[events]` and `[user.watchers]`: who may see what.

use super::fault::Faults;
use super::file::{EventListSettings, File, UserSettings, WatcherSettings};
use super::value::At;
use crate::AddressOfRecord;
use crate::events::{EventConfig, Package, Permission, Permissions};

/// What the event server is told; `None` without one.
pub(super) fn compile(file: &File, faults: &mut Faults) -> Option<EventConfig> {
    let said = &file.events;
    let mut config = EventConfig::new();
    config.packages = said.packages.iter().filter_map(|name| package(name, faults)).collect();
    let least = *said.min_expires;
    if least > *said.max_expires {
        faults.add(said.min_expires.offset, "min_expires is more than max_expires");
    }
    config.min_expires = least;
    config.max_expires = *said.max_expires;
    // What the file does not say gives way to what it says.
    config.default_expires = (*said.default_expires).min(*said.max_expires).max(least);
    config.publications.min_expires = config.min_expires;
    config.publications.max_expires = config.max_expires;
    config.publications.default_expires = config.default_expires;
    config.from_registrations = said.from_registrations;
    config.from_calls = said.from_calls;
    config.limits.subscriptions = said.subscriptions;
    config.limits.per_source = said.per_source;
    config.limits.per_resource = said.per_user;
    config.permissions.users = permission(&said.users, faults).unwrap_or(Permission::Block);
    config.permissions.strangers = permission(&said.strangers, faults).unwrap_or(Permission::Block);
    for user in &file.user {
        for address in addresses(file, &user.name) {
            watchers(file, &address, &user.watchers, &mut config.permissions);
        }
        if let Some(others) = &user.watchers.others {
            permission(others, faults);
        }
        twice(user, faults);
    }
    for list in &said.list {
        self::list(file, list, &mut config, faults);
    }
    // Without a domain there are no users.
    (said.on && !file.domains.is_empty() && !config.packages.is_empty()).then_some(config)
}

fn package(name: &At<String>, faults: &mut Faults) -> Option<Package> {
    let package = Package::of(name);
    if package.is_none() {
        let known: Vec<&str> = Package::ALL.iter().map(|package| package.name()).collect();
        faults.add(
            name.offset,
            format!("the server has no package \"{}\"; it has {}", **name, known.join(", ")),
        );
    }
    package
}

fn permission(name: &At<String>, faults: &mut Faults) -> Option<Permission> {
    let permission = Permission::of(name);
    if permission.is_none() {
        faults.add(
            name.offset,
            format!("expected \"allow\", \"confirm\", \"polite-block\" or \"block\", found \"{}\"", **name),
        );
    }
    permission
}

/// A list is a name beside those of users, in all domains or in the one that it names.
fn list(file: &File, said: &EventListSettings, config: &mut EventConfig, faults: &mut Faults) {
    let offset = said.name.offset;
    if said.name.is_empty() {
        return faults.add(said.at, "a list has a name, by which it is subscribed to");
    }
    if file.user.iter().any(|user| *user.name == *said.name) {
        faults.add(offset, format!("\"{}\" is a user: a list needs a name of its own", *said.name));
    }
    if said.members.is_empty() || said.members.len() > config.limits.members {
        let most = config.limits.members;
        faults.add(offset, format!("the list \"{}\" needs from 1 to {most} members", *said.name));
    }
    let names = addresses(file, &said.name);
    if names.is_empty() {
        faults.add(offset, format!("\"{}\" is no name that can be subscribed to", *said.name));
    }
    for aor in names {
        let member = |name: &At<String>| match name.contains('@') {
            true => format!("sip:{}", **name).into(),
            false => format!("sip:{}@{}", **name, aor.domain()).into(),
        };
        let members = said.members.iter().map(member).collect();
        if config.lists.insert(aor, members).is_some() {
            faults.add(offset, format!("there are two lists \"{}\"", *said.name));
        }
    }
}

/// The addresses of a user: in all domains, or in the one that is named.
fn addresses(file: &File, name: &str) -> Vec<AddressOfRecord> {
    let address = |user: &str, domain: &str| {
        let uri = sip_message::Uri::sip(Some(user), domain, None).ok()?;
        AddressOfRecord::new(&uri, domain)
    };
    match name.rsplit_once('@') {
        Some((user, domain)) => address(user, domain).into_iter().collect(),
        None => file.domains.iter().filter_map(|domain| address(name, domain)).collect(),
    }
}

fn watchers(file: &File, user: &AddressOfRecord, said: &WatcherSettings, permissions: &mut Permissions) {
    let lists = [
        (&said.allow, Permission::Allow),
        (&said.confirm, Permission::Confirm),
        (&said.polite_block, Permission::PoliteBlock),
        (&said.block, Permission::Block),
    ];
    for (names, permission) in lists {
        for watcher in names.iter().flat_map(|name| addresses(file, name)) {
            permissions.set(user, watcher.as_str(), Some(permission));
        }
    }
    if let Some(others) = said.others.as_ref().and_then(|name| Permission::of(name)) {
        permissions.set_default(user, Some(others));
    }
}

/// A watcher in two lists is a mistake, and not to be decided by their order.
fn twice(user: &UserSettings, faults: &mut Faults) {
    let said = &user.watchers;
    let mut seen: Vec<&str> = Vec::new();
    for name in [&said.allow, &said.confirm, &said.polite_block, &said.block].into_iter().flatten() {
        if seen.contains(&name.as_str()) {
            faults.add(
                name.offset,
                format!("\"{}\" is named twice among the watchers of \"{}\"", **name, *user.name),
            );
        }
        seen.push(name);
    }
}
