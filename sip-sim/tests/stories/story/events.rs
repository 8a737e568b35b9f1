//! What the application makes of what the layer tells.

use std::time::{Duration, Instant};

use sip_dialog::{
    CallKey, CallState, Cause, Described, DialogId, Event, Notification, PublicationChange, Report,
    SubscriberChange, SubscriptionChange, SubscriptionKey,
};
use sip_message::{Response, StatusCode};

use super::book::Description;
use super::user::{Asked, CallModel, Deed, User};

const SECOND: Duration = Duration::from_secs(1);

fn description(response: &Response) -> Description {
    Description::read(response.body()).expect("what is described has a description")
}

impl User {
    pub(crate) fn react(&mut self, now: Instant) {
        while let Some(event) = self.dialogs.poll_event() {
            self.hear(now, event);
        }
    }

    fn hear(&mut self, now: Instant, event: Event) {
        self.told.kinds.insert(std::mem::discriminant(&event));
        match event {
            Event::Incoming { call, request, replaces, .. } => {
                self.told.replacing += usize::from(replaces.is_some());
                self.calls.insert(call, CallModel::default());
                self.is_asked(call, Description::read(request.body()));
                let caller = request.headers.text("Contact").unwrap_or_default().to_owned();
                self.is_called(now, call, replaces.is_some(), &caller);
            }
            Event::Progress { call, dialog, response, described } => {
                if let Some(dialog) = &dialog {
                    self.progress(now, call, dialog, &response, described);
                    if self.chance.one_in(4) {
                        self.try_update(now, call, Some(dialog));
                    }
                }
                self.tell(now, call, StatusCode::RINGING);
            }
            Event::Redirected { .. } => {}
            Event::Answered { call, dialog, response, described } => {
                let model = self.calls.entry(call).or_default();
                model.dialog = Some(dialog.clone());
                // Other phones that rang are calls of their own, if they answer too.
                model.names.clear();
                self.is_answered(now, call, &dialog, &response, described);
                self.tell(now, call, StatusCode::OK);
                self.live_with(now, call);
            }
            Event::Forked { call, response, described } => {
                let dialog = self.dialogs.dialog(call).expect("a call that stands has a dialog").id().clone();
                let first_offer = Description::read(response.body()).and_then(|answer| answer.answers);
                let model = CallModel { first_offer, dialog: Some(dialog.clone()), ..CallModel::default() };
                self.calls.insert(call, model);
                self.is_answered(now, call, &dialog, &response, described);
                self.live_with(now, call);
            }
            Event::ProvisionalAcknowledged { call, prack, described } => {
                if described == Described::Answer {
                    let answer = Description::read(prack.body()).expect("an answer");
                    self.belief_of(call).expect("a dialog").answered(&answer);
                }
                if let Some(asked) = &mut self.calls.entry(call).or_default().asked {
                    asked.acknowledged |= asked.said;
                }
                self.note_said(call);
            }
            Event::Offered { offer, request } => {
                let description = Description::read(request.body()).expect("an offer");
                self.belief(offer.call, &offer.dialog).offered(&description);
                let wait = if self.chance.one_in(5) { SECOND } else { Duration::ZERO };
                self.plan_within(now, wait, Deed::AnswerOffer(offer, description.number));
            }
            Event::UpdateAnswered { call, dialog, response, described } => {
                assert_eq!(
                    described,
                    Described::Answer,
                    "{}: an UPDATE with an offer has no answer",
                    self.name
                );
                self.belief(call, &dialog).answered(&description(&response));
            }
            Event::UpdateFailed { call, dialog, .. } => self.belief(call, &dialog).ours = None,
            Event::AnswerRefused { call, dialog, .. } => {
                let said = self.calls.entry(call).or_default().said_in_prack.take();
                self.belief(call, &dialog).agreed.retain(|(_, answer)| Some(answer) != said.as_ref());
            }
            Event::RefreshDue { call } => self.plan(now, Deed::Reinvite(call)),
            Event::ReinviteRetry { call } => {
                if self.chance.one_in(2) {
                    self.plan(now, Deed::Reinvite(call));
                }
            }
            Event::Confirmed { call, ack } => {
                self.is_confirmed(call, ack.and_then(|ack| Description::read(ack.body())));
                self.live_with(now, call);
            }
            Event::Reinvited { call, request } => {
                self.is_asked(call, Description::read(request.body()));
                if self.chance.one_in(6) {
                    self.plan_within(now, SECOND, Deed::Ring(call));
                }
                self.plan_within(now, 3 * SECOND, Deed::Decide(call));
            }
            Event::ReinviteCancelled { call } => self.is_withdrawn(call),
            Event::ReinviteProgress { call, response, described } => {
                let dialog = self.dialogs.dialog(call).expect("a dialog").id().clone();
                self.progress(now, call, &dialog, &response, described);
            }
            Event::ReinviteAnswered { call, response, described } => {
                let reinvite = self.calls.entry(call).or_default().reinvite.take();
                let ending = self.dialogs.state(call) != Some(CallState::Confirmed);
                let belief = self.belief_of(call).expect("a dialog");
                match described {
                    Described::Answer => belief.answered(&description(&response)),
                    Described::Offer => {
                        belief.offered(&description(&response));
                        self.plan_within(now, SECOND, Deed::Acknowledge(call));
                    }
                    // What comes between our BYE and its answer is not told.
                    _ => assert!(
                        belief.ours.is_none() || belief.ours != reinvite || ending,
                        "a re-INVITE is accepted without an answer"
                    ),
                }
            }
            Event::ReinviteFailed { call, .. } => {
                let model = self.calls.entry(call).or_default();
                let (reinvite, offered) = (model.reinvite.take(), model.offered_by_provisional.take());
                let belief = self.belief_of(call).expect("a dialog");
                belief.ours.take_if(|ours| Some(&*ours) == reinvite.as_ref());
                belief.theirs.take_if(|theirs| Some(&*theirs) == offered.as_ref());
            }
            Event::Request { tx, request, .. } => {
                let response = request.reply(StatusCode::OK).to_tag("story").build().unwrap();
                let _ = self.dialogs.respond(now, tx, response);
            }
            Event::Response { key, result, .. } => {
                let registers = self.registering.take_if(|registering| *registering == key).is_some();
                if registers && result.is_err() && !self.quits {
                    self.plan(now + SECOND, Deed::Register);
                }
            }
            Event::Subscription { key, what } => self.subscription_changes(now, key, what),
            Event::SubscriptionRequested { key, .. } => {
                self.subscribers.insert(key);
                // Now and then nobody ever decides.
                if !self.chance.one_in(12) {
                    self.plan_within(now, 2 * SECOND, Deed::DecideSubscription(key));
                }
            }
            Event::Subscriber { key, what } => match what {
                SubscriberChange::Ended(_) => drop(self.subscribers.remove(&key)),
                SubscriberChange::StateWanted => {
                    let state = Notification::full(self.new_offer().body());
                    let _ = self.dialogs.notify(now, key, state);
                }
                _ => {}
            },
            Event::Referred { key, refer_to, replaces, .. } => {
                self.subscribers.insert(key);
                self.is_referred(now, key, refer_to, replaces);
            }
            Event::Publication { key, what: PublicationChange::Ended(_) } => {
                assert!(self.published.remove(&key), "a publication ends twice");
            }
            Event::Publication { .. } => {}
            Event::Ended { call, cause } => {
                self.tell(now, call, Self::status_of(&cause));
                let known = self.forget(call).is_some();
                assert!(known, "{}: a call ends that was not known: {cause:?}", self.name);
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// An INVITE of the peer, the first or a further one.
    fn is_asked(&mut self, call: CallKey, offer: Option<Description>) {
        let number = self.number();
        if let Some(offer) = &offer {
            self.belief_of(call).expect("a dialog").offered(offer);
        }
        let asked =
            Asked { offer: offer.map(|offer| offer.number), number, said: false, acknowledged: false };
        self.calls.entry(call).or_default().asked = Some(asked);
    }

    fn is_called(&mut self, now: Instant, call: CallKey, replaces: bool, caller: &str) {
        if self.quits {
            return drop(self.dialogs.reject(now, call, StatusCode::TEMPORARILY_UNAVAILABLE));
        }
        if replaces {
            return self.plan_within(now, SECOND, Deed::Decide(call));
        }
        match self.chance.below(14) {
            0 => drop(self.dialogs.reject(now, call, StatusCode::BUSY_HERE)),
            1 => self.redirect(now, call, caller),
            2 => self.plan_within(now, SECOND, Deed::Ring(call)), // and nobody comes
            3 => self.plan_within(now, 2 * SECOND, Deed::Decide(call)),
            rings => {
                for _ in 0..rings % 4 {
                    self.plan_within(now, 4 * SECOND, Deed::Ring(call));
                }
                self.plan_within(now, 6 * SECOND, Deed::Decide(call));
            }
        }
    }

    fn progress(
        &mut self,
        now: Instant,
        call: CallKey,
        dialog: &DialogId,
        response: &Response,
        described: Described,
    ) {
        let belief = self.belief(call, dialog);
        match described {
            Described::Answer => belief.answered(&description(response)),
            Described::Offer => {
                let offer = description(response);
                belief.offered(&offer);
                self.calls.entry(call).or_default().offered_by_provisional = Some(offer.number.clone());
                let wait = if self.chance.one_in(3) { SECOND } else { Duration::ZERO };
                let deed = Deed::AcknowledgeProvisional(call, dialog.clone(), offer.number);
                self.plan_within(now, wait, deed);
            }
            Described::Preview => {
                assert_eq!(description(response).answers, belief.ours, "a forecast of another answer");
            }
            Described::Nothing => {}
        }
    }

    fn is_answered(
        &mut self,
        now: Instant,
        call: CallKey,
        dialog: &DialogId,
        response: &Response,
        described: Described,
    ) {
        let belief = self.belief(call, dialog);
        match described {
            Described::Answer => belief.answered(&description(response)),
            Described::Offer => {
                belief.offered(&description(response));
                self.plan_within(now, SECOND, Deed::Acknowledge(call));
            }
            _ => assert!(!belief.agreed.is_empty(), "a call stands without a session"),
        }
    }

    /// The ACK for our 2xx, with the answer if the 2xx was the offer.
    fn is_confirmed(&mut self, call: CallKey, answer: Option<Description>) {
        let said = self.calls.entry(call).or_default().asked.take().map(|asked| asked.number);
        let Some(belief) = self.belief_of(call) else { return };
        if said.is_some() && belief.ours == said {
            match answer {
                Some(answer) => belief.answered(&answer),
                None => belief.ours = None,
            }
        }
    }

    /// The INVITE in the call is off.
    pub(crate) fn is_withdrawn(&mut self, call: CallKey) {
        let Some(asked) = self.calls.entry(call).or_default().asked.take() else { return };
        let Some(belief) = self.belief_of(call) else { return };
        belief.ours.take_if(|ours| *ours == asked.number);
        belief.theirs.take_if(|theirs| Some(&*theirs) == asked.offer.as_ref());
        if asked.said && !asked.acknowledged {
            belief.doubtful.insert(asked.number);
        }
    }

    /// A call that stands ends at some moment, or stays.
    fn live_with(&mut self, now: Instant, call: CallKey) {
        if self.chance.one_in(2) {
            self.plan_within(now, 60 * SECOND, Deed::HangUp(call));
        }
    }

    /// Who sent us here hears how it goes.
    pub(crate) fn tell(&mut self, now: Instant, call: CallKey, status: StatusCode) {
        let Some(model) = self.calls.get_mut(&call) else { return };
        let key = if status.is_final() { model.report.take() } else { model.report };
        if let Some(key) = key {
            let _ = self.dialogs.report(now, key, &Report::new(status));
        }
    }

    fn subscription_changes(&mut self, now: Instant, key: SubscriptionKey, what: SubscriptionChange) {
        match what {
            SubscriptionChange::Forked { .. } => drop(self.subscribed.insert(key)),
            SubscriptionChange::Terminated { again: None, .. } => {
                assert!(self.subscribed.remove(&key), "a subscription ends twice");
                self.referring.remove(&key);
            }
            SubscriptionChange::Progress { status } if status.is_success() => {
                if let Some(call) = self.referring.remove(&key) {
                    self.plan_within(now, SECOND, Deed::HangUp(call));
                }
            }
            _ => {}
        }
    }

    /// The end of a call that was made for somebody else.
    fn status_of(cause: &Cause) -> StatusCode {
        match cause {
            Cause::Rejected(response) => response.status(),
            Cause::Failed(failure) => failure.status(),
            _ => StatusCode::REQUEST_TERMINATED,
        }
    }
}
