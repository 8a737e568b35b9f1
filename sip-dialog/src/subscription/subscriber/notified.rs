//! What the notifier says (RFC 6665 §4.1.3, §4.4.1).

use std::time::{Duration, Instant};

use sip_message::headers::{self, SipETag, SubscriptionState};
use sip_message::{Request, StatusCode};
use sip_transaction::ServerTx;

use super::super::state::again_after;
use super::super::{
    Alarm, EventId, SubscriptionChange, SubscriptionEnd, SubscriptionKey, SubscriptionStage,
    TerminationReason, event_of, later, refresh_after,
};
use super::{GRACE, MAX_FORKS, SAME, Subscriber};
use crate::dialog::{Dialog, DialogId};
use crate::layer::Dialogs;
use crate::packages::refer::Report;

impl Dialogs {
    pub(crate) fn notify_came(&mut self, now: Instant, tx: ServerTx, request: Request, id: &DialogId) {
        let (Ok(event), Ok(state)) = (event_of(&request), request.headers.require::<SubscriptionState>())
        else {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST);
        };
        let event = EventId::of(&event);
        let key = match self.subscriptions.subscriber_in(id, &event) {
            Some(key) => Some(key),
            None if self.subscriptions.live_in(id) => {
                let of_package = |key: &SubscriptionKey| {
                    let subscriber = self.subscriptions.subscribers.get(key);
                    subscriber.is_some_and(|subscriber| subscriber.event.package == event.package)
                };
                let known = self
                    .subscriptions
                    .dialogs
                    .get(id)
                    .is_some_and(|all| all.subscriptions.iter().any(of_package));
                if !known {
                    return self.answer_bad_event(now, tx, &request); // RFC 6665 §4.1.3
                }
                None
            }
            None => match self.bind_notify(now, &request, id, &event) {
                Ok(key) => Some(key),
                Err(StatusCode::BAD_EVENT) => return self.answer_bad_event(now, tx, &request),
                Err(status) => return self.answer_status(now, tx, &request, status),
            },
        };
        let Some(key) = key else {
            let reason = "Subscription Does Not Exist";
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.answer_because(now, tx, &request, status, reason);
        };
        if !self.in_order(now, id, tx, &request) {
            return;
        }
        let contact = self.dialog_of(id).map(|dialog| dialog.contact().clone());
        let builder = request.reply(StatusCode::OK);
        self.answer_built(now, tx, contact.iter().fold(builder, |builder, contact| builder.header(contact)));
        self.notified(now, key, request, &state);
    }

    /// The subscription whose dialog this NOTIFY makes, if one waits for it (RFC 6665 §4.4.1).
    fn bind_notify(
        &mut self,
        now: Instant,
        request: &Request,
        id: &DialogId,
        event: &EventId,
    ) -> Result<SubscriptionKey, StatusCode> {
        let room = self.has_room_for_subscription();
        let attempt_id = (id.call_id.clone(), id.local_tag.clone());
        let unknown = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        let attempt = self.subscriptions.attempts.get_mut(&attempt_id).ok_or(unknown)?;
        let refer = attempt.event.package == "refer" && event.package == "refer";
        if attempt.event != *event && !refer {
            let other = attempt.event.package != event.package;
            return Err(if other { StatusCode::BAD_EVENT } else { unknown });
        }
        let fork = !attempt.notifiers.is_empty();
        if fork && (attempt.notifiers.len() > MAX_FORKS || !room)
            || attempt.notifiers.contains(&id.remote_tag)
        {
            return Err(unknown);
        }
        let free = |subscriber: &Subscriber| subscriber.dialog.is_none();
        if !fork && !self.subscriptions.subscribers.get(&attempt.key).is_some_and(free) {
            return Err(unknown); // it is over, or has been made anew
        }
        let mut dialog = Dialog::of_server(request, &id.local_tag, &attempt.contact)
            .map_err(|_| StatusCode::BAD_REQUEST)?;
        dialog.note_local_cseq(attempt.cseq);
        attempt.notifiers.push(id.remote_tag.clone());
        let (of, plan, asked, known) =
            (attempt.key, attempt.plan.clone(), attempt.asked, attempt.event.clone());
        let granted = attempt.granted.take_if(|(tag, _)| *tag == id.remote_tag);
        let until = attempt.until;
        let key = if fork { SubscriptionKey(self.fresh_key()) } else { of };
        if fork {
            self.subscriptions.subscribers.insert(key, Subscriber::new(now, known, plan, asked));
            self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key)); // a fetch ends, whatever its NOTIFYs say
            self.tell(key, SubscriptionChange::Forked { of });
        }
        let subscriber = self.subscriptions.subscribers.get_mut(&key).ok_or(unknown)?;
        subscriber.dialog = Some(id.clone());
        self.own_dialog(dialog, key);
        if let Some((_, at)) = granted {
            self.lasts(now, key, Some(at.saturating_duration_since(now)));
        }
        Ok(key)
    }

    fn notified(&mut self, now: Instant, key: SubscriptionKey, request: Request, state: &SubscriptionState) {
        let etag = request.headers.get::<SipETag>().ok().flatten().map(|etag| etag.0);
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.established = true;
        if etag.is_some() {
            subscriber.etag = etag;
        }
        // Whoever ends a subscription or fetches waits for the NOTIFY that says "terminated".
        if !subscriber.unsubscribing && subscriber.asked > 0 {
            self.subscriptions.alarms.cancel(Alarm::NotifyWait(key));
        }
        let progress = (subscriber.event.package == "refer").then(|| status_of_fragment(&request)).flatten();
        self.tell(key, SubscriptionChange::Notified { request });
        if let Some(status) = progress {
            self.tell(key, SubscriptionChange::Progress { status });
        }
        if state.is_terminated() {
            return self.terminated(now, key, state);
        }
        let expires = state.expires().map(|seconds| Duration::from_secs(seconds.into()));
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        // A state that nobody has defined is no reason to end the subscription: it stands, so it counts as active.
        let pending = state.value.eq_ignore_ascii_case("pending");
        let stage = if pending { SubscriptionStage::Pending } else { SubscriptionStage::Active };
        let changed = std::mem::replace(&mut subscriber.stage, stage) != stage;
        self.lasts(now, key, expires);
        if changed {
            let what = if pending {
                SubscriptionChange::Pending { expires }
            } else {
                SubscriptionChange::Active { expires }
            };
            self.tell(key, what);
        }
        self.unsubscribe_if_due(now, key);
    }

    /// RFC 6665 §4.1.3: why it ended decides whether and when it is made anew.
    fn terminated(&mut self, now: Instant, key: SubscriptionKey, state: &SubscriptionState) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        let reason = TerminationReason::of(state);
        let retry_after = state.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
        let again = subscriber.again(now, again_after(reason.as_ref(), retry_after));
        let end = if subscriber.ending {
            SubscriptionEnd::ByUs
        } else {
            SubscriptionEnd::ByNotifier { reason, retry_after }
        };
        self.end_subscription(now, key, end, again);
    }

    /// Somebody has said how long the subscription lasts: a 2xx or a NOTIFY, whichever is shorter (RFC 6665 §4.1.2.1,
    /// §4.1.3); never longer than we asked for.
    pub(super) fn lasts(&mut self, now: Instant, key: SubscriptionKey, granted: Option<Duration>) {
        let patience = self.patience();
        let chance = self.chance();
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        if subscriber.asked == 0 || subscriber.unsubscribing {
            return;
        }
        let at = match granted {
            Some(granted) => {
                let at = later(now, granted).min(subscriber.asked_until);
                let fresh = std::mem::take(&mut subscriber.fresh);
                if !fresh && subscriber.expires_at.is_some_and(|known| at + SAME >= known) {
                    return;
                }
                at
            }
            None if subscriber.expires_at.is_none() => subscriber.asked_until,
            None => return,
        };
        subscriber.expires_at = Some(at);
        // What is granted for no time is left to end, and made anew less and less often.
        let refreshes = subscriber.plan.is_some() && !subscriber.ending && at > now;
        self.subscriptions.alarms.arm(at + GRACE, Alarm::Expiry(key));
        if refreshes {
            let left = at.saturating_duration_since(now);
            self.subscriptions.alarms.arm(now + refresh_after(left, patience, chance), Alarm::Refresh(key));
        }
    }
}

/// RFC 3515 §2.4.5: the body of a NOTIFY of a REFER begins with the status line of the referred request.
fn status_of_fragment(request: &Request) -> Option<StatusCode> {
    let kind: headers::ContentType = request.headers.get().ok().flatten()?;
    let fragment =
        kind.kind().eq_ignore_ascii_case("message") && kind.subtype().eq_ignore_ascii_case("sipfrag");
    if !fragment {
        return None;
    }
    Report::parse(request.body()).ok()?.map(|report| report.status)
}
