//! `examples/talking_phone.rs`, which plays to every caller and records it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::dir::Dir;
use crate::ours::{built, listening};
use crate::process::Process;

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        built("TALKING_BIN", &["-p", "examples", "--example", "talking_phone"], "examples/talking_phone")
    })
}

/// A running `talking_phone`.
#[derive(Debug)]
pub struct TalkingPhone {
    /// The process.
    pub process: Process,
    /// Its UDP listener.
    pub udp: SocketAddr,
}

impl TalkingPhone {
    /// Starts it on a free port, with this tone to play.
    pub fn start(dir: &Dir, hertz: f64) -> Self {
        let arguments = ["udp:127.0.0.1:0".to_owned(), hertz.to_string()];
        let mut process = Process::start(dir, "talking-phone", program(), arguments);
        let udp = listening(&mut process, "udp");
        Self { process, udp }
    }

    /// Ends it and gives what it says of all calls.
    ///
    /// # Panics
    /// If it ends otherwise than well.
    pub fn end(&mut self) -> String {
        assert_eq!(self.process.interrupt(), 0, "the phone ends well");
        self.process.wait_for(" packets sent, ")
    }
}
