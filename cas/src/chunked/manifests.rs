//! [`Manifests`]: where the manifests of chunked blobs are kept: records of the engine, beside the blobs.
//!
//! A manifest is stored as action results are, under the hash of its blob in a keyspace of its own: the newest one counts, and
//! it is found by the hash alone, as HTTP names blobs. It is read piece by piece, since a long one has megabytes.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use larder_disk::{Accepts, Content, RecordKey, RecordVersion};
use larder_protos::{ChunkingFunction, Digest, DigestFunction, Hash};

use super::manifest::{self, HEADER_BYTES, Header};
use crate::{
    BlobKey, DiskTier, HotCache, HotValue, Keyspace, Payload, PayloadStream, StoreError, blocking,
};

/// The keyspace of the manifests begins so, and goes on with their blobs'. Instance names cannot have the segment
/// `uploads`, so none is named like this.
const KEYSPACE: &str = "uploads/chunks/";

/// Manifests up to this size, those of some 1,600 chunks, are remembered.
const REMEMBERED_BYTES: usize = 64 * 1024;

/// What remembering may take.
const MEMO_BYTES: u64 = 8 * 1024 * 1024;

/// The manifests in the engine of a disk tier.
pub(super) struct Manifests {
    disk: DiskTier,
    memo: HotCache<RecordKey, Remembered>,
}

/// A manifest in memory. Good for as long as its version is current, so nothing has to be known of puts that came between,
/// or took effect after their callers went away.
struct Remembered {
    /// Current before the manifest was read, which is therefore no older.
    version: RecordVersion,
    manifest: Bytes,
}

/// A manifest that is being read, chunk by chunk.
pub(super) struct ManifestReader {
    pub(super) header: Header,
    function: DigestFunction,
    pieces: PayloadStream,
    /// Read, and not handed out.
    ahead: BytesMut,
    left: u32,
}

impl Manifests {
    pub(super) fn new(disk: DiskTier) -> Self {
        Self { disk, memo: HotCache::new(MEMO_BYTES, REMEMBERED_BYTES as u64) }
    }

    /// The name of a blob's manifest; `None` where the blob's keyspace has so long a name that none can have been stored.
    pub(super) fn name(blob: &BlobKey) -> Option<RecordKey> {
        key_of(blob).ok()
    }

    /// Whether there is a manifest of this name; extends its life.
    pub(super) fn holds(&self, name: &RecordKey) -> bool {
        self.disk.engine().contains(name)
    }

    /// Which of these blobs have a manifest, in their order; extends the lives of the manifests.
    pub(super) fn touch(&self, keyspace: &Keyspace, blobs: &[Digest]) -> Vec<bool> {
        match keyspace_of(keyspace) {
            Ok(keyspace) => self.disk.engine().touch_action_results(&keyspace, blobs),
            // So long a name that none can have been stored.
            Err(_) => vec![false; blobs.len()],
        }
    }

    /// The manifest of this very blob.
    pub(super) async fn open(&self, blob: &BlobKey) -> Result<Option<ManifestReader>, StoreError> {
        let found = self.open_named(&blob.keyspace, blob.digest.hash()).await?;
        Ok(found.filter(|reader| reader.header.blob_bytes == blob.digest.size_bytes()))
    }

    /// The size of the blob of this hash, if it has a manifest.
    pub(super) async fn size_of(
        &self,
        keyspace: &Keyspace,
        hash: &Hash,
    ) -> Result<Option<u64>, StoreError> {
        let found = self.open_named(keyspace, hash).await?;
        Ok(found.map(|reader| reader.header.blob_bytes))
    }

    async fn open_named(
        &self,
        keyspace: &Keyspace,
        hash: &Hash,
    ) -> Result<Option<ManifestReader>, StoreError> {
        let key = RecordKey::action_result(&keyspace_of(keyspace)?, hash);
        let engine = self.disk.engine();
        loop {
            let stored =
                engine.settled(|engine| Some((engine.version(&key)?, engine.record(&key)?)));
            let Some((version, stored)) = stored.await else { return Ok(None) };
            if let Some(known) = self.memo.get_if(&key, |known| known.version == version) {
                return ManifestReader::new(known.payload(), hash.function()).await;
            }
            let whole = 0..stored.logical_size_bytes;
            let read = self.disk.read(key.clone(), whole, Accepts::Raw).await?;
            // What took its place meanwhile may have another length.
            if engine.version(&key).is_some_and(|current| current != version) {
                continue;
            }
            let Some(payload) = read else { return Ok(None) };
            if let Some(bytes) = payload.bytes().filter(|bytes| bytes.len() <= REMEMBERED_BYTES) {
                let manifest = Bytes::copy_from_slice(bytes);
                self.memo.insert(key, Remembered { version, manifest });
            }
            return ManifestReader::new(payload, hash.function()).await;
        }
    }

    /// Stores the manifest of a blob in place of the one that it may have.
    pub(super) async fn put(
        &self,
        blob: &BlobKey,
        function: Option<ChunkingFunction>,
        chunks: &[Digest],
    ) -> Result<(), StoreError> {
        let too_many =
            || StoreError::TooManyChunks { digest: blob.digest, limit: super::MAX_CHUNKS };
        let manifest = manifest::encode(function, blob.digest.size_bytes(), chunks);
        let manifest = manifest.ok_or_else(too_many)?;
        let (key, manifest_bytes) = (key_of(blob)?, manifest.len());
        let engine = std::sync::Arc::clone(self.disk.engine());
        let prepare = move || engine.prepare(&key, Content::Raw(&manifest));
        let prepared = blocking::run_sized(manifest_bytes, prepare).await??;
        prepared.submit().await?.await?;
        Ok(())
    }

    /// Removes the manifest of a blob, if it has one.
    pub(super) async fn remove(&self, blob: &BlobKey) -> Result<(), StoreError> {
        let key = key_of(blob)?;
        let engine = std::sync::Arc::clone(self.disk.engine());
        blocking::run(move || engine.remove(&key)).await??;
        Ok(())
    }
}

impl Remembered {
    fn payload(&self) -> Payload {
        let (size_bytes, manifest) = (self.manifest.len() as u64, self.manifest.clone());
        Payload::from_trusted_bytes(size_bytes, larder_disk::Encoding::Raw, manifest)
    }
}

impl HotValue for Remembered {
    fn cost_bytes(&self) -> u64 {
        (size_of::<RecordKey>() + size_of::<Self>() + self.manifest.len()) as u64
    }
}

/// Whether records of this keyspace are manifests.
pub(super) fn are_in(keyspace: &Keyspace) -> bool {
    keyspace.as_str().starts_with(KEYSPACE)
}

/// The keyspace of the manifests of these blobs.
pub(super) fn keyspace_of(blobs: &Keyspace) -> Result<Keyspace, StoreError> {
    Ok(Keyspace::new(&[KEYSPACE, blobs.as_str()].concat())?)
}

fn key_of(blob: &BlobKey) -> Result<RecordKey, StoreError> {
    Ok(RecordKey::action_result(&keyspace_of(&blob.keyspace)?, blob.digest.hash()))
}

impl ManifestReader {
    /// `None` where the bytes are no manifest that is known here.
    async fn new(payload: Payload, function: DigestFunction) -> Result<Option<Self>, StoreError> {
        let mut pieces = payload.into_stream();
        let mut ahead = BytesMut::new();
        while ahead.len() < HEADER_BYTES
            && let Some(piece) = pieces.try_next().await?
        {
            ahead.extend_from_slice(&piece);
        }
        let Some(header) = Header::parse(&ahead) else { return Ok(None) };
        let _header = ahead.split_to(HEADER_BYTES);
        Ok(Some(Self { header, function, pieces, ahead, left: header.chunks }))
    }

    /// The next chunk; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Digest>, StoreError> {
        let entry_bytes = manifest::entry_bytes(self.function);
        if self.left == 0 {
            return Ok(None);
        }
        while self.ahead.len() < entry_bytes {
            let Some(piece) = self.pieces.try_next().await? else { return Ok(None) };
            self.ahead.extend_from_slice(&piece);
        }
        self.left -= 1;
        Ok(manifest::parse_entry(self.function, &self.ahead.split_to(entry_bytes)))
    }

    /// Up to `most` chunks; none at the end.
    pub(super) async fn window(&mut self, most: usize) -> Result<Vec<Digest>, StoreError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut window = Vec::with_capacity(most.min(left));
        while window.len() < most
            && let Some(chunk) = self.next().await?
        {
            window.push(chunk);
        }
        Ok(window)
    }
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests")
            .field("remembered", &self.memo.stats().entries)
            .finish_non_exhaustive()
    }
}
