//! baresip, a phone.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;

use crate::certificates::Certificates;
use crate::dir::Dir;
use crate::ports::{free_port, free_tcp_and_udp_port, wait_until_bound, wait_until_listening};
use crate::process::Process;
use crate::sound::write_tone;

/// Calls at once, if nothing else is wanted.
const CALLS: usize = 8;

/// A running baresip that answers every call, plays a tone and records what it hears.
#[derive(Debug)]
pub struct Baresip {
    /// The process.
    pub process: Process,
    /// Its SIP port on loopback.
    pub port: u16,
    recordings: PathBuf,
    control: TcpStream,
}

impl Baresip {
    /// Starts it with a line of its `accounts` file, a tone of `hertz` to play, and commands to begin with.
    pub fn start(dir: &Dir, account: &str, hertz: f64, commands: &[&str]) -> Self {
        Self::with(dir, account, hertz, commands, "", CALLS)
    }

    /// The same, which watches who is in this line of its contacts. Its module for waiting messages is not loaded: in 1.0.0 it now
    /// and then does nothing but subscribe, some thousand times a second, and answers nobody.
    pub fn start_with_contact(dir: &Dir, account: &str, contact: &str) -> Self {
        let modules = "module_app\tcontact.so\nmodule_app\tpresence.so\n";
        std::fs::create_dir_all(dir.file("baresip")).expect("folders of baresip");
        std::fs::write(dir.file("baresip").join("contacts"), format!("{contact}\n"))
            .expect("baresip's contacts");
        Self::with(dir, account, 440.0, &[], modules, CALLS)
    }

    /// The same for so many calls at once; it records none of them.
    pub fn start_for_many(dir: &Dir, account: &str, calls: usize) -> Self {
        Self::with(dir, account, 440.0, &[], "", calls)
    }

    /// The same with TLS, at the port after [`Baresip::port`].
    pub fn start_with_tls(
        dir: &Dir,
        account: &str,
        hertz: f64,
        commands: &[&str],
        certificates: &Certificates,
    ) -> Self {
        let files = [("sip_certificate", &certificates.both), ("sip_cafile", &certificates.ca)];
        let config: String =
            files.iter().map(|(name, file)| format!("{name}\t{}\n", file.display())).collect();
        Self::with(dir, account, hertz, commands, &config, CALLS)
    }

    /// The same with modules of its own, such as `g722` and `srtp`.
    pub fn start_with_modules(dir: &Dir, account: &str, hertz: f64, modules: &[&str]) -> Self {
        // What it plays and records stays at 8 kHz.
        let rates = "ausrc_srate\t8000\nauplay_srate\t8000\nausrc_channels\t1\nauplay_channels\t1\n";
        let modules: String = modules.iter().map(|module| format!("module\t{module}.so\n")).collect();
        Self::with(dir, account, hertz, &[], &format!("{rates}{modules}"), CALLS)
    }

    fn with(dir: &Dir, account: &str, hertz: f64, commands: &[&str], more: &str, calls: usize) -> Self {
        let home = dir.file("baresip");
        let recordings = home.join("recordings");
        std::fs::create_dir_all(&recordings).expect("folders of baresip");
        // Two for a call, and as many to choose from.
        let ports = u16::try_from(calls * 4).expect("calls that have ports");
        let (port, control, media) = (free_tcp_and_udp_port(), free_tcp_and_udp_port(), free_port(ports));
        let tone = home.join("tone.wav");
        write_tone(&tone, hertz, 60.0);
        let config = include_str!("../configs/baresip.config")
            .replace("@PORT@", &port.to_string())
            .replace("@CONTROL@", &control.to_string())
            .replace("@CALLS@", &calls.to_string())
            .replace("@MEDIA@", &format!("{media}-{}", media + ports))
            .replace("@DIR@", &home.display().to_string());
        let mut config = format!("{config}{more}");
        if calls > CALLS {
            config = config.replace("module\t\t\tsndfile.so\n", "");
        }
        std::fs::write(home.join("config"), config).expect("baresip's configuration");
        std::fs::write(home.join("accounts"), format!("{account}\n")).expect("baresip's account");
        if !home.join("contacts").exists() {
            std::fs::write(home.join("contacts"), "").expect("baresip's contacts");
        }
        let mut arguments =
            vec!["-4".to_string(), "-f".into(), home.display().to_string(), "-t".into(), "60".into()];
        for command in commands {
            arguments.extend(["-e".into(), (*command).into()]);
        }
        let process = Process::start(dir, "baresip-log", "baresip", arguments);
        wait_until_bound(port);
        wait_until_listening(control);
        let control = TcpStream::connect((Ipv4Addr::LOCALHOST, control)).expect("baresip's control");
        Self { process, port, recordings, control }
    }

    /// Gives it a command with its parameter, such as `hold` or `sndcode` and `5`. What comes of it, its log tells.
    ///
    /// # Panics
    /// If it is gone.
    pub fn order(&mut self, command: &str, parameter: &str) {
        let order = serde_json::json!({ "command": command, "params": parameter }).to_string();
        write!(self.control, "{}:{order},", order.len()).expect("baresip's control"); // a netstring
    }

    /// What it heard in its last call. Ends it: it writes the end of its recordings then.
    ///
    /// # Panics
    /// If it recorded nothing, or does not end.
    pub fn heard(&mut self) -> PathBuf {
        if self.process.is_running() {
            assert_eq!(self.process.interrupt(), 0, "baresip ends well");
        }
        let all =
            std::fs::read_dir(&self.recordings).expect("recordings").flatten().map(|entry| entry.path());
        let mut decoded: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().contains("-dec")).collect();
        decoded.sort();
        decoded.pop().expect("baresip recorded nothing")
    }
}
