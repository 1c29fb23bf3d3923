//! [`Committer`]: the one thread that appends to packs, a batch at a time.
//!
//! Because one thread appends, the order of records is the order of the log, and a decision taken on the table ("already
//! present", "still there") holds until its record is written. A batch is one write, and in `Sync` one fdatasync, for all
//! that waited meanwhile.
//! Errors: a write that does not succeed fails its batch and leaves nothing of it in the log ([`crate::withdraw`]); a failed sync
//! ends writes.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;

use crate::activity::timed;
use crate::batch::{After, Answer, Batch, Item};
use crate::codec::{EncodedRecord, encode_removal};
use crate::commit::PutOutcome;
use crate::compact::Sparse;
use crate::durable::{Syncer, sync_all, sync_fan, sync_pack};
use crate::error::DiskError;
use crate::indexer::IndexUpdate;
use crate::inventory::Inventory;
use crate::io::write_full;
use crate::key::{RecordKey, RecordKind};
use crate::layout::fan_of;
use crate::pack::{HEADER_BYTES, LogPosition, Pack};
use crate::prologue::{Place, seal};
use crate::purge::Seen;
use crate::queue::{BoundedQueue, Popped};
use crate::reclaim::Reclaim;
use crate::room::{ASK_EVERY_S, Room};
use crate::slot::{Entry, Location, ShortKey};

/// Encoded bytes that wait for the committer; who appends more waits too.
pub(crate) const QUEUE_BYTES: u64 = 32 << 20;
const BATCH_BYTES: u64 = 4 << 20;
/// How often the free space of the disk is looked at while nothing is written.
const GUARD_PERIOD: Duration = Duration::from_secs(ASK_EVERY_S as u64);
/// How often reclaiming looks whether a sync that it waits for is done.
const SYNC_POLL: Duration = Duration::from_millis(2);

/// What the committer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Append {
        record: EncodedRecord,
        key: ShortKey,
        kind: RecordKind,
        answer: Answer<PutOutcome>,
    },
    Remove {
        key: RecordKey,
        short: ShortKey,
        /// What is meant; whatever stands under the key where there is none.
        seen: Option<Seen>,
        answer: Answer<bool>,
    },
    /// A corrupt record has been dropped and must stay gone.
    Bury {
        key: RecordKey,
        entry: Entry,
    },
    /// A blob file is about to take so much; it counts as taken from the answer on.
    Reserve {
        bytes: u64,
        /// What the file counts among unfinished writes until then.
        ended_bytes: u64,
        answer: SyncSender<Result<(), DiskError>>,
    },
    /// A unit is to go on the way down to so many bytes; the answer says whether one did.
    GiveUp {
        target_bytes: u64,
        answer: Answer<bool>,
    },
    /// The answer says where the log ends, when all before that can be found.
    Measure {
        answer: Answer<LogPosition>,
    },
    /// A pack of which little can be read is to go, and nothing that can be; the answer says whether it did.
    Compact {
        sparse: Sparse,
        answer: Answer<bool>,
    },
    /// The disk had no room for so many bytes of a blob file; the answer says whether some was made.
    FreeDisk {
        bytes: u64,
        answer: SyncSender<bool>,
    },
}

impl Job {
    /// What the job weighs in the queue.
    pub(crate) fn weight(&self) -> u64 {
        match self {
            Self::Append { record, .. } => record.length_bytes(),
            Self::Remove { .. }
            | Self::Bury { .. }
            | Self::Reserve { .. }
            | Self::GiveUp { .. }
            | Self::Measure { .. }
            | Self::Compact { .. }
            | Self::FreeDisk { .. } => 1,
        }
    }
}

/// Limits of an engine, as the committer needs them.
#[derive(Copy, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit stands last in a name")]
pub(crate) struct Limits {
    pub(crate) max_size_bytes: u64,
    pub(crate) min_free_disk_bytes: u64,
    pub(crate) pack_cap_bytes: u64,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) limits: Limits,
    pub(crate) reclaim: Reclaim,
    pub(crate) room: Room,
    /// Syncs in the background; without one each batch is synced before its answers.
    pub(crate) syncer: Option<Arc<Syncer>>,
    pub(crate) pack: Arc<Pack>,
    /// Where the pack's good records end.
    pub(crate) end: u64,
    /// Nothing more goes into the pack: bytes that could not be cut off lie behind `end`, or the pack is given up.
    pub(crate) has_dirty_tail: bool,
    pub(crate) batch: Batch,
}

impl Committer {
    /// Goes on at the end of `pack`.
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        limits: Limits,
        syncer: Option<Arc<Syncer>>,
        (pack, end): (Arc<Pack>, u64),
    ) -> Self {
        Self {
            inventory,
            limits,
            reclaim: Reclaim::default(),
            room: Room::new(limits.max_size_bytes, limits.min_free_disk_bytes),
            syncer,
            pack,
            end,
            has_dirty_tail: false,
            batch: Batch::default(),
        }
    }

    /// The thread's work: until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &BoundedQueue<Job>) {
        // Writers of files do not come here before they end.
        self.room.limit_bytes(&self.inventory);
        loop {
            let timeout = if self.reclaim.is_waiting() {
                Some(SYNC_POLL)
            } else if self.reclaim.is_running() {
                Some(Duration::ZERO)
            } else {
                self.room.is_guarded().then_some(GUARD_PERIOD)
            };
            match queue.pop_batch(BATCH_BYTES, timeout) {
                Popped::Batch(jobs) => {
                    self.inventory.tick();
                    self.batch.reserve(jobs.len());
                    for job in jobs {
                        self.take(job);
                    }
                    self.flush();
                }
                Popped::TimedOut => self.inventory.tick(),
                Popped::Closed => break,
            }
            self.reclaim_step();
        }
        // A failure is logged; there is nobody left to tell.
        let _ = sync_all(&self.inventory);
    }

    pub(crate) fn take(&mut self, job: Job) {
        match job {
            Job::Append { record, key, kind, answer } => self.append(record, key, kind, answer),
            Job::Remove { key, short, seen, answer } => self.remove((&key, &short), seen, answer),
            Job::Bury { key, entry } => self.bury(&key, &entry),
            Job::Reserve { bytes, ended_bytes, answer } => {
                let _ = answer.send(self.reserve(bytes, ended_bytes));
            }
            Job::GiveUp { target_bytes, answer } => {
                let _ = answer.send(self.give_up(target_bytes));
            }
            Job::Measure { answer } => {
                self.flush();
                let _ = answer.send(Ok(self.end_of_log()));
            }
            Job::Compact { sparse, answer } => {
                let _ = answer.send(self.compact(sparse));
            }
            Job::FreeDisk { bytes, answer } => {
                self.flush();
                let _ = answer.send(self.free_disk(bytes));
            }
        }
    }

    fn reserve(&mut self, bytes: u64, ended_bytes: u64) -> Result<(), DiskError> {
        self.room.ending_bytes = ended_bytes;
        let made = self.make_room(bytes);
        self.room.ending_bytes = 0;
        made?;
        // Between two looks of the guard at both.
        self.inventory.counters.grow_files(bytes);
        self.inventory.counters.shrink_unfinished(ended_bytes);
        Ok(())
    }

    fn append(
        &mut self,
        record: EncodedRecord,
        key: ShortKey,
        kind: RecordKind,
        answer: Answer<PutOutcome>,
    ) {
        if kind == RecordKind::Blob {
            if self.batch.others.contains(&key) {
                // What the table has is about to go.
                self.flush();
            }
            if self.inventory.table.touch(&key, self.inventory.now_s()) {
                let _ = answer.send(Ok(PutOutcome::AlreadyPresent));
                return;
            }
            if self.batch.blobs.contains(&key) {
                self.batch.followers.push(answer);
                return;
            }
        }
        let record_bytes = record.length_bytes();
        if let Err(error) = self.prepare(record_bytes) {
            let _ = answer.send(Err(error));
            return;
        }
        let keys = match kind {
            RecordKind::Blob => &mut self.batch.blobs,
            RecordKind::ActionResult => &mut self.batch.others,
        };
        keys.insert(key);
        let entry = Entry {
            key,
            kind,
            location: self.next_location(),
            record_bytes,
            logical_size_bytes: record.logical_size_bytes,
            encoding: record.encoding,
            recency_s: self.inventory.now_s(),
            hits: self.inventory.policy.lock().admit(key.name(), record_bytes),
        };
        let EncodedRecord { bytes, prologue_bytes, kept, .. } = record;
        self.push(bytes, prologue_bytes, kept, After::Store { entry, answer });
    }

    fn remove(
        &mut self,
        (key, short): (&RecordKey, &ShortKey),
        seen: Option<Seen>,
        answer: Answer<bool>,
    ) {
        if self.batch.is_about(short) {
            self.flush();
        }
        let is_meant = |entry: &Entry| seen.is_none_or(|seen| seen.is(entry));
        let Some(entry) = self.inventory.table.get(short).filter(is_meant) else {
            let _ = answer.send(Ok(false));
            return;
        };
        if let Location::File { sequence } = entry.location {
            // A pack may have the same blob, stored meanwhile; whoever reads the log again would find it.
            let has_older = self.inventory.table.has_older(short, entry.location);
            let removed = self.remove_file(key, short, sequence);
            let _ = answer.send(removed.and_then(|removed| {
                if removed && has_older {
                    self.say_removed(key, &entry)?;
                }
                Ok(removed)
            }));
            return;
        }
        let now_ms = self.inventory.io.unix_ms();
        let removal = encode_removal(key, entry.logical_size_bytes, now_ms);
        if let Err(error) = self.prepare(removal.bytes.len() as u64) {
            let _ = answer.send(Err(error));
            return;
        }
        // Making room may have moved the record, or evicted it.
        let found = self.inventory.table.get(short);
        let Some(entry) = found.filter(is_meant) else {
            let _ = answer.send(Ok(found.is_none()));
            return;
        };
        self.pack.note_removal();
        self.batch.others.insert(*short);
        let at = self.next_location();
        let after = After::Remove { key: *short, location: entry.location, at, answer };
        self.push(removal.bytes, removal.prologue_bytes, Bytes::new(), after);
    }

    fn remove_file(
        &self,
        key: &RecordKey,
        short: &ShortKey,
        sequence: u64,
    ) -> Result<bool, DiskError> {
        self.inventory.check_writable()?;
        if self.inventory.remove_at(short, Location::File { sequence }).is_none() {
            return Ok(false);
        }
        let path = self.inventory.layout.blob_file(key.hash(), sequence);
        self.inventory.io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
        self.inventory.forget_file(sequence);
        let fan = fan_of(key.hash());
        if self.syncs_batches() {
            sync_fan(&self.inventory, fan)?;
        } else {
            self.inventory.durable.note_dirty_fan(fan);
        }
        Ok(true)
    }

    /// Makes sure that the next `bytes` fit under the limit and into the pack.
    pub(crate) fn prepare(&mut self, bytes: u64) -> Result<(), DiskError> {
        self.inventory.check_writable()?;
        self.make_room(bytes)?;
        match self.begin_append(bytes) {
            Err(error) if error.is_disk_full() && self.free_disk(bytes) => self.begin_append(bytes),
            begun => begun,
        }
    }

    /// Makes sure that the pack is one for new records, and that the next `bytes` fit into it.
    fn begin_append(&mut self, bytes: u64) -> Result<(), DiskError> {
        if self.reclaim.is_for_survivors(self.pack.id) {
            if self.holds_records() {
                self.roll()?;
            } else {
                self.reclaim.set_for_survivors(self.pack.id, false);
            }
        }
        self.fit_pack(bytes)
    }

    /// Makes the pack that is appended to one for survivors only.
    pub(crate) fn begin_survivors(&mut self) -> Result<(), DiskError> {
        if self.holds_records() && !self.reclaim.is_for_survivors(self.pack.id) {
            self.roll()?;
        }
        self.reclaim.set_for_survivors(self.pack.id, true);
        Ok(())
    }

    /// Makes sure that the next `bytes` fit into the pack.
    fn fit_pack(&mut self, bytes: u64) -> Result<(), DiskError> {
        let end = self.end + self.batch.bytes;
        let is_full = end > HEADER_BYTES as u64 && end + bytes > self.limits.pack_cap_bytes;
        if is_full || self.has_dirty_tail { self.roll() } else { Ok(()) }
    }

    /// Seals the pack by beginning the next.
    pub(crate) fn roll(&mut self) -> Result<(), DiskError> {
        self.flush();
        sync_pack(&self.inventory, &self.pack)?;
        let inventory = &self.inventory;
        inventory.durable.note_synced(self.end_of_log());
        let next = self.pack.id + 1;
        let pack = Arc::new(Pack::create(&*inventory.io, &inventory.layout, next, inventory.salt)?);
        // What could not be cut off takes room until the pack is reclaimed.
        let tail_bytes =
            self.pack.file.len_bytes().map_or(0, |length| length.saturating_sub(self.end));
        inventory.counters.grow_files(HEADER_BYTES as u64 + tail_bytes);
        inventory.add_pack(&pack, inventory.take_sequence());
        self.pack = pack;
        self.end = HEADER_BYTES as u64;
        self.has_dirty_tail = false;
        inventory.durable.note_written(&self.pack, self.end_of_log());
        Ok(())
    }

    /// Adds a copy of a record that is to leave its place.
    pub(crate) fn push_move(
        &mut self,
        bytes: Vec<u8>,
        prologue_bytes: usize,
        entry: &Entry,
    ) -> Result<(), DiskError> {
        if self.batch.bytes >= BATCH_BYTES {
            self.write_gathered()?;
        }
        let is_for_survivors = self.reclaim.is_for_survivors(self.pack.id);
        self.fit_pack(bytes.len() as u64)?;
        if is_for_survivors {
            self.reclaim.set_for_survivors(self.pack.id, true);
        }
        let to = self.next_location();
        let after = After::Move { key: entry.key, from: entry.location, to };
        self.push(bytes, prologue_bytes, Bytes::new(), after);
        Ok(())
    }

    /// Adds a removal of what is not in the table any more, or is about to leave it.
    pub(crate) fn push_removal(
        &mut self,
        removal: EncodedRecord,
        key: ShortKey,
    ) -> Result<(), DiskError> {
        if self.batch.bytes >= BATCH_BYTES {
            self.write_gathered()?;
        }
        self.fit_pack(removal.bytes.len() as u64)?;
        self.pack.note_removal();
        let at = self.next_location();
        let after = After::Forget { key, at };
        self.push(removal.bytes, removal.prologue_bytes, Bytes::new(), after);
        Ok(())
    }

    /// Adds a record; its body follows the prologue in `bytes`, or is `kept`.
    pub(crate) fn push(
        &mut self,
        mut bytes: Vec<u8>,
        prologue_bytes: usize,
        kept: Bytes,
        after: After,
    ) {
        let place = Place::in_pack(self.inventory.salt, self.pack.id, self.next_offset());
        seal(&mut bytes[..prologue_bytes], self.inventory.take_sequence(), place);
        let item = Item { bytes, prologue_bytes, kept, after };
        self.batch.bytes += item.length_bytes();
        self.batch.items.push(item);
    }

    /// The same as [`Self::write_gathered`], for those who are answered by their batch.
    pub(crate) fn flush(&mut self) {
        // All that wait for the batch are told.
        let _ = self.write_gathered();
    }

    /// Writes what is gathered, makes it findable, and answers. On a full disk room is made, and the batch is tried once more.
    pub(crate) fn write_gathered(&mut self) -> Result<(), DiskError> {
        let batch = std::mem::take(&mut self.batch);
        if batch.items.is_empty() {
            return Ok(());
        }
        let inventory = Arc::clone(&self.inventory);
        let activity = &inventory.activity;
        activity.batch_records.record(batch.items.len() as u64);
        let written = timed(&activity.batch_micros, || self.write(&batch));
        let Err(error) = written else {
            self.publish(batch);
            return Ok(());
        };
        if !error.is_disk_full() || batch.is_of_reclaiming() || !self.free_disk(batch.bytes) {
            self.give_up_batch(batch, &error);
            return Err(error);
        }
        self.gather_again(batch);
        let batch = std::mem::take(&mut self.batch);
        match self.write(&batch) {
            Ok(()) => self.publish(batch),
            Err(error) => {
                if error.is_disk_full() {
                    self.inventory.note_futile_eviction();
                }
                self.give_up_batch(batch, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes what is written findable, and answers.
    fn publish(&self, batch: Batch) {
        self.inventory.counters.grow_files(batch.bytes);
        self.inventory.activity.count_written(batch.bytes);
        let mut answers = Vec::with_capacity(batch.items.len() + batch.followers.len());
        for item in batch.items {
            self.apply(item.after, &mut answers);
        }
        let already_present = |follower| (follower, PutOutcome::AlreadyPresent);
        answers.extend(batch.followers.into_iter().map(already_present));
        self.inventory.tell_index(IndexUpdate::Covered(self.end_of_log()));
        // One right after the other: a thread that is woken then finds the answers of all its tasks instead of the first.
        for (answer, outcome) in answers {
            let _ = answer.send(Ok(outcome));
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), DiskError> {
        self.inventory.check_writable()?;
        let mut slices = Vec::with_capacity(2 * batch.items.len());
        for item in &batch.items {
            slices.extend(item.pieces());
        }
        if let Err(error) = write_full(&*self.pack.file, &mut slices, self.end) {
            let path = self.inventory.layout.pack_file(self.pack.id);
            let error = self.inventory.io_error("append to", &path)(error);
            self.withdraw(batch);
            return Err(error);
        }
        if self.syncs_batches() {
            sync_pack(&self.inventory, &self.pack)?;
        }
        self.end += batch.bytes;
        self.inventory.durable.note_written(&self.pack, self.end_of_log());
        if self.syncs_batches() {
            self.inventory.durable.note_synced(self.end_of_log());
        }
        Ok(())
    }

    fn apply(&self, after: After, answers: &mut Vec<(Answer<PutOutcome>, PutOutcome)>) {
        match after {
            After::Store { entry, answer } => {
                let outcome = if entry.kind == RecordKind::ActionResult {
                    self.inventory.replace(&entry);
                    PutOutcome::Stored
                } else if self.inventory.insert_if_absent(&entry) {
                    PutOutcome::Stored
                } else {
                    // A blob file of the same content was faster.
                    PutOutcome::AlreadyPresent
                };
                answers.push((answer, outcome));
            }
            After::Remove { key, location, at, answer } => {
                let removed = self.inventory.remove_at(&key, location).is_some();
                self.inventory.tell_index(IndexUpdate::Removal { key, at });
                let _ = answer.send(Ok(removed));
            }
            After::Move { key, from, to } => self.inventory.relocate(&key, from, to),
            After::Forget { key, at } => {
                self.inventory.tell_index(IndexUpdate::Removal { key, at });
            }
        }
    }

    pub(crate) fn holds_records(&self) -> bool {
        self.end + self.batch.bytes > HEADER_BYTES as u64
    }

    /// Bytes that are gathered and not yet written.
    pub(crate) fn gathered_bytes(&self) -> u64 {
        self.batch.bytes
    }

    fn syncs_batches(&self) -> bool {
        self.syncer.is_none()
    }

    /// Where the log ends.
    pub(crate) fn end_of_log(&self) -> LogPosition {
        LogPosition { pack: self.pack.id, offset: to_offset(self.end) }
    }

    fn next_offset(&self) -> u32 {
        to_offset(self.end + self.batch.bytes)
    }

    pub(crate) fn next_location(&self) -> Location {
        Location::Pack { pack: self.pack.id, offset: self.next_offset() }
    }
}

fn to_offset(position: u64) -> u32 {
    u32::try_from(position).expect("packs are capped far below 4 GiB")
}
