//! Splicing: from chunks that are stored to a blob.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use larder_protos::{ChunkingFunction, Digest, DigestHasher};

use super::presence::Visit;
use super::{Chunked, MAX_CHUNKS, Store};
use crate::chunking::Chunker;
use crate::{BlobKey, BlobKeys, ByteRange, PutOutcome, RequestCx, StoreError, blocking};

impl Chunked {
    /// Makes the blob present that `chunks` are one after the other, after holding them against its digest. `claimed` is what
    /// the caller says that cut it, which is kept where it is so. Dropping the future leaves nothing behind.
    pub async fn splice(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        chunks: Vec<Digest>,
        claimed: Option<ChunkingFunction>,
    ) -> Result<PutOutcome, StoreError> {
        let store = &self.store;
        if !is_absent(store, cx, key).await? {
            return Ok(PutOutcome::AlreadyPresent);
        }
        let limit_bytes = store.disk.engine().usage().limit_bytes;
        if key.digest.size_bytes() > limit_bytes {
            return Err(StoreError::OverSizeLimit { digest: key.digest, limit_bytes });
        }
        check_sizes(&key.digest, &chunks)?;
        if chunks.contains(&key.digest) {
            // Even if it has come meanwhile: a manifest that lists its own blob would be all that is left of it.
            return Err(StoreError::ChunkAbsent { digest: key.digest, chunk: key.digest });
        }
        store.require(cx, key, chunks.clone()).await?;
        let chunks: Vec<_> = chunks.into_iter().filter(|chunk| chunk.size_bytes() > 0).collect();
        let _turn = store.work.acquire().await.map_err(|_| StoreError::ShuttingDown)?;
        let function = store.verify(key, &chunks, claimed).await?;
        let mut stored = Vec::with_capacity(chunks.len());
        for chunk in &chunks {
            store.flatten(key, *chunk, Visit::FIRST, &mut stored).await?;
        }
        // What is stored must be what the function makes, not what is made of that.
        let function = function.filter(|_| stored == chunks);
        let _gate = store.enter(&key.digest).await;
        if store.holds_whole(key).await {
            return Ok(PutOutcome::AlreadyPresent);
        }
        store.require(cx, key, stored.clone()).await?;
        store.manifests.put(key, function, &stored).await?;
        Ok(PutOutcome::Stored)
    }
}

async fn is_absent(store: &Store, cx: &RequestCx, key: &BlobKey) -> Result<bool, StoreError> {
    if key.digest.is_empty_blob() {
        return Ok(false);
    }
    let missing = store.find_missing(cx, key.clone().into(), Visit::FIRST).await?;
    Ok(!missing.is_empty())
}

fn check_sizes(blob: &Digest, chunks: &[Digest]) -> Result<(), StoreError> {
    if chunks.len() > MAX_CHUNKS {
        return Err(StoreError::TooManyChunks { digest: *blob, limit: MAX_CHUNKS });
    }
    let sizes = chunks.iter().map(Digest::size_bytes);
    let actual_bytes = sizes.fold(0, u64::saturating_add);
    match actual_bytes.cmp(&blob.size_bytes()) {
        std::cmp::Ordering::Less => Err(StoreError::TooShort { digest: *blob, actual_bytes }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::TooLong { digest: *blob }),
    }
}

impl Store {
    /// Extends the lives of chunks; an error names the first that is absent.
    async fn require(
        &self,
        cx: &RequestCx,
        blob: &BlobKey,
        mut chunks: Vec<Digest>,
    ) -> Result<(), StoreError> {
        chunks.retain(|chunk| !chunk.is_empty_blob());
        let keys = BlobKeys { keyspace: blob.keyspace.clone(), digests: chunks };
        let missing = self.find_missing(cx, keys, Visit::FIRST).await?;
        match missing.digests.first() {
            Some(chunk) => Err(StoreError::ChunkAbsent { digest: blob.digest, chunk: *chunk }),
            None => Ok(()),
        }
    }

    /// Reads all chunks and hashes them. Returns what was claimed if that cuts the blob just so.
    async fn verify(
        self: &Arc<Self>,
        blob: &BlobKey,
        chunks: &[Digest],
        claimed: Option<ChunkingFunction>,
    ) -> Result<Option<ChunkingFunction>, StoreError> {
        let digest = blob.digest;
        let mut check = Check {
            hasher: DigestHasher::new(digest.function(), digest.size_bytes()),
            cutter: claimed.map(Chunker::new),
            cut: Vec::new(),
        };
        for chunk in chunks {
            let key = BlobKey { keyspace: blob.keyspace.clone(), digest: *chunk };
            let found = self.get(&RequestCx::RAW, &key, ByteRange::ALL, Visit::FIRST).await?;
            let absent = || StoreError::ChunkAbsent { digest, chunk: *chunk };
            let mut pieces = found.ok_or_else(absent)?.into_raw().into_stream();
            while let Some(piece) = pieces.try_next().await? {
                let piece_bytes = piece.len();
                check = blocking::run_sized(piece_bytes, move || check.with(&piece)).await?;
            }
        }
        let lengths = chunks.iter().map(Digest::size_bytes);
        let (actual, cut) = blocking::run(move || check.finish()).await?;
        if actual != digest {
            return Err(StoreError::DigestMismatch { expected: digest, actual });
        }
        Ok(claimed.filter(|_| lengths.eq(cut)))
    }

    /// The chunks that a chunk is stored as: mostly itself.
    fn flatten<'a>(
        &'a self,
        blob: &'a BlobKey,
        chunk: Digest,
        visit: Visit,
        into: &'a mut Vec<Digest>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = BlobKey { keyspace: blob.keyspace.clone(), digest: chunk };
            let absent = StoreError::ChunkAbsent { digest: blob.digest, chunk };
            if into.len() >= MAX_CHUNKS {
                let (digest, limit) = (blob.digest, MAX_CHUNKS);
                return Err(StoreError::TooManyChunks { digest, limit });
            }
            if self.holds_whole(&key).await {
                into.push(chunk);
                return Ok(());
            }
            let Some(below) = visit.below() else { return Err(absent) };
            let Some(mut manifest) = self.manifests.open(&key).await? else { return Err(absent) };
            while let Some(part) = manifest.next().await? {
                self.flatten(blob, part, below, into).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// What is found out about the bytes of a blob as they pass.
struct Check {
    hasher: DigestHasher,
    cutter: Option<Chunker>,
    cut: Vec<u64>,
}

impl Check {
    fn with(mut self, piece: &Bytes) -> Self {
        self.hasher.update(piece);
        if let Some(cutter) = &mut self.cutter {
            cutter.push(piece);
        }
        self.take_cut();
        self
    }

    fn finish(mut self) -> (Digest, Vec<u64>) {
        if let Some(cutter) = &mut self.cutter {
            cutter.end();
        }
        self.take_cut();
        (self.hasher.finish(), self.cut)
    }

    fn take_cut(&mut self) {
        let Some(cutter) = &mut self.cutter else { return };
        let cut = std::iter::from_fn(|| cutter.next_chunk());
        self.cut.extend(cut.map(|chunk| chunk.len() as u64));
    }
}
