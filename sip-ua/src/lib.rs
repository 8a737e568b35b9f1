//! A SIP phone as a library: registration, calls, hold, digits and media.

pub mod core;
