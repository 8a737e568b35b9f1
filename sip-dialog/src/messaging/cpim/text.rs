//! Characters of headers: escapes, and who is named in one (RFC 3862 §2.3, §3.6, §4.1).

use std::borrow::Cow;

/// Somebody who writes or is written to (§4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpimAddress {
    /// The name to show.
    pub name: Option<String>,
    /// The URI.
    pub uri: String,
}

impl CpimAddress {
    /// Somebody of this name.
    pub fn new(name: Option<&str>, uri: &str) -> Self {
        Self { name: name.map(Into::into), uri: uri.into() }
    }

    /// Reads `[Formal-name] "<" URI ">"`; the name may be in quotes, with escapes.
    pub fn parse(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        let (name, rest) = match raw.strip_prefix('"') {
            Some(quoted) => {
                let (inside, rest) = quoted.split_at_checked(closing_quote(quoted)?)?;
                (inside, rest.strip_prefix('"')?.trim_start())
            }
            None => raw.split_at_checked(raw.find('<')?)?,
        };
        let uri = rest.strip_prefix('<')?.strip_suffix('>')?;
        let name = unescape(name.trim()).into_owned();
        let fine = !uri.is_empty() && !uri.contains(['<', '>', ' ']);
        fine.then(|| Self {
            name: Some(name).filter(|name| !name.is_empty()),
            uri: unescape(uri).into_owned(),
        })
    }

    /// As it is written. Characters that no URI has are left out.
    pub(super) fn raw(&self) -> String {
        let uri: String = self.uri.chars().filter(|c| !c.is_control() && !"<> \\\"".contains(*c)).collect();
        match &self.name {
            Some(name) => format!("\"{}\" <{uri}>", escape(name, true)),
            None => format!("<{uri}>"),
        }
    }
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// NAMECHAR of §3.6.
pub(super) fn is_name_character(c: char) -> bool {
    c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}.".contains(c)
}

/// A value of a field in one line.
pub(super) fn clean(value: &str) -> String {
    let plain: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().into()
}

/// §2.3.1: what must be escaped, and nothing else.
pub(super) fn escape(text: &str, quoted: bool) -> String {
    let mut out = String::new();
    for c in text.trim_matches(' ').chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' if quoted => out.push_str("\\\""),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => {
                let code = u32::from(c);
                out.push_str(&format!("\\u{code:04x}"));
            }
            c => out.push(c),
        }
    }
    out
}

/// §2.3: all that is an escape; of one that is none, the character behind the backslash stays.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('u') => {
                let code = rest.as_str().get(..4).filter(|code| code.bytes().all(|c| c.is_ascii_hexdigit()));
                // Halves of a pair of UTF-16 are no characters, and stand for nothing.
                match code.and_then(|code| u32::from_str_radix(code, 16).ok()) {
                    Some(code) => {
                        rest.nth(3);
                        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    None => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out.into()
}
