//! Looking at what passes: every message in and out.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::capture::Capture;
use crate::path::Path;

/// Sees every message that comes in or is sent. It is called while the core waits: it must not block.
///
/// A closure is a tap; so is a [`Capture`], which makes a pcap file of it, alone or shared.
pub trait Tap: Send {
    /// A message passed.
    fn message(&mut self, at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes);
}

impl<F: FnMut(SystemTime, bool, &Path, &Bytes) + Send> Tap for F {
    fn message(&mut self, at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes) {
        self(at, inbound, path, bytes);
    }
}

impl<W: Write + Send> Tap for Capture<W> {
    fn message(&mut self, at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes) {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if let Err(error) = Capture::message(self, at, inbound, path, bytes) {
            tracing::warn!(%error, "a message could not be written to the capture");
        }
    }
}

impl<W: Write + Send> Tap for Arc<Mutex<Capture<W>>> {
    fn message(&mut self, at: SystemTime, inbound: bool, path: &Path, bytes: &Bytes) {
        Tap::message(&mut *self.lock().unwrap_or_else(PoisonError::into_inner), at, inbound, path, bytes);
    }
}
