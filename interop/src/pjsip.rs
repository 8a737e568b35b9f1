//! PJSIP, the stack below many phones, by its Python module (`interop/pjsip`).

use std::net::{Ipv4Addr, SocketAddr};

use crate::dir::Dir;
use crate::ports::{free_tcp_and_udp_port, wait_until_bound};
use crate::process::Process;

/// A phone that answers OPTIONS and refuses calls.
#[derive(Debug)]
pub struct Pjsip {
    /// The process.
    pub process: Process,
    /// Where it listens, over UDP.
    pub address: SocketAddr,
}

impl Pjsip {
    /// What has to be there: a Python with `pjsua2` (CONTRIBUTING.md).
    pub const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pjsip/venv/bin/python");

    /// Starts it on a free port.
    pub fn start(dir: &Dir) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_and_udp_port()));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pjsip/phone.py");
        let arguments = [script.into(), address.ip().to_string(), address.port().to_string()];
        let mut process = Process::start(dir, "pjsip-log", Self::PYTHON, arguments);
        process.wait_for("listening");
        wait_until_bound(address.port());
        Self { process, address }
    }
}
