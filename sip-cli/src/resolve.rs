//! `sip resolve`: where a request goes, and why (RFC 3263).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde_json::{Value, json};
use sip_message::Uri;
use sip_transport::resolve::{Candidate, Need, Progress, Resolution};
use sip_transport::tokio::{DnsResolver, Resolve, default_resolver, locate};
use sip_transport::{Question, Records, ResolveError, Supported};

use crate::args::ResolveArgs;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Asks until the places are known, or until there is nothing more to ask.
pub(crate) async fn run(
    args: ResolveArgs,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let uri: Uri = args.uri.parse().map_err(|error| Failure::fault(format_args!("{}: {error}", args.uri)))?;
    let resolver: Arc<dyn Resolve> = match args.dns {
        Some(server) => Arc::new(DnsResolver::with_servers(&[server]).map_err(Failure::fault)?),
        None => default_resolver(),
    };
    let mut supported = Supported::NONE;
    for transport in args.over {
        for ipv4 in [true, false] {
            let unwanted = if ipv4 { args.ipv6 } else { args.ipv4 };
            if !unwanted {
                supported = supported.with(transport, ipv4);
            }
        }
    }
    let random = args.chance.unwrap_or_else(|| RandomState::new().hash_one(()));
    let resolution = Resolution::new(&uri, Need { size: args.size, supported, random });
    let asked = locate(&*resolver, resolution, |question, records| explain(output, question, records));
    let end = tokio::select! {
        end = asked => end,
        () = interrupt.requested() => return Err(Failure::new(Code::NoAnswer, "interrupted")),
    };
    match end {
        Progress::Done(places) => {
            places.iter().zip(1..).for_each(|(place, number)| place_line(output, number, place));
            Ok(Code::Well)
        }
        Progress::Failed(reason) => Err(Failure::new(Code::Unreachable, reason)),
        Progress::Waiting(_) => Err(Failure::fault("the resolution did not come to an end")),
    }
}

fn place_line(output: Output, number: usize, place: &Candidate) {
    let transport = place.transport.uri_param();
    output.event(
        json!({ "event": "place", "number": number, "transport": transport, "remote": place.remote.to_string() }),
        format_args!("{number}. {transport} {}", place.remote),
    );
}

/// One question and its answer.
fn explain(output: Output, question: &Question, records: &Result<Records, ResolveError>) {
    let (lines, error): (Vec<String>, _) = match records {
        Ok(Records::Naptr(list)) => {
            let mut list: Vec<_> = list.iter().collect();
            list.sort_by_key(|record| (record.order, record.preference));
            let line = |r: &&sip_transport::Naptr| {
                format!(
                    "{} {} \"{}\" \"{}\" \"{}\" {}",
                    r.order, r.preference, r.flags, r.service, r.regexp, r.replacement
                )
            };
            (list.iter().map(line).collect(), None)
        }
        Ok(Records::Srv(list)) => {
            let mut list: Vec<_> = list.iter().collect();
            list.sort_by_key(|record| (record.priority, record.weight));
            let line =
                |r: &&sip_transport::Srv| format!("{} {} {} {}", r.priority, r.weight, r.port, r.target);
            (list.iter().map(line).collect(), None)
        }
        Ok(Records::Addresses(list)) => (list.iter().map(ToString::to_string).collect(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let mut text = format!("{question}");
    for line in lines.iter().chain(&error) {
        text.push_str("\n    ");
        text.push_str(line);
    }
    let error = error.map_or(Value::Null, Value::from);
    output.event(
        json!({
            "event": "answer",
            "name": question.name(),
            "type": question.kind(),
            "records": lines,
            "error": error,
        }),
        text,
    );
}
