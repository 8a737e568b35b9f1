//! So many calls at a time and no more: each holds a seat until nobody needs it any longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The seats of one trunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<AtomicUsize>);

/// One of them: of a branch, then of the call that comes of it. It is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seats {
    /// A seat, if fewer than `most` are taken. What holds more than a smaller `most` of later allows keeps it.
    pub(crate) fn take(&self, most: usize) -> Option<Arc<Seat>> {
        let one_more = |taken: usize| taken.checked_add(1).filter(|taken| *taken <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Arc::new(Seat(self.0.clone())))
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_the_last_who_holds_it_is_gone() {
        let seats = Seats::default();
        let (one, two) = (seats.take(2).unwrap(), seats.take(2).unwrap());
        assert!(seats.take(2).is_none());
        let same = one.clone();
        drop(one);
        assert!(seats.take(2).is_none());
        drop(same);
        assert_eq!(seats.taken(), 1);
        assert!(seats.take(1).is_none() && seats.take(2).is_some());
        drop(two);
        assert_eq!(seats.taken(), 0);
    }
}
