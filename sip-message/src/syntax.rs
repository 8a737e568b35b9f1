//! The characters of RFC 3261 §25.1 and small scanners over them.

use alloc::borrow::Cow;
use alloc::string::String;

/// `token` characters.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Whether `text` is a `token`: not empty and of token characters alone.
pub(crate) fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// Spaces and tabs of linear white space; line ends were folded before.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `text` without white space at either end.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// The offset of the first octet for which `wanted` holds, outside of quoted strings and, if `angles`,
/// outside of `<...>`. A quote that is not closed hides the rest.
pub(crate) fn find_outside(text: &str, angles: bool, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if angle {
            angle = byte != b'>';
        } else if wanted(byte) {
            return Some(at);
        } else {
            quoted = byte == b'"';
            angle = angles && byte == b'<';
        }
    }
    None
}

/// The elements of a comma-separated list; commas in quotes and angle brackets do not count, empty elements
/// are passed over.
pub(crate) fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        loop {
            let (element, after) = split_element(rest?);
            rest = after;
            let element = trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    })
}

/// The first element of a comma-separated list, and what follows its comma.
pub(crate) fn split_element(text: &str) -> (&str, Option<&str>) {
    match find_outside(text, true, |byte| byte == b',').and_then(|at| text.split_at_checked(at)) {
        Some((element, rest)) => (element, rest.get(1..)),
        None => (text, None),
    }
}

/// The content of a `quoted-string` with its escapes undone, or `None` if `text` is not one from end to end.
pub(crate) fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let (mut escaped, mut any) = (false, false);
    for byte in inner.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, any) = (true, true),
            b'"' => return None,
            _ => {}
        }
    }
    if escaped {
        return None;
    }
    if !any {
        return Some(Cow::Borrowed(inner));
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(Cow::Owned(plain))
}

/// Appends `text` as a `quoted-string`; control characters, which none can hold unescaped, become spaces.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\t' => out.push('\t'),
            c if c.is_ascii_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number of `1*DIGIT` that fits; signs, spaces and overflow are refused.
pub(crate) fn number<T: core::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
