//! [`DiskTier`]: blobs in the storage engine of `larder-disk`.
//!
//! The engine blocks, so every call that reaches the disk runs on the blocking pool. Two do not: looking a blob up, and
//! handing a small encoded one to the committer, which waits without a thread while the disk is behind.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use larder_disk::{Accepts, Content, DiskError, DiskErrorClass, Engine, RecordKey, RecordReader};

use crate::upload_to_disk::upload;
use crate::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Payload, PayloadStream, PutOutcome,
    Removals, RequestCx, StoreError, blocking, zstd_codec,
};

/// Blobs up to this size, if in memory, go to the engine in one piece; the others batch by batch, to a file of their own.
const APPEND_BYTES: u64 = 1024 * 1024;

/// How many digests are looked up without a pause: a millisecond's worth.
const DIGESTS_AT_A_TIME: usize = 4096;

/// Blobs on the local disk.
#[derive(Clone, Debug)]
pub struct DiskTier {
    engine: Arc<Engine>,
}

impl DiskTier {
    /// A tier over an open engine, which may also hold action results.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// A part of a record of any kind, which must not be longer than the record is.
    pub(crate) async fn read(
        &self,
        key: RecordKey,
        wanted: Range<u64>,
        accepts: Accepts,
    ) -> Result<Option<Payload>, StoreError> {
        let size_bytes = wanted.end - wanted.start;
        let engine = Arc::clone(&self.engine);
        let opened: Result<_, DiskError> = blocking::run(move || {
            let Some(mut reader) = engine.read(&key, wanted, accepts)? else {
                return Ok(None);
            };
            let first = reader.next_chunk()?.unwrap_or_default();
            Ok(Some((reader, first)))
        })
        .await?;
        match opened {
            Ok(Some((reader, first))) => Ok(Some(payload(size_bytes, reader, first))),
            Ok(None) => Ok(None),
            // The engine dropped the record, counted and logged it: from now on it is a miss, which an upload heals.
            Err(error) if error.class() == DiskErrorClass::Corrupt => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Display for DiskTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {} GiB", self.engine.usage().limit_bytes >> 30)
    }
}

impl Removals for DiskTier {
    fn removals(&self) -> u64 {
        self.engine.removals()
    }
}

#[async_trait]
impl BlobStore for DiskTier {
    async fn find_missing(
        &self,
        _cx: &RequestCx,
        mut keys: BlobKeys,
    ) -> Result<BlobKeys, StoreError> {
        let BlobKeys { keyspace, digests } = &mut keys;
        if digests.len() <= DIGESTS_AT_A_TIME {
            self.engine.retain_missing(keyspace, digests).await;
            return Ok(keys);
        }
        let mut missing = Vec::new();
        for part in digests.chunks(DIGESTS_AT_A_TIME) {
            let mut part = part.to_vec();
            self.engine.retain_missing(keyspace, &mut part).await;
            missing.append(&mut part);
            // A million look-ups take a tenth of a second and more, in which others have their turns.
            tokio::task::yield_now().await;
        }
        keys.digests = missing;
        Ok(keys)
    }

    async fn get(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        range: ByteRange,
    ) -> Result<Option<Payload>, StoreError> {
        let record_key = key.record_key();
        if !self.engine.holds(&record_key).await {
            self.engine.activity().count_miss(record_key.kind());
            return Ok(None);
        }
        let wanted = range.within(&key.digest)?;
        self.read(record_key, wanted, cx.accepts).await
    }

    async fn put(
        &self,
        _cx: &RequestCx,
        key: &BlobKey,
        payload: Payload,
    ) -> Result<PutOutcome, StoreError> {
        let record_key = key.record_key();
        let (encoding, size_bytes) = (payload.encoding(), payload.size_bytes());
        let small = |_: &&Bytes| size_bytes <= APPEND_BYTES;
        let Some(bytes) = payload.bytes().filter(small).cloned() else {
            // The engine looks for the others itself.
            if self.engine.contains(&record_key) {
                return Ok(PutOutcome::AlreadyPresent);
            }
            return upload(&self.engine, record_key, payload).await;
        };
        let engine = Arc::clone(&self.engine);
        let work_bytes = match encoding {
            Encoding::Raw => zstd_codec::work_bytes(bytes.len(), engine.zstd_level()),
            Encoding::Zstd => bytes.len(),
        };
        let prepared = blocking::run_sized(work_bytes, move || {
            engine.prepare(&record_key, content(encoding, size_bytes, &bytes))
        })
        .await??;
        // Waits here, not on a thread, while the disk is behind.
        Ok(prepared.submit().await?.await?)
    }
}

fn content(encoding: Encoding, logical_size_bytes: u64, bytes: &Bytes) -> Content<'_> {
    match encoding {
        Encoding::Raw => Content::Kept(bytes),
        Encoding::Zstd => Content::ZstdFrame { frame: bytes, logical_size_bytes },
    }
}

fn payload(size_bytes: u64, reader: RecordReader, first: Bytes) -> Payload {
    let encoding = reader.encoding();
    if reader.remaining_bytes() == 0 {
        return Payload::from_trusted_bytes(size_bytes, encoding, first);
    }
    let rest = stream::once(async { Ok(first) }).chain(rest_of(reader));
    Payload::from_trusted_stream(size_bytes, encoding, rest.boxed())
}

fn rest_of(reader: RecordReader) -> PayloadStream {
    stream::try_unfold(reader, |mut reader| async move {
        // To copy and check what the system has in memory takes less than to wake a thread that does.
        if let Some(chunk) = reader.next_chunk_at_once() {
            return Ok(Some((chunk, reader)));
        }
        let (reader, chunk) = blocking::run(move || {
            let chunk = reader.next_chunk();
            (reader, chunk)
        })
        .await?;
        Ok(chunk?.map(|chunk| (chunk, reader)))
    })
    .boxed()
}
