//! [`Indexer`]: the one thread that writes to sled, behind the log.
//!
//! Invariant: the mark never says more than what is in sled and synced in the log.
//! Errors: when sled fails or panics, this thread goes on without it, and the next start reads the log from the old mark.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::error::with_causes;
use crate::index_format::{
    Item, MARK_KEY, Mark, PAGE_ENTRIES, dead_key, file_key, file_value, pack_prefix, page_key,
    partition_key, partition_value, push_item,
};
use crate::inventory::{INDEX_BATCH_LENGTH, Inventory};
use crate::pack::LogPosition;
use crate::queue::Popped;
use crate::slot::{Entry, Location, ShortKey};

/// A mark is written after this many updates …
const MARK_EVERY: u64 = 16_384;
/// … or when there is nothing else to do for this long. As long a few updates wait for more.
const IDLE: Duration = Duration::from_millis(250);
/// Recency is written this often; what a kill takes of it is at most this old.
const RECENCY_EVERY_S: u32 = 600;
/// Pages that are not full yet: the pack that is appended to has one, those that are replayed have one each.
const OPEN_PAGES: usize = 4;

/// A change of the index, in the order of the log.
#[derive(Copy, Clone, Debug)]
pub(crate) enum IndexUpdate {
    Put(Entry),
    /// A removal stands in the log.
    Removal {
        key: ShortKey,
        at: Location,
    },
    /// What stands there is not to be found any more, though the log does not say so.
    Dead(Location),
    PackGone(u32),
    /// All that was appended to the log before this place has been said.
    Covered(LogPosition),
    /// All that was in the log when the engine was opened has been said.
    CaughtUp,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Indexer {
    pub(crate) inventory: Arc<Inventory>,
    /// `None` once it has failed.
    db: Option<sled::Db>,
    /// How many partitions sled knows.
    known_partitions: u16,
    /// By pack.
    open_pages: BTreeMap<u32, OpenPage>,
    is_caught_up: bool,
    covered: LogPosition,
    marked: LogPosition,
    unmarked_updates: u64,
    recency_written_s: u32,
}

/// A page that is not full yet.
#[derive(Debug)]
struct OpenPage {
    first_offset: u32,
    items: usize,
    bytes: Vec<u8>,
    is_written: bool,
}

impl Indexer {
    /// Goes on from `marked`, with `known_partitions` in sled.
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        db: Option<sled::Db>,
        known_partitions: u16,
        marked: LogPosition,
    ) -> Self {
        if db.is_none() {
            inventory.activity.note_index_failure();
        }
        Self {
            recency_written_s: inventory.now_s(),
            inventory,
            db,
            known_partitions,
            open_pages: BTreeMap::new(),
            is_caught_up: false,
            covered: marked,
            marked,
            unmarked_updates: 0,
        }
    }

    /// The thread's work: the backlog, then updates until the queue is closed and empty.
    pub(crate) fn run(mut self, backlog: Vec<IndexUpdate>) {
        self.apply_all(backlog);
        let inventory = Arc::clone(&self.inventory);
        loop {
            match inventory.index_queue.pop_batch(INDEX_BATCH_LENGTH, Some(IDLE)) {
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
                Popped::Closed => break,
            }
            if inventory.now_s().saturating_sub(self.recency_written_s) >= RECENCY_EVERY_S {
                self.write_recency();
            }
        }
        self.write_mark();
        self.write_recency();
        self.with_db(|db| db.flush().map(drop));
    }

    fn apply_all(&mut self, updates: Vec<IndexUpdate>) {
        for update in updates {
            self.unmarked_updates += 1;
            match update {
                IndexUpdate::Put(entry) => match entry.location {
                    Location::Pack { pack, offset } => {
                        self.push(pack, offset, &Item::Put(entry));
                    }
                    Location::File { .. } => self.put_file(&entry),
                },
                IndexUpdate::Removal { key, at } => {
                    if let Location::Pack { pack, offset } = at {
                        self.push(pack, offset, &Item::Removal { key, at });
                    }
                }
                IndexUpdate::Dead(Location::Pack { pack, offset }) => {
                    self.with_db(|db| db.insert(dead_key(pack, offset), &[]).map(drop));
                }
                IndexUpdate::Dead(Location::File { sequence }) => {
                    self.with_db(|db| db.remove(file_key(sequence)).map(drop));
                }
                IndexUpdate::PackGone(pack) => {
                    self.open_pages.remove(&pack);
                    self.remove_lines(&pack_prefix(pack));
                }
                IndexUpdate::Covered(position) => self.covered = self.covered.max(position),
                IndexUpdate::CaughtUp => self.is_caught_up = true,
            }
        }
    }

    /// Adds a record to the page of its pack.
    fn push(&mut self, pack: u32, offset: u32, item: &Item) {
        let partition = match item {
            Item::Put(entry) => entry.key.partition,
            Item::Removal { key, .. } => key.partition,
        };
        self.write_partitions(partition);
        let page = self.open_pages.entry(pack).or_insert_with(|| OpenPage {
            first_offset: offset,
            items: 0,
            bytes: Vec::new(),
            is_written: false,
        });
        push_item(&mut page.bytes, item);
        page.items += 1;
        page.is_written = false;
        if page.items == PAGE_ENTRIES {
            self.close_page(pack);
        } else if self.open_pages.len() > OPEN_PAGES
            && let Some((oldest, _)) = self.open_pages.first_key_value()
        {
            self.close_page(*oldest);
        }
    }

    fn close_page(&mut self, pack: u32) {
        if let Some(page) = self.open_pages.remove(&pack) {
            let key = page_key(pack, page.first_offset);
            self.with_db(|db| db.insert(key, page.bytes).map(drop));
        }
    }

    /// Writes the pages as far as they are; they go on to grow.
    fn write_open_pages(&mut self) {
        let mut pages = std::mem::take(&mut self.open_pages);
        for (pack, page) in &mut pages {
            if !page.is_written {
                let key = page_key(*pack, page.first_offset);
                self.with_db(|db| db.insert(key, page.bytes.as_slice()).map(drop));
                page.is_written = true;
            }
        }
        self.open_pages = pages;
    }

    pub(crate) fn put_file(&mut self, entry: &Entry) {
        let Location::File { sequence } = entry.location else { return };
        self.write_partitions(entry.key.partition);
        self.with_db(|db| db.insert(file_key(sequence), file_value(entry)).map(drop));
    }

    pub(crate) fn put_line(&mut self, key: &[u8], value: &[u8]) {
        self.with_db(|db| db.insert(key, value).map(drop));
    }

    pub(crate) fn remove_lines(&mut self, prefix: &[u8]) {
        self.with_db(|db| {
            for key in db.scan_prefix(prefix).keys() {
                db.remove(key?)?;
            }
            Ok(())
        });
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
        if !self.is_caught_up || position <= self.marked {
            return;
        }
        self.write_open_pages();
        let mark = Mark {
            salt: self.inventory.salt,
            position,
            sequence: self.inventory.next_sequence(),
            records: self.inventory.counters.records(),
        };
        self.with_db(|db| db.insert(MARK_KEY, mark.to_value().as_slice()).map(drop));
        self.marked = position;
        self.unmarked_updates = 0;
    }

    fn write_recency(&mut self) {
        self.recency_written_s = self.inventory.now_s();
        if self.is_caught_up && self.db.is_some() {
            self.save_recency();
        }
    }

    fn with_db(&mut self, work: impl FnOnce(&sled::Db) -> Result<(), sled::Error>) {
        let Some(db) = &self.db else { return };
        match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::warn!(error = %with_causes(&error), "the index failed; going on without it until the next start");
            }
            Err(_) => {
                tracing::warn!("the index panicked; going on without it until the next start");
            }
        }
        self.db = None;
        self.inventory.activity.note_index_failure();
    }
}
