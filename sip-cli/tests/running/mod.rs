//! The program run by a test: to its end, or beside the test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// No wait of these tests is longer on a machine that is not broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs beside the test and is ended with it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    input: ChildStdin,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sip"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                if line.is_err() || sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, input }
    }

    /// The next line with this text; what comes before it is passed over.
    pub(crate) fn line(&self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {text:?}: {error}"),
            }
        }
    }

    /// Lines with these texts, in whatever order they come.
    pub(crate) fn lines_in_any_order(&self, texts: &[&str]) {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => missing.retain(|text| !line.contains(text)),
                Err(error) => panic!("no line with {missing:?}: {error}"),
            }
        }
    }

    /// The address in the first line.
    pub(crate) fn address(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        line.strip_prefix("listening udp:").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    #[cfg(unix)]
    pub(crate) fn hang_up(&self) {
        let killed = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Ends it as nothing can be prepared for (SIGKILL), and waits for that.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end; the exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn sip(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sip")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A `sip server` at a free port for the users alice and bob, whose passwords are `secret`, that keeps messages. `name` is that of the
/// test.
pub(crate) fn message_server(name: &str) -> Running {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (users, store) =
        (folder.join(format!("{name}-users.txt")), folder.join(format!("{name}-messages.sqlite")));
    std::fs::write(&users, "alice:secret\nbob:secret\n").unwrap();
    let _ = std::fs::remove_file(&store);
    let (users, store) = (users.to_str().unwrap(), store.to_str().unwrap());
    let listen = ["server", "--listen", "udp:127.0.0.1:0", "--domain", "127.0.0.1"];
    Running::start(&[&listen[..], &["--users", users, "--messages", store]].concat())
}
