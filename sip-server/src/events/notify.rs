//! NOTIFY out: one at a time for each subscription, later states in place of earlier ones (RFC 6665 §4.2.2).

use std::time::{Duration, Instant};

use sip_dialog::ends_subscription;
use sip_message::headers::{Require, RetryAfter, SipETag, SubscriptionState};
use sip_message::{RequestBuilder, Response};
use sip_transaction::slab::Key;
use sip_transaction::{ClientTx, Failure, Target};

use super::subscribe::{etag_text, meets};
use super::{EventServer, Shown, Stage};
use crate::config::count;
use crate::proxy::Layer;

/// What becomes of a subscription that is due.
enum Next {
    /// This goes out.
    Send(Box<RequestBuilder>, Target),
    /// There is nothing to say, or not yet.
    Wait,
    /// It is over, and nobody can be told.
    Forget,
}

impl EventServer {
    /// Notifies those who are due, as many as may be under way at one time.
    pub(crate) fn pump(&mut self, now: Instant, layer: &mut Layer) {
        while self.notifying.len() < self.config.limits.notifying {
            let Some(key) = self.due.pop_front() else { break };
            self.notify(now, key, layer);
        }
        self.plan_keeping(now);
    }

    fn notify(&mut self, now: Instant, key: Key, layer: &mut Layer) {
        match self.next(now, key) {
            Next::Wait => {}
            Next::Forget => self.forget(key),
            Next::Send(builder, target) => {
                let sent = builder
                    .build()
                    .ok()
                    .and_then(|notify| layer.transactions.send(now, notify, target, &mut layer.out).ok());
                count(&mut layer.counters.notifications);
                let over = self.watchings.get(key).is_none_or(|one| one.end.is_some());
                match sent {
                    // The last one needs no answer: whatever comes, the subscription is over.
                    _ if over => self.forget(key),
                    Some(client) => {
                        self.notifying.insert(client, key);
                        if let Some(one) = self.watchings.get_mut(key) {
                            one.busy = true;
                        }
                    }
                    // Too many transactions: when the next one ends there is room.
                    None => self.hold(key, now + Duration::from_secs(1)),
                }
            }
        }
    }

    fn next(&mut self, now: Instant, key: Key) -> Next {
        let second = self.second(now);
        let Some(one) = self.watchings.get_mut(key) else { return Next::Wait };
        one.queued = false;
        if one.busy || !one.wanted {
            return Next::Wait;
        }
        if one.lost {
            return if one.end.is_some() { Next::Forget } else { Next::Wait };
        }
        if self.is_out_of_numbers(key) {
            self.hold(key, now + Duration::from_secs(1));
            return Next::Wait;
        }
        let Some(one) = self.watchings.get_mut(key) else { return Next::Wait };
        if !one.urgent
            && let Some(at) = one.pace.as_ref().and_then(|pace| pace.rates.may_notify_at(pace.last))
            && at > now
        {
            self.look_at(key, at);
            return Next::Wait;
        }
        let Some(one) = self.watchings.get(key) else { return Next::Wait };
        let Some(Shown { body, etag, holds, told }) = self.shown(now, one) else {
            // It goes when the location service has answered.
            return if one.end.is_some() && !one.urgent { Next::Forget } else { Next::Wait };
        };
        let resource = one.resource;
        let members: Vec<Key> = one.list.iter().flat_map(|list| list.resources()).collect();
        for shown in members.into_iter().chain([resource]) {
            if let Some(resource) = self.resources.get_mut(shown) {
                resource.calls.told = true;
            }
        }
        let suppressed = meets(one.condition.as_deref(), etag);
        let Some(one) = self.watchings.get_mut(key) else { return Next::Wait };
        one.wanted = false;
        if suppressed && !one.urgent {
            return Next::Wait; // RFC 5839 §6.3
        }
        let whole = one.urgent || one.version == 0;
        one.urgent = false;
        if let Some(known) = &mut one.partial {
            *known = holds.filter(|_| !suppressed);
        }
        let is_list = one.list.is_some();
        if let Some(list) = &mut one.list {
            if whole {
                list.begin();
            }
            one.wanted = list.told(&told) && one.end.is_none();
        }
        one.version = one.version.saturating_add(1);
        let left = one.ends.saturating_sub(second).to_string();
        let mut state = match (one.end, one.stage) {
            (Some(end), _) => SubscriptionState::new("terminated").with_param("reason", Some(end.reason())),
            (None, Stage::Pending) => SubscriptionState::new("pending").with_param("expires", Some(&left)),
            (None, _) => SubscriptionState::new("active").with_param("expires", Some(&left)),
        };
        if let Some(pace) = &mut one.pace {
            state = pace.rates.reflect(state);
            pace.rates.note(now);
            pace.last = Some(now);
            pace.must_at = pace.rates.must_notify_after().and_then(|next| now.checked_add(next));
        }
        let must = one.pace.as_ref().and_then(|pace| pace.must_at).filter(|_| one.end.is_none());
        let Some((mut builder, target)) = one.dialog.notify() else { return Next::Forget };
        builder = builder.header(&state);
        if let Some(etag) = etag {
            builder = builder.header(&SipETag::new(&etag_text(etag)));
        }
        // Who lost the right to see it is not told on the way out.
        let rejected = one.end == Some(super::End::Rejected);
        if is_list {
            builder = builder.header(&Require::new("eventlist")); // RFC 4662 §4.4
        }
        if let Some((content_type, body)) = body
            && !suppressed
            && !rejected
        {
            builder = builder.body(&content_type, body);
        }
        if let Some(must) = must {
            self.look_at(key, must);
        }
        Next::Send(Box::new(builder), target)
    }

    /// They may not have had the last document: the next one is whole.
    fn tell_all_again(&mut self, key: Key) {
        if let Some(one) = self.watchings.get_mut(key) {
            one.partial = one.partial.map(|_| None);
            one.urgent |= one.list.is_some();
        }
    }

    /// Notifies later.
    fn hold(&mut self, key: Key, at: Instant) {
        if let Some(one) = self.watchings.get_mut(key) {
            one.wanted = true;
            self.look_at(key, at);
        }
    }

    /// A response to a NOTIFY of ours. Whether it was one.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        client: ClientTx,
        response: &Response,
        layer: &mut Layer,
    ) -> bool {
        if !self.notifying.contains_key(&client) {
            return false;
        }
        let status = response.status();
        if status.is_provisional() {
            return true;
        }
        let Some(key) = self.notifying.remove(&client) else { return true };
        if let Some(one) = self.watchings.get_mut(key) {
            one.busy = false;
        }
        if !status.is_success() {
            self.tell_all_again(key);
        }
        if ends_subscription(status) {
            self.forget(key);
        } else if !status.is_success()
            && let Ok(Some(wait)) = response.headers.get::<RetryAfter>()
        {
            // They take it later; they must not miss the state.
            self.hold(key, now + Duration::from_secs(wait.seconds.into()));
        } else if self.watchings.get(key).is_some_and(|one| one.wanted) {
            self.queue(key);
        }
        self.pump(now, layer);
        true
    }

    /// A NOTIFY of ours got no response. Whether it was one.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        client: ClientTx,
        failure: &Failure,
        layer: &mut Layer,
    ) -> bool {
        let Some(key) = self.notifying.remove(&client) else { return false };
        if let Some(one) = self.watchings.get_mut(key) {
            one.busy = false;
            one.wanted = true;
            one.urgent = true;
        }
        self.tell_all_again(key);
        match failure {
            // The connection of a phone that comes back and refreshes: it must not miss the state. If it does not, its time
            // ends the subscription.
            Failure::Transport(_) if self.watchings.get(key).is_some_and(|one| one.end.is_none()) => {}
            Failure::Overloaded => self.hold(key, now + Duration::from_secs(1)),
            // §4.2.2: who does not answer is not notified again.
            _ => self.forget(key),
        }
        self.pump(now, layer);
        true
    }
}
