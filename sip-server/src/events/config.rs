//! What the event server offers, to whom, and how much.

use std::collections::HashMap;

use sip_dialog::compositor;

use crate::AddressOfRecord;

/// How subscriptions and publications are served (RFC 6665, RFC 3903).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventConfig {
    /// Packages that the server answers for its users. SUBSCRIBE and PUBLISH for others go to the phones.
    pub packages: Vec<Package>,
    /// Seconds of a SUBSCRIBE without Expires.
    pub default_expires: u32,
    /// The fewest seconds that are granted; what asks for less is answered 423 (RFC 6665 §4.2.1.1).
    pub min_expires: u32,
    /// The most seconds that are granted.
    pub max_expires: u32,
    /// Whether who is registered and publishes nothing is shown as reachable (RFC 3856 §7 leaves to the agent what it
    /// makes presence of).
    pub from_registrations: bool,
    /// Whether who is in a call through the server and publishes nothing is shown as on the phone (RFC 4480 §3.2).
    pub from_calls: bool,
    /// Bounds on publications.
    pub publications: compositor::Limits,
    /// Bounds on subscriptions.
    pub limits: EventLimits,
    /// Who may watch whom.
    pub permissions: Permissions,
    /// Lists that can be subscribed to as one (RFC 4662): the URIs of their members. Those of other domains are not asked.
    pub lists: HashMap<AddressOfRecord, Vec<Box<str>>>,
}

impl EventConfig {
    /// All packages.
    #[must_use]
    pub fn new() -> Self {
        Self {
            packages: Package::ALL.to_vec(),
            default_expires: 3600,
            min_expires: 60,
            max_expires: 7200,
            from_registrations: true,
            from_calls: true,
            publications: compositor::Limits::default(),
            limits: EventLimits::default(),
            permissions: Permissions::default(),
            lists: HashMap::new(),
        }
    }

    /// Whether somebody can be told of calls.
    pub(crate) fn follows_calls(&self) -> bool {
        let has = |package| self.packages.contains(&package);
        has(Package::Dialogs) || (has(Package::Presence) && self.from_calls)
    }
}

impl Default for EventConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// An event package of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Package {
    /// Whether and where somebody can be reached (RFC 3856).
    Presence,
    /// Who watches them (RFC 3857), for themselves to see.
    PresenceWatchers,
    /// Messages that wait (RFC 3842), for themselves to see.
    MessageSummary,
    /// Where they are registered (RFC 3680), for themselves to see.
    Registrations,
    /// Their calls through the server (RFC 4235): lamps that show who talks, and pick-up.
    Dialogs,
}

impl Permission {
    /// The permission of this name: `allow`, `polite-block`, `confirm`, `block`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "allow" => Some(Self::Allow),
            "polite-block" => Some(Self::PoliteBlock),
            "confirm" => Some(Self::Confirm),
            "block" => Some(Self::Block),
            _ => None,
        }
    }
}

impl Package {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Presence, Self::PresenceWatchers, Self::MessageSummary, Self::Registrations, Self::Dialogs];

    /// Those that others may watch, where the user lets them.
    pub(crate) const WATCHED: [Self; 2] = [Self::Presence, Self::Dialogs];

    /// The name in Event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::PresenceWatchers => "presence.winfo",
            Self::MessageSummary => "message-summary",
            Self::Registrations => "reg",
            Self::Dialogs => "dialog",
        }
    }

    /// The package of this name, compared byte by byte (RFC 6665 §8.2.1).
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|package| package.name() == name)
    }

    /// The type of its documents.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Presence => "application/pidf+xml",
            Self::PresenceWatchers => "application/watcherinfo+xml",
            Self::MessageSummary => "application/simple-message-summary",
            Self::Registrations => "application/reginfo+xml",
            Self::Dialogs => "application/dialog-info+xml",
        }
    }

    /// Whether its state comes by PUBLISH.
    pub(crate) const fn is_published(self) -> bool {
        matches!(self, Self::Presence | Self::MessageSummary)
    }

    /// Whether it is nobody's business but the user's own.
    pub(crate) const fn is_private(self) -> bool {
        !matches!(self, Self::Presence | Self::Dialogs)
    }
}

/// Bounds on what subscribers can make the server hold and send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventLimits {
    /// Subscriptions at one time, some 900 octets each. Above, a new one is answered 503.
    pub subscriptions: usize,
    /// Subscriptions that come from one address: one phone gone mad must not take the places of all. Above, a new one is
    /// answered 480. Addresses of trusted peers are not counted.
    pub per_source: usize,
    /// Watchers of one resource and package: each makes a change cost a NOTIFY more. Above, a new one is answered 480.
    pub per_resource: usize,
    /// NOTIFYs without an answer at one time. What is due above that waits: one change that everybody watches must not take
    /// the memory of as many transactions at once.
    pub notifying: usize,
    /// Members of a list: each subscription to one costs as many documents at once.
    pub members: usize,
}

impl EventLimits {
    /// Two hundred thousand users with five watchers each.
    pub const SUBSCRIPTIONS: usize = 1_000_000;
    /// A phone with a panel of a hundred keys, some times over.
    pub const PER_SOURCE: usize = 1_000;
    /// Everybody in a large house watches its reception.
    pub const PER_RESOURCE: usize = 10_000;
    /// Each is a transaction of 1 to 2 KB.
    pub const NOTIFYING: usize = 10_000;
    /// A panel with all keys that there are.
    pub const MEMBERS: usize = 200;
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            subscriptions: Self::SUBSCRIPTIONS,
            per_source: Self::PER_SOURCE,
            per_resource: Self::PER_RESOURCE,
            notifying: Self::NOTIFYING,
            members: Self::MEMBERS,
        }
    }
}

/// What a watcher is shown (RFC 3856 §6.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// The state.
    Allow,
    /// A state that says nothing, as if the user was away (RFC 5025 §3.2.1).
    PoliteBlock,
    /// Nothing yet: the user is told, and decides.
    Confirm,
    /// 403.
    Block,
}

/// Who may watch whom. What is private to a user (who watches them, their messages, where they are registered) is shown to
/// nobody else whatever stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// For users of ours, where nothing else is said.
    pub users: Permission,
    /// For those who prove nothing. The Internet is not to know who is at home.
    pub strangers: Permission,
    of: HashMap<AddressOfRecord, UserPermissions>,
}

/// What one user decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct UserPermissions {
    default: Option<Permission>,
    watchers: HashMap<String, Permission>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { users: Permission::Allow, strangers: Permission::Block, of: HashMap::new() }
    }
}

impl Permissions {
    /// What everybody may see of `user` about whom nothing else is said. `None`: what holds for all.
    pub fn set_default(&mut self, user: &AddressOfRecord, permission: Option<Permission>) {
        self.of.entry(user.clone()).or_default().default = permission;
        self.tidy(user);
    }

    /// What `watcher`, as `user@domain`, may see of `user`. `None` takes back what was said.
    pub fn set(&mut self, user: &AddressOfRecord, watcher: &str, permission: Option<Permission>) {
        let watchers = &mut self.of.entry(user.clone()).or_default().watchers;
        match permission {
            Some(permission) => watchers.insert(watcher.to_owned(), permission),
            None => watchers.remove(watcher),
        };
        self.tidy(user);
    }

    fn tidy(&mut self, user: &AddressOfRecord) {
        if self.of.get(user).is_some_and(|of| of.default.is_none() && of.watchers.is_empty()) {
            self.of.remove(user);
        }
    }

    /// What `watcher` may see of `user`.
    #[must_use]
    pub fn of(&self, user: &AddressOfRecord, watcher: &Watcher<'_>) -> Permission {
        if let Watcher::Known(name) = watcher
            && *name == user.as_str()
        {
            return Permission::Allow; // themselves, on another phone
        }
        let own = self.of.get(user);
        match watcher {
            Watcher::Known(name) => {
                let said = own.and_then(|own| own.watchers.get(*name).copied().or(own.default));
                said.unwrap_or(self.users)
            }
            // A name that nobody proved opens nothing.
            Watcher::Stranger => self.strangers,
        }
    }
}

/// Who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher<'a> {
    /// Who this is, as `user@domain`, is proven, or nobody has to prove anything.
    Known(&'a str),
    /// Anybody.
    Stranger,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_one_holds_before_what_is_said_of_all() {
        let bob = AddressOfRecord::new(&"sip:bob@example.com".parse().unwrap(), "example.com").unwrap();
        let mut all = Permissions::default();
        let alice = Watcher::Known("alice@example.com");
        assert_eq!(all.of(&bob, &alice), Permission::Allow);
        assert_eq!(all.of(&bob, &Watcher::Stranger), Permission::Block);
        all.set_default(&bob, Some(Permission::Confirm));
        assert_eq!(all.of(&bob, &alice), Permission::Confirm);
        assert_eq!(all.of(&bob, &Watcher::Known("bob@example.com")), Permission::Allow);
        assert_eq!(all.of(&bob, &Watcher::Stranger), Permission::Block);
        all.set(&bob, "alice@example.com", Some(Permission::PoliteBlock));
        assert_eq!(all.of(&bob, &alice), Permission::PoliteBlock);
        all.set(&bob, "alice@example.com", None);
        all.set_default(&bob, None);
        assert_eq!(all, Permissions::default());
    }
}
