//! `ByteStream.Read` of small blobs: again and again the same, or each only once.

use async_trait::async_trait;
use larder_protos::Digest;

use super::resident::{self, Blob, RESIDENT, Resident, SMALL_BYTES};
use super::{Moved, Scenario};
use crate::blobs::Noise;
use crate::client::Client;
use crate::error::CallError;

/// A thousand blobs, which are in every cache.
#[derive(Debug)]
pub(super) struct Hot(Resident);

impl Hot {
    pub(super) fn new() -> Self {
        Self(Resident::new())
    }
}

#[async_trait(?Send)]
impl Scenario for Hot {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.0.store(client).await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let blob = self.0.nth(number);
        client.read_expecting(&blob.digest, &blob.bytes).await?;
        Ok(Moved::plain(SMALL_BYTES as u64))
    }
}

/// Blobs in an order that no read-ahead knows; one comes again only when all have come.
#[derive(Debug)]
pub(super) struct Cold {
    /// Seeds and what they stand for, shuffled.
    blobs: Vec<(u64, Digest)>,
}

impl Cold {
    pub(super) fn new(count: u64) -> Self {
        let seeds = RESIDENT..RESIDENT + count.max(1);
        let mut blobs: Vec<_> = seeds.map(|seed| (seed, Blob::small(seed).digest)).collect();
        let mut noise = Noise::new(count);
        for last in (1..blobs.len()).rev() {
            let other = usize::try_from(noise.below(last as u64 + 1)).unwrap_or_default();
            blobs.swap(last, other);
        }
        Self { blobs }
    }
}

#[async_trait(?Send)]
impl Scenario for Cold {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        resident::store(client, self.blobs.iter().map(|(seed, _)| Blob::small(*seed))).await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let place = usize::try_from(number % self.blobs.len() as u64).unwrap_or_default();
        let (seed, digest) = &self.blobs[place];
        client.read_expecting(digest, &Blob::small(*seed).bytes).await?;
        Ok(Moved::plain(SMALL_BYTES as u64))
    }
}
