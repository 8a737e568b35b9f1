//! The characters of RFC 3261 §25.1 and small scanners over them.

use crate::scan::contains;
use alloc::borrow::Cow;
use alloc::string::String;

/// `token` characters.
pub(crate) const TOKEN: u8 = 1;
/// Characters of a host name or an IPv4 address; '_' is seen.
pub(crate) const HOST: u8 = 2;
/// What may stand in a URI without being looked at: all but '@' and '%'.
pub(crate) const URI: u8 = 4;
/// What may stand in a parameter's value without quotes; octets from 0x80 on too.
pub(crate) const VALUE: u8 = 8;
/// What may stand between the commas of a list without being looked at: all but ',', '"' and '<'.
pub(crate) const ELEMENT: u8 = 16;
/// Visible characters of ASCII.
pub(crate) const VISIBLE: u8 = 32;
/// Letters and digits and "+-." of a URI's scheme.
pub(crate) const SCHEME: u8 = 64;

const fn class_of(byte: u8) -> u8 {
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
    {
        class |= TOKEN;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
        class |= HOST;
    }
    if byte.is_ascii_graphic()
        && !matches!(byte, b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'@' | b'%')
    {
        class |= URI;
    }
    if byte > b' ' && byte != 0x7f && !matches!(byte, b';' | b',' | b'"' | b'<' | b'>') {
        class |= VALUE;
    }
    if !matches!(byte, b',' | b'"' | b'<') {
        class |= ELEMENT;
    }
    if byte.is_ascii_graphic() {
        class |= VISIBLE;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
        class |= SCHEME;
    }
    class
}

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        #[allow(clippy::indexing_slicing)] // evaluated by the compiler
        {
            classes[byte] = class_of(byte as u8);
        }
        byte += 1;
    }
    classes
};

/// Whether an octet is of a class.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    #[allow(clippy::indexing_slicing)] // the table has a place for every octet
    let classes = CLASSES[usize::from(byte)];
    classes & class != 0
}

/// How many octets of a class `octets` starts with.
#[inline]
pub(crate) fn span(octets: &[u8], class: u8) -> usize {
    let mut length = 0usize; // a loop by hand: `position` takes a third more instructions
    while let Some(&byte) = octets.get(length)
        && is(byte, class)
    {
        length = length.wrapping_add(1);
    }
    length
}

/// [`span`] where many octets are expected: eight are looked up for one decision.
#[inline]
pub(crate) fn long_span(octets: &[u8], class: u8) -> usize {
    let mut rest = octets;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        #[allow(clippy::indexing_slicing)] // the table has a place for every octet
        let all = eight.iter().fold(class, |all, &byte| all & CLASSES[usize::from(byte)]);
        if all == 0 {
            break;
        }
        rest = behind;
    }
    octets.len().wrapping_sub(rest.len()).wrapping_add(span(rest, class))
}

/// `token` characters.
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
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
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [] => text,
        [one] if *one > b' ' => text,
        [first, .., last] if *first > b' ' && *last > b' ' => text,
        octets => {
            let start = octets.iter().position(|&byte| !is_lws(byte)).unwrap_or(octets.len());
            let end =
                octets.iter().rposition(|&byte| !is_lws(byte)).map_or(start, |last| last.saturating_add(1));
            text.get(start..end).unwrap_or_default()
        }
    }
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

/// How many octets behind an opening quote the closing one is.
pub(crate) fn closing_quote(behind: &[u8]) -> Option<usize> {
    let mut at = 0usize;
    loop {
        let found = memchr::memchr2(b'"', b'\\', behind.get(at..)?)?.saturating_add(at);
        if behind.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found.saturating_add(2);
    }
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
    match comma(text.as_bytes()).and_then(|at| text.split_at_checked(at)) {
        Some((element, rest)) => (element, rest.get(1..)),
        None => (text, None),
    }
}

/// The first comma outside of quotes and angle brackets.
fn comma(octets: &[u8]) -> Option<usize> {
    if !contains(octets, b',') {
        return None; // most lists have one element
    }
    let mut at = 0usize;
    loop {
        let rest = octets.get(at..)?;
        let special = span(rest, ELEMENT);
        let (special, behind) = rest.split_at_checked(special)?;
        at = at.saturating_add(special.len());
        let (&first, behind) = behind.split_first()?;
        let hidden = match first {
            b',' => return Some(at),
            b'"' => closing_quote(behind)?,
            _ => memchr::memchr(b'>', behind)?,
        };
        at = at.saturating_add(hidden).saturating_add(2);
    }
}

/// The content of a `quoted-string` with its escapes undone, or `None` if `text` is not one from end to end.
pub(crate) fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr2(b'\\', b'"', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
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
    if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f)) {
        out.push_str(text);
        out.push('"');
        return;
    }
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

/// Appends a number.
pub(crate) fn push_number(out: &mut String, number: u64) {
    let mut digits = [0u8; 20]; // those of u64::MAX
    let mut rest = number;
    let mut used = 0usize;
    for digit in digits.iter_mut() {
        *digit = b'0' | (rest % 10) as u8;
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    digits.iter().take(used).rev().for_each(|&digit| out.push(char::from(digit)));
}

/// A number of digits alone that fits.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    let digit = |byte: &u8| Some(usize::from(byte.checked_sub(b'0')?)).filter(|digit| *digit < 10);
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(digit(first)?, |sum, byte| sum.checked_mul(10)?.checked_add(digit(byte)?))
}

/// A number of `1*DIGIT` that fits; signs, spaces and overflow are refused.
pub(crate) fn number<T: core::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let text = "a , \"b,\\\",\" <sip:c,d> ;x=\",\",, <e\"> , \"open, f";
        let all: Vec<_> = elements(text).collect();
        assert_eq!(all, ["a", "\"b,\\\",\" <sip:c,d> ;x=\",\"", "<e\">", "\"open, f"]);
        assert_eq!(split_element("a<b,c"), ("a<b,c", None));
        assert_eq!(split_element(","), ("", Some("")));
        assert_eq!(split_element("\"a\\"), ("\"a\\", None));
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 9, 10, 4_294_967_295, u64::MAX] {
            let mut text = String::new();
            push_number(&mut text, value);
            assert_eq!(number::<u64>(&text), Some(value));
        }
        assert_eq!(number::<u8>("256"), None);
    }
}
