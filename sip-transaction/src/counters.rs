//! What has happened so far, in numbers.

/// Counts since the start. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// New requests passed up with a server transaction.
    pub requests: u64,
    /// ACKs passed up.
    pub acks: u64,
    /// Requests absorbed as retransmissions, ACKs to failure responses among them.
    pub absorbed: u64,
    /// CANCELs that found their INVITE.
    pub cancels: u64,
    /// CANCELs answered 481.
    pub cancels_unmatched: u64,
    /// Requests that broke a rule and were answered with the status for it.
    pub bad_requests: u64,
    /// Requests that could not even be answered, and ACKs that broke a rule.
    pub unanswerable: u64,
    /// Requests answered 482 because they had come on another way before.
    pub merged: u64,
    /// Of those refused, how many because more came than could be read in time ([`Transactions::backlog`](crate::Transactions::backlog)).
    pub shed: u64,
    /// Requests answered 503 because a limit was reached, or because of overload.
    pub refused: u64,
    /// Answered requests forgotten before their time, so that others have room.
    pub gave_way: u64,
    /// Those among the refused that began a dialog (see [`Tier`](crate::Tier)).
    pub refused_dialogs: u64,
    /// Requests not sent because the next hop had asked to be spared (RFC 7339).
    pub spared: u64,
    /// Responses passed up.
    pub responses: u64,
    /// Responses absorbed as retransmissions.
    pub responses_absorbed: u64,
    /// Late 2xx to INVITE, passed up as strays.
    pub strays: u64,
    /// Responses dropped: malformed, not for us, or for a transaction that is no more.
    pub responses_dropped: u64,
    /// Requests sent by client transactions, each attempt counted once.
    pub sent: u64,
    /// Requests and responses sent again.
    pub retransmitted: u64,
    /// Attempts at another place after the first failed (RFC 3263 §4.3).
    pub failovers: u64,
    /// Requests that went past a place because it had just failed.
    pub passed_over: u64,
    /// Races of connections of both address families (RFC 8305).
    pub races: u64,
    /// Large requests moved from UDP to TCP (RFC 3261 §18.1.1).
    pub moved_to_tcp: u64,
    /// Client transactions that failed: nobody answered, or nothing could be sent.
    pub failed: u64,
    /// INVITE server transactions whose failure response nobody acknowledged.
    pub unacknowledged: u64,
    /// Answers that would have come too late or were 408 to a request other than INVITE (RFC 4320 §4.2).
    pub unanswered: u64,
}

impl std::ops::AddAssign for Counters {
    /// What cores side by side have counted, together.
    fn add_assign(&mut self, other: Self) {
        macro_rules! add {
            ($($field:ident),*) => {{
                let Self { $($field),* } = other;
                $(self.$field = self.$field.saturating_add($field);)*
            }};
        }
        add!(
            requests,
            acks,
            absorbed,
            cancels,
            cancels_unmatched,
            bad_requests,
            unanswerable,
            merged,
            shed,
            refused,
            gave_way,
            refused_dialogs,
            spared,
            responses,
            responses_absorbed,
            strays,
            responses_dropped,
            sent,
            retransmitted,
            failovers,
            passed_over,
            races,
            moved_to_tcp,
            failed,
            unacknowledged,
            unanswered
        );
    }
}
