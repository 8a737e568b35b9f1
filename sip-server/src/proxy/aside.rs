//! Branches whose phones sleep: put aside until they are awake (RFC 8599 §5.2, the "SIP Request Push Bucket").

use std::sync::Arc;
use std::time::Instant;

use sip_message::{Request, StatusCode};
use sip_transaction::ServerTx;

use super::target::Hop;
use super::{Layer, Proxy};
use crate::core::Asleep;

impl Proxy {
    /// A branch whose phone is to be woken. [`awake`](Self::awake) or [`stays_asleep`](Self::stays_asleep) says what came of it.
    pub(crate) fn poll_asleep(&mut self) -> Option<(ServerTx, usize, Arc<Asleep>)> {
        self.asleep.pop_front()
    }

    /// The branch rings nobody yet, and keeps the request from being answered all the same.
    pub(super) fn put_aside(
        &mut self,
        tx: ServerTx,
        index: usize,
        request: Request,
        hop: Hop,
        asleep: Arc<Asleep>,
    ) {
        let branch = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index));
        if let Some(branch) = branch.filter(|branch| !branch.done) {
            branch.aside = Some(Box::new((request, hop)));
            self.asleep.push_back((tx, index, asleep));
        }
    }

    /// The phone is awake, and reached by this hop.
    pub(crate) fn awake(&mut self, now: Instant, tx: ServerTx, index: usize, hop: Hop, layer: &mut Layer) {
        let branch = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index));
        let Some((request, old)) = branch.and_then(|branch| branch.aside.take()).map(|aside| *aside) else {
            return;
        };
        let hop = Hop { others: old.others, edits: old.edits, asleep: None, ..hop };
        self.forward(now, tx, index, request, hop, layer);
    }

    /// It cannot be woken, or not in time: 480 (§5.6.2).
    pub(crate) fn stays_asleep(&mut self, now: Instant, tx: ServerTx, index: usize, layer: &mut Layer) {
        let branch = self.contexts.get_mut(&tx).and_then(|context| context.branches.get_mut(index));
        if branch.is_some_and(|branch| branch.aside.take().is_some()) {
            self.branch_failed(now, tx, index, StatusCode::TEMPORARILY_UNAVAILABLE, layer);
        }
    }
}
