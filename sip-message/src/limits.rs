//! What a peer may make this parser hold.

/// Bounds on a message. Each default is a named constant with the attack it stops beside it.
///
/// The first four hold while a message is read ([`Message::parse`](crate::Message::parse)); those on elements,
/// parameters and the Request-URI when it is checked ([`Request::check_within`](crate::Request::check_within));
/// those on parts when its body is read ([`Entity`](crate::body::Entity)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of a whole message, body included.
    pub message: usize,
    /// Octets of the start line.
    pub start_line: usize,
    /// Octets of one header field, folded lines included. At most 65535.
    pub field: usize,
    /// Header fields of one message.
    pub fields: usize,
    /// Elements of one field that is a list, over all lines that carry it.
    pub elements: usize,
    /// Parameters of one element.
    pub parameters: usize,
    /// Octets of the Request-URI.
    pub uri: usize,
    /// Multiparts within each other: 1 is a multipart without another in it. At most [`Limits::DEEPEST`].
    pub depth: usize,
    /// Parts of one body, those of inner multiparts included.
    pub parts: usize,
}

impl Limits {
    /// A UDP datagram cannot be larger, and no SIP message of use is: a stream peer that announces
    /// more would make us buffer it.
    pub const MESSAGE: usize = 65_535;
    /// A Request-URI is copied into logs, dialogs and tables; nobody needs 8 KiB of it.
    pub const START_LINE: usize = 8_192;
    /// One field of many elements (`Route`, `Accept`) is scanned again on each typed read.
    pub const FIELD: usize = 16_384;
    /// Thousands of one-octet fields would cost 16 octets of table for 4 on the wire.
    pub const FIELDS: usize = 512;
    /// Taking thousands of Via or Route off one by one, or answering each of thousands of Accept, costs more
    /// than sending them. Max-Forwards lets a request collect at most 255 Via.
    pub const ELEMENTS: usize = 256;
    /// Each look-up of a parameter walks over those before it.
    pub const PARAMETERS: usize = 64;
    /// URIs are keys of tables and travel on into every dialog; 414 answers longer ones (RFC 3261 §21.4.15).
    pub const URI: usize = 4_096;
    /// Every level is searched for its boundary once more, so that depth multiplies the work for each octet.
    pub const DEPTH: usize = 4;
    /// A part costs a table of fields; its shortest form is a dozen octets on the wire.
    pub const PARTS: usize = 64;
    /// Reading a body recurses once a level: no option may make that overflow the stack.
    pub const DEEPEST: usize = 32;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: Self::MESSAGE,
            start_line: Self::START_LINE,
            field: Self::FIELD,
            fields: Self::FIELDS,
            elements: Self::ELEMENTS,
            parameters: Self::PARAMETERS,
            uri: Self::URI,
            depth: Self::DEPTH,
            parts: Self::PARTS,
        }
    }
}
