//! Where a call has been sent before: History-Info of either side (RFC 7044).

use sip_message::headers::{Contact, HistoryInfo, OptionTag};
use sip_message::{HeaderName, Headers, Request, ResponseBuilder, StatusCode, Uri};

use crate::options::supports;

/// Entries of one call that are kept and sent: others' servers add as many as they like.
const MAX_ENTRIES: usize = 32;

/// How a 3xx came by a Contact: its `rc` or `mp` with an index, as it goes into the entry (RFC 7044 §10.4).
#[derive(Clone, Debug)]
pub(crate) struct Mapping(&'static str, String);

impl Mapping {
    pub(crate) fn of(contact: &Contact) -> Option<Self> {
        let address = contact.address()?;
        ["mp", "rc"].into_iter().find_map(|name| {
            let index = address.params().value(name)?;
            let numbers =
                !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            numbers.then(|| Self(name, index.into()))
        })
    }
}

fn entries(headers: &Headers) -> Vec<HistoryInfo> {
    headers.all::<HistoryInfo>().flatten().take(MAX_ENTRIES).collect()
}

/// The INVITE goes on to `uri` since a response sent it there, or failed: the last entry says why, and one is added (§9.3,
/// §10.3 rule 4). One that has no history gets none.
pub(crate) fn retarget(invite: &mut Request, status: StatusCode, uri: &Uri, mapping: Option<&Mapping>) {
    let mut entries = entries(&invite.headers);
    let Some(last) = entries.pop() else { return };
    let Some(mut next) = last.next(uri) else { return };
    if let Some(Mapping(name, index)) = mapping {
        next = next.with_param(name, Some(index));
    }
    entries.push(last.because(status));
    entries.push(next);
    invite.headers.remove(HeaderName::HISTORY_INFO);
    for entry in &entries {
        invite.headers.push_back(entry);
    }
}

/// A response to an INVITE whose sender wants to know where it has been (§9.4): what it said, and that it came to us if the last
/// element did not (§9.1).
pub(crate) fn answer(invite: &Request, builder: ResponseBuilder) -> ResponseBuilder {
    if !supports(&invite.headers, OptionTag::HistInfo) {
        return builder;
    }
    let mut entries = entries(&invite.headers);
    if let Ok(uri) = invite.uri() {
        let told = entries.last().map(|last| {
            let mut told = last.0.uri().clone();
            told.remove_headers();
            told
        });
        if told.is_none_or(|told| !told.equivalent(&uri)) {
            let ours = match entries.last() {
                Some(last) => last.missing(&uri),
                None => Some(HistoryInfo::first(&uri)),
            };
            entries.extend(ours);
        }
    }
    builder.headers(&entries)
}
