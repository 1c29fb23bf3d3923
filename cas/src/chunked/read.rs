//! Reads blobs, whole or chunk after chunk; of a range only the chunks that it touches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use larder_protos::Digest;

use super::Store;
use super::manifests::ManifestReader;
use super::presence::Visit;
use crate::{
    BlobKey, BlobStore, ByteRange, Encoding, Payload, PayloadStream, RequestCx, StoreError,
};

impl Store {
    pub(super) fn get<'a>(
        self: &'a Arc<Self>,
        cx: &'a RequestCx,
        key: &'a BlobKey,
        range: ByteRange,
        visit: Visit,
    ) -> BoxFuture<'a, Result<Option<Payload>, StoreError>> {
        async move {
            let wholes_back = self.wholes_back.load(Ordering::Acquire);
            if let Some(payload) = self.disk.get(cx, key, range).await? {
                return Ok(Some(payload));
            }
            if self.has_manifest(key)
                && let Some(payload) = self.get_chunks(cx, key, range, visit).await?
            {
                return Ok(Some(payload));
            }
            if self.wholes_back.load(Ordering::Acquire) == wholes_back {
                return Ok(None);
            }
            self.disk.get(cx, key, range).await
        }
        .boxed()
    }

    async fn get_chunks(
        self: &Arc<Self>,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
        visit: Visit,
    ) -> Result<Option<Payload>, StoreError> {
        let Some(below) = visit.below() else { return Ok(None) };
        if !self.is_whole_in_chunks(cx, key, visit).await? {
            return Ok(None);
        }
        let Some(manifest) = self.manifests.open(key).await? else { return Ok(None) };
        let wanted = range.within(&key.digest)?;
        if wanted.is_empty() {
            return Ok(Some(Payload::empty()));
        }
        let size_bytes = wanted.end - wanted.start;
        let whole = range.is_whole(key.digest.size_bytes());
        let mut chunks = Chunks {
            store: Arc::clone(self),
            key: key.clone(),
            visit: below,
            manifest,
            // zstd frames one after the other are a zstd stream.
            cx: if whole { cx.clone() } else { RequestCx::RAW },
            encoding: Encoding::Raw,
            skip_bytes: wanted.start,
            left_bytes: size_bytes,
        };
        let Some(first) = chunks.next().await? else { return Ok(None) };
        // Most often all chunks of a blob are encoded alike.
        chunks.encoding = first.encoding();
        if chunks.encoding == Encoding::Raw {
            chunks.cx = RequestCx::RAW;
        }
        let encoding = chunks.encoding;
        let bytes = chunks.into_stream(first);
        Ok(Some(Payload::from_trusted_stream(size_bytes, encoding, bytes)))
    }
}

/// What is to be read of a chunked blob.
struct Chunks {
    store: Arc<Store>,
    key: BlobKey,
    visit: Visit,
    manifest: ManifestReader,
    cx: RequestCx,
    encoding: Encoding,
    /// Before what is wanted.
    skip_bytes: u64,
    left_bytes: u64,
}

impl Chunks {
    /// What is wanted of the next chunk.
    async fn next(&mut self) -> Result<Option<Payload>, StoreError> {
        while self.left_bytes > 0
            && let Some(digest) = self.manifest.next().await?
        {
            let chunk_bytes = digest.size_bytes();
            if self.skip_bytes >= chunk_bytes {
                self.skip_bytes -= chunk_bytes;
                continue;
            }
            let part_bytes = (chunk_bytes - self.skip_bytes).min(self.left_bytes);
            let range = ByteRange::from_offset(self.skip_bytes).limited(part_bytes);
            self.skip_bytes = 0;
            self.left_bytes -= part_bytes;
            return self.open(digest, range).await.map(Some);
        }
        Ok(None)
    }

    async fn open(&mut self, chunk: Digest, range: ByteRange) -> Result<Payload, StoreError> {
        let key = BlobKey { keyspace: self.key.keyspace.clone(), digest: chunk };
        let found = self.store.get(&self.cx, &key, range, self.visit).await?;
        found.ok_or(StoreError::ChunkGone { digest: self.key.digest, chunk })
    }

    fn into_stream(self, first: Payload) -> PayloadStream {
        let level = self.store.disk.engine().zstd_level();
        let alike = move |payload: Payload, encoding| match encoding {
            Encoding::Raw => payload.into_raw().into_stream(),
            Encoding::Zstd => payload.into_zstd(level).into_stream(),
        };
        let encoding = self.encoding;
        let rest = stream::try_unfold(self, move |mut chunks| async move {
            let next = chunks.next().await?;
            Ok::<_, StoreError>(next.map(|payload| (alike(payload, encoding), chunks)))
        });
        alike(first, encoding).chain(rest.try_flatten()).boxed()
    }
}
