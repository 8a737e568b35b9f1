//! A trace as a call flow: a column for each node, an arrow for each message.

use std::fmt::{self, Display};

use crate::trace::{Fate, Trace, What, first_line};

/// Between the middles of two columns.
const WIDTH: usize = 30;

/// Room for the time in front.
const TIME: usize = 12;

/// Messages drawn at most; the last ones, since a failure shows at the end.
const MOST: usize = 400;

/// What [`Trace::ladder`] gives; `Display` draws it.
#[derive(Clone, Copy, Debug)]
pub struct Ladder<'a>(&'a Trace);

impl Trace {
    /// The messages as a ladder, each drawn when it is sent. An `x` at the end of an arrow says that it did not arrive.
    ///
    /// ```text
    ///     time                alice                          bob
    ///    0.001                  |---------- INVITE 1 --------->|
    ///    0.002                  |<-------- 200 INVITE 1 -------|
    ///    0.004                  |------------ ACK 1 ----------x|  lost
    /// ```
    #[must_use]
    pub fn ladder(&self) -> Ladder<'_> {
        Ladder(self)
    }

    /// How many messages were sent.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.what, What::Sent { .. })).count()
    }
}

impl Display for Ladder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ladder(trace) = self;
        write!(f, "{:>TIME$}", "time")?;
        for name in &trace.nodes {
            write!(f, "{name:^WIDTH$}")?;
        }
        writeln!(f)?;
        let mut passed_over = trace.messages().saturating_sub(MOST);
        if passed_over > 0 {
            writeln!(f, "{:>TIME$}  ({passed_over} messages before)", "...")?;
        }
        for entry in &trace.entries {
            if passed_over > 0 {
                passed_over -= usize::from(matches!(entry.what, What::Sent { .. }));
                continue;
            }
            let at = entry.at.as_secs_f64();
            match (&entry.what, entry.node) {
                (What::Sent { to, payload, fate, .. }, Some(from)) => {
                    let line = arrow(trace.nodes.len(), from, *to, &label(payload), *fate);
                    writeln!(f, "{at:>TIME$.3}{line}{}", remark(*fate))?;
                }
                (What::Note(text), _) => writeln!(f, "{at:>TIME$.3}  ## {text}")?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn remark(fate: Fate) -> &'static str {
    match fate {
        Fate::Arrives(_) => "",
        Fate::ArrivesTwice(..) => "  twice",
        Fate::Lost => "  lost",
        Fate::Cut => "  link cut",
        Fate::Swallowed => "  swallowed",
        Fate::NobodyThere => "  nobody there",
        Fate::Failed => "  not sent",
    }
}

/// `INVITE 1`, `200 INVITE 1`.
fn label(payload: &[u8]) -> String {
    let line = first_line(payload);
    let (first, cseq) = line.split_once(" [").unwrap_or((&line, ""));
    let cseq = cseq.trim_end_matches(']');
    let number = cseq.split(' ').next().unwrap_or_default();
    match first.strip_prefix("SIP/2.0 ") {
        Some(status) => {
            let code = status.split(' ').next().unwrap_or_default();
            let method = cseq.split(' ').next_back().unwrap_or_default();
            format!("{code} {method} {number}")
        }
        None => format!("{} {number}", first.split(' ').next().unwrap_or_default()).trim_end().to_owned(),
    }
}

fn arrow(nodes: usize, from: usize, to: Option<usize>, label: &str, fate: Fate) -> String {
    let middle = |node: usize| node * WIDTH + WIDTH / 2;
    let mut line = vec![' '; nodes.max(1) * WIDTH];
    let mut put = |at: usize, what: char| {
        if let Some(place) = line.get_mut(at) {
            *place = what;
        }
    };
    for node in 0..nodes {
        put(middle(node), '|');
    }
    let arrives = matches!(fate, Fate::Arrives(_) | Fate::ArrivesTwice(..));
    // What comes to nobody goes half a column to the right.
    let end = to.filter(|to| *to != from).map_or(middle(from) + WIDTH / 2 - 1, middle);
    let (left, right) = (middle(from).min(end), middle(from).max(end));
    for at in left + 1..right {
        put(at, '-');
    }
    if end > middle(from) {
        put(right - 1, if arrives { '>' } else { 'x' });
    } else {
        put(left + 1, if arrives { '<' } else { 'x' });
    }
    let text: Vec<char> = format!(" {label} ").chars().take((right - left).saturating_sub(4)).collect();
    let start = left + (right - left - text.len()) / 2;
    for (offset, letter) in text.into_iter().enumerate() {
        put(start + offset, letter);
    }
    line.into_iter().collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;
    use sip_transport::{Path, Transport};
    use std::time::Duration;

    fn sent(ms: u64, from: usize, to: Option<usize>, text: &str, fate: Fate) -> Entry {
        let path = Path::to(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let payload = format!("{text}\r\nCSeq: 1 INVITE\r\n\r\n").into();
        let what = What::Sent { path, to, payload, fate };
        Entry { at: Duration::from_millis(ms), node: Some(from), what }
    }

    #[test]
    fn a_call_is_drawn_as_call_flows_are() {
        let arrives = Fate::Arrives(Duration::ZERO);
        let trace = Trace {
            nodes: vec!["alice".into(), "proxy".into(), "bob".into()],
            entries: vec![
                sent(1, 0, Some(1), "INVITE sip:bob@b SIP/2.0", arrives),
                sent(2, 1, Some(2), "INVITE sip:bob@b SIP/2.0", Fate::Lost),
                sent(3, 1, Some(0), "SIP/2.0 100 Trying", arrives),
                sent(4, 2, Some(0), "SIP/2.0 200 OK", arrives),
                sent(5, 2, None, "BYE sip:a SIP/2.0", Fate::NobodyThere),
            ],
        };
        let expected = "
        time            alice                         proxy                          bob              
       0.001               |--------- INVITE 1 --------->|                             |
       0.002               |                             |--------- INVITE 1 ---------x|  lost
       0.003               |<------ 100 INVITE 1 --------|                             |
       0.004               |<--------------------- 200 INVITE 1 -----------------------|
       0.005               |                             |                             |-- BYE 1 ---x  nobody there
";
        let drawn = trace.ladder().to_string();
        let plain = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(plain(&drawn), plain(expected.trim_start_matches('\n')), "{drawn}");
        // The columns are straight.
        let columns: Vec<usize> = drawn.lines().skip(1).filter_map(|line| line.find('|')).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{drawn}");
    }
}
