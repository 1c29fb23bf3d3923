//! [`BlobFile`]: a file in `tmp/` until it has its name under `blobs/`.
//!
//! Invariant: a name under `blobs/` is a whole, synced file. What is dropped before leaves nothing behind.
//! Source: docs/design/disk-format.md, "Blob files".

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use crate::codec::EncodedRecord;
use crate::commit::PutOutcome;
use crate::committer::Job;
use crate::durable::{ensure_fan, sync_fan};
use crate::error::{DiskError, is_disk_full};
use crate::inventory::Inventory;
use crate::io::{DirLock, IoFile, OpenMode, write_full};
use crate::key::{RecordKey, RecordKind};
use crate::layout::fan_of;
use crate::prologue::{Encoding, Place, seal};
use crate::queue::BoundedQueue;
use crate::slot::{Entry, Location};
use crate::unfinished::Unfinished;

/// What an engine lends to those who write files.
#[derive(Clone, Debug)]
pub(crate) struct FileContext {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) jobs: Arc<BoundedQueue<Job>>,
    /// A writer may outlive the engine; the directory stays taken as long.
    pub(crate) _lock: Arc<dyn DirLock>,
    /// Whether a name is synced before the answer.
    pub(crate) syncs_names: bool,
    pub(crate) max_size_bytes: u64,
}

/// A file in `tmp/` that becomes a blob file, or goes when it is dropped.
#[derive(Debug)]
pub(crate) struct BlobFile {
    pub(crate) context: FileContext,
    pub(crate) key: RecordKey,
    pub(crate) sequence: u64,
    file: Arc<dyn IoFile>,
    /// The name it has now; `None` once it has its own.
    tmp: Option<PathBuf>,
    /// After the file, which has its blocks until it is closed.
    unfinished: Unfinished,
}

impl FileContext {
    /// Does what may find the disk full; then waits until the committer has made room, and does it once more.
    fn with_room<T>(&self, bytes: u64, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match attempt() {
            Err(error) if is_disk_full(&error) && self.free_disk(bytes) => {
                attempt().inspect_err(|error| {
                    if is_disk_full(error) {
                        self.inventory.note_futile_eviction();
                    }
                })
            }
            done => done,
        }
    }

    /// Waits until the committer has made room for so much under the limit, which counts as taken from then on, and no longer as
    /// unfinished.
    pub(crate) fn make_room(&self, bytes: u64, ended_bytes: u64) -> Result<(), DiskError> {
        let (answer, receiver) = mpsc::sync_channel(1);
        let job = Job::Reserve { bytes, ended_bytes, answer };
        let weight = job.weight();
        self.jobs.push(job, weight).map_err(|_| DiskError::Closed)?;
        receiver.recv().unwrap_or(Err(DiskError::Closed))
    }

    fn free_disk(&self, bytes: u64) -> bool {
        let (answer, room) = mpsc::sync_channel(1);
        let job = Job::FreeDisk { bytes, answer };
        let weight = job.weight();
        self.jobs.push(job, weight).is_ok() && room.recv().unwrap_or(false)
    }
}

impl BlobFile {
    pub(crate) fn create(context: FileContext, key: &RecordKey) -> Result<Self, DiskError> {
        let inventory = &context.inventory;
        inventory.check_writable()?;
        let sequence = inventory.take_sequence();
        let tmp = inventory.layout.tmp_file(sequence);
        let file = context
            .with_room(0, || inventory.io.open(&tmp, OpenMode::CreateNew))
            .map_err(inventory.io_error("create", &tmp))?;
        let unfinished = Unfinished::begin(context.clone());
        Ok(Self { context, key: key.clone(), sequence, file, tmp: Some(tmp), unfinished })
    }

    /// Writes a record that is whole in memory, and publishes it.
    pub(crate) fn put(self, mut record: EncodedRecord) -> Result<PutOutcome, DiskError> {
        self.seal(&mut record.bytes[..record.prologue_bytes]);
        self.write_pieces_at(&[IoSlice::new(&record.bytes), IoSlice::new(&record.kept)], 0)?;
        self.publish(record.length_bytes(), record.logical_size_bytes, record.encoding)
    }

    pub(crate) fn seal(&self, prologue: &mut [u8]) {
        seal(prologue, self.sequence, Place::in_file(self.context.inventory.salt));
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.write_pieces_at(&[IoSlice::new(bytes)], offset)
    }

    pub(crate) fn write_pieces_at(
        &self,
        pieces: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<(), DiskError> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.unfinished.grow(bytes)?;
        let write = || write_full(&*self.file, &mut pieces.to_vec(), offset);
        self.context.with_room(bytes, write).map_err(self.error("write"))
    }

    pub(crate) fn error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        let inventory = &self.context.inventory;
        let path = inventory.layout.tmp_file(self.sequence);
        move |error| inventory.io_error(operation, &path)(error)
    }

    /// Gives the file its name, which in `Sync` survives a power cut from then on.
    fn rename_to(&mut self, path: &Path, fan: u8) -> Result<(), DiskError> {
        let Some(tmp) = &self.tmp else { return Ok(()) };
        let inventory = &self.context.inventory;
        let name = || {
            ensure_fan(inventory, fan)?;
            match inventory.io.rename(tmp, path) {
                // Another hand has removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    inventory.durable.forget_fan(fan);
                    ensure_fan(inventory, fan)?;
                    inventory.io.rename(tmp, path)
                }
                renamed => renamed,
            }
        };
        self.context.with_room(0, name).map_err(inventory.io_error("rename", path))?;
        self.tmp = None;
        if !self.context.syncs_names {
            inventory.durable.note_dirty_fan(fan);
            return Ok(());
        }
        sync_fan(inventory, fan).inspect_err(|_| {
            // Nobody was told of it; what stays is taken in at the next start, where it does no harm.
            let _ = inventory.io.remove_file(path);
        })
    }

    /// Syncs the file, gives it its name and makes it findable.
    pub(crate) fn publish(
        mut self,
        record_bytes: u64,
        logical_size_bytes: u64,
        encoding: Encoding,
    ) -> Result<PutOutcome, DiskError> {
        // Only this file is at stake, so a failure ends this put and not all writes.
        self.file.sync_data().map_err(self.error("sync"))?;
        let inventory = Arc::clone(&self.context.inventory);
        inventory.check_writable()?;
        let key = inventory.intern(&self.key)?;
        let reservation = Reservation::wait(&self.context, record_bytes, &self.unfinished)?;
        let path = inventory.layout.blob_file(self.key.hash(), self.sequence);
        self.rename_to(&path, fan_of(self.key.hash()))?;
        let entry = Entry {
            key,
            kind: RecordKind::Blob,
            location: Location::File { sequence: self.sequence },
            record_bytes,
            logical_size_bytes,
            encoding,
            recency_s: inventory.now_s(),
            hits: inventory.policy.lock().admit(key.name(), record_bytes),
        };
        if !inventory.insert_if_absent(&entry) {
            inventory.io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
            return Ok(PutOutcome::AlreadyPresent);
        }
        inventory.activity.count_written(record_bytes);
        inventory.enlist_file(&entry, path, self.sequence);
        reservation.keep();
        Ok(PutOutcome::Stored)
    }
}

/// Room under the limit that a file is about to take; given back when it does not.
#[derive(Debug)]
struct Reservation {
    inventory: Arc<Inventory>,
    bytes: u64,
}

impl Reservation {
    /// Waits until the committer has made room.
    fn wait(context: &FileContext, bytes: u64, unfinished: &Unfinished) -> Result<Self, DiskError> {
        context.make_room(bytes, unfinished.bytes())?;
        unfinished.end();
        Ok(Self { inventory: Arc::clone(&context.inventory), bytes })
    }

    /// The file has its name and counts.
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inventory.counters.shrink_files(self.bytes);
    }
}

impl Drop for BlobFile {
    fn drop(&mut self) {
        if let Some(tmp) = &self.tmp {
            // What cannot be removed now is removed at the next start.
            let _ = self.context.inventory.io.remove_file(tmp);
        }
    }
}
