//! `[events]` and `[user.watchers]`: who may see what.

use super::fault::Faults;
use super::file::{File, UserSettings, WatcherSettings};
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
