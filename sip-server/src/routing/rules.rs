//! The rules as they are used: what settings are compiled to, and what a program may build itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sip_message::{Method, StatusCode, Uri};
use sip_transport::identity::Identities;
use sip_transport::locals::parse_ip;
use sip_transport::proxy_protocol::Network;

pub use super::pattern::Pattern;
pub use super::trunk::{Check, Gateway, Trunk, TrunkAccount, TrunkIdentity, TrunkRegistration};
use crate::AddressOfRecord;

/// Where something leads: a name of ours (user, alias, hunt group, or a number of the dial plan), or a URI.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// A user part.
    Name(String),
    /// Anywhere.
    Uri(Uri),
}

/// All rules. The default has none and costs nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RuleSet {
    /// The domain of names.
    pub domain: String,
    /// What users have asked for. Whoever is in here is known: routes do not take precedence.
    pub users: HashMap<String, UserRules>,
    /// Other names.
    pub aliases: HashMap<String, Goal>,
    /// Hunt groups.
    pub groups: HashMap<String, HuntGroup>,
    /// Changes of called numbers, each that matches, in order.
    pub rewrites: Vec<Rewrite>,
    /// Static routes and dial plan: the first that matches.
    pub routes: Vec<Route>,
    /// Who is not let through.
    pub blocks: Vec<Block>,
    /// Called numbers that no block list stops.
    pub emergency: Vec<String>,
    /// Ways to other networks.
    pub trunks: HashMap<String, Trunk>,
    /// Whether initial requests to foreign domains that no route names are left to the sender's rights (`None` and `Some(true)`),
    /// or refused. Without a word about it they are refused where there are trunks: a gateway that trusts our address must not be
    /// called around the dial plan.
    pub foreign_domains: Option<bool>,
    /// Whether History-Info (RFC 7044) tells of requests that were sent on.
    pub history: bool,
    /// Whether it tells of the registered contacts too that requests are sent to.
    pub history_contacts: bool,
    /// Whether Diversion (RFC 5806) does.
    pub diversion: bool,
    /// Whether strangers are shown neither our other proxies nor where our phones are; trunks say so by themselves.
    pub hide: bool,
}

/// What a user has asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserRules {
    /// Calls go there instead.
    pub always: Option<Goal>,
    /// And if the phone is busy.
    pub busy: Option<Goal>,
    /// And if nobody answers.
    pub no_answer: Option<Goal>,
    /// How long the phone rings before nobody has answered.
    pub ring: Option<Duration>,
    /// And if no phone is registered or none can be reached.
    pub unreachable: Option<Goal>,
    /// Calls are refused with this, or follow `busy`.
    pub do_not_disturb: Option<StatusCode>,
}

/// Several users under one name.
#[derive(Clone, Debug)]
pub struct HuntGroup {
    /// In which order.
    pub strategy: Strategy,
    /// Who.
    pub members: Vec<Goal>,
    /// How long each, or all together, may ring.
    pub ring: Duration,
    /// Who is called when none of them answers.
    pub otherwise: Option<Goal>,
}

/// In which order a hunt group is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All at once.
    Parallel,
    /// One after the other.
    Serial,
    /// One after the other, each call beginning with the next one.
    RoundRobin,
}

/// A change of a called number.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Which numbers.
    pub pattern: Pattern,
    /// Into what.
    pub replace: String,
}

/// A static route. Everything it names has to match.
#[derive(Clone, Debug)]
pub struct Route {
    /// The called number or user part.
    pub pattern: Option<Pattern>,
    /// Its beginning.
    pub prefix: Option<String>,
    /// The host of the Request-URI; without, only our own domains match.
    pub domain: Option<String>,
    /// Methods; none: all.
    pub methods: Vec<Method>,
    /// Where the request comes from; none: anywhere.
    pub from_network: Vec<Network>,
    /// User names that the sender has proved; none: any.
    pub users: Vec<String>,
    /// Whether senders who have proved nothing may leave by it.
    pub anyone: bool,
    /// Whether it takes names of ours too.
    pub before_users: bool,
    /// Whether it is forwarded without transactions (RFC 3261 §16.11): with [`Action::Via`], for anyone.
    pub stateless: bool,
    /// What it does.
    pub action: Action,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// To a name of ours or another Request-URI; may use the groups of the pattern.
    To(String),
    /// To this next hop, the Request-URI as it is.
    Via(Uri),
    /// To a trunk, with this number; may use the groups of the pattern. `None`: the number as it is.
    Trunk(String, Option<String>),
    /// 302.
    Redirect(Vec<Uri>),
    /// A failure.
    Reject(StatusCode),
}

/// A block list. Everything it names has to match.
#[derive(Clone, Debug)]
pub struct Block {
    /// The user part of From, or `user@host`.
    pub caller: Option<Pattern>,
    /// Where the request comes from; none: anywhere.
    pub source: Vec<Network>,
    /// The called number, as it came or re-written.
    pub called: Option<Pattern>,
    /// The refusal.
    pub status: StatusCode,
}

/// What rules may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The Request-URI.
    pub uri: &'a Uri,
    /// The user of ours that it names.
    pub called: Option<&'a AddressOfRecord>,
    /// From.
    pub caller: Option<&'a Uri>,
    /// The user name that the sender has proved.
    pub user: Option<&'a str>,
    /// Where it comes from.
    pub source: IpAddr,
    /// The host of a Route of others that the request is to visit.
    pub route: Option<&'a str>,
}

/// Whose turn it is in each hunt group. Clones are the same: cores side by side take turns with one another.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, usize>>>);

impl Turns {
    /// The turn of a group, which is the next one's then.
    pub(super) fn take(&self, group: &str) -> usize {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(group.to_owned()).or_default();
        let taken = *turn;
        *turn = turn.wrapping_add(1);
        taken
    }

    fn keep(&self, groups: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| groups(name));
    }
}

/// The rules with what changes from call to call: whose turn it is in a hunt group. Clones share that.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(super) set: Arc<RuleSet>,
    pub(super) turns: Turns,
}

impl Rules {
    /// These rules.
    #[must_use]
    pub fn new(set: RuleSet) -> Self {
        Self { set: Arc::new(set), turns: Turns::default() }
    }

    /// Other rules. Whose turn it is in a hunt group that stays is not forgotten.
    #[must_use]
    pub(crate) fn turned_to(&self, mut new: Self) -> Self {
        new.turns.clone_from(&self.turns);
        new.turns.keep(|name| new.set.groups.contains_key(name));
        new
    }

    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let set = &*self.set;
        set.users.is_empty()
            && set.aliases.is_empty()
            && set.groups.is_empty()
            && set.rewrites.is_empty()
            && set.routes.is_empty()
            && set.blocks.is_empty()
            && set.trunks.is_empty()
            && set.foreign_domains.is_none()
    }

    /// Whether there is a user of this address.
    #[must_use]
    pub fn knows(&self, aor: &AddressOfRecord) -> bool {
        self.set.users.contains_key(aor.user()) || self.set.users.contains_key(aor.as_str())
    }

    /// A trunk by its name.
    #[must_use]
    pub fn trunk(&self, name: &str) -> Option<&Trunk> {
        self.set.trunks.get(name)
    }

    /// The trunk identity for a gateway at this host: what requests in a dialog meet too.
    pub(crate) fn gateway_at(&self, host: &str) -> Option<&Arc<TrunkIdentity>> {
        self.set.trunks.values().find(|trunk| trunk.is_host(host)).map(|trunk| &trunk.identity)
    }

    /// Whether a URI names an address of a trunk.
    pub(crate) fn leads_to_trunk(&self, uri: &Uri) -> bool {
        let mut hosts = uri.maddr().into_iter().chain([uri.host()]);
        hosts.any(|host| {
            let is_here =
                |trunk: &Trunk| trunk.is_host(host) || parse_ip(host).is_some_and(|ip| trunk.is_at(ip));
            self.set.trunks.values().any(is_here)
        })
    }

    /// Where requests of trunks come from.
    pub(crate) fn trunk_networks(&self) -> impl Iterator<Item = Network> + '_ {
        self.set.trunks.values().flat_map(Trunk::networks_of_calls)
    }

    /// Whether some requests are forwarded without transactions.
    pub(crate) fn are_stateless(&self) -> bool {
        self.set.routes.iter().any(|route| route.stateless)
    }

    /// Whether some trunk takes so many calls and no more.
    pub(crate) fn limit_calls(&self) -> bool {
        self.set.trunks.values().any(|trunk| trunk.max_calls.is_some())
    }

    /// Whether who has proven this is a trunk.
    pub(crate) fn trunk_is(&self, peer: &Identities) -> bool {
        self.set.trunks.values().any(|trunk| trunk.is(peer))
    }

    /// Whether our topology is hidden from a trunk at this address, or that has proven this.
    pub(crate) fn hides(&self, ip: IpAddr, peer: Option<&Identities>) -> bool {
        let is_here = |trunk: &&Trunk| trunk.is_at(ip) || peer.is_some_and(|peer| trunk.is(peer));
        self.set.trunks.values().filter(|trunk| trunk.identity.hide).any(|trunk| is_here(&trunk))
    }

    /// Whether a trunk at this address, or that has proven this, may say that `from` calls; `None` if there is no trunk.
    pub(crate) fn trunk_may_say(
        &self,
        ip: IpAddr,
        peer: Option<&Identities>,
        from: Option<&Uri>,
    ) -> Option<bool> {
        let is_here = |trunk: &&Trunk| trunk.is_at(ip) || peer.is_some_and(|peer| trunk.is(peer));
        let mut here = self.set.trunks.values().filter(is_here).peekable();
        here.peek()?;
        Some(from.is_none_or(|from| here.any(|trunk| trunk.may_say(from))))
    }

    /// The rules as they were given.
    #[must_use]
    pub fn set(&self) -> &RuleSet {
        &self.set
    }
}
