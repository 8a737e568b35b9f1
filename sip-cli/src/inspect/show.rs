//! A report on the screen, and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sip_message::Part;

use super::Source;
use super::report::{Field, Problem, Report, Start};

/// Where values start when names are shorter.
const NAME_WIDTH: usize = 14;

/// One JSON object for one message.
pub(super) fn json(source: &Source, report: &Report) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("file", json!(source.file));
    put("message", json!(source.number));
    put("valid", json!(report.problem.is_none()));
    put("status", json!(report.problem.as_ref().and_then(|problem| problem.status)));
    put("error", json!(report.problem.as_ref().map(|problem| &problem.text)));
    put("line", json!(report.problem.as_ref().and_then(|problem| problem.place).map(|(line, _)| line)));
    put("column", json!(report.problem.as_ref().and_then(|problem| problem.place).map(|(_, column)| column)));
    put("section", json!(report.problem.as_ref().map(|problem| &problem.section)));
    let (method, uri, code, reason) = match &report.start {
        Some(Start::Request { method, uri }) => (Some(method), Some(uri), None, None),
        Some(Start::Response { code, reason }) => (None, None, Some(code), Some(reason)),
        None => (None, None, None, None),
    };
    put("method", json!(method));
    put("uri", json!(uri));
    put("code", json!(code));
    put("reason", json!(reason));
    put("fields", report.fields.iter().map(field).collect());
    put("body_len", json!(report.body_length));
    put("body_types", json!(report.body_types));
    put("remarks", report.remarks.iter().map(remark).collect());
    if let Some(passage) = &source.passage {
        put("time", json!(passage.at.as_secs_f64()));
        put("transport", json!(passage.transport));
        put("from", json!(passage.from.to_string()));
        put("to", json!(passage.to.to_string()));
    }
    Value::Object(object)
}

fn remark(problem: &Problem) -> Value {
    json!({
        "text": problem.text,
        "line": problem.place.map(|(line, _)| line),
        "column": problem.place.map(|(_, column)| column),
        "section": problem.section,
        "status": problem.status,
    })
}

fn field(field: &Field) -> Value {
    let typed = field.is_read().then(|| {
        let elements = field.elements.iter().filter_map(|element| element.parts.as_ref().ok());
        elements.map(|parts| group(parts.iter().map(|(name, part)| (*name, part)))).collect::<Vec<_>>()
    });
    json!({ "name": field.name, "value": field.value, "typed": typed })
}

fn group<'a>(parts: impl Iterator<Item = (&'a str, &'a Part)>) -> Value {
    let mut object = Map::new();
    for (name, part) in parts {
        let value = value(part);
        // A name that comes twice has all its values in a list.
        match object.get_mut(name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => drop(object.insert(name.to_owned(), value)),
        }
    }
    Value::Object(object)
}

fn value(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!(text),
        Part::Number(number) => json!(number),
        Part::List(parts) => parts.iter().map(value).collect(),
        Part::Group(parts) => group(parts.iter().map(|(name, part)| (name.as_str(), part))),
        _ => json!(true),
    }
}

/// Where a message came from, in a few words.
pub(super) fn origin(source: &Source) -> String {
    let mut text = format!("{} #{}", source.file, source.number);
    if let Some(passage) = &source.passage {
        let _ = write!(text, " {} {} -> {}", passage.transport, passage.from, passage.to);
    }
    text
}

/// The verdict in a line.
pub(super) fn verdict(report: &Report) -> String {
    match &report.problem {
        None => "valid".into(),
        Some(problem) => format!("INVALID{}", told(problem)),
    }
}

/// `at line 3, column 7: what (where it is written), answer 400`.
fn told(problem: &Problem) -> String {
    let mut text = String::new();
    if let Some((line, column)) = problem.place {
        let _ = write!(text, " at line {line}, column {column}");
    }
    let _ = write!(text, ": {} ({})", clean(&problem.text), problem.section);
    if let Some(status) = problem.status {
        let _ = write!(text, ", answer {status}");
    }
    text
}

/// The start line in a few words.
pub(super) fn start(report: &Report) -> String {
    match &report.start {
        Some(Start::Request { method, uri }) => format!("{} {}", clean(method), clean(uri)),
        Some(Start::Response { code, reason }) => format!("{code} {}", clean(reason)),
        None => "no message".into(),
    }
}

/// Everything about a message, for people.
pub(super) fn whole(source: &Source, report: &Report) -> String {
    let mut text = format!("{}: {}\n", origin(source), verdict(report));
    for remark in &report.remarks {
        let _ = writeln!(text, "  remark{}", told(remark));
    }
    if report.start.is_some() {
        let _ = writeln!(text, "  {}", start(report));
    }
    for field in &report.fields {
        let _ = writeln!(text, "    {:NAME_WIDTH$} {}", clean(&field.name), clean(&field.value));
        let many = field.elements.len() > 1;
        for (index, element) in field.elements.iter().enumerate() {
            let number = if many { format!("{} ", index.saturating_add(1)) } else { String::new() };
            let parts = match &element.parts {
                // A lone value was just shown.
                Ok(parts) if parts.len() == 1 && parts.iter().all(|(name, _)| *name == "value") => continue,
                Ok(parts) => words(parts.iter().map(|(name, part)| (*name, part))),
                Err(error) => format!("cannot be read: {} expected", error.expected),
            };
            let _ = writeln!(text, "      {number}{}", clean(&parts));
        }
    }
    if report.body_length > 0 {
        let types =
            if report.body_types.is_empty() { "unknown".into() } else { report.body_types.join(" > ") };
        let _ = writeln!(text, "  body: {} octets, {}", report.body_length, clean(&types));
    }
    text
}

fn words<'a>(parts: impl Iterator<Item = (&'a str, &'a Part)>) -> String {
    parts.map(|(name, part)| word(name, part)).collect::<Vec<_>>().join(" ")
}

fn word(name: &str, part: &Part) -> String {
    match part {
        Part::Text(value) if value.contains(' ') || value.is_empty() => format!("{name}=\"{value}\""),
        Part::Text(value) => format!("{name}={value}"),
        Part::Number(number) => format!("{name}={number}"),
        Part::List(parts) => {
            let inner: Vec<String> = parts.iter().map(|part| word(name, part)).collect();
            inner.join(" ")
        }
        Part::Group(parts) => {
            let inner: Vec<String> = parts.iter().map(|(name, part)| word(name, part)).collect();
            format!("{name}{{{}}}", inner.join(" "))
        }
        _ => name.to_owned(),
    }
}

/// What peers wrote must not move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sip_message::Limits;

    fn source() -> Source {
        Source { file: "a.sip".into(), number: 1, passage: None }
    }

    fn report(text: &str) -> Report {
        Report::of(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
    }

    #[test]
    fn a_message_as_json() {
        let report = report(
            "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nf: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
             Call-ID: x\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nPrivacy: id;user\r\nSubject: s\r\nDate: now\r\n\r\n",
        );
        let value = json(&source(), &report);
        assert_eq!(
            (&value["valid"], &value["status"], &value["error"]),
            (&json!(true), &Value::Null, &Value::Null)
        );
        assert_eq!(
            (&value["method"], &value["uri"], &value["code"]),
            (&json!("OPTIONS"), &json!("sip:b@h"), &Value::Null)
        );
        let fields = value["fields"].as_array().unwrap();
        assert_eq!(fields.len(), 9);
        assert_eq!(
            fields[0],
            json!({
                "name": "Via", "value": "SIP/2.0/UDP h;branch=z9hG4bK1;rport",
                "typed": [{ "protocol": "SIP/2.0", "transport": "UDP", "host": "h",
                            "params": { "branch": "z9hG4bK1", "rport": true } }]
            })
        );
        assert_eq!(fields[1]["name"], "f");
        assert_eq!(fields[1]["typed"][0]["uri"], "sip:a@b");
        assert_eq!(fields[1]["typed"][0]["uri_parts"], json!({ "scheme": "sip", "user": "a", "host": "b" }));
        assert_eq!(fields[4]["typed"], json!([{ "number": 1, "method": "OPTIONS" }]));
        assert_eq!(fields[5]["typed"], json!([{ "value": 70 }]));
        assert_eq!(fields[6]["typed"], json!([{ "values": ["id", "user"] }]));
        assert_eq!((&fields[7]["typed"], &fields[8]["typed"]), (&Value::Null, &Value::Null));
        assert_eq!(value["remarks"][0]["line"], 10);
    }

    #[test]
    fn a_message_for_people() {
        let text = whole(
            &source(),
            &report(
                "SIP/2.0 200 O\x1bK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/UDP i\r\nCSeq: 1 BYE\r\nSubject: \x1b[2J\r\n\r\n",
            ),
        );
        assert!(text.starts_with("a.sip #1: INVALID"), "{text}");
        assert!(text.contains("\n      2 protocol=SIP/2.0 transport=UDP host=i\n"), "{text}");
        assert!(text.contains("\n      number=1 method=BYE\n"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
