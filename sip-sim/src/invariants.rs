//! What must hold on the wire after any run, whoever the nodes are: an observer over the trace.

mod dialogs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use sip_message::headers::{CSeq, CallId, From, To, Via};
use sip_message::{Headers, Limits, Message, Method};

use self::dialogs::{Dialogs, Seen};
use crate::node::AnyNode;
use crate::trace::{Trace, What};

/// What a node did not do as it must.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// An INVITE that a node received got no final response (RFC 3261 §17.2.1).
    Unanswered {
        /// The node's name.
        node: String,
        /// Its Call-ID and branch.
        invite: String,
    },
    /// An INVITE got several final responses that contradict each other (RFC 3261 §17.2.1, §8.2.6).
    Contradiction {
        /// The node's name.
        node: String,
        /// Its Call-ID and branch.
        invite: String,
        /// The final status codes it was given.
        statuses: Vec<u16>,
    },
    /// A final response to INVITE that a node received was not acknowledged (RFC 3261 §13.2.2.4, §17.1.1.3).
    Unacknowledged {
        /// The node's name.
        node: String,
        /// Its Call-ID and branch.
        invite: String,
        /// The status of the response.
        status: u16,
    },
    /// A request in a dialog has the number of another one, or a lower one than one before (RFC 3261 §12.2.1.1).
    Number {
        /// The node's name.
        node: String,
        /// Its Call-ID, number and method.
        request: String,
    },
    /// A reliable provisional response has not the number after the one before, or goes before the PRACK for that (RFC 3262 §3).
    Provisional {
        /// The node's name.
        node: String,
        /// Its Call-ID and numbers.
        response: String,
    },
    /// A PRACK acknowledges a response that never came (RFC 3262 §4).
    StrayPrack {
        /// The node's name.
        node: String,
        /// Its Call-ID and numbers.
        prack: String,
    },
    /// A reliable provisional response got no PRACK, though it came in order and its INVITE went on (RFC 3262 §4).
    Unpracked {
        /// The node's name.
        node: String,
        /// Its Call-ID and numbers.
        response: String,
    },
    /// A request offers something while another offer is open in its dialog (RFC 6337 §2.2, RFC 3264 §4).
    SecondOffer {
        /// The node's name.
        node: String,
        /// Its Call-ID, number and method.
        request: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Unanswered { node, invite } => write!(f, "{node} never answered the INVITE {invite}"),
            Violation::Contradiction { node, invite, statuses } => {
                write!(f, "{node} gave the INVITE {invite} several final responses: {statuses:?}")
            }
            Violation::Unacknowledged { node, invite, status } => {
                write!(f, "{node} never acknowledged the {status} to its INVITE {invite}")
            }
            Violation::Number { node, request } => {
                write!(f, "{node} used the number of {request} before, or a higher one")
            }
            Violation::Provisional { node, response } => {
                write!(f, "{node} sent a reliable provisional response out of turn: {response}")
            }
            Violation::StrayPrack { node, prack } => {
                write!(f, "{node} sent a PRACK for what never came: {prack}")
            }
            Violation::Unpracked { node, response } => {
                write!(f, "{node} never sent a PRACK for {response}")
            }
            Violation::SecondOffer { node, request } => {
                write!(f, "{node} offered something while an offer was open: {request}")
            }
        }
    }
}

/// Checks a trace that has come to its end.
///
/// It looks at the messages alone, so it holds for any node: a phone, a proxy, a script, your own service.
///
/// * Every INVITE that reached a node got a final response from it, and no two that contradict each other.
/// * Every final response to INVITE that reached the node which had asked was acknowledged by it: a 2xx by whoever made
///   the INVITE, any other by whoever sent it to the next hop. Responses that come after a client gave up are left out.
/// * Requests in a dialog have numbers that grow.
/// * Reliable provisional responses have numbers without gaps, each after the PRACK of the one before; each that came in order got
///   its PRACK in time unless its INVITE or its call ended first, and there is no PRACK for anything else.
/// * No request offers a session while another offer is open in its dialog.
#[derive(Clone, Debug)]
pub struct Invariants {
    /// 64·T1, after which a client gives up.
    timeout: Duration,
    /// Nodes that were stopped on the way: they owe nothing.
    excused: BTreeSet<usize>,
}

impl Default for Invariants {
    fn default() -> Invariants {
        Invariants { timeout: Duration::from_secs(32), excused: BTreeSet::new() }
    }
}

/// What a client did with an INVITE.
#[derive(Debug, Default)]
struct Asked {
    sent: Option<Duration>,
    answered: Option<Duration>,
    cancelled: Option<Duration>,
    /// Final responses that came in time: status and To tag.
    finals: BTreeMap<(u16, String), Duration>,
    call: String,
    number: u32,
    /// It was made here, and not forwarded.
    is_own: bool,
}

/// What a server did with an INVITE.
#[derive(Debug)]
struct Answered {
    call: String,
    /// Final responses: status and To tag.
    finals: BTreeSet<(u16, String)>,
}

impl Invariants {
    /// Those of RFC 3261 with its own timers.
    #[must_use]
    pub fn new() -> Invariants {
        Invariants::default()
    }

    /// With another 64·T1.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Invariants {
        self.timeout = timeout;
        self
    }

    /// Without a node that was stopped or cut off for good.
    #[must_use]
    pub fn except(mut self, node: impl Into<AnyNode>) -> Invariants {
        self.excused.insert(node.into().0);
        self
    }

    /// What was broken; empty if all is well.
    #[must_use]
    pub fn check(&self, trace: &Trace) -> Vec<Violation> {
        let mut asked: BTreeMap<(usize, String), Asked> = BTreeMap::new();
        let mut received: BTreeMap<(usize, String), Answered> = BTreeMap::new();
        let mut acks: BTreeSet<(usize, String)> = BTreeSet::new();
        let mut dialogs = Dialogs::default();
        for entry in &trace.entries {
            let Some(node) = entry.node.filter(|node| !self.excused.contains(node)) else { continue };
            let (payload, out) = match &entry.what {
                What::Sent { payload, .. } => (payload, true),
                What::Received { payload, .. } => (payload, false),
                _ => continue,
            };
            let Ok(message) = Message::parse(payload.clone(), &Limits::default()) else { continue };
            let Some(facts) = Facts::of(message.headers()) else { continue };
            let timeout = self.timeout;
            dialogs.see(&Seen { node, at: entry.at, out, message: &message, facts: &facts, timeout });
            let key = (node, facts.branch.clone());
            match (&message, out) {
                (Message::Request(request), true) => match request.method() {
                    Method::Invite => {
                        let asked = asked.entry(key).or_default();
                        asked.sent.get_or_insert(entry.at);
                        asked.is_own = facts.vias == 1;
                        (asked.call, asked.number) = (facts.call, facts.cseq.number);
                    }
                    Method::Ack => {
                        acks.insert(key);
                        acks.insert((node, facts.for_2xx()));
                    }
                    Method::Cancel => {
                        if let Some(asked) = asked.get_mut(&key) {
                            asked.cancelled.get_or_insert(entry.at);
                        }
                    }
                    _ => {}
                },
                (Message::Request(request), false) if *request.method() == Method::Invite => {
                    received
                        .entry(key)
                        .or_insert_with(|| Answered { call: facts.call, finals: BTreeSet::new() });
                }
                (Message::Response(response), out) if facts.cseq.method == Method::Invite => {
                    let status = response.status();
                    if out && let Some(answered) = received.get_mut(&key) {
                        if status.is_final() {
                            answered.finals.insert((status.code(), facts.tag));
                        }
                    } else if !out && let Some(asked) = asked.get_mut(&key) {
                        self.response_came(
                            asked,
                            entry.at,
                            status.is_final().then_some(status.code()),
                            facts.tag,
                        );
                    }
                }
                _ => {}
            }
        }
        let name = |node: usize| trace.nodes.get(node).cloned().unwrap_or_default();
        let end = trace.entries.last().map(|entry| entry.at).unwrap_or_default();
        let mut broken = dialogs.finish(end, self.timeout, name);
        for ((node, branch), Answered { call, finals }) in received {
            let invite = format!("{call} ({branch})");
            let mut statuses: Vec<u16> = finals.iter().map(|(status, _)| *status).collect();
            let accepted = statuses.iter().filter(|status| **status < 300).count();
            if statuses.is_empty() {
                broken.push(Violation::Unanswered { node: name(node), invite });
            } else if accepted != statuses.len() && statuses.len() > 1 {
                statuses.dedup();
                broken.push(Violation::Contradiction { node: name(node), invite, statuses });
            }
        }
        for ((node, branch), asked) in asked {
            for (status, tag) in asked.finals.into_keys() {
                let is_2xx = status < 300;
                let ack =
                    if is_2xx { format!("{} {} {tag}", asked.call, asked.number) } else { branch.clone() };
                if (asked.is_own || !is_2xx) && !acks.contains(&(node, ack)) {
                    let invite = format!("{} ({branch})", asked.call);
                    broken.push(Violation::Unacknowledged { node: name(node), invite, status });
                }
            }
        }
        broken
    }

    /// # Panics
    /// With what was broken and the ladder, if anything was.
    #[allow(clippy::panic)] // a wrong run stops; see # Panics
    pub fn assert(&self, trace: &Trace) {
        let broken = self.check(trace);
        if !broken.is_empty() {
            let list: Vec<String> = broken.iter().map(ToString::to_string).collect();
            panic!("{}\n{}", list.join("\n"), trace.ladder());
        }
    }

    fn response_came(&self, asked: &mut Asked, at: Duration, status: Option<u16>, tag: String) {
        let gave_up = |since: Option<Duration>| since.is_some_and(|since| at >= since + self.timeout);
        // Timer B until the first response, 64·T1 after a CANCEL (RFC 3261 §9.1).
        if (asked.answered.is_none() && gave_up(asked.sent)) || gave_up(asked.cancelled) {
            return;
        }
        asked.answered.get_or_insert(at);
        // Of several failures to one request the first counts, the others are repetitions or not ours to judge.
        if let Some(status) = status {
            asked.finals.entry((status, tag)).or_insert(at);
        }
    }
}

/// What tells messages apart.
struct Facts {
    branch: String,
    vias: usize,
    call: String,
    cseq: CSeq,
    /// That of From.
    from: String,
    /// That of To.
    tag: String,
}

impl Facts {
    fn of(headers: &Headers) -> Option<Facts> {
        let via: Via = headers.require().ok()?;
        let (from, to): (From, To) = (headers.require().ok()?, headers.require().ok()?);
        Some(Facts {
            branch: via.branch().unwrap_or_default().to_owned(),
            vias: headers.all::<Via>().count(),
            call: headers.require::<CallId>().ok()?.as_str().to_owned(),
            cseq: headers.require().ok()?,
            from: from.tag().unwrap_or_default().to_owned(),
            tag: to.tag().unwrap_or_default().to_owned(),
        })
    }

    /// What an ACK for a 2xx has in common with it.
    fn for_2xx(&self) -> String {
        format!("{} {} {}", self.call, self.cseq.number, self.tag)
    }
}
