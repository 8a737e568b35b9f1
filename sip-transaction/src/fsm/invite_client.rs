//! The INVITE client transaction: RFC 3261 §17.1.1 with RFC 6026 §7.2.
//!
//! ```text
//!                                    | INVITE from TU, send it
//!                 Timer A fires      V
//!                 reset A,      +-----------+   Timer B fires or transport error,
//!                 send INVITE   |           |   inform TU
//!                    +----------|  Calling  |-------------------------------------+
//!                    +--------->|           |                                     |
//!                               +-----------+                                     |
//!            300-699: ACK,       |   |     |  2xx to TU                            |
//!            response to TU      |   |1xx  +--------------------+                  |
//!         +----------------------+   |to TU                     |                  |
//!         |                          V                          |                  |
//!         |    300-699:       +------------+  2xx to TU         |                  |
//!         |    ACK, to TU     | Proceeding |------------------> |                  |
//!         |<------------------|            |--+                 |                  |
//!         |                   +------------+  | cancelled and no final response    |
//!         |                      |   ^  1xx   | in 64*T1 (§9.1), inform TU         |
//!         |                      +---+  to TU +---------------------------------->|
//!         V                                                     V                  |
//!   +-----------+                                         +-----------+            |
//!   |           |--+ 300-699: ACK                         |           |--+ 2xx     |
//!   | Completed |<-+                                      | Accepted  |<-+ to TU   |
//!   +-----------+                                         +-----------+            |
//!         |  Timer D fires, or transport error: inform TU       | Timer M fires    |
//!         |                         +------------+              |                  |
//!         +------------------------>| Terminated |<-------------+<-----------------+
//!                                   +------------+
//! ```

use super::{Action, Failing, Slot, Timer};
use crate::Timing;

/// State of an INVITE client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteClient {
    /// The INVITE is out, nothing came back; `sent` retransmissions so far.
    Calling {
        /// How often Timer A has fired.
        sent: u8,
    },
    /// A provisional response came.
    Proceeding,
    /// A failure response came and was acknowledged.
    Completed,
    /// A 2xx came: more of them may follow, from this or from other branches of a fork.
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to an INVITE client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The INVITE was handed to the transport.
    Sent,
    /// A 1xx response came.
    Provisional,
    /// A 2xx response came.
    Success,
    /// A 3xx to 6xx response came.
    Failure,
    /// The CANCEL for this INVITE was sent.
    Cancelled,
    /// A timer fired.
    Fired(Timer),
    /// The INVITE or the ACK could not be sent.
    TransportError,
}

impl InviteClient {
    /// The state in which the INVITE is about to be sent.
    #[must_use]
    pub const fn new() -> Self {
        Self::Calling { sent: 0 }
    }

    /// Takes one input. `reliable` tells whether the transport is.
    pub fn step(&mut self, input: Input, timing: &Timing, reliable: bool, mut act: impl FnMut(Action)) {
        *self = match (*self, input) {
            // §17.1.1.2: Timer A only over unreliable transports, Timer B over any.
            (Self::Calling { .. }, Input::Sent) => {
                if !reliable {
                    act(Action::Arm(Timer::A, timing.t1));
                }
                act(Action::Arm(Timer::B, timing.timeout()));
                Self::Calling { sent: 0 }
            }
            (Self::Calling { sent }, Input::Fired(Timer::A)) => {
                let sent = sent.saturating_add(1);
                act(Action::Resend);
                act(Action::Arm(Timer::A, timing.doubled(sent)));
                Self::Calling { sent }
            }
            (Self::Calling { .. }, Input::Fired(Timer::B)) => {
                act(Action::Fail(Failing::Timeout));
                act(Action::Done);
                Self::Terminated
            }
            (Self::Calling { .. }, Input::TransportError) => {
                act(Action::Fail(Failing::Transport));
                act(Action::Done);
                Self::Terminated
            }
            // Neither A nor B runs in Proceeding: a phone may ring for as long as its user lets it.
            (Self::Calling { .. }, Input::Provisional) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Disarm(Slot::Deadline));
                act(Action::Deliver);
                Self::Proceeding
            }
            (Self::Proceeding, Input::Provisional) => {
                act(Action::Deliver);
                Self::Proceeding
            }
            // §9.1: a server of RFC 2543 may never answer a cancelled INVITE.
            (Self::Proceeding, Input::Cancelled) => {
                act(Action::Arm(Timer::Cancel, timing.timeout()));
                Self::Proceeding
            }
            (Self::Proceeding, Input::Fired(Timer::Cancel)) => {
                act(Action::Fail(Failing::Timeout));
                act(Action::Done);
                Self::Terminated
            }
            // RFC 6026 §7.2: Timer M is 64*T1 over every transport.
            (Self::Calling { .. } | Self::Proceeding, Input::Success) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Arm(Timer::M, timing.timeout()));
                act(Action::Deliver);
                Self::Accepted
            }
            (Self::Accepted, Input::Success) => {
                act(Action::Deliver);
                Self::Accepted
            }
            (Self::Calling { .. } | Self::Proceeding, Input::Failure) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Ack);
                // Timer D is zero over reliable transports.
                if reliable {
                    act(Action::Disarm(Slot::Deadline));
                    act(Action::Deliver);
                    act(Action::Done);
                    Self::Terminated
                } else {
                    act(Action::Arm(Timer::D, timing.d));
                    act(Action::Deliver);
                    Self::Completed
                }
            }
            (Self::Completed, Input::Failure) => {
                act(Action::Ack);
                Self::Completed
            }
            // §17.1.1.2: the ACK could not be sent.
            (Self::Completed, Input::TransportError) => {
                act(Action::Fail(Failing::Transport));
                act(Action::Done);
                Self::Terminated
            }
            (Self::Completed, Input::Fired(Timer::D)) | (Self::Accepted, Input::Fired(Timer::M)) => {
                act(Action::Done);
                Self::Terminated
            }
            (same, _) => same,
        };
    }
}

impl Default for InviteClient {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{assert_table, table};
    use super::*;

    const STATES: [InviteClient; 6] = [
        InviteClient::Calling { sent: 0 },
        InviteClient::Calling { sent: 6 },
        InviteClient::Proceeding,
        InviteClient::Completed,
        InviteClient::Accepted,
        InviteClient::Terminated,
    ];
    const INPUTS: [Input; 11] = [
        Input::Sent,
        Input::Provisional,
        Input::Success,
        Input::Failure,
        Input::Cancelled,
        Input::Fired(Timer::A),
        Input::Fired(Timer::B),
        Input::Fired(Timer::D),
        Input::Fired(Timer::M),
        Input::Fired(Timer::Cancel),
        Input::TransportError,
    ];

    /// The whole machine.
    pub(in super::super) fn all(reliable: bool) -> String {
        let timing = Timing::default();
        table(&STATES, &INPUTS, |mut state, input, actions| {
            state.step(input, &timing, reliable, |action| actions.push(action));
            state
        })
    }

    #[test]
    fn rfc_3261_figure_5_with_rfc_6026_over_udp() {
        assert_table(
            &all(false),
            "Calling { sent: 0 } + Sent -> Calling { sent: 0 }: A=500ms B=32s
             Calling { sent: 0 } + Provisional -> Proceeding: stop Pace stop Deadline Deliver
             Calling { sent: 0 } + Success -> Accepted: stop Pace M=32s Deliver
             Calling { sent: 0 } + Failure -> Completed: stop Pace Ack D=32s Deliver
             Calling { sent: 0 } + Fired(A) -> Calling { sent: 1 }: Resend A=1s
             Calling { sent: 0 } + Fired(B) -> Terminated: Fail(Timeout) Done
             Calling { sent: 0 } + TransportError -> Terminated: Fail(Transport) Done
             Calling { sent: 6 } + Sent -> Calling { sent: 0 }: A=500ms B=32s
             Calling { sent: 6 } + Provisional -> Proceeding: stop Pace stop Deadline Deliver
             Calling { sent: 6 } + Success -> Accepted: stop Pace M=32s Deliver
             Calling { sent: 6 } + Failure -> Completed: stop Pace Ack D=32s Deliver
             Calling { sent: 6 } + Fired(A) -> Calling { sent: 7 }: Resend A=64s
             Calling { sent: 6 } + Fired(B) -> Terminated: Fail(Timeout) Done
             Calling { sent: 6 } + TransportError -> Terminated: Fail(Transport) Done
             Proceeding + Provisional -> Proceeding: Deliver
             Proceeding + Success -> Accepted: stop Pace M=32s Deliver
             Proceeding + Failure -> Completed: stop Pace Ack D=32s Deliver
             Proceeding + Cancelled -> Proceeding: Cancel=32s
             Proceeding + Fired(Cancel) -> Terminated: Fail(Timeout) Done
             Completed + Failure -> Completed: Ack
             Completed + Fired(D) -> Terminated: Done
             Completed + TransportError -> Terminated: Fail(Transport) Done
             Accepted + Success -> Accepted: Deliver
             Accepted + Fired(M) -> Terminated: Done",
        );
    }

    #[test]
    fn rfc_3261_figure_5_with_rfc_6026_over_tcp() {
        assert_table(
            &all(true),
            "Calling { sent: 0 } + Sent -> Calling { sent: 0 }: B=32s
             Calling { sent: 0 } + Provisional -> Proceeding: stop Pace stop Deadline Deliver
             Calling { sent: 0 } + Success -> Accepted: stop Pace M=32s Deliver
             Calling { sent: 0 } + Failure -> Terminated: stop Pace Ack stop Deadline Deliver Done
             Calling { sent: 0 } + Fired(A) -> Calling { sent: 1 }: Resend A=1s
             Calling { sent: 0 } + Fired(B) -> Terminated: Fail(Timeout) Done
             Calling { sent: 0 } + TransportError -> Terminated: Fail(Transport) Done
             Calling { sent: 6 } + Sent -> Calling { sent: 0 }: B=32s
             Calling { sent: 6 } + Provisional -> Proceeding: stop Pace stop Deadline Deliver
             Calling { sent: 6 } + Success -> Accepted: stop Pace M=32s Deliver
             Calling { sent: 6 } + Failure -> Terminated: stop Pace Ack stop Deadline Deliver Done
             Calling { sent: 6 } + Fired(A) -> Calling { sent: 7 }: Resend A=64s
             Calling { sent: 6 } + Fired(B) -> Terminated: Fail(Timeout) Done
             Calling { sent: 6 } + TransportError -> Terminated: Fail(Transport) Done
             Proceeding + Provisional -> Proceeding: Deliver
             Proceeding + Success -> Accepted: stop Pace M=32s Deliver
             Proceeding + Failure -> Terminated: stop Pace Ack stop Deadline Deliver Done
             Proceeding + Cancelled -> Proceeding: Cancel=32s
             Proceeding + Fired(Cancel) -> Terminated: Fail(Timeout) Done
             Completed + Failure -> Completed: Ack
             Completed + Fired(D) -> Terminated: Done
             Completed + TransportError -> Terminated: Fail(Transport) Done
             Accepted + Success -> Accepted: Deliver
             Accepted + Fired(M) -> Terminated: Done",
        );
    }

    #[test]
    fn rfc_3261_17_1_1_2_seven_invites_are_sent_before_timer_b() {
        let timing = Timing::default();
        let mut machine = InviteClient::new();
        let (mut at, mut sent) = (timing.t1, 1);
        while at < timing.timeout() {
            machine.step(Input::Fired(Timer::A), &timing, false, |action| match action {
                Action::Resend => sent += 1,
                Action::Arm(Timer::A, after) => at += after,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(sent, 7);
    }

    #[test]
    fn the_state_is_two_octets() {
        assert_eq!(size_of::<InviteClient>(), 2);
    }
}
