//! What a journal needs of a disk, so that tests can have one that fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A disk.
pub trait Disk: Send + 'static {
    /// Opens a file that is there, or makes it new and empty.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, path: &Path, new: bool) -> io::Result<Box<dyn Medium>>;

    /// Puts the file `from` in the place of `to`, so that a power cut leaves one or the other.
    ///
    /// # Errors
    /// Those of the operating system.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub trait Medium: Send {
    /// Reads as many octets as there are, at most as many as fit.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&mut self, octets: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all octets.
    ///
    /// # Errors
    /// Those of the operating system. Some may have been written.
    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()>;

    /// Returns when all that was written outlives a power cut.
    ///
    /// # Errors
    /// Those of the operating system. What was written since the last one may be lost.
    fn sync(&mut self) -> io::Result<()>;

    /// Makes the file so long.
    ///
    /// # Errors
    /// Those of the operating system.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// The disk of this machine. Files are readable for their owner alone: they tell where people are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, new: bool) -> io::Result<Box<dyn Medium>> {
        Ok(Box::new(open(path, new)?))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_folder(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

fn open(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(new).truncate(new);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file's name is an entry of its folder, which has to outlive a power cut as well.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Medium for File {
    fn read_at(&mut self, octets: &mut [u8], at: u64) -> io::Result<usize> {
        self.seek(SeekFrom::Start(at))?;
        let mut count = 0_usize;
        while let Some(rest) = octets.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.read(rest) {
                Ok(0) => break,
                Ok(read) => count = count.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn write_at(&mut self, octets: &[u8], at: u64) -> io::Result<()> {
        self.seek(SeekFrom::Start(at))?;
        self.write_all(octets)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
