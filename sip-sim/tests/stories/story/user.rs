//! A phone and the application behind it, which does at random whatever a phone can do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::Discriminant;
use std::time::{Duration, Instant};

use sip_dialog::{
    CallKey, CallState, Described, DialogId, Dialogs, Event, OfferKey, PublicationKey, RequestKey,
    SubscriptionKey,
};
use sip_transport::{Answer, Core, FlowEvent, Query, Received, Transmit};

use super::book::{Belief, Book, Chance, Description, name};

/// What a story had in it: one that has nothing proves nothing.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) kinds: HashSet<Discriminant<Event>>,
    /// Calls that took the place of others.
    pub(crate) replacing: usize,
}

/// What is planned.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Register,
    /// Begin something new: a call, a subscription, a publication, something in a call.
    Begin,
    /// A provisional response to an INVITE.
    Ring(CallKey),
    /// The final one.
    Decide(CallKey),
    /// The answer to the offer in a 2xx.
    Acknowledge(CallKey),
    /// The answer to the offer in a reliable 1xx.
    AcknowledgeProvisional(CallKey, DialogId, String),
    AnswerOffer(OfferKey, String),
    /// Another try after a 491, or a session refresh.
    Reinvite(CallKey),
    DecideSubscription(SubscriptionKey),
    HangUp(CallKey),
    /// From now on nothing is begun and all that is left is ended.
    Quit,
}

/// An INVITE of the peer that has no final response yet.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its offer.
    pub(crate) offer: Option<String>,
    /// The number of what we shall say: one INVITE, one description (RFC 6337 §3.1).
    pub(crate) number: String,
    /// It has been said in a message that arrives for certain.
    pub(crate) said: bool,
    /// The peer has it.
    pub(crate) acknowledged: bool,
}

/// Dialogs of calls that stand, with what is believed of each.
pub(crate) type Standing = BTreeMap<String, Belief>;

#[derive(Debug, Default)]
pub(crate) struct CallModel {
    /// The offer in our own first INVITE.
    pub(crate) first_offer: Option<String>,
    pub(crate) asked: Option<Asked>,
    /// The offer in our re-INVITE that is out.
    pub(crate) reinvite: Option<String>,
    /// What a reliable 1xx to an INVITE of ours offered last.
    pub(crate) offered_by_provisional: Option<String>,
    /// Our answer in the last PRACK that had one.
    pub(crate) said_in_prack: Option<String>,
    pub(crate) dialog: Option<DialogId>,
    /// Dialogs of the call that the book knows.
    pub(crate) names: BTreeSet<String>,
    /// Who sent us here with a REFER hears how it goes.
    pub(crate) report: Option<SubscriptionKey>,
}

pub(crate) struct User {
    pub(crate) dialogs: Dialogs,
    pub(crate) name: String,
    /// The user part of the address-of-record.
    pub(crate) user: String,
    pub(crate) at: String,
    pub(crate) chance: Chance,
    agenda: BTreeMap<(Instant, u64), Deed>,
    planned: u64,
    pub(crate) calls: BTreeMap<CallKey, CallModel>,
    pub(crate) book: Book,
    pub(crate) described: u64,
    pub(crate) registering: Option<RequestKey>,
    pub(crate) published: BTreeSet<PublicationKey>,
    pub(crate) subscribed: BTreeSet<SubscriptionKey>,
    /// Subscriptions that others have with us.
    pub(crate) subscribers: BTreeSet<SubscriptionKey>,
    /// Calls that we wanted others to take over.
    pub(crate) referring: BTreeMap<SubscriptionKey, CallKey>,
    pub(crate) quits: bool,
    pub(crate) told: Told,
}

impl User {
    pub(crate) fn new(dialogs: Dialogs, name: &str, user: &str, at: &str, chance: Chance) -> Self {
        Self {
            dialogs,
            name: name.into(),
            user: user.into(),
            at: at.into(),
            chance,
            agenda: BTreeMap::new(),
            planned: 0,
            calls: BTreeMap::new(),
            book: Book::new(),
            described: 0,
            registering: None,
            published: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            subscribers: BTreeSet::new(),
            referring: BTreeMap::new(),
            quits: false,
            told: Told::default(),
        }
    }

    pub(crate) fn plan(&mut self, at: Instant, deed: Deed) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), deed);
    }

    /// At some moment of this time.
    pub(crate) fn plan_within(&mut self, from: Instant, time: Duration, deed: Deed) {
        let wait = Duration::from_millis(self.chance.below(u64::try_from(time.as_millis()).unwrap()));
        self.plan(from + wait, deed);
    }

    /// The number of a new description.
    pub(crate) fn number(&mut self) -> String {
        self.described += 1;
        format!("{}.{}", self.name, self.described)
    }

    pub(crate) fn new_offer(&mut self) -> Description {
        Description { number: self.number(), answers: None }
    }

    /// What is believed of a dialog of this call; a new one begins with the offer of our INVITE.
    pub(crate) fn belief(&mut self, call: CallKey, dialog: &DialogId) -> &mut Belief {
        let name = name(dialog);
        let model = self.calls.entry(call).or_default();
        let ours = model.first_offer.clone();
        model.names.insert(name.clone());
        self.book.entry(name).or_insert_with(|| Belief { ours, ..Belief::default() })
    }

    /// What is believed of the call's own dialog.
    pub(crate) fn belief_of(&mut self, call: CallKey) -> Option<&mut Belief> {
        let dialog = self.dialogs.dialog(call).map(|dialog| dialog.id().clone());
        let dialog = dialog.or_else(|| self.calls.get(&call)?.dialog.clone())?;
        Some(self.belief(call, &dialog))
    }

    /// Takes note that what we had to say to an INVITE has been said: the layer knows what counts.
    pub(crate) fn note_said(&mut self, call: CallKey) {
        if self.dialogs.description_due(call) != Described::Nothing {
            return;
        }
        let Some(asked) = self.calls.get_mut(&call).and_then(|model| model.asked.as_mut()) else { return };
        if std::mem::replace(&mut asked.said, true) {
            return;
        }
        let asked = asked.clone();
        let Some(belief) = self.belief_of(call) else { return };
        match asked.offer {
            Some(_) => belief.answer(&asked.number),
            None => belief.offer(&asked.number),
        }
    }

    /// The call is over, and with it whatever was open.
    pub(crate) fn forget(&mut self, call: CallKey) -> Option<CallModel> {
        let model = self.calls.remove(&call)?;
        for name in &model.names {
            if let Some(belief) = self.book.get_mut(name) {
                belief.close();
            }
        }
        Some(model)
    }

    /// Calls that stand, with the session of each.
    pub(crate) fn standing(&self) -> Standing {
        let stand =
            self.dialogs.calls().filter(|call| self.dialogs.state(*call) == Some(CallState::Confirmed));
        let names = stand.filter_map(|call| self.dialogs.dialog(call)).map(|dialog| name(dialog.id()));
        names.map(|name| (name.clone(), self.book.get(&name).cloned().unwrap_or_default())).collect()
    }

    pub(crate) fn take_book(&mut self) -> Book {
        std::mem::take(&mut self.book)
    }

    pub(crate) fn assert_nothing_is_left(&self) {
        assert!(self.dialogs.is_idle(), "{} keeps something: {:?}", self.name, self.dialogs);
        assert!(self.calls.is_empty(), "{} never heard of the end of {:?}", self.name, self.calls);
        assert!(self.published.is_empty(), "{} never heard of the end of a publication", self.name);
        assert!(self.subscribed.is_empty(), "{} never heard of the end of a subscription", self.name);
        assert!(self.subscribers.is_empty(), "{} never heard of the end of a subscriber", self.name);
    }
}

impl Core for User {
    fn receive(&mut self, now: Instant, received: Received) {
        self.dialogs.receive(now, received);
        self.react(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.dialogs.flow_event(now, event);
        self.react(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.dialogs.resolved(now, answer);
        self.react(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= now) {
            let deed = first.remove();
            self.act(now, deed);
            self.react(now);
        }
        self.dialogs.handle_timeout(now);
        self.react(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        [planned, self.dialogs.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.dialogs.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.dialogs.poll_query()
    }
}
