//! What the engine's tests have in common.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_disk::{
    Accepts, Content, DiskError, Durability, Engine, EngineOptions, EvictionPolicy, Io, Keyspace,
    PutOutcome, RealIo, RecordKey,
};
use larder_protos::{Digest, DigestFunction};

use crate::sim_disk::SimDisk;

/// What a test's [`Io`] does not change: names, the lock and the salt are the machine's own.
macro_rules! io_passes_names_on {
    () => {
        crate::support::io_passes_names_on!(but for rename and sync_dir);
        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            larder_disk::RealIo.rename(from, to)
        }
        fn sync_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            larder_disk::RealIo.sync_dir(path)
        }
    };
    (but for rename and sync_dir) => {
        fn create_dir_all(&self, path: &std::path::Path) -> std::io::Result<()> {
            larder_disk::RealIo.create_dir_all(path)
        }
        fn remove_file(&self, path: &std::path::Path) -> std::io::Result<()> {
            larder_disk::RealIo.remove_file(path)
        }
        fn remove_dir_all(&self, path: &std::path::Path) -> std::io::Result<()> {
            larder_disk::RealIo.remove_dir_all(path)
        }
        fn lock(
            &self,
            path: &std::path::Path,
        ) -> std::io::Result<Option<Box<dyn larder_disk::DirLock>>> {
            larder_disk::RealIo.lock(path)
        }
        fn salt(&self) -> u64 {
            larder_disk::RealIo.salt()
        }
    };
}
pub(crate) use io_passes_names_on;

/// Options for a small engine in `data_dir`.
pub(crate) fn options(data_dir: &Path) -> EngineOptions {
    EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 256 << 20,
        min_free_disk_bytes: 0,
        eviction: EvictionPolicy::Lfu,
        durability: Durability::Interval(Duration::from_millis(20)),
        zstd_level: 1,
        index_cache_bytes: 8 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
    }
}

/// An engine that knows all it stores.
pub(crate) fn open(data_dir: &Path) -> Engine {
    open_with(options(data_dir), RealIo)
}

pub(crate) fn open_with(options: EngineOptions, io: impl Io) -> Engine {
    let engine = Engine::open(options, Arc::new(io)).unwrap();
    engine.wait_loaded();
    engine
}

/// An engine on a disk in memory that has no index and can have none.
pub(crate) fn open_without_index(options: EngineOptions, disk: &SimDisk) -> Engine {
    std::fs::create_dir_all(&options.data_dir).unwrap();
    std::fs::write(options.data_dir.join("index"), b"no directory").unwrap();
    open_with(options, disk.clone())
}

pub(crate) fn keyspace() -> Keyspace {
    Keyspace::new("").unwrap()
}

pub(crate) fn blob_key(content: &[u8]) -> RecordKey {
    RecordKey::blob(&keyspace(), &Digest::of(DigestFunction::Sha256, content))
}

/// The name of the action result that belongs to `name`.
pub(crate) fn action_key(name: &str) -> RecordKey {
    let digest = Digest::of(DigestFunction::Sha256, name.as_bytes());
    RecordKey::action_result(&keyspace(), digest.hash())
}

pub(crate) fn put(
    engine: &Engine,
    key: &RecordKey,
    content: &[u8],
) -> Result<PutOutcome, DiskError> {
    engine.append(key, Content::Raw(content))?.wait()
}

pub(crate) fn put_blob(engine: &Engine, content: &[u8]) -> RecordKey {
    let key = blob_key(content);
    put(engine, &key, content).unwrap();
    key
}

pub(crate) fn put_large(engine: &Engine, content: &[u8]) -> RecordKey {
    let key = blob_key(content);
    let mut writer = engine.create(&key).unwrap();
    for piece in content.chunks(100_000) {
        writer.write(piece).unwrap();
    }
    writer.finish().unwrap();
    key
}

/// The whole content, or `None` for a miss.
pub(crate) fn get(engine: &Engine, key: &RecordKey) -> Result<Option<Vec<u8>>, DiskError> {
    get_range(engine, key, 0..u64::MAX)
}

pub(crate) fn get_range(
    engine: &Engine,
    key: &RecordKey,
    range: std::ops::Range<u64>,
) -> Result<Option<Vec<u8>>, DiskError> {
    let Some(mut reader) = engine.read(key, range, Accepts::Raw)? else { return Ok(None) };
    let announced = reader.remaining_bytes();
    let mut content = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        assert!(!chunk.is_empty() && chunk.len() <= 256 << 10, "a chunk of {} B", chunk.len());
        content.extend_from_slice(&chunk);
    }
    assert_eq!(content.len() as u64, announced);
    Ok(Some(content))
}

/// Bytes that zstd cannot shrink, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that zstd shrinks well.
pub(crate) fn prose(seed: u64, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 64);
    let mut line = seed;
    while text.len() < length {
        text.extend_from_slice(
            format!("line {line} of a build log, as builds write them\n").as_bytes(),
        );
        line = line.wrapping_add(1);
    }
    text.truncate(length);
    text
}

/// A copy of a directory: what a process that is killed now leaves behind.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The packs of a directory, the oldest first.
pub(crate) fn pack_files(data_dir: &Path) -> Vec<std::path::PathBuf> {
    let mut packs: Vec<_> = std::fs::read_dir(data_dir.join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .collect();
    packs.sort();
    packs
}

/// The blob files of a directory.
pub(crate) fn blob_files(data_dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for fan in std::fs::read_dir(data_dir.join("blobs")).unwrap() {
        for entry in std::fs::read_dir(fan.unwrap().path()).unwrap() {
            files.push(entry.unwrap().path());
        }
    }
    files.sort();
    files
}
