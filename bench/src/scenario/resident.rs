//! Blobs that are there before a scenario begins.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_protos::Digest;

use crate::blobs::{self, Content};
use crate::client::Client;
use crate::error::CallError;

/// Most outputs of builds are not larger.
pub(crate) const SMALL_BYTES: usize = 2 << 10;
/// How many different small blobs there are to read.
pub(crate) const RESIDENT: u64 = 1_000;
/// Uploads at a time while preparing.
const AT_A_TIME: usize = 64;
/// Digests asked for in one call.
const ASKED: usize = 1_000;

/// A blob and its name.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

impl Blob {
    /// The blob that `seed` stands for.
    pub(crate) fn of(content: Content, seed: u64, size: usize) -> Self {
        let bytes = blobs::blob(content, seed, size);
        Self { digest: blobs::digest(&bytes), bytes }
    }

    /// The small blob that `seed` stands for.
    pub(crate) fn small(seed: u64) -> Self {
        Self::of(Content::Half, seed, SMALL_BYTES)
    }
}

/// Small blobs that every scenario may read.
#[derive(Debug)]
pub(crate) struct Resident(Vec<Blob>);

impl Resident {
    pub(crate) fn new() -> Self {
        Self((0..RESIDENT).map(Blob::small).collect())
    }

    /// Blobs in turn, for ever.
    pub(crate) fn nth(&self, number: u64) -> &Blob {
        &self.0[usize::try_from(number % RESIDENT).unwrap_or_default()]
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Blob] {
        &self.0
    }

    /// Stores them.
    pub(crate) async fn store(&self, client: &Client) -> Result<(), CallError> {
        store(client, self.0.iter().cloned()).await
    }
}

/// Stores blobs, unless they are there already.
pub(crate) async fn store(
    client: &Client,
    blobs: impl Iterator<Item = Blob>,
) -> Result<(), CallError> {
    let mut chunks = stream::iter(blobs).chunks(ASKED);
    while let Some(chunk) = chunks.next().await {
        let digests: Vec<Digest> = chunk.iter().map(|blob| blob.digest).collect();
        if client.count_missing(&digests).await? == 0 {
            continue;
        }
        let uploads = chunk
            .into_iter()
            .map(|blob| async move { client.write_blob(&blob.digest, blob.bytes).await });
        stream::iter(uploads).buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    }
    Ok(())
}
