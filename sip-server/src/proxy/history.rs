//! The history of a request whose targets are told too: an entry for each phone that it was sent to (RFC 7044 §9, §10.3), and what of a
//! history leaves the domain (§10.1.2).

use sip_message::headers::{HistoryInfo, Privacy};
use sip_message::{HeaderName, Request, StatusCode, Uri};

use super::target::{MAX_HISTORY, is_private};
use crate::domains::Domains;
use crate::routing::{DiversionReason, Diverted};

/// The histories of the branches of one request.
#[derive(Debug)]
pub(crate) struct History {
    /// As it came, the last entry being the Request-URI's.
    came: Vec<HistoryInfo>,
    /// Targets that have failed: what is sent later tells of them. While they are tried they are told to nobody else ("only the hi-entry
    /// corresponding to the fork is included").
    failed: Vec<HistoryInfo>,
    /// Users that the request was sent on to: index of who did, the user, the index of the entry.
    mapped: Vec<(String, Uri, String)>,
    /// How many entries there are below an index.
    below: Vec<(String, u32)>,
}

impl History {
    /// `None` for a caller who wants none (§10.1.1).
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if is_private(request) {
            return None;
        }
        let uri = request.uri().ok()?;
        let mut came: Vec<HistoryInfo> =
            request.headers.all::<HistoryInfo>().flatten().take(MAX_HISTORY).collect();
        match came.last() {
            None => came.push(HistoryInfo::first(&uri)),
            // Rule 6: the one before us has said nothing of this URI.
            Some(last) if !bare(last.0.uri()).equivalent(&bare(&uri)) => {
                let missing = last.missing(&uri)?;
                came.push(missing);
            }
            Some(_) => {}
        }
        index_of(came.last()?)?;
        Some(Self { came, failed: Vec::new(), mapped: Vec::new(), below: Vec::new() })
    }

    /// Writes the history of the next branch: to `target`, if the Request-URI changes, which is another place of the `same` user
    /// or somebody else, sent on by these before. Gives the entries that are the branch's own.
    pub(super) fn write(
        &mut self,
        request: &mut Request,
        diverted: &[Diverted],
        target: Option<(&Uri, bool)>,
    ) -> Vec<HistoryInfo> {
        let mut all = self.came.clone();
        let mut own: Vec<HistoryInfo> = Vec::new();
        let Some(mut parent) = all.last().and_then(index_of) else { return own };
        for sent_on in diverted {
            let known = self.mapped.iter().find(|(by, to, _)| *by == parent && to.equivalent(&sent_on.to));
            let index = match known {
                Some((_, _, index)) => index.clone(),
                None => {
                    let index = self.next(&parent);
                    self.mapped.push((parent.clone(), sent_on.to.clone(), index.clone()));
                    index
                }
            };
            let entry = HistoryInfo::new(&bare(&sent_on.to)).with_param("index", Some(&index));
            if sent_on.why == DiversionReason::Deflection {
                // §10.4: how a 3xx came to its Contact only who has sent it knows; why the last target failed stands there.
                own.push(entry);
            } else {
                if let Some(last) = own.last_mut().or(all.last_mut()) {
                    *last = last.clone().because(sent_on.why.status());
                }
                own.push(entry.with_param("mp", Some(&parent)));
            }
            parent = index;
        }
        // §10.4: `rc` for another place of the same user, `mp` for another user, `np` for the same URI.
        let last = own.last().or(all.last()).map(|last| bare(last.0.uri()));
        let how = match target {
            Some((uri, _)) if last.as_ref().is_some_and(|last| last.equivalent(uri)) => None,
            Some((uri, same)) => Some((bare(uri), if same { "rc" } else { "mp" })),
            None if own.is_empty() => last.map(|last| (last, "np")),
            None => None,
        };
        if let Some((uri, how)) = how {
            let index = self.next(&parent);
            let entry = HistoryInfo::new(&uri).with_param("index", Some(&index));
            own.push(entry.with_param(how, Some(&parent)));
        }
        let fresh = |entry: &&HistoryInfo| !own.iter().any(|other| index_of(other) == index_of(entry));
        all.extend(self.failed.iter().filter(fresh).cloned());
        all.extend(own.iter().cloned());
        // "the hi-entries are given in the preorder of the tree".
        all.sort_by_cached_key(|entry| entry.index().into_iter().flatten().collect::<Vec<u32>>());
        request.headers.remove(HeaderName::HISTORY_INFO);
        all.iter().for_each(|entry| request.headers.push_back(entry));
        own
    }

    /// A branch with these entries of its own has failed (§9.3, §10.2).
    pub(super) fn note(&mut self, own: Vec<HistoryInfo>, status: StatusCode) {
        let last = own.len().saturating_sub(1);
        for (at, entry) in own.into_iter().enumerate() {
            let known = self.failed.iter().any(|other| index_of(other) == index_of(&entry));
            if !known && self.failed.len() < MAX_HISTORY {
                self.failed.push(if at == last { entry.because(status) } else { entry });
            }
        }
    }

    fn next(&mut self, parent: &str) -> String {
        let number = match self.below.iter_mut().find(|(index, _)| index == parent) {
            Some((_, number)) => {
                *number = number.saturating_add(1);
                *number
            }
            None => {
                self.below.push((parent.to_owned(), 1));
                1
            }
        };
        format!("{parent}.{number}")
    }
}

fn index_of(entry: &HistoryInfo) -> Option<String> {
    entry.index().and(entry.0.params().value("index")).map(str::to_owned)
}

/// Without what belongs to the entry, and without the token that wakes a phone (RFC 8599 §13).
fn bare(uri: &Uri) -> Uri {
    let mut uri = uri.clone();
    uri.remove_headers();
    for secret in ["pn-provider", "pn-prid", "pn-param"] {
        uri.remove_param(secret);
    }
    uri
}

/// §10.1.2: a request leaves for a domain that is not ours: entries of our domains that shall stay private are no names any more, and the
/// wish for it is fulfilled.
pub(super) fn withhold_history(request: &mut Request, domains: &Domains) {
    if !request.headers.contains(HeaderName::HISTORY_INFO) {
        return;
    }
    let all_private = is_private(request);
    let wants = |entry: &HistoryInfo| {
        entry.0.uri().headers().any(|(name, value)| {
            name.eq_ignore_ascii_case("Privacy")
                && value.split(';').any(|one| one.trim().eq_ignore_ascii_case("history"))
        })
    };
    let entries: Vec<HistoryInfo> =
        request.headers.all::<HistoryInfo>().flatten().take(MAX_HISTORY).collect();
    let is_ours = |entry: &HistoryInfo| domains.of(entry.0.uri()).is_some();
    if !entries.iter().any(|entry| is_ours(entry) && (all_private || wants(entry))) {
        return;
    }
    request.headers.remove(HeaderName::HISTORY_INFO);
    for entry in entries {
        let hidden =
            if is_ours(&entry) && (all_private || wants(&entry)) { anonymous(&entry) } else { Some(entry) };
        if let Some(entry) = hidden {
            request.headers.push_back(&entry);
        }
    }
    if let Ok(Some(mut privacy)) = request.headers.get::<Privacy>()
        && privacy.wants("history")
    {
        privacy.values.retain(|value| !value.eq_ignore_ascii_case("history"));
        request.headers.remove(HeaderName::PRIVACY);
        if privacy.values.iter().any(|value| !value.eq_ignore_ascii_case("critical")) {
            request.headers.push_back(&privacy);
        }
    }
}

/// Its place in the tree, and why it failed, without the name.
fn anonymous(entry: &HistoryInfo) -> Option<HistoryInfo> {
    let reason = entry.0.uri().headers().find(|(name, _)| name.eq_ignore_ascii_case("Reason"));
    let reason = reason.map(|(_, value)| format!("?Reason={value}")).unwrap_or_default();
    let uri: Uri = format!("sip:anonymous@anonymous.invalid{reason}").parse().ok()?;
    let named = entry
        .0
        .params()
        .iter()
        .fold(HistoryInfo::new(&uri), |hidden, (name, value)| hidden.with_param(name, value));
    Some(named)
}
