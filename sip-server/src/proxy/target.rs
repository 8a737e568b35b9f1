//! The targets of a request and their order: RFC 3261 §16.5, §16.6.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use sip_message::headers::{
    ContentLength, Diversion, HistoryInfo, InstanceId, MaxForwards, NameAddr, PAssertedIdentity,
    PPreferredIdentity, Route,
};
use sip_message::{HeaderError, HeaderName, Request, Uri};
use sip_transaction::Target;
use sip_transport::{Path, Transport};

use super::Hiding;
use super::route::next_hop;
use crate::AddressOfRecord;
use crate::calls::Seat;
use crate::core::Asleep;
use crate::identity::withhold;
use crate::location::Binding;
use crate::routing::rules::TrunkIdentity;
use crate::routing::{DiversionReason, Diverted};

/// Targets that are tried at the same time.
pub(crate) type Group = Vec<Hop>;

/// One target.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    /// The new Request-URI; `None` keeps the one there is.
    pub(crate) uri: Option<Uri>,
    /// Routes to put before those there are (RFC 3327 §5.4).
    pub(crate) routes: Arc<[NameAddr]>,
    /// Where to send, if not to where Route or Request-URI say.
    pub(crate) target: Option<Target>,
    /// The target is a flow of RFC 5626: there is no other way to the phone, and a dialog stays on it.
    pub(crate) outbound: bool,
    /// Other flows of the same user agent, tried if this one is dead (RFC 5626 §7).
    pub(crate) others: Vec<Hop>,
    /// A trunk's gateway, and the others are more of them. Who we are to it.
    pub(crate) gateway: Option<Arc<TrunkIdentity>>,
    /// The call that it makes is counted there.
    pub(crate) seat: Option<Arc<Seat>>,
    /// What else is changed for this target.
    pub(crate) edits: Option<Arc<Edits>>,
    /// It is a server that is told who calls whatever the caller wants hidden from others (RFC 3325 §7).
    pub(crate) trusted: bool,
    /// It is a registered contact of a user of ours.
    pub(crate) registered: bool,
    /// Whose phone it is, where calls of users are followed.
    pub(crate) user: Option<AddressOfRecord>,
    /// The phone has to be woken first.
    pub(crate) asleep: Option<Arc<Asleep>>,
    /// Its history is written already.
    pub(crate) told: bool,
}

/// What a step of a decision changes in a request.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Who has sent it on, the first one first.
    pub(crate) diverted: Vec<Diverted>,
    /// Whether that goes into Diversion.
    pub(crate) diversion: bool,
    /// Whether that goes into History-Info.
    pub(crate) history: bool,
}

impl Edits {
    /// RFC 5806 §6, RFC 7044 §6.3: what was tried before this target. A caller who wants no history gets none (RFC 7044 §10.1).
    fn apply(&self, request: &mut Request, told: bool) {
        if is_private(request) {
            return;
        }
        for diverted in &self.diverted {
            if self.diversion {
                let by = Diversion::new(&diverted.by).with_param("reason", Some(diverted.why.text()));
                request.headers.push_front(&by);
            }
            if self.history && !told {
                add_history(request, diverted);
            }
        }
    }
}

/// Whether the caller wants no history to be told (RFC 7044 §10.1.1).
pub(super) fn is_private(request: &Request) -> bool {
    request.headers.text(HeaderName::PRIVACY).is_some_and(|values| {
        values.split(';').any(|value| {
            ["history", "header", "session"].iter().any(|one| value.trim().eq_ignore_ascii_case(one))
        })
    })
}

/// The last entry says why; the new target comes under it, made by mapping to another user (RFC 7044 §10.3 rule 1, §10.4 `mp`).
fn add_history(request: &mut Request, diverted: &Diverted) {
    let mut entries: Vec<HistoryInfo> =
        request.headers.all::<HistoryInfo>().flatten().take(MAX_HISTORY).collect();
    let last = match entries.pop() {
        Some(last) => last,
        None => HistoryInfo::first(&diverted.by),
    };
    let Some(next) = last.below(&diverted.to) else { return };
    let index: Vec<String> = last.index().into_iter().flatten().map(|number| number.to_string()).collect();
    entries.push(last.because(diverted.why.status()));
    // How a 3xx came to its Contact only who has sent it knows.
    let deflected = diverted.why == DiversionReason::Deflection;
    entries.push(if deflected { next } else { next.with_param("mp", Some(&index.join("."))) });
    request.headers.remove(HeaderName::HISTORY_INFO);
    entries.iter().for_each(|entry| request.headers.push_back(entry));
}

/// Entries of a history that are kept: others' servers add as many as they like.
pub(super) const MAX_HISTORY: usize = 32;

impl Hop {
    /// To where the request itself says.
    pub(crate) fn as_addressed() -> Self {
        Self {
            uri: None,
            routes: Arc::new([]),
            target: None,
            outbound: false,
            others: Vec::new(),
            gateway: None,
            seat: None,
            edits: None,
            trusted: false,
            registered: false,
            user: None,
            asleep: None,
            told: false,
        }
    }

    /// To another Request-URI.
    pub(crate) fn readdressed(mut uri: Uri) -> Self {
        uri.remove_headers(); // RFC 3261 §19.1.1, table 1: not in a Request-URI
        Self { uri: Some(uri), ..Self::as_addressed() }
    }

    /// The hop, unless it would carry a `sips` request in the clear (RFC 5630 §5.3, RFC 3261 §26.2.2); reserves alike.
    pub(crate) fn secure_enough(mut self, sips: bool) -> Option<Self> {
        let secure = |hop: &Self| {
            let target = match &hop.target {
                Some(Target::Uri(uri) | Target::Proving(uri, _)) => {
                    uri.is_sips() || Transport::of_uri(uri).is_some_and(Transport::is_secure)
                }
                _ => true,
            };
            target && hop.uri.as_ref().is_none_or(Uri::is_sips)
        };
        if sips {
            let others = std::mem::take(&mut self.others);
            let mut all = others.into_iter();
            while !secure(&self) {
                self = all.next()?;
            }
            self.others = all.filter(secure).collect();
        }
        Some(self)
    }

    /// Changes more for this target, and for those in reserve.
    pub(crate) fn edit(&mut self, edits: Option<&Arc<Edits>>) {
        self.edits = edits.cloned();
        self.others.iter_mut().for_each(|other| other.edit(edits));
    }

    /// To a fixed next hop.
    pub(crate) fn fixed(target: Target) -> Self {
        Self { target: Some(target), trusted: true, ..Self::as_addressed() }
    }

    /// Over the flow that a Route of ours named; `preferred`: to where the request says if that is gone.
    pub(crate) fn over(flow: Path, preferred: bool) -> Self {
        Self { target: Some(Target::Path(flow)), outbound: !preferred, ..Self::as_addressed() }
    }

    /// The flow that it goes over, if it goes over one.
    pub(crate) fn flow(&self) -> Option<Path> {
        match self.target {
            Some(Target::Path(path)) if path.flow.is_some() || self.outbound => Some(path),
            _ => None,
        }
    }

    /// Whether what is inside is hidden from it.
    pub(crate) fn hidden(&self, hiding: Option<&Hiding>) -> bool {
        let from_trunk = self.gateway.as_ref().is_some_and(|gateway| gateway.hide);
        let outside = !self.registered && !self.trusted && self.target.is_none();
        from_trunk || hiding.is_some_and(|hiding| hiding.to || (hiding.outside && outside))
    }

    /// RFC 3261 §16.6 steps 2, 3, 5, 6, 7 and 9: makes of the request what this target gets. Gives where to send it.
    ///
    /// # Errors
    /// When a Route or Max-Forwards that has to be read cannot be.
    pub(crate) fn prepare(&self, request: &mut Request) -> Result<Target, HeaderError> {
        if let Some(edits) = &self.edits {
            edits.apply(request, self.told);
        }
        if let Some(identity) = &self.gateway {
            // RFC 3325 §5: nobody's word but ours goes to a network that trusts us.
            request.headers.remove(HeaderName::P_ASSERTED_IDENTITY);
            request.headers.remove(HeaderName::P_PREFERRED_IDENTITY);
            if let Some(uri) = &identity.asserted {
                request.headers.push_back(&PAssertedIdentity::new(uri));
            }
            if let Some(uri) = &identity.preferred {
                request.headers.push_back(&PPreferredIdentity::new(uri));
            }
        } else if !self.trusted {
            withhold(request);
        }
        if let Some(uri) = &self.uri {
            request.set_uri(uri);
        }
        // A missing Max-Forwards is added by the layer that sends.
        request.headers.update_first::<MaxForwards>(|hops| hops.0 = hops.0.saturating_sub(1))?;
        for route in self.routes.iter().rev() {
            request.headers.push_front(&Route(route.clone()));
        }
        // Datagrams may come without, streams cannot go without.
        if !request.headers.contains(HeaderName::CONTENT_LENGTH) {
            let length = ContentLength(request.body().len());
            request.headers.push_back(&length);
        }
        let target = match &self.target {
            Some(target) => target.clone(),
            None => next_hop(request)?,
        };
        Ok(match (target, &self.gateway) {
            (Target::Uri(uri), Some(identity)) => identity.target(uri),
            (target, _) => target,
        })
    }

    /// To a binding, for a request whose Request-URI was `sips` or not. RFC 5630 §5.3: the scheme of the request stays, and
    /// who registered with `sips` is reached by TLS for `sip` too.
    fn to(binding: &Binding, sips: bool) -> Self {
        let mut uri = binding.uri().clone();
        uri.remove_headers(); // RFC 3261 §19.1.1, table 1: not in a Request-URI
        let mut target = binding.flow.map(Target::Path);
        if uri.is_sips() && !sips {
            if target.is_none() && binding.path.is_empty() {
                target = Some(Target::Uri(uri.clone()));
            }
            // "leaving the rest of the URI as is"
            let plain = uri.to_string().get(4..).and_then(|rest| format!("sip{rest}").parse().ok());
            uri = plain.unwrap_or(uri);
        }
        let outbound = binding.outbound.is_some() && binding.flow.is_some();
        Self {
            uri: Some(uri),
            routes: binding.path.clone(),
            target,
            outbound,
            registered: true,
            ..Self::as_addressed()
        }
    }
}

/// The live bindings as targets: those of equal preference together, the most preferred first. At most `limit`. For a `sips`
/// request those that were registered with `sips` alone (RFC 5630 §5.3).
///
/// `asleep`: who has to be woken for it.
///
/// A user agent with several flows is one target: the flow that was registered last, with the others in reserve
/// (RFC 5626 §7: "MUST NOT populate the target set with more than one contact with the same AOR and instance-id at a time").
pub(crate) fn groups_of(
    bindings: &[Binding],
    now: Instant,
    limit: usize,
    sips: bool,
    asleep: impl Fn(&Binding) -> Option<Arc<Asleep>>,
) -> Vec<Group> {
    let usable = |binding: &&Binding| {
        binding.expires_at > now
            && (!sips || binding.uri().is_sips())
            && (binding.uri().is_sip() || binding.uri().is_sips() || !binding.path.is_empty())
    };
    let mut live: Vec<&Binding> = bindings.iter().filter(usable).collect();
    live.sort_by_key(|binding| (Reverse(binding.q), Reverse(binding.expires_at)));
    let mut agents: Vec<(Option<InstanceId>, u16, Hop)> = Vec::new();
    for binding in live.into_iter().take(limit) {
        let mut hop = Hop::to(binding, sips);
        hop.asleep = asleep(binding);
        let instance = binding.instance();
        let known = agents.iter_mut().find(|(known, _, _)| known.is_some() && *known == instance);
        match known {
            Some((_, _, first)) => first.others.push(hop),
            None => agents.push((instance, binding.q, hop)),
        }
    }
    let mut groups: Vec<(u16, Group)> = Vec::new();
    for (_, q, hop) in agents {
        match groups.last_mut() {
            Some((of, group)) if *of == q => group.push(hop),
            _ => groups.push((q, vec![hop])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
