//! PJSIP, the stack below many phones, by its Python module (`interop/pjsip`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::dir::Dir;
use crate::ports::{free_port, free_tcp_and_udp_port, wait_until_bound};
use crate::process::Process;
use crate::sound::write_tone;

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

/// A phone that calls and answers as it is told, plays a tone and records what it hears.
#[derive(Debug)]
pub struct Talker {
    /// The process: orders are typed, events are its lines (`interop/pjsip/talker.py`).
    pub process: Process,
    /// Where it is called, over UDP.
    pub uri: String,
    folder: PathBuf,
}

impl Talker {
    /// Starts it on free ports, with options such as `answer=200`.
    pub fn start(dir: &Dir, user: &str, hertz: f64, options: &[&str]) -> Self {
        let port = free_tcp_and_udp_port();
        let folder = dir.file(user);
        std::fs::create_dir_all(&folder).expect("a folder for PJSIP");
        let tone = folder.join("tone.wav");
        write_tone(&tone, hertz, 60.0);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pjsip/talker.py");
        let mut arguments = vec![script.to_owned(), "127.0.0.1".into(), port.to_string()];
        arguments.extend([tone, folder.clone()].map(|path| path.display().to_string()));
        arguments.extend([format!("user={user}"), format!("media={}", free_port(20))]);
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let mut process = Process::start(dir, &format!("pjsip-{user}"), Pjsip::PYTHON, arguments);
        process.wait_for("listening");
        wait_until_bound(port);
        Self { process, uri: format!("sip:{user}@127.0.0.1:{port}"), folder }
    }

    /// What it heard in a call. Ends it: it writes the end of its recordings then.
    ///
    /// # Panics
    /// If it does not end.
    pub fn heard(&mut self, call: u32) -> PathBuf {
        if self.process.is_running() {
            self.process.type_line("quit");
            assert_eq!(self.process.finish(), 0, "PJSIP ends well");
        }
        self.folder.join(format!("heard-{call}.wav"))
    }
}
