//! Watches sources.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip_message::{HeaderName, Message, Method};
use sip_transport::Received;

use super::ProtectionConfig;
use super::source::{Source, SourceKey, Window};
use crate::config::count;

/// Wrong passwords and probes are counted by the minute.
const MINUTE: u32 = 60;

/// A source is a user's for so long after he has proven himself; registrations are refreshed at least as often.
const GOOD_FOR: u32 = 7200;

/// A source that was not heard of for so long, and is not banned, is forgotten when there is no room.
const FORGOTTEN_AFTER: u32 = 120;

/// What the watch has done, in numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtectionCounters {
    /// Sources shut out because of wrong passwords.
    pub bans_passwords: u64,
    /// Sources shut out because they looked for users or ways out.
    pub bans_probes: u64,
    /// Sources shut out because they call themselves a scanner.
    pub bans_scanners: u64,
    /// Messages dropped because their source is shut out.
    pub dropped_banned: u64,
    /// Messages dropped because their source sent too many.
    pub dropped_rate: u64,
    /// Requests refused because the user name was guessed from a source with other users.
    pub refused_names: u64,
}

/// Watches sources: it is told what they do, and says who is not to be heard.
#[derive(Debug)]
pub(crate) struct Guard {
    config: ProtectionConfig,
    sources: HashMap<SourceKey, Source>,
    /// Wrong passwords for one user name from one source.
    names: HashMap<(SourceKey, Box<str>), Window>,
    counters: ProtectionCounters,
    started: Instant,
    /// The last time that room was made.
    swept: u32,
}

impl Guard {
    pub(crate) fn new(config: ProtectionConfig, now: Instant) -> Self {
        Self {
            config,
            sources: HashMap::new(),
            names: HashMap::new(),
            counters: ProtectionCounters::default(),
            started: now,
            swept: 0,
        }
    }

    pub(crate) fn counters(&self) -> ProtectionCounters {
        self.counters
    }

    /// The same watch by other rules; what it remembers stays.
    pub(crate) fn reconfigure(&mut self, config: ProtectionConfig) {
        self.config = config;
    }

    /// Sources that are shut out, and for how long still.
    pub(crate) fn banned(&self, now: Instant) -> Vec<(IpAddr, Duration)> {
        let second = self.second(now);
        let banned = self.sources.iter().filter(|(_, source)| source.banned_until > second);
        let left = |source: &Source| Duration::from_secs(source.banned_until.saturating_sub(second).into());
        banned.map(|(key, source)| (key.ip(), left(source))).collect()
    }

    /// Hears a source again. `false` if it was not shut out.
    pub(crate) fn pardon(&mut self, now: Instant, ip: IpAddr) -> bool {
        let second = self.second(now);
        let source = self.sources.get_mut(&ip.into()).filter(|source| source.banned_until > second);
        source.map(|source| *source = Source::default()).is_some()
    }

    /// Whether a message is to be heard. What ends calls always is, and responses are known by their branch.
    pub(crate) fn admits(&mut self, now: Instant, received: &Received) -> bool {
        let Message::Request(request) = &received.message else { return true };
        let ip = received.path.remote.ip();
        if matches!(request.method(), Method::Ack | Method::Bye | Method::Cancel) || self.trusts(ip) {
            return true;
        }
        let (second, limit) = (self.second(now), self.config.requests_per_second);
        let Some(source) = self.source(second, ip) else { return true };
        if source.banned_until > second {
            count(&mut self.counters.dropped_banned);
            return false;
        }
        let flood = source.requests.add(second, 1) > limit && !is_good(source, second);
        if flood {
            count(&mut self.counters.dropped_rate);
            return false;
        }
        let agent = request.headers.text(HeaderName::USER_AGENT).unwrap_or_default();
        let begins = |name: &String| {
            !name.is_empty() && agent.get(..name.len()).is_some_and(|a| a.eq_ignore_ascii_case(name))
        };
        if self.config.scanners.iter().any(begins) {
            count(&mut self.counters.bans_scanners);
            self.ban(second, ip, "scanner");
            return false;
        }
        true
    }

    /// Whether a source is shut out.
    pub(crate) fn is_banned(&self, now: Instant, ip: IpAddr) -> bool {
        let second = self.second(now);
        !self.trusts(ip) && self.sources.get(&ip.into()).is_some_and(|source| source.banned_until > second)
    }

    /// A user of ours has proven himself there.
    pub(crate) fn good(&mut self, now: Instant, ip: IpAddr) {
        let second = self.second(now);
        if let Some(source) = self.source(second, ip) {
            source.good = Some(second);
        }
    }

    /// Whether requests in this user's name are refused from there, whatever their password.
    pub(crate) fn refuses(&mut self, now: Instant, ip: IpAddr, user: &str) -> bool {
        if self.names.is_empty() || self.trusts(ip) {
            return false;
        }
        let second = self.second(now);
        let window = self.names.get(&(ip.into(), Box::from(user)));
        let refused =
            window.is_some_and(|window| window.count(second, MINUTE) >= self.config.wrong_passwords);
        if refused {
            count(&mut self.counters.refused_names);
        }
        refused
    }

    /// A wrong password, or no such user.
    pub(crate) fn wrong_password(&mut self, now: Instant, ip: IpAddr, user: &str) {
        if self.trusts(ip) {
            return;
        }
        let (second, allowed) = (self.second(now), self.config.wrong_passwords);
        let Some(source) = self.source(second, ip) else { return };
        let tries = source.wrong_passwords.add(second, MINUTE);
        if !is_good(source, second) {
            if tries > allowed {
                count(&mut self.counters.bans_passwords);
                self.ban(second, ip, "wrong passwords");
            }
            return;
        }
        if self.names.len() >= self.config.sources {
            self.names.retain(|_, window| window.count(second, MINUTE) > 0);
        }
        if self.names.len() < self.config.sources {
            self.names.entry((ip.into(), Box::from(user))).or_default().add(second, MINUTE);
        }
    }

    /// A request to a user that does not exist, or to elsewhere without leave.
    pub(crate) fn probe(&mut self, now: Instant, ip: IpAddr) {
        if self.trusts(ip) {
            return;
        }
        let (second, allowed) = (self.second(now), self.config.probes);
        let Some(source) = self.source(second, ip) else { return };
        if source.probes.add(second, MINUTE) > allowed && !is_good(source, second) {
            count(&mut self.counters.bans_probes);
            self.ban(second, ip, "looking for users");
        }
    }

    fn ban(&mut self, second: u32, ip: IpAddr, why: &str) {
        let (first, longest) = (self.config.ban.as_secs(), self.config.longest_ban.as_secs());
        let Some(source) = self.source(second, ip) else { return };
        if u64::from(second.saturating_sub(source.banned_until)) > longest {
            source.bans = 0; // addresses change hands
        }
        let times = 1_u64.checked_shl(source.bans.into()).unwrap_or(u64::MAX);
        let doubled = first.saturating_mul(times).min(longest);
        source.bans = source.bans.saturating_add(1);
        source.banned_until = second.saturating_add(u32::try_from(doubled).unwrap_or(u32::MAX));
        tracing::warn!(%ip, seconds = doubled, why, "a source is shut out");
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.config.trusted.iter().any(|network| network.contains(ip))
    }

    /// What is remembered of a source; `None` if there is no room to remember it.
    fn source(&mut self, second: u32, ip: IpAddr) -> Option<&mut Source> {
        let key = SourceKey::from(ip);
        if self.sources.len() >= self.config.sources && !self.sources.contains_key(&key) {
            self.make_room(second);
            if self.sources.len() >= self.config.sources {
                return None;
            }
        }
        let source = self.sources.entry(key).or_default();
        source.seen = second;
        Some(source)
    }

    /// At most once a second: a flood from ever new addresses must not make every message pay for it.
    fn make_room(&mut self, second: u32) {
        if self.swept == second {
            return;
        }
        self.swept = second;
        let fresh = |source: &Source, age| source.seen.saturating_add(age) > second;
        self.sources.retain(|_, s| s.banned_until > second || fresh(s, FORGOTTEN_AFTER));
        if self.sources.len() >= self.config.sources {
            self.sources.retain(|_, s| s.banned_until > second || (s.good.is_some() && fresh(s, GOOD_FOR)));
        }
    }

    fn second(&self, now: Instant) -> u32 {
        // From 1 on: 0 is "never".
        let seconds = now.saturating_duration_since(self.started).as_secs().saturating_add(1);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

fn is_good(source: &Source, second: u32) -> bool {
    source.good.is_some_and(|good| good.saturating_add(GOOD_FOR) > second)
}
