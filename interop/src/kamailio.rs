//! Kamailio, a registrar and proxy.

use std::net::{Ipv4Addr, SocketAddr};

use crate::dir::Dir;
use crate::ports::{free_tcp_and_udp_port, wait_until_bound};
use crate::process::Process;

/// A running Kamailio that asks for digest: every user's password is `secret`, the realm `127.0.0.1`.
#[derive(Debug)]
pub struct Kamailio {
    /// The process.
    pub process: Process,
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
}

impl Kamailio {
    /// Starts it on a free port.
    pub fn start(dir: &Dir) -> Self {
        Self::with_config(dir, include_str!("../configs/kamailio.cfg"))
    }

    /// Starts it on a free port, which stands for `@PORT@` in the configuration.
    pub fn with_config(dir: &Dir, config: &str) -> Self {
        let port = free_tcp_and_udp_port();
        let run = dir.file("kamailio");
        std::fs::create_dir_all(&run).expect("Kamailio's folder");
        let config = config.replace("@PORT@", &port.to_string());
        let config = dir.write("kamailio.cfg", config);
        let arguments = [
            "-f".into(),
            config.display().to_string(),
            "-DD".into(),
            "-E".into(),
            "-m".into(),
            "64".into(),
            "-M".into(),
            "8".into(),
            "-P".into(),
            run.join("pid").display().to_string(),
            "-Y".into(),
            run.display().to_string(),
        ];
        let program = if std::path::Path::new("/usr/sbin/kamailio").is_file() {
            "/usr/sbin/kamailio"
        } else {
            "kamailio"
        };
        let process = Process::start(dir, "kamailio-log", program, arguments);
        wait_until_bound(port);
        Self { process, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    /// `sip:127.0.0.1:PORT`.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.address)
    }
}
