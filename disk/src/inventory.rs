//! [`Inventory`]: what is stored where; all that the engine's threads, readers and writers have in common.
//!
//! It knows the table, the open packs, the counters and the queue to the index, and keeps them in step. It decides nothing:
//! the committer orders writes, recovery fills it, readers and writers use it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::activity::Activity;
use crate::codec::Codec;
use crate::committer::{Job, QUEUE_BYTES};
use crate::durable::DurableState;
use crate::error::{DiskError, with_causes};
use crate::eviction::{EvictionPolicy, Policy, Retention};
use crate::gate::Gate;
use crate::indexer::IndexUpdate;
use crate::io::Io;
use crate::key::RecordKey;
use crate::layout::Layout;
use crate::pack::{Pack, Packs};
use crate::partitions::Partitions;
use crate::queue::BoundedQueue;
use crate::slot::{Entry, Location, ShortKey, Shortener};
use crate::table::{Offered, Table};
use crate::usage::Counters;

/// Updates that wait for the index; a full queue slows the writers down to what sled takes.
const INDEX_QUEUE_LENGTH: u64 = 65_536;
/// So many of them wake the thread that writes the index, which is behind in any case; fewer wait until it looks by itself.
pub(crate) const INDEX_BATCH_LENGTH: u64 = 1_024;

/// How long a full disk on which eviction did not help is left alone, so that it does not cost the whole store.
const FUTILE_MS: u64 = 10_000;

/// What is reclaimed at once.
#[derive(Clone, Debug)]
pub(crate) enum Unit {
    Pack { id: u32 },
    File { path: PathBuf, sequence: u64, record_bytes: u64 },
}

/// What is stored where.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) layout: Layout,
    pub(crate) salt: u64,
    pub(crate) shortener: Shortener,
    pub(crate) codec: Codec,
    pub(crate) table: Table,
    pub(crate) partitions: Partitions,
    pub(crate) packs: Packs,
    /// By the sequence number at which they were begun: the oldest first. Guards map operations.
    pub(crate) units: Mutex<BTreeMap<u64, Unit>>,
    pub(crate) counters: Counters,
    pub(crate) activity: Activity,
    pub(crate) durable: DurableState,
    pub(crate) index_queue: BoundedQueue<IndexUpdate>,
    /// What the committer is asked to do.
    pub(crate) jobs: Arc<BoundedQueue<Job>>,
    /// Opens when the table holds all that is stored. Before, what is not in it may be stored nevertheless.
    pub(crate) loaded: Gate,
    /// What packs, blob files and unfinished writes may take of the disk together, as last seen.
    room_bytes: AtomicU64,
    /// Set when the engine ends.
    closing: AtomicBool,
    next_sequence: AtomicU64,
    /// The time as of the last [`Self::tick`], seconds since 1970: recency needs no better, and reading the clock costs
    /// as much as a lookup.
    now_s: AtomicU32,
    /// What decides on evictions. Guards a few words, or the choice of units.
    pub(crate) policy: Mutex<Policy>,
    /// Guards a few words.
    pub(crate) retention: Mutex<Retention>,
    poison: OnceLock<Arc<str>>,
    /// Why the directory is only read.
    read_only: OnceLock<Arc<str>>,
    /// Says that writes have ended, to those who wait for it.
    writes_refused: watch::Sender<bool>,
    /// Until then to evict on a full disk is no use: it was tried and did not help. Milliseconds since 1970.
    futile_until_ms: AtomicU64,
}

impl Inventory {
    pub(crate) fn new(
        io: Arc<dyn Io>,
        (layout, salt): (Layout, u64),
        codec: Codec,
        (table, partitions): (Table, Partitions),
        eviction: EvictionPolicy,
    ) -> Self {
        let inventory = Self {
            io,
            layout,
            salt,
            shortener: Shortener::new(salt),
            codec,
            table,
            partitions,
            packs: Packs::default(),
            units: Mutex::default(),
            counters: Counters::default(),
            activity: Activity::default(),
            durable: DurableState::default(),
            index_queue: BoundedQueue::lazy(INDEX_QUEUE_LENGTH, INDEX_BATCH_LENGTH),
            jobs: Arc::new(BoundedQueue::new(QUEUE_BYTES)),
            loaded: Gate::default(),
            room_bytes: AtomicU64::new(u64::MAX),
            closing: AtomicBool::new(false),
            next_sequence: AtomicU64::new(1),
            now_s: AtomicU32::new(0),
            policy: Mutex::new(Policy::new(eviction)),
            retention: Mutex::default(),
            poison: OnceLock::new(),
            read_only: OnceLock::new(),
            writes_refused: watch::Sender::new(false),
            futile_until_ms: AtomicU64::new(0),
        };
        inventory.tick();
        inventory
    }

    /// The short form of a key whose partition is known; without one there can be no record.
    pub(crate) fn short_key(&self, key: &RecordKey) -> Option<ShortKey> {
        self.partitions.number(key).map(|partition| self.shortener.key(partition, key))
    }

    /// The short form of a key that is about to be stored.
    pub(crate) fn intern(&self, key: &RecordKey) -> Result<ShortKey, DiskError> {
        self.partitions.intern(key).map(|partition| self.shortener.key(partition, key))
    }

    /// Whether an entry's key is the short form of `key`.
    pub(crate) fn is_short_of(&self, entry: &Entry, key: &RecordKey) -> bool {
        self.shortener.key(entry.key.partition, key) == entry.key
    }

    pub(crate) fn take_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// The sequence number that no record has yet.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence.load(Ordering::Relaxed)
    }

    /// Keeps later sequence numbers above `seen`.
    pub(crate) fn note_sequence(&self, seen: u64) {
        self.next_sequence.fetch_max(seen.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn room_bytes(&self) -> u64 {
        self.room_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn note_room(&self, bytes: u64) {
        self.room_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) {
        let now_s = u32::try_from(self.io.unix_ms() / 1_000).unwrap_or(u32::MAX);
        self.now_s.store(now_s, Ordering::Relaxed);
    }

    pub(crate) fn now_s(&self) -> u32 {
        self.now_s.load(Ordering::Relaxed)
    }

    /// Ends writes: after what happened it is unknown what the disk holds. The first reason stays.
    pub(crate) fn poison(&self, happened: &'static str, error: &DiskError) -> DiskError {
        let reason = self.poison.get_or_init(|| {
            tracing::error!(error = %with_causes(error), "{happened}; writes are refused from here on, reads go on");
            Arc::from(format!("{happened}: {}", with_causes(error)))
        });
        self.writes_refused.send_replace(true);
        DiskError::Poisoned { reason: Arc::clone(reason) }
    }

    /// An error once writes have ended.
    pub(crate) fn check_writable(&self) -> Result<(), DiskError> {
        if let Some(reason) = self.read_only.get() {
            return Err(DiskError::ReadOnly { reason: Arc::clone(reason) });
        }
        match self.poison.get() {
            None => Ok(()),
            Some(reason) => Err(DiskError::Poisoned { reason: Arc::clone(reason) }),
        }
    }

    /// Becomes true when writes have ended.
    pub(crate) fn writes_refused(&self) -> watch::Receiver<bool> {
        self.writes_refused.subscribe()
    }

    pub(crate) fn refuses_writes(&self) -> bool {
        self.poison.get().is_some() || self.is_read_only()
    }

    /// The directory is only read, for as long as it is open: nothing takes its jobs, and nothing writes an index.
    pub(crate) fn be_read_only(&self, reason: &str) {
        let _ = self.read_only.set(Arc::from(reason));
        self.writes_refused.send_replace(true);
        self.jobs.close();
        self.index_queue.close();
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.get().is_some()
    }

    /// For `map_err`: counts what the system refused, and names what was tried on which file.
    pub(crate) fn io_error<'a>(
        &'a self,
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> DiskError + 'a {
        move |error| {
            self.counters.count_io_error();
            DiskError::io(operation, path)(error)
        }
    }

    /// What was evicted on a full disk did not help: snapshots may hold the blocks, or there are no inodes.
    pub(crate) fn note_futile_eviction(&self) {
        let until_ms = self.io.unix_ms().saturating_add(FUTILE_MS);
        self.futile_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether to evict on a full disk was tried a moment ago and did not help.
    pub(crate) fn is_eviction_futile(&self) -> bool {
        self.io.unix_ms() < self.futile_until_ms.load(Ordering::Relaxed)
    }

    /// Makes an entry findable, in place of an older one.
    pub(crate) fn replace(&self, entry: &Entry) {
        if let Some(old) = self.table.replace(entry) {
            self.counters.count_out(&old);
        }
        self.counters.count_in(entry);
        self.tell_index(IndexUpdate::Put(*entry));
    }

    /// Makes an entry findable, unless there is one; says whether it did.
    pub(crate) fn insert_if_absent(&self, entry: &Entry) -> bool {
        let inserted = self.table.insert_if_absent(entry);
        if inserted {
            self.counters.count_in(entry);
            self.tell_index(IndexUpdate::Put(*entry));
        }
        inserted
    }

    /// Makes an entry findable that was read from the index or the log; the one further along the log stays.
    pub(crate) fn offer(&self, entry: &Entry) -> Offered {
        let offered = self.table.offer(entry);
        match &offered {
            Offered::Inserted => self.counters.count_in(entry),
            Offered::Replaced(old) => {
                self.counters.count_out(old);
                self.counters.count_in(entry);
            }
            Offered::Ignored => {}
        }
        offered
    }

    /// Forgets a key if it is in a pack, before `at` in the log.
    pub(crate) fn remove_before(&self, key: &ShortKey, at: Location) {
        let is_before = |there| matches!(there, Location::Pack { .. }) && there < at;
        if let Some(removed) = self.table.remove_if(key, is_before) {
            self.counters.count_out(&removed);
        }
    }

    /// Forgets a key if it still is where the caller saw it. For a pack, the log or the end of the pack says so too.
    pub(crate) fn remove_at(&self, key: &ShortKey, location: Location) -> Option<Entry> {
        let removed = self.table.remove_at(key, location)?;
        self.counters.count_out(&removed);
        if matches!(location, Location::File { .. }) {
            self.tell_index(IndexUpdate::Dead(location));
        }
        Some(removed)
    }

    /// Points a key to the copy of its record.
    pub(crate) fn relocate(&self, key: &ShortKey, from: Location, to: Location) {
        if let Some(entry) = self.table.relocate(key, from, to) {
            self.counters.count_copy(&entry);
            self.tell_index(IndexUpdate::Put(entry));
        }
    }

    /// Makes a pack readable, and a unit of reclaiming.
    pub(crate) fn add_pack(&self, pack: &Arc<Pack>, first_sequence: u64) {
        self.packs.extend([Arc::clone(pack)]);
        self.enlist_pack(pack.id, first_sequence);
    }

    /// Makes a pack that can be read a unit of reclaiming.
    pub(crate) fn enlist_pack(&self, id: u32, first_sequence: u64) {
        let mut units = self.units.lock();
        let mut order = first_sequence;
        while units.contains_key(&order) {
            order += 1;
        }
        units.insert(order, Unit::Pack { id });
    }

    /// Ends a pack: no reader finds it any more.
    pub(crate) fn remove_pack(&self, id: u32) {
        self.packs.remove(id);
        self.durable.forget_pack(id);
        self.tell_index(IndexUpdate::PackGone(id));
    }

    /// Makes a blob file, whose bytes are counted, a unit of reclaiming. Its entry can be found already: who has removed that since then
    /// found no unit.
    pub(crate) fn enlist_file(&self, entry: &Entry, path: PathBuf, sequence: u64) {
        let record_bytes = entry.record_bytes;
        let unit = Unit::File { path, sequence, record_bytes };
        self.units.lock().insert(sequence, unit);
        if self.table.get(&entry.key).is_none_or(|there| there.location != entry.location) {
            self.forget_file(sequence);
        }
    }

    /// A blob file is no unit any more.
    pub(crate) fn forget_file(&self, gone: u64) {
        let mut units = self.units.lock();
        let found = units.iter().find_map(|(order, unit)| match unit {
            Unit::File { sequence, record_bytes, .. } if *sequence == gone => {
                Some((*order, *record_bytes))
            }
            _ => None,
        });
        if let Some((order, record_bytes)) = found {
            units.remove(&order);
            self.counters.shrink_files(record_bytes);
        }
    }

    /// Tells the threads that work in the background to stop.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn tell_index(&self, update: IndexUpdate) {
        // Closed only when the engine ends; what the index misses then, the log says again.
        let _ = self.index_queue.push(update, 1);
    }
}
