//! What is sent again until it is answered (RFC 3261 §17.1, §13.3.1.4).

use std::time::{Duration, Instant};

use sip_transport::Transmit;

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// Something that is sent again and again.
#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) transmit: Transmit,
    /// The branch and method of the request; for a response to INVITE those of the ACK that ends it, which has no branch
    /// that is known.
    pub(super) branch: String,
    pub(super) method: String,
    pub(super) next: Instant,
    interval: Duration,
    until: Instant,
    /// INVITE doubles its interval without end, all others up to T2.
    capped: bool,
}

impl Repeat {
    pub(super) fn new(now: Instant, transmit: Transmit, branch: &str, method: &str) -> Repeat {
        let (branch, method) = (branch.to_owned(), method.to_owned());
        let capped = method != "INVITE";
        Repeat { transmit, branch, method, next: now + T1, interval: T1, until: now + T1 * 64, capped }
    }

    /// Sends it if its time has come. `false`: it is given up.
    pub(super) fn fire(&mut self, now: Instant, send: impl FnOnce(Transmit)) -> bool {
        if self.next > now {
            return true;
        }
        if now >= self.until {
            return false;
        }
        send(self.transmit.clone());
        self.interval = self.interval.saturating_mul(2);
        if self.capped {
            self.interval = self.interval.min(T2);
        }
        self.next = (now + self.interval).min(self.until);
        true
    }
}
