//! `sip location`: what is in the file of `sip server --location`, or in its Redis.

use std::path::Path;
use std::time::SystemTime;

use serde_json::json;
use sip_server::location::record::{Record, RecordError};
use sip_server::location::{is_redis_url, journal};

use crate::args::LocationCommand;
use crate::exit::{Code, Failure};
use crate::output::Output;

/// Does it and ends.
pub(crate) async fn run(command: &LocationCommand, output: Output) -> Result<Code, Failure> {
    let url = |file: &Path| file.to_str().filter(|text| is_redis_url(text)).map(str::to_owned);
    match command {
        LocationCommand::List { file } => match url(file) {
            Some(url) => redis(&url, true, output).await,
            None => list(file, output),
        },
        LocationCommand::Check { file } => match url(file) {
            Some(url) => redis(&url, false, output).await,
            None => check(file, output),
        },
        LocationCommand::Repair { file } => match url(file) {
            Some(_) => Err(Failure::fault(
                "nothing to repair: a key that is damaged concerns one address alone; remove it, and its phones register anew",
            )),
            None => repair(file, output),
        },
    }
}

fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}

fn list(file: &Path, output: Output) -> Result<Code, Failure> {
    let now = unix_now();
    for record in journal::list(file).map_err(Failure::fault)? {
        show(&record, now, output)
            .map_err(|error| Failure::fault(format_args!("{}: {}: {error}", file.display(), record.aor())))?;
    }
    Ok(Code::Well)
}

/// A line for each binding that has not ended.
fn show(record: &Record, now: u64, output: Output) -> Result<(), RecordError> {
    let aor = record.aor();
    for binding in record.bindings() {
        let binding = binding?;
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
    Ok(())
}

/// Lists what is in a Redis, or counts it. What is damaged is named, and does not hide the rest.
#[cfg(feature = "redis")]
async fn redis(url: &str, list: bool, output: Output) -> Result<Code, Failure> {
    let store = sip_server::location::RedisLocation::new(url, None).map_err(Failure::fault)?;
    let (mut addresses, mut bindings, mut damaged) = (0_usize, 0_usize, Vec::new());
    let now = unix_now();
    let each = store.each(|key, record| {
        let read = record.and_then(|record| {
            if list {
                show(&record, now, output)?;
            } else {
                record.bindings().try_for_each(|binding| binding.map(drop))?;
            }
            Ok(record.count())
        });
        match read {
            Ok(count) => {
                addresses = addresses.saturating_add(1);
                bindings = bindings.saturating_add(count);
            }
            Err(error) => damaged.push(format!("{key}: {error}")),
        }
    });
    each.await.map_err(Failure::fault)?;
    if !damaged.is_empty() {
        return Err(Failure::fault(damaged.join("\n")));
    }
    if !list {
        output.event(
            json!({"event": "checked", "addresses": addresses, "bindings": bindings}),
            format_args!("well: {addresses} addresses with {bindings} bindings"),
        );
    }
    Ok(Code::Well)
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str, _: bool, _: Output) -> Result<Code, Failure> {
    Err(Failure::fault("this program was built without the feature redis"))
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
