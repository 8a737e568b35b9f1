//! linphonec, the phone of Linphone without a window.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::certificates::Certificates;
use crate::dir::Dir;
use crate::ports::{free_port, free_tcp_and_udp_port};
use crate::process::Process;
use crate::sound::write_tone;

/// Octets of a WAV file before its samples; the last four say how many follow.
const HEADER: usize = 44;

/// A linphonec that has registered at a server for `example.test`, plays a tone and records what it hears.
#[derive(Debug)]
pub struct Linphone {
    /// The process.
    pub process: Process,
    recording: PathBuf,
}

impl Linphone {
    /// Starts it for a user whose password is `USER-secret`, and waits until it has registered over UDP.
    pub fn start(dir: &Dir, server: SocketAddr, user: &str, hertz: f64) -> Self {
        let config = format!("sip_port={}\nsip_tcp_port=0\nsip_tls_port=0", free_tcp_and_udp_port());
        Self::with(dir, server, "udp", &config, user, hertz)
    }

    /// The same, which publishes that it is there and watches a friend of its domain.
    pub fn start_watching(dir: &Dir, server: SocketAddr, user: &str, friend: &str) -> Self {
        let ports = format!("sip_port={}\nsip_tcp_port=0\nsip_tls_port=0", free_tcp_and_udp_port());
        Self::set_up(dir, server, "udp", &ports, user, 440.0, |config| {
            let friend = format!("[friend_0]\nurl=<sip:{friend}@example.test>\npol=accept\nsubscribe=1\n");
            format!("{}\n{friend}", config.replace("publish=0", "publish=1"))
        })
    }

    /// The same in another domain.
    pub fn start_in_domain(dir: &Dir, server: SocketAddr, user: &str, domain: &str) -> Self {
        let ports = format!("sip_port={}\nsip_tcp_port=0\nsip_tls_port=0", free_tcp_and_udp_port());
        Self::set_up(dir, server, "udp", &ports, user, 440.0, |config| config.replace("example.test", domain))
    }

    /// The same over TCP.
    pub fn start_over_tcp(dir: &Dir, server: SocketAddr, user: &str, hertz: f64) -> Self {
        let config = format!("sip_port=0\nsip_tcp_port={}\nsip_tls_port=0", free_tcp_and_udp_port());
        Self::with(dir, server, "tcp", &config, user, hertz)
    }

    /// The same over TLS, believing the authority of the test: its library knows no addresses in certificates.
    pub fn start_over_tls(
        dir: &Dir,
        server: SocketAddr,
        user: &str,
        hertz: f64,
        certificates: &Certificates,
    ) -> Self {
        let config = format!(
            "sip_port=0\nsip_tcp_port=0\nsip_tls_port={}\nroot_ca={}\nverify_server_certs=1\nverify_server_cn=0",
            free_tcp_and_udp_port(),
            certificates.ca.display()
        );
        Self::with(dir, server, "tls", &config, user, hertz)
    }

    fn with(dir: &Dir, server: SocketAddr, transport: &str, ports: &str, user: &str, hertz: f64) -> Self {
        Self::set_up(dir, server, transport, ports, user, hertz, |config| config)
    }

    fn set_up(
        dir: &Dir,
        server: SocketAddr,
        transport: &str,
        ports: &str,
        user: &str,
        hertz: f64,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let home = dir.file("linphone");
        // Where it keeps its state: without the folder it does not start.
        std::fs::create_dir_all(home.join(".local/share/linphone")).expect("folders of linphonec");
        let config = include_str!("../configs/linphonec.rc")
            .replace("@PORTS@", ports)
            .replace("@TRANSPORT@", transport)
            .replace("@MEDIA@", &free_port(2).to_string())
            .replace("@SERVER@", &server.to_string())
            .replace("@USER@", user);
        let config = dir.write("linphonec.rc", change(config));
        let (tone, recording) = (home.join("tone.wav"), home.join("heard.wav"));
        write_tone(&tone, hertz, 60.0);
        let arguments = [
            format!("HOME={}", home.display()),
            "linphonec".into(),
            "-c".into(),
            config.display().to_string(),
            "-d".into(),
            "6".into(),
            "-l".into(),
            dir.file("linphone-debug.log").display().to_string(),
        ];
        let mut process = Process::start(dir, "linphone-log", "env", arguments);
        for command in ["soundcard use files".into(), format!("play {}", tone.display())] {
            process.type_line(&command);
        }
        process.type_line(&format!("record {}", recording.display()));
        process.wait_for("Using wav files");
        loop {
            process.type_line("status register");
            // Either "registered, identity=..." or "registered=0".
            if process.wait_for("registered").contains("registered, identity") {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        Self { process, recording }
    }

    /// What it heard. Ends it: it writes the end of its recording then.
    ///
    /// # Panics
    /// If it does not end.
    pub fn heard(&mut self) -> PathBuf {
        self.process.type_line("quit");
        assert_eq!(self.process.finish(), 0, "linphonec ends well");
        // Its header counts itself among the samples.
        let mut octets = std::fs::read(&self.recording).expect("linphonec's recording");
        let samples = u32::try_from(octets.len().saturating_sub(HEADER)).expect("a short recording");
        octets[HEADER - 4..HEADER].copy_from_slice(&samples.to_le_bytes());
        std::fs::write(&self.recording, octets).expect("linphonec's recording");
        self.recording.clone()
    }
}
