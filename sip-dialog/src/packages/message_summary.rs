//! `application/simple-message-summary`: messages that wait (RFC 3842 §5.2).
//!
//! ```
//! use sip_dialog::packages::message_summary::{Counts, MessageSummary};
//! let text = "Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n";
//! let summary = MessageSummary::parse(text.as_bytes())?;
//! assert!(summary.waiting);
//! assert_eq!(summary.voice(), Some(Counts { new: 2, old: 8, urgent: Some((0, 2)) }));
//! assert_eq!(summary.to_string(), text);
//! # Ok::<(), sip_dialog::packages::DocumentError>(())
//! ```

use std::fmt;

use super::{DocumentError, MAX_OCTETS};
use crate::event::Body;

/// Classes of messages in a summary; more are refused.
const MAX_CLASSES: usize = 64;
/// Lines about single messages; more are refused.
const MAX_MESSAGE_LINES: usize = 4_000;

/// How many messages of a class there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Not yet heard.
    pub new: u32,
    /// Heard.
    pub old: u32,
    /// Of these the urgent ones, new and old, if the server tells them.
    pub urgent: Option<(u32, u32)>,
}

/// A summary of the messages of an account. Names are compared without case (§5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageSummary {
    /// Whether there are messages that nobody has heard.
    pub waiting: bool,
    /// Whose messages, and whom to call for them.
    pub account: Option<String>,
    /// The counts by class, such as `Voice-Message`, in the order of the body.
    pub counts: Vec<(String, Counts)>,
    /// Fields of single messages, such as `From` and `Date`: a list for each message.
    pub messages: Vec<Vec<(String, String)>>,
}

fn name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet))
}

/// `name : value`, with white space wherever the grammar has it.
fn field(line: &str) -> Option<(&str, &str)> {
    let (head, value) = line.split_once(':').filter(|_| !line.contains(is_bad))?;
    let head = head.trim_end_matches([' ', '\t']);
    name(head).then_some((head, value.trim_matches([' ', '\t'])))
}

fn count(text: &str) -> Option<u32> {
    let text = text.trim_matches([' ', '\t']);
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn pair(text: &str) -> Option<(u32, u32)> {
    let (new, old) = text.split_once('/')?;
    Some((count(new)?, count(old)?))
}

impl Counts {
    fn parse(text: &str) -> Option<Self> {
        let Some((all, urgent)) = text.split_once('(') else {
            let (new, old) = pair(text)?;
            return Some(Self { new, old, urgent: None });
        };
        let (new, old) = pair(all)?;
        let urgent = pair(urgent.trim_end_matches([' ', '\t']).strip_suffix(')')?)?;
        Some(Self { new, old, urgent: Some(urgent) })
    }
}

impl MessageSummary {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/simple-message-summary";

    /// Reads a body. Lines may end without CR.
    ///
    /// # Errors
    /// At the first line that is none of a summary, and for a body that passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        if octets.len() > MAX_OCTETS {
            return Err(DocumentError::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| DocumentError::NotUtf8)?;
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).enumerate();
        let bad = |line: usize| DocumentError::Line(line.saturating_add(1));
        let mut summary = Self::default();
        let (_, first) = lines.next().ok_or(bad(0))?;
        summary.waiting = match field(first) {
            Some((name, value)) if name.eq_ignore_ascii_case("Messages-Waiting") => match value {
                value if value.eq_ignore_ascii_case("yes") => true,
                value if value.eq_ignore_ascii_case("no") => false,
                _ => return Err(bad(0)),
            },
            _ => return Err(bad(0)),
        };
        let mut begun = false;
        for (n, line) in lines.by_ref() {
            if line.is_empty() {
                begun = true;
                break;
            }
            let (name, value) = field(line).ok_or(bad(n))?;
            if name.eq_ignore_ascii_case("Message-Account")
                && summary.account.is_none()
                && summary.counts.is_empty()
            {
                summary.account = Some(value.into());
                continue;
            }
            if summary.counts.len() >= MAX_CLASSES {
                return Err(DocumentError::TooMany("classes of messages"));
            }
            summary.counts.push((name.into(), Counts::parse(value).ok_or(bad(n))?));
        }
        let mut message_lines = 0usize;
        let mut message: Vec<(String, String)> = Vec::new();
        for (n, line) in lines.filter(|_| begun) {
            if line.is_empty() {
                summary.close(&mut message);
                continue;
            }
            message_lines = message_lines.saturating_add(1);
            if message_lines > MAX_MESSAGE_LINES {
                return Err(DocumentError::TooMany("lines about messages"));
            }
            let (name, value) = field(line).ok_or(bad(n))?;
            message.push((name.into(), value.into()));
        }
        summary.close(&mut message);
        Ok(summary)
    }

    fn close(&mut self, message: &mut Vec<(String, String)>) {
        if !message.is_empty() {
            self.messages.push(std::mem::take(message));
        }
    }

    /// The counts of a class.
    pub fn class(&self, class: &str) -> Option<Counts> {
        self.counts.iter().find(|(name, _)| name.eq_ignore_ascii_case(class)).map(|(_, counts)| *counts)
    }

    /// The counts of voice messages, which is what lights the lamp of a phone.
    pub fn voice(&self) -> Option<Counts> {
        self.class("Voice-Message")
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_string().into() }
    }
}

/// One line: what would begin another one is left out.
fn line(text: &str) -> String {
    text.chars().filter(|c| !is_bad(*c)).collect()
}

fn is_bad(c: char) -> bool {
    c.is_control() && c != '\t'
}

impl fmt::Display for MessageSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Messages-Waiting: {}\r\n", if self.waiting { "yes" } else { "no" })?;
        if let Some(account) = &self.account {
            write!(f, "Message-Account: {}\r\n", line(account))?;
        }
        for (class, counts) in self.counts.iter().filter(|(class, _)| name(class)) {
            write!(f, "{class}: {}/{}", counts.new, counts.old)?;
            if let Some((new, old)) = counts.urgent {
                write!(f, " ({new}/{old})")?;
            }
            f.write_str("\r\n")?;
        }
        for message in &self.messages {
            f.write_str("\r\n")?;
            for (field, value) in message.iter().filter(|(field, _)| name(field)) {
                write!(f, "{field}: {}\r\n", line(value))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3842 §5.2: the shapes that the grammar allows.
    #[test]
    fn what_servers_send() {
        let read = |text: &str| MessageSummary::parse(text.as_bytes());
        assert_eq!(read("Messages-Waiting: no\r\n").unwrap(), MessageSummary::default());
        assert_eq!(read("messages-waiting : NO").unwrap(), MessageSummary::default());
        let summary = read(
            "Messages-Waiting: yes\nMessage-Account: sip:a@b\nvoice-message : 4 / 8 ( 1 / 2 )\nFax-Message: 0/1\n\n\
             To: <a@b>\nSubject: hello: there\n\nTo: <c@d>\n",
        )
        .unwrap();
        assert_eq!(summary.account.as_deref(), Some("sip:a@b"));
        assert_eq!(summary.voice(), Some(Counts { new: 4, old: 8, urgent: Some((1, 2)) }));
        assert_eq!(summary.class("FAX-message"), Some(Counts { new: 0, old: 1, urgent: None }));
        assert_eq!(summary.messages.len(), 2);
        assert_eq!(summary.messages[0][1], ("Subject".into(), "hello: there".into()));
    }

    #[test]
    fn what_is_no_summary() {
        for (text, line) in [
            ("", 1),
            ("Voice-Message: 1/2\r\n", 1),
            ("Messages-Waiting: maybe\r\n", 1),
            ("Messages-Waiting: yes\r\nVoice-Message: 1\r\n", 2),
            ("Messages-Waiting: yes\r\nVoice-Message: -1/2\r\n", 2),
            ("Messages-Waiting: yes\r\nVoice-Message: 1/4294967296\r\n", 2),
            ("Messages-Waiting: yes\r\nVoice-Message: 1/2 (3/4\r\n", 2),
            ("Messages-Waiting: yes\r\nno colon\r\n", 2),
            ("Messages-Waiting: yes\r\n\r\nno colon\r\n", 3),
            ("Messages-Waiting: yes\r\n\r\nTo: a\rb\r\n", 3),
        ] {
            assert_eq!(MessageSummary::parse(text.as_bytes()), Err(DocumentError::Line(line)), "{text}");
        }
        let many = format!("Messages-Waiting: yes\n{}", "X: 0/0\n".repeat(65));
        assert_eq!(
            MessageSummary::parse(many.as_bytes()),
            Err(DocumentError::TooMany("classes of messages"))
        );
    }
}
