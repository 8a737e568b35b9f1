//! Standard output: lines for people, or JSON objects for machines.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::{Value, json};
use sip_transport::Locals;

use crate::args::listener;

/// Where the program says what happens. Every line is flushed, so that whoever reads a pipe sees it at once; a
/// reader that has gone away is no reason to drop a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// For people, or for machines.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it speaks JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Something happened: `text` for people, `value` for machines.
    pub(crate) fn event(self, value: Value, text: impl Display) {
        if self.json { write(value) } else { write(text) }
    }

    /// A line that machines do not need.
    pub(crate) fn text(self, text: impl Display) {
        if !self.json {
            write(text);
        }
    }

    /// The listeners, before anything else.
    pub(crate) fn listening(self, locals: &Locals) {
        for local in locals {
            if local.bound.port() == 0 {
                continue; // only for connections that we open
            }
            let at = listener(local.transport.uri_param(), local.bound);
            self.event(json!({ "event": "listening", "at": at }), format_args!("listening {at}"));
        }
    }
}

fn write(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
