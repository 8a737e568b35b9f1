//! A file that is to be sent: what is told of it, and its octets, piece by piece (RFC 5547 §6).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use msrp::file::{FileRange, FileSelector, Sha1Hash};
use tokio::task::spawn_blocking;

/// Octets of a file that are read and written at once.
const PIECE: usize = 256 * 1024;

/// A file to send, in memory or on disk. From disk it is read as it leaves.
#[derive(Clone, Debug)]
pub struct FileToSend {
    name: String,
    media_type: String,
    content: Content,
    start: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Memory(Bytes),
    Disk(PathBuf),
}

impl FileToSend {
    /// Octets under a name without folders, as `application/octet-stream`.
    pub fn new(name: &str, octets: impl Into<Bytes>) -> Self {
        Self::of(name.into(), Content::Memory(octets.into()))
    }

    /// The file at this place, under its name there. It is opened when it is sent, read twice (its hash goes before it), and shall not
    /// change meanwhile: the other side would refuse it.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::of(name, Content::Disk(path.to_owned()))
    }

    fn of(name: String, content: Content) -> Self {
        Self { name, media_type: "application/octet-stream".into(), content, start: 0 }
    }

    /// Its media type, such as `image/png`.
    #[must_use]
    pub fn media_type(mut self, kind: &str) -> Self {
        self.media_type = kind.into();
        self
    }

    /// What it is called there, in the place of its name here.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Sends only what is behind so many octets, which the other side has from a transfer that broke off (`a=file-range`). It refuses (603)
    /// if it does not have them: then the whole file is to be sent.
    #[must_use]
    pub fn after(mut self, octets: u64) -> Self {
        self.start = octets;
        self
    }

    /// Reads it once, for its size and hash. The range is told only where it is not the whole.
    pub(super) async fn described(self) -> io::Result<Described> {
        spawn_blocking(move || {
            let (size, hash) = match &self.content {
                Content::Memory(octets) => (octets.len() as u64, Sha1Hash::of(octets)),
                Content::Disk(path) => Sha1Hash::of_reader(File::open(path)?)?,
            };
            if self.start > size {
                let what =
                    format!("the file has {size} octets, and what is behind {} was to be sent", self.start);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            let rest = match self.content {
                Content::Memory(octets) => Rest::Memory(
                    octets.slice(usize::try_from(self.start).unwrap_or(usize::MAX).min(octets.len())..),
                ),
                Content::Disk(path) => {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(self.start))?;
                    Rest::Disk(file)
                }
            };
            let media_type = self.media_type;
            let selector = FileSelector {
                name: Some(self.name),
                media_type: Some(media_type.clone()),
                size: Some(size),
                hash: Some(hash),
            };
            let range =
                (self.start > 0).then(|| FileRange { stop: Some(size), ..FileRange::from(self.start) });
            let left = size.saturating_sub(self.start);
            Ok(Described { selector, media_type, range, start: self.start, left, rest })
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// A file whose hash is known, ready to be read.
pub(super) struct Described {
    pub(super) selector: FileSelector,
    pub(super) media_type: String,
    pub(super) range: Option<FileRange>,
    /// Octets that the other side has.
    pub(super) start: u64,
    /// Octets that are still to be read.
    pub(super) left: u64,
    rest: Rest,
}

enum Rest {
    Memory(Bytes),
    Disk(File),
}

impl Described {
    /// The next piece; `None` at its end.
    ///
    /// # Errors
    /// If it cannot be read, or has become shorter.
    pub(super) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE);
        if wanted == 0 {
            return Ok(None);
        }
        let piece = match &mut self.rest {
            Rest::Memory(octets) => octets.split_to(wanted.min(octets.len())),
            Rest::Disk(file) => {
                let mut file = file.try_clone()?;
                let read = spawn_blocking(move || {
                    let mut piece = vec![0; wanted];
                    file.read_exact(&mut piece)?;
                    Ok::<_, io::Error>(piece)
                });
                read.await.map_err(io::Error::other)??.into()
            }
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Some(piece))
    }
}
