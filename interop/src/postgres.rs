//! `PostgreSQL`, a database of users.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::certificates::Certificates;
use crate::dir::Dir;
use crate::ports::free_tcp_and_udp_port;
use crate::process::Process;

/// A running database server that believes everybody who he is, with TLS.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    port: u16,
    bin: PathBuf,
    data: PathBuf,
    runs: u32,
}

/// A command as somebody else than root, whom the programs of the database refuse to serve.
fn as_user(program: &Path) -> Vec<String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    let user = if root { vec!["runuser", "-u", "postgres", "--"] } else { Vec::new() };
    user.into_iter().map(String::from).chain([program.display().to_string()]).collect()
}

fn run(arguments: &[String]) -> String {
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("a program");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

impl Postgres {
    /// Where Debian has the programs of its version.
    pub fn programs() -> Option<PathBuf> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .filter(|bin| bin.join("postgres").is_file())
            .max()
    }

    /// Makes a database and starts its server on a free port.
    ///
    /// # Panics
    /// If that does not work.
    pub fn start(dir: &Dir, certificates: &Certificates) -> Self {
        let bin = Self::programs().expect("PostgreSQL");
        // Not in the test's folder, which another user may not reach.
        let name = format!("sip-interop-postgres-{}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&data);
        let mut initdb = as_user(&bin.join("initdb"));
        let place = data.display().to_string();
        initdb.extend(["-D", &place, "-A", "trust", "-U", "sip", "--no-sync"].map(String::from));
        run(&initdb);
        let mut database = Self { process: None, port: free_tcp_and_udp_port(), bin, data, runs: 0 };
        for (from, name) in [(&certificates.certificate, "server.crt"), (&certificates.key, "server.key")] {
            let to = database.data.join(name);
            std::fs::copy(from, &to).expect("a file of the database");
            let owner = format!("--reference={place}");
            run(&["chown", &owner, &to.display().to_string()].map(String::from));
            run(&["chmod", "600", &to.display().to_string()].map(String::from));
        }
        database.start_again(dir);
        database
    }

    /// Starts it on the same port.
    ///
    /// # Panics
    /// If it runs.
    pub fn start_again(&mut self, dir: &Dir) {
        assert!(self.process.is_none());
        let mut server = as_user(&self.bin.join("postgres"));
        let port = format!("port={}", self.port);
        server.extend(["-D".into(), self.data.display().to_string()]);
        for option in ["listen_addresses=127.0.0.1", &port, "unix_socket_directories=", "fsync=off", "ssl=on"]
        {
            server.extend(["-c".into(), option.into()]);
        }
        self.runs += 1;
        let name = format!("postgres-{}", self.runs);
        let mut process = Process::start(dir, &name, &server[0], &server[1..]);
        process.wait_for("ready to accept connections");
        self.process = Some(process);
    }

    /// The URL for the server.
    pub fn url(&self, more: &str) -> String {
        format!("postgres://sip@127.0.0.1:{}/postgres{more}", self.port)
    }

    /// Runs SQL.
    ///
    /// # Panics
    /// If the database refuses it.
    pub fn sql(&self, text: &str) {
        let psql = self.bin.join("psql").display().to_string();
        let url = self.url("?sslmode=disable");
        run(&[&psql, "-q", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", text].map(String::from));
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid")).expect("a server");
        let pid = pid.lines().next().expect("its id").to_owned();
        let _ = Command::new("pkill").args([signal, "-P", &pid]).status();
        run(&["kill", signal, &pid].map(String::from));
    }

    /// Lets nothing of it run, nor end.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
        // Who has started it has stopped with it.
        if let Some(process) = &self.process {
            run(&["kill", "-CONT", &process.id().to_string()].map(String::from));
        }
    }

    /// Ends it with all its connections.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) {
        self.signal("-INT");
        let mut process = self.process.take().expect("a server");
        assert_eq!(process.finish(), 0, "a database ends well");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() && self.data.join("postmaster.pid").exists() {
            self.thaw();
            self.signal("-INT");
        }
        self.process = None;
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
