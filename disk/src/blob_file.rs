//! [`RecordWriter`]: a large blob on its way into a file of its own, and [`BlobFile`], that file until it has its name.
//!
//! Invariant: a name under `blobs/` is a whole, synced file. What is dropped before leaves nothing behind.
//! Source: docs/design/disk-format.md, "Blob files".

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use crate::codec::{Body, EncodedRecord};
use crate::commit::PutOutcome;
use crate::committer::Job;
use crate::durable::{ensure_fan, sync_fan};
use crate::error::{DiskError, is_disk_full};
use crate::inventory::Inventory;
use crate::io::{DirLock, IoFile, OpenMode, write_full};
use crate::key::{RecordKey, RecordKind};
use crate::layout::fan_of;
use crate::prologue::{
    Effect, Encoding, FRAME_SIZE_BYTES, FRAME_SIZE_LOG2, Place, Prologue, prologue_bytes, seal,
};
use crate::queue::BoundedQueue;
use crate::slot::{Entry, Location};

/// What an engine lends to those who write files.
#[derive(Clone, Debug)]
pub(crate) struct FileContext {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) jobs: Arc<BoundedQueue<Job>>,
    /// A writer may outlive the engine; the directory stays taken as long.
    pub(crate) _lock: Arc<dyn DirLock>,
    /// Whether a name is synced before the answer.
    pub(crate) syncs_names: bool,
}

/// A file in `tmp/` that becomes a blob file, or goes when it is dropped.
#[derive(Debug)]
pub(crate) struct BlobFile {
    context: FileContext,
    key: RecordKey,
    sequence: u64,
    file: Arc<dyn IoFile>,
    /// The name it has now; `None` once it has its own.
    tmp: Option<PathBuf>,
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
        Ok(Self { context, key: key.clone(), sequence, file, tmp: Some(tmp) })
    }

    /// Writes a record that is whole in memory, and publishes it.
    pub(crate) fn put(self, mut record: EncodedRecord) -> Result<PutOutcome, DiskError> {
        self.seal(&mut record.bytes[..record.prologue_bytes]);
        self.write_at(&record.bytes, 0)?;
        let record_bytes = record.bytes.len() as u64;
        self.publish(record_bytes, record.logical_size_bytes, record.encoding)
    }

    fn seal(&self, prologue: &mut [u8]) {
        seal(prologue, self.sequence, Place::in_file(self.context.inventory.salt));
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        let write = || write_full(&*self.file, &mut [IoSlice::new(bytes)], offset);
        self.context.with_room(bytes.len() as u64, write).map_err(self.error("write"))
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> DiskError {
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
    fn publish(
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
        let reservation = Reservation::wait(&self.context, record_bytes)?;
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
    fn wait(context: &FileContext, bytes: u64) -> Result<Self, DiskError> {
        let (answer, receiver) = mpsc::sync_channel(1);
        let job = Job::Reserve { bytes, answer };
        let weight = job.weight();
        context.jobs.push(job, weight).map_err(|_| DiskError::Closed)?;
        receiver.recv().unwrap_or(Err(DiskError::Closed))?;
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

/// A large blob being written, frame by frame; memory stays at two frames whatever its size.
///
/// Dropping it removes what is written. All methods block.
#[derive(Debug)]
pub struct RecordWriter {
    file: BlobFile,
    body: Body,
    expected_bytes: u64,
    received_bytes: u64,
    prologue_bytes: usize,
    /// Where the next frame goes.
    end: u64,
    /// Less than a frame of logical bytes.
    frame: Vec<u8>,
    /// Reused from frame to frame.
    encoded: Vec<u8>,
}

impl RecordWriter {
    pub(crate) fn create(
        context: FileContext,
        key: &RecordKey,
        expected_bytes: u64,
    ) -> Result<Self, DiskError> {
        let too_large = |_| DiskError::TooLarge {
            key: key.clone(),
            size_bytes: expected_bytes,
            limit_bytes: crate::prologue::SIZE_LIMIT_BYTES,
        };
        let frames = usize::try_from(expected_bytes.div_ceil(FRAME_SIZE_BYTES as u64));
        let prologue_bytes = prologue_bytes(key, frames.map_err(too_large)?);
        Ok(Self {
            file: BlobFile::create(context, key)?,
            body: Body::default(),
            expected_bytes,
            received_bytes: 0,
            prologue_bytes,
            end: prologue_bytes as u64,
            frame: Vec::new(),
            encoded: Vec::new(),
        })
    }

    /// Takes the next bytes of the blob.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), DiskError> {
        self.received_bytes += data.len() as u64;
        if self.received_bytes > self.expected_bytes {
            return Err(self.size_mismatch());
        }
        while !data.is_empty() {
            if self.frame.is_empty() && data.len() >= FRAME_SIZE_BYTES {
                let (frame, rest) = data.split_at(FRAME_SIZE_BYTES);
                self.write_frame(frame)?;
                data = rest;
                continue;
            }
            let room = FRAME_SIZE_BYTES - self.frame.len();
            let (now, rest) = data.split_at(room.min(data.len()));
            self.frame.extend_from_slice(now);
            data = rest;
            if self.frame.len() == FRAME_SIZE_BYTES {
                self.write_gathered()?;
            }
        }
        Ok(())
    }

    /// Stores the blob, once all its bytes have been written.
    pub fn finish(mut self) -> Result<PutOutcome, DiskError> {
        if self.received_bytes != self.expected_bytes {
            return Err(self.size_mismatch());
        }
        if !self.frame.is_empty() {
            self.write_gathered()?;
        }
        let encoding = self.body.encoding();
        let prologue = Prologue {
            effect: Effect::Store,
            key: self.file.key.clone(),
            encoding,
            frame_size_log2: FRAME_SIZE_LOG2,
            logical_size_bytes: self.expected_bytes,
            sequence: self.file.sequence,
            written_unix_ms: self.file.context.inventory.io.unix_ms(),
            extension_bytes: 0,
            frames: self.body.frames,
        };
        let mut bytes = vec![0; self.prologue_bytes];
        prologue.write(&mut bytes);
        self.file.seal(&mut bytes);
        self.file.write_at(&bytes, 0)?;
        self.file.publish(self.end, self.expected_bytes, encoding)
    }

    fn write_gathered(&mut self) -> Result<(), DiskError> {
        let mut frame = std::mem::take(&mut self.frame);
        let written = self.write_frame(&frame);
        frame.clear();
        self.frame = frame;
        written
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), DiskError> {
        self.encoded.clear();
        let codec = &self.file.context.inventory.codec;
        self.body.push(codec, frame, &mut self.encoded).map_err(self.file.error("encode"))?;
        self.file.write_at(&self.encoded, self.end)?;
        self.end += self.encoded.len() as u64;
        Ok(())
    }

    fn size_mismatch(&self) -> DiskError {
        DiskError::SizeMismatch { key: self.file.key.clone(), actual_bytes: self.received_bytes }
    }
}
