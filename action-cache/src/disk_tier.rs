//! [`DiskActions`]: action results in the storage engine of `larder-disk`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use larder_cas::{Accepts, RequestCx, StoreError, blocking, zstd_codec};
use larder_disk::{Content, DiskError, DiskErrorClass, Engine, RecordKey, RecordVersion};

use crate::{ActionEntry, ActionKey, ActionStore, ActionVersions};

/// Action results on the local disk. The engine may also hold blobs.
#[derive(Clone, Debug)]
pub struct DiskActions {
    engine: Arc<Engine>,
}

impl DiskActions {
    /// A tier over an open engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl fmt::Display for DiskActions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk")
    }
}

#[async_trait]
impl ActionStore for DiskActions {
    async fn get(
        &self,
        _cx: &RequestCx,
        key: &ActionKey,
    ) -> Result<Option<ActionEntry>, StoreError> {
        let record_key = key.record_key();
        if !self.engine.holds(&record_key).await {
            self.engine.activity().count_miss(record_key.kind());
            return Ok(None);
        }
        let (engine, function) = (Arc::clone(&self.engine), key.action.function());
        let parsed = blocking::run(move || {
            let encoded = read(&engine, &record_key)?;
            Ok(encoded.map(|encoded| ActionEntry::parse(function, encoded.freeze())))
        });
        match parsed.await? {
            Ok(None) => Ok(None),
            Ok(Some(Ok(entry))) => Ok(Some(entry)),
            // Only a version with looser rules can have stored it.
            Ok(Some(Err(error))) => {
                tracing::warn!(%key, %error, "the stored action result is malformed: a miss");
                Ok(None)
            }
            // The engine dropped the record, counted and logged it: from now on it is a miss.
            Err(error) if DiskError::class(&error) == DiskErrorClass::Corrupt => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(
        &self,
        _cx: &RequestCx,
        key: &ActionKey,
        entry: ActionEntry,
    ) -> Result<(), StoreError> {
        let (engine, record_key) = (Arc::clone(&self.engine), key.record_key());
        let encoded = entry.encoded().clone();
        let work_bytes = zstd_codec::work_bytes(encoded.len(), engine.zstd_level());
        let prepared = blocking::run_sized(work_bytes, move || {
            engine.prepare(&record_key, Content::Kept(&encoded))
        })
        .await??;
        // Waits here, not on a thread, while the disk is behind.
        prepared.submit().await?.await?;
        Ok(())
    }
}

impl ActionVersions for DiskActions {
    fn version(&self, key: &ActionKey) -> Option<RecordVersion> {
        self.engine.version(&key.record_key())
    }
}

fn read(engine: &Engine, key: &RecordKey) -> Result<Option<BytesMut>, DiskError> {
    let Some(mut reader) = engine.read(key, 0..u64::MAX, Accepts::Raw)? else { return Ok(None) };
    let mut encoded = BytesMut::new();
    while let Some(chunk) = reader.next_chunk()? {
        encoded.extend_from_slice(&chunk);
    }
    Ok(Some(encoded))
}
