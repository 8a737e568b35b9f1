//! What a REGISTER makes of the bindings there are: RFC 3261 §10.3 steps 6 and 7.

use std::time::Instant;

use sip_message::headers::NameAddr;

use super::Refusal;
use crate::location::Binding;

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
    /// When it shall end; `None` removes it.
    pub(super) expires_at: Option<Instant>,
}

impl Change {
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
                    let uri = one.contact.uri();
                    let at = list.iter().position(|(binding, _)| binding.uri().equivalent(uri));
                    if let Some((binding, ours)) = at.and_then(|at| list.get(at))
                        && !ours
                    {
                        in_order(binding)?;
                    }
                    let new = one.expires_at.map(|expires_at| Binding {
                        contact: one.contact.clone(),
                        q: one.q,
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
