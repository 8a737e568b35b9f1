//! WebSocket as SIP uses it (RFC 7118): the crate [`websocket_wire`], with the subprotocol `sip`.

pub mod handshake;

pub use handshake::{Origins, Refusal};
pub use websocket_wire::{Decoder, Event, Masks, Opcode, Side, Violation, frame};
