//! Files over MSRP (RFC 5547): what describes one in a session description, the check of its hash, and how far a transfer is.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha1::{Digest, Sha1};

use crate::message::number;
use crate::sdp::{AttributeError, split_unquoted};
use crate::uri::is_token;

/// Octets of a file's name, before escaping.
pub const MAX_NAME: usize = 1_024;

/// A SHA-1 hash of a file, the only one that RFC 5547 has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha1Hash(pub [u8; 20]);

impl Sha1Hash {
    /// The hash of these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        Self(Sha1::digest(octets).into())
    }

    /// How many octets there are to read, and their hash.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(u64, Self)> {
        let (mut digest, mut size, mut buffer) = (Sha1::new(), 0_u64, vec![0; 64 * 1024]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok((size, Self(digest.finalize().into()))),
                Ok(length) => {
                    size = size.saturating_add(length as u64);
                    digest.update(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for Sha1Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sha1Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha1Hash({self})")
    }
}

impl FromStr for Sha1Hash {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let error = AttributeError("file-selector");
        let mut octets = [0; 20];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(error)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(error);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| error)?;
        }
        if parts.next().is_some() { Err(error) } else { Ok(Self(octets)) }
    }
}

/// `a=file-selector` (RFC 5547 §6): which file. One without anything says that files can be transferred (§8.5).
///
/// ```
/// use msrp::file::FileSelector;
/// let selector: FileSelector = "name:\"My cool picture.jpg\" type:image/jpeg size:32349".parse()?;
/// assert_eq!((selector.name.as_deref(), selector.size), (Some("My cool picture.jpg"), Some(32_349)));
/// # Ok::<(), msrp::sdp::AttributeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSelector {
    /// Its name, with nothing escaped. It comes from the peer and may be a path: see [`safe_name`](FileSelector::safe_name).
    pub name: Option<String>,
    /// Its media type, with parameters.
    pub media_type: Option<String>,
    /// Its octets.
    pub size: Option<u64>,
    /// Its hash.
    pub hash: Option<Sha1Hash>,
}

impl FileSelector {
    /// Whether it points to a file of which this is known: what it says, the file has (RFC 5547 §8.3.2). Names are compared without
    /// folders.
    #[must_use]
    pub fn selects(&self, file: &Self) -> bool {
        let kind = |kind: &Option<String>| kind.as_ref().map(|kind| kind.to_ascii_lowercase());
        (self.name.is_none() || self.safe_name() == file.safe_name())
            && (self.media_type.is_none() || kind(&self.media_type) == kind(&file.media_type))
            && (self.size.is_none() || self.size == file.size)
            && (self.hash.is_none() || self.hash == file.hash)
    }

    /// The last part of the name, if a file in a folder may be called so: nothing that leads out of the folder (RFC 5547 §10).
    #[must_use]
    pub fn safe_name(&self) -> Option<&str> {
        let name = self.name.as_deref()?.rsplit(['/', '\\']).next()?.trim_matches([' ', '.']);
        let proper = |character: char| !character.is_control() && !"<>:\"|?*".contains(character);
        (!name.is_empty() && name.chars().all(proper)).then_some(name)
    }
}

/// Percent-escapes what a name may not have, and what some systems take for folders (RFC 5547 §6).
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '\0' | '\r' | '\n' | '"' | '%' | '/' | '\\' => {
                text.push_str(&format!("%{:02X}", u32::from(character)))
            }
            other => text.push(other),
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.starts_with('+'))?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'"' | 0 | b'\r' | b'\n' => return None,
            other => octets.push(other),
        }
    }
    String::from_utf8(octets).ok()
}

/// The value before the next selector, in quotes or without.
fn is_media_type(text: &str) -> bool {
    let mut parts = split_unquoted(text, ';');
    let first = parts.next().unwrap_or_default();
    first.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
        && parts.all(|part| {
            part.split_once('=').is_some_and(|(name, value)| {
                is_token(name) && !value.bytes().any(|octet| octet < 0x20 || octet == 0x7f)
            })
        })
}

impl FromStr for FileSelector {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let error = AttributeError("file-selector");
        let mut selector = Self::default();
        if text.is_empty() {
            return Ok(selector);
        }
        for part in split_quoted(text) {
            let (kind, value) = part.split_once(':').ok_or(error)?;
            // Each kind but the hash comes once (RFC 5547 §6); of hashes, those of other functions are passed over.
            match kind {
                "name" if selector.name.is_none() => {
                    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                    let name =
                        quoted.and_then(unescape).filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
                    selector.name = Some(name.ok_or(error)?);
                }
                "type" if selector.media_type.is_none() && is_media_type(value) => {
                    selector.media_type = Some(value.to_owned());
                }
                "size" if selector.size.is_none() => selector.size = Some(number(value).ok_or(error)?),
                "hash" => match value.split_once(':') {
                    Some(("sha-1", value)) if selector.hash.is_none() => selector.hash = Some(value.parse()?),
                    Some((function, _)) if function != "sha-1" && is_token(function) => {}
                    _ => return Err(error),
                },
                _ => return Err(error),
            }
        }
        Ok(selector)
    }
}

/// Parts between spaces; in the quotes of RFC 5547 nothing is escaped by a backslash.
fn split_quoted(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character: char| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ' ' && !quoted
    })
}

impl fmt::Display for FileSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.name.as_ref().map(|name| format!("name:\"{}\"", escape(name))));
        parts.extend(self.media_type.as_ref().map(|media_type| format!("type:{media_type}")));
        parts.extend(self.size.map(|size| format!("size:{size}")));
        parts.extend(self.hash.map(|hash| format!("hash:sha-1:{hash}")));
        f.write_str(&parts.join(" "))
    }
}

/// `a=file-transfer-id` (RFC 5547 §6): the same in offers that mean the same transfer, new for a resumed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferId(pub String);

impl FromStr for TransferId {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        if is_token(text) { Ok(Self(text.to_owned())) } else { Err(AttributeError("file-transfer-id")) }
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `a=file-disposition` (RFC 5547 §6): what is to be done with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Shown when it is there.
    Render,
    /// Kept until somebody asks for it.
    Attachment,
    /// Another.
    Other(String),
}

impl FromStr for Disposition {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        match text {
            "render" => Ok(Self::Render),
            "attachment" => Ok(Self::Attachment),
            other if is_token(other) => Ok(Self::Other(other.to_owned())),
            _ => Err(AttributeError("file-disposition")),
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Render => "render",
            Self::Attachment => "attachment",
            Self::Other(other) => other,
        })
    }
}

/// `a=file-range` (RFC 5547 §6): which octets of the file; the first is 1. To resume, the receiver asks for what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The first octet, from 1.
    pub start: u64,
    /// The last octet; none is the end of the file.
    pub stop: Option<u64>,
}

impl FileRange {
    /// What is left of a file of which so many octets are there.
    #[must_use]
    pub fn from(octets: u64) -> Self {
        Self { start: octets.saturating_add(1), stop: None }
    }

    /// Octets in the range, of a file of this size; none if it is not within the file.
    #[must_use]
    pub fn octets(&self, size: u64) -> Option<u64> {
        let stop = self.stop.unwrap_or(size);
        (stop <= size && self.start >= 1).then(|| stop.checked_sub(self.start.saturating_sub(1))).flatten()
    }
}

impl FromStr for FileRange {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let parse = || {
            let (start, stop) = text.split_once('-')?;
            let start = number(start).filter(|&start| start >= 1)?;
            let stop = if stop == "*" { None } else { Some(number(stop)?) };
            stop.is_none_or(|stop| stop >= start).then_some(Self { start, stop })
        };
        parse().ok_or(AttributeError("file-range"))
    }
}

impl fmt::Display for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.stop {
            Some(stop) => write!(f, "{stop}"),
            None => f.write_str("*"),
        }
    }
}

/// Why a file that arrived is not the one that was described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// A part came that is not the next; the sender has to keep the order (RFC 4975 §7.1.1), so a relay changed it.
    #[error("a part came that is not the next: octet {found} instead of {expected}")]
    OutOfOrder {
        /// The octet that was awaited, from 0.
        expected: u64,
        /// The octet that came.
        found: u64,
    },
    /// It is larger than was described, or than is allowed.
    #[error("more than {0} octets")]
    TooLarge(u64),
    /// It ends before its size.
    #[error("{found} octets instead of {expected}")]
    TooShort {
        /// Octets of the file.
        expected: u64,
        /// Octets that are there.
        found: u64,
    },
    /// Its hash is another (RFC 5547 §8.3.2).
    #[error("the hash is another than was described")]
    Hash,
}

/// A file that is arriving, part by part, in order: how far it is, and whether it is the one that was described.
///
/// ```
/// use msrp::file::{FileSelector, Incoming, Sha1Hash};
/// let described = FileSelector { size: Some(8), hash: Some(Sha1Hash::of(b"abcdEFGH")), ..FileSelector::default() };
/// let mut first = Incoming::new(&described, 1_000_000);
/// first.part(0, b"abc")?;
/// // The connection broke; what is there is read from the disk, and the rest asked for with `a=file-range:4-*`.
/// let mut rest = Incoming::new(&described, 1_000_000);
/// rest.resume(b"abc")?;
/// assert_eq!(rest.missing().to_string(), "4-*");
/// rest.part(0, b"dEFGH")?;
/// assert_eq!(rest.octets(), 8);
/// rest.finish()?;
/// # Ok::<(), msrp::file::FileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Incoming {
    size: Option<u64>,
    hash: Option<Sha1Hash>,
    limit: u64,
    digest: Sha1,
    octets: u64,
    /// Octets that were there before this transfer.
    base: u64,
}

impl Incoming {
    /// The file that was described, of which at most so many octets are taken.
    #[must_use]
    pub fn new(selector: &FileSelector, limit: u64) -> Self {
        let limit = selector.size.map_or(limit, |size| size.min(limit));
        Self { size: selector.size, hash: selector.hash, limit, digest: Sha1::new(), octets: 0, base: 0 }
    }

    /// Octets that are there from an earlier transfer, in order, before the first part.
    ///
    /// # Errors
    /// If these are too many.
    pub fn resume(&mut self, octets: &[u8]) -> Result<(), FileError> {
        self.add(octets)?;
        self.base = self.octets;
        Ok(())
    }

    /// What is to be asked for.
    #[must_use]
    pub fn missing(&self) -> FileRange {
        FileRange::from(self.octets)
    }

    /// The next part, at its offset in the message that carries the range.
    ///
    /// # Errors
    /// If it is not the next, or the file becomes too large.
    pub fn part(&mut self, offset: u64, octets: &[u8]) -> Result<(), FileError> {
        let found = self.base.saturating_add(offset);
        if found != self.octets {
            return Err(FileError::OutOfOrder { expected: self.octets, found });
        }
        self.add(octets)
    }

    fn add(&mut self, octets: &[u8]) -> Result<(), FileError> {
        let sum = self.octets.saturating_add(octets.len() as u64);
        if sum > self.limit {
            return Err(FileError::TooLarge(self.limit));
        }
        self.octets = sum;
        // Who has no hash to compare with need not compute one.
        if self.hash.is_some() {
            self.digest.update(octets);
        }
        Ok(())
    }

    /// Octets that are there.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Octets there will be, if that was described.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// All parts are there.
    ///
    /// # Errors
    /// If it is too short, or another file than the one described.
    pub fn finish(self) -> Result<(), FileError> {
        if let Some(expected) = self.size.filter(|&size| size != self.octets) {
            return Err(FileError::TooShort { expected, found: self.octets });
        }
        match self.hash {
            Some(hash) if Sha1Hash(self.digest.finalize().into()) != hash => Err(FileError::Hash),
            _ => Ok(()),
        }
    }
}
