//! The reference of settings, out of their documentation.

use std::fmt::Write;

use super::file::File;
use super::value::{Described, Setting};

const START: &str = "\
# Settings of the server

<!-- Written from the documentation of `sip_server::settings`; `SETTINGS_REFERENCE=write cargo test -p sip-server --test settings` writes it anew. -->

`sip server --config FILE` starts by a file of these settings, `sip server --config FILE --check` tells all that is wrong with it. The
format is [TOML](https://toml.io). A key that is not listed here is refused. `examples/server.toml` is an example with comments.
";

/// `docs/server-settings.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = START.to_owned();
    if let Some(table) = <File as Setting>::table() {
        describe(&mut text, "", table());
    }
    text
}

fn describe(text: &mut String, path: &str, fields: Vec<Described>) {
    let (tables, plain): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.table.is_some());
    if !plain.is_empty() {
        text.push_str("\n| key | value | default | |\n|---|---|---|---|\n");
    }
    for field in plain {
        let default = field.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let about =
            field.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|");
        // A String takes everything.
        let _ = writeln!(text, "| `{}` | {} | {default} | {about} |", field.name, field.kind);
    }
    for field in tables {
        let name = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let brackets = if field.kind.starts_with("list") { ("[[", "]]") } else { ("[", "]") };
        let about = field.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let _ = write!(text, "\n## `{}{name}{}`\n\n{about}\n", brackets.0, brackets.1);
        if let Some(table) = field.table {
            describe(text, &name, table());
        }
    }
}
