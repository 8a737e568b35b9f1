//! Another configuration for a server that runs.

use std::time::Instant;

use sip_auth::Role;
use sip_message::headers::ServiceRoute;

use super::common::Common;
use super::setup::{next_hop, realm_of, secret, trusting, verifier};
use super::{Policy, ServerCore, TIMER_C_ABOVE};
use crate::calls::{CallLimits, CallLog, UserCalls};
use crate::config::{Config, ConfigError, Limits};
use crate::domains::Domains;
use crate::events::{EventConfig, EventServer};
use crate::identity::TrustDomain;
use crate::protection::Guard;
use crate::proxy::Manner;
use crate::routing::Rules;

/// What cannot be changed without a new start, as it was then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fixed {
    limits: Limits,
    timing: sip_transaction::Timing,
    heed_overload: bool,
    external_location: bool,
    keep_events: bool,
}

impl Fixed {
    /// The table is not outside after all: a durable one is in memory.
    pub(super) fn has_own_table(&mut self) {
        self.external_location = false;
    }

    pub(super) fn of(config: &Config) -> Self {
        Self {
            limits: config.limits,
            timing: config.timing,
            heed_overload: config.heed_overload,
            external_location: config.external_location,
            keep_events: config.keep_events,
        }
    }
}

impl ServerCore {
    /// Works by another configuration from now on: users, domains, digest, rules, next hop, registrar and limits. Transactions,
    /// calls under way and bindings stay. Seed, listeners and router are left as they are. Gives the names of what has changed
    /// and holds only after a new start.
    ///
    /// # Errors
    /// When the configuration cannot work; nothing is changed then.
    pub fn reconfigure(&mut self, config: Config, now: Instant) -> Result<Vec<&'static str>, ConfigError> {
        if config.timer_c <= TIMER_C_ABOVE {
            return Err(ConfigError::TimerC);
        }
        if let Some(bad) = config.domains.iter().find(|name| sip_message::Uri::sip(None, name, None).is_err())
        {
            return Err(ConfigError::Domain(bad.clone()));
        }
        let later = self.started_with.differences(&config);
        let locals = self.layer.transactions.locals().clone();
        let hop = config.next_hop.map(|uri| next_hop(uri, &locals)).transpose()?;
        let realm = realm_of(config.realm, &config.domains, &locals);
        let same = realm == self.realm && config.algorithms == self.algorithms;
        let unix = self.unix_time(now);
        let secret = secret(&mut self.layer.transactions);
        let verifier = |role: Role| verifier(&realm, &config.algorithms, secret, role, now, unix);
        let keeps = self.started_with.keep_events;
        // Nonces that are out stay good if they can.
        let users = config.users.is_some() || self.book.is_some();
        let asked = (users, users && config.challenge_calls);
        let fresh =
            |asked: bool, there: bool, role| (asked && !(same && there)).then(|| verifier(role)).transpose();
        let registrations = fresh(asked.0, self.registrations.is_some(), Role::UserAgent)?;
        let calls = fresh(asked.1, self.calls.is_some(), Role::Proxy)?;
        // Nothing fails from here on.
        self.registrations = registrations.or(self.registrations.take().filter(|_| asked.0));
        self.calls = calls.or(self.calls.take().filter(|_| asked.1));
        self.users = config.users;
        self.policy = Policy {
            open_relay: config.open_relay,
            next_hop: hop,
            record_route: config.record_route,
            recurse: config.recurse_redirects,
            session_timer: config.session_timer,
            registrar: (!config.domains.is_empty()).then_some(config.registrar),
            service_route: config.service_route.iter().map(ServiceRoute::new).collect(),
        };
        self.proxy.reconfigure(Manner {
            timer_c: config.timer_c,
            record_route: config.record_route.then(|| self.own_routes.clone()),
            early_ends: config.early_ends,
            domains: Domains::new(config.domains.clone(), locals.clone()),
            rules: config.rules.clone(),
        });
        self.domains = Domains::new(config.domains, locals);
        self.rules = self.rules.turned_to(config.rules);
        self.stateless |= self.rules.are_stateless();
        (self.realm, self.algorithms) = (realm, config.algorithms);
        self.trust = TrustDomain::new(&config.trusted_peers, &self.rules);
        let protection = config.protection.map(|protection| trusting(protection, &self.rules));
        self.guard = match (self.guard.take(), protection) {
            (Some(guard), Some(protection)) => {
                guard.lock().reconfigure(protection);
                Some(guard)
            }
            (None, protection) => protection.map(|protection| Common::new(Guard::new(protection, now))),
            (_, None) => None,
        };
        // Calls that are up already when somebody may first ask for them are not shown.
        let follows = config.events.as_ref().is_some_and(EventConfig::follows_calls);
        self.layer.lines = match self.layer.lines.take().filter(|_| follows) {
            Some(mut lines) => {
                lines.set_stays(config.record_route);
                Some(lines)
            }
            None => follows.then(|| UserCalls::new(CallLimits::PATIENCE, config.record_route)),
        };
        match (&mut self.events, config.events) {
            (Some(events), Some(config)) => events.reconfigure(now, config, &mut self.layer),
            (events, Some(config)) => {
                let fresh = EventServer::new(config, now);
                *events = Some(if keeps { fresh.keeping(now, unix) } else { fresh });
            }
            (events, None) => *events = None,
        }
        let limits = Limits {
            transactions: self.started_with.limits.transactions,
            bindings: self.started_with.limits.bindings,
            ..config.limits
        };
        self.limits = limits;
        if self.layer.calls.is_none() && self.rules.limit_calls() {
            // Calls that are up already hold no seat.
            self.layer.calls = Some(CallLog::counting(now, unix));
        }
        self.attend_trunks(now);
        if let Some(events) = &mut self.events {
            events.watch_again();
        }
        Ok(later)
    }

    /// Whether bindings are in a store outside.
    pub(crate) fn has_external_location(&self) -> bool {
        self.store.is_none()
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Fixed {
    fn differences(&self, config: &Config) -> Vec<&'static str> {
        let new = Self::of(config);
        [
            ("limits.transactions", self.limits.transactions != new.limits.transactions),
            ("limits.bindings", self.limits.bindings != new.limits.bindings),
            ("timing", self.timing != new.timing),
            ("heed_overload", self.heed_overload != new.heed_overload),
            ("location", self.external_location != new.external_location),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}
