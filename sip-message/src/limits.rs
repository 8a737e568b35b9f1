//! What a peer may make this parser hold.

/// Bounds on a message. Each default is a named constant with the attack it stops beside it.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: Self::MESSAGE,
            start_line: Self::START_LINE,
            field: Self::FIELD,
            fields: Self::FIELDS,
        }
    }
}
