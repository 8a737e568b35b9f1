//! What is to happen, in order of time.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_transport::{Answer, FlowEvent, Path, SendError};

use crate::sim::Sim;

/// Something that will happen.
pub(crate) enum Happening {
    Datagram {
        node: usize,
        path: Path,
        payload: Bytes,
    },
    /// Bytes arrive at one side of a connection.
    Segment {
        connection: u64,
        side: usize,
        payload: Bytes,
    },
    /// A connection has waited long for a cut link.
    Stalled {
        connection: u64,
        side: usize,
    },
    /// A connection breaks, unless it is closed by then.
    Break {
        connection: u64,
        error: SendError,
    },
    Flow {
        node: usize,
        event: FlowEvent,
    },
    Answer {
        node: usize,
        answer: Answer,
    },
    Action(Action),
}

pub(crate) type Action = Box<dyn FnOnce(&mut Sim)>;

pub(crate) struct Scheduled {
    pub(crate) at: Instant,
    /// Order of scheduling: what is due at the same time happens in this order.
    number: u64,
    pub(crate) what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, for a heap that gives the greatest first.
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl Sim {
    pub(crate) fn schedule(&mut self, at: Instant, what: Happening) {
        let number = self.scheduled;
        self.scheduled = self.scheduled.wrapping_add(1);
        self.agenda.push(Scheduled { at, number, what });
    }
}

pub(crate) fn later(at: Instant, by: Duration) -> Instant {
    // A century ahead is never reached; an overflow would only be a test's Duration::MAX.
    at.checked_add(by).unwrap_or_else(|| at + Duration::from_secs(100 * 365 * 24 * 3600))
}
