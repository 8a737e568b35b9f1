//! Whether gateways are there: OPTIONS at intervals (RFC 3261 §11).

use std::time::Instant;

use sip_message::headers::{CSeq, CallId, From, To};
use sip_message::{Method, Request, Uri};
use sip_transaction::Target;

use super::{Ended, Job};
use crate::config::count;
use crate::core::ServerCore;
use crate::core::beside::Note;

impl ServerCore {
    pub(super) fn ask_gateway(&mut self, now: Instant, job: Job) {
        let Some(watched) = self.trunks.gateways.get_mut(&job) else { return };
        watched.timer = None;
        let uri = watched.uri.clone();
        let Some(request) = self.options(&uri) else {
            return self.gateway_answered(now, job, &Ended::Failed);
        };
        let Job::Check(trunk, _) = &job else { return };
        let target = match self.rules.trunk(trunk) {
            Some(trunk) => trunk.identity.target(uri),
            None => Target::Uri(uri),
        };
        match self.layer.transactions.send(now, request, target, &mut self.layer.out) {
            Ok(client) => {
                count(&mut self.layer.counters.gateway_checks);
                self.trunks.running.insert(client, job);
            }
            // Too much is under way: that says nothing about the gateway.
            Err(_) => self.ask_again(now, job),
        }
    }

    fn options(&mut self, uri: &Uri) -> Option<Request> {
        let transactions = &mut self.layer.transactions;
        let own = transactions.locals().iter().next()?.uri(None).ok()?;
        let (tag, call_id) = (transactions.token(), transactions.token());
        let request = Request::builder(Method::Options, uri)
            .header(&From::new(&own).with_tag(&tag))
            .header(&To::new(uri))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Options));
        request.build().ok()
    }

    /// Whatever a gateway answers shows that it is there, but for 503; a 408 comes of a proxy before it.
    pub(super) fn gateway_answered(&mut self, now: Instant, job: Job, ended: &Ended) {
        let alive = match ended {
            Ended::Answered(response) => !matches!(response.status().code(), 408 | 503),
            Ended::Failed => false,
        };
        let Some(watched) = self.trunks.gateways.get_mut(&job) else { return };
        if alive == watched.up {
            watched.against = 0;
        } else {
            watched.against = watched.against.saturating_add(1);
            let needed = if alive { watched.check.rises } else { watched.check.falls };
            if watched.against >= needed {
                watched.up = alive;
                watched.against = 0;
                tracing::warn!(gateway = %watched.uri, up = alive, "a gateway has changed");
                let down = self.trunks.all_down();
                self.tell_all(|| Note::gateways(&down));
            }
        }
        self.ask_again(now, job);
    }

    fn ask_again(&mut self, now: Instant, job: Job) {
        if let Some(watched) = self.trunks.gateways.get_mut(&job) {
            watched.timer = Some(self.trunks.timers.arm(now, watched.check.interval, job));
        }
    }
}
