//! Redis, a store of bindings that servers share.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::dir::Dir;
use crate::ports::{free_tcp_and_udp_port, wait_until_listening};
use crate::process::Process;

/// The password of its one user.
const PASSWORD: &str = "correct-horse";

/// A running Redis that keeps what it has acknowledged in a file.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    port: u16,
    data: PathBuf,
    runs: u32,
    /// What it is told besides.
    more: Vec<String>,
    scheme: &'static str,
}

impl Redis {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// If that does not work.
    pub fn start(dir: &Dir) -> Self {
        let port = free_tcp_and_udp_port();
        Self::start_with(dir, port, "redis", vec!["--port".into(), port.to_string()])
    }

    /// The same over TLS alone.
    ///
    /// # Panics
    /// If that does not work.
    pub fn start_secure(dir: &Dir, certificates: &Certificates) -> Self {
        let port = free_tcp_and_udp_port();
        let text = |path: &Path| path.display().to_string();
        let more = [
            ["--port".into(), "0".into()],
            ["--tls-port".into(), port.to_string()],
            ["--tls-cert-file".into(), text(&certificates.certificate)],
            ["--tls-key-file".into(), text(&certificates.key)],
            ["--tls-ca-cert-file".into(), text(&certificates.ca)],
            ["--tls-auth-clients".into(), "no".into()],
        ];
        Self::start_with(dir, port, "rediss", more.concat())
    }

    fn start_with(dir: &Dir, port: u16, scheme: &'static str, more: Vec<String>) -> Self {
        let data = dir.file("redis");
        std::fs::create_dir_all(&data).expect("a folder for Redis");
        let mut redis = Self { process: None, port, data, runs: 0, more, scheme };
        redis.start_again(dir);
        redis
    }

    /// Starts it on the same port, with what it has kept.
    ///
    /// # Panics
    /// If it runs.
    pub fn start_again(&mut self, dir: &Dir) {
        assert!(self.process.is_none());
        let data = self.data.display().to_string();
        let arguments = [
            ["--bind", "127.0.0.1"],
            ["--dir", &data],
            ["--requirepass", PASSWORD],
            ["--save", ""],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
        ];
        let more = self.more.iter().map(String::as_str);
        self.runs += 1;
        let name = format!("redis-{}", self.runs);
        let mut process =
            Process::start(dir, &name, "redis-server", arguments.concat().into_iter().chain(more));
        process.wait_for("Ready to accept connections");
        wait_until_listening(self.port);
        self.process = Some(process);
    }

    /// The URL for a server.
    pub fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    /// The same with another password.
    pub fn url_with(&self, password: &str) -> String {
        format!("{}://:{password}@127.0.0.1:{}", self.scheme, self.port)
    }

    /// Runs a command; gives what it said.
    ///
    /// # Panics
    /// If Redis refuses it.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "-a", PASSWORD, "--no-auth-warning", "-e"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
        }
    }

    /// Lets it do nothing, nor end.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// The process's id.
    ///
    /// # Panics
    /// If it does not run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("a Redis that runs").id()
    }

    /// Kills it with all its connections.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.thaw();
        self.kill();
    }
}
