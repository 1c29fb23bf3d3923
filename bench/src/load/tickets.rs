//! [`Tickets`]: the numbers of operations, shared by the threads of a load.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers from where an earlier phase stopped, up to a limit.
#[derive(Debug)]
pub(crate) struct Tickets {
    first: u64,
    next: AtomicU64,
    end: u64,
}

impl Tickets {
    /// As many as `most`, from `first` on.
    pub(crate) fn new(first: u64, most: u64) -> Self {
        Self { first, next: AtomicU64::new(first), end: first.saturating_add(most) }
    }

    /// The next one, as long as there are any.
    pub(crate) fn take(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }

    /// Those that were taken.
    pub(crate) fn taken(&self) -> Range<u64> {
        self.first..self.next.load(Ordering::Relaxed).min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice_or_late() {
        let tickets = Tickets::new(5, 2);
        assert_eq!(tickets.taken(), 5..5);
        assert_eq!([tickets.take(), tickets.take(), tickets.take()], [Some(5), Some(6), None]);
        assert_eq!(tickets.taken(), 5..7);
    }
}
