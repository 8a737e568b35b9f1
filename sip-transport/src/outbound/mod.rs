//! Client-initiated connections (RFC 5626): a phone keeps a flow to its server alive and open, and the server sends over that
//! flow whatever is for the phone. NATs and firewalls between them see one connection from inside.
//!
//! | part | what | RFC 5626 |
//! |---|---|---|
//! | [`KeepAlive`] | pings over one flow, and finds out that it is dead | §4.4, RFC 6223 §5 |
//! | [`Recovery`] | how long to wait before the next try to replace a flow | §4.5 |
//! | `FlowTokens` | a flow as the user part of a URI, for Path and Record-Route (feature `flow-tokens`) | §5.2 |
//!
//! The driver answers pings by itself: CRLF to a double CRLF (§5.4), a Binding response to a STUN Binding request (§8).
//! [`InstanceId`](sip_message::headers::InstanceId) and the parameters of Contact are in `sip-message`.

mod keep_alive;
mod recovery;
#[cfg(feature = "flow-tokens")]
mod token;

pub use keep_alive::{Every, Failure, KeepAlive, News, PING, Step};
pub use recovery::Recovery;
#[cfg(feature = "flow-tokens")]
pub use token::{BadToken, FlowTokens};
