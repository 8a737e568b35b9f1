//! The client transaction for everything but INVITE: RFC 3261 §17.1.2.
//!
//! ```text
//!                                   | Request from TU, send it
//!               Timer E fires       V
//!               send request  +-----------+  Timer F fires or transport error,
//!                 +-----------|           |  inform TU
//!                 +---------->|  Trying   |------------------------------+
//!                             +-----------+                              |
//!      200-699 to TU           |    | 1xx to TU                           |
//!    +-------------------------+    |                                     |
//!    |                              V                                     |
//!    |                        +-----------+  Timer F fires or transport   |
//!    |      200-699 to TU     |           |  error, inform TU             |
//!    |<-----------------------|Proceeding |------------------------------>|
//!    |                        |           |--+ Timer E fires: send request, |
//!    |                        +-----------+<-+ reset E to T2; 1xx to TU     |
//!    V                                                                    |
//!  +-----------+              +------------+                               |
//!  |           | Timer K      |            |                               |
//!  | Completed |------------->| Terminated |<------------------------------+
//!  +-----------+              +------------+
//! ```

use super::{Action, Failing, Slot, Timer};
use crate::Timing;

/// State of a client transaction for a request other than INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The request is out, nothing came back; `sent` retransmissions so far.
    Trying {
        /// How often Timer E has fired.
        sent: u8,
    },
    /// A provisional response came.
    Proceeding,
    /// A final response came; its retransmissions are absorbed.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request was handed to the transport.
    Sent,
    /// A 1xx response came.
    Provisional,
    /// A 2xx to 6xx response came.
    Final,
    /// A timer fired.
    Fired(Timer),
    /// The request could not be sent.
    TransportError,
}

impl Client {
    /// The state in which the request is about to be sent.
    #[must_use]
    pub const fn new() -> Self {
        Self::Trying { sent: 0 }
    }

    /// Takes one input. `reliable` tells whether the transport is.
    pub fn step(&mut self, input: Input, timing: &Timing, reliable: bool, mut act: impl FnMut(Action)) {
        *self = match (*self, input) {
            (Self::Trying { .. }, Input::Sent) => {
                if !reliable {
                    act(Action::Arm(Timer::E, timing.t1));
                }
                act(Action::Arm(Timer::F, timing.timeout()));
                Self::Trying { sent: 0 }
            }
            (Self::Trying { sent }, Input::Fired(Timer::E)) => {
                let sent = sent.saturating_add(1);
                act(Action::Resend);
                act(Action::Arm(Timer::E, timing.capped(sent)));
                Self::Trying { sent }
            }
            // Timer E goes on as it stands and is T2 from its next firing.
            (Self::Trying { .. } | Self::Proceeding, Input::Provisional) => {
                act(Action::Deliver);
                Self::Proceeding
            }
            (Self::Proceeding, Input::Fired(Timer::E)) => {
                act(Action::Resend);
                act(Action::Arm(Timer::E, timing.t2));
                Self::Proceeding
            }
            (Self::Trying { .. } | Self::Proceeding, Input::Fired(Timer::F)) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Fail(Failing::Timeout));
                act(Action::Done);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Input::TransportError) => {
                act(Action::Fail(Failing::Transport));
                act(Action::Done);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Input::Final) => {
                act(Action::Disarm(Slot::Pace));
                // Timer K is zero over reliable transports.
                if reliable {
                    act(Action::Disarm(Slot::Deadline));
                    act(Action::Deliver);
                    act(Action::Done);
                    Self::Terminated
                } else {
                    act(Action::Arm(Timer::K, timing.t4));
                    act(Action::Deliver);
                    Self::Completed
                }
            }
            (Self::Completed, Input::Fired(Timer::K)) => {
                act(Action::Done);
                Self::Terminated
            }
            (same, _) => same,
        };
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{assert_table, table};
    use super::*;

    const STATES: [Client; 5] = [
        Client::Trying { sent: 0 },
        Client::Trying { sent: 9 },
        Client::Proceeding,
        Client::Completed,
        Client::Terminated,
    ];
    const INPUTS: [Input; 7] = [
        Input::Sent,
        Input::Provisional,
        Input::Final,
        Input::Fired(Timer::E),
        Input::Fired(Timer::F),
        Input::Fired(Timer::K),
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
    fn rfc_3261_figure_6_over_udp() {
        assert_table(
            &all(false),
            "Trying { sent: 0 } + Sent -> Trying { sent: 0 }: E=500ms F=32s
             Trying { sent: 0 } + Provisional -> Proceeding: Deliver
             Trying { sent: 0 } + Final -> Completed: stop Pace K=5s Deliver
             Trying { sent: 0 } + Fired(E) -> Trying { sent: 1 }: Resend E=1s
             Trying { sent: 0 } + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Trying { sent: 0 } + TransportError -> Terminated: Fail(Transport) Done
             Trying { sent: 9 } + Sent -> Trying { sent: 0 }: E=500ms F=32s
             Trying { sent: 9 } + Provisional -> Proceeding: Deliver
             Trying { sent: 9 } + Final -> Completed: stop Pace K=5s Deliver
             Trying { sent: 9 } + Fired(E) -> Trying { sent: 10 }: Resend E=4s
             Trying { sent: 9 } + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Trying { sent: 9 } + TransportError -> Terminated: Fail(Transport) Done
             Proceeding + Provisional -> Proceeding: Deliver
             Proceeding + Final -> Completed: stop Pace K=5s Deliver
             Proceeding + Fired(E) -> Proceeding: Resend E=4s
             Proceeding + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Proceeding + TransportError -> Terminated: Fail(Transport) Done
             Completed + Fired(K) -> Terminated: Done",
        );
    }

    #[test]
    fn rfc_3261_figure_6_over_tcp() {
        assert_table(
            &all(true),
            "Trying { sent: 0 } + Sent -> Trying { sent: 0 }: F=32s
             Trying { sent: 0 } + Provisional -> Proceeding: Deliver
             Trying { sent: 0 } + Final -> Terminated: stop Pace stop Deadline Deliver Done
             Trying { sent: 0 } + Fired(E) -> Trying { sent: 1 }: Resend E=1s
             Trying { sent: 0 } + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Trying { sent: 0 } + TransportError -> Terminated: Fail(Transport) Done
             Trying { sent: 9 } + Sent -> Trying { sent: 0 }: F=32s
             Trying { sent: 9 } + Provisional -> Proceeding: Deliver
             Trying { sent: 9 } + Final -> Terminated: stop Pace stop Deadline Deliver Done
             Trying { sent: 9 } + Fired(E) -> Trying { sent: 10 }: Resend E=4s
             Trying { sent: 9 } + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Trying { sent: 9 } + TransportError -> Terminated: Fail(Transport) Done
             Proceeding + Provisional -> Proceeding: Deliver
             Proceeding + Final -> Terminated: stop Pace stop Deadline Deliver Done
             Proceeding + Fired(E) -> Proceeding: Resend E=4s
             Proceeding + Fired(F) -> Terminated: stop Pace Fail(Timeout) Done
             Proceeding + TransportError -> Terminated: Fail(Transport) Done
             Completed + Fired(K) -> Terminated: Done",
        );
    }

    #[test]
    fn rfc_3261_17_1_2_2_eleven_requests_are_sent_before_timer_f() {
        let timing = Timing::default();
        let mut machine = Client::new();
        let (mut at, mut sent) = (timing.t1, 1);
        while at < timing.timeout() {
            machine.step(Input::Fired(Timer::E), &timing, false, |action| match action {
                Action::Resend => sent += 1,
                Action::Arm(Timer::E, after) => at += after,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(sent, 11);
    }
}
