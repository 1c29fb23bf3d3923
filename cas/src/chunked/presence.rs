//! Whether blobs are present, whole or as chunks.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder_protos::Digest;

use super::Store;
use crate::{BlobKey, BlobKeys, BlobStore, RequestCx, StoreError};

/// How many chunks are asked for at once.
const WINDOW: usize = 4_096;

/// Where in a blob's chunks one is. A chunk that is chunked itself is rare: it was cut after it became one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    depth: u8,
}

impl Visit {
    /// At what was asked for.
    pub(super) const FIRST: Self = Self { depth: 0 };

    /// No blob has chunks of chunks below this: what has counts as absent, which an upload heals.
    const MOST: u8 = 4;

    /// Among the chunks; `None` where it is too deep.
    pub(super) fn below(self) -> Option<Self> {
        (self.depth < Self::MOST).then_some(Self { depth: self.depth + 1 })
    }
}

impl Store {
    /// Which of `keys` are absent, in the order asked; extends the lives of the others, of their manifests and chunks.
    pub(super) fn find_missing<'a>(
        &'a self,
        cx: &'a RequestCx,
        keys: BlobKeys,
        visit: Visit,
    ) -> BoxFuture<'a, Result<BlobKeys, StoreError>> {
        async move {
            let wholes_back = self.wholes_back.load(Ordering::Acquire);
            let mut missing = self.disk.find_missing(cx, keys).await?;
            if missing.is_empty() {
                return Ok(missing);
            }
            self.drop_chunked(cx, &mut missing, visit).await?;
            if !missing.is_empty() && self.wholes_back.load(Ordering::Acquire) != wholes_back {
                missing = self.disk.find_missing(cx, missing).await?;
            }
            Ok(missing)
        }
        .boxed()
    }

    /// Leaves in `missing` what is not present as chunks either.
    async fn drop_chunked(
        &self,
        cx: &RequestCx,
        missing: &mut BlobKeys,
        visit: Visit,
    ) -> Result<(), StoreError> {
        let have_manifests = self.manifests.touch(&missing.keyspace, &missing.digests);
        if !have_manifests.contains(&true) {
            return Ok(());
        }
        let mut known: HashMap<Digest, bool> = HashMap::new();
        let mut absent = Vec::new();
        for (digest, has_manifest) in missing.digests.iter().zip(have_manifests) {
            let is_present = match known.get(digest) {
                Some(known) => *known,
                None if has_manifest => {
                    let key = BlobKey { keyspace: missing.keyspace.clone(), digest: *digest };
                    let is_present = self.is_whole_in_chunks(cx, &key, visit).await?;
                    known.insert(*digest, is_present);
                    is_present
                }
                None => false,
            };
            if !is_present {
                absent.push(*digest);
            }
        }
        missing.digests = absent;
        Ok(())
    }

    /// Whether the blob has a manifest and every chunk that it lists is present; extends their lives.
    pub(super) async fn is_whole_in_chunks(
        &self,
        cx: &RequestCx,
        key: &BlobKey,
        visit: Visit,
    ) -> Result<bool, StoreError> {
        let Some(below) = visit.below() else { return Ok(false) };
        let Some(mut manifest) = self.manifests.open(key).await? else { return Ok(false) };
        let mut listed = 0;
        loop {
            let digests = manifest.window(WINDOW).await?;
            if digests.is_empty() {
                return Ok(listed == manifest.header.chunks as usize);
            }
            listed += digests.len();
            let keys = BlobKeys { keyspace: key.keyspace.clone(), digests };
            if !self.find_missing(cx, keys, below).await?.is_empty() {
                return Ok(false);
            }
        }
    }
}
