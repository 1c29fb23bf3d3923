//! [`Indexer`]: the one thread that writes to sled, behind the log.
//!
//! Invariant: the mark never says more than what is in sled and synced in the log.
//! Errors: when sled fails or panics, this thread goes on without it, and the next start reads the log from the old mark.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::index_format::{MARK_KEY, Mark, entry_key, entry_value, partition_key, partition_value};
use crate::inventory::Inventory;
use crate::pack::LogPosition;
use crate::queue::Popped;
use crate::table::{Entry, SHARDS, ShortKey};

/// Updates taken at once.
const BATCH_LENGTH: u64 = 1_024;
/// A mark is written after this many updates …
const MARK_EVERY: u64 = 16_384;
/// … or when there is nothing else to do for this long.
const IDLE: Duration = Duration::from_millis(500);

/// A change of the index, in the order of the log.
#[derive(Copy, Clone, Debug)]
pub(crate) enum IndexUpdate {
    Put(Entry),
    Remove(ShortKey),
    /// All that the log holds before this place has been said.
    Covered(LogPosition),
}

/// What sled does not know yet when the thread starts.
#[derive(Debug)]
pub(crate) enum Backlog {
    /// What was replayed behind the mark.
    Updates(Vec<IndexUpdate>),
    /// Everything: the index is new.
    WholeTable,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Indexer {
    inventory: Arc<Inventory>,
    /// `None` once it has failed.
    db: Option<sled::Db>,
    /// How many partitions sled knows.
    known_partitions: u16,
    /// The next shard of a table that sled does not know at all; until the last is copied there is nothing to mark.
    next_shard: usize,
    covered: LogPosition,
    marked: LogPosition,
    unmarked_updates: u64,
}

impl Indexer {
    /// Goes on from `marked`, with `known_partitions` in sled; `backlog` covers the log up to `end`.
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        db: Option<sled::Db>,
        known_partitions: u16,
        marked: LogPosition,
        backlog: &Backlog,
        end: LogPosition,
    ) -> Self {
        let next_shard = match backlog {
            Backlog::Updates(_) => SHARDS,
            Backlog::WholeTable => 0,
        };
        Self {
            inventory,
            db,
            known_partitions,
            next_shard,
            covered: end,
            marked,
            unmarked_updates: 0,
        }
    }

    /// The thread's work: the backlog, then updates until the queue is closed and empty.
    pub(crate) fn run(mut self, backlog: Backlog) {
        if let Backlog::Updates(updates) = backlog {
            self.apply_all(updates);
        }
        let inventory = Arc::clone(&self.inventory);
        loop {
            // Between shards, only a glance at the queue: who fills it must not wait for all of them.
            let timeout = if self.copy_shard() { Duration::ZERO } else { IDLE };
            match inventory.index_queue.pop_batch(BATCH_LENGTH, Some(timeout)) {
                Popped::Batch(updates) => {
                    self.apply_all(updates);
                    if self.unmarked_updates >= MARK_EVERY {
                        self.write_mark();
                    }
                }
                Popped::TimedOut => {
                    inventory.tick();
                    self.write_mark();
                }
                Popped::Closed if self.next_shard < SHARDS => {}
                Popped::Closed => break,
            }
        }
        self.write_mark();
        self.with_db(|db| db.flush().map(drop));
    }

    /// Copies one more shard; says whether there was one.
    fn copy_shard(&mut self) -> bool {
        let shard = self.next_shard;
        if shard == SHARDS {
            return false;
        }
        let mut updates = Vec::new();
        let put = |entry: &Entry| updates.push(IndexUpdate::Put(*entry));
        self.inventory.table.for_each_in(shard, put);
        self.apply_all(updates);
        self.next_shard += 1;
        true
    }

    fn apply_all(&mut self, updates: impl IntoIterator<Item = IndexUpdate>) {
        for update in updates {
            match update {
                IndexUpdate::Put(entry) => {
                    self.write_partitions(entry.key.partition);
                    self.with_db(|db| {
                        db.insert(entry_key(&entry.key), &entry_value(&entry)).map(drop)
                    });
                }
                IndexUpdate::Remove(key) => {
                    self.with_db(|db| db.remove(entry_key(&key)).map(drop));
                }
                IndexUpdate::Covered(position) => self.covered = self.covered.max(position),
            }
            self.unmarked_updates += 1;
        }
    }

    /// A partition goes in before its first entry.
    fn write_partitions(&mut self, needed: u16) {
        while self.known_partitions <= needed {
            let number = self.known_partitions;
            let Some(partition) = self.inventory.partitions.get(number) else { return };
            self.with_db(|db| {
                db.insert(partition_key(number), partition_value(&partition)).map(drop)
            });
            self.known_partitions += 1;
        }
    }

    /// Says how far the index reaches, as far as the log is synced.
    fn write_mark(&mut self) {
        let position = self.covered.min(self.inventory.durable.synced());
        if self.next_shard < SHARDS || position <= self.marked {
            return;
        }
        let mark =
            Mark { salt: self.inventory.salt, position, sequence: self.inventory.next_sequence() };
        self.with_db(|db| db.insert(MARK_KEY, &mark.to_value()).map(drop));
        self.marked = position;
        self.unmarked_updates = 0;
    }

    fn with_db(&mut self, work: impl FnOnce(&sled::Db) -> Result<(), sled::Error>) {
        let Some(db) = &self.db else { return };
        match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the index failed; going on without it until the next start");
            }
            Err(_) => {
                tracing::warn!("the index panicked; going on without it until the next start");
            }
        }
        self.db = None;
    }
}
