//! What a network does to what is sent through it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::random::Random;

/// How a link behaves. Probabilities are between 0 and 1.
///
/// Connections lose nothing: a loss there costs the time of a retransmission and everything behind it waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that a datagram arrives twice.
    pub duplicate: f64,
    /// Probability that a datagram may overtake earlier ones; without it a link keeps the order.
    pub reorder: f64,
    /// Shortest and longest time on the way.
    pub delay: (Duration, Duration),
}

impl Conditions {
    /// Everything arrives once, in order, after one millisecond.
    pub const PERFECT: Conditions = Conditions {
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        delay: (Duration::from_millis(1), Duration::from_millis(1)),
    };

    /// A bad network: the given loss, a tenth duplicated, a fifth reordered, 5 to 100 ms of delay.
    #[must_use]
    pub const fn rough(loss: f64) -> Conditions {
        Conditions {
            loss,
            duplicate: 0.1,
            reorder: 0.2,
            delay: (Duration::from_millis(5), Duration::from_millis(100)),
        }
    }

    pub(crate) fn draw_delay(&self, random: &mut Random) -> Duration {
        random.duration(self.delay.0, self.delay.1)
    }
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions::PERFECT
    }
}

/// How the name service behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DnsConditions {
    /// Shortest and longest time until an answer.
    pub delay: (Duration, Duration),
    /// Probability that a question times out instead (after [`DnsConditions::TIMEOUT`]).
    pub loss: f64,
}

impl DnsConditions {
    /// When an unanswered question is given up, as the driver over sockets does.
    pub const TIMEOUT: Duration = sip_transport::limits::Limits::QUERY;
}

impl Default for DnsConditions {
    fn default() -> DnsConditions {
        DnsConditions { delay: (Duration::from_millis(1), Duration::from_millis(1)), loss: 0.0 }
    }
}

/// The conditions of all links, and which of them are cut. Links are directed pairs of node numbers.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) general: Conditions,
    special: BTreeMap<(usize, usize), Conditions>,
    cut: BTreeSet<(usize, usize)>,
    /// When the last datagram that keeps the order arrives.
    latest: BTreeMap<(usize, usize), Instant>,
}

impl Links {
    pub(crate) fn new(general: Conditions) -> Links {
        Links { general, special: BTreeMap::new(), cut: BTreeSet::new(), latest: BTreeMap::new() }
    }

    pub(crate) fn of(&self, from: usize, to: usize) -> Conditions {
        self.special.get(&(from, to)).copied().unwrap_or(self.general)
    }

    pub(crate) fn set(&mut self, from: usize, to: usize, conditions: Conditions) {
        self.special.insert((from, to), conditions);
    }

    /// The arrival of a datagram that overtakes none before it.
    pub(crate) fn in_order(&mut self, from: usize, to: usize, arrival: Instant) -> Instant {
        let latest = self.latest.entry((from, to)).or_insert(arrival);
        *latest = arrival.max(*latest);
        *latest
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
