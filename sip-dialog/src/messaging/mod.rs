//! What instant messages carry besides their text, as plain values without I/O.
//!
//! | what | body | document |
//! |---|---|---|
//! | [`cpim`] | `message/cpim`: who writes to whom, and when | RFC 3862 |
//! | [`imdn`] | `message/imdn+xml`: whether a message was delivered and shown | RFC 5438 |
//! | [`composing`] | `application/im-iscomposing+xml`: somebody is typing | RFC 3994 |

pub mod composing;
pub mod cpim;
pub mod imdn;
