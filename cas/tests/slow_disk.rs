//! The disk tier on a disk that takes no writes for a while.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use larder_cas::{
    BlobKey, BlobKeys, BlobStore, DiskTier, Encoding, Keyspace, PutOutcome, RequestCx,
    UntrustedPayload,
};
use larder_disk::{
    DirEntry, DirLock, Durability, Engine, EngineOptions, EvictionPolicy, Io, IoFile, OpenMode,
    RealIo,
};
use larder_protos::{Digest, DigestFunction};
use parking_lot::{Condvar, Mutex};

/// Real files; while the gate is shut, writes wait.
#[derive(Clone, Default, Debug)]
struct GatedIo(Arc<Gate>);

#[derive(Default, Debug)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock() = is_shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.opened.wait_while(&mut self.is_shut.lock(), |is_shut| *is_shut);
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn IoFile>,
    gate: Arc<Gate>,
}

impl Io for GatedIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        Ok(Arc::new(GatedFile { file: RealIo.open(path, mode)?, gate: Arc::clone(&self.0) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealIo.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealIo.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealIo.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        RealIo.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealIo.free_bytes(path)
    }

    fn unix_ms(&self) -> u64 {
        RealIo.unix_ms()
    }

    fn salt(&self) -> u64 {
        RealIo.salt()
    }
}

impl IoFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.gate.pass();
        self.file.write_at(slices, offset)
    }

    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        self.file.forget_cached(offset, length_bytes);
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.file.len_bytes()
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.file.truncate(length_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn disk_tier(directory: &Path, io: &GatedIo) -> DiskTier {
    let options = EngineOptions {
        data_dir: directory.to_owned(),
        max_size_bytes: 1 << 30,
        min_free_disk_bytes: 0,
        eviction: EvictionPolicy::Lfu,
        durability: Durability::Interval(Duration::from_secs(1)),
        zstd_level: 1,
        index_cache_bytes: 8 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    };
    let engine = Engine::open(options, Arc::new(io.clone())).expect("an empty directory opens");
    DiskTier::new(Arc::new(engine))
}

/// 60,000 B that do not shrink: the output of a generator that is seeded by `number`.
fn blob(number: u64) -> Bytes {
    let mut state = number + 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..7_500).flat_map(next).collect()
}

async fn put(tier: &DiskTier, blob: Bytes) -> PutOutcome {
    let digest = Digest::of(DigestFunction::Sha256, &blob);
    let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, blob);
    let payload = untrusted.verify(&digest).await.expect("its own digest");
    let key = BlobKey { keyspace: Keyspace::new("").expect("a short name"), digest };
    tier.put(&RequestCx::RAW, &key, payload).await.expect("stored")
}

/// More small uploads than the engine's queue has room for, on a runtime of one thread.
async fn overfill(tier: DiskTier, gate: Arc<Gate>) {
    let present = blob(0);
    put(&tier, present.clone()).await;
    gate.set(true);
    let mut puts = Box::pin(join_all((1..800).map(|number| put(&tier, blob(number)))));
    assert!(futures_util::poll!(&mut puts).is_pending());
    let digests = vec![Digest::of(DigestFunction::Sha256, &present)];
    let keys = BlobKeys { keyspace: Keyspace::new("").expect("a short name"), digests };
    let missing = tier.find_missing(&RequestCx::RAW, keys).await.expect("an answer");
    assert!(missing.is_empty(), "who only asks is answered meanwhile");
    gate.set(false);
    assert!(puts.await.iter().all(|outcome| *outcome == PutOutcome::Stored));
}

#[test]
fn a_full_queue_holds_up_no_thread() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let io = GatedIo::default();
    let tier = disk_tier(directory.path(), &io);
    let (done, is_done) = mpsc::channel();
    let gate = Arc::clone(&io.0);
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(overfill(tier, gate));
        done.send(()).expect("the test waits");
    });
    let ended = is_done.recv_timeout(Duration::from_secs(20));
    io.0.set(false);
    worker.join().expect("no panic");
    ended.expect("the one thread is not held up");
}
