//! What a REGISTER makes of the bindings there are: RFC 3261 §10.3 steps 6 and 7.

use std::time::Instant;

use sip_message::headers::NameAddr;

use super::Refusal;
use crate::location::{Binding, OutboundFlow};

/// What a REGISTER asks for.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// No Contact: only tell what there is.
    Query,
    /// `Contact: *`.
    RemoveAll,
    /// Add, refresh or remove these.
    Contacts(Vec<Wanted>),
}

/// One contact of a REGISTER.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) contact: NameAddr,
    pub(super) q: u16,
    /// Its key, by the rules of RFC 5626 §6.
    pub(super) outbound: Option<OutboundFlow>,
    /// When it shall end; `None` removes it.
    pub(super) expires_at: Option<Instant>,
}

impl Wanted {
    /// Whether this binding is the one meant. A user agent's flow is known by its number, whatever address it has now
    /// (RFC 5626 §6); all others by the URI (RFC 3261 §10.3 step 7).
    fn is_of(&self, binding: &Binding) -> bool {
        match (&self.outbound, &binding.outbound) {
            (None, None) => binding.uri().equivalent(self.contact.uri()),
            (ours, theirs) => ours == theirs,
        }
    }
}

impl Change {
    /// Whether it registers a flow by the rules of RFC 5626 §6.
    pub(super) fn has_flows(&self) -> bool {
        matches!(self, Self::Contacts(wanted) if wanted.iter().any(|one| one.outbound.is_some()))
    }

    /// The bindings afterwards, or why nothing changes. `template` has everything about the request that each of its
    /// bindings records.
    pub(super) fn apply(
        &self,
        now: Instant,
        current: &[Binding],
        template: &Binding,
        limit: usize,
    ) -> Result<Vec<Binding>, Refusal> {
        // A binding that a step of this very request made is no older request's.
        let mut list: Vec<(Binding, bool)> = current
            .iter()
            .filter(|binding| binding.expires_at > now)
            .map(|binding| (binding.clone(), false))
            .collect();
        let in_order = |binding: &Binding| {
            if binding.call_id == template.call_id && template.cseq <= binding.cseq {
                Err(Refusal::OutOfOrder)
            } else {
                Ok(())
            }
        };
        match self {
            Self::Query => {}
            Self::RemoveAll => {
                list.iter().try_for_each(|(binding, _)| in_order(binding))?;
                list.clear();
            }
            Self::Contacts(wanted) => {
                for one in wanted {
                    let at = list.iter().position(|(binding, _)| one.is_of(binding));
                    if let Some((binding, ours)) = at.and_then(|at| list.get(at))
                        && !ours
                    {
                        in_order(binding)?;
                    }
                    let new = one.expires_at.map(|expires_at| Binding {
                        contact: one.contact.clone(),
                        q: one.q,
                        outbound: one.outbound.clone(),
                        expires_at,
                        ..template.clone()
                    });
                    match (at, new) {
                        (Some(at), Some(new)) => {
                            if let Some(slot) = list.get_mut(at) {
                                *slot = (new, true);
                            }
                        }
                        (Some(at), None) => drop(list.remove(at)),
                        (None, Some(new)) => list.push((new, true)),
                        (None, None) => {}
                    }
                }
                if list.len() > limit && list.len() > current.len() {
                    return Err(Refusal::TooManyBindings(limit));
                }
            }
        }
        Ok(list.into_iter().map(|(binding, _)| binding).collect())
    }
}
