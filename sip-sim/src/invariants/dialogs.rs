//! What must hold in dialogs: numbers, reliable provisional responses, and one offer at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sip_message::headers::{ContentType, OptionTag, RAck, RSeq, Require};
use sip_message::{Headers, Message, Method, Request, Response};

use super::{Facts, Violation};

/// A node, a Call-ID, the node's own tag and its peer's.
type Side = (usize, String, String, String);

/// The INVITE of a call as its node knows it: with its number.
type Invite = (usize, String, u32);

/// A violation, of the name of its node and the description of its message.
type Fault = fn(String, String) -> Violation;

/// An offer without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    /// The number of the request that carries it, or whose response does.
    number: u32,
    method: Method,
    /// It is in a response.
    within: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Request,
    Provisional,
    Success,
}

#[derive(Debug, Default)]
struct Exchange {
    ours: Option<Offer>,
    theirs: Option<Offer>,
    /// Numbers of INVITEs that have had their exchange: what comes later in their responses repeats it.
    done: BTreeSet<(bool, u32)>,
}

/// Numbers that a node has used in a dialog, with what it sent under them.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<u32, String>);

/// A reliable provisional response that a node got, and its PRACK is to come.
#[derive(Debug)]
struct Due {
    tag: String,
    rseq: u32,
    at: Duration,
}

/// The observer: it is shown each message once, in order.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    numbers: BTreeMap<Side, Numbers>,
    /// To tags that others have made.
    foreign: BTreeSet<(usize, String, String)>,
    own: BTreeSet<(usize, String)>,
    /// The last reliable provisional response that a node sent to an INVITE, and whether its PRACK came.
    sent: BTreeMap<(Side, u32), (u32, bool)>,
    heard: BTreeSet<(usize, String, String, u32, u32)>,
    in_order: BTreeMap<(Invite, String), u32>,
    due: BTreeMap<Invite, Vec<Due>>,
    /// INVITEs that their node knows to have a final response.
    ended: BTreeSet<Invite>,
    exchanges: BTreeMap<Side, Exchange>,
    /// First INVITEs with an offer: by node, Call-ID, tag of who called, and whether it is the node itself.
    first: BTreeMap<(usize, String, String, bool), Option<Offer>>,
    repeated: BTreeSet<(usize, bool, String, String)>,
    broken: Vec<(usize, Fault, String)>,
}

/// A message of the trace.
pub(super) struct Seen<'a> {
    pub(super) node: usize,
    pub(super) at: Duration,
    /// The node sent it.
    pub(super) out: bool,
    pub(super) message: &'a Message,
    pub(super) facts: &'a Facts,
    /// 64·T1.
    pub(super) timeout: Duration,
}

impl Dialogs {
    /// What was broken.
    pub(super) fn finish(
        mut self,
        end: Duration,
        timeout: Duration,
        name: impl Fn(usize) -> String,
    ) -> Vec<Violation> {
        for ((node, call, number), due) in std::mem::take(&mut self.due) {
            for due in due.iter().filter(|due| end > due.at + timeout) {
                self.broken.push((
                    node,
                    |node, what| Violation::Unpracked { node, response: what },
                    describe(&call, number, due.rseq),
                ));
            }
        }
        self.broken.into_iter().map(|(node, make, what)| make(name(node), what)).collect()
    }

    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        match seen.message {
            Message::Request(request) => self.request(seen, request),
            Message::Response(response) => self.response(seen, response),
        }
    }

    fn request(&mut self, seen: &Seen<'_>, request: &Request) {
        let Facts { call, branch, from, tag, cseq, vias } = seen.facts;
        let (node, out) = (seen.node, seen.out);
        let own = out && *vias == 1;
        if out && !own {
            return;
        }
        let side = if out { side(node, call, from, tag) } else { side(node, call, tag, from) };
        let method = request.method();
        if own {
            // The CANCEL that a proxy sends has the branch of an INVITE that is not its own.
            if !matches!(method, Method::Ack | Method::Cancel) {
                self.own.insert((node, branch.clone()));
                self.number(&side, cseq.number, request);
            }
        }
        match method {
            Method::Prack => self.prack(seen, request, &side),
            Method::Bye => {
                // Refused as out of order it ends nothing but what was open.
                self.exchanges.insert(side.clone(), Exchange::default());
                self.settle(seen, |invite, _| invite.0 == node && invite.1 == *call);
            }
            Method::Cancel if own => {
                self.settle(seen, |invite, _| *invite == (node, call.clone(), cseq.number));
            }
            _ => {}
        }
        let kind = format!("{method} {}", cseq.number);
        if self.repeated.insert((node, out, branch.clone(), kind)) {
            self.exchange_in_request(seen, request, &side);
        }
    }

    /// RFC 3261 §12.2.1.1: each request in a dialog has a number over all before; the same one is the same request again, at
    /// another place that may be tried (RFC 3263 §4.3).
    fn number(&mut self, side: &Side, number: u32, request: &Request) {
        let text = request.to_string();
        let is_via = |line: &&str| line.to_ascii_lowercase().starts_with("via:") || line.starts_with("v:");
        let text: String = text.lines().filter(|line| !is_via(line)).collect();
        let Numbers(used) = self.numbers.entry(side.clone()).or_default();
        let again = match used.get(&number) {
            Some(before) => *before != text,
            None => used.last_key_value().is_some_and(|(last, _)| *last > number),
        };
        used.insert(number, text);
        if again {
            let what = format!("{} {number} {}", side.1, request.method());
            self.broken.push((side.0, |node, request| Violation::Number { node, request }, what));
        }
    }

    /// RFC 3262 §4: a PRACK is for a response that came; §3: it lets the next one go.
    fn prack(&mut self, seen: &Seen<'_>, prack: &Request, side: &Side) {
        let Ok(Some(ack)) = prack.headers.get::<RAck>() else { return };
        let Facts { call, tag, .. } = seen.facts;
        let number = ack.cseq.number;
        if !seen.out {
            if let Some((last, acknowledged)) = self.sent.get_mut(&(side.clone(), number)) {
                *acknowledged |= *last == ack.rseq;
            }
            return;
        }
        if !self.heard.contains(&(seen.node, call.clone(), tag.clone(), number, ack.rseq)) {
            let what = describe(call, number, ack.rseq);
            self.broken.push((seen.node, |node, prack| Violation::StrayPrack { node, prack }, what));
        }
        self.settle(seen, |invite, due| {
            *invite == (seen.node, call.clone(), number) && due.tag == *tag && due.rseq == ack.rseq
        });
    }

    /// Whatever is due and chosen is done now; it must not have taken longer than the peer waits.
    fn settle(&mut self, seen: &Seen<'_>, chosen: impl Fn(&Invite, &Due) -> bool) {
        let mut late = Vec::new();
        for (invite, list) in &mut self.due {
            list.retain(|due| {
                let done = chosen(invite, due);
                if done && seen.at > due.at + seen.timeout {
                    late.push((invite.0, describe(&invite.1, invite.2, due.rseq)));
                }
                !done
            });
        }
        let unpracked: Fault = |node, response| Violation::Unpracked { node, response };
        self.broken.extend(late.into_iter().map(|(node, what)| (node, unpracked, what)));
        self.due.retain(|_, list| !list.is_empty());
    }

    fn response(&mut self, seen: &Seen<'_>, response: &Response) {
        let Facts { call, branch, from, tag, cseq, .. } = seen.facts;
        let (node, out, status) = (seen.node, seen.out, response.status());
        if tag.is_empty() {
            return;
        }
        let side = if out { side(node, call, tag, from) } else { side(node, call, from, tag) };
        let rseq = reliable(response);
        if !out {
            self.foreign.insert((node, call.clone(), tag.clone()));
            if !self.own.contains(&(node, branch.clone())) {
                return; // of a proxy
            }
            if cseq.method == Method::Invite {
                let invite = (node, call.clone(), cseq.number);
                if let Some(rseq) = rseq {
                    self.provisional_came(seen, invite, rseq);
                } else if status.is_final() {
                    self.settle(seen, |other, _| *other == invite);
                    self.ended.insert(invite);
                }
            }
        } else if self.foreign.contains(&(node, call.clone(), tag.clone())) {
            return;
        } else if let Some(rseq) = rseq {
            self.provisional_goes(&side, cseq.number, rseq);
        }
        let kind = format!("{status} {} {tag} {rseq:?}", cseq.number);
        if self.repeated.insert((node, out, branch.clone(), kind)) {
            self.exchange_in_response(seen, response, &side, rseq.is_some());
        }
    }

    fn provisional_came(&mut self, seen: &Seen<'_>, invite: Invite, rseq: u32) {
        let Facts { call, tag, .. } = seen.facts;
        let number = invite.2;
        let fresh = self.heard.insert((seen.node, call.clone(), tag.clone(), number, rseq));
        let last = self.in_order.entry((invite.clone(), tag.clone())).or_insert(rseq);
        if fresh && !self.ended.contains(&invite) && (*last == rseq || last.checked_add(1) == Some(rseq)) {
            *last = rseq;
            self.due.entry(invite).or_default().push(Due { tag: tag.clone(), rseq, at: seen.at });
        }
    }

    /// RFC 3262 §3: one greater than the last, and not before the PRACK of the last.
    fn provisional_goes(&mut self, side: &Side, number: u32, rseq: u32) {
        match self.sent.insert((side.clone(), number), (rseq, false)) {
            Some((last, acknowledged)) if last == rseq => {
                self.sent.insert((side.clone(), number), (rseq, acknowledged));
            }
            Some((last, true)) if last.checked_add(1) == Some(rseq) => {}
            None => {}
            Some(_) => {
                let what = describe(&side.1, number, rseq);
                self.broken.push((side.0, |node, response| Violation::Provisional { node, response }, what));
            }
        }
    }

    // ---- offer and answer (RFC 6337 §2.2) ---------------------------------------------------------------------

    /// What is open in a dialog; one that begins has the offer of the INVITE that makes it.
    fn exchange(&mut self, side: &Side) -> &mut Exchange {
        let (node, call, ours, theirs) = side;
        let first = |tag: &String, mine| self.first.get(&(*node, call.clone(), tag.clone(), mine)).cloned();
        let begin = || Exchange {
            ours: first(ours, true).flatten(),
            theirs: first(theirs, false).flatten(),
            ..Exchange::default()
        };
        self.exchanges.entry(side.clone()).or_insert_with(begin)
    }

    fn exchange_in_request(&mut self, seen: &Seen<'_>, request: &Request, side: &Side) {
        let Facts { call, from, tag, cseq, .. } = seen.facts;
        let describes = describes_session(&request.headers, request.body());
        let offer = Offer { number: cseq.number, method: request.method().clone(), within: Within::Request };
        if tag.is_empty() {
            if *request.method() == Method::Invite {
                let key = (seen.node, call.clone(), from.clone(), seen.out);
                self.first.insert(key, describes.then_some(offer));
            }
            return;
        }
        let exchange = self.exchange(side);
        let (mine, other) = match seen.out {
            true => (&mut exchange.ours, &mut exchange.theirs),
            false => (&mut exchange.theirs, &mut exchange.ours),
        };
        let answers = match request.method() {
            Method::Ack => other.take_if(|open| open.within == Within::Success).is_some() || describes,
            Method::Prack => other.take_if(|open| open.within == Within::Provisional).is_some(),
            _ => false,
        };
        let offers = matches!(request.method(), Method::Invite | Method::Update | Method::Prack);
        if answers || !describes || !offers {
            return;
        }
        if mine.is_none() && other.is_none() {
            *mine = Some(offer);
        } else if seen.out {
            let what = format!("{call} {} {}", cseq.number, request.method());
            self.broken.push((seen.node, |node, request| Violation::SecondOffer { node, request }, what));
        }
    }

    fn exchange_in_response(&mut self, seen: &Seen<'_>, response: &Response, side: &Side, reliably: bool) {
        let Facts { cseq, .. } = seen.facts;
        let status = response.status();
        let describes = describes_session(&response.headers, response.body());
        if status.is_provisional() && !(reliably && describes) {
            return;
        }
        let exchange = self.exchange(side);
        // Who sends a response answers the offer of the other one.
        let (mine, other) = match seen.out {
            true => (&mut exchange.ours, &mut exchange.theirs),
            false => (&mut exchange.theirs, &mut exchange.ours),
        };
        let of_it = |open: &mut Offer| {
            open.within == Within::Request && open.number == cseq.number && open.method == cseq.method
        };
        let invite = cseq.method == Method::Invite;
        let answered = other.take_if(of_it).is_some();
        let first = !invite || exchange.done.insert((seen.out, cseq.number)) || answered;
        if status.is_success() || status.is_provisional() {
            if invite && describes && !answered && first && mine.is_none() && other.is_none() {
                let within = if status.is_success() { Within::Success } else { Within::Provisional };
                *mine = Some(Offer { number: cseq.number, method: Method::Invite, within });
            }
        } else if invite {
            // What a provisional response offered is off with its INVITE.
            mine.take_if(|open| open.within == Within::Provisional && open.number == cseq.number);
        }
    }
}

fn side(node: usize, call: &str, own: &str, other: &str) -> Side {
    (node, call.to_owned(), own.to_owned(), other.to_owned())
}

fn describe(call: &str, number: u32, rseq: u32) -> String {
    format!("{call} {number} INVITE, RSeq {rseq}")
}

/// The number of a response that wants a PRACK.
fn reliable(response: &Response) -> Option<u32> {
    let mut required = response.headers.all::<Require>().flatten();
    let RSeq(number) = response.headers.get::<RSeq>().ok().flatten()?;
    let status = response.status().code();
    ((101..200).contains(&status) && required.any(|tag| tag.tag() == OptionTag::Reliable)).then_some(number)
}

fn describes_session(headers: &Headers, body: &[u8]) -> bool {
    let kind = headers.get::<ContentType>().ok().flatten();
    !body.is_empty() && kind.is_some_and(|kind| kind.is("application", "sdp"))
}
