//! Short programs that teach the crates, from one message to a whole phone.
//!
//! | `cargo run -p examples --example` | shows | crate |
//! |---|---|---|
//! | `message` | reading, changing and printing a message | `sip-message` |
//! | `uac_options` | asking with a transaction | `sip-transaction` |
//! | `uas` | answering with transactions | `sip-transaction` |
//! | `phone` | a call in twenty lines | `sip-ua` |
//! | `echo_phone` | a phone that answers everybody | `sip-ua` |
//! | `video_echo` | a video call: encoded frames in and out | `sip-ua` |
//! | `registrar_proxy` | a server in ten lines | `sip-server` |
