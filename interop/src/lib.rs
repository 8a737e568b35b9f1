//! Calls between this stack and programs that we did not write: SIPp, sipsak, baresip, linphonec, PJSIP, Kamailio, JsSIP, ffmpeg.
//!
//! Everything runs on loopback, on ports that were free a moment ago, for a bounded time, and each process is ended by
//! its own id. A program that is not installed makes a test say so and pass; with `INTEROP_REQUIRED=1` or `CI=true`
//! it fails instead. `INTEROP=off` leaves these tests out, `SIP_BIN` names another `sip` program to test,
//! `INTEROP_KEEP=1` keeps the logs of tests that pass.
//!
//! ```
//! use interop::{Dir, Process};
//! let dir = Dir::new("example");
//! let mut echo = Process::start(&dir, "echo", "echo", ["listening", "udp:127.0.0.1:5060"]);
//! assert_eq!(echo.wait_for("listening "), "listening udp:127.0.0.1:5060");
//! assert_eq!(echo.finish(), 0);
//! ```
// A library for tests: what goes wrong in it ends the test that asked, and what it prints explains a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod baresip;
mod certificates;
mod dir;
mod gate;
mod isolate;
mod kamailio;
mod linphone;
mod network;
mod ours;
mod own;
mod pjsip;
mod ports;
mod postgres;
mod process;
mod quota;
mod redis;
mod relay;
mod relay_tcp;
mod sipp;
mod sound;
mod streams;
mod strict;
mod talking;
mod uas;
mod usage;
mod web;
mod wire;

pub use baresip::Baresip;
pub use certificates::Certificates;
pub use dir::Dir;
pub use gate::{Turn, turn};
pub use isolate::isolated;
pub use kamailio::Kamailio;
pub use linphone::Linphone;
pub use network::{Bad, ELSEWHERE, FAR, Link, NEAR};
pub use ours::{Call, Counts, Phone, Server, program};
pub use own::{HELD_AND_BACK, Own, hear, hear_nothing, hold_and_resume, say, within};
pub use pjsip::{Pjsip, Talker};
pub use ports::{free_port, free_tcp_and_udp_port, wait_until_bound, wait_until_listening};
pub use postgres::Postgres;
pub use process::{PATIENCE, Process};
pub use quota::Quota;
pub use redis::Redis;
pub use relay::{Faults, Relayed, UdpRelay};
pub use relay_tcp::{Fate, TcpRelay};
pub use sipp::Sipp;
pub use sound::{assert_holds_tone, assert_sounds_like, pcap_alaw, write_tone};
pub use streams::{Came, Streams};
pub use strict::StrictRouter;
pub use talking::TalkingPhone;
pub use uas::{Answered, Uas};
pub use web::{WebChat, WebPhone};
pub use wire::{TcpPeer, UdpPeer, status_of};
