//! The header fields of a message: a table of lines over the octets as they arrived.

use crate::parts::Parts;
use crate::scan::{has_control, next_control};
use crate::syntax::{TOKEN, decimal, span, split_element, token, trim};
use crate::{
    AsHeaderName, BuildError, HeaderError, HeaderName, Limits, ParseError, ParseErrorKind, ValueError,
};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// A typed header field: one element of it, for fields that are lists.
pub trait Header: Sized {
    /// The field's name; it also tells whether elements share a line.
    const NAME: HeaderName;

    /// Reads one element.
    ///
    /// # Errors
    /// If `text` does not follow the field's grammar.
    fn parse(text: &str) -> Result<Self, ValueError>;

    /// Appends the value as it stands on the wire.
    fn write(&self, out: &mut String);

    /// The parts of the value, by name; one text named `value` where it has none.
    fn parts(&self) -> Parts {
        crate::parts::printed(self)
    }
}

/// One header field: which octets of which arena are it, and where its value stands.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Where the line starts in its arena.
    start: u32,
    /// Octets of the line, its line end and folded continuations included.
    len: u32,
    /// Where the value starts, from `start`.
    value: u16,
    /// Octets of the value, without white space at its ends.
    value_len: u16,
    /// Octets of the name; names longer than this count cannot be known ones and are malformed.
    name_len: u8,
    /// The known name, or [`UNKNOWN`].
    name: u8,
    /// [`EDIT`], [`FOLDED`], [`MALFORMED`], [`UNENDED`].
    flags: u8,
}

const _: () = assert!(size_of::<Line>() == 16);

/// The line lies in the edit arena, not in the received octets.
const EDIT: u8 = 1;
/// The value contains line ends of folding.
const FOLDED: u8 = 2;
/// The line is no `name: value`.
const MALFORMED: u8 = 4;
/// The octets stopped before the line's end, which is written where the line is.
const UNENDED: u8 = 8;
const UNKNOWN: u8 = u8::MAX;

/// The header fields of a message in wire order.
///
/// Received octets are never written: edits go to a second arena, and reads see them at once. Lines that were
/// not edited leave byte for byte as they came: spelling, folding, order, unknown fields.
///
/// ```
/// use sip_message::headers::{MaxForwards, Via};
/// use sip_message::{Message, Limits};
/// let text = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP c;branch=z9hG4bK1, SIP/2.0/UDP d\r\nmax-forwards: 9\r\n\r\n";
/// let mut message = Message::parse(text.into(), &Limits::default())?;
/// assert_eq!(message.headers().all::<Via>().count(), 2);
/// message.headers_mut().update_first::<MaxForwards>(|hops| hops.0 -= 1)?;
/// assert_eq!(message.headers().text("Max-Forwards"), Some("8"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Headers {
    received: Bytes,
    edits: String,
    lines: Vec<Line>,
}

/// What a message's head is made of besides its start line.
pub(crate) struct Head {
    pub(crate) headers: Headers,
    /// Where the body starts.
    pub(crate) body: usize,
    /// Whether the empty line was there.
    pub(crate) reached: bool,
    /// What the first Content-Length field says, if it can be read.
    pub(crate) content_length: Option<usize>,
}

/// Octets on the wire for each line that the table has room for at first: fields are longer on the average, so
/// that the table grows for odd messages only.
const OCTETS_A_LINE: usize = 40;
/// A proxy adds a Via and a Record-Route to what it clones.
const SPARE_LINES: usize = 4;
/// Room for the first edits: those of a proxy fit.
const EDITS: usize = 256;

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the fields of `message` from `at` up to the empty line.
    pub(crate) fn parse(message: Bytes, at: usize, limits: &Limits) -> Result<Head, ParseError> {
        let room = message.len().saturating_sub(at) / OCTETS_A_LINE;
        let mut lines = Vec::with_capacity(room.clamp(8, 64));
        let (body, reached) = read_lines(&message, at, limits, &mut lines)?;
        let headers = Self { received: message, edits: String::new(), lines };
        let length = headers.lines.iter().find(|line| line.name == HeaderName::CONTENT_LENGTH.id());
        let length = length.and_then(|line| match line.flags & FOLDED {
            0 => decimal(headers.value_of(line)),
            _ => decimal(trim(&headers.text_of(line).ok()?).as_bytes()),
        });
        Ok(Head { headers, body, reached, content_length: length })
    }

    /// The octets that the message arrived in.
    pub(crate) fn received(&self) -> &Bytes {
        &self.received
    }

    /// From where to where the lines stand in the received octets, if they stand there as they leave.
    pub(crate) fn untouched(&self) -> Option<(usize, usize)> {
        let (first, rest) = self.lines.split_first()?;
        let mut flags = first.flags;
        let mut end = first.end();
        for line in rest {
            if line.start as usize != end {
                return None;
            }
            flags |= line.flags;
            end = line.end();
        }
        (flags & (EDIT | UNENDED) == 0).then_some((first.start as usize, end))
    }

    /// All lines and perhaps more: those that were received, with what was edited since, and what was written.
    pub(crate) fn octets(&self) -> [&[u8]; 2] {
        let (from, to) = self.received_lines();
        [self.received.get(from..to).unwrap_or_default(), self.edits.as_bytes()]
    }

    /// Where the first of the lines that stand in the received octets begins, and where the last one ends.
    fn received_lines(&self) -> (usize, usize) {
        let from =
            self.lines.iter().find(|line| line.flags & EDIT == 0).map_or(0, |line| line.start as usize);
        let to = self.lines.iter().rfind(|line| line.flags & EDIT == 0).map_or(0, Line::end);
        (from, to)
    }

    // ---- reading -------------------------------------------------------------------------------------------

    fn line(&self, line: &Line) -> &[u8] {
        let arena: &[u8] = if line.flags & EDIT == 0 { &self.received } else { self.edits.as_bytes() };
        arena.get(line.start as usize..line.end()).unwrap_or_default()
    }

    fn name_of(&self, line: &Line) -> &[u8] {
        self.line(line).get(..usize::from(line.name_len)).unwrap_or_default()
    }

    fn value_of(&self, line: &Line) -> &[u8] {
        let start = usize::from(line.value);
        self.line(line).get(start..start.saturating_add(usize::from(line.value_len))).unwrap_or_default()
    }

    /// The value as text, folds undone.
    #[inline]
    fn text_of(&self, line: &Line) -> Result<Cow<'_, str>, ValueError> {
        let text = core::str::from_utf8(self.value_of(line))
            .map_err(|error| ValueError::new("UTF-8 text", error.valid_up_to()))?;
        Ok(if line.flags & FOLDED == 0 { Cow::Borrowed(text) } else { Cow::Owned(unfold(text)) })
    }

    /// The known names that are wanted, in wire order with their values, folds included; none for values that are no UTF-8.
    pub(crate) fn known_texts(
        &self,
        wanted: impl Fn(u8) -> bool,
    ) -> impl Iterator<Item = (u8, Option<&str>)> {
        // All lines are looked at for UTF-8 at once, which is cheaper than line by line, if none stands against it.
        let (from, to) = self.received_lines();
        let together = core::str::from_utf8(self.received.get(from..to).unwrap_or_default()).ok();
        self.lines.iter().filter(move |line| wanted(line.name)).map(move |line| {
            let start = (line.start as usize).saturating_add(usize::from(line.value));
            let end = start.saturating_add(usize::from(line.value_len));
            let text = if line.flags & EDIT != 0 {
                self.edits.get(start..end)
            } else if let Some(text) = together
                && from <= start
                && end <= to
            {
                text.get(start.wrapping_sub(from)..end.wrapping_sub(from))
            } else {
                core::str::from_utf8(self.value_of(line)).ok()
            };
            (line.name, text)
        })
    }

    /// Whether a line has this name, which is looked up once for all lines.
    fn is(&self, line: &Line, known: Option<HeaderName>, name: &str) -> bool {
        match known {
            Some(known) => line.name == known.id(),
            None => {
                line.name == UNKNOWN
                    && line.flags & MALFORMED == 0
                    && self.name_of(line).eq_ignore_ascii_case(name.as_bytes())
            }
        }
    }

    fn position(&self, name: &impl AsHeaderName) -> Option<usize> {
        let known = name.known();
        self.lines.iter().position(|line| self.is(line, known, name.text()))
    }

    /// The first element of a field, if the field is there.
    ///
    /// # Errors
    /// [`HeaderError::Malformed`] if the element does not follow its grammar.
    pub fn get<H: Header>(&self) -> Result<Option<H>, HeaderError> {
        let malformed = |error| HeaderError::Malformed { name: H::NAME, error };
        for line in self.lines.iter().filter(|line| line.name == H::NAME.id()) {
            let text = self.text_of(line).map_err(malformed)?;
            if !H::NAME.is_list() {
                return H::parse(trim(&text)).map(Some).map_err(malformed);
            }
            let mut rest = Some(&*text);
            while let Some(elements) = rest {
                let (first, behind) = split_element(elements);
                let first = trim(first);
                if !first.is_empty() {
                    return H::parse(first).map(Some).map_err(malformed);
                }
                rest = behind;
            }
        }
        Ok(None)
    }

    /// The first element of a field that must be there.
    ///
    /// # Errors
    /// [`HeaderError::Missing`] without one, [`HeaderError::Malformed`] if it does not follow its grammar.
    pub fn require<H: Header>(&self) -> Result<H, HeaderError> {
        self.get()?.ok_or(HeaderError::Missing(H::NAME))
    }

    /// Every element of a field, over all lines that carry it, in order (RFC 3261 §7.3.1).
    pub fn all<H: Header>(&self) -> impl Iterator<Item = Result<H, HeaderError>> {
        let malformed = |error| HeaderError::Malformed { name: H::NAME, error };
        let mut lines = self.lines.iter().filter(|line| line.name == H::NAME.id());
        // The line that is read, and what of it is left. Each element is looked for when it is asked for.
        let mut text = Cow::Borrowed("");
        let mut left = None;
        core::iter::from_fn(move || {
            loop {
                if let Some(from) = left {
                    let rest = text.get(from..).unwrap_or_default();
                    let (element, after) = split_element(rest);
                    left = after.map(|after| text.len().saturating_sub(after.len()));
                    let element = trim(element);
                    if !element.is_empty() {
                        return Some(H::parse(element).map_err(malformed));
                    }
                } else {
                    text = match self.text_of(lines.next()?) {
                        Ok(text) => text,
                        Err(error) => return Some(Err(malformed(error))),
                    };
                    if !H::NAME.is_list() {
                        return Some(H::parse(trim(&text)).map_err(malformed));
                    }
                    left = Some(0);
                }
            }
        })
    }

    /// The values of a field as they arrived: one per line, lists not split, folds not undone.
    pub fn raw(&self, name: impl AsHeaderName) -> impl Iterator<Item = &[u8]> {
        let known = name.known();
        let named = move |line: &&Line| self.is(line, known, name.text());
        self.lines.iter().filter(named).map(|line| self.value_of(line))
    }

    /// The value of the first line of that name, if it is UTF-8 on one line.
    pub fn text(&self, name: impl AsHeaderName) -> Option<&str> {
        self.raw(name).next().and_then(|value| core::str::from_utf8(value).ok())
    }

    /// Whether a field is there.
    pub fn contains(&self, name: impl AsHeaderName) -> bool {
        self.position(&name).is_some()
    }

    /// How many lines carry the field.
    pub fn count(&self, name: impl AsHeaderName) -> usize {
        let known = name.known();
        self.lines.iter().filter(|line| self.is(line, known, name.text())).count()
    }

    /// Names and values in wire order, in their original spelling.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines
            .iter()
            .map(|line| (core::str::from_utf8(self.name_of(line)).unwrap_or_default(), self.value_of(line)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Known names that more than one line carries, each once.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = HeaderName> {
        let (mut seen, mut told) = (0u128, 0u128); // one bit per known name
        self.lines.iter().filter_map(move |line| {
            let bit = 1u128.checked_shl(u32::from(line.name))?;
            let again = seen & !told & bit != 0;
            told |= seen & bit;
            seen |= bit;
            if again { HeaderName::from_id(line.name) } else { None }
        })
    }

    /// The first line that is no `name: value`, as it arrived.
    pub fn malformed_line(&self) -> Option<&[u8]> {
        self.lines.iter().find(|line| line.flags & MALFORMED != 0).map(|line| self.line(line))
    }

    // ---- writing -------------------------------------------------------------------------------------------

    /// Puts a value above the first of its name (at the top of all fields if there is none), on a line of its
    /// own: where a `Via`, `Route` or `Record-Route` goes.
    pub fn push_front<H: Header>(&mut self, header: &H) {
        let line = self.write_header(header);
        let at = self.position(&H::NAME).unwrap_or(0);
        self.lines.insert(at, line);
    }

    /// Adds a value below the last of its name, or at the end.
    pub fn push_back<H: Header>(&mut self, header: &H) {
        let line = self.write_header(header);
        self.insert_last(&H::NAME, line);
    }

    /// Makes `header` the only value of its field, in the place of the first.
    pub fn set<H: Header>(&mut self, header: &H) {
        let line = self.write_header(header);
        self.replace(&H::NAME, line);
    }

    /// Takes the first element off a field; a line that carries several keeps the others.
    ///
    /// # Errors
    /// If that element does not follow its grammar; nothing is removed then.
    pub fn pop_front<H: Header>(&mut self) -> Result<Option<H>, HeaderError> {
        let Some((at, first, rest)) = self.split_first::<H>()? else { return Ok(None) };
        match rest {
            Some(rest) => {
                let line = self.write_line(H::NAME.as_str(), &rest);
                self.put(at, line);
            }
            None => {
                self.lines.remove(at);
            }
        }
        Ok(Some(first))
    }

    /// Changes the first element of a field in its place; `false` if the field is absent.
    ///
    /// # Errors
    /// If that element does not follow its grammar; nothing is changed then.
    pub fn update_first<H: Header>(&mut self, change: impl FnOnce(&mut H)) -> Result<bool, HeaderError> {
        let Some((at, mut first, rest)) = self.split_first::<H>()? else { return Ok(false) };
        change(&mut first);
        let line = self.append(H::NAME.as_str(), H::NAME.id(), |out| {
            first.write(out);
            if let Some(rest) = rest {
                out.push_str(", ");
                out.push_str(&rest);
            }
        });
        self.put(at, line);
        Ok(true)
    }

    /// Puts a value in the place of the first element of a field, which is not looked at: for those who have just read it.
    /// `false` if the field is absent.
    pub fn replace_first<H: Header>(&mut self, header: &H) -> bool {
        // The place of the first element and what follows it on its line; a line of commas alone carries none.
        let found = self.lines.iter().enumerate().filter(|(_, line)| line.name == H::NAME.id()).find_map(
            |(at, line)| {
                let Some(text) = self.text_of(line).ok().filter(|_| H::NAME.is_list()) else {
                    return Some((at, None));
                };
                let (mut element, mut rest) = split_element(&text);
                while trim(element).is_empty() {
                    (element, rest) = split_element(rest?);
                }
                Some((at, rest.map(trim).filter(|rest| !rest.is_empty()).map(String::from)))
            },
        );
        let Some((at, rest)) = found else { return false };
        let line = self.append(H::NAME.as_str(), H::NAME.id(), |out| {
            header.write(out);
            if let Some(rest) = &rest {
                out.push_str(", ");
                out.push_str(rest);
            }
        });
        self.put(at, line);
        true
    }

    /// Writes `more` behind the value of the first line of this name.
    pub(crate) fn lengthen(&mut self, name: HeaderName, more: [&str; 2]) {
        let Some((at, line)) = self.lines.iter().enumerate().find(|(_, line)| line.name == name.id()) else {
            return;
        };
        let Ok(value) = self.text_of(line).map(String::from) else { return };
        let line = self.append(name.as_str(), name.id(), |out| {
            out.push_str(&value);
            more.iter().for_each(|more| out.push_str(more));
        });
        self.put(at, line);
    }

    fn put(&mut self, at: usize, line: Line) {
        if let Some(slot) = self.lines.get_mut(at) {
            *slot = line;
        }
    }

    /// Removes every line of that name and tells how many there were.
    pub fn remove(&mut self, name: impl AsHeaderName) -> usize {
        let (before, known) = (self.lines.len(), name.known());
        let mut lines = core::mem::take(&mut self.lines);
        lines.retain(|line| !self.is(line, known, name.text()));
        self.lines = lines;
        before.saturating_sub(self.lines.len())
    }

    /// Adds a field from text below the last of its name, or at the end.
    ///
    /// # Errors
    /// If `name` is no field name, or `value` could not stand on its line.
    pub fn push_raw(&mut self, name: impl AsHeaderName, value: &str) -> Result<(), BuildError> {
        check_raw(name.text(), value)?;
        let line = self.write_line(name.text(), value);
        self.insert_last(&name, line);
        Ok(())
    }

    /// Adds a field from text above the first of its name, or at the top.
    ///
    /// # Errors
    /// As [`Headers::push_raw`].
    pub fn push_front_raw(&mut self, name: impl AsHeaderName, value: &str) -> Result<(), BuildError> {
        check_raw(name.text(), value)?;
        let line = self.write_line(name.text(), value);
        let at = self.position(&name).unwrap_or(0);
        self.lines.insert(at, line);
        Ok(())
    }

    /// Makes `value` the only value of a field.
    ///
    /// # Errors
    /// As [`Headers::push_raw`].
    pub fn set_raw(&mut self, name: impl AsHeaderName, value: &str) -> Result<(), BuildError> {
        check_raw(name.text(), value)?;
        let line = self.write_line(name.text(), value);
        self.replace(&name, line);
        Ok(())
    }

    /// Adds every line of that name of another message at the end, byte for byte.
    pub fn copy_from(&mut self, other: &Self, name: impl AsHeaderName) {
        let known = name.known();
        self.copy_lines(other, |line| other.is(line, known, name.text()));
    }

    /// Adds the lines of the known names that are wanted, in their order.
    pub(crate) fn copy_known(&mut self, other: &Self, wanted: impl Fn(HeaderName) -> bool) {
        self.lines.reserve(other.lines.len().saturating_add(SPARE_LINES));
        self.copy_lines(other, |line| HeaderName::from_id(line.name).is_some_and(&wanted));
    }

    fn copy_lines(&mut self, other: &Self, wanted: impl Fn(&Line) -> bool) {
        // A response takes its lines from one request: it holds on to what that arrived in, and copies nothing.
        if self.received.is_empty() {
            self.received = other.received.clone();
        }
        let same =
            self.received.as_ptr() == other.received.as_ptr() && self.received.len() == other.received.len();
        let mut joined = Vec::new();
        for line in other.lines.iter().filter(|line| wanted(line)) {
            let octets = other.line(line);
            if line.flags & EDIT != 0 {
                if self.edits.capacity() == 0 {
                    self.edits.reserve(EDITS);
                }
                let Ok(start) = u32::try_from(self.edits.len()) else { return };
                let range = line.start as usize..line.end();
                self.edits.push_str(other.edits.get(range).unwrap_or_default());
                self.lines.push(Line { start, ..*line });
            } else if same {
                self.lines.push(*line);
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&self.received);
                }
                let Ok(start) = u32::try_from(joined.len()) else { return };
                joined.extend_from_slice(octets);
                self.lines.push(Line { start, ..*line });
            }
        }
        if !joined.is_empty() {
            self.received = Bytes::from(joined);
        }
    }

    fn insert_last(&mut self, name: &impl AsHeaderName, line: Line) {
        let known = name.known();
        let after = self.lines.iter().rposition(|line| self.is(line, known, name.text()));
        self.lines.insert(after.map_or(self.lines.len(), |at| at.saturating_add(1)), line);
    }

    fn replace(&mut self, name: &impl AsHeaderName, line: Line) {
        let (at, known) = (self.position(name), name.known());
        let mut position = 0usize;
        let mut lines = core::mem::take(&mut self.lines);
        lines.retain(|line| {
            let keep = Some(position) == at || !self.is(line, known, name.text());
            position = position.saturating_add(1);
            keep
        });
        self.lines = lines;
        match at.and_then(|at| self.lines.get_mut(at)) {
            Some(slot) => *slot = line,
            None => self.lines.push(line),
        }
    }

    fn write_header<H: Header>(&mut self, header: &H) -> Line {
        self.append(H::NAME.as_str(), H::NAME.id(), |out| header.write(out))
    }

    fn write_line(&mut self, name: &str, value: &str) -> Line {
        let id = HeaderName::find(name.as_bytes()).map_or(UNKNOWN, HeaderName::id);
        self.append(name, id, |out| out.push_str(value))
    }

    /// Appends a line to the edit arena. No value can carry a line end: control characters become spaces.
    fn append(&mut self, name: &str, id: u8, write: impl FnOnce(&mut String)) -> Line {
        if self.edits.capacity() == 0 {
            self.edits.reserve(EDITS);
        }
        let start = self.edits.len();
        self.edits.push_str(name);
        self.edits.push_str(": ");
        let from = self.edits.len();
        write(&mut self.edits);
        let value = self.edits.get(from..).unwrap_or_default();
        let tidy = !has_control(value.as_bytes()) && !value.starts_with(' ') && !value.ends_with(' ');
        if !tidy || value.len() > usize::from(u16::MAX) {
            let text = self.edits.split_off(from.min(self.edits.len()));
            let value = trim(&text);
            let longest = usize::from(u16::MAX).min(value.len());
            let value = (0..=longest).rev().find_map(|end| value.get(..end)).unwrap_or_default().chars();
            self.edits.extend(value.map(|c| if c.is_ascii_control() && c != '\t' { ' ' } else { c }));
            self.edits.truncate(self.edits.trim_end_matches(' ').len().max(from));
        }
        let end = self.edits.len();
        self.edits.push_str("\r\n");
        // These places follow one another in the text.
        let small = |from: usize, to: usize| u16::try_from(to.wrapping_sub(from)).unwrap_or(u16::MAX);
        Line {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(self.edits.len().wrapping_sub(start)).unwrap_or(u32::MAX),
            value: small(start, from),
            value_len: small(from, end),
            name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
            name: id,
            flags: EDIT,
        }
    }

    /// The line, its first element parsed, and the text of the others.
    #[allow(clippy::type_complexity)]
    fn split_first<H: Header>(&self) -> Result<Option<(usize, H, Option<String>)>, HeaderError> {
        let malformed = |error| HeaderError::Malformed { name: H::NAME, error };
        for (at, line) in self.lines.iter().enumerate().filter(|(_, line)| line.name == H::NAME.id()) {
            let text = self.text_of(line).map_err(malformed)?;
            if !H::NAME.is_list() {
                return Ok(Some((at, H::parse(trim(&text)).map_err(malformed)?, None)));
            }
            let (mut element, mut rest) = split_element(&text);
            while trim(element).is_empty() {
                match rest {
                    Some(more) => (element, rest) = split_element(more),
                    None => break,
                }
            }
            if trim(element).is_empty() {
                continue; // a line of commas alone carries no element
            }
            let first = H::parse(trim(element)).map_err(malformed)?;
            let rest = rest.map(trim).filter(|rest| !rest.is_empty()).map(String::from);
            return Ok(Some((at, first, rest)));
        }
        Ok(None)
    }

    /// Whether the last line has its line end.
    pub(crate) fn is_ended(&self) -> bool {
        self.lines.last().is_some_and(|line| line.flags & UNENDED == 0)
    }

    /// Octets that [`Headers::write_to`] hands out.
    pub(crate) fn wire_len(&self) -> usize {
        // A line that was cut off gets the two octets of its end. The sum is of lengths of parts of two texts in memory.
        const { assert!(UNENDED >> 2 == 2) };
        let octets = |line: &Line| (line.len as usize).wrapping_add(usize::from((line.flags & UNENDED) >> 2));
        self.lines.iter().fold(2usize, |sum, line| sum.wrapping_add(octets(line)))
    }

    /// Hands the octets in wire order to `sink`; neighbouring lines that were received come as one slice.
    pub(crate) fn write_to(&self, mut sink: impl FnMut(&[u8])) {
        let mut run: Option<(usize, usize)> = None;
        for line in &self.lines {
            let (start, end) = (line.start as usize, line.end());
            if line.flags & EDIT == 0 {
                match &mut run {
                    Some((_, until)) if *until == start => *until = end,
                    _ => {
                        if let Some((from, until)) = run.replace((start, end)) {
                            sink(self.received.get(from..until).unwrap_or_default());
                        }
                    }
                }
            } else {
                if let Some((from, until)) = run.take() {
                    sink(self.received.get(from..until).unwrap_or_default());
                }
                sink(self.edits.as_bytes().get(start..end).unwrap_or_default());
            }
            if line.flags & UNENDED != 0 {
                if let Some((from, until)) = run.take() {
                    sink(self.received.get(from..until).unwrap_or_default());
                }
                sink(b"\r\n");
            }
        }
        if let Some((from, until)) = run {
            sink(self.received.get(from..until).unwrap_or_default());
        }
    }
}

/// A clone has room for what a proxy adds.
impl Clone for Headers {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len().saturating_add(SPARE_LINES));
        lines.extend_from_slice(&self.lines);
        Self { received: self.received.clone(), edits: self.edits.clone(), lines }
    }
}

/// Two sets of fields are equal when the same names stand with the same values in the same order.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.lines.len() == other.lines.len()
            && self.lines.iter().zip(&other.lines).all(|(a, b)| {
                let names = if a.name == UNKNOWN {
                    b.name == UNKNOWN && self.name_of(a).eq_ignore_ascii_case(other.name_of(b))
                } else {
                    a.name == b.name
                };
                names && self.value_of(a) == other.value_of(b)
            })
    }
}

impl Eq for Headers {}

fn check_raw(name: &str, value: &str) -> Result<(), BuildError> {
    if !token(name) || name.len() > usize::from(u8::MAX) {
        return Err(BuildError::FieldName(name.into()));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(BuildError::ControlCharacter(name.into()));
    }
    if value.len() > usize::from(u16::MAX) {
        return Err(BuildError::TooLong(name.into()));
    }
    Ok(())
}

/// The lines of `octets` from `at` up to the empty line: where that ends, and whether it is there.
#[inline(never)] // it needs all the registers that there are
fn read_lines(
    octets: &[u8],
    at: usize,
    limits: &Limits,
    lines: &mut Vec<Line>,
) -> Result<(usize, bool), ParseError> {
    let field_limit = limits.field.min(usize::from(u16::MAX));
    let mut rest = octets.get(at..).unwrap_or_default();
    loop {
        let at = octets.len().wrapping_sub(rest.len()); // `rest` is the end of `octets`
        let end = next_control(rest);
        if end == 0 {
            match rest {
                [] | [b'\r'] => return Ok((octets.len(), false)), // cut off
                [b'\r', b'\n', ..] => return Ok((at.saturating_add(2), true)),
                [b'\n', ..] => return Ok((at.saturating_add(1), true)),
                _ => {}
            }
        }
        let (line, len) = match Line::plain(rest, at, end) {
            Some(line) => (line, line.len as usize),
            None => match folded_length(rest, end) {
                Some((len, flags)) => (Line::read(rest.get(..len).unwrap_or_default(), at, flags), len),
                None => {
                    let (len, folded) = line_length(rest);
                    let line = rest.get(..len).unwrap_or_default();
                    (Line::odd(line, at, if folded { FOLDED } else { 0 }), len)
                }
            },
        };
        if len > field_limit {
            return Err(ParseError { kind: ParseErrorKind::FieldTooLong(field_limit), at });
        }
        if lines.len() >= limits.fields {
            return Err(ParseError { kind: ParseErrorKind::TooManyFields(limits.fields), at });
        }
        lines.push(line);
        rest = rest.get(len..).unwrap_or_default();
    }
}

/// RFC 3261 §7.3.1: a fold counts as one space.
fn unfold(text: &str) -> String {
    let mut flat = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let end = memchr::memchr(b'\n', rest.as_bytes());
        let part = trim(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
        if !part.is_empty() {
            if !flat.is_empty() {
                flat.push(' ');
            }
            flat.push_str(part);
        }
        match end.and_then(|end| rest.get(end.saturating_add(1)..)) {
            Some(more) => rest = more,
            None => return flat,
        }
    }
}

/// Octets up to and including the line's end, continuation lines included, and [`FOLDED`] if there were any; `end` is
/// where the first control character is. `None` if there are others than tabs and line ends, or no end.
fn folded_length(rest: &[u8], end: usize) -> Option<(usize, u8)> {
    let (mut at, mut flags) = (end, 0);
    loop {
        let behind = rest.get(at..)?;
        let passed = match behind {
            [b'\r', b'\n', b' ' | b'\t', ..] => {
                flags = FOLDED;
                3
            }
            [b'\n', b' ' | b'\t', ..] => {
                flags = FOLDED;
                2
            }
            [b'\t', ..] => 1,
            [b'\r', b'\n', ..] => return Some((at.wrapping_add(2), flags)),
            [b'\n', ..] => return Some((at.wrapping_add(1), flags)),
            _ => return None,
        };
        // Sums of lengths of parts of `rest` do not overflow.
        at = at.wrapping_add(passed).wrapping_add(next_control(behind.get(passed..)?));
    }
}

/// The same for lines with any octets.
fn line_length(rest: &[u8]) -> (usize, bool) {
    let mut len = 0usize;
    let mut folded = false;
    loop {
        let tail = rest.get(len..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', tail) else { return (rest.len(), folded) };
        len = len.saturating_add(end).saturating_add(1);
        match rest.get(len) {
            Some(b' ' | b'\t') => folded = true,
            _ => return (len, folded),
        }
    }
}

impl Line {
    /// Where the line ends in its arena.
    #[inline]
    fn end(&self) -> usize {
        (self.start as usize).saturating_add(self.len as usize)
    }

    /// The line that `rest` starts with, at `at` of its arena, whose first control character is at `end`: if it is
    /// a known name, a colon and a value, ended there and not folded. All others go the long way of [`Line::read`].
    #[inline]
    fn plain(rest: &[u8], at: usize, end: usize) -> Option<Self> {
        let (line, behind) = rest.split_at_checked(end)?;
        let line_end = match behind {
            [b'\r', b'\n', next, ..] if !matches!(next, b' ' | b'\t') => 2,
            [b'\r', b'\n'] | [b'\n'] => behind.len(),
            [b'\n', next, ..] if !matches!(next, b' ' | b'\t') => 1,
            _ => return None,
        };
        let (name, colon) = HeaderName::before_colon(rest)?;
        // Nothing if the colon stands on another line.
        let mut value = match line.get(colon.wrapping_add(1)..)? {
            [b' ', value @ ..] => value,
            value => value,
        };
        if let [b' ', ..] | [.., b' '] = value {
            value = trim_spaces(value);
        }
        let lead = value.as_ptr().addr().wrapping_sub(line.as_ptr().addr());
        Some(Self {
            start: at as u32, // a message is shorter than 4 GiB
            len: end.wrapping_add(line_end) as u32,
            // Wrong if it does not fit, but then the line is longer than any limit allows.
            value: lead as u16,
            value_len: value.len() as u16,
            name_len: colon as u8, // known names are short
            name: name.id(),
            flags: 0,
        })
    }

    /// Finds name and value in a line that starts at `start` of its arena and is at most 64 KiB plus a name long. Of
    /// control characters it has tabs and folds alone.
    fn read(line: &[u8], start: usize, flags: u8) -> Self {
        let (known, colon) = match HeaderName::and_colon(line) {
            Some((known, colon)) => (known, Some(colon)),
            None => (None, memchr::memchr(b':', line)),
        };
        let (name, after) = match colon {
            Some(colon) => (line.get(..colon), line.get(colon.saturating_add(1)..)),
            None => (None, Some(line)),
        };
        let (whole, after) = (name.unwrap_or_default(), after.unwrap_or_default());
        let name = whole.trim_ascii_end(); // RFC 3261 §25.1: HCOLON = *( SP / HTAB ) ":" SWS
        let known = match known {
            Some(known) => Some(known).filter(|_| !has_control(name)),
            None if name.len() < whole.len() => HeaderName::find(name),
            None => None,
        };
        let lead = after.trim_ascii_start();
        let value = lead.trim_ascii_end();
        let fits = u8::try_from(name.len()).ok();
        let is_name = || fits.is_some() && !name.is_empty() && span(name, TOKEN) == name.len();
        let malformed = known.is_none() && !is_name();
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(line.len()).unwrap_or(u32::MAX),
            value: u16::try_from(line.len().saturating_sub(lead.len())).unwrap_or(u16::MAX),
            value_len: u16::try_from(value.len()).unwrap_or(u16::MAX),
            name_len: fits.unwrap_or(u8::MAX),
            name: known.map_or(UNKNOWN, HeaderName::id),
            flags: if malformed { flags | MALFORMED } else { flags },
        }
    }

    /// The same for a line with any octets, or without an end.
    #[cold]
    fn odd(line: &[u8], start: usize, flags: u8) -> Self {
        let mut flags = flags;
        let ended = line.strip_suffix(b"\n");
        // What is left of the line's end: one CR, be it cut off behind it.
        let inner = ended.unwrap_or(line);
        let inner = inner.strip_suffix(b"\r").unwrap_or(inner);
        let mut line = line;
        if ended.is_none() {
            flags |= UNENDED;
            line = inner;
        }
        let mut read = Self::read(line, start, flags);
        // The whole line: a CR beside the name or the value is a line end to others, and white space to nobody.
        if !clean(inner) {
            read.flags |= MALFORMED;
            read.name = UNKNOWN;
        }
        read
    }
}

/// A value without spaces at its ends.
#[cold]
fn trim_spaces(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// Whether a value has no control characters but tabs, the line ends of folds, and those that a backslash
/// escapes (RFC 3261 §25.1: quoted-pair). A lone CR or a bare NUL makes two parsers see two messages: such a
/// field is malformed.
fn clean(value: &[u8]) -> bool {
    let mut at = 0usize;
    loop {
        let rest = value.get(at..).unwrap_or_default();
        let next = next_control(rest);
        let (before, found) = rest.split_at_checked(next).unwrap_or((rest, &[]));
        at = at.saturating_add(next).saturating_add(match found {
            [] => return true,
            [b'\t', ..] | [b'\n', b' ' | b'\t', ..] => 1,
            [b'\r', b'\n', b' ' | b'\t', ..] => 2,
            [b'\r' | b'\n', ..] => return false,
            // Escaped, if the backslash before it is not.
            _ if before.iter().rev().take_while(|&&octet| octet == b'\\').count() % 2 == 1 => 1,
            _ => return false,
        });
    }
}
