//! Credentials of our own for the gateways of a trunk: the challenge is answered here, and no caller hears of it.

use std::sync::Arc;
use std::time::Instant;

use sip_auth::Attempts;
use sip_message::{Request, Response};
use sip_transaction::{ServerTx, Target};

use super::{Layer, Proxy};
use crate::config::count;
use crate::routing::rules::{TrunkAccount, TrunkIdentity};

/// A request as it was sent to a gateway, and who we are there.
#[derive(Debug)]
pub(crate) struct Proof {
    request: Request,
    target: Target,
    identity: Arc<TrunkIdentity>,
}

impl Proof {
    pub(super) fn new(request: Request, target: Target, identity: Arc<TrunkIdentity>) -> Self {
        Self { request, target, identity }
    }
}

impl Proxy {
    /// Sends a challenged branch once more, with credentials. The CSeq stays: it belongs to the caller's dialog, and the new branch
    /// makes another transaction of it (as RFC 3261 §16.6 step 8 does of each fork).
    pub(super) fn prove(
        &mut self,
        now: Instant,
        tx: ServerTx,
        index: usize,
        challenge: &Response,
        layer: &mut Layer,
    ) -> bool {
        let Some(context) = self.contexts.get_mut(&tx) else { return false };
        if context.cancelled || context.answered {
            return false;
        }
        let Some(branch) = context.branches.get_mut(index).filter(|branch| !branch.done) else {
            return false;
        };
        let Some(proof) = branch.proof.take() else { return false };
        let Proof { mut request, target, identity } = *proof;
        let Some(mut account) = identity.account.as_ref().map(TrunkAccount::authenticator) else {
            return false;
        };
        let cnonce = layer.transactions.token();
        if let Err(error) = account.answer(&mut request, challenge, &mut Attempts::default(), &cnonce) {
            tracing::info!(%error, "a trunk asks for credentials that it has not");
            return false;
        }
        count(&mut layer.counters.proved);
        self.send(now, tx, index, request, target, layer);
        true
    }
}
