//! Call records in a file, a line of JSON each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::calls::CallRecord;

/// A file to which call records are appended, one JSON object a line.
///
/// What is written has been handed to the operating system when [`append`](CallRecordFile::append) returns: it outlives the
/// program, not the machine. A file that was moved away (log rotation) is made anew.
#[derive(Debug)]
pub struct CallRecordFile {
    path: PathBuf,
    file: File,
}

/// Why call records cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("call records cannot be written to {path}: {error}")]
pub struct RecordFileError {
    /// The file.
    pub path: String,
    /// Why not.
    #[source]
    pub error: io::Error,
}

impl CallRecordFile {
    /// Opens the file, or makes it. What is in it stays.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecordFileError> {
        let path = path.as_ref().to_owned();
        match open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(RecordFileError { path: path.display().to_string(), error }),
        }
    }

    /// Appends records, all or, if the disk is full, as many whole lines as it takes.
    ///
    /// # Errors
    /// When not all of them were written: with how many were not.
    pub fn append(&mut self, records: &[CallRecord]) -> Result<(), (usize, RecordFileError)> {
        let fault = |error, path: &Path| RecordFileError { path: path.display().to_string(), error };
        if !self.path.exists() {
            self.file = open(&self.path).map_err(|error| (records.len(), fault(error, &self.path)))?;
        }
        for (record, written) in records.iter().zip(0_usize..) {
            let line = format!("{}\n", record.to_json());
            let before = self.file.metadata().map(|metadata| metadata.len());
            if let Err(error) = self.file.write_all(line.as_bytes()) {
                // Half a line would spoil the next one too.
                if let Ok(before) = before {
                    let _ = self.file.set_len(before);
                }
                return Err((records.len().saturating_sub(written), fault(error, &self.path)));
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
