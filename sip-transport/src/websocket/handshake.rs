//! The upgrade from HTTP (RFC 6455 §4) with the subprotocol `sip` (RFC 7118 §4.1).

use bytes::Bytes;
use websocket_wire::UpgradeError;
use websocket_wire::handshake;
pub use websocket_wire::handshake::{MAX_HEAD, Origins, Refusal};

use crate::path::WsFailure;

const SUBPROTOCOL: &str = "sip";

/// Reads a client's request. `None`: it is not whole yet. The response to send, and the octets of the request.
///
/// # Errors
/// When the request is to be refused.
pub fn accept(octets: &[u8], origins: &Origins) -> Result<Option<(Bytes, usize)>, Refusal> {
    handshake::accept(octets, SUBPROTOCOL, origins)
}

/// A client's request for the resource `/` of a host (with its port, if it is not the default one). The key is random.
#[must_use]
pub fn request(host: &str, key: [u8; 16]) -> Bytes {
    handshake::request(host, SUBPROTOCOL, key)
}

/// Reads the server's response to [`request`]. `None`: it is not whole yet. Else its octets.
///
/// # Errors
/// When it is no upgrade to WebSocket with the subprotocol `sip`.
pub fn accepted(octets: &[u8], key: [u8; 16]) -> Result<Option<usize>, WsFailure> {
    handshake::accepted(octets, SUBPROTOCOL, key).map_err(|error| match error {
        UpgradeError::Status(status) => WsFailure::Status(status),
        UpgradeError::Subprotocol => WsFailure::NotSip,
        UpgradeError::Malformed => WsFailure::BadUpgrade,
    })
}
