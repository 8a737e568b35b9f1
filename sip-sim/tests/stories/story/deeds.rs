//! What the application does.

use std::time::{Duration, Instant};

use sip_dialog::{
    Acceptance, Body, CallKey, CallState, Described, DialogId, Error, Invite, Notification, OfferKey,
    Publication, Refer, Report, Subscribe, SubscriptionKey, TerminationReason, refer_to_replacing,
};
use sip_message::headers::{self, CSeq, CallId, Contact, Expires, From, NameAddr, Replaces, Route, To};
use sip_message::{Header, Method, Request, StatusCode, Uri};

use super::book::Description;
use super::user::{CallModel, Deed, User};
use super::{PHONES, PRESENCE, SERVER};

const SECOND: Duration = Duration::from_secs(1);
/// Calls of one phone at one time.
const MOST_CALLS: usize = 3;

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn server() -> Route {
    Route::new(&uri(&format!("sip:{SERVER};lr")))
}

impl User {
    pub(crate) fn act(&mut self, now: Instant, deed: Deed) {
        match deed {
            Deed::Register => self.register(now),
            Deed::Begin => self.begin(now),
            Deed::Ring(call) => self.ring(now, call),
            Deed::Decide(call) => self.decide(now, call),
            Deed::Acknowledge(call) => {
                let number = self.number();
                let Some(offer) = self.belief_of(call).and_then(|belief| belief.theirs.clone()) else {
                    return;
                };
                let answer = Description { number: number.clone(), answers: Some(offer) };
                if self.dialogs.acknowledge(now, call, answer.body()).is_ok() {
                    self.belief_of(call).expect("a dialog").answer(&number);
                }
            }
            Deed::AcknowledgeProvisional(call, dialog, offer) => {
                let answer = Description { number: self.number(), answers: Some(offer) };
                if self.dialogs.acknowledge_provisional(now, call, &dialog, answer.body()).is_ok() {
                    self.belief(call, &dialog).answer(&answer.number);
                    self.calls.entry(call).or_default().said_in_prack = Some(answer.number);
                }
            }
            Deed::AnswerOffer(offer, number) => self.answer_offer(now, &offer, number),
            Deed::Reinvite(call) => self.try_reinvite(now, call),
            Deed::DecideSubscription(key) => self.decide_subscription(now, key),
            Deed::HangUp(call) => drop(self.dialogs.hang_up(now, call)),
            Deed::Quit => self.quit(now),
        }
    }

    fn identity(&self) -> NameAddr {
        format!("<sip:{}@example.com>", self.user).parse().unwrap()
    }

    fn register(&mut self, now: Instant) {
        let call_id = self.dialogs.token();
        let tag = self.dialogs.token();
        let address = self.identity();
        let hop = uri(&format!("sip:{SERVER}"));
        let register = Request::builder(Method::Register, &uri("sip:example.com"))
            .header(&server())
            .header(&From(address.clone()).with_tag(&tag))
            .header(&To(address))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Register))
            .header(&Contact::new(&uri(&format!("sip:{}@{}", self.user, self.at))))
            .header(&Expires(600))
            .build()
            .unwrap();
        self.registering = Some(self.dialogs.request(now, register, hop).unwrap());
    }

    fn begin(&mut self, now: Instant) {
        let mut calls: Vec<CallKey> = self.dialogs.calls().collect();
        calls.sort();
        let total = calls.len();
        calls.retain(|call| self.dialogs.state(*call) == Some(CallState::Confirmed));
        let call = (!calls.is_empty()).then(|| self.chance.pick(&calls));
        match (self.chance.below(14), call) {
            (0, _) => self.subscribe(now),
            (1, _) => self.publish(now),
            (2, _) => self.tend(now),
            (3 | 4, Some(call)) => self.try_reinvite(now, call),
            (5 | 6, Some(call)) => self.try_update(now, call, None),
            (7, Some(call)) => drop(self.dialogs.request_in_call(now, call, Method::Info, None)),
            (8, Some(call)) => self.transfer(now, call),
            (9, Some(call)) => self.transfer_attended(now, call, &calls),
            (10, Some(call)) => drop(self.dialogs.hang_up(now, call)),
            _ if total < MOST_CALLS => self.call_somebody(now),
            _ => {}
        }
    }

    // ---- calls -----------------------------------------------------------------------------------------------

    fn call_somebody(&mut self, now: Instant) {
        let others: Vec<&str> = PHONES.iter().map(|phone| phone.2).filter(|at| *at != self.at).collect();
        let direct = format!("sip:x@{}", self.chance.pick(&others));
        let known = if self.user == "alice" { "sip:bob@example.com" } else { "sip:alice@example.com" };
        let to = if self.chance.one_in(4) { direct.as_str() } else { known };
        let mut fields = Vec::new();
        if self.chance.one_in(5) {
            fields.push(("Require".into(), "100rel".into()));
        }
        if self.chance.one_in(10) {
            fields.push(("Expires".into(), "5".into()));
        }
        let Some(call) = self.call(now, uri(to), fields) else { return };
        if self.chance.one_in(4) {
            self.plan_within(now, 8 * SECOND, Deed::HangUp(call));
        }
    }

    fn call(&mut self, now: Instant, to: Uri, fields: Vec<(String, String)>) -> Option<CallKey> {
        let offer = (!self.chance.one_in(4)).then(|| self.new_offer());
        let body = offer.as_ref().map(Description::body);
        let invite = Invite { to, from: self.identity(), offer: body, route: vec![server()], fields };
        let call = self.dialogs.invite(now, invite).ok()?;
        let first_offer = offer.map(|offer| offer.number);
        self.calls.insert(call, CallModel { first_offer, ..CallModel::default() });
        Some(call)
    }

    /// What we have to say to the peer's INVITE.
    fn say(&self, call: CallKey) -> Option<Body> {
        let asked = self.calls.get(&call)?.asked.as_ref()?;
        let (number, answers) = (asked.number.clone(), asked.offer.clone());
        match self.dialogs.description_due(call) {
            Described::Answer => Some(Description { number, answers }.body()),
            Described::Offer => Some(Description { number, answers: None }.body()),
            _ => None,
        }
    }

    fn ring(&mut self, now: Instant, call: CallKey) {
        let says = self.chance.one_in(2);
        let body = self.say(call).filter(|_| says);
        let status = if body.is_some() { StatusCode::SESSION_PROGRESS } else { StatusCode::RINGING };
        if self.dialogs.ring(now, call, status, body).is_err() {
            // No offer without PRACK; or it is over.
            let _ = self.dialogs.ring(now, call, StatusCode::RINGING, None);
        }
        self.note_said(call);
        if self.chance.one_in(4) {
            self.try_update(now, call, None);
        }
    }

    fn decide(&mut self, now: Instant, call: CallKey) {
        if self.chance.one_in(7) {
            let status = self.chance.pick(&[StatusCode::NOT_ACCEPTABLE_HERE, StatusCode::DECLINE]);
            if self.dialogs.reject(now, call, status).is_ok() {
                self.is_withdrawn(call);
            }
            return;
        }
        let body = self.say(call);
        match self.dialogs.accept(now, call, body) {
            Ok(()) => self.note_said(call),
            Err(Error::WrongState { .. } | Error::NoSuchCall) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
    }

    pub(crate) fn redirect(&mut self, now: Instant, call: CallKey, caller: &str) {
        let others = PHONES.iter().map(|phone| phone.2);
        let mut others = others.filter(|at| *at != self.at && !caller.contains(at));
        let other = others.next().expect("there is a third phone");
        let contact = format!("<sip:x@{other}>");
        let status = StatusCode::MOVED_TEMPORARILY;
        let _ = self.dialogs.reject_with(now, call, status, &[("Contact", contact.as_str())]);
    }

    fn answer_offer(&mut self, now: Instant, offer: &OfferKey, number: String) {
        if self.chance.one_in(5) {
            let status = StatusCode::NOT_ACCEPTABLE_HERE;
            if self.dialogs.refuse_offer(now, offer, status, &[]).is_ok() {
                self.belief(offer.call, &offer.dialog).refuse();
            }
            return;
        }
        let answer = Description { number: self.number(), answers: Some(number) };
        if self.dialogs.answer_offer(now, offer, answer.body()).is_ok() {
            self.belief(offer.call, &offer.dialog).answer(&answer.number);
        }
    }

    pub(crate) fn try_update(&mut self, now: Instant, call: CallKey, dialog: Option<&DialogId>) {
        let offer = self.new_offer();
        if self.dialogs.update(now, call, dialog, Some(offer.body())).is_err() {
            return;
        }
        match dialog {
            Some(dialog) => self.belief(call, dialog).offer(&offer.number),
            None => self.belief_of(call).expect("a dialog").offer(&offer.number),
        }
    }

    fn try_reinvite(&mut self, now: Instant, call: CallKey) {
        let offer = (!self.chance.one_in(3)).then(|| self.new_offer());
        if self.dialogs.reinvite(now, call, offer.as_ref().map(Description::body)).is_err() {
            return;
        }
        let Some(offer) = offer else { return };
        self.calls.entry(call).or_default().reinvite = Some(offer.number.clone());
        self.belief_of(call).expect("a dialog").offer(&offer.number);
    }

    // ---- transfers -------------------------------------------------------------------------------------------

    fn peer_of(&self, call: CallKey) -> Option<Uri> {
        self.dialogs.dialog(call).map(|dialog| dialog.remote_target().clone())
    }

    fn transfer(&mut self, now: Instant, call: CallKey) {
        let Some(peer) = self.peer_of(call) else { return };
        let third = PHONES.iter().map(|phone| phone.2);
        let mut third = third.filter(|at| *at != self.at && !peer.as_str().contains(at));
        let Some(third) = third.next() else { return };
        let mut refer = Refer::new(uri(&format!("sip:x@{third}")));
        refer.subscription = !self.chance.one_in(5);
        self.refer(now, call, refer);
    }

    fn transfer_attended(&mut self, now: Instant, call: CallKey, calls: &[CallKey]) {
        let peer = self.peer_of(call);
        for other in calls {
            let target = self.peer_of(*other).filter(|target| Some(target) != peer.as_ref());
            let Some((target, replaces)) = target.zip(self.dialogs.replacing(*other)) else { continue };
            if peer.as_ref().is_some_and(|peer| peer.host() == target.host()) {
                continue;
            }
            return self.refer(now, call, Refer::new(refer_to_replacing(&target, &replaces).unwrap()));
        }
    }

    fn refer(&mut self, now: Instant, call: CallKey, refer: Refer) {
        if let Ok(key) = self.dialogs.refer(now, call, refer) {
            self.subscribed.insert(key);
            self.referring.insert(key, call);
        }
    }

    pub(crate) fn is_referred(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        to: Uri,
        replaces: Option<Replaces>,
    ) {
        if self.quits || self.chance.one_in(6) {
            return drop(self.dialogs.decline_refer(now, key, StatusCode::DECLINE));
        }
        if self.dialogs.accept_refer(now, key).is_err() {
            return;
        }
        let mut fields = Vec::new();
        if let Some(replaces) = replaces {
            let mut value = String::new();
            replaces.write(&mut value);
            fields.push(("Replaces".into(), value));
        }
        match self.call(now, to, fields) {
            Some(call) => self.calls.entry(call).or_default().report = Some(key),
            None => {
                let _ = self.dialogs.report(now, key, &Report::new(StatusCode::SERVER_INTERNAL_ERROR));
            }
        }
    }

    // ---- subscriptions and publications ----------------------------------------------------------------------

    fn subscribe(&mut self, now: Instant) {
        let known = if self.user == "alice" { "sip:bob@example.com" } else { "sip:alice@example.com" };
        let mut plan = Subscribe::new(uri(known), self.identity(), "story");
        plan.route = vec![server()];
        plan.expires = self.chance.pick(&[0, 5, 20, 60]);
        plan.conditional = self.chance.one_in(2);
        if let Ok(key) = self.dialogs.subscribe(now, plan) {
            self.subscribed.insert(key);
        }
    }

    fn decide_subscription(&mut self, now: Instant, key: SubscriptionKey) {
        if self.quits || self.chance.one_in(6) {
            let _ = self.dialogs.reject_subscription(now, key, StatusCode::FORBIDDEN, &[]);
            return;
        }
        let pending = self.chance.one_in(4);
        let acceptance = Acceptance { pending, state: Some(self.state()), ..Acceptance::default() };
        let _ = self.dialogs.accept_subscription(now, key, acceptance);
    }

    fn state(&mut self) -> Notification {
        let number = self.number();
        let etag = self.chance.one_in(2).then(|| number.clone());
        let full = Body { content_type: "text/plain".into(), octets: number.into() };
        Notification { full, changes: None, etag }
    }

    fn publish(&mut self, now: Instant) {
        let plan = Publication {
            to: uri(&format!("sip:{}@{PRESENCE}", self.user)),
            from: self.identity(),
            event: headers::Event::new("presence"),
            expires: self.chance.pick(&[10, 30, 600]),
            body: self.state().full,
            route: vec![server()],
            fields: vec![],
        };
        if let Ok(key) = self.dialogs.publish(now, plan) {
            self.published.insert(key);
        }
    }

    /// Goes on with what there is beside calls.
    fn tend(&mut self, now: Instant) {
        for key in self.subscribers.clone() {
            let state = self.state();
            let _ = match self.chance.below(4) {
                0 => self.dialogs.activate_subscription(now, key, Some(state)),
                1 => {
                    let reason = self.chance.one_in(2).then_some(TerminationReason::Deactivated);
                    let reason = reason.unwrap_or(TerminationReason::NoResource);
                    self.dialogs.terminate_subscription(now, key, &reason, None, None)
                }
                _ => self.dialogs.notify(now, key, state),
            };
        }
        for key in self.subscribed.clone() {
            let _ = match self.chance.one_in(2) {
                true => self.dialogs.refresh(now, key),
                false => self.dialogs.unsubscribe(now, key),
            };
        }
        for key in self.published.clone() {
            let body = self.state().full;
            let _ = match self.chance.one_in(2) {
                true => self.dialogs.republish(now, key, body),
                false => self.dialogs.unpublish(now, key),
            };
        }
    }

    /// Ends whatever is left, and again until nothing is.
    fn quit(&mut self, now: Instant) {
        self.quits = true;
        let mut calls: Vec<CallKey> = self.dialogs.calls().collect();
        calls.sort();
        for call in calls {
            let _ = self.dialogs.hang_up(now, call);
        }
        let mut subscriptions: Vec<SubscriptionKey> = self.dialogs.subscriptions().collect();
        subscriptions.sort();
        for key in subscriptions {
            if self.dialogs.unsubscribe(now, key).is_err() {
                let reason = TerminationReason::NoResource;
                let _ = self.dialogs.terminate_subscription(now, key, &reason, None, None);
            }
        }
        for key in self.published.clone() {
            let _ = self.dialogs.unpublish(now, key);
        }
        if !self.dialogs.is_idle() {
            self.plan(now + 40 * SECOND, Deed::Quit);
        }
    }
}
