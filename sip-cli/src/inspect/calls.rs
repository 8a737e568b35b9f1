//! The messages of a capture by call, each drawn as a ladder.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Passage;
use super::report::{Report, label};
use crate::ladder::{Arrow, Line, draw};

/// Messages of one call that are drawn. A ladder of a registration that repeats for days helps nobody.
const ARROWS: usize = 1_000;

/// A step of a call.
#[derive(Debug)]
struct Step {
    at: Duration,
    from: SocketAddr,
    to: SocketAddr,
    label: String,
}

/// Messages with the same Call-ID.
#[derive(Debug)]
struct Call {
    id: String,
    steps: Vec<Step>,
    left_out: usize,
}

/// All calls of a capture, in the order of their first messages.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    by_id: HashMap<String, usize>,
}

impl Calls {
    pub(super) fn add(&mut self, passage: &Passage, report: &Report) {
        let (Some(id), Some(label)) = (&report.call_id, label(report)) else { return };
        let index = *self.by_id.entry(id.clone()).or_insert_with(|| {
            self.calls.push(Call { id: id.clone(), steps: Vec::new(), left_out: 0 });
            self.calls.len().saturating_sub(1)
        });
        let Some(call) = self.calls.get_mut(index) else { return };
        if call.steps.len() >= ARROWS {
            call.left_out = call.left_out.saturating_add(1);
            return;
        }
        call.steps.push(Step { at: passage.at, from: passage.from, to: passage.to, label });
    }

    /// The ladders, each under its Call-ID.
    pub(super) fn ladders(&self) -> impl Iterator<Item = String> {
        self.calls.iter().map(Call::ladder)
    }
}

impl Call {
    fn ladder(&self) -> String {
        let mut parties: Vec<SocketAddr> = Vec::new();
        for party in self.steps.iter().flat_map(|step| [step.from, step.to]) {
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
        let column = |party| parties.iter().position(|one| *one == party).unwrap_or(usize::MAX);
        let began = self.steps.iter().map(|step| step.at).min().unwrap_or_default();
        let arrows: Vec<Arrow> = self
            .steps
            .iter()
            .map(|step| Arrow {
                at: step.at.saturating_sub(began),
                from: column(step.from),
                to: column(step.to),
                label: step.label.clone(),
                line: Line::Message,
            })
            .collect();
        let names: Vec<String> = parties.iter().map(SocketAddr::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut text = format!("call {}\n{}", self.id, draw(&names, &arrows));
        if self.left_out > 0 {
            text.push_str(&format!("  {} more messages are not drawn\n", self.left_out));
        }
        text
    }
}
