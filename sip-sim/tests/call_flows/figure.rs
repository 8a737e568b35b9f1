//! Figures as text, and a run as a figure.
//!
//! A line is `alice -> bob INVITE` or `alice -> bob 200`, with the number of the message (`F1`, `(1)`) or of the
//! dialog (`dialog2`) before it if the RFC gives one. `alice -> bob INVITE/180/200/ACK` is the whole transaction in
//! one line, as RFC 5589 writes it: responses go the other way. Dialogs are counted by Call-ID, in the order in which
//! they appear.

use std::collections::HashSet;

use sip_message::{HeaderName, Limits, Message};
use sip_sim::{Trace, What};

/// One arrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    from: String,
    to: String,
    /// A method, or a status and the method of its CSeq.
    what: String,
    /// Which of the Call-IDs; 0 in a figure that does not say.
    dialog: usize,
}

impl std::fmt::Display for Arrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, what, dialog } = self;
        write!(f, "dialog{dialog} {from} -> {to} {what}")
    }
}

impl Arrow {
    fn is_trying(&self) -> bool {
        self.what.split(' ').next() == Some("100")
    }

    /// Whether this arrow of a run is that one of a figure.
    fn fits(&self, figure: &Arrow) -> bool {
        let what = self.what == figure.what || self.what.split(' ').next() == Some(&figure.what);
        self.from == figure.from
            && self.to == figure.to
            && what
            && (figure.dialog == 0 || figure.dialog == self.dialog)
    }
}

/// `F12`, or `(12)` as RFC 3725 writes it.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('F').or_else(|| word.strip_prefix('(')?.strip_suffix(')'));
    digits.is_some_and(|digits| digits.parse::<u8>().is_ok())
}

/// Reads a figure.
fn read(figure: &str) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for line in figure.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut dialog = 0;
        let mut words = line.split_whitespace().peekable();
        while let Some(word) = words.peek().copied() {
            if let Some(number) = word.strip_prefix("dialog") {
                dialog = number.parse().unwrap();
            } else if !is_number(word) {
                break;
            }
            words.next();
        }
        let rest: Vec<&str> = words.collect();
        let [from, "->", to, what] = rest[..] else { panic!("this is no line of a figure: {line}") };
        for (place, what) in what.split('/').enumerate() {
            let back = place > 0 && what.parse::<u16>().is_ok();
            let (from, to) = if back { (to, from) } else { (from, to) };
            arrows.push(Arrow { from: from.into(), to: to.into(), what: what.into(), dialog });
        }
    }
    arrows
}

/// What was sent since this entry of the trace, repetitions left out.
fn drawn(trace: &Trace, since: usize) -> Vec<Arrow> {
    let mut seen = HashSet::new();
    let mut dialogs: Vec<String> = Vec::new();
    let mut arrows = Vec::new();
    for entry in &trace.entries[since..] {
        let (Some(from), What::Sent { to: Some(to), payload, .. }) = (entry.node, &entry.what) else {
            continue;
        };
        let Ok(message) = Message::parse(payload.clone(), &Limits::default()) else { continue };
        if !seen.insert((from, *to, payload.clone())) {
            continue;
        }
        let (headers, what) = match &message {
            Message::Request(request) => (&request.headers, request.method().to_string()),
            Message::Response(response) => {
                let cseq = response.headers.text(HeaderName::CSEQ).unwrap_or_default();
                let method = cseq.split_whitespace().nth(1).unwrap_or_default();
                (&response.headers, format!("{} {method}", response.status().code()))
            }
        };
        let call_id = headers.text(HeaderName::CALL_ID).unwrap_or_default().to_owned();
        let dialog = dialogs.iter().position(|known| *known == call_id).unwrap_or_else(|| {
            dialogs.push(call_id);
            dialogs.len() - 1
        });
        let name = |node: usize| trace.nodes[node].clone();
        arrows.push(Arrow { from: name(from), to: name(*to), what, dialog: dialog + 1 });
    }
    arrows
}

/// Compares what was sent since this entry with a figure. The order is the figure's; only `100 Trying` goes from hop
/// to hop, so that its place among the messages of other hops means nothing: it is compared as a set.
pub(crate) fn compare(trace: &Trace, since: usize, figure: &str) {
    let (wanted, drawn) = (read(figure), drawn(trace, since));
    let split = |arrows: &[Arrow]| -> (Vec<Arrow>, Vec<Arrow>) {
        arrows.iter().cloned().partition(|arrow| !arrow.is_trying())
    };
    let ((wanted, mut wanted_trying), (drawn, drawn_trying)) = (split(&wanted), split(&drawn));
    let list = |arrows: &[Arrow]| arrows.iter().map(|arrow| format!("    {arrow}\n")).collect::<String>();
    let story = || format!("the run was\n{}{}\n{}", list(&drawn), list(&drawn_trying), trace.ladder());
    for (place, figure) in wanted.iter().enumerate() {
        match drawn.get(place) {
            Some(arrow) if arrow.fits(figure) => {}
            Some(arrow) => panic!("line {}: wanted {figure}, came {arrow}; {}", place + 1, story()),
            None => panic!("line {}: wanted {figure}, and nothing came; {}", place + 1, story()),
        }
    }
    assert_eq!(wanted.len(), drawn.len(), "more was sent than the figure shows: {}", story());
    for arrow in &drawn_trying {
        let place = wanted_trying.iter().position(|figure| arrow.fits(figure));
        let place = place.unwrap_or_else(|| panic!("the figure has no {arrow}: {}", story()));
        wanted_trying.remove(place);
    }
    assert!(wanted_trying.is_empty(), "no {}: {}", list(&wanted_trying), story());
}

/// The comparison itself can fail: another order, another status, one message more or less.
#[test]
fn a_figure_that_differs_is_seen() {
    let mut world = crate::world::World::new();
    let (alice, bob) = (world.ua("alice"), world.ua("bob"));
    let (call, _) = world.connect(alice, bob);
    world.hang_up(alice, call);
    let good = "dialog1 alice -> bob INVITE/180/200/ACK
        alice -> bob BYE/200";
    compare(world.sim.trace(), 0, good);
    let trace = world.sim.trace().clone();
    for bad in [
        good.replace("180", "183"),
        good.replace("/180", ""),
        good.replace("200/ACK", "200"),
        good.replace("BYE/200", "BYE/200/200"),
        good.replace("alice -> bob BYE", "bob -> alice BYE"),
        good.replace("dialog1", "dialog2"),
        format!("alice -> bob OPTIONS/200\n{good}"),
        format!("{good}\nbob -> alice 100"),
    ] {
        let differs = std::panic::catch_unwind(|| compare(&trace, 0, &bad)).is_err();
        assert!(differs, "{bad}");
    }
}
