//! The four state machines of RFC 3261 §17, as amended by RFC 6026 (Accepted states) and RFC 4320 (non-INVITE).
//!
//! Each is a small `Copy` enum without clock, network or memory of its own: `step` takes what happened and says
//! what has to be done. So every pair of state and input can be written down, and is, in the tests of each module.
//!
//! ```
//! use sip_transaction::fsm::{Action, InviteClient, Timer, invite_client::Input};
//! use sip_transaction::Timing;
//!
//! let timing = Timing::default();
//! let mut machine = InviteClient::new();
//! let mut actions = Vec::new();
//! machine.step(Input::Sent, &timing, false, |action| actions.push(action));
//! assert_eq!(actions, [Action::Arm(Timer::A, timing.t1), Action::Arm(Timer::B, timing.timeout())]);
//! ```
//!
#![doc = include_str!("../../docs/state-machines.md")]

pub mod client;
pub mod invite_client;
pub mod invite_server;
pub mod server;

#[cfg(test)]
mod document;

use std::time::Duration;

pub use client::Client;
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use server::Server;

/// A timer of RFC 3261 §17 (table 4), RFC 6026, or one of our own that another section asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Retransmits INVITE (§17.1.1.2).
    A,
    /// Ends an INVITE that nobody answers (§17.1.1.2).
    B,
    /// Waits for retransmissions of the failure response to INVITE (§17.1.1.2).
    D,
    /// Retransmits another request (§17.1.2.2).
    E,
    /// Ends another request that nobody answers (§17.1.2.2).
    F,
    /// Retransmits the failure response to INVITE (§17.2.1).
    G,
    /// Ends the wait for the ACK (§17.2.1).
    H,
    /// Waits for retransmissions of the ACK (§17.2.1).
    I,
    /// Waits for retransmissions of another request (§17.2.2).
    J,
    /// Waits for retransmissions of the response to another request (§17.1.2.2).
    K,
    /// Waits for retransmissions of an accepted INVITE (RFC 6026 §7.1).
    L,
    /// Waits for further 2xx to an INVITE (RFC 6026 §7.2).
    M,
    /// Answers 100 for an application that takes its time (§17.2.1, RFC 4320 §4.1).
    Trying,
    /// Ends a server transaction whose answer would come too late for its client (RFC 4320 §4.2).
    Expire,
    /// Ends a cancelled INVITE that gets no final response (§9.1).
    Cancel,
}

/// A transaction has two timers running at most, one of each kind; arming one replaces the other of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Repeats something: A, E, G, and the wait before 100 Trying.
    Pace,
    /// Ends something: all others.
    Deadline,
}

impl Timer {
    /// Which of the two.
    #[must_use]
    pub const fn slot(self) -> Slot {
        match self {
            Self::A | Self::E | Self::G | Self::Trying => Slot::Pace,
            _ => Slot::Deadline,
        }
    }
}

/// What a state machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Client: send the request again. Server: send the last response again, if there is one.
    Resend,
    /// Server: send the response that the transaction user has just given.
    Reply,
    /// Server: make a 100 (Trying) and send it.
    Trying,
    /// Client: send the ACK for the response just received (RFC 3261 §17.1.1.3).
    Ack,
    /// Pass the message just received up to the transaction user.
    Deliver,
    /// Start a timer; replaces the one of the same [`Slot`].
    Arm(Timer, Duration),
    /// Stop the timer of this slot, if one runs.
    Disarm(Slot),
    /// Tell the transaction user that the transaction failed.
    Fail(Failing),
    /// Server: tell the transaction user that the ACK never came (Timer H).
    Unacknowledged,
    /// The transaction is over and to be forgotten.
    Done,
}

/// Why a state machine gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failing {
    /// Nobody answered in time.
    Timeout,
    /// The message could not be sent.
    Transport,
}

/// The longest list of actions that one step can give.
const MOST_ACTIONS: usize = 5;

/// The actions of one step, kept inline: the layer carries them out after the machine's borrow has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Actions {
    list: [Option<Action>; MOST_ACTIONS],
}

impl Actions {
    pub(crate) fn push(&mut self, action: Action) {
        let free = self.list.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "more actions in one step than MOST_ACTIONS");
        if let Some(slot) = free {
            *slot = Some(action);
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Action> {
        self.list.into_iter().flatten()
    }
}

/// Prints a whole machine as a table, for the snapshot tests of the four modules: one line per state and input that
/// does something. `states` are the machine's states, `step` returns the next state and the actions.
#[cfg(test)]
pub(crate) fn table<S: Copy + PartialEq + std::fmt::Debug, I: Copy + std::fmt::Debug>(
    states: &[S],
    inputs: &[I],
    mut step: impl FnMut(S, I, &mut Vec<Action>) -> S,
) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for &state in states {
        for &input in inputs {
            let mut actions = Vec::new();
            let next = step(state, input, &mut actions);
            assert!(actions.len() <= MOST_ACTIONS, "{state:?} {input:?}: {actions:?}");
            if next == state && actions.is_empty() {
                continue;
            }
            write!(text, "{state:?} + {input:?} -> {next:?}:").unwrap();
            for action in actions {
                match action {
                    Action::Arm(timer, after) => write!(text, " {timer:?}={after:?}").unwrap(),
                    Action::Disarm(slot) => write!(text, " stop {slot:?}").unwrap(),
                    other => write!(text, " {other:?}").unwrap(),
                }
            }
            text.push('\n');
        }
    }
    text
}

/// Compares a table with its snapshot line by line, whatever the indentation.
#[cfg(test)]
pub(crate) fn assert_table(table: &str, expected: &str) {
    let clean = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
    };
    assert_eq!(clean(table), clean(expected), "the machine is now:\n{table}");
}
