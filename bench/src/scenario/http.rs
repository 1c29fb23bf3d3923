//! GET of blobs over HTTP/1.1, by their hashes.

use async_trait::async_trait;

use super::resident::{self, Blob};
use super::{Moved, Scenario};
use crate::client::Client;
use crate::error::CallError;

/// Blobs in turn.
#[derive(Debug)]
pub(super) struct HttpGet {
    /// Not empty.
    pub(super) blobs: Vec<Blob>,
}

#[async_trait(?Send)]
impl Scenario for HttpGet {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        resident::store(client, self.blobs.iter().cloned()).await?;
        // Whether there is an HTTP cache over the same blobs at all, before anything is measured.
        self.operate(client, 0).await.map(drop)
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let place = usize::try_from(number % self.blobs.len() as u64).unwrap_or_default();
        let blob = &self.blobs[place];
        client.http_get(&blob.digest, &blob.bytes).await?;
        Ok(Moved::plain(blob.digest.size_bytes()))
    }
}
