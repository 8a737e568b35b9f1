//! The `sip` program: server, phone and call.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::certificates::Certificates;
use crate::dir::{Dir, profile_dir, target_dir};
use crate::network::{FAR, on_far};
use crate::process::Process;

/// The program, built once in this build's own profile, or the one that `SIP_BIN` names.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("SIP_BIN", &["-p", "sip-cli", "--bin", "sip"], "sip"))
}

/// The program that the environment names, or the one that cargo builds with these arguments.
pub(crate) fn built(named: &str, arguments: &[&str], file: &str) -> PathBuf {
    if let Some(path) = env::var_os(named) {
        return path.into();
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet"]).args(arguments).arg("--target-dir").arg(target_dir());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    assert!(command.status().is_ok_and(|status| status.success()), "cargo cannot build {file}");
    profile_dir().join(file)
}

/// The address in a line `listening udp:127.0.0.1:40123`.
pub(crate) fn listening(process: &mut Process, transport: &str) -> SocketAddr {
    let wanted = format!("listening {transport}:");
    let line = process.wait_for(&wanted);
    let address = line.split(&wanted).nth(1).and_then(|rest| rest.split_whitespace().next());
    address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
}

/// A running `sip server`.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    /// Its UDP listener.
    pub udp: SocketAddr,
    /// Its TCP listener.
    pub tcp: SocketAddr,
    /// Its TLS listener, if it has one.
    pub tls: Option<SocketAddr>,
    /// Its WebSocket listeners, plain and secure, if it has them.
    pub ws: Option<(SocketAddr, SocketAddr)>,
}

impl Server {
    /// The same with TLS and WebSocket.
    pub fn start_secure(dir: &Dir, users: &[(String, String)], certificates: &Certificates) -> Self {
        let listen = ["tls", "ws", "wss"].map(|transport| format!("{transport}:127.0.0.1:0"));
        let certificates = certificates.arguments();
        let mut more: Vec<&str> = listen.iter().flat_map(|listen| ["--listen", listen]).collect();
        more.extend(certificates.iter().map(String::as_str));
        let mut server = Self::start(dir, Some(users), &more);
        server.tls = Some(listening(&mut server.process, "tls"));
        let ws = listening(&mut server.process, "ws");
        server.ws = Some((ws, listening(&mut server.process, "wss")));
        server
    }

    /// A server for the domain `example.test` with these users, or one that asks nobody for a password.
    pub fn start(dir: &Dir, users: Option<&[(String, String)]>, more: &[&str]) -> Self {
        Self::start_at(dir, "127.0.0.1", users, more)
    }

    /// The same at another address of this host.
    pub fn start_at(dir: &Dir, ip: &str, users: Option<&[(String, String)]>, more: &[&str]) -> Self {
        Self::start_in(dir, &[], ip, users, more)
    }

    /// The same with variables in its environment, `NAME=VALUE` each.
    pub fn start_in(
        dir: &Dir,
        environment: &[String],
        ip: &str,
        users: Option<&[(String, String)]>,
        more: &[&str],
    ) -> Self {
        let [udp, tcp] = ["udp", "tcp"].map(|transport| format!("{transport}:{ip}:0"));
        let mut arguments: Vec<OsString> =
            ["server", "--listen", &udp, "--listen", &tcp, "--domain", "example.test"]
                .map(OsString::from)
                .to_vec();
        match users {
            Some(users) => {
                let mut text = String::from("# users of this test\n");
                for (name, password) in users {
                    let _ = writeln!(text, "{name}:{password}");
                }
                arguments.push("--users".into());
                arguments.push(dir.write("users", text).into());
            }
            None => arguments.push("--no-auth".into()),
        }
        arguments.extend(more.iter().map(OsString::from));
        let all = environment.iter().map(OsString::from).chain([program().into()]).chain(arguments);
        let mut process = Process::start(dir, "server", "env", all);
        let udp = listening(&mut process, "udp");
        let tcp = listening(&mut process, "tcp");
        Self { process, udp, tcp, tls: None, ws: None }
    }

    /// A server that asks nobody for a password, on the far host of a [`Link`](crate::Link).
    pub fn start_far(dir: &Dir) -> Self {
        Self::start_in(dir, &["ip", "netns", "exec", "far"].map(String::from), FAR, None, &[])
    }

    /// A server by a file of settings, `server.toml`, which says all but where to listen: on free UDP and TCP ports.
    pub fn start_by(dir: &Dir, settings: &str) -> Self {
        Self::start_by_at(dir, 0, settings)
    }

    /// The same on this port, for who has to know it before.
    pub fn start_by_at(dir: &Dir, port: u16, settings: &str) -> Self {
        Self::write_settings(dir, port, settings);
        let arguments = ["server".into(), "--config".into(), dir.file("server.toml").into_os_string()];
        let mut process = Process::start(dir, "server", program(), arguments);
        let udp = listening(&mut process, "udp");
        let tcp = listening(&mut process, "tcp");
        Self { process, udp, tcp, tls: None, ws: None }
    }

    /// Has it read other settings: those of the same listeners that `start_by_at` has given it.
    ///
    /// # Panics
    /// If it does not take them.
    pub fn reload(&mut self, dir: &Dir, port: u16, settings: &str) {
        Self::write_settings(dir, port, settings);
        self.process.hang_up();
        let line = self.process.wait_for("reloaded");
        assert_eq!(line.trim(), "settings reloaded");
    }

    fn write_settings(dir: &Dir, port: u16, settings: &str) {
        let at = format!("127.0.0.1:{port}");
        dir.write("server.toml", format!("listen = [\"udp:{at}\", \"tcp:{at}\"]\n{settings}"));
    }

    /// Ends it in good order and gives what it has counted.
    ///
    /// # Panics
    /// If it ends otherwise.
    pub fn end(&mut self) -> Counts {
        assert_eq!(self.process.interrupt(), 0, "a server ends well");
        let line = self.process.wait_for("registrations granted");
        let [granted, proxied, refused, bindings] = numbers(&line);
        Counts { granted, proxied, refused, bindings }
    }

    /// `sip:127.0.0.1:PORT`, as `--proxy` wants it.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.udp)
    }
}

/// What a `sip server` has counted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// REGISTERs granted.
    pub granted: u64,
    /// Requests forwarded, each once.
    pub proxied: u64,
    /// Requests refused.
    pub refused: u64,
    /// Bindings that were left.
    pub bindings: u64,
}

/// The first numbers of a line.
pub(crate) fn numbers<const N: usize>(line: &str) -> [u64; N] {
    let all: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    all.get(..N).and_then(|some| some.try_into().ok()).unwrap_or_else(|| panic!("{N} numbers in {line:?}"))
}

/// A running `sip phone`.
#[derive(Debug)]
pub struct Phone {
    /// The process.
    pub process: Process,
    /// Its UDP listener.
    pub udp: SocketAddr,
}

impl Phone {
    /// A phone with these arguments, listening on a free UDP port.
    pub fn start<A: AsRef<std::ffi::OsStr>>(
        dir: &Dir,
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut all: Vec<OsString> = ["phone", "--listen", "udp:127.0.0.1:0"].map(OsString::from).to_vec();
        all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_os_string()));
        let mut process = Process::start(dir, name, program(), all);
        let udp = listening(&mut process, "udp");
        Self { process, udp }
    }

    /// Waits until it has registered.
    pub fn registered(mut self) -> Self {
        self.process.wait_for("registered");
        self
    }
}

/// A `sip call` that ran to its end.
#[derive(Debug)]
pub struct Call {
    /// The exit code.
    pub code: i32,
    /// The object that `--json` prints, if it printed one.
    pub json: Value,
}

impl Call {
    /// Starts a call; [`Call::end`] waits for its end.
    pub fn start<A: AsRef<std::ffi::OsStr>>(
        dir: &Dir,
        name: &str,
        uri: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Process {
        let own = ["--json", "--listen", "udp:127.0.0.1:0"].map(OsString::from);
        let more = arguments.into_iter().map(|argument| argument.as_ref().to_os_string());
        Self::start_in_words(dir, name, uri, own.into_iter().chain(more))
    }

    /// The same on the far host of a [`Link`](crate::Link).
    pub fn start_far(dir: &Dir, name: &str, uri: &str, arguments: &[&str]) -> Process {
        let listen = format!("udp:{FAR}:0");
        let own = ["call", uri, "--json", "--listen", &listen];
        let (program, all) = on_far(program(), own.iter().chain(arguments));
        Process::start(dir, name, program, all)
    }

    /// The same with the output for people, which tells of the call as it goes on.
    pub fn start_in_words<A: AsRef<std::ffi::OsStr>>(
        dir: &Dir,
        name: &str,
        uri: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Process {
        let mut all: Vec<OsString> = ["call", uri].map(OsString::from).to_vec();
        all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_os_string()));
        Process::start(dir, name, program(), all)
    }

    /// Waits for the end of a call that takes this long.
    pub fn end(mut process: Process, patience: Duration) -> Self {
        let code = process.finish_within(patience);
        let lines = process.lines();
        let json = lines.iter().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        Self { code, json }
    }

    /// Calls and waits.
    pub fn run<A: AsRef<std::ffi::OsStr>>(
        dir: &Dir,
        uri: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::end(Self::start(dir, "call", uri, arguments), Duration::from_secs(60))
    }

    /// A value of the object, by JSON pointer.
    pub fn value(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }
}
