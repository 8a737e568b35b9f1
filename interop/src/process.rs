//! A program on the other end: started, listened to, ended by its own id.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::dir::Dir;

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Lines kept per process; a chatty one must not fill the memory.
const LINES: usize = 100_000;

#[derive(Debug, Default)]
struct Lines {
    all: Mutex<(Vec<String>, u8)>,
    more: Condvar,
}

/// A running program whose output is kept, in memory and in `NAME.log` of the test's folder.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Arc<Lines>,
    /// Lines that [`Process::wait_for`] has passed.
    read: usize,
    status: Option<i32>,
}

impl Process {
    /// Starts `program` in the test's folder.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        dir: &Dir,
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(dir.path()).env("TERM", "dumb");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0); // so that children of its own end with it
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: cannot start {}: {error}", program.as_ref().display()));
        let log = Arc::new(Mutex::new(File::create(dir.file(&format!("{name}.log"))).expect("a log")));
        let lines = Arc::new(Lines::default());
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
        for stream in streams.into_iter().flatten() {
            let (lines, log) = (Arc::clone(&lines), Arc::clone(&log));
            thread::spawn(move || keep(stream, &lines, &log));
        }
        let stdin = child.stdin.take();
        Self { name: name.into(), child, stdin, lines, read: 0, status: None }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    ///
    /// # Panics
    /// If the program does not listen any more.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("a program that reads its input");
    }

    /// The next line, after those that earlier calls found, that contains `text`.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_within(text, PATIENCE)
    }

    /// As [`Process::wait_for`], with a time of its own.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn wait_for_within(&mut self, text: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        let mut guard = self.lines.all.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (all, closed) = &*guard;
            if let Some(at) = all[self.read..].iter().position(|line| line.contains(text)) {
                let found = self.read + at;
                self.read = found + 1;
                return all[found].clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(*closed < 2, "{} ended without a line with {text:?}", self.name);
            assert!(!left.is_zero(), "{}: no line with {text:?} in {patience:?}", self.name);
            guard = self.lines.more.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.all.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Waits for the program's own end and gives its exit code (128 and the signal's number after a signal).
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn finish(&mut self) -> i32 {
        self.finish_within(PATIENCE)
    }

    /// As [`Process::finish`], with a time of its own.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn finish_within(&mut self, patience: Duration) -> i32 {
        assert!(self.ends_within(patience), "{} did not end in {patience:?}", self.name);
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut guard = self.lines.all.lock().unwrap_or_else(PoisonError::into_inner);
        while guard.1 < 2 && Instant::now() < deadline {
            // The last lines may still be in the pipe; a grandchild may hold it open for ever.
            let wait = Duration::from_millis(50);
            guard = self.lines.more.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.status.unwrap_or(-1)
    }

    /// Asks the program to end as Ctrl-C does, and gives its exit code.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn interrupt(&mut self) -> i32 {
        self.signal("-INT", &self.id().to_string());
        self.finish()
    }

    /// Ends the program without a word to it (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal("-KILL", &self.id().to_string());
        self.finish();
    }

    /// Asks the program to read its settings again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal("-HUP", &self.id().to_string());
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Whether the program has ended, waiting for it no longer than that.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.status.is_none() {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                self.status =
                    Some(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1));
                break;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn signal(&self, signal: &str, target: &str) {
        let _ = Command::new("kill").args([signal, "--", target]).stderr(Stdio::null()).status();
    }
}

/// Reads a stream to its end.
fn keep(stream: impl Read, lines: &Lines, log: &Mutex<File>) {
    let mut reader = BufReader::new(stream);
    let mut octets = Vec::new();
    while reader.read_until(b'\n', &mut octets).is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&octets).trim_end().to_string();
        let _ = writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        let mut all = lines.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.0.len() < LINES {
            all.0.push(line);
        }
        lines.more.notify_all();
        octets.clear();
    }
    lines.all.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
    lines.more.notify_all();
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ends_within(Duration::ZERO) {
            self.signal("-TERM", &self.id().to_string());
            if !self.ends_within(Duration::from_secs(3)) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        // Its group may outlive it: Kamailio's workers do when their parent was killed.
        self.signal("-KILL", &format!("-{}", self.id()));
        if thread::panicking() {
            let lines = self.lines();
            let shown = lines.len().saturating_sub(30);
            println!("---- last lines of {} (exit {:?})", self.name, self.status);
            for line in &lines[shown..] {
                println!("  {line}");
            }
        }
    }
}
