//! [`Chunked`]: blobs of which the chunks are stored, and not the whole, so that what two of them share is stored once.
//!
//! Invariant: a blob's bytes are stored whole or as chunks with a manifest that lists them; both only while one of them takes
//! the other's place. A manifest is written after its chunks were held against the blob's digest, and the whole goes after
//! its manifest is on the disk. A chunked blob is present while all of its chunks are; whoever asks for it extends
//! their lives with its own.
//! Decision: docs/adr/0010-chunked-blobs.md.

pub(crate) mod manifest;
mod manifests;
mod presence;
mod read;
mod splice;
mod split;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder_protos::{Digest, Hash};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

pub use self::split::Split;

use self::manifests::Manifests;
use self::presence::Visit;
use crate::{
    BlobKey, BlobKeys, BlobStore, ByteRange, DiskTier, Keyspace, Payload, PutOutcome, RequestCx,
    StoreError, blocking,
};

/// The most chunks of one blob: with their digests they fit in a message and in a manifest.
pub const MAX_CHUNKS: usize = 1 << 18;

/// Enough that two blobs rarely meet at one gate.
const GATES: usize = 64;

/// How many blobs are cut or put together at a time: each reads all its bytes and hashes them.
const WORK_AT_ONCE: usize = 4;

/// Blobs on disk, whole or as chunks. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Chunked {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    disk: DiskTier,
    manifests: Manifests,
    hasher: RandomState,
    /// Whole and manifest of a blob take each other's place behind its gate. Held across a few writes, hence async.
    gates: [Mutex<()>; GATES],
    /// How often a whole took the place of a manifest: whoever looked for the one before and for the other after looks again.
    wholes_back: AtomicU64,
    work: Semaphore,
    /// Held beside one of `work` for what is cut of a blob that takes much of the store.
    large: Semaphore,
}

impl Chunked {
    /// Chunks and wholes in `disk`.
    pub fn new(disk: DiskTier) -> Self {
        let store = Store {
            manifests: Manifests::new(disk.clone()),
            disk,
            hasher: RandomState::new(),
            gates: std::array::from_fn(|_| Mutex::new(())),
            wholes_back: AtomicU64::new(0),
            work: Semaphore::new(WORK_AT_ONCE),
            large: Semaphore::new(1),
        };
        Self { store: Arc::new(store) }
    }

    /// The size of a chunked blob that is known by its hash alone.
    pub async fn size_of(
        &self,
        keyspace: &Keyspace,
        hash: &Hash,
    ) -> Result<Option<u64>, StoreError> {
        self.store.manifests.size_of(keyspace, hash).await
    }

    /// Whether what is stored in this keyspace are the manifests of chunked blobs: no action results, though the engine knows no
    /// difference.
    pub fn are_manifests(keyspace: &Keyspace) -> bool {
        manifests::are_in(keyspace)
    }

    /// The keyspace of the manifests of the blobs of this one; `None` where its name is too long to have any.
    pub fn manifests_of(blobs: &Keyspace) -> Option<Keyspace> {
        manifests::keyspace_of(blobs).ok()
    }

    /// Removes a blob, whole or in chunks; the chunks stay, since other blobs may share them. Says whether there was one.
    pub async fn remove(&self, key: &BlobKey) -> Result<bool, StoreError> {
        let _gate = self.store.enter(&key.digest).await;
        let had_manifest = self.store.has_manifest(key);
        if had_manifest {
            self.store.manifests.remove(key).await?;
        }
        let (engine, record_key) = (Arc::clone(self.store.disk.engine()), key.record_key());
        let had_whole = blocking::run(move || engine.remove(&record_key)).await??;
        Ok(had_manifest || had_whole)
    }
}

impl Store {
    async fn enter(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let number = self.hasher.hash_one(digest) % GATES as u64;
        self.gates[usize::try_from(number).unwrap_or_default()].lock().await
    }

    /// Whether the blob is stored whole; extends its life.
    async fn holds_whole(&self, key: &BlobKey) -> bool {
        self.disk.engine().holds(&key.record_key()).await
    }

    fn has_manifest(&self, key: &BlobKey) -> bool {
        Manifests::name(key).is_some_and(|name| self.manifests.holds(&name))
    }

    /// Removes the whole of a blob whose manifest and chunks are stored; these survive a power cut before it goes. Behind the
    /// blob's gate. Says whether it was there.
    async fn drop_whole(&self, key: &BlobKey) -> Result<bool, StoreError> {
        let (engine, record_key) = (Arc::clone(self.disk.engine()), key.record_key());
        blocking::run(move || {
            if !engine.contains(&record_key) {
                return Ok(false);
            }
            engine.sync()?;
            Ok(engine.remove(&record_key)?)
        })
        .await?
    }

    /// Removes the manifest of a blob that is stored whole.
    async fn drop_manifest(&self, key: &BlobKey) -> Result<(), StoreError> {
        let _gate = self.enter(&key.digest).await;
        if self.holds_whole(key).await {
            // Before: who finds no manifest must see this, though the removal may take a while, and its caller go away.
            self.wholes_back.fetch_add(1, Ordering::Release);
            self.manifests.remove(key).await?;
        }
        Ok(())
    }
}

impl fmt::Display for Chunked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunked({})", self.store.disk)
    }
}

#[async_trait]
impl BlobStore for Chunked {
    async fn find_missing(&self, cx: &RequestCx, keys: BlobKeys) -> Result<BlobKeys, StoreError> {
        self.store.find_missing(cx, keys, Visit::FIRST).await
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        self.store.get(cx, key, range, Visit::FIRST).await
    }

    async fn put(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let store = &self.store;
        let manifest = Manifests::name(key);
        let has_manifest = || manifest.as_ref().is_some_and(|name| store.manifests.holds(name));
        if has_manifest() && store.is_whole_in_chunks(cx, key, Visit::FIRST).await? {
            return Ok(PutOutcome::AlreadyPresent);
        }
        let outcome = store.disk.put(cx, key, payload).await?;
        if outcome == PutOutcome::Stored
            && has_manifest()
            && let Err(error) = store.drop_manifest(key).await
        {
            // The blob is stored. That its chunks are listed too does no harm.
            tracing::debug!(%key, %error, "the manifest of a blob that is whole again stays");
        }
        Ok(outcome)
    }
}
