//! [`BoundedQueue`]: hands work to one thread, in batches, bounded by weight.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// A queue of weighted items. Who pushes waits while it is full; who pops takes what there is.
#[derive(Debug)]
pub(crate) struct BoundedQueue<T> {
    limit: u64,
    /// Less does not wake who pops before his time is out.
    worth_waking: u64,
    /// Guards queue operations only.
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
    /// Says the same as `drained` to those who wait without a thread.
    room: Notify,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, u64)>,
    weight: u64,
    is_closed: bool,
}

/// Tells who pops that there is something, when it is dropped.
#[derive(Debug)]
pub(crate) struct Nudge<'a, T>(&'a BoundedQueue<T>);

impl<T> Drop for Nudge<'_, T> {
    fn drop(&mut self) {
        self.0.filled.notify_one();
    }
}

/// What [`BoundedQueue::pop_batch`] came back with.
#[derive(Debug)]
pub(crate) enum Popped<T> {
    Batch(Vec<T>),
    TimedOut,
    /// Closed, and nothing is left.
    Closed,
}

impl<T> BoundedQueue<T> {
    pub(crate) fn new(limit: u64) -> Self {
        Self::lazy(limit, 1)
    }

    /// For work that can wait: who pops is left to sleep until there is so much of it.
    pub(crate) fn lazy(limit: u64, worth_waking: u64) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, is_closed: false };
        Self {
            limit,
            worth_waking,
            state: Mutex::new(state),
            filled: Condvar::new(),
            drained: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Waits for room and adds an item, or gives it back when the queue is closed. One item may be heavier than the limit.
    pub(crate) fn push(&self, item: T, weight: u64) -> Result<(), T> {
        let mut state = self.state.lock();
        while !state.is_closed && !state.has_room(weight, self.limit) {
            self.drained.wait(&mut state);
        }
        state.add(item, weight)?;
        if state.weight >= self.worth_waking {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The same without holding up a thread, and who pops is told by the nudge. Cancel-safe: the item is dropped.
    pub(crate) async fn push_async(&self, item: T, weight: u64) -> Result<Nudge<'_, T>, T> {
        loop {
            // Made before the look: room that is made after it is not missed.
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.is_closed || state.has_room(weight, self.limit) {
                    return state.add(item, weight).map(|()| Nudge(self));
                }
            }
            room.await;
        }
    }

    /// Takes items, first come first, until they weigh `max_weight`; waits until they are worth it, or for so long.
    pub(crate) fn pop_batch(&self, max_weight: u64, timeout: Option<Duration>) -> Popped<T> {
        let mut state = self.state.lock();
        while state.weight < self.worth_waking && !state.is_closed {
            match timeout {
                None => self.filled.wait(&mut state),
                Some(timeout) => {
                    if self.filled.wait_for(&mut state, timeout).timed_out() {
                        break;
                    }
                }
            }
        }
        if state.items.is_empty() {
            return if state.is_closed { Popped::Closed } else { Popped::TimedOut };
        }
        let mut taken = 0;
        let mut batch = Vec::with_capacity(state.items.len());
        while let Some((item, weight)) = state.items.pop_front() {
            batch.push(item);
            taken += weight;
            if taken >= max_weight {
                break;
            }
        }
        state.weight -= taken;
        self.drained.notify_all();
        self.room.notify_waiters();
        Popped::Batch(batch)
    }

    /// What the waiting items weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.state.lock().weight
    }

    /// Takes no more items; what is in stays to be popped.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
        self.room.notify_waiters();
    }
}

impl<T> State<T> {
    fn add(&mut self, item: T, weight: u64) -> Result<(), T> {
        if self.is_closed {
            return Err(item);
        }
        self.weight += weight;
        self.items.push_back((item, weight));
        Ok(())
    }

    /// One item may be heavier than the limit.
    fn has_room(&self, weight: u64, limit: u64) -> bool {
        self.weight == 0 || self.weight + weight <= limit
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_hours(1));

    fn items(popped: Popped<u32>) -> Vec<u32> {
        match popped {
            Popped::Batch(items) => items,
            Popped::TimedOut | Popped::Closed => Vec::new(),
        }
    }

    #[test]
    fn what_is_not_worth_waking_for_waits_for_more_or_for_its_time() {
        let queue = BoundedQueue::lazy(10, 3);
        queue.push(1, 1).unwrap();
        assert_eq!(items(queue.pop_batch(9, Some(Duration::ZERO))), [1]);
        thread::scope(|scope| {
            let popped = scope.spawn(|| items(queue.pop_batch(9, LONG)));
            for item in 2..5 {
                queue.push(item, 1).unwrap();
            }
            assert_eq!(popped.join().unwrap(), [2, 3, 4]);
        });
        queue.push(5, 1).unwrap();
        queue.close();
        assert_eq!(items(queue.pop_batch(9, LONG)), [5]);
        assert!(matches!(queue.pop_batch(9, LONG), Popped::Closed));
    }

    #[tokio::test]
    async fn a_nudge_that_is_dropped_wakes_who_pops() {
        let queue = BoundedQueue::new(10);
        let nudge = queue.push_async(1, 1).await.unwrap();
        thread::scope(|scope| {
            let popped = scope.spawn(|| items(queue.pop_batch(9, LONG)));
            drop(nudge);
            assert_eq!(popped.join().unwrap(), [1]);
        });
        queue.close();
        assert_eq!(queue.push_async(2, 1).await.map(drop), Err(2));
    }
}
