//! [`Flights`]: one piece of work per key at a time, its result shared by all who ask meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// Enough that callers on as many cores as machines have rarely meet at one lock.
const SHARDS: usize = 64;

/// Work under way, by key. Bounded by the callers: an entry lives as long as somebody waits for it.
pub(crate) struct Flights<K, V> {
    hasher: RandomState,
    /// Each lock guards one map operation.
    shards: [Mutex<HashMap<K, Arc<OnceCell<V>>>>; SHARDS],
}

/// Whether this caller did the work or another did it for both.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Leader,
    Follower,
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
        }
    }

    /// Does `work`, or waits for the caller that is doing it for the same key. If that one fails or is dropped, the next
    /// in line does its own.
    pub(crate) async fn join<E, F>(&self, key: &K, work: impl FnOnce() -> F) -> Result<(Role, V), E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let ticket = self.board(key);
        let mut role = Role::Follower;
        let value = ticket
            .cell()
            .get_or_try_init(|| {
                role = Role::Leader;
                work()
            })
            .await?
            .clone();
        Ok((role, value))
    }

    /// Who comes from now on does not board what is under way.
    pub(crate) fn close_boarding(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
    }

    fn board(&self, key: &K) -> Ticket<'_, K, V> {
        let cell = Arc::clone(self.shard(key).lock().entry(key.clone()).or_default());
        Ticket { flights: self, key: key.clone(), cell: Some(cell) }
    }

    fn shard(&self, key: &K) -> &Mutex<HashMap<K, Arc<OnceCell<V>>>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

struct Ticket<'a, K: Eq + Hash + Clone, V: Clone> {
    flights: &'a Flights<K, V>,
    key: K,
    /// `None` only while this is dropped.
    cell: Option<Arc<OnceCell<V>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Ticket<'_, K, V> {
    fn cell(&self) -> &OnceCell<V> {
        self.cell.as_ref().expect("a ticket has its cell until it is dropped")
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Drop for Ticket<'_, K, V> {
    /// Ends the flight for later callers when it has landed, or when nobody is left on it. Handles are made and given back
    /// under the lock only, so that of several who leave at once the last sees that it is the last.
    fn drop(&mut self) {
        /// The map's own handle.
        const NOBODY: usize = 1;
        let mut flights = self.flights.shard(&self.key).lock();
        let Some(cell) = self.cell.take() else { return };
        let landed = cell.initialized();
        let ours = flights.get(&self.key).is_some_and(|other| Arc::ptr_eq(other, &cell));
        drop(cell);
        let deserted = |cell: &Arc<OnceCell<V>>| Arc::strong_count(cell) == NOBODY;
        if ours && (landed || flights.get(&self.key).is_some_and(deserted)) {
            flights.remove(&self.key);
        }
    }
}

impl<K, V> std::fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let under_way: usize = self.shards.iter().map(|shard| shard.lock().len()).sum();
        f.debug_struct("Flights").field("under_way", &under_way).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn work_under_way_is_done_once() {
        let flights = Flights::new();
        let runs = AtomicUsize::new(0);
        let callers = (0..10).map(|_| {
            flights.join(&"key", async || {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(runs.fetch_add(1, Ordering::Relaxed))
            })
        });
        let results = join_all(callers).await;
        let leaders =
            results.iter().filter(|result| matches!(result, Ok((Role::Leader, _)))).count();
        assert_eq!((leaders, runs.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(format!("{flights:?}"), "Flights { under_way: 0, .. }");
    }

    #[tokio::test]
    async fn a_landed_flight_serves_nobody_later() {
        let flights = Flights::new();
        for run in 0..3 {
            let result = flights.join(&"key", async || Ok::<_, Infallible>(run)).await;
            assert_eq!(result, Ok((Role::Leader, run)));
        }
    }

    #[tokio::test]
    async fn nobody_boards_after_boarding_is_closed() {
        let flights = Flights::new();
        let mut first = Box::pin(flights.join(&"key", async || {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(1)
        }));
        assert!(futures_util::poll!(&mut first).is_pending());
        flights.close_boarding();
        let second = flights.join(&"key", async || Ok::<_, Infallible>(2)).await;
        assert_eq!((first.await, second), (Ok((Role::Leader, 1)), Ok((Role::Leader, 2))));
        assert_eq!(format!("{flights:?}"), "Flights { under_way: 0, .. }");
    }

    #[tokio::test]
    async fn after_a_failure_the_next_in_line_does_its_own() {
        let flights = Flights::new();
        let runs = AtomicUsize::new(0);
        let callers = (0..3).map(|_| {
            flights.join(&"key", async || {
                tokio::task::yield_now().await;
                let run = runs.fetch_add(1, Ordering::Relaxed);
                if run == 0 { Err("first") } else { Ok(run) }
            })
        });
        let results = join_all(callers).await;
        assert_eq!(results, [Err("first"), Ok((Role::Leader, 1)), Ok((Role::Follower, 1))]);
    }

    /// A key that, once two callers are leaving, keeps the first of them until the second has come as far.
    #[derive(Clone)]
    struct SlowKey(Arc<(AtomicUsize, Barrier)>);

    const NOBODY_LEAVES: usize = usize::MAX / 2;

    impl PartialEq for SlowKey {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }

    impl Eq for SlowKey {}

    impl Hash for SlowKey {
        fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
    }

    impl Drop for SlowKey {
        fn drop(&mut self) {
            let (dropped, barrier) = &*self.0;
            if dropped.fetch_add(1, Ordering::AcqRel) < 2 {
                barrier.wait();
            }
        }
    }

    #[test]
    fn callers_that_leave_at_once_leave_no_entry() {
        let key = SlowKey(Arc::new((AtomicUsize::new(NOBODY_LEAVES), Barrier::new(2))));
        let flights = Flights::<_, ()>::new();
        let tickets = [flights.board(&key), flights.board(&key)];
        key.0.0.store(0, Ordering::Release);
        std::thread::scope(|scope| {
            for ticket in tickets {
                scope.spawn(move || drop(ticket));
            }
        });
        assert_eq!(format!("{flights:?}"), "Flights { under_way: 0, .. }");
    }

    #[tokio::test]
    async fn a_dropped_leader_hands_over() {
        let flights = Flights::<_, u32>::new();
        let mut stuck =
            Box::pin(flights.join(&"key", std::future::pending::<Result<u32, Infallible>>));
        assert!(futures_util::poll!(&mut stuck).is_pending());
        let mut next = Box::pin(flights.join(&"key", async || Ok::<_, Infallible>(2)));
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(stuck);
        assert_eq!(next.await, Ok((Role::Leader, 2)));
    }
}
