//! Next hops that say nothing, again and again: RFC 7339 §5.9 has their neighbours stop sending to them, and look rarely
//! whether they are back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip_message::Request;
use sip_transport::{Path, Transport};

use crate::overload::is_urgent;

/// Timeouts and transport errors in a row that are "repeated" ones.
const REPEATED: u32 = 3;
/// How long nothing is sent before the first request that goes out to see whether the hop is back; twice as long before
/// each further one.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(64);
/// Hops that are remembered. A proxy has some dozens; more would be a peer's doing, by names that lead to ever new addresses.
const HOPS: usize = 1_000;

/// The hops that have failed since they answered last.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    hops: HashMap<(Transport, SocketAddr), Hop>,
}

#[derive(Clone, Copy, Debug)]
struct Hop {
    failures: u32,
    /// When the next request may go.
    probe: Instant,
    /// How long after it the one behind.
    pause: Duration,
}

impl Silence {
    /// A request to this hop came to nothing.
    pub(crate) fn failed(&mut self, now: Instant, hop: &Path) {
        let key = (hop.transport, hop.remote);
        if self.hops.len() >= HOPS && !self.hops.contains_key(&key) {
            self.hops.retain(|_, hop| !hop.is_stale(now));
            if self.hops.len() >= HOPS {
                return;
            }
        }
        let fresh = Hop { failures: 0, probe: now, pause: FIRST_PROBE };
        let hop = self.hops.entry(key).or_insert(fresh);
        if hop.is_stale(now) {
            *hop = fresh;
        }
        hop.failures = hop.failures.saturating_add(1);
        if hop.failures == REPEATED {
            hop.wait(now);
        }
    }

    pub(crate) fn answered(&mut self, hop: &Path) {
        if !self.hops.is_empty() {
            self.hops.remove(&(hop.transport, hop.remote));
        }
    }

    /// Whether this request is not to be sent. If it is, it shows whether the hop is back, and others wait for that.
    /// Calls for help are always tried (§5.10.1).
    pub(crate) fn holds_back(&mut self, now: Instant, hop: &Path, request: &Request) -> bool {
        if self.hops.is_empty() {
            return false;
        }
        let Some(hop) = self.hops.get_mut(&(hop.transport, hop.remote)) else { return false };
        if hop.failures < REPEATED || hop.is_stale(now) {
            return false;
        }
        if now < hop.probe {
            return !is_urgent(request);
        }
        hop.wait(now);
        false
    }
}

impl Hop {
    fn wait(&mut self, now: Instant) {
        self.probe = now.checked_add(self.pause).unwrap_or(now);
        self.pause = self.pause.saturating_mul(2).min(LONGEST);
    }

    /// Nothing was sent for so long that what was before says nothing.
    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.probe) > LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_bounded_and_none_is_held_against_for_ever() {
        let now = Instant::now();
        let hop = |port: u16| Path::to(Transport::Udp, SocketAddr::from(([192, 0, 2, 1], port)));
        let mut silence = Silence::default();
        for port in 1..=2_000 {
            silence.failed(now, &hop(port));
        }
        assert_eq!(silence.hops.len(), HOPS);
        silence.failed(now + LONGEST * 2, &hop(2_000));
        assert_eq!(silence.hops.len(), 1, "those of long ago make room");
    }
}
