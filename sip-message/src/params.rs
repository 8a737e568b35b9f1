//! Parameters: `;name=value` as they follow addresses, Via and many other values.

use crate::ValueError;
use crate::scan::has_control;
use crate::syntax::{
    TOKEN, VALUE, closing_quote, find_outside, long_span, push_quoted, span, token, trim, unquote,
};
use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// A list of `generic-param` (RFC 3261 §25.1) in its own text: order, case and unknown ones are kept.
///
/// Names compare without regard to case. A flag such as `lr` has no value: [`Params::get`] gives `Some(None)`.
#[derive(Clone, Default)]
pub struct Params {
    /// What the owner keeps before the parameters, so that a value is one allocation; then nothing, or
    /// `;name=value;flag` without white space.
    text: String,
    /// Octets of the owner's.
    owned: usize,
}

impl Params {
    /// Reads `;name=value;...`; white space around `;` and `=` is dropped. `at` is where `text` starts in the
    /// value, for errors.
    pub(crate) fn parse(text: &str, at: usize) -> Result<Self, ValueError> {
        Self::behind(["", ""], text, at)
    }

    /// Reads parameters into the text that starts with what their owner keeps.
    pub(crate) fn behind(owned: [&str; 2], text: &str, at: usize) -> Result<Self, ValueError> {
        let [first, second] = owned;
        let length = first.len().saturating_add(second.len());
        if length == 0 && text.is_empty() {
            return Ok(Self::default());
        }
        let mut params =
            Self { text: String::with_capacity(length.saturating_add(text.len())), owned: length };
        params.text.push_str(first);
        params.text.push_str(second);
        if is_canonical(text.as_bytes()) {
            params.text.push_str(text);
            return Ok(params);
        }
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
            if name.is_empty() && value.is_none() && remaining.is_empty() && !params.is_empty() {
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

    /// What the owner keeps.
    pub(crate) fn owned(&self) -> &str {
        self.text.get(..self.owned).unwrap_or_default()
    }

    /// Replaces what the owner keeps, with room for `spare` more octets of parameters.
    pub(crate) fn set_owned_with(&mut self, owned: [&str; 2], spare: usize) {
        let [first, second] = owned;
        let length = first.len().saturating_add(second.len());
        let whole = length.saturating_add(self.as_str().len());
        let mut text = String::with_capacity(whole.saturating_add(spare));
        text.push_str(first);
        text.push_str(second);
        text.push_str(self.as_str());
        (self.text, self.owned) = (text, length);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.len() == self.owned
    }

    /// `;name=value...` as it is written.
    pub fn as_str(&self) -> &str {
        self.text.get(self.owned..).unwrap_or_default()
    }

    /// Names and values in order; a quoted value comes with its quotes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut rest = self.as_str();
        core::iter::from_fn(move || {
            let (name, value, behind) = split_first(rest)?;
            rest = behind;
            Some((name, value))
        })
    }

    /// The parameter: `None` if absent, `Some(None)` if it stands without a value.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        let mut rest = self.as_str();
        loop {
            let (known, value, behind) = split_first(rest)?;
            if known.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = behind;
        }
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
        if self.get(name).is_none() {
            return push_param(&mut self.text, name, value);
        }
        let mut text = String::with_capacity(self.text.len().saturating_add(16));
        text.push_str(self.owned());
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
        self.text = text;
    }

    /// Removes a parameter; `true` if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let mut text = String::with_capacity(self.text.len());
        text.push_str(self.owned());
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
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Params").field(&self.as_str()).finish()
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Params {}

impl core::hash::Hash for Params {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// The name and the value of the first of some kept parameters, and the others.
#[inline]
fn split_first(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let after = text.strip_prefix(';')?;
    let (name, behind) = after.split_at_checked(span(after.as_bytes(), TOKEN))?;
    let Some(value) = behind.strip_prefix('=') else { return Some((name, None, behind)) };
    let end = match value.strip_prefix('"') {
        Some(inner) => closing_quote(inner.as_bytes())?.saturating_add(2),
        None => long_span(value.as_bytes(), VALUE),
    };
    let (value, behind) = value.split_at_checked(end)?;
    Some((name, Some(value), behind))
}

/// Whether `text` is `*( ";" name [ "=" value ] )` as it is kept, without white space.
pub(crate) fn is_canonical(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&semicolon, after)) = rest.split_first() {
        let name = span(after, TOKEN);
        if semicolon != b';' || name == 0 {
            return false;
        }
        rest = after.get(name..).unwrap_or_default();
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        let end = match value.strip_prefix(b"\"") {
            Some(inner) => match closing_quote(inner) {
                Some(length) if !has_control(inner.get(..length).unwrap_or_default()) => {
                    length.saturating_add(2)
                }
                _ => return false, // the long way tells what is wrong
            },
            None => long_span(value, VALUE),
        };
        rest = value.get(end..).unwrap_or_default();
    }
    true
}

/// How often a parameter stands among canonical ones.
pub(crate) fn count_param(text: &str, name: &str) -> usize {
    let (mut rest, mut count) = (text, 0usize);
    while let Some((known, _, behind)) = split_first(rest) {
        if known.eq_ignore_ascii_case(name) {
            count = count.saturating_add(1);
        }
        rest = behind;
    }
    count
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
    span(value.as_bytes(), VALUE) == value.len()
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
