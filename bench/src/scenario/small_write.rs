//! `ByteStream.Write` of small blobs that the server has never seen.

use std::ops::Range;

use async_trait::async_trait;

use super::resident::Blob;
use super::{Moved, Scenario};
use crate::blobs::Content;
use crate::client::Client;
use crate::error::CallError;

/// How many of the blobs written are read back.
const READ_BACK: u64 = 100;

/// New blobs of one size.
#[derive(Debug)]
pub(super) struct SmallWrite {
    pub(super) size_bytes: usize,
    /// Numbers of operations are counted from here, so that no two runs write the same.
    pub(super) salt: u64,
}

impl SmallWrite {
    fn blob(&self, number: u64) -> Blob {
        Blob::of(Content::Half, self.salt.wrapping_add(number), self.size_bytes)
    }
}

#[async_trait(?Send)]
impl Scenario for SmallWrite {
    async fn prepare(&self, _client: &Client) -> Result<(), CallError> {
        Ok(())
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let blob = self.blob(number);
        client.write_blob(&blob.digest, blob.bytes).await?;
        Ok(Moved::plain(self.size_bytes as u64))
    }

    async fn verify(&self, client: &Client, done: Range<u64>) -> Result<(), CallError> {
        let step = (done.end.saturating_sub(done.start) / READ_BACK).max(1);
        let step = usize::try_from(step).unwrap_or(usize::MAX);
        for number in done.step_by(step) {
            let blob = self.blob(number);
            client.read_expecting(&blob.digest, &blob.bytes).await?;
        }
        Ok(())
    }
}
