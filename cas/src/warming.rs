//! [`warm`]: fills the hot tier after a start with the blobs that were used last before it.
//!
//! Bounds: bytes a second, and a share of the tier, so that clients keep the disk and what they use now keeps its place.

use std::time::Duration;

use crate::hot_cache::cost_bytes;
use crate::{BlobKey, ByteRange, HotTier, RequestCx};

/// Of the hot tier's limit, how much is filled at most, in quarters; the rest is for what clients ask for meanwhile.
const FILLED_QUARTERS: u64 = 3;

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

/// Reads `keys`, the hottest first, into `hot`, at most `bytes_per_second`. Ends when they do, or when the tier is as full as
/// this may make it. What is gone meanwhile or cannot be read is passed over. Dropping the future ends it after one blob.
pub async fn warm(
    hot: &HotTier,
    keys: impl IntoIterator<Item = BlobKey>,
    bytes_per_second: u64,
) -> Warmed {
    let mut warmed = Warmed::default();
    let mut unpaid_bytes = 0;
    let mut room_bytes = room_bytes(hot);
    for key in keys {
        let size_bytes = key.digest.size_bytes();
        if !hot.wants(&key) {
            continue;
        }
        if cost_bytes(size_bytes) > room_bytes {
            break;
        }
        let Some(added_bytes) = hot.fetch(&key).await else { continue };
        warmed.blobs += 1;
        warmed.bytes += added_bytes;
        unpaid_bytes += added_bytes;
        room_bytes = room_bytes.saturating_sub(cost_bytes(added_bytes));
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
    /// Whether it would take this blob in, and does not have it.
    fn wants(&self, key: &BlobKey) -> bool {
        !key.digest.is_empty_blob() && self.has_place_for(key)
    }

    /// Takes a blob in from the tier behind; the bytes it takes, or `None` where it did not come in.
    async fn fetch(&self, key: &BlobKey) -> Option<u64> {
        // Plain bytes: what serves every client, and costs no decoding at each hit.
        match self.behind().get(&RequestCx::RAW, key, ByteRange::ALL).await {
            Ok(found) => self.admit_payload(key, &found?),
            Err(error) => {
                tracing::debug!(%key, %error, "not read into the hot tier");
                None
            }
        }
    }
}
