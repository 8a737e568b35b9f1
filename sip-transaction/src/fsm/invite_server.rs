//! The INVITE server transaction: RFC 3261 §17.2.1 with RFC 6026 §7.1.
//!
//! ```text
//!                                  | INVITE, pass it to TU
//!                                  | 100 if TU gives nothing in 200 ms
//!             INVITE:              V
//!             send last     +------------+  1xx from TU: send it
//!             response  +---|            |---+
//!                       +-->| Proceeding |<--+
//!                           +------------+
//!      300-699 from TU:      |          |  2xx from TU: send it
//!      send it               |          +------------------------+
//!             +--------------+                                   |
//!             V                                                  V
//!       +-----------+   INVITE or Timer G:                 +-----------+  INVITE: absorbed
//!       | Completed |--+ send last response                | Accepted  |--+ ACK to TU
//!       |           |<-+                                   |           |<-+ 2xx from TU: send it
//!       +-----------+                                      +-----------+
//!         |      |  Timer H fires: inform TU                     |
//!         | ACK  +--------------------------------------------+  | Timer L fires
//!         V                                                   |  |
//!       +-----------+  ACK: absorbed                          V  V
//!       | Confirmed |--+          Timer I fires            +------------+
//!       |           |<-+     ------------------------------>| Terminated |
//!       +-----------+                                      +------------+
//! ```
//!
//! A transport error is told to the TU and changes no state (RFC 6026 §7.1): retransmissions are still absorbed.

use super::{Action, Failing, Slot, Timer};
use crate::Timing;

/// State of an INVITE server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteServer {
    /// No final response yet.
    Proceeding,
    /// A failure response was sent and is retransmitted until the ACK comes; `sent` retransmissions so far.
    Completed {
        /// How often Timer G has fired.
        sent: u8,
    },
    /// The ACK came.
    Confirmed,
    /// A 2xx was sent: its retransmission is the business of the transaction user.
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The INVITE came for the first time.
    Received,
    /// The INVITE came again.
    Repeated,
    /// The transaction user gives a 1xx.
    Provisional,
    /// The transaction user gives a 2xx.
    Success,
    /// The transaction user gives a 3xx to 6xx.
    Failure,
    /// An ACK came.
    Ack,
    /// A timer fired.
    Fired(Timer),
    /// A response could not be sent.
    TransportError,
}

impl InviteServer {
    /// The state in which the INVITE has just come.
    #[must_use]
    pub const fn new() -> Self {
        Self::Proceeding
    }

    /// Takes one input. `reliable` tells whether the transport is.
    pub fn step(&mut self, input: Input, timing: &Timing, reliable: bool, mut act: impl FnMut(Action)) {
        *self = match (*self, input) {
            (Self::Proceeding, Input::Received) => {
                act(Action::Arm(Timer::Trying, timing.trying));
                act(Action::Deliver);
                Self::Proceeding
            }
            (Self::Proceeding, Input::Fired(Timer::Trying)) => {
                act(Action::Trying);
                Self::Proceeding
            }
            (Self::Proceeding | Self::Completed { .. }, Input::Repeated) => {
                act(Action::Resend);
                *self
            }
            (Self::Proceeding, Input::Provisional) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Reply);
                Self::Proceeding
            }
            // RFC 6026 §7.1: Timer L is 64*T1 over every transport.
            (Self::Proceeding, Input::Success) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Reply);
                act(Action::Arm(Timer::L, timing.timeout()));
                Self::Accepted
            }
            (Self::Accepted, Input::Success) => {
                act(Action::Reply);
                Self::Accepted
            }
            (Self::Accepted, Input::Ack) => {
                act(Action::Deliver);
                Self::Accepted
            }
            // §17.2.1: Timer G only over unreliable transports, Timer H over any.
            (Self::Proceeding, Input::Failure) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Reply);
                if !reliable {
                    act(Action::Arm(Timer::G, timing.t1));
                }
                act(Action::Arm(Timer::H, timing.timeout()));
                Self::Completed { sent: 0 }
            }
            (Self::Completed { sent }, Input::Fired(Timer::G)) => {
                let sent = sent.saturating_add(1);
                act(Action::Resend);
                act(Action::Arm(Timer::G, timing.capped(sent)));
                Self::Completed { sent }
            }
            (Self::Completed { .. }, Input::Fired(Timer::H)) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Unacknowledged);
                act(Action::Done);
                Self::Terminated
            }
            (Self::Completed { .. }, Input::Ack) => {
                act(Action::Disarm(Slot::Pace));
                // Timer I is zero over reliable transports.
                if reliable {
                    act(Action::Disarm(Slot::Deadline));
                    act(Action::Done);
                    Self::Terminated
                } else {
                    act(Action::Arm(Timer::I, timing.t4));
                    Self::Confirmed
                }
            }
            (Self::Confirmed, Input::Fired(Timer::I)) | (Self::Accepted, Input::Fired(Timer::L)) => {
                act(Action::Done);
                Self::Terminated
            }
            (Self::Proceeding | Self::Completed { .. } | Self::Accepted, Input::TransportError) => {
                act(Action::Fail(Failing::Transport));
                *self
            }
            (same, _) => same,
        };
    }
}

impl Default for InviteServer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{assert_table, table};
    use super::*;

    const STATES: [InviteServer; 6] = [
        InviteServer::Proceeding,
        InviteServer::Completed { sent: 0 },
        InviteServer::Completed { sent: 9 },
        InviteServer::Confirmed,
        InviteServer::Accepted,
        InviteServer::Terminated,
    ];
    const INPUTS: [Input; 12] = [
        Input::Received,
        Input::Repeated,
        Input::Provisional,
        Input::Success,
        Input::Failure,
        Input::Ack,
        Input::Fired(Timer::Trying),
        Input::Fired(Timer::G),
        Input::Fired(Timer::H),
        Input::Fired(Timer::I),
        Input::Fired(Timer::L),
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
    fn rfc_3261_figure_7_with_rfc_6026_over_udp() {
        assert_table(
            &all(false),
            "Proceeding + Received -> Proceeding: Trying=200ms Deliver
             Proceeding + Repeated -> Proceeding: Resend
             Proceeding + Provisional -> Proceeding: stop Pace Reply
             Proceeding + Success -> Accepted: stop Pace Reply L=32s
             Proceeding + Failure -> Completed { sent: 0 }: stop Pace Reply G=500ms H=32s
             Proceeding + Fired(Trying) -> Proceeding: Trying
             Proceeding + TransportError -> Proceeding: Fail(Transport)
             Completed { sent: 0 } + Repeated -> Completed { sent: 0 }: Resend
             Completed { sent: 0 } + Ack -> Confirmed: stop Pace I=5s
             Completed { sent: 0 } + Fired(G) -> Completed { sent: 1 }: Resend G=1s
             Completed { sent: 0 } + Fired(H) -> Terminated: stop Pace Unacknowledged Done
             Completed { sent: 0 } + TransportError -> Completed { sent: 0 }: Fail(Transport)
             Completed { sent: 9 } + Repeated -> Completed { sent: 9 }: Resend
             Completed { sent: 9 } + Ack -> Confirmed: stop Pace I=5s
             Completed { sent: 9 } + Fired(G) -> Completed { sent: 10 }: Resend G=4s
             Completed { sent: 9 } + Fired(H) -> Terminated: stop Pace Unacknowledged Done
             Completed { sent: 9 } + TransportError -> Completed { sent: 9 }: Fail(Transport)
             Confirmed + Fired(I) -> Terminated: Done
             Accepted + Success -> Accepted: Reply
             Accepted + Ack -> Accepted: Deliver
             Accepted + Fired(L) -> Terminated: Done
             Accepted + TransportError -> Accepted: Fail(Transport)",
        );
    }

    #[test]
    fn rfc_3261_figure_7_with_rfc_6026_over_tcp() {
        assert_table(
            &all(true),
            "Proceeding + Received -> Proceeding: Trying=200ms Deliver
             Proceeding + Repeated -> Proceeding: Resend
             Proceeding + Provisional -> Proceeding: stop Pace Reply
             Proceeding + Success -> Accepted: stop Pace Reply L=32s
             Proceeding + Failure -> Completed { sent: 0 }: stop Pace Reply H=32s
             Proceeding + Fired(Trying) -> Proceeding: Trying
             Proceeding + TransportError -> Proceeding: Fail(Transport)
             Completed { sent: 0 } + Repeated -> Completed { sent: 0 }: Resend
             Completed { sent: 0 } + Ack -> Terminated: stop Pace stop Deadline Done
             Completed { sent: 0 } + Fired(G) -> Completed { sent: 1 }: Resend G=1s
             Completed { sent: 0 } + Fired(H) -> Terminated: stop Pace Unacknowledged Done
             Completed { sent: 0 } + TransportError -> Completed { sent: 0 }: Fail(Transport)
             Completed { sent: 9 } + Repeated -> Completed { sent: 9 }: Resend
             Completed { sent: 9 } + Ack -> Terminated: stop Pace stop Deadline Done
             Completed { sent: 9 } + Fired(G) -> Completed { sent: 10 }: Resend G=4s
             Completed { sent: 9 } + Fired(H) -> Terminated: stop Pace Unacknowledged Done
             Completed { sent: 9 } + TransportError -> Completed { sent: 9 }: Fail(Transport)
             Confirmed + Fired(I) -> Terminated: Done
             Accepted + Success -> Accepted: Reply
             Accepted + Ack -> Accepted: Deliver
             Accepted + Fired(L) -> Terminated: Done
             Accepted + TransportError -> Accepted: Fail(Transport)",
        );
    }
}
