//! Regular expressions over numbers, and what is made of what they matched.

use regex::{Captures, Regex, RegexBuilder};

/// A compiled pattern may take so much memory: one of nested repetitions is refused instead of growing without bound.
const PATTERN_MEMORY: usize = 1 << 20;

/// A regular expression that the whole text has to match, in time linear to its length.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// When it is no regular expression, or too big a one.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(text).size_limit(PATTERN_MEMORY).build()?; // so that "a)(b" is not mended by the parentheses
        RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_MEMORY).build().map(Self)
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// `template` with `$1` and `${name}` replaced by what the groups of the pattern have matched, and `$$` by a `$`; `None` if it does
    /// not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        Some(fill(&self.0.captures(text)?, template, str::to_owned))
    }

    /// The same for a template that is a URI: what was matched stays within its part, whoever dialled it.
    #[must_use]
    pub fn expand_uri(&self, text: &str, template: &str) -> Option<String> {
        Some(fill(&self.0.captures(text)?, template, escaped))
    }

    /// How many groups it has.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.captures_len().saturating_sub(1)
    }
}

fn fill(captures: &Captures<'_>, template: &str, write: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(behind) = after.strip_prefix('$') {
            filled.push('$');
            rest = behind;
            continue;
        }
        let braces = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, behind) = braces.unwrap_or_else(|| {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            after.split_at_checked(end).unwrap_or((after, ""))
        });
        let group = match name.parse() {
            Ok(number) => captures.get(number),
            Err(_) => captures.name(name),
        };
        filled.push_str(&write(group.map_or("", |group| group.as_str())));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// What is no letter, digit or mark is escaped (RFC 3261 §25.1, `user`): a dialled `@` or `?` would end the user part.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => safe.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b'+' => {
                safe.push(char::from(byte))
            }
            _ => safe.push_str(&format!("%{byte:02X}")),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        let pattern = Pattern::new("(?P<first>.)(.*)").unwrap();
        for (template, filled) in [
            ("$2", "bc"),
            ("${2}x$1", "bcxa"),
            ("$first-$$-$2", "a-$-bc"),
            ("$9|${nobody}|${", "||{"),
            ("plain", "plain"),
        ] {
            assert_eq!(pattern.expand("abc", template).as_deref(), Some(filled), "{template}");
        }
        assert_eq!(pattern.expand("", "$1"), None);
    }

    #[test]
    fn what_was_dialled_does_not_end_a_user_part() {
        let pattern = Pattern::new("(.*)").unwrap();
        let uri = pattern.expand_uri("a@evil.example?x=;y:#", "sip:$1@pbx.example").unwrap();
        assert_eq!(uri, "sip:a%40evil.example%3Fx%3D%3By%3A%23@pbx.example");
        let uri: sip_message::Uri = uri.parse().unwrap();
        assert_eq!(uri.host(), "pbx.example");
    }
}
