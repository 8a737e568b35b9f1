//! Parameters: `;name=value` as they follow addresses, Via and many other values.

use crate::ValueError;
use crate::syntax::{find_outside, push_quoted, token, trim, unquote};
use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// A list of `generic-param` (RFC 3261 §25.1) in its own text: order, case and unknown ones are kept.
///
/// Names compare without regard to case. A flag such as `lr` has no value: [`Params::get`] gives `Some(None)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// Empty, or `;name=value;flag` without white space.
    text: String,
}

impl Params {
    /// Reads `;name=value;...`; white space around `;` and `=` is dropped. `at` is where `text` starts in the
    /// value, for errors.
    pub(crate) fn parse(text: &str, at: usize) -> Result<Self, ValueError> {
        let mut params = Self::default();
        let mut rest = text;
        loop {
            let offset = at.saturating_add(text.len().saturating_sub(rest.len()));
            let trimmed = trim(rest);
            if trimmed.is_empty() {
                return Ok(params);
            }
            let after = trimmed.strip_prefix(';').ok_or(ValueError::new("';' or the end", offset))?;
            let end = find_outside(after, false, |byte| byte == b';').unwrap_or(after.len());
            let (one, remaining) = after.split_at_checked(end).unwrap_or((after, ""));
            rest = remaining;
            let one = trim(one);
            let (name, value) = match find_outside(one, false, |byte| byte == b'=') {
                Some(equals) => (
                    trim(one.get(..equals).unwrap_or_default()),
                    Some(trim(one.get(equals.saturating_add(1)..).unwrap_or_default())),
                ),
                None => (one, None),
            };
            if name.is_empty() && value.is_none() && remaining.is_empty() && !params.text.is_empty() {
                return Ok(params); // a trailing ';', seen from many phones
            }
            if !token(name) {
                return Err(ValueError::new("a parameter name", offset));
            }
            params.text.push(';');
            params.text.push_str(name);
            if let Some(value) = value {
                if !valid_value(value) {
                    return Err(ValueError::new("a parameter value", offset));
                }
                params.text.push('=');
                params.text.push_str(value);
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// `;name=value...` as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names and values in order; a quoted value comes with its quotes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.text.as_str();
        core::iter::from_fn(move || {
            let after = rest.strip_prefix(';')?;
            let end = find_outside(after, false, |byte| byte == b';').unwrap_or(after.len());
            let (one, remaining) = after.split_at_checked(end)?;
            rest = remaining;
            Some(match one.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (one, None),
            })
        })
    }

    /// The parameter: `None` if absent, `Some(None)` if it stands without a value.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The parameter's value, if it has one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).flatten()
    }

    /// The value with quotes and escapes undone.
    pub fn unquoted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.value(name).map(|value| unquote(value).unwrap_or(Cow::Borrowed(value)))
    }

    /// Sets or replaces a parameter in place. A value that is neither a token nor a host is quoted; a name
    /// that is no token is ignored.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        if !token(name) {
            return;
        }
        let mut text = String::with_capacity(self.text.len().saturating_add(name.len()).saturating_add(16));
        let mut done = false;
        for (known, old) in self.iter() {
            if known.eq_ignore_ascii_case(name) {
                if !done {
                    push_param(&mut text, known, value);
                    done = true;
                }
            } else {
                text.push(';');
                text.push_str(known);
                if let Some(old) = old {
                    text.push('=');
                    text.push_str(old);
                }
            }
        }
        if !done {
            push_param(&mut text, name, value);
        }
        self.text = text;
    }

    /// Removes a parameter; `true` if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let mut text = String::with_capacity(self.text.len());
        for (known, value) in self.iter().filter(|(known, _)| !known.eq_ignore_ascii_case(name)) {
            text.push(';');
            text.push_str(known);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        self.text = text;
        true
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_param(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        if valid_value(value) { text.push_str(value) } else { push_quoted(text, value) }
    }
}

/// `gen-value`: a token, a host (IPv6 in brackets too) or a quoted string. Phones write more than that
/// (`;+sip.instance="<...>"`, `;expires=` empty, `;purpose=a/b`): anything visible without separators passes.
fn valid_value(value: &str) -> bool {
    if value.starts_with('"') {
        return unquote(value).is_some()
            && !value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t');
    }
    value.bytes().all(|byte| byte > b' ' && byte != 0x7f && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_dropped_and_quotes_hide_separators() {
        let params = Params::parse(" ; a = b;lr ; q=\"x;y=\\\"z\" ", 0).unwrap();
        assert_eq!(params.as_str(), ";a=b;lr;q=\"x;y=\\\"z\"");
        assert_eq!(params.get("LR"), Some(None));
        assert_eq!(params.unquoted("q").unwrap(), "x;y=\"z");
        assert_eq!(params.get("none"), None);
    }

    #[test]
    fn set_replaces_in_place_and_quotes_what_needs_it() {
        let mut params = Params::parse(";a=1;b=2", 0).unwrap();
        params.set("A", Some("x y"));
        params.set("c", None);
        assert_eq!(params.as_str(), ";a=\"x y\";b=2;c");
        assert!(params.remove("b") && !params.remove("b"));
        assert_eq!(params.as_str(), ";a=\"x y\";c");
    }

    #[test]
    fn what_is_no_parameter_is_an_error_with_its_place() {
        assert_eq!(Params::parse("x", 3), Err(ValueError::new("';' or the end", 3)));
        assert!(Params::parse(";=1", 0).is_err());
        assert!(Params::parse(";a=\"open", 0).is_err());
        assert!(Params::parse(";a=b,c", 0).is_err());
    }
}
