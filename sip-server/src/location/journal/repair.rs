//! Looking into a location file, and saving what can be read of a damaged one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::{self, Contents, FileHeader, HEADER};
use super::{JournalError, beside, lock};
use crate::location::disk::{Disk as _, RealDisk};
use crate::location::record::{Record, Stamp};

/// What a check has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Addresses-of-record.
    pub addresses: u64,
    /// Their bindings, those that have ended since included.
    pub bindings: u64,
    /// Records, older ones of the same addresses included.
    pub records: u64,
    /// Octets at the end that a crash has cut short: the next start removes them.
    pub torn: u64,
    /// Records whose checksum fits, but not what is in them: look-ups of these addresses-of-record fail.
    pub unreadable: u64,
}

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Addresses-of-record saved.
    pub addresses: u64,
    /// Their bindings.
    pub bindings: u64,
    /// Octets that could not be read. What they said of an address-of-record is lost, and what an older record says of it counts.
    pub lost: u64,
    /// The damaged file.
    pub kept: PathBuf,
}

/// The records of a file that are alive, in the order of their addresses-of-record. A server may have it open.
///
/// # Errors
/// When it cannot be read, is no location file, or is damaged.
pub fn list(path: &Path) -> Result<Vec<Record>, JournalError> {
    Ok(read(path)?.0)
}

/// Reads a file as the server's start does, and every binding in it as well.
///
/// # Errors
/// When the server would refuse it.
pub fn check(path: &Path) -> Result<Checked, JournalError> {
    let (live, contents) = read(path)?;
    let mut checked = Checked { records: contents.records, torn: contents.torn, ..Checked::default() };
    count(&live, &mut checked.addresses, &mut checked.bindings);
    let unreadable = live.iter().filter(|record| record.bindings().any(|binding| binding.is_err()));
    checked.unreadable = unreadable.count() as u64;
    Ok(checked)
}

/// The records of octets that may be a location file, if the server would take it, and those that a repair would find.
#[must_use]
pub fn read_octets(octets: &[u8]) -> (Option<Vec<Record>>, Vec<Record>) {
    let (mut whole, mut salvaged) = (Vec::new(), Vec::new());
    let taken = format::load(octets, |record| whole.push(record)).is_ok();
    let _ = format::salvage(octets, |record| salvaged.push(record));
    (taken.then_some(whole), salvaged)
}

fn read(path: &Path) -> Result<(Vec<Record>, Contents), JournalError> {
    let file = File::open(path).map_err(|error| JournalError::Io { path: path.to_owned(), error })?;
    let mut newest = Newest::default();
    let contents = format::load(file, |record| newest.take(record));
    let contents = contents.map_err(|fault| JournalError::of(path, fault))?;
    Ok((newest.live(), contents))
}

/// Writes a new file with every record that can be read, puts it in the place of the damaged one, and keeps that beside it as
/// `FILE.damaged` (or with a number behind it).
///
/// # Errors
/// When it cannot be read or written, is in use, or a newer version wrote it.
pub fn repair(path: &Path) -> Result<Repaired, JournalError> {
    let fault = |error| JournalError::Io { path: path.to_owned(), error };
    let _lock = lock(path)?;
    let mut newest = Newest::default();
    let lost = format::salvage(File::open(path).map_err(fault)?, |record| newest.take(record));
    let lost = lost.map_err(|fault| JournalError::of(path, fault))?;
    let mut octets = vec![0; HEADER];
    let stamp = newest.stamp;
    let live = newest.live();
    for record in &live {
        octets.extend_from_slice(record.octets());
    }
    let header = FileHeader { snapshot_end: octets.len() as u64, stamp };
    if let Some(place) = octets.get_mut(..HEADER) {
        place.copy_from_slice(&header.octets());
    }
    let new = beside(path, "new");
    let mut file = RealDisk.open(&new, true).map_err(fault)?;
    file.write_at(&octets, 0).and_then(|()| file.sync()).map_err(fault)?;
    let kept = free_name(path);
    // A second name for the damaged one, so that at no time there is none.
    std::fs::hard_link(path, &kept).or_else(|_| std::fs::copy(path, &kept).map(drop)).map_err(fault)?;
    RealDisk.replace(&new, path).map_err(fault)?;
    let (mut addresses, mut bindings) = (0, 0);
    count(&live, &mut addresses, &mut bindings);
    Ok(Repaired { addresses, bindings, lost, kept })
}

fn free_name(path: &Path) -> PathBuf {
    let first = beside(path, "damaged");
    let names =
        std::iter::once(first.clone()).chain((2..1000).map(|n| beside(path, &format!("damaged.{n}"))));
    names.into_iter().find(|name| !name.exists()).unwrap_or(first)
}

fn count(live: &[Record], addresses: &mut u64, bindings: &mut u64) {
    *addresses = live.len() as u64;
    *bindings = live.iter().map(|record| record.count() as u64).sum();
}

/// The newest record of each address-of-record.
#[derive(Default)]
struct Newest {
    records: BTreeMap<Box<str>, Record>,
    stamp: Stamp,
}

impl Newest {
    fn take(&mut self, record: Record) {
        let stamp = record.stamp();
        self.stamp.sequence = self.stamp.sequence.max(stamp.sequence);
        self.stamp.written = self.stamp.written.max(stamp.written);
        self.stamp.run = self.stamp.run.max(stamp.run);
        let older = self.records.get(record.aor()).is_none_or(|old| old.stamp().sequence <= stamp.sequence);
        if older {
            self.records.insert(record.aor().into(), record);
        }
    }

    fn live(self) -> Vec<Record> {
        self.records.into_values().filter(|record| record.count() > 0).collect()
    }
}
