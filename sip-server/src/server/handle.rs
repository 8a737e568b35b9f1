//! A look into a running server, and what it can be told.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use msrp::relay::RelayCounts;
use msrp::tokio::relay::RelayServer;
use sip_transport::Locals;
use sip_transport::tokio::tls::Tls;

use super::cores::Cores;
use super::{BuildError, MsrpIdentity, Running};
use crate::AddressOfRecord;
use crate::calls::CallStatistics;
use crate::events::Permission;
use crate::protection::ProtectionCounters;
use crate::settings::Settings;
use crate::{Config, Counters, Traffic};

/// While a server drains, or takes leave of its trunks.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a server has done and holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Counts {
    /// Registrar and proxy.
    pub server: Counters,
    /// Transactions.
    pub transactions: sip_transaction::Counters,
    /// Sockets and connections.
    pub transport: sip_transport::limits::Counters,
    /// Bindings in the table in memory.
    pub bindings: usize,
    /// Users with messages that wait.
    pub message_holders: usize,
    /// Subscriptions with the event server.
    pub subscriptions: usize,
    /// Publications that it holds.
    pub publications: usize,
    /// Requests under way, or waiting for stragglers.
    pub contexts: usize,
    /// Client and server transactions that are not over.
    pub live_transactions: usize,
    /// Open connections.
    pub connections: usize,
}

/// Everything that a server counts, for [`metrics`](crate::operation).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it has done and holds.
    pub counts: Counts,
    /// What passed, by kind.
    pub traffic: Traffic,
    /// Calls, if they are followed.
    pub calls: Option<CallStatistics>,
    /// The relay of session messages, if there is one.
    pub msrp_relay: Option<RelayCounts>,
    /// The watch over sources, if there is one, and how many it does not hear now.
    pub protection: Option<(ProtectionCounters, usize)>,
}

/// Looks into a running server. It does not keep the server running.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(super) cores: Cores,
    pub(super) running: Arc<Running>,
}

impl ServerHandle {
    /// What the server has done and holds now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let cores = &self.cores;
        let (subscriptions, publications) = cores.home.look(|core| core.events()).unwrap_or_default();
        Counts {
            server: cores.sum(|core| core.counters()),
            transactions: cores.sum(|core| *core.transactions().counters()),
            transport: cores.home.counters(),
            bindings: cores.home.look(|core| core.bindings()),
            message_holders: cores.home.look(|core| core.message_holders()),
            subscriptions,
            publications,
            contexts: cores.sum(|core| core.live_contexts()),
            live_transactions: self.live_transactions(),
            connections: cores.home.connections(),
        }
    }

    /// Everything that the server counts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.counts();
        // The relay asks the core: never the other way round while the core is held.
        let msrp_relay = self.running.relay().as_ref().map(RelayServer::counts);
        let calls = self.cores.all().filter_map(|core| core.look(|core| core.call_statistics()));
        Snapshot {
            counts,
            msrp_relay,
            traffic: self.cores.sum(|core| core.traffic()),
            calls: calls.reduce(|mut all, more| {
                all += more;
                all
            }),
            protection: self.cores.home.with(|core, now| {
                core.protection_counters().map(|counters| (counters, core.banned(now).len()))
            }),
        }
    }

    fn live_transactions(&self) -> usize {
        self.cores
            .sum(|core| core.transactions().live_client().saturating_add(core.transactions().live_server()))
    }

    /// Sources that are not heard, and for how long still.
    #[must_use]
    pub fn banned(&self) -> Vec<(IpAddr, Duration)> {
        self.cores.home.with(|core, now| core.banned(now))
    }

    /// Hears a source again. `false` if it was heard anyway.
    pub fn pardon(&self, ip: IpAddr) -> bool {
        self.cores.home.with(|core, now| core.pardon(now, ip))
    }

    /// Says what `watcher`, as `user@domain`, may see of the presence of `user`; `None` takes back what was said. It holds until
    /// the settings are read again, and whoever waits for it is told at once.
    pub fn permit(&self, user: &AddressOfRecord, watcher: &str, permission: Option<Permission>) {
        self.cores.home.with(|core, now| core.permit(now, user, watcher, permission));
    }

    /// Takes no new calls, registrations or other requests outside of dialogs from now on, or takes them again. Refused ones
    /// get 503 with Retry-After, so that phones go elsewhere; what is under way goes on.
    pub fn set_draining(&self, on: bool) {
        self.cores.each(|core, _| core.set_draining(on));
    }

    /// Takes nothing new, and waits until every request under way is answered and every answer acknowledged, no longer than
    /// `limit`. Gives whether all was done. Calls that are up go on, and find the server again at the same address.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.cores.each(|core, _| core.set_draining(true));
        let quiet = async {
            while self.live_transactions() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }

    /// Whether it takes no new calls.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.cores.home.look(|core| core.is_draining())
    }

    /// Says how loaded this machine is by the owner's own measure (processors, memory, a drain before maintenance): at least this
    /// tier of refusal holds until another is told.
    pub fn set_least_tier(&self, tier: sip_transaction::Tier) {
        self.cores.each(|core, _| core.set_least_tier(tier));
    }

    /// Another certificate for connections to the relay of session messages that are made from now on.
    ///
    /// # Errors
    /// If it does not fit its key.
    pub fn set_msrp_identity(&self, identity: MsrpIdentity) -> Result<(), BuildError> {
        let authorities = self.running.tls.as_ref().and_then(Tls::authorities);
        let tls = super::msrp::tls(identity, authorities)?;
        if let Some(relay) = self.running.relay().as_ref() {
            relay.set_tls(tls);
        }
        Ok(())
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn locals(&self) -> Locals {
        self.cores.home.locals()
    }

    /// How the trunks stand whose gateways are asked, or that register.
    #[must_use]
    pub fn trunks(&self) -> Vec<crate::TrunkStatus> {
        self.cores.home.look(|core| core.trunks())
    }

    /// Works by other settings from now on: users, domains, rules, limits, certificates. No transaction, call or connection is
    /// dropped. Gives the names of those that have changed and hold only after a new start, such as `listen`.
    ///
    /// # Errors
    /// When the settings cannot work; the old ones stay in force then.
    pub fn reload(&self, settings: Settings) -> Result<Vec<&'static str>, BuildError> {
        let options = settings.tls()?;
        let mut config = Config::new([0; 32], Locals::default());
        settings.configure(&mut config);
        let mut known = self.running.settings.lock().unwrap_or_else(PoisonError::into_inner);
        // The store is told of by its setting.
        config.external_location = self.cores.home.look(|core| core.has_external_location());
        if let (Some(options), Some(tls)) = (options, &self.running.tls) {
            tls.reload(options)?;
        }
        if let Some(identity) = settings.msrp_identity()? {
            self.set_msrp_identity(identity)?;
        }
        config.limits = config.limits.shared_out(self.cores.count());
        let home = &self.cores.home;
        let mut later = home.with(|core, now| core.reconfigure(config.clone(), now))?;
        let common = home.look(|core| core.in_common());
        for other in &self.cores.others {
            other.with(|core, now| {
                core.reconfigure(config.clone(), now).map(|_| core.adopt(common.clone()))
            })?;
        }
        // What the sockets were made of stays to be compared with.
        match &*known {
            Some(old) => later.extend(old.other_sockets(&settings)),
            None => *known = Some(settings),
        }
        Ok(later)
    }
}
