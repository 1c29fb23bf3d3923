//! Splitting: from a whole blob to its chunks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use larder_protos::{ChunkingFunction, Digest};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::presence::Visit;
use super::{Chunked, MAX_CHUNKS, Store};
use crate::chunking::{self, Chunker};
use crate::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Payload, RequestCx, StoreError, blocking,
};

/// What cuts a blob where the caller does not say.
const DEFAULT: ChunkingFunction = ChunkingFunction::FastCdc2020;

/// What each chunk takes while a list is read and asked for: in the list, in its copy, and in what the tiers make of that.
const MEMORY_A_CHUNK: u64 = 4 * size_of::<Digest>() as u64;

/// Up to this share of the limit a blob is cut whatever is free: what goes to make room for its chunks is no more.
const CUT_ANYWAY_SHARE: u64 = 8;

/// Of blobs over this share of the limit one is cut at a time. With three others that makes less than a quarter.
const LARGE_SHARE: u64 = 32;

/// The chunks of a blob, all of them present.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Split {
    /// In order; the blob is these bytes one after the other.
    pub chunks: Vec<Digest>,
    /// What cut it; `None` where whoever spliced it did not say, or said what is not so.
    pub function: Option<ChunkingFunction>,
}

impl Chunked {
    /// The chunks that the blob is stored as; where it is stored whole, or `function` cuts it elsewhere, it is cut first.
    /// `None` where the blob is absent. Extends the lives of blob and chunks. Dropping the future leaves some chunks stored.
    /// What a list that is known takes in memory, `cx` lends.
    ///
    /// A blob that is too small to be worth cutting is its own only chunk. One that went while it was cut is absent.
    pub async fn split(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        function: Option<ChunkingFunction>,
    ) -> Result<Option<Split>, StoreError> {
        let store = &self.store;
        if key.digest.is_empty_blob() {
            return Ok(Some(alone(key, function.unwrap_or(DEFAULT))));
        }
        if !store.find_missing(cx, key.clone().into(), Visit::FIRST).await?.is_empty() {
            return Ok(None);
        }
        if let Some(known) = store.known_split(cx, key, function).await? {
            return Ok(Some(known));
        }
        let function = function.unwrap_or(DEFAULT);
        let size_bytes = key.digest.size_bytes();
        if size_bytes < chunking::least_worth_cutting_bytes(function) {
            return Ok(Some(alone(key, function)));
        }
        if size_bytes / chunking::least_chunk_bytes(function) >= MAX_CHUNKS as u64 {
            return Err(StoreError::TooManyChunks { digest: key.digest, limit: MAX_CHUNKS });
        }
        // In turn, so that one waits for room before others and not beside them.
        let is_large = size_bytes > store.limit_bytes() / LARGE_SHARE;
        let _large = if is_large { Some(turn(&store.large).await?) } else { None };
        let _turn = turn(&store.work).await?;
        // Another call may have cut it while this one waited.
        if let Some(known) = store.known_split(cx, key, Some(function)).await? {
            return Ok(Some(known));
        }
        store.check_room(key).await?;
        let whole = store.get(&RequestCx::RAW, key, ByteRange::ALL, Visit::FIRST).await?;
        let Some(whole) = whole else { return Ok(None) };
        let chunks = store.cut(key, whole, function).await?;
        if chunks.len() < 2 {
            return Ok(Some(alone(key, function)));
        }
        let are_taken = store.take_chunks(cx, key, function, &chunks).await?;
        Ok(are_taken.then_some(Split { chunks, function: Some(function) }))
    }
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, StoreError> {
    turns.acquire().await.map_err(|_| StoreError::ShuttingDown)
}

fn alone(key: &BlobKey, function: ChunkingFunction) -> Split {
    Split { chunks: vec![key.digest], function: Some(function) }
}

impl Store {
    /// What the manifest lists, if it is what `function` makes and all of it is present.
    async fn known_split(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        function: Option<ChunkingFunction>,
    ) -> Result<Option<Split>, StoreError> {
        if !self.has_manifest(key) {
            return Ok(None);
        }
        let Some(mut manifest) = self.manifests.open(key).await? else { return Ok(None) };
        let header = manifest.header;
        if function.is_some() && function != header.function {
            return Ok(None);
        }
        let mut loan = cx.memory.loan();
        loan.grow_to(u64::from(header.chunks) * MEMORY_A_CHUNK).await?;
        let chunks = manifest.window(MAX_CHUNKS).await?;
        if chunks.len() != header.chunks as usize || !self.are_present(cx, key, &chunks).await? {
            return Ok(None);
        }
        if self.holds_whole(key).await {
            // Left over from a process that ended between the two.
            let _gate = self.enter(&key.digest).await;
            if self.has_manifest(key) {
                self.drop_whole(key).await?;
            }
        }
        Ok(Some(Split { chunks, function: header.function }))
    }

    pub(super) async fn are_present(
        &self,
        cx: &RequestCx,
        blob: &BlobKey,
        chunks: &[Digest],
    ) -> Result<bool, StoreError> {
        let keys = BlobKeys { keyspace: blob.keyspace.clone(), digests: chunks.to_vec() };
        Ok(self.find_missing(cx, keys, Visit::FIRST).await?.is_empty())
    }

    fn limit_bytes(&self) -> u64 {
        self.disk.engine().usage().limit_bytes
    }

    /// The whole stays until all chunks lie beside it. To ask for them takes only the right to read, which is none to push out
    /// much of what others stored.
    async fn check_room(&self, key: &BlobKey) -> Result<(), StoreError> {
        // Until then less seems to be stored than is.
        self.disk.engine().loaded().await;
        let usage = self.disk.engine().usage();
        let free_bytes = usage.limit_bytes.saturating_sub(usage.stored_bytes + usage.dead_bytes);
        let room_bytes = free_bytes.max(usage.limit_bytes / CUT_ANYWAY_SHARE);
        if key.digest.size_bytes() > room_bytes {
            return Err(StoreError::TooLargeToCut { digest: key.digest, room_bytes });
        }
        Ok(())
    }

    /// Stores the chunks of a blob.
    async fn cut(
        self: &Arc<Self>,
        key: &BlobKey,
        whole: Payload,
        function: ChunkingFunction,
    ) -> Result<Vec<Digest>, StoreError> {
        let mut chunker = Chunker::new(function);
        let mut pieces = whole.into_raw().into_stream();
        let mut chunks = Vec::new();
        let mut is_ended = false;
        while !is_ended {
            let piece = pieces.try_next().await?;
            is_ended = piece.is_none();
            let digest_function = key.digest.function();
            let work = move || {
                match piece {
                    Some(piece) => chunker.push(&piece),
                    None => chunker.end(),
                }
                let cut = std::iter::from_fn(|| chunker.next_chunk());
                let named = cut.map(|chunk| (Digest::of(digest_function, &chunk), chunk));
                let named: Vec<(Digest, Bytes)> = named.collect();
                (chunker, named)
            };
            let (cutter, named) = blocking::run(work).await?;
            chunker = cutter;
            for (digest, bytes) in named {
                chunks.push(digest);
                let chunk = BlobKey { keyspace: key.keyspace.clone(), digest };
                let payload =
                    Payload::from_trusted_bytes(digest.size_bytes(), Encoding::Raw, bytes);
                self.disk.put(&RequestCx::RAW, &chunk, payload).await?;
            }
        }
        Ok(chunks)
    }

    /// From here on the chunks are what is stored of the blob; `false` where it went while it was cut, and stays gone.
    async fn take_chunks(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        function: ChunkingFunction,
        chunks: &[Digest],
    ) -> Result<bool, StoreError> {
        let _gate = self.enter(&key.digest).await;
        let had_whole = self.holds_whole(key).await;
        if !had_whole && !self.is_whole_in_chunks(cx, key, Visit::FIRST).await? {
            return Ok(false);
        }
        if !self.are_present(cx, key, chunks).await? {
            return Err(StoreError::NoRoomForChunks { digest: key.digest });
        }
        self.manifests.put(key, Some(function), chunks).await?;
        let dropped_whole = self.drop_whole(key).await?;
        if had_whole && !dropped_whole {
            // Not every removal comes through the gate.
            self.manifests.remove(key).await?;
            return Ok(false);
        }
        Ok(true)
    }
}
