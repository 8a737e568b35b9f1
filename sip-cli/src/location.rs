//! `sip location`: what is in the file of `sip server --location`.

use std::path::Path;
use std::time::SystemTime;

use serde_json::json;
use sip_server::location::journal;

use crate::args::LocationCommand;
use crate::exit::{Code, Failure};
use crate::output::Output;

/// Does it and ends.
pub(crate) fn run(command: &LocationCommand, output: Output) -> Result<Code, Failure> {
    match command {
        LocationCommand::List { file } => list(file, output),
        LocationCommand::Check { file } => check(file, output),
        LocationCommand::Repair { file } => repair(file, output),
    }
}

fn list(file: &Path, output: Output) -> Result<Code, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    for record in journal::list(file).map_err(Failure::fault)? {
        let aor = record.aor();
        for binding in record.bindings() {
            let binding = binding
                .map_err(|error| Failure::fault(format_args!("{}: {aor}: {error}", file.display())))?;
            let left = binding.expires.saturating_sub(now).div_ceil(1000);
            if left == 0 {
                continue;
            }
            let flow = binding.flow.map(|flow| flow.to_string());
            output.event(
                json!({
                    "aor": aor,
                    "contact": binding.contact.to_string(),
                    "q": binding.q,
                    "expires": left,
                    "call_id": binding.call_id,
                    "cseq": binding.cseq,
                    "path": binding.path.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "flow": flow,
                }),
                format_args!("{aor} {} expires={left}", binding.contact),
            );
        }
    }
    Ok(Code::Well)
}

fn check(file: &Path, output: Output) -> Result<Code, Failure> {
    let found = journal::check(file).map_err(Failure::fault)?;
    let journal::Checked { addresses, bindings, records, torn, unreadable, .. } = found;
    if unreadable > 0 {
        return Err(Failure::fault(format_args!(
            "{}: {unreadable} of {addresses} addresses have bindings that this program does not understand",
            file.display()
        )));
    }
    output.event(
        json!({
            "event": "checked", "addresses": addresses, "bindings": bindings, "records": records, "torn": torn,
        }),
        format_args!(
            "well: {addresses} addresses with {bindings} bindings in {records} records{}",
            if torn > 0 { format!(", and {torn} octets of a write that was cut short") } else { String::new() }
        ),
    );
    Ok(Code::Well)
}

fn repair(file: &Path, output: Output) -> Result<Code, Failure> {
    let done = journal::repair(file).map_err(Failure::fault)?;
    let journal::Repaired { addresses, bindings, lost, kept, .. } = done;
    output.event(
        json!({
            "event": "repaired", "addresses": addresses, "bindings": bindings, "lost": lost, "kept": kept,
        }),
        format_args!(
            "{addresses} addresses with {bindings} bindings saved, {lost} octets could not be read; the damaged file is {}",
            kept.display()
        ),
    );
    Ok(Code::Well)
}
