//! Early dialogs that have ended while others live on: 199 (RFC 6228 §6).

use std::time::Instant;

use sip_message::headers::{OptionTag, ProxyRequire, Reason, Require, Supported, To};
use sip_message::{HeaderName, Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;

use super::{Layer, Proxy};
use crate::config::count;

/// Early dialogs of one branch that are remembered: a phone has one, a proxy behind us some. Those above go without a 199, which is
/// a courtesy.
const MAX_EARLY: usize = 16;

/// The early dialogs of a branch, by the tag of To.
#[derive(Debug, Default)]
pub(super) struct EarlyDialogs(Vec<(String, bool)>);

impl EarlyDialogs {
    /// A provisional response was forwarded: it makes an early dialog, or says that one has ended.
    pub(super) fn note(&mut self, response: &Response) {
        let Ok(Some(to)) = response.headers.get::<To>() else { return };
        let Some(tag) = to.tag() else { return };
        let over = response.status() == StatusCode::EARLY_DIALOG_TERMINATED;
        if let Some((_, ended)) = self.0.iter_mut().find(|(known, _)| known == tag) {
            *ended |= over;
        } else if self.0.len() < MAX_EARLY {
            self.0.push((tag.to_owned(), over));
        }
    }
}

/// Whether the caller wants to hear of it, and by responses that we may make: "a proxy is not allowed to generate and send 199
/// responses reliably".
pub(super) fn wants_early_ends(request: &Request) -> bool {
    let headers = &request.headers;
    *request.method() == Method::Invite
        && headers.all::<Supported>().flatten().any(|tag| tag.tag() == OptionTag::Reliable199)
        && !headers.all::<Require>().flatten().any(|tag| tag.tag() == OptionTag::Reliable)
        && !headers.all::<ProxyRequire>().flatten().any(|tag| tag.tag() == OptionTag::Reliable)
}

impl Proxy {
    /// A branch has failed, and the caller is not told by a final response: its early dialogs are over, all of them ("terminates all
    /// other early dialogs for which the same top Via branch value was received").
    pub(super) fn tell_early_ends(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        status: StatusCode,
        layer: &mut Layer,
    ) {
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        if context.answered {
            return;
        }
        let Some(branch) = context.branches.get_mut(index) else { return };
        for (tag, _) in std::mem::take(&mut branch.early.0).into_iter().filter(|(_, ended)| !ended) {
            let Some(request) = layer.transactions.request(tx) else { return };
            let reason = Reason::with_cause("SIP", status.code(), status.reason());
            let reply = request.reply(StatusCode::EARLY_DIALOG_TERMINATED).to_tag(&tag).header(&reason);
            let Ok(mut response) = reply.build() else { continue };
            response.headers.remove(HeaderName::RECORD_ROUTE); // "SHOULD NOT contain a Contact header field or a Record-Route"
            if layer.respond(now, tx, response).is_ok() {
                count(&mut layer.counters.early_ends);
            }
        }
    }
}
