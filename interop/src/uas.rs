//! `examples/uas.rs`, which answers every call on the transaction layer alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::dir::Dir;
use crate::network::{FAR, on_far};
use crate::ours::{built, listening, numbers};
use crate::process::Process;

/// The program, built once, or the one that `UAS_BIN` names.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("UAS_BIN", &["-p", "examples", "--example", "uas"], "examples/uas"))
}

/// A running `uas`.
#[derive(Debug)]
pub struct Uas {
    /// The process.
    pub process: Process,
    /// Its UDP listener.
    pub udp: SocketAddr,
    /// Its TCP listener.
    pub tcp: SocketAddr,
}

/// What a [`Uas`] has counted, repetitions left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// INVITEs.
    pub calls: u64,
    /// 2xx whose ACK came before the BYE.
    pub acknowledged: u64,
    /// BYEs.
    pub ended: u64,
    /// Requests of other methods.
    pub others: u64,
}

impl Uas {
    /// Starts it on free ports of this address, which is one of this host's or [`FAR`].
    pub fn start(dir: &Dir, ip: &str) -> Self {
        let listen = ["udp", "tcp"].map(|transport| format!("{transport}:{ip}:0"));
        let arguments = listen.iter().flat_map(|listen| ["--listen", listen]);
        let mut process = if ip == FAR {
            let (program, arguments) = on_far(program(), arguments);
            Process::start(dir, "uas", program, arguments)
        } else {
            Process::start(dir, "uas", program(), arguments)
        };
        let udp = listening(&mut process, "udp");
        let tcp = listening(&mut process, "tcp");
        Self { process, udp, tcp }
    }

    /// Ends it and gives what it has counted.
    ///
    /// # Panics
    /// If it ends otherwise than well.
    pub fn end(&mut self) -> Answered {
        assert_eq!(self.process.interrupt(), 0, "the UAS ends well");
        let line = self.process.wait_for(" calls, ");
        let [calls, acknowledged, ended, others] = numbers(&line);
        Answered { calls, acknowledged, ended, others }
    }
}
