//! The rules as they are used: what settings are compiled to, and what a program may build itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use sip_auth::{Authenticator, Secret};
use sip_message::{Method, StatusCode, Uri};
use sip_transport::proxy_protocol::Network;

use crate::AddressOfRecord;

/// A compiled pattern may take so much memory: one of nested repetitions is refused instead of growing without bound.
const PATTERN_MEMORY: usize = 1 << 20;

/// A regular expression that the whole text has to match, in time linear to its length.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// When it is no regular expression, or too big a one.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(text).build()?; // so that "a)(b" is not mended by the parentheses
        RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_MEMORY).build().map(Self)
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// `template` with `$1` and `${name}` replaced by what the groups of the pattern have matched; `None` if it does not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.0.captures(text)?;
        let mut expanded = String::new();
        captures.expand(template, &mut expanded);
        Some(expanded)
    }

    /// How many groups it has.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.captures_len().saturating_sub(1)
    }
}

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
    /// Whether Diversion (RFC 5806) does.
    pub diversion: bool,
    /// Whether there are users who prove who they are. Without, routes for users alone are closed.
    pub authenticated: bool,
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

/// A way to another network.
#[derive(Clone, Debug, Default)]
pub struct Trunk {
    /// Tried by priority, then by chance according to weight (as in RFC 2782).
    pub gateways: Vec<Gateway>,
    /// Characters taken off the number's beginning.
    pub strip: usize,
    /// What is put before it then.
    pub add: String,
    /// What its gateways get.
    pub identity: Arc<TrunkIdentity>,
    /// Whether its gateways are asked if they are there.
    pub check: Option<Check>,
    /// Where it registers.
    pub registration: Option<Arc<TrunkRegistration>>,
}

/// User name and password at a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkAccount {
    /// The user name.
    pub username: String,
    /// The password.
    pub secret: Secret,
    /// The realm that they hold for; `None`: any.
    pub realm: Option<String>,
}

impl TrunkAccount {
    /// Answers challenges, without the nonces of other calls (RFC 3261 §22.3).
    pub(crate) fn authenticator(&self) -> Authenticator {
        let mut authenticator = Authenticator::default();
        authenticator.add_account(self.realm.as_deref(), self.username.as_str(), self.secret.clone());
        authenticator
    }
}

/// How gateways are asked whether they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// From one answer to the next OPTIONS.
    pub interval: Duration,
    /// Failures in a row after which a gateway is down: it is called only if all are.
    pub falls: u32,
    /// Answers in a row after which it is up again.
    pub rises: u32,
}

/// A registration at the registrar of a trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TrunkRegistration {
    /// The registrar.
    pub registrar: Uri,
    /// The address-of-record there.
    pub address: Uri,
    /// The user part of our Contact: a name of ours, which calls of the trunk reach.
    pub contact: String,
    /// Seconds to ask for.
    pub expires: u32,
}

/// Who we are towards a trunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrunkIdentity {
    /// Answers the gateways' challenges.
    pub account: Option<TrunkAccount>,
    /// Goes into P-Asserted-Identity (RFC 3325 §9.1). What senders assert of themselves is taken out in any case.
    pub asserted: Option<Uri>,
}

/// One gateway of a trunk.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Without user part.
    pub uri: Uri,
    /// Lower is tried first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

impl Trunk {
    /// The gateways in the order in which one request tries them: by priority, and among equals by chance, in proportion to
    /// their weights.
    #[must_use]
    pub fn order(&self, mut random: u64) -> Vec<&Gateway> {
        let mut left: Vec<&Gateway> = self.gateways.iter().collect();
        left.sort_by_key(|gateway| gateway.priority);
        let mut order = Vec::with_capacity(left.len());
        while let Some(priority) = left.first().map(|gateway| gateway.priority) {
            let equals = left.iter().take_while(|gateway| gateway.priority == priority);
            let total: u64 = equals.map(|gateway| u64::from(gateway.weight).max(1)).sum();
            let mut at = random.checked_rem(total).unwrap_or(0);
            random = random.rotate_right(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let chosen = left
                .iter()
                .position(|gateway| {
                    let weight = u64::from(gateway.weight).max(1);
                    let here = at < weight;
                    at = at.saturating_sub(weight);
                    here
                })
                .unwrap_or(0);
            order.push(left.remove(chosen));
        }
        order
    }

    /// The number as this trunk wants it.
    #[must_use]
    pub fn number(&self, number: &str) -> String {
        let kept: String = number.chars().skip(self.strip).collect();
        format!("{}{kept}", self.add)
    }

    /// The Request-URI of a number at one of its gateways.
    #[must_use]
    pub fn uri(&self, gateway: &Gateway, number: &str) -> Option<Uri> {
        let number = self.number(number);
        let (host, port) = (gateway.uri.host(), gateway.uri.port());
        let made = if gateway.uri.is_sips() {
            Uri::sips(Some(&number), host, port)
        } else {
            Uri::sip(Some(&number), host, port)
        };
        let mut uri = made.ok()?;
        for (name, value) in gateway.uri.params() {
            uri.set_param(name, value);
        }
        Some(uri)
    }
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

/// The rules with what changes from call to call: whose turn it is in a hunt group.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(super) set: Arc<RuleSet>,
    pub(super) turns: HashMap<String, usize>,
}

impl Rules {
    /// These rules.
    #[must_use]
    pub fn new(set: RuleSet) -> Self {
        Self { set: Arc::new(set), turns: HashMap::new() }
    }

    /// Other rules. Whose turn it is in a hunt group that stays is not forgotten.
    #[must_use]
    pub(crate) fn turned_to(&self, mut new: Self) -> Self {
        new.turns.clone_from(&self.turns);
        new.turns.retain(|name, _| new.set.groups.contains_key(name));
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
        let is_here =
            |trunk: &&Trunk| trunk.gateways.iter().any(|one| one.uri.host().eq_ignore_ascii_case(host));
        self.set.trunks.values().find(is_here).map(|trunk| &trunk.identity)
    }

    /// The rules as they were given.
    #[must_use]
    pub fn set(&self) -> &RuleSet {
        &self.set
    }
}
