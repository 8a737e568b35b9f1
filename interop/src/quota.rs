//! A share of one processor: what a program can do at most does then not depend on what else this machine has to do.

use std::path::{Path, PathBuf};
use std::{fs, io, process, thread, time};

use crate::gate::is_required;
use crate::process::Process;

/// Of every so many microseconds, the processes get their share. Short, so that nobody waits for long.
const PERIOD: u32 = 5_000;

/// A control group of the kernel; it ends with this, after its processes.
#[derive(Debug)]
pub struct Quota(PathBuf);

impl Quota {
    /// A group that gets so much of a processor, in percent, or `None` if this user may make none.
    ///
    /// # Panics
    /// If there is none where all tests must run.
    pub fn new(percent: u32) -> Option<Self> {
        let made = Self::make(percent);
        if let Err(error) = &made {
            assert!(
                !is_required(),
                "this test needs the right to make a control group for processors: {error}"
            );
            println!("skipped: no control group for processors can be made here: {error}");
        }
        made.ok()
    }

    fn make(percent: u32) -> io::Result<Self> {
        let quota = PERIOD / 100 * percent;
        let name = format!("interop-{}", process::id());
        let old = Path::new("/sys/fs/cgroup/cpu");
        if old.is_dir() {
            let group = Self(old.join(name));
            fs::create_dir(&group.0)?;
            group.set("cpu.cfs_period_us", PERIOD)?;
            group.set("cpu.cfs_quota_us", quota)?;
            return Ok(group);
        }
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        let group = Self(root.join(name));
        fs::create_dir(&group.0)?;
        group.set("cpu.max", format!("{quota} {PERIOD}"))?;
        Ok(group)
    }

    /// Puts a process under it.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn add(&self, process: &Process) {
        self.set("cgroup.procs", process.id()).expect("a process in a control group");
    }

    fn set(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.0.join(file), value.to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Until the kernel has buried the last of its processes it stays.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(time::Duration::from_millis(20));
        }
    }
}
