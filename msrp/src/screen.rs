//! What a switch decides while a sender waits for the answer (RFC 7701 §6, §7).

use std::fmt::Debug;

use crate::event::Received;
use crate::status::StatusCode;

/// The largest nickname, in octets (RFC 7701 §7.1).
pub const MAX_NICKNAME: usize = 1_023;

/// Looks at what comes in a session before it is answered. A chat room has one for each participant: it refuses what is addressed to
/// nobody, and reserves nicknames. It is asked on the task of the connection, so it must not wait.
pub trait Screen: Debug + Send + Sync {
    /// The answer to a message that is whole ([`Delivery::Whole`](crate::Delivery::Whole)): one that is no success refuses it, and it is
    /// not handed out.
    fn message(&self, message: &Received) -> StatusCode;

    /// The answer to a wish for a nickname; an empty one gives the former back (RFC 7701 §7.3). It has [`MAX_NICKNAME`] octets at most.
    fn nickname(&self, name: &str) -> StatusCode;
}

/// The nickname in the quoted string of `Use-Nickname`.
///
/// # Errors
/// 424 if it is none (RFC 7701 §7.1).
pub(crate) fn nickname(value: Option<&str>) -> Result<String, StatusCode> {
    const MALFORMED: StatusCode = StatusCode::MALFORMED_NICKNAME;
    let quoted = value.map(str::trim).ok_or(MALFORMED)?;
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(MALFORMED)?;
    let (mut name, mut rest) = (String::with_capacity(inside.len()), inside.chars());
    while let Some(character) = rest.next() {
        match character {
            // RFC 4975 §9, `qd-esc`: these two are escaped, and nothing else.
            '\\' => match rest.next() {
                Some(escaped @ ('\\' | '"')) => name.push(escaped),
                _ => return Err(MALFORMED),
            },
            '"' => return Err(MALFORMED),
            character if character.is_control() => return Err(MALFORMED),
            character => name.push(character),
        }
    }
    if name.len() > MAX_NICKNAME { Err(MALFORMED) } else { Ok(name) }
}

/// The quoted string that asks for a nickname.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_7701_7_1_what_is_no_quoted_string_is_malformed() {
        for text in ["", "Alice", "\"Alice", "\"", "\"a\"b\"", "\"a\\b\"", "\"a\\\"", "\"a\tb\""] {
            assert_eq!(nickname(Some(text)), Err(StatusCode::MALFORMED_NICKNAME), "{text}");
        }
        assert_eq!(nickname(None), Err(StatusCode::MALFORMED_NICKNAME));
        assert_eq!(nickname(Some(" \"Alice the great\" ")), Ok("Alice the great".into()));
        assert_eq!(nickname(Some("\"\"")), Ok(String::new()), "§7.3: given back");
        assert_eq!(nickname(Some(r#""\"Big\" \\o/""#)), Ok(r#""Big" \o/"#.into()));
        let long = |octets: usize| format!("\"{}\"", "x".repeat(octets));
        assert_eq!(nickname(Some(&long(MAX_NICKNAME))).map(|name| name.len()), Ok(MAX_NICKNAME));
        assert_eq!(nickname(Some(&long(MAX_NICKNAME + 1))), Err(StatusCode::MALFORMED_NICKNAME));
    }

    proptest! {
        #[test]
        fn what_we_ask_for_is_what_is_read(name in "[^\\p{Cc}]{0,60}") {
            prop_assert_eq!(nickname(Some(&quoted(&name))), Ok(name));
        }

        #[test]
        fn no_text_does_harm(text in ".{0,60}") {
            let _ = nickname(Some(&text));
        }
    }
}
