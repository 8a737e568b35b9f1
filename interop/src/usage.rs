//! What a process uses, as Linux tells it.

use std::time::Duration;

use crate::process::Process;

impl Process {
    /// Bytes of resident memory.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn memory(&self) -> u64 {
        let status = self.told("status");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmRSS") * 1024
    }

    /// Processor time so far, in steps of 10 ms.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn processor_time(&self) -> Duration {
        let stat = self.told("stat");
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("descriptors").count()
    }

    fn told(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.id())).expect("a running process, on Linux")
    }
}
