//! [`BoundedQueue`]: hands work to one thread, in batches, bounded by weight.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// A queue of weighted items. Who pushes waits while it is full; who pops takes what there is.
#[derive(Debug)]
pub(crate) struct BoundedQueue<T> {
    limit: u64,
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
        let state = State { items: VecDeque::new(), weight: 0, is_closed: false };
        Self {
            limit,
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
        self.add(&mut state, item, weight)
    }

    /// The same without holding up a thread. Cancel-safe: the item is dropped.
    pub(crate) async fn push_async(&self, item: T, weight: u64) -> Result<(), T> {
        loop {
            // Made before the look: room that is made after it is not missed.
            let room = self.room.notified();
            {
                let mut state = self.state.lock();
                if state.is_closed || state.has_room(weight, self.limit) {
                    return self.add(&mut state, item, weight);
                }
            }
            room.await;
        }
    }

    fn add(&self, state: &mut State<T>, item: T, weight: u64) -> Result<(), T> {
        if state.is_closed {
            return Err(item);
        }
        state.weight += weight;
        state.items.push_back((item, weight));
        self.filled.notify_one();
        Ok(())
    }

    /// Takes items, first come first, until they weigh `max_weight`; waits for the first of them.
    pub(crate) fn pop_batch(&self, max_weight: u64, timeout: Option<Duration>) -> Popped<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if state.is_closed {
                return Popped::Closed;
            }
            match timeout {
                None => self.filled.wait(&mut state),
                Some(timeout) => {
                    if self.filled.wait_for(&mut state, timeout).timed_out()
                        && state.items.is_empty()
                    {
                        return if state.is_closed { Popped::Closed } else { Popped::TimedOut };
                    }
                }
            }
        }
        let mut taken = 0;
        let mut batch = Vec::new();
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
    /// One item may be heavier than the limit.
    fn has_room(&self, weight: u64, limit: u64) -> bool {
        self.weight == 0 || self.weight + weight <= limit
    }
}
