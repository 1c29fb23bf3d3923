//! [`Engine`]: the storage engine's face, and the owner of its threads.

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use larder_protos::{Digest, Hash};
use tokio::sync::{oneshot, watch};

use crate::activity::{Activity, EngineState};
use crate::blob_file::{BlobFile, FileContext};
use crate::codec::Content;
use crate::commit::{Commit, PutOutcome};
use crate::committer::{Committer, Job, Limits};
use crate::durable::{Syncer, sync_all};
use crate::error::{DiskError, with_causes};
use crate::indexer::Indexer;
use crate::inventory::Inventory;
use crate::io::Io;
use crate::key::{Keyspace, RecordKey, RecordKind};
use crate::layout::Layout;
use crate::options::{Durability, EngineOptions};
use crate::pack::cap_bytes;
use crate::prepared::{Prepared, Wake};
use crate::prologue::{Encoding, SIZE_LIMIT_BYTES};
use crate::queue::{BoundedQueue, Popped};
use crate::reader::{Accepts, Opened, RecordReader};
use crate::record_writer::{RecordWriter, Written};
use crate::recovery::{Recovered, recover};
use crate::scrub::Scrub;
use crate::usage::Usage;

/// The most that [`Engine::append`] takes, in logical bytes: it holds the whole record in memory.
const APPEND_LIMIT_BYTES: u64 = 80 << 20;

/// What is known of a record without reading it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RecordInfo {
    /// Bytes of the content.
    pub logical_size_bytes: u64,
    /// Bytes on disk, the record's own prologue included.
    pub stored_size_bytes: u64,
    /// How it is stored.
    pub encoding: Encoding,
}

/// The storage engine: one data directory, open.
///
/// Dropping it writes and syncs what is under way, and joins its threads. Methods that touch the disk block; call them off
/// the async workers.
#[derive(Debug)]
pub struct Engine {
    context: FileContext,
    options: EngineOptions,
    threads: Threads,
}

impl Engine {
    /// Opens a directory, or makes a new one, and takes its lock. One that exists and cannot be written is read: what is stored is
    /// served, and writes are refused.
    pub fn open(options: EngineOptions, io: Arc<dyn Io>) -> Result<Self, DiskError> {
        let data_dir = &options.data_dir;
        io.create_dir_all(data_dir).map_err(DiskError::io("create", data_dir))?;
        if let Some(above) = data_dir.parent().filter(|above| !above.as_os_str().is_empty())
            && let Err(error) = io.sync_dir(above)
        {
            // Not ours, so perhaps not ours to read; a directory that has been there for long needs no sync.
            tracing::warn!(dir = %above.display(), error = %with_causes(&error), "the directory above the data cannot be synced");
        }
        let lock_file = Layout::new(data_dir).lock_file();
        let lock = io
            .lock(&lock_file)
            .map_err(DiskError::io("lock", &lock_file))?
            .ok_or_else(|| DiskError::Locked { data_dir: data_dir.clone() })?;
        let recovered = recover(&options, io)?;
        let context = FileContext {
            inventory: Arc::clone(&recovered.inventory),
            jobs: Arc::clone(&recovered.inventory.jobs),
            _lock: Arc::from(lock),
            syncs_names: options.durability == Durability::Sync,
            max_size_bytes: options.max_size_bytes,
        };
        let threads = Threads::start(&options, recovered, &context)?;
        Ok(Self { context, options, threads })
    }

    /// Whether a record is there; extends its life. Memory only.
    pub fn contains(&self, key: &RecordKey) -> bool {
        let inventory = self.inventory();
        inventory
            .short_key(key)
            .is_some_and(|short| inventory.table.touch(&short, inventory.now_s()))
    }

    /// Leaves in `digests` those of blobs that are not there, as [`Self::settled`] tells it; extends the life of the others.
    /// Memory only, and cheaper than asking for each.
    pub async fn retain_missing(&self, keyspace: &Keyspace, digests: &mut Vec<Digest>) {
        let is_loaded = self.inventory().loaded.is_open();
        self.drop_present(keyspace, digests);
        if !is_loaded && !digests.is_empty() {
            self.inventory().loaded.opened().await;
            self.drop_present(keyspace, digests);
        }
    }

    fn drop_present(&self, keyspace: &Keyspace, digests: &mut Vec<Digest>) {
        let inventory = self.inventory();
        let mut last = None;
        let mut keys = Vec::with_capacity(digests.len());
        for digest in digests.iter() {
            let function = digest.function();
            let partition = match last {
                Some((known, partition)) if known == function => partition,
                _ => inventory.partitions.number_of(RecordKind::Blob, function, keyspace),
            };
            last = Some((function, partition));
            // The number that no partition has: nothing is found under it.
            let partition = partition.unwrap_or(u16::MAX);
            let hash = digest.hash().as_bytes();
            keys.push(inventory.shortener.shorten(partition, hash, digest.size_bytes()));
        }
        let mut found = inventory.table.touch_all(&keys, inventory.now_s()).into_iter();
        digests.retain(|_| !found.next().unwrap_or(false));
    }

    /// How many records have gone so far, for whatever reason. While it stays the same, all that was there is there still.
    pub fn removals(&self) -> u64 {
        self.inventory().table.removals()
    }

    /// Of which of these names there are action results, in their order; extends the life of those. Memory only, and a single
    /// look where the keyspace has none at all.
    pub fn touch_action_results(&self, keyspace: &Keyspace, digests: &[Digest]) -> Vec<bool> {
        let inventory = self.inventory();
        let mut last = None;
        let mut are_there = vec![false; digests.len()];
        for (digest, is_there) in digests.iter().zip(&mut are_there) {
            let function = digest.function();
            let partition = match last {
                Some((known, partition)) if known == function => partition,
                _ => inventory.partitions.number_of(RecordKind::ActionResult, function, keyspace),
            };
            last = Some((function, partition));
            if let Some(partition) = partition {
                let short = inventory.shortener.shorten(partition, digest.hash().as_bytes(), 0);
                *is_there = inventory.table.touch(&short, inventory.now_s());
            }
        }
        are_there
    }

    /// Asks, and while the engine still reads what is stored does not believe a miss: it waits, and asks once more.
    /// Dropping the future is harmless.
    pub async fn settled<T>(&self, ask: impl Fn(&Self) -> Option<T>) -> Option<T> {
        // Looked at first: what is loaded between the two looks would be missed by both.
        let is_loaded = self.inventory().loaded.is_open();
        let answer = ask(self);
        if answer.is_some() || is_loaded {
            return answer;
        }
        self.inventory().loaded.opened().await;
        ask(self)
    }

    /// Whether a record is there, as [`Self::settled`] tells it; extends its life.
    pub async fn holds(&self, key: &RecordKey) -> bool {
        self.settled(|engine| engine.contains(key).then_some(())).await.is_some()
    }

    /// Resolves when all that is stored is known. Dropping the future is harmless.
    pub async fn loaded(&self) {
        self.inventory().loaded.opened().await;
    }

    /// Blocks until all that is stored is known.
    pub fn wait_loaded(&self) {
        self.inventory().loaded.wait();
    }

    /// Ends the reading of what is stored, where the engine is to be dropped soon: whoever waits for it goes on, and what was not read
    /// counts as missing. Nothing is evicted from now on, and what has to know all ends in [`DiskError::Closed`].
    pub fn stop_loading(&self) {
        self.inventory().close();
    }

    /// Blocks until all that is stored is known, or will not be.
    pub(crate) fn require_loaded(&self) -> Result<(), DiskError> {
        self.wait_loaded();
        if self.inventory().is_closing() { Err(DiskError::Closed) } else { Ok(()) }
    }

    /// What is known of a record. Memory only.
    pub fn record(&self, key: &RecordKey) -> Option<RecordInfo> {
        let inventory = self.inventory();
        let entry = inventory.table.get(&inventory.short_key(key)?)?;
        Some(RecordInfo {
            logical_size_bytes: entry.logical_size_bytes,
            stored_size_bytes: entry.record_bytes,
            encoding: entry.encoding,
        })
    }

    /// The size of a blob named by its hash alone, as the HTTP cache names it. Memory only.
    pub fn blob_size(&self, keyspace: &Keyspace, hash: &Hash) -> Option<u64> {
        let inventory = self.inventory();
        let sizeless = RecordKey::blob(keyspace, &Digest::new(*hash, 0));
        inventory.table.size_of(&inventory.short_key(&sizeless)?)
    }

    /// Reads a record; extends its life. `range` counts logical bytes, what lies behind the end is left out. Blocks.
    pub fn read(
        &self,
        key: &RecordKey,
        range: Range<u64>,
        accepts: Accepts,
    ) -> Result<Option<RecordReader>, DiskError> {
        let found = self.find(key, range, accepts)?;
        self.inventory().activity.count_read(key.kind(), found.is_some());
        Ok(found)
    }

    fn find(
        &self,
        key: &RecordKey,
        range: Range<u64>,
        accepts: Accepts,
    ) -> Result<Option<RecordReader>, DiskError> {
        let inventory = self.inventory();
        let Some(short) = inventory.short_key(key) else { return Ok(None) };
        let mut last_seen = None;
        while inventory.table.touch(&short, inventory.now_s()) {
            let Some(entry) = inventory.table.get(&short) else { break };
            if last_seen == Some(entry.location) {
                // Not moved meanwhile: the file is gone, by another hand than ours.
                return Err(inventory.quarantine(key, &entry, "its file is gone"));
            }
            match RecordReader::open(inventory, key, entry, range.clone(), accepts)? {
                Opened::Reader(reader) => return Ok(Some(reader)),
                Opened::Another => return Ok(None),
                Opened::Gone => last_seen = Some(entry.location),
            }
        }
        Ok(None)
    }

    /// Stores content of at most 80 MiB: [`Self::prepare`], then a wait for room in the queue to the committer; the answer
    /// comes with its group. Blocks while the disk is behind.
    pub fn append(&self, key: &RecordKey, content: Content<'_>) -> Result<Commit, DiskError> {
        self.prepare(key, content)?.submit_blocking()
    }

    /// Encodes content of at most 80 MiB on the caller's thread, to be submitted. A blob that is there already is not
    /// written again, an action result is replaced. A blob of `large_blob_bytes` or more is written to its file here, which
    /// blocks; nothing else does.
    pub fn prepare(&self, key: &RecordKey, content: Content<'_>) -> Result<Prepared, DiskError> {
        let inventory = self.inventory();
        let size_bytes = content.logical_size_bytes();
        check_size(key, size_bytes, APPEND_LIMIT_BYTES)?;
        if key.expected_size_bytes().is_some_and(|expected| expected != size_bytes) {
            return Err(DiskError::SizeMismatch { key: key.clone(), actual_bytes: size_bytes });
        }
        let short = inventory.intern(key)?;
        let kind = key.kind();
        if kind == RecordKind::Blob && inventory.table.touch(&short, inventory.now_s()) {
            return Ok(Prepared::known(PutOutcome::AlreadyPresent));
        }
        inventory.check_writable()?;
        let record = inventory
            .codec
            .encode(key, content, inventory.io.unix_ms())
            .map_err(DiskError::io("encode", inventory.layout.data_dir()))?;
        let record_bytes = record.length_bytes();
        if kind == RecordKind::Blob && record_bytes >= self.options.large_blob_bytes {
            return BlobFile::create(self.context.clone(), key)?.put(record).map(Prepared::known);
        }
        let (answer, receiver) = oneshot::channel();
        let job = Job::Append { record, key: short, kind, answer };
        let wake = match self.options.durability {
            Durability::Sync => Wake::AtOnce,
            Durability::Interval(_) => Wake::AfterTurn,
        };
        Ok(Prepared::waiting(job, receiver, Arc::clone(&self.context.jobs), wake))
    }

    /// Begins a large blob, which gets a file of its own. Blocks.
    pub fn create(&self, key: &RecordKey) -> Result<RecordWriter, DiskError> {
        self.begin(key, Written::Plain)
    }

    /// The same for a blob that comes as a zstd stream of at most [`stream_limit_bytes`](crate::stream_limit_bytes), which the caller
    /// decodes and verifies meanwhile, and which is stored as it is. Who reads a part of it, or plain bytes, decodes all that
    /// is before, and takes memory for the largest window that its frames ask for, 8 MiB at most.
    pub fn create_stream(&self, key: &RecordKey) -> Result<RecordWriter, DiskError> {
        self.begin(key, Written::ZstdStream)
    }

    fn begin(&self, key: &RecordKey, written: Written) -> Result<RecordWriter, DiskError> {
        let Some(size_bytes) = key.expected_size_bytes() else {
            return Err(DiskError::NotABlob { key: key.clone() });
        };
        check_size(key, size_bytes, self.options.max_size_bytes)?;
        RecordWriter::create(self.context.clone(), key, size_bytes, written)
    }

    /// Removes a record; says whether it was there. Blocks until all that is stored is known, and the removal is as durable
    /// as a put.
    pub fn remove(&self, key: &RecordKey) -> Result<bool, DiskError> {
        self.inventory().check_writable()?;
        self.require_loaded()?;
        let Some(short) = self.inventory().short_key(key) else { return Ok(false) };
        let (answer, receiver) = oneshot::channel();
        self.submit(Job::Remove { key: key.clone(), short, seen: None, answer })?;
        receiver.blocking_recv().unwrap_or(Err(DiskError::Closed))
    }

    /// What is written so far survives a power cut, whatever the setting. Blocks.
    pub fn sync(&self) -> Result<(), DiskError> {
        sync_all(self.inventory())
    }

    /// zstd's level, for those who must know how long encoding takes.
    pub fn zstd_level(&self) -> i32 {
        self.options.zstd_level
    }

    /// Becomes true when a failed sync has ended writes, and is so from the start where the directory cannot be written; reads go
    /// on. Only another start makes it false again.
    pub fn writes_refused(&self) -> watch::Receiver<bool> {
        self.inventory().writes_refused()
    }

    /// The scrub, to be told what to do; `None` where it was off when the engine was opened.
    pub fn scrub(&self) -> Option<&Scrub> {
        self.threads.scrub.as_ref()
    }

    /// What is stored, and what happened since the engine was opened.
    pub fn usage(&self) -> Usage {
        let inventory = self.inventory();
        let scrub = self.threads.scrub.as_ref().map(Scrub::usage).unwrap_or_default();
        let limit_bytes = self.options.max_size_bytes;
        let retention_s = inventory.retention.lock().youngest_s(inventory.now_s());
        Usage {
            limit_bytes,
            min_retention_s: retention_s.map(u64::from),
            writes_refused: inventory.refuses_writes(),
            scrub,
            is_loaded: inventory.loaded.is_open(),
            ..inventory.counters.usage()
        }
    }

    /// What passed through it since it was opened.
    pub fn activity(&self) -> &Activity {
        &self.inventory().activity
    }

    /// How it stands. Asks the file system for its free space.
    pub fn state(&self) -> EngineState {
        let inventory = self.inventory();
        let packs = inventory.packs.count() as u64;
        let units = inventory.units.lock().len() as u64;
        EngineState {
            packs,
            blob_files: units.saturating_sub(packs),
            partitions: inventory.partitions.count().into(),
            commit_queue_bytes: inventory.jobs.weight(),
            index_queue_updates: inventory.index_queue.weight(),
            index_failed: inventory.activity.index_failed(),
            free_bytes: inventory.io.free_bytes(inventory.layout.data_dir()).ok(),
            min_free_bytes: self.options.min_free_disk_bytes,
        }
    }

    pub(crate) fn inventory(&self) -> &Arc<Inventory> {
        &self.context.inventory
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), DiskError> {
        let weight = job.weight();
        self.context.jobs.push(job, weight).map_err(|_| DiskError::Closed)
    }
}

fn check_size(key: &RecordKey, size_bytes: u64, limit_bytes: u64) -> Result<(), DiskError> {
    let limit_bytes = limit_bytes.min(SIZE_LIMIT_BYTES - 1);
    if size_bytes > limit_bytes {
        return Err(DiskError::TooLarge { key: key.clone(), size_bytes, limit_bytes });
    }
    Ok(())
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.threads.stop(&self.context);
    }
}

/// The engine's threads.
#[derive(Debug)]
struct Threads {
    loader: Option<JoinHandle<()>>,
    committer: Option<JoinHandle<()>>,
    indexer: Option<JoinHandle<()>>,
    syncer: Option<(Arc<Syncer>, JoinHandle<()>)>,
    scrub: Option<Scrub>,
}

impl Threads {
    /// Starts all of them, or none.
    fn start(
        options: &EngineOptions,
        recovered: Recovered,
        context: &FileContext,
    ) -> Result<Self, DiskError> {
        let mut threads =
            Self { loader: None, committer: None, indexer: None, syncer: None, scrub: None };
        match threads.start_each(options, recovered, context) {
            Ok(()) => Ok(threads),
            Err(error) => {
                threads.stop(context);
                Err(DiskError::io("start a thread for", &options.data_dir)(error))
            }
        }
    }

    fn start_each(
        &mut self,
        options: &EngineOptions,
        recovered: Recovered,
        context: &FileContext,
    ) -> std::io::Result<()> {
        let Recovered { inventory, active, db, known_partitions, marked, backlog, loader } =
            recovered;
        let start = |name: &str| std::thread::Builder::new().name(name.to_owned());

        let indexer = Indexer::new(Arc::clone(&inventory), db, known_partitions, marked);
        let queue = Arc::clone(&inventory);
        self.indexer = Some(start("disk-indexer").spawn(move || {
            let _closed = CloseOnExit(&queue.index_queue);
            indexer.run(backlog);
        })?);
        self.loader = Some(start("disk-loader").spawn(move || loader.run())?);
        // Without a pack to append to nobody writes.
        let Some(active) = active else { return Ok(()) };

        let limits = Limits {
            max_size_bytes: options.max_size_bytes,
            min_free_disk_bytes: options.min_free_disk_bytes,
            pack_cap_bytes: cap_bytes(options.max_size_bytes),
        };
        let syncer = match options.durability {
            Durability::Sync => None,
            Durability::Interval(period) => Some((Arc::new(Syncer::default()), period)),
        };
        let asked = syncer.as_ref().map(|(syncer, _)| Arc::clone(syncer));
        let committer = Committer::new(Arc::clone(&inventory), limits, asked, active);
        let jobs = Arc::clone(&context.jobs);
        self.committer = Some(start("disk-committer").spawn(move || {
            let _closed = CloseOnExit(&jobs);
            committer.run(&jobs);
        })?);

        if options.scrub_rate_bytes > 0 {
            let inventory = Arc::clone(&inventory);
            self.scrub = Some(Scrub::start(inventory, options.scrub_rate_bytes)?);
        }
        if let Some((syncer, period)) = syncer {
            let work = Arc::clone(&syncer);
            let handle = start("disk-syncer").spawn(move || work.run(&inventory, period))?;
            self.syncer = Some((syncer, handle));
        }
        Ok(())
    }

    /// Ends the threads in the order in which they feed each other.
    fn stop(&mut self, context: &FileContext) {
        context.inventory.close();
        join(self.loader.take());
        // Where there is none, nobody else opens it.
        context.inventory.loaded.open();
        join(self.scrub.as_mut().and_then(Scrub::stop));
        context.jobs.close();
        join(self.committer.take());
        if let Some((syncer, handle)) = self.syncer.take() {
            syncer.stop();
            join(Some(handle));
        }
        context.inventory.index_queue.close();
        join(self.indexer.take());
    }
}

fn join(handle: Option<JoinHandle<()>>) {
    if handle.is_some_and(|handle| handle.join().is_err()) {
        tracing::error!("a thread of the storage engine panicked");
    }
}

/// Whoever waits for a queue whose thread has ended, by a panic too, gets an answer.
struct CloseOnExit<'a, T>(&'a BoundedQueue<T>);

impl<T> Drop for CloseOnExit<'_, T> {
    fn drop(&mut self) {
        self.0.close();
        // After a panic something is left: to drop it tells those who wait.
        while let Popped::Batch(left) = self.0.pop_batch(u64::MAX, None) {
            drop(left);
        }
    }
}
