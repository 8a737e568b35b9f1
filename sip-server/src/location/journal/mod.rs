//! The durable location store: every change is written to the end of one file before it is acknowledged.
//!
//! The table in memory has everything, so the file is never searched: it is read once, at the start. That makes an append
//! the whole cost of a change, and all that wait for the disk at the same time share one write and one `fdatasync`. When the
//! file has become twice as long as what is alive in it, it is written anew beside the old one, part by part between the
//! appends, and takes its place by a rename.

mod format;
mod repair;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::MemoryLocation;
use super::disk::{Disk, Medium, RealDisk};
use super::record::Stamp;
use format::{Contents, FORMAT, Fault, FileHeader, HEADER};

pub use repair::{Checked, Repaired, check, list, read_octets, repair};

/// A file with less than this beyond what is alive in it is not written anew.
const SLACK: u64 = 1 << 20;

/// Octets copied from the old file to the new one in one step.
const TAIL: usize = 1 << 18;

/// Octets of the new file after which it is synced, so that the last sync takes no longer than those of a few changes.
const SYNC_EACH: u64 = 4 << 20;

/// When what was acknowledged is on the disk for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// Before the 200 goes: a power cut loses nothing that was acknowledged.
    #[default]
    BeforeAnswer,
    /// Within this time after it. The end of the process, by whatever signal, loses nothing; a power cut what was
    /// acknowledged within this time.
    Within(Duration),
}

/// Why a location file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system says no.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// There is nothing in it, not even a header.
    #[error("{} is empty and no location file; remove it to begin without bindings", .0.display())]
    Empty(PathBuf),
    /// It is something else.
    #[error("{} is no location file; name another, or remove it if it may go", .0.display())]
    Foreign(PathBuf),
    /// A newer version of this program wrote it.
    #[error("{path} has format {version} and this program reads {FORMAT}; use the version that wrote it or a newer one", path = .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// More bindings are live in it than the table may have: to forget some would be to break the word that was given for them.
    #[error("{path} has {found} bindings that are live and only {limit} may be: raise limits.bindings, or remove the file to begin without", path = .path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many are live in it; of those beyond twice the limit, how many are named.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// Something in it is not as it was written.
    #[error("{path} is damaged at octet {at}; `sip location repair {path}` saves what can be read", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
}

impl JournalError {
    fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Empty => Self::Empty(path),
            Fault::Foreign => Self::Foreign(path),
            Fault::Newer(version) => Self::Newer { path, version },
            Fault::Damaged(at) => Self::Damaged { path, at },
            Fault::Io(error) => Self::Io { path, error },
        }
    }
}

/// An open location file, to be written to. One process at a time has it.
pub struct Journal {
    disk: Box<dyn Disk>,
    path: PathBuf,
    file: Box<dyn Medium>,
    /// Held as long as the journal is open.
    _lock: File,
    /// Where the next record goes.
    end: u64,
    /// The number of the last record written.
    last: u64,
    /// A sync failed: what the system holds of the file may differ from what it once took.
    distrusted: bool,
    rewriting: Option<Rewriting>,
}

/// A new file on its way to take the place of the old one.
struct Rewriting {
    file: Box<dyn Medium>,
    header: FileHeader,
    end: u64,
    unsynced: u64,
    part: usize,
    /// From here on the old file has changes that the new one lacks.
    tail: u64,
    snapshot: bool,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens a file, or makes it, and fills `table` with what is in it.
    ///
    /// # Errors
    /// When it is in use, is no location file, or is damaged. Nothing in it was changed then.
    pub fn open(path: impl Into<PathBuf>, table: &mut MemoryLocation) -> Result<Self, JournalError> {
        Self::open_on(Box::new(RealDisk), path, table)
    }

    /// Likewise, and writes by way of `disk`.
    ///
    /// # Errors
    /// As [`open`](Journal::open).
    pub fn open_on(
        disk: Box<dyn Disk>,
        path: impl Into<PathBuf>,
        table: &mut MemoryLocation,
    ) -> Result<Self, JournalError> {
        let path = path.into();
        let fault = |error| JournalError::Io { path: path.clone(), error };
        let lock = lock(&path)?;
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => create(&*disk, &path, Stamp::default()).map_err(fault)?,
            Err(error) => return Err(fault(error)),
        }
        let reader = File::open(&path).map_err(fault)?;
        let mut left_out = 0_usize;
        let read = |file: File, table: &mut MemoryLocation, left_out: &mut usize| {
            format::load(file, |record| {
                let count = record.count();
                if !table.load(record) {
                    *left_out = left_out.saturating_add(count);
                }
            })
        };
        let loaded = read(reader, table, &mut left_out);
        let Contents { end, torn, stamp, .. } = loaded.map_err(|fault| JournalError::of(&path, fault))?;
        table.go_on(stamp);
        if left_out > 0 {
            // Now the time is known that the newest record was written at: what had ended by then makes room from the beginning.
            left_out = 0;
            let again = File::open(&path).map_err(fault)?;
            read(again, table, &mut left_out).map_err(|fault| JournalError::of(&path, fault))?;
        }
        let (found, limit) = match (table.loaded(), left_out) {
            (Ok(()), 0) => (0, 0),
            (Ok(()), more) => (table.len().saturating_add(more), table.limit()),
            (Err((found, limit)), more) => (found.saturating_add(more), limit),
        };
        if found > limit {
            return Err(JournalError::TooMany { path, found, limit });
        }
        let mut file = disk.open(&path, false).map_err(fault)?;
        if torn > 0 {
            tracing::warn!(path = %path.display(), octets = torn, "the last write was cut short and is removed");
            file.cut(end).map_err(fault)?;
        }
        Ok(Self {
            disk,
            path,
            file,
            _lock: lock,
            end,
            last: stamp.sequence,
            distrusted: false,
            rewriting: None,
        })
    }

    /// Appends records, the last of which has the number `last`. They outlive the end of this process.
    ///
    /// # Errors
    /// When the disk does not take them; then they are not there.
    pub fn append(&mut self, records: &[u8], last: u64) -> io::Result<()> {
        let written = self.file.write_at(records, self.end);
        if let Err(error) = written {
            // Should this fail as well, the next append writes over them; their numbers are too low to be taken for new.
            let _ = self.file.cut(self.end);
            return Err(error);
        }
        self.end = self.end.saturating_add(records.len() as u64);
        self.last = self.last.max(last);
        Ok(())
    }

    /// Appends records and returns when they outlive a power cut.
    ///
    /// # Errors
    /// When the disk does not take them; then they are not there.
    pub fn append_and_sync(&mut self, records: &[u8], last: u64) -> io::Result<()> {
        let end = self.end;
        self.append(records, last)?;
        self.sync().inspect_err(|_| {
            self.end = end;
            let _ = self.file.cut(end);
        })
    }

    /// Returns when everything outlives a power cut.
    ///
    /// # Errors
    /// When the disk fails. The file is then written anew as soon as there is a disk that takes it, since nobody knows what
    /// became of what was written before.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync().inspect_err(|_| self.distrusted = true)
    }

    /// Octets of the file.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.end
    }

    /// Whether there is enough in the file that is not alive, `live` octets being so, or it cannot be trusted.
    #[must_use]
    pub fn wants_rewriting(&self, live: u64) -> bool {
        self.rewriting.is_some()
            || self.distrusted
            || self.end > live.saturating_mul(2).saturating_add(HEADER as u64).saturating_add(SLACK)
    }

    /// Whether anything is in the file that is not alive.
    #[must_use]
    pub fn has_dead(&self, live: u64) -> bool {
        self.end > live.saturating_add(HEADER as u64)
    }

    /// Writes the file anew, one step of it: with each call one part of the table, which `copy` appends to the octets it is
    /// given, or `false` when there is no such part. `true`: the new file is in place.
    ///
    /// # Errors
    /// When the disk does not take it. The old file goes on; the next call begins again.
    pub fn rewrite(
        &mut self,
        stamp: Stamp,
        copy: impl FnOnce(usize, &mut Vec<u8>) -> bool,
    ) -> io::Result<bool> {
        let rewriting = match self.rewriting.take() {
            Some(rewriting) => rewriting,
            None => self.begin(stamp)?,
        };
        match self.step(rewriting, copy) {
            Ok(None) => Ok(true),
            Ok(Some(rewriting)) => {
                self.rewriting = Some(rewriting);
                Ok(false)
            }
            Err(error) => {
                let _ = self.disk.remove(&beside(&self.path, "new"));
                Err(error)
            }
        }
    }

    /// As [`rewrite`](Journal::rewrite), from a table that is at hand.
    ///
    /// # Errors
    /// As there.
    pub fn rewrite_from(&mut self, table: &MemoryLocation, now: Instant) -> io::Result<bool> {
        self.rewrite(table.stamp(now), |part, out| table.copy_part(part, out))
    }

    fn begin(&self, stamp: Stamp) -> io::Result<Rewriting> {
        let stamp = Stamp { sequence: self.last, ..stamp };
        let header = FileHeader { snapshot_end: HEADER as u64, stamp };
        let mut file = self.disk.open(&beside(&self.path, "new"), true)?;
        file.write_at(&header.octets(), 0)?;
        let end = HEADER as u64;
        Ok(Rewriting { file, header, end, unsynced: 0, part: 0, tail: self.end, snapshot: true })
    }

    fn step(
        &mut self,
        mut new: Rewriting,
        copy: impl FnOnce(usize, &mut Vec<u8>) -> bool,
    ) -> io::Result<Option<Rewriting>> {
        let mut octets = Vec::new();
        if new.snapshot {
            new.snapshot = copy(new.part, &mut octets);
            new.part = new.part.saturating_add(1);
            new.header.snapshot_end = new.end.saturating_add(octets.len() as u64);
        } else {
            let left = usize::try_from(self.end.saturating_sub(new.tail)).unwrap_or(TAIL).min(TAIL);
            octets.resize(left, 0);
            if self.file.read_at(&mut octets, new.tail)? < left {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            new.tail = new.tail.saturating_add(left as u64);
        }
        new.file.write_at(&octets, new.end)?;
        new.end = new.end.saturating_add(octets.len() as u64);
        new.unsynced = new.unsynced.saturating_add(octets.len() as u64);
        if new.snapshot || new.tail < self.end {
            if new.unsynced >= SYNC_EACH {
                new.file.sync()?;
                new.unsynced = 0;
            }
            return Ok(Some(new));
        }
        new.file.write_at(&new.header.octets(), 0)?;
        new.file.sync()?;
        self.disk.replace(&beside(&self.path, "new"), &self.path)?;
        (self.file, self.end, self.distrusted) = (new.file, new.end, false);
        Ok(None)
    }
}

/// A new file without bindings. It gets its name when it is whole.
fn create(disk: &dyn Disk, path: &Path, stamp: Stamp) -> io::Result<()> {
    let new = beside(path, "new");
    let mut file = disk.open(&new, true)?;
    file.write_at(&FileHeader { snapshot_end: HEADER as u64, stamp }.octets(), 0)?;
    file.sync()?;
    disk.replace(&new, path)
}

/// The lock is a file of its own, since the journal changes its file.
fn lock(path: &Path) -> Result<File, JournalError> {
    let name = beside(path, "lock");
    let fault = |error| JournalError::Io { path: name.clone(), error };
    let lock = File::options().write(true).create(true).truncate(false).open(&name).map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(fault(error)),
    }
}

/// `FILE.suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
