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
    /// Losses that come together, beside those above.
    pub burst: Option<Burst>,
    /// Shortest and longest time on the way.
    pub delay: (Duration, Duration),
}

/// Losses in bursts: the model of Gilbert and Elliott. A link is good or bad, which is drawn anew with each datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Probability that a good link turns bad.
    pub begin: f64,
    /// Probability that a bad link turns good: a burst lasts for the inverse of it on average.
    pub end: f64,
    /// Probability that a datagram is lost while the link is bad.
    pub loss: f64,
}

impl Burst {
    /// The loss that this comes to in the long run.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.loss * self.begin / (self.begin + self.end)
    }
}

impl Conditions {
    /// Everything arrives once, in order, after one millisecond.
    pub const PERFECT: Conditions = Conditions {
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        burst: None,
        delay: (Duration::from_millis(1), Duration::from_millis(1)),
    };

    /// A bad network: the given loss, a tenth duplicated, a fifth reordered, 5 to 100 ms of delay.
    #[must_use]
    pub const fn rough(loss: f64) -> Conditions {
        Conditions {
            loss,
            duplicate: 0.1,
            reorder: 0.2,
            burst: None,
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
    /// Probability that the name server says that it has failed.
    pub fail: f64,
    /// Probability that the answer has nothing to do with the question.
    pub wrong: f64,
}

impl DnsConditions {
    /// When an unanswered question is given up, as the driver over sockets does.
    pub const TIMEOUT: Duration = sip_transport::limits::Limits::QUERY;
}

impl Default for DnsConditions {
    fn default() -> DnsConditions {
        DnsConditions {
            delay: (Duration::from_millis(1), Duration::from_millis(1)),
            loss: 0.0,
            fail: 0.0,
            wrong: 0.0,
        }
    }
}

/// The conditions of all links, and which of them are cut. Links are directed pairs of node numbers.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) general: Conditions,
    special: BTreeMap<(usize, usize), Conditions>,
    cut: BTreeSet<(usize, usize)>,
    /// Links that are in a burst of losses.
    bad: BTreeSet<(usize, usize)>,
    groups: BTreeMap<String, Vec<usize>>,
    /// Connections on which the next message ends after so many octets, with the connection.
    torn: BTreeMap<(usize, usize), usize>,
    /// When the last datagram that keeps the order arrives.
    latest: BTreeMap<(usize, usize), Instant>,
}

impl Links {
    pub(crate) fn new(general: Conditions) -> Links {
        Links {
            general,
            special: BTreeMap::new(),
            cut: BTreeSet::new(),
            bad: BTreeSet::new(),
            groups: BTreeMap::new(),
            torn: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
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

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether a datagram is lost by chance.
    pub(crate) fn loses(&mut self, from: usize, to: usize, random: &mut Random) -> bool {
        let conditions = self.of(from, to);
        if let Some(burst) = conditions.burst {
            let is_bad = self.bad.contains(&(from, to));
            if random.chance(if is_bad { burst.end } else { burst.begin }) {
                if is_bad {
                    self.bad.remove(&(from, to))
                } else {
                    self.bad.insert((from, to))
                };
            }
            if self.bad.contains(&(from, to)) && random.chance(burst.loss) {
                return true;
            }
        }
        random.chance(conditions.loss)
    }

    pub(crate) fn set_group(&mut self, name: &str, nodes: Vec<usize>) {
        self.groups.insert(name.to_owned(), nodes);
    }

    /// Every pair of a node of one group and a node of another, both ways.
    pub(crate) fn between(&self, one: &str, other: &str) -> Vec<(usize, usize)> {
        let nodes = |name: &str| self.groups.get(name).map_or(&[][..], Vec::as_slice);
        let pairs = nodes(one).iter().flat_map(|a| nodes(other).iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a != b).flat_map(|(a, b)| [(a, b), (b, a)]).collect()
    }

    pub(crate) fn tear(&mut self, from: usize, to: usize, octets: usize) {
        self.torn.insert((from, to), octets);
    }

    /// After how many octets the next message on a connection ends with it.
    pub(crate) fn torn(&mut self, from: usize, to: usize) -> Option<usize> {
        self.torn.remove(&(from, to))
    }
}
