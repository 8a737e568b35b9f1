//! A folder for a test's files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process, thread};

/// A new folder below the build's own; removed when the test has passed, unless `INTEROP_KEEP=1`.
#[derive(Debug)]
pub struct Dir(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Dir {
    /// A folder for the test of this name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(test: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = target_dir().join("tmp/interop").join(format!("{test}-{}-{number}", process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, content).expect("a file of the test");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("files of the failed test: {}", self.0.display());
        } else if env::var_os("INTEROP_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The build's folder, and the one of its profile (`debug`, `release`): this program lies in the latter's `deps`.
pub(crate) fn target_dir() -> PathBuf {
    profile_dir().parent().map(Path::to_path_buf).unwrap_or_else(env::temp_dir)
}

pub(crate) fn profile_dir() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    match own.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps")) {
        Some(deps) => deps.parent().unwrap_or(deps).to_path_buf(),
        None => env::temp_dir().join("interop"), // a documentation test runs from elsewhere
    }
}
