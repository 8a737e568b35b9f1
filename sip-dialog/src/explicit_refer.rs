//! REFER without the subscription that it makes by itself (RFC 7614): none at all, or one that its sender asks for, at an address
//! that the answer names.

use std::time::{Duration, Instant};

use sip_message::headers::{Contact, OptionTag, ReferEventsAt};
use sip_message::{Request, StatusCode, Uri};
use sip_transaction::ServerTx;
use sip_transport::Path;

use crate::dialog::Dialog;
use crate::event::Error;
use crate::layer::Dialogs;
use crate::options::requires;
use crate::packages::refer::Report;
use crate::subscription::{
    Acceptance, Alarm, EventId, Notification, Notifier, SubscriberEnd, SubscriptionKey, Subscriptions,
    TerminationReason, Undecided, later,
};

/// What becomes of requests that others asked for, kept for those who may ask: more of them at one time are answered 503, since
/// each REFER makes one.
const MAX_STATES: usize = 1_024;

/// What a REFER has to be understood for, or it is refused with 420 (RFC 7614 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReferRequirement {
    /// No subscription is made; the answer names an address to subscribe to (`explicitsub`).
    ExplicitSubscription,
    /// No subscription is made, and none can be (`nosub`).
    NoSubscription,
}

impl ReferRequirement {
    pub(crate) fn tag(self) -> OptionTag {
        match self {
            Self::ExplicitSubscription => OptionTag::ExplicitSub,
            Self::NoSubscription => OptionTag::NoSub,
        }
    }

    pub(crate) fn of(request: &Request) -> Option<Self> {
        let both = [Self::ExplicitSubscription, Self::NoSubscription];
        both.into_iter().find(|requirement| requires(&request.headers, requirement.tag()))
    }
}

/// How a request goes that a REFER asked for, for whoever knows where to ask (§4.7).
#[derive(Debug)]
pub(crate) struct ReferState {
    /// The user of its address: whoever knows it may subscribe (§8).
    token: String,
    report: Report,
    subscribers: Vec<SubscriptionKey>,
}

impl Dialogs {
    /// Answers 200 to a REFER that wants no subscription by itself (§4.3, §5.3).
    pub(crate) fn accept_refer_without_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        tx: ServerTx,
        request: &Request,
        dialog: Option<&Dialog>,
        requirement: ReferRequirement,
    ) -> Result<(), Error> {
        let mut builder = request.reply(StatusCode::OK);
        if let Some(dialog) = dialog {
            builder = builder.to_tag(&dialog.id().local_tag);
        }
        let mut state = None;
        if requirement == ReferRequirement::ExplicitSubscription {
            if self.subscriptions.refer_states.len() >= MAX_STATES {
                self.answer_full(now, tx, request, StatusCode::SERVICE_UNAVAILABLE);
                self.end_notifier(key, SubscriberEnd::Refused(StatusCode::SERVICE_UNAVAILABLE));
                return Err(Error::Subscription("finds no room: too many REFERs are under way"));
            }
            let token = self.token();
            builder = builder.header(&ReferEventsAt::new(&self.address_of_state(request, &token)?));
            state =
                Some(ReferState { token, report: Report::new(StatusCode::TRYING), subscribers: Vec::new() });
        }
        let response = builder.build()?;
        if let Some(state) = state {
            // It must be there before the answer is (§4.3).
            self.subscriptions.refer_states.insert(key, state);
        }
        self.answer(now, tx, response);
        self.end_notifier(key, SubscriberEnd::NotWanted);
        if self.subscriptions.refer_states.contains_key(&key) {
            let until = later(now, Duration::from_secs(self.config.events.refer_expires.into()));
            self.subscriptions.alarms.arm(until, Alarm::ForgetRefer(key));
        }
        Ok(())
    }

    /// Where to subscribe: our own address, as it is reached from the sender of the REFER.
    fn address_of_state(&self, request: &Request, token: &str) -> Result<Uri, Error> {
        let contact = request.headers.require::<Contact>()?;
        let sender = contact.uri().ok_or(Error::NoListener)?;
        let local = self.local_for(sender)?;
        let uri = match local.sips_uri(Some(token)).filter(|_| sender.is_sips()) {
            Some(secure) => secure,
            None => local.uri(Some(token)),
        };
        uri.map_err(|_| Error::NoListener)
    }

    /// The state that a SUBSCRIBE asks for.
    pub(crate) fn refer_state_of(&self, request: &Request) -> Option<SubscriptionKey> {
        let uri = request.uri().ok()?;
        let user = uri.user()?;
        let states = &self.subscriptions.refer_states;
        states.iter().find(|(_, state)| state.token == user).map(|(key, _)| *key)
    }

    /// Somebody asks how it goes: told at once, and at once for the last time if it is over (§4.5, §4.7).
    pub(crate) fn subscribe_to_refer_came(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        path: &Path,
        refer: SubscriptionKey,
        event: EventId,
    ) {
        if self.asked_for(now, tx, &request).is_none() {
            return;
        }
        let Some(source) = self.room_for_source(now, tx, &request, path) else { return };
        let Some(dialog) = self.dialog_for(now, tx, &request, path) else { return };
        let Some(report) = self.subscriptions.refer_states.get(&refer).map(|state| state.report.clone())
        else {
            return;
        };
        let key = SubscriptionKey(self.fresh_key());
        let undecided = Undecided { tx, request: request.clone(), dialog: Some(dialog) };
        self.await_decision(now, key, Notifier::new(now, event, undecided, Some(source)));
        let acceptance = Acceptance {
            expires: Some(self.config.events.refer_expires),
            state: Some(Notification::full(report.to_body())),
            ..Acceptance::default()
        };
        let last = report.status.is_final().then_some(TerminationReason::NoResource);
        match self.accept_at_once(now, key, acceptance, last.as_ref(), report.to_body()) {
            Ok(()) => {
                let Subscriptions { refer_states, notifiers, .. } = &mut self.subscriptions;
                if let Some(state) = refer_states.get_mut(&refer).filter(|_| last.is_none()) {
                    // Whoever comes and goes again and again leaves nothing behind.
                    state.subscribers.retain(|other| notifiers.contains_key(other));
                    state.subscribers.push(key);
                }
            }
            Err(error) => tracing::debug!(%error, "a subscription to a REFER could not be answered"),
        }
    }

    /// `None`: there is no such state.
    pub(crate) fn report_to_subscribers(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        report: &Report,
    ) -> Option<()> {
        let state = self.subscriptions.refer_states.get_mut(&key)?;
        state.report = report.clone();
        let done = report.status.is_final();
        let subscribers = match done {
            true => std::mem::take(&mut state.subscribers),
            false => state.subscribers.clone(),
        };
        for subscriber in subscribers {
            let told = match done {
                true => {
                    let reason = TerminationReason::NoResource;
                    self.terminate_subscription(now, subscriber, &reason, None, Some(report.to_body()))
                }
                false => self.notify(now, subscriber, Notification::full(report.to_body())),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "who asked how a REFER goes no longer listens");
            }
        }
        if done {
            // Long enough for the answer to the REFER and a SUBSCRIBE after it (§4.7).
            let until = now + self.patience().saturating_mul(2);
            self.subscriptions.alarms.arm(until, Alarm::ForgetRefer(key));
        }
        Some(())
    }

    pub(crate) fn forget_refer(&mut self, key: SubscriptionKey) {
        self.subscriptions.refer_states.remove(&key);
    }
}
