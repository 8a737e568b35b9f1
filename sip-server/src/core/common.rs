//! What cores side by side have in common: who is not heard, and which nonces are out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something of which there is one, however many cores there are. It is held for a look or a change, and nothing else is waited for
/// meanwhile.
#[derive(Debug)]
pub(super) struct Common<T>(Arc<Mutex<T>>);

impl<T> Common<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
