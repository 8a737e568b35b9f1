//! The server transaction for everything but INVITE: RFC 3261 §17.2.2 with RFC 4320 §4.
//!
//! ```text
//!                                  | Request, pass it to TU
//!                                  V
//!                            +-----------+
//!                            |  Trying   |--------------------+
//!                            +-----------+                    |
//!                              |       | Timer E of the client reached T2 (RFC 4320
//!                              |       | §4.1), or the TU gives a 100 on TCP: 100    |
//!             200-699 from TU: |       V                    |
//!             send it          |   +-----------+  Request:  | 64*T1 have passed: the
//!                              |   |           |--+ send    | client no longer waits
//!                              |   |Proceeding |<-+ 100     | (RFC 4320 §4.2)
//!                              |   +-----------+------------>|
//!                              |       | 200-699 from TU:   |
//!                              V       V send it            |
//!                            +-----------+  Request:        |
//!                            |           |--+ send last     |
//!                            | Completed |<-+ response      |
//!                            +-----------+                  |
//!                                  | Timer J fires, or      V
//!                                  | transport error   +------------+
//!                                  +------------------>| Terminated |
//!                                                      +------------+
//! ```

use super::{Action, Failing, Slot, Timer};
use crate::Timing;

/// State of a server transaction for a request other than INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Nothing was answered yet.
    Trying,
    /// A 100 was sent.
    Proceeding,
    /// The final response was sent.
    Completed,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request came for the first time.
    Received,
    /// The request came again.
    Repeated,
    /// The transaction user gives a 100: sent at once over a reliable transport, in due time otherwise
    /// (RFC 4320 §4.1).
    Provisional,
    /// The transaction user gives a 2xx to 6xx.
    Final,
    /// A timer fired.
    Fired(Timer),
    /// A response could not be sent.
    TransportError,
}

impl Server {
    /// The state in which the request has just come.
    #[must_use]
    pub const fn new() -> Self {
        Self::Trying
    }

    /// Takes one input. `reliable` tells whether the transport is.
    pub fn step(&mut self, input: Input, timing: &Timing, reliable: bool, mut act: impl FnMut(Action)) {
        *self = match (*self, input) {
            (Self::Trying, Input::Received) => {
                act(Action::Arm(Timer::Trying, timing.trying_other()));
                act(Action::Arm(Timer::Expire, timing.timeout()));
                act(Action::Deliver);
                Self::Trying
            }
            (Self::Trying, Input::Fired(Timer::Trying)) => {
                act(Action::Trying);
                Self::Proceeding
            }
            (Self::Trying, Input::Provisional) if reliable => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Trying);
                Self::Proceeding
            }
            (Self::Proceeding | Self::Completed, Input::Repeated) => {
                act(Action::Resend);
                *self
            }
            (Self::Trying | Self::Proceeding, Input::Final) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Reply);
                // Timer J is zero over reliable transports.
                if reliable {
                    act(Action::Disarm(Slot::Deadline));
                    act(Action::Done);
                    Self::Terminated
                } else {
                    act(Action::Arm(Timer::J, timing.timeout()));
                    Self::Completed
                }
            }
            (Self::Trying | Self::Proceeding, Input::Fired(Timer::Expire)) => {
                act(Action::Disarm(Slot::Pace));
                act(Action::Done);
                Self::Terminated
            }
            (Self::Completed, Input::Fired(Timer::J)) => {
                act(Action::Done);
                Self::Terminated
            }
            (Self::Proceeding | Self::Completed, Input::TransportError) => {
                act(Action::Disarm(Slot::Deadline));
                act(Action::Fail(Failing::Transport));
                act(Action::Done);
                Self::Terminated
            }
            (same, _) => same,
        };
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{assert_table, table};
    use super::*;

    const STATES: [Server; 4] = [Server::Trying, Server::Proceeding, Server::Completed, Server::Terminated];
    const INPUTS: [Input; 8] = [
        Input::Received,
        Input::Repeated,
        Input::Provisional,
        Input::Final,
        Input::Fired(Timer::Trying),
        Input::Fired(Timer::Expire),
        Input::Fired(Timer::J),
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
    fn rfc_3261_figure_8_with_rfc_4320_over_udp() {
        assert_table(
            &all(false),
            "Trying + Received -> Trying: Trying=3.5s Expire=32s Deliver
             Trying + Final -> Completed: stop Pace Reply J=32s
             Trying + Fired(Trying) -> Proceeding: Trying
             Trying + Fired(Expire) -> Terminated: stop Pace Done
             Proceeding + Repeated -> Proceeding: Resend
             Proceeding + Final -> Completed: stop Pace Reply J=32s
             Proceeding + Fired(Expire) -> Terminated: stop Pace Done
             Proceeding + TransportError -> Terminated: stop Deadline Fail(Transport) Done
             Completed + Repeated -> Completed: Resend
             Completed + Fired(J) -> Terminated: Done
             Completed + TransportError -> Terminated: stop Deadline Fail(Transport) Done",
        );
    }

    #[test]
    fn rfc_3261_figure_8_with_rfc_4320_over_tcp() {
        assert_table(
            &all(true),
            "Trying + Received -> Trying: Trying=3.5s Expire=32s Deliver
             Trying + Provisional -> Proceeding: stop Pace Trying
             Trying + Final -> Terminated: stop Pace Reply stop Deadline Done
             Trying + Fired(Trying) -> Proceeding: Trying
             Trying + Fired(Expire) -> Terminated: stop Pace Done
             Proceeding + Repeated -> Proceeding: Resend
             Proceeding + Final -> Terminated: stop Pace Reply stop Deadline Done
             Proceeding + Fired(Expire) -> Terminated: stop Pace Done
             Proceeding + TransportError -> Terminated: stop Deadline Fail(Transport) Done
             Completed + Repeated -> Completed: Resend
             Completed + Fired(J) -> Terminated: Done
             Completed + TransportError -> Terminated: stop Deadline Fail(Transport) Done",
        );
    }
}
