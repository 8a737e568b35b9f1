//! Printing heads and end-lines (RFC 4975 §7.1, §7.2).

use std::fmt::{Display, Write};

use bytes::{BufMut, Bytes, BytesMut};

use super::{Flag, Ident, Method};
use crate::status::StatusCode;

/// A field that would become more than one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header field has a name that is no token, or a control character in its value")]
pub struct InjectionError;

/// Writes start line and fields. The order is the caller's: To-Path, From-Path, others, Content-Type last (RFC 4975 §7.1).
///
/// ```
/// use msrp::{Flag, HeadWriter, Method};
/// let tid = "d93kswow".parse()?;
/// let text = HeadWriter::request(tid, &Method::Send)
///     .field("To-Path", "msrp://bob.example.com:8888/9di4eae923wzd;tcp")?
///     .field("From-Path", "msrp://alicepc.example.com:7777/iau39soe2843z;tcp")?
///     .field("Message-ID", "12339sdqwer")?
///     .field("Content-Type", "text/plain")?
///     .with_body(b"Hi, I'm Alice!", Flag::Complete);
/// assert!(text.ends_with(b"text/plain\r\n\r\nHi, I'm Alice!\r\n-------d93kswow$\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HeadWriter {
    text: BytesMut,
    transaction: Ident,
}

impl HeadWriter {
    /// A request.
    #[must_use]
    pub fn request(transaction: Ident, method: &Method) -> Self {
        Self::start(transaction, method.as_str(), "")
    }

    /// A response, with a comment or without.
    #[must_use]
    pub fn response(transaction: Ident, status: StatusCode, comment: &str) -> Self {
        Self::start(transaction, &status.to_string(), if is_line(comment) { comment } else { "" })
    }

    fn start(transaction: Ident, word: &str, comment: &str) -> Self {
        let mut text = BytesMut::with_capacity(512);
        for part in
            ["MSRP ", transaction.as_str(), " ", word, if comment.is_empty() { "" } else { " " }, comment]
        {
            text.put_slice(part.as_bytes());
        }
        text.put_slice(b"\r\n");
        Self { text, transaction }
    }

    /// A field.
    ///
    /// # Errors
    /// If the name is no token or the value would not stay in its line.
    pub fn field(mut self, name: &str, value: &str) -> Result<Self, InjectionError> {
        if !crate::uri::is_token(name) || !is_line(value) {
            return Err(InjectionError);
        }
        self.put(name, value);
        Ok(self)
    }

    /// A field whose value is of a type that has no line ends in it.
    pub(crate) fn typed(mut self, name: &str, value: impl Display) -> Self {
        self.put(name, value);
        self
    }

    /// A field whose value arrived in a head, and so is a line.
    pub(crate) fn copied(mut self, name: &str, value: &[u8]) -> Self {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.text.put_slice(part);
        }
        self
    }

    /// Fields that are printed already.
    pub(crate) fn printed(mut self, fields: &[u8]) -> Self {
        self.text.put_slice(fields);
        self
    }

    /// Octets written so far.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The fields behind the first octets, with the empty line.
    pub(crate) fn fields_from(self, start: usize) -> Bytes {
        self.before_body().slice(start..)
    }

    fn put(&mut self, name: &str, value: impl Display) {
        // Writing to memory that grows does not fail.
        let _ = write!(self.text, "{name}: {value}\r\n");
    }

    /// The end of what has no body.
    #[must_use]
    pub fn without_body(mut self, flag: Flag) -> Bytes {
        put_end_line(&mut self.text, &self.transaction, flag);
        self.text.freeze()
    }

    /// The head whose fields, with the empty line behind them, are all written.
    pub(crate) fn finish(self) -> Bytes {
        self.text.freeze()
    }

    /// The head of what has a body, with its empty line. [`end_line`] follows the body.
    #[must_use]
    pub fn before_body(mut self) -> Bytes {
        self.text.put_slice(b"\r\n");
        self.text.freeze()
    }

    /// All of it with a short body, which must not have the end-line in it.
    #[must_use]
    pub fn with_body(mut self, body: &[u8], flag: Flag) -> Bytes {
        self.text.put_slice(b"\r\n");
        self.text.put_slice(body);
        self.text.put_slice(b"\r\n");
        put_end_line(&mut self.text, &self.transaction, flag);
        self.text.freeze()
    }
}

/// Whether it has nothing in it that ends a line.
pub(crate) fn is_line(text: &str) -> bool {
    text.bytes().all(|octet| (octet >= 0x20 && octet != 0x7f) || octet == b'\t')
}

fn put_end_line(text: &mut BytesMut, transaction: &Ident, flag: Flag) {
    text.put_slice(b"-------");
    text.put_slice(transaction.as_str().as_bytes());
    text.put_slice(&[flag.octet(), b'\r', b'\n']);
}

/// The CRLF behind a body, and the end-line.
#[must_use]
pub fn end_line(transaction: &Ident, flag: Flag) -> Bytes {
    let mut text = BytesMut::with_capacity(48);
    text.put_slice(b"\r\n");
    put_end_line(&mut text, transaction, flag);
    text.freeze()
}
