//! `docs/state-machines.md`, made from the machines: `UPDATE_DOCS=1 cargo test -p sip-transaction document` writes it anew.

use std::fmt::Write;

use super::{client, invite_client, invite_server, server};

struct Machine {
    name: &'static str,
    source: &'static str,
    all: fn(bool) -> String,
    section: fn(&str, &str) -> &'static str,
}

const MACHINES: [Machine; 4] = [
    Machine {
        name: "INVITE client transaction",
        source: include_str!("invite_client.rs"),
        all: invite_client::tests::all,
        section: of_invite_client,
    },
    Machine {
        name: "Client transaction of other requests",
        source: include_str!("client.rs"),
        all: client::tests::all,
        section: of_client,
    },
    Machine {
        name: "INVITE server transaction",
        source: include_str!("invite_server.rs"),
        all: invite_server::tests::all,
        section: of_invite_server,
    },
    Machine {
        name: "Server transaction of other requests",
        source: include_str!("server.rs"),
        all: server::tests::all,
        section: of_server,
    },
];

fn of_invite_client(state: &str, input: &str) -> &'static str {
    match (state, input) {
        (_, "TransportError") => "3261 §17.1.4",
        ("Accepted", _) | (_, "Success") => "6026 §7.2, §8.4",
        (_, "Cancelled" | "Fired(Cancel)") => "3261 §9.1",
        (_, "Failure") => "3261 §17.1.1.2, §17.1.1.3",
        _ => "3261 §17.1.1.2",
    }
}

fn of_client(_: &str, input: &str) -> &'static str {
    if input == "TransportError" { "3261 §17.1.4" } else { "3261 §17.1.2.2" }
}

fn of_invite_server(state: &str, input: &str) -> &'static str {
    match (state, input) {
        (_, "TransportError") => "3261 §17.2.4, 6026 §8.8",
        ("Accepted", _) | (_, "Success") => "6026 §7.1, §8.5 to §8.7",
        _ => "3261 §17.2.1",
    }
}

fn of_server(state: &str, input: &str) -> &'static str {
    match (state, input) {
        (_, "TransportError") => "3261 §17.2.4",
        (_, "Fired(Trying)" | "Provisional") => "4320 §4.1",
        (_, "Fired(Expire)") => "4320 §4.2",
        _ => "3261 §17.2.2",
    }
}

/// A line of a table: state, input, next state, what is done.
fn parts(line: &str) -> (&str, &str, &str, &str) {
    let (before, behind) = line.split_once(" -> ").expect("an arrow");
    let (state, input) = before.split_once(" + ").expect("state and input");
    // `Calling { sent: 0 }: ...` has a colon in the state.
    let from = behind.find('}').unwrap_or(0);
    let at = from + behind[from..].find(':').expect("a colon");
    let (next, actions) = (&behind[..at], &behind[at + 1..]);
    (state, input, next, actions.trim())
}

/// `Calling { sent: 6 }` is Calling.
fn name(state: &str) -> &str {
    state.split(' ').next().unwrap_or(state)
}

fn document() -> String {
    let mut text = String::from(
        "# The machines, whole\n\nEach line is a state, what can happen in it, the state after, and what is done. What is not \
         listed changes nothing and does nothing.\n`A=500ms` starts timer A, `stop Pace` and `stop Deadline` stop the one that \
         repeats and the one that ends; `sent` counts retransmissions. T1 is 500 ms, T2 4 s, T4 5 s.\nFrom the state machines \
         themselves: a test compares.\n",
    );
    for machine in &MACHINES {
        for (reliable, over) in [(false, "UDP"), (true, "connections")] {
            write!(
                text,
                "\n## {}, over {over}\n\n| state | input | next | actions | RFC |\n|---|---|---|---|---|\n",
                machine.name
            )
            .unwrap();
            for line in (machine.all)(reliable).lines() {
                let (state, input, next, actions) = parts(line);
                let section = (machine.section)(name(state), input);
                let next = if next == state { "the same" } else { next };
                writeln!(text, "| {state} | {input} | {next} | {actions} | {section} |").unwrap();
            }
        }
    }
    text
}

#[test]
fn the_document_is_what_the_machines_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/state-machines.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == document(),
        "docs/state-machines.md is out of date: UPDATE_DOCS=1 cargo test -p sip-transaction document"
    );
}

/// The figure above each machine names every state that it can be in and every timer of the RFC that moves it.
#[test]
fn the_figures_have_every_state_and_timer() {
    for machine in &MACHINES {
        let figure: String = machine.source.lines().filter(|line| line.starts_with("//!")).collect();
        for line in (machine.all)(false).lines() {
            let (state, input, next, _) = parts(line);
            for state in [name(state), name(next)] {
                assert!(figure.contains(state), "the figure of the {} lacks {state}", machine.name);
            }
            let timer = input.strip_prefix("Fired(").and_then(|timer| timer.strip_suffix(')'));
            if let Some(timer) = timer.filter(|timer| timer.len() == 1) {
                assert!(
                    figure.contains(&format!("Timer {timer}")),
                    "the figure of the {} lacks Timer {timer}",
                    machine.name
                );
            }
        }
    }
}
