//! SIPp, the traffic generator.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::dir::Dir;
use crate::network::{FAR, on_far};
use crate::ports::{free_port, free_tcp_and_udp_port, wait_until_bound, wait_until_listening};
use crate::process::Process;

/// A run of SIPp in the making: bounded in calls and time, on ports of its own.
#[derive(Debug)]
pub struct Sipp {
    arguments: Vec<OsString>,
    /// Its SIP port.
    pub port: u16,
    /// Its first media port.
    pub media_port: u16,
    /// Seconds after which it gives up.
    seconds: u64,
    calls: u32,
    tcp: bool,
    ip: &'static str,
}

impl Sipp {
    fn new(target: Option<SocketAddr>, scenario: [OsString; 2]) -> Self {
        let (port, media_port) = (free_tcp_and_udp_port(), free_port(6));
        let mut arguments: Vec<OsString> = target.iter().map(|target| target.to_string().into()).collect();
        arguments.extend(scenario);
        for (name, port) in [("-p", port), ("-mp", media_port)] {
            arguments.extend([name.into(), port.to_string().into()]);
        }
        arguments.extend(["-nostdin", "-skip_rlimit", "-timeout_error", "-trace_err"].map(OsString::from));
        Self { arguments, port, media_port, seconds: 60, calls: 1, tcp: false, ip: "127.0.0.1" }
    }

    /// A built-in scenario against a target (`uac`, `uac_pcap`), or waiting for calls (`uas`).
    pub fn builtin(name: &str, target: Option<SocketAddr>) -> Self {
        Self::new(target, ["-sn".into(), name.into()])
    }

    /// A scenario of our own, `scenarios/NAME.xml`.
    pub fn scenario(name: &str, target: Option<SocketAddr>) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.xml"));
        assert!(path.is_file(), "no scenario {}", path.display());
        Self::new(target, ["-sf".into(), path.into()])
    }

    /// A scenario of somebody else, by its path; it runs where it lies, beside its data.
    ///
    /// # Panics
    /// If there is none.
    pub fn file(path: &Path, target: Option<SocketAddr>) -> Self {
        assert!(path.is_file(), "no scenario {}", path.display());
        Self::new(target, ["-sf".into(), path.into()])
    }

    /// More arguments.
    #[must_use]
    pub fn with<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// So many calls at so many per second, and no more than this time for all of them.
    #[must_use]
    pub fn calls(mut self, calls: u32, per_second: u32, seconds: u64) -> Self {
        (self.calls, self.seconds) = (calls, seconds);
        self.with(["-r", &per_second.to_string()])
    }

    /// Over TCP, all calls on one connection.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self.with(["-t", "t1"])
    }

    /// On the far host of a [`crate::Link`], from where it calls.
    #[must_use]
    pub fn on_far(mut self) -> Self {
        self.ip = FAR;
        self
    }

    /// It loses this share of what it sends and of what it receives, and repeats what it sends for 32 seconds.
    #[must_use]
    pub fn losing(self, percent: u32) -> Self {
        self.with(["-lost", &percent.to_string()]).patient()
    }

    /// Repeats as often as RFC 3261 has it: SIPp gives up after half of that.
    #[must_use]
    pub fn patient(self) -> Self {
        self.with(["-max_invite_retrans", "7", "-max_non_invite_retrans", "11"])
    }

    /// The user part that is called.
    #[must_use]
    pub fn service(self, user: &str) -> Self {
        self.with(["-s", user])
    }

    /// Starts it; a waiting one listens when this returns.
    pub fn start(self, dir: &Dir, name: &str) -> Process {
        let waits = self.arguments.first().is_none_or(|first| first.to_string_lossy().starts_with('-'));
        let errors = dir.file(&format!("{name}-errors.log"));
        let mut arguments = self.arguments;
        arguments.extend(["-m".into(), self.calls.to_string().into()]);
        arguments.extend([
            "-timeout".into(),
            self.seconds.to_string().into(),
            "-error_file".into(),
            errors.into(),
        ]);
        for option in ["-i", "-mi"] {
            arguments.extend([option.into(), self.ip.into()]);
        }
        if self.ip == FAR {
            assert!(!waits, "this host cannot see when SIPp listens on another");
            let (program, arguments) = on_far("sipp", arguments);
            return Process::start(dir, name, program, arguments);
        }
        let process = Process::start(dir, name, "sipp", arguments);
        match waits {
            true if self.tcp => wait_until_listening(self.port),
            true => wait_until_bound(self.port),
            false => {}
        }
        process
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If a call failed; what SIPp says about it is in the message.
    pub fn run(self, dir: &Dir, name: &str) {
        let patience = Duration::from_secs(self.seconds + 15);
        let process = self.start(dir, name);
        Self::succeed(process, dir, name, patience);
    }

    /// Waits for the end of a run, checks that no call failed, and gives it back for what it printed.
    ///
    /// # Panics
    /// If one did.
    pub fn succeed(mut process: Process, dir: &Dir, name: &str, patience: Duration) -> Process {
        let code = process.finish_within(patience);
        let errors = std::fs::read_to_string(dir.file(&format!("{name}-errors.log"))).unwrap_or_default();
        let first: String = errors.lines().take(40).map(|line| format!("\n  {line}")).collect();
        assert_eq!(code, 0, "{name}: SIPp counted failed calls{first}");
        process
    }
}
