//! Where one message ends and the next begins, in files of any number of them and in streams of captures.

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use sip_message::headers::ContentLength;
use sip_message::{Limits, Message};

/// A stream without an end of a message after so many octets is told as it is.
const LONGEST: usize = 1 << 20;

/// Cuts octets into messages, those that are none included: unlike a transport, which gives a stream up at the
/// first octets that cannot be framed, it goes on at the next start line.
#[derive(Debug)]
pub(super) struct Splitter {
    buffer: BytesMut,
    limits: Limits,
    /// Whether what follows a body without being a message belongs to the message before, as in a datagram.
    surplus: bool,
}

impl Splitter {
    /// For a file: what follows a body and is no message stays with the one before.
    pub(super) fn of_file(limits: Limits) -> Splitter {
        Splitter { buffer: BytesMut::new(), limits, surplus: true }
    }

    /// For a stream: what follows a body and is no message is told as such.
    pub(super) fn of_stream(limits: Limits) -> Splitter {
        Splitter { buffer: BytesMut::new(), limits, surplus: false }
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Everything that is there, as one.
    pub(super) fn all(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// The next message. `finished`: nothing follows, so what is there must do.
    pub(super) fn next(&mut self, finished: bool) -> Option<Bytes> {
        let blank = self.buffer.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        let _ = self.buffer.split_to(blank);
        let length = self.length(finished)?;
        Some(self.buffer.split_to(length.min(self.buffer.len())).freeze())
    }

    fn length(&self, finished: bool) -> Option<usize> {
        let octets = &self.buffer[..];
        let finished = finished || octets.len() > LONGEST;
        let all = (finished && !octets.is_empty()).then_some(octets.len());
        if !octets.contains(&b'\n') && !finished {
            return None;
        }
        let next = start_line_after(octets, 0);
        if !is_start_line(first_line(octets)) {
            return next.or(all);
        }
        let head = match (head_length(octets), next) {
            // Two messages, and the first lacks its empty line.
            (Some(head), Some(next)) if next < head => return Some(next),
            (None, Some(next)) => return Some(next),
            (None, None) => return all,
            (Some(head), _) => head,
        };
        match content_length(octets.get(..head).unwrap_or_default(), &self.limits) {
            Some(body) => {
                let end = head.saturating_add(body);
                match octets.get(end..) {
                    None => all,
                    Some(rest) if self.surplus => with_surplus(octets, end, rest, finished),
                    Some(_) => Some(end),
                }
            }
            // Nothing says how long the body is: it ends where another message begins.
            None => start_line_after(octets, head.saturating_sub(1)).or(all),
        }
    }
}

/// The end of a message at `end` and of what follows that is none. `None`: that cannot be told yet.
fn with_surplus(octets: &[u8], end: usize, rest: &[u8], finished: bool) -> Option<usize> {
    let blank = rest.iter().take_while(|octet| octet.is_ascii_whitespace()).count();
    let next = rest.get(blank..).unwrap_or_default();
    if next.is_empty() || is_start_line(first_line(next)) {
        return Some(end);
    }
    if !finished && !next.contains(&b'\n') {
        return None; // perhaps half a start line
    }
    start_line_after(octets, end).or_else(|| finished.then_some(octets.len()))
}

/// Whether octets look like a message of SIP, good or bad.
pub(super) fn is_sip(octets: &[u8]) -> bool {
    let blank = octets.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    is_start_line(first_line(octets.get(blank..).unwrap_or_default()))
}

fn first_line(octets: &[u8]) -> &[u8] {
    octets.split(|&octet| octet == b'\n').next().unwrap_or_default()
}

/// `SIP/2.0 ...`, or words of which the last is a SIP version.
fn is_start_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let version = |word: &[u8]| {
        word.split_at_checked(4).is_some_and(|(name, number)| {
            name.eq_ignore_ascii_case(b"SIP/")
                && number.iter().all(|&octet| octet.is_ascii_digit() || octet == b'.')
        })
    };
    let mut words = line.split(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    if version(first) {
        return words.next().is_some_and(|code| code.iter().all(u8::is_ascii_digit));
    }
    !first.contains(&b':')
        && words.count() >= 2
        && line.rsplit(|&octet| octet == b' ').next().is_some_and(version)
}

/// Where a line after the octet at `from` starts that is a start line.
fn start_line_after(octets: &[u8], from: usize) -> Option<usize> {
    let rest = octets.get(from..)?;
    memchr_iter(b'\n', rest)
        .map(|end| from.saturating_add(end).saturating_add(1))
        .find(|&start| octets.get(start..).is_some_and(|rest| is_start_line(first_line(rest))))
}

/// Octets up to and including the empty line.
fn head_length(octets: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', octets).find_map(|end| {
        let next = end.saturating_add(1);
        match octets.get(next..)? {
            [b'\r', b'\n', ..] => Some(next.saturating_add(2)),
            [b'\n', ..] => Some(next.saturating_add(1)),
            _ => None,
        }
    })
}

fn content_length(head: &[u8], limits: &Limits) -> Option<usize> {
    let message = Message::parse(Bytes::copy_from_slice(head), limits).ok()?;
    let mut lengths = message.headers().all::<ContentLength>();
    let ContentLength(first) = lengths.next()?.ok()?;
    lengths.all(|other| other == Ok(ContentLength(first))).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        cut(Splitter::of_file(Limits::default()), text)
    }

    fn cut(mut splitter: Splitter, text: &str) -> Vec<String> {
        splitter.push(text.as_bytes());
        std::iter::from_fn(|| splitter.next(true))
            .map(|one| String::from_utf8_lossy(&one).into_owned())
            .collect()
    }

    #[test]
    fn messages_follow_their_lengths() {
        let (one, two) = ("OPTIONS sip:a SIP/2.0\r\nl: 4\r\n\r\nbody", "SIP/2.0 200 OK\r\nl: 0\r\n\r\n");
        assert_eq!(split(&format!("\r\n{one}{two}\r\n\r\n{one}\n")), [one, two, one]);
        let inside = "MESSAGE sip:a SIP/2.0\r\nl: 28\r\n\r\nx\r\nOPTIONS sip:a SIP/2.0\r\n\r\n";
        assert_eq!(split(inside), [inside], "a message within a body");
    }

    #[test]
    fn without_a_length_a_body_ends_where_a_message_begins() {
        let (one, two) = ("INVITE sip:a SIP/2.0\r\nl: x\r\n\r\nv=0\r\n", "BYE sip:a SIP/2.0\n\n");
        assert_eq!(split(&format!("{one}{two}{one}")), [one, two, one]);
        assert_eq!(
            split("ACK sip:a SIP/2.0\r\nVia: x\r\nBYE sip:a SIP/2.0\r\n"),
            ["ACK sip:a SIP/2.0\r\nVia: x\r\n", "BYE sip:a SIP/2.0\r\n"]
        );
    }

    #[test]
    fn what_is_no_message_is_told_too() {
        assert_eq!(
            split("junk\r\nmore\r\nBYE sip:a SIP/2.0\r\n\r\n"),
            ["junk\r\nmore\r\n", "BYE sip:a SIP/2.0\r\n\r\n"]
        );
        assert_eq!(split("nothing of SIP"), ["nothing of SIP"]);
        let (short, next) =
            ("OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nbody\r\nmore\r\n", "ACK sip:a SIP/2.0\r\n\r\n");
        assert_eq!(split(&format!("{short}{next}")), [short, next], "the length was too small");
        let mut stream = Splitter::of_stream(Limits::default());
        stream.push(short.as_bytes());
        assert_eq!(stream.next(true).unwrap(), "OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nbo");
        assert_eq!(split(" \r\n"), [" \r\n"]);
        assert_eq!(split("\r\n\n"), [""; 0]);
    }

    #[test]
    fn octets_one_by_one_give_the_same_messages() {
        let text = "OPTIONS sip:a SIP/2.0\r\nl: 4\r\n\r\nbodySIP/2.0 200 OK\r\nl: 0\r\n\r\njunk\r\nACK sip:a SIP/2.0\r\nl: 0\r\n\r\n";
        let mut splitter = Splitter::of_stream(Limits::default());
        let mut got = Vec::new();
        for octet in text.bytes() {
            splitter.push(&[octet]);
            got.extend(std::iter::from_fn(|| splitter.next(false)));
        }
        got.extend(std::iter::from_fn(|| splitter.next(true)));
        let got: Vec<String> = got.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect();
        assert_eq!(got, cut(Splitter::of_stream(Limits::default()), text));
    }

    #[test]
    fn start_lines() {
        for line in [
            "INVITE sip:a SIP/2.0",
            "SIP/2.0 200",
            "sip/2.0 100 x",
            "X  sip:a b  SIP/7.0 ",
            "SIP/2.0 4294967301 x",
        ] {
            assert!(is_start_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "v=0",
            "Via: SIP/2.0/UDP h",
            "Via : x SIP/2.0/UDP",
            "GET / HTTP/1.1",
            "SIP/2.0 is old",
            "SIP/2.0",
        ] {
            assert!(!is_start_line(line.as_bytes()), "{line}");
        }
    }
}
