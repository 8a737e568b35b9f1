//! WebSocket (RFC 6455) as protocols use it that put one message of theirs into each of its messages: SIP (RFC 7118) and MSRP
//! (RFC 7977). The upgrade and the frames, without any I/O.
//!
//! Of our own making because of what a library's stream costs: buffers for each connection whether anything comes or
//! not. Here an idle connection holds nothing but a few numbers, and a message is copied once.
//!
//! | part | what |
//! |---|---|
//! | [`handshake`] | the upgrade of HTTP, both sides, with one subprotocol |
//! | [`frame`] | frames to messages and back |

pub mod frame;
pub mod handshake;

pub use frame::{Decoder, Event, Masks, Opcode, Side, Violation};
pub use handshake::{Origins, Refusal, UpgradeError};
