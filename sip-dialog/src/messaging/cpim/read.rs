//! Reading a message, and what the prefixes in it stand for (RFC 3862 §2, §3.4, §3.5).

use bytes::Bytes;

use super::text::{clean, is_name_character};
use super::{Cpim, CpimError, CpimHeader, MAX_HEADER_OCTETS, MAX_HEADERS, NAMESPACE, OURS};
use crate::messaging::imdn;

impl Cpim {
    /// Reads a message, and refuses one that requires more than RFC 3862 and RFC 5438 have.
    ///
    /// # Errors
    /// If it is none, passes a limit, or requires what is not understood.
    pub fn parse(octets: &Bytes) -> Result<Self, CpimError> {
        Self::parse_understanding(octets, |_, _| false)
    }

    /// Reads a message; `understood` says which headers and features, by namespace and name, may be required beside ours.
    ///
    /// # Errors
    /// As [`Cpim::parse`].
    pub fn parse_understanding(
        octets: &Bytes,
        understood: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, CpimError> {
        let mut message = Self { headers: Vec::new(), fields: Vec::new(), body: Bytes::new() };
        let mut lines = Lines { octets, at: 0, line: 0 };
        while let Some(line) = lines.next()? {
            if message.headers.len() >= MAX_HEADERS {
                return Err(CpimError::TooMany("headers"));
            }
            message.headers.push(header(line).ok_or(CpimError::Line(lines.line))?);
        }
        while let Some(line) = lines.next()? {
            if message.fields.len() >= MAX_HEADERS {
                return Err(CpimError::TooMany("fields"));
            }
            if line.starts_with([' ', '\t']) {
                // A field goes on (RFC 5322 §2.2.3).
                let (_, value) = message.fields.last_mut().ok_or(CpimError::Line(lines.line))?;
                *value = clean(&format!("{value} {}", line.trim()));
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(CpimError::Line(lines.line))?;
            let name = name.trim_end();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic()) {
                return Err(CpimError::Line(lines.line));
            }
            message.fields.push((name.into(), clean(value)));
        }
        message.body = octets.slice(lines.at.min(octets.len())..);
        message.check_required(understood)?;
        Ok(message)
    }

    fn check_required(&self, understood: impl Fn(&str, &str) -> bool) -> Result<(), CpimError> {
        let mut names = Namespaces::default();
        for header in &self.headers {
            let (namespace, name) = names.resolve(&header.name);
            if (namespace, name) == (NAMESPACE, "Require") {
                for required in header.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let (namespace, name) = names.resolve(required);
                    let ours = (namespace == NAMESPACE && OURS.contains(&name))
                        || (namespace == imdn::NAMESPACE && imdn::HEADERS.contains(&name));
                    if !ours && !understood(namespace, name) {
                        return Err(CpimError::Required(required.into()));
                    }
                }
            }
            names.declare(header);
        }
        Ok(())
    }
}

/// The prefixes that are declared up to some header (§3.4); the last one counts.
#[derive(Default)]
pub(super) struct Namespaces<'a>(pub(super) Vec<(Option<&'a str>, &'a str)>);

impl<'a> Namespaces<'a> {
    pub(super) fn resolve<'n>(&self, name: &'n str) -> (&'a str, &'n str) {
        let (prefix, local) = match name.split_once('.') {
            Some((prefix, local)) => (Some(prefix), local),
            None => (None, name),
        };
        let declared =
            self.0.iter().rev().find(|(known, _)| *known == prefix).map(|(_, namespace)| *namespace);
        // A prefix that nobody has declared names nothing.
        (declared.unwrap_or(if prefix.is_some() { "" } else { NAMESPACE }), local)
    }

    pub(super) fn declare(&mut self, header: &'a CpimHeader) {
        if self.resolve(&header.name) != (NAMESPACE, "NS") {
            return;
        }
        if let Some((prefix, uri)) = header.value.trim().strip_suffix('>').and_then(|it| it.split_once('<')) {
            let prefix = Some(prefix.trim()).filter(|prefix| !prefix.is_empty());
            self.0.push((prefix, uri));
        }
    }
}

/// Lines up to an empty one, whose end is `at`.
struct Lines<'a> {
    octets: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<&'a str>, CpimError> {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let end = memchr(rest).ok_or(CpimError::Cut)?;
        self.at = self.at.saturating_add(end).saturating_add(1);
        self.line = self.line.saturating_add(1);
        if self.at > MAX_HEADER_OCTETS {
            return Err(CpimError::TooMany("octets before the content"));
        }
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| CpimError::NotUtf8)?;
        Ok(Some(line).filter(|line| !line.is_empty()))
    }
}

fn memchr(octets: &[u8]) -> Option<usize> {
    octets.iter().take(MAX_HEADER_OCTETS).position(|octet| *octet == b'\n')
}

/// `Name:;parameters value`. More or less than one space is taken.
fn header(line: &str) -> Option<CpimHeader> {
    let (name, rest) = line.split_once(':')?;
    let (parameters, value) = if rest.starts_with(';') { rest.split_once(' ')? } else { ("", rest) };
    let name_is_one = !name.is_empty() && name.chars().all(|c| is_name_character(c) || c == '.');
    let plain = |text: &str| !text.chars().any(|c| c.is_ascii_control());
    let fine = name_is_one && plain(parameters) && plain(value);
    fine.then(|| CpimHeader {
        name: name.into(),
        parameters: parameters.into(),
        value: value.trim_matches(' ').into(),
    })
}
