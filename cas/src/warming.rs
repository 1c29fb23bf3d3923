//! [`warm`]: fills the hot tier after a start with the blobs that were used last before it.
//!
//! Bounds: bytes a second, and a share of the tier, so that clients keep the disk and what they use now keeps its place.

use std::time::Duration;

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use larder_disk::{Accepts, DiskError, RecentRecord, RecordKind};
use larder_protos::Digest;

use crate::hot_cache::HotEpoch;
use crate::hot_tier::{Asked, cost_bytes};
use crate::{BlobKey, DiskTier, HotTier, Payload, StoreError, blocking};

/// Of the hot tier's limit, how much is filled at most, in quarters; the rest is for what clients ask for meanwhile.
const FILLED_QUARTERS: u64 = 3;

/// As how often asked for the hottest come in: the hotter, the later they make room, though they are here the longest.
const MOST_ASKED: u64 = 2;

/// How much is read between two pauses.
const STEP_BYTES: u64 = 1024 * 1024;

/// What [`warm`] did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Warmed {
    /// Blobs that came in.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Takes `blobs`, the hottest first, into `hot`, at most `bytes_per_second`. Ends when they do, or when the tier is as full
/// as this may make it. What is in it already, or too large for it, is passed over. Dropping the future ends it.
pub async fn warm(
    hot: &HotTier,
    blobs: impl Stream<Item = (BlobKey, Payload)>,
    bytes_per_second: u64,
) -> Warmed {
    let mut blobs = std::pin::pin!(blobs);
    let mut warmed = Warmed::default();
    let mut unpaid_bytes = 0;
    let mut room_bytes = room_bytes(hot);
    let all_bytes = room_bytes;
    while room_bytes > 0
        && let (epoch, Some((key, payload))) = (hot.epoch(), blobs.next().await)
    {
        let read_bytes = payload.bytes().map_or(0, |bytes| bytes.len() as u64);
        if cost_bytes(read_bytes) > room_bytes {
            break;
        }
        unpaid_bytes += read_bytes;
        let asked = (room_bytes.saturating_mul(MOST_ASKED + 1) / all_bytes).min(MOST_ASKED);
        if hot.takes(epoch, &key, &payload, asked) {
            warmed.blobs += 1;
            warmed.bytes += read_bytes;
            room_bytes -= cost_bytes(read_bytes);
        }
        if unpaid_bytes >= STEP_BYTES {
            let micros = unpaid_bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
            tokio::time::sleep(Duration::from_micros(micros)).await;
            unpaid_bytes = 0;
            // Clients have been adding too, and the limit may have changed.
            room_bytes = self::room_bytes(hot);
        }
    }
    warmed
}

fn room_bytes(hot: &HotTier) -> u64 {
    let stats = hot.stats();
    (stats.limit_bytes / 4 * FILLED_QUARTERS).saturating_sub(stats.bytes)
}

impl HotTier {
    /// Takes a blob in that nobody has asked for since the start, as if they had so many times; false where it has it or it is too
    /// large.
    fn takes(&self, epoch: HotEpoch, key: &BlobKey, payload: &Payload, asked: u64) -> bool {
        let comes = self.has_place_for(key)
            && self.admit_payload(epoch, key, payload, Asked::NotYet).is_some();
        if comes {
            (0..asked).for_each(|_| self.prove(key));
        }
        comes
    }
}

impl DiskTier {
    /// The blobs in packs that were asked for before, the most recent first, in memory, up to `limit_bytes` together and
    /// `largest_bytes` each. Reading them here does not count as asking. What has moved or is damaged is left out.
    pub async fn recent(
        &self,
        limit_bytes: u64,
        largest_bytes: u64,
    ) -> Result<impl Stream<Item = (BlobKey, Payload)> + Send + use<>, StoreError> {
        let engine = self.engine();
        engine.loaded().await;
        let listing = std::sync::Arc::clone(engine);
        let list = move || listing.recent(RecordKind::Blob, limit_bytes, largest_bytes);
        let records = blocking::run(list).await?;
        let tier = self.clone();
        Ok(stream::iter(records).filter_map(move |record| {
            let tier = tier.clone();
            async move {
                match tier.read_recent(record).await {
                    Ok(blob) => blob,
                    Err(error) => {
                        tracing::debug!(%error, "not read into the hot tier");
                        None
                    }
                }
            }
        }))
    }

    async fn read_recent(
        &self,
        record: RecentRecord,
    ) -> Result<Option<(BlobKey, Payload)>, StoreError> {
        let engine = std::sync::Arc::clone(self.engine());
        let read = move || {
            // Plain bytes: what serves every client, and costs no decoding at each hit.
            let Some((key, mut reader)) = engine.read_recent(&record, Accepts::Raw)? else {
                return Ok(None);
            };
            let mut whole = Vec::new();
            while let Some(chunk) = reader.next_chunk()? {
                whole.extend_from_slice(&chunk);
            }
            Ok::<_, DiskError>(Some((key, reader.encoding(), whole)))
        };
        let Some((key, encoding, whole)) = blocking::run(read).await?? else { return Ok(None) };
        let size_bytes = whole.len() as u64;
        let digest = Digest::new(*key.hash(), size_bytes);
        let key = BlobKey { keyspace: key.keyspace().clone(), digest };
        Ok(Some((key, Payload::from_trusted_bytes(size_bytes, encoding, whole.into()))))
    }
}
