//! Which message may carry an offer and which its answer, as data (RFC 6337 §2.2), and who owes what in one dialog.
//!
//! The layer does not read session descriptions: it knows from where a description stands whether it is an offer, the
//! answer to one, or neither.

/// A message that can carry a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// INVITE, the first or a further one.
    Invite,
    /// A provisional response that is not acknowledged: what it describes is a forecast.
    Provisional,
    /// A provisional response that is acknowledged by PRACK (RFC 3262).
    ReliableProvisional,
    /// PRACK.
    Prack,
    /// The 2xx to PRACK.
    PrackSuccess,
    /// The 2xx to INVITE.
    Success,
    /// The ACK for a 2xx.
    Ack,
    /// UPDATE (RFC 3311).
    Update,
    /// The 2xx to UPDATE.
    UpdateSuccess,
}

impl Carrier {
    /// Whether it is part of an INVITE's own exchange, of which there is one for each INVITE.
    pub fn is_of_invite(self) -> bool {
        !matches!(self, Self::Prack | Self::PrackSuccess | Self::Update | Self::UpdateSuccess)
    }
}

/// One way to exchange an offer and an answer: a row of RFC 6337, Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What carries the offer.
    pub offer: Carrier,
    /// What carries the answer.
    pub answer: Carrier,
    /// Where it is defined.
    pub rfc: u16,
    /// Whether it can begin a session.
    pub initial: bool,
    /// Whether it can change the session of an established dialog.
    pub established: bool,
    /// Whether it can change the session of an early dialog.
    pub early: bool,
}

const fn pattern(offer: Carrier, answer: Carrier, rfc: u16, initial: bool, early: bool) -> Pattern {
    Pattern { offer, answer, rfc, initial, established: true, early }
}

/// RFC 6337 §2.2, Table 1: the six ways, and no other.
pub const PATTERNS: [Pattern; 6] = [
    pattern(Carrier::Invite, Carrier::Success, 3261, true, false),
    pattern(Carrier::Success, Carrier::Ack, 3261, true, false),
    pattern(Carrier::Invite, Carrier::ReliableProvisional, 3262, true, false),
    pattern(Carrier::ReliableProvisional, Carrier::Prack, 3262, true, false),
    pattern(Carrier::Prack, Carrier::PrackSuccess, 3262, false, true),
    pattern(Carrier::Update, Carrier::UpdateSuccess, 3311, false, true),
];

fn answers(offer: Carrier, answer: Carrier) -> bool {
    PATTERNS.iter().any(|row| row.offer == offer && row.answer == answer)
}

fn offers(carrier: Carrier, begun: bool) -> bool {
    PATTERNS.iter().any(|row| row.offer == carrier && (row.initial || begun))
}

/// What the description in a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Described {
    /// There is none, or one that says nothing new: it repeats what was agreed in this INVITE already (RFC 6337 §3.1).
    #[default]
    Nothing,
    /// A forecast of the answer, in a provisional response without acknowledgement (RFC 6337 §3.1.1).
    Preview,
    /// The answer to the open offer.
    Answer,
    /// An offer: an answer is due.
    Offer,
}

/// Whose offer waits for its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Open {
    #[default]
    None,
    Ours(Carrier),
    Theirs(Carrier),
}

/// Offer and answer in one dialog: at most one exchange at a time (RFC 6337 §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) open: Open,
    /// An exchange was completed in this dialog: there is a session that can be changed.
    begun: bool,
    /// The INVITE under way has had its one exchange, or is in it.
    invite_used: bool,
    /// An INVITE has no final response.
    invite_open: bool,
}

impl Exchange {
    /// A new INVITE of either side begins, with an offer or without.
    pub(crate) fn invite(&mut self, ours: bool, offered: bool) {
        self.invite_used = offered;
        self.invite_open = true;
        self.open = match (offered, ours) {
            (false, _) => Open::None,
            (true, true) => Open::Ours(Carrier::Invite),
            (true, false) => Open::Theirs(Carrier::Invite),
        };
    }

    /// A description came in this message.
    pub(crate) fn receive(&mut self, carrier: Carrier) -> Described {
        match self.open {
            Open::Ours(offer) if answers(offer, carrier) => {
                self.complete();
                Described::Answer
            }
            Open::Ours(Carrier::Invite) if carrier == Carrier::Provisional => Described::Preview,
            Open::None if self.may_offer(carrier) => {
                self.open = Open::Theirs(carrier);
                self.invite_used |= carrier.is_of_invite();
                Described::Offer
            }
            _ => Described::Nothing,
        }
    }

    /// Whether a description of ours may stand in this message, and as what; `Nothing` if it may not.
    pub(crate) fn would_send(&self, carrier: Carrier) -> Described {
        match self.open {
            Open::Theirs(offer) if answers(offer, carrier) => Described::Answer,
            Open::Theirs(Carrier::Invite) if carrier == Carrier::Provisional => Described::Preview,
            Open::None if self.may_offer(carrier) => Described::Offer,
            _ => Described::Nothing,
        }
    }

    /// We send a description in this message.
    pub(crate) fn send(&mut self, carrier: Carrier) -> Described {
        let described = self.would_send(carrier);
        match described {
            Described::Answer => self.complete(),
            Described::Offer => {
                self.open = Open::Ours(carrier);
                self.invite_used |= carrier.is_of_invite();
            }
            Described::Preview | Described::Nothing => {}
        }
        described
    }

    /// The first reliable response to an INVITE without an offer has to bring one (RFC 3261 §13.2.1).
    pub(crate) fn offer_due(&self) -> bool {
        self.open == Open::None && !self.invite_used
    }

    /// A final response or an ACK without a description closes what it should have answered: the peer broke the rules, or we
    /// had nothing to say.
    pub(crate) fn close_invite(&mut self) {
        self.invite_open = false;
        if self.open == Open::Ours(Carrier::Invite) || self.open == Open::Theirs(Carrier::Invite) {
            self.open = Open::None;
        }
    }

    /// The INVITE has failed, and with it what it offered; not what an UPDATE offers meanwhile (RFC 6141 §3.3).
    pub(crate) fn fail_invite(&mut self) {
        self.invite_open = false;
        if let Open::Ours(carrier) | Open::Theirs(carrier) = self.open
            && carrier.is_of_invite()
        {
            self.open = Open::None;
        }
    }

    /// The open offer is off: refused, or its request failed (RFC 6141 §3.3, RFC 3311 §5.3).
    pub(crate) fn withdraw(&mut self) {
        self.open = Open::None;
    }

    fn complete(&mut self) {
        self.open = Open::None;
        self.begun = true;
    }

    /// An INVITE without an offer asks the other side for its own, which the first reliable response to it has to bring
    /// (RFC 3261 §14.2): until then nothing else may be offered, by either side.
    pub(crate) fn awaits_offer(&self) -> bool {
        self.invite_open && !self.invite_used
    }

    fn may_offer(&self, carrier: Carrier) -> bool {
        offers(carrier, self.begun)
            && if carrier.is_of_invite() { !self.invite_used } else { !self.awaits_offer() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Carrier; 9] = [
        Carrier::Invite,
        Carrier::Provisional,
        Carrier::ReliableProvisional,
        Carrier::Prack,
        Carrier::PrackSuccess,
        Carrier::Success,
        Carrier::Ack,
        Carrier::Update,
        Carrier::UpdateSuccess,
    ];

    /// RFC 6337 §2.2, Table 1: an offer in one message is answered in these and in no other.
    #[test]
    fn an_offer_is_answered_where_the_table_says() {
        for row in PATTERNS {
            for carrier in ALL {
                let used = Exchange { invite_used: true, ..Exchange::default() };
                let mut ours = Exchange { open: Open::Ours(row.offer), begun: true, ..used };
                let listed = PATTERNS.iter().any(|other| other.offer == row.offer && other.answer == carrier);
                assert_eq!(ours.receive(carrier) == Described::Answer, listed, "{row:?} {carrier:?}");
                let theirs = Exchange { open: Open::Theirs(row.offer), begun: true, ..used };
                assert_eq!(theirs.would_send(carrier) == Described::Answer, listed, "{row:?} {carrier:?}");
            }
        }
    }

    /// RFC 6337 §2.2: PRACK and UPDATE change a session, they never begin one.
    #[test]
    fn a_session_begins_with_invite_alone() {
        for carrier in ALL {
            let begins = PATTERNS.iter().any(|row| row.offer == carrier && row.initial);
            assert_eq!(Exchange::default().would_send(carrier) == Described::Offer, begins, "{carrier:?}");
        }
    }

    /// RFC 6337 §2.2: one INVITE, one exchange: the 2xx after an answer in a reliable 1xx says nothing new.
    #[test]
    fn the_2xx_repeats_what_the_reliable_1xx_answered() {
        let (mut caller, mut callee) = (Exchange::default(), Exchange::default());
        caller.invite(true, true);
        callee.invite(false, true);
        assert_eq!(caller.receive(Carrier::Provisional), Described::Preview);
        assert_eq!(callee.send(Carrier::ReliableProvisional), Described::Answer);
        assert_eq!(caller.receive(Carrier::ReliableProvisional), Described::Answer);
        assert_eq!(callee.would_send(Carrier::Success), Described::Nothing);
        assert_eq!(caller.receive(Carrier::Success), Described::Nothing);
        assert!(!callee.offer_due());
        assert_eq!(callee.would_send(Carrier::Update), Described::Offer);
        assert_eq!(caller.would_send(Carrier::Update), Described::Offer);
    }

    /// RFC 6337 §3.1.2, pattern 4: the offer in a reliable 1xx, the answer in PRACK, none in the 2xx.
    #[test]
    fn an_invite_without_offer() {
        let (mut caller, mut callee) = (Exchange::default(), Exchange::default());
        caller.invite(true, false);
        callee.invite(false, false);
        assert!(callee.offer_due());
        assert_eq!(callee.would_send(Carrier::Provisional), Described::Nothing, "no offer without PRACK");
        assert_eq!(callee.send(Carrier::ReliableProvisional), Described::Offer);
        assert_eq!(caller.receive(Carrier::ReliableProvisional), Described::Offer);
        assert_eq!(caller.send(Carrier::Prack), Described::Answer);
        assert_eq!(callee.receive(Carrier::Prack), Described::Answer);
        assert_eq!(caller.receive(Carrier::Success), Described::Nothing);
    }

    /// RFC 3311 §5.2, RFC 6337 §4: a second offer while one is open is none.
    #[test]
    fn one_exchange_at_a_time() {
        let mut exchange = Exchange { begun: true, ..Exchange::default() };
        assert_eq!(exchange.send(Carrier::Update), Described::Offer);
        assert_eq!(exchange.receive(Carrier::Update), Described::Nothing);
        assert_eq!(exchange.would_send(Carrier::Invite), Described::Nothing);
        exchange.withdraw();
        assert_eq!(exchange.would_send(Carrier::Update), Described::Offer);
    }
}
