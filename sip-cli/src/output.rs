//! Standard output: lines for people, or JSON objects for machines.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

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
        if self.json { write(value) } else { write(printable(&text.to_string())) }
    }

    /// Whether a table can be drawn over itself: somebody looks at a terminal.
    pub(crate) fn is_table(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Draws a table over the lines that were drawn before.
    pub(crate) fn table(self, before: usize, rows: impl Iterator<Item = String>) {
        let mut out = io::stdout().lock();
        let up = if before > 0 { format!("\u{1b}[{before}A\u{1b}[J") } else { String::new() };
        let rows: Vec<String> = rows.map(|row| printable(&row).replace('\n', " ")).collect();
        let _ = writeln!(out, "{up}{}", rows.join("\n")).and_then(|()| out.flush());
    }

    /// A line that machines do not need.
    pub(crate) fn text(self, text: impl Display) {
        if !self.json {
            write(printable(&text.to_string()));
        }
    }

    /// The listeners, before anything else.
    pub(crate) fn listening(self, locals: &Locals) {
        for local in locals {
            if local.bound.port() == 0 {
                continue; // only for connections that we open
            }
            self.listening_at(local.transport.uri_param(), local.bound);
        }
    }

    pub(crate) fn listening_at(self, transport: &str, address: SocketAddr) {
        let at = listener(transport, address);
        self.event(json!({ "event": "listening", "at": at }), format_args!("listening {at}"));
    }
}

/// A text on somebody's terminal. Much of it comes from the network: without the characters that would steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    // Bodies have lines that end with CR and LF.
    text.replace("\r\n", "\n").chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}

fn write(line: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{7}b\r\nc\td\u{9b}e"), "a\u{fffd}[2J\u{fffd}b\nc\td\u{fffd}e");
    }
}
