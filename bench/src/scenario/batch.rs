//! `BatchReadBlobs` and `BatchUpdateBlobs` of small blobs.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use async_trait::async_trait;
use larder_protos::Digest;
use larder_protos::hot::BatchUpdateBlobsRequest;
use larder_protos::hot::batch_update_blobs_request::Request;
use larder_protos::reapi::BatchReadBlobsRequest;

use super::resident::{Blob, RESIDENT, Resident, SMALL_BYTES};
use super::{Moved, Scenario};
use crate::client::Client;
use crate::error::CallError;
use crate::wire::message;

/// Blobs in one call: what Buck2 asks for.
pub(super) const BLOBS: u64 = 100;

/// Reads of a hundred.
#[derive(Debug)]
pub(super) struct BatchRead {
    resident: Resident,
    by_hash: HashMap<String, usize>,
}

impl BatchRead {
    pub(super) fn new() -> Self {
        let resident = Resident::new();
        let names = resident.all().iter().map(|blob| blob.digest.hash().to_string());
        let by_hash = names.zip(0..).collect();
        Self { resident, by_hash }
    }
}

#[async_trait(?Send)]
impl Scenario for BatchRead {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.resident.store(client).await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let first = number * BLOBS % RESIDENT;
        let wanted = (first..first + BLOBS).map(|place| self.resident.nth(place));
        let request = BatchReadBlobsRequest {
            instance_name: client.instance().to_owned(),
            digests: wanted.map(|blob| blob.digest.to_proto()).collect(),
            ..BatchReadBlobsRequest::default()
        };
        let answer = client.batch_read(message(&request)).await?;
        let mut unseen: HashSet<usize> = (first..first + BLOBS)
            .map(|place| usize::try_from(place % RESIDENT).unwrap_or_default())
            .collect();
        for blob in &answer.responses {
            let hash = blob.digest.as_ref().map(|digest| &digest.hash[..]).unwrap_or_default();
            let place = self.by_hash.get(hash);
            let expected = place.and_then(|place| self.resident.all().get(*place));
            if expected.is_none_or(|expected| expected.bytes != blob.data) {
                return Err(CallError::Different { what: "a blob of a batch" });
            }
            place.inspect(|place| {
                unseen.remove(place);
            });
        }
        if !unseen.is_empty() {
            return Err(CallError::Different { what: "the blobs of a batch" });
        }
        Ok(Moved::plain(BLOBS * SMALL_BYTES as u64))
    }
}

/// Uploads of a hundred new ones.
#[derive(Debug)]
pub(super) struct BatchUpdate {
    pub(super) salt: u64,
}

impl BatchUpdate {
    fn blobs(&self, number: u64) -> impl Iterator<Item = Blob> {
        let first = self.salt.wrapping_add(number * BLOBS);
        (0..BLOBS).map(move |place| Blob::small(first.wrapping_add(place)))
    }
}

#[async_trait(?Send)]
impl Scenario for BatchUpdate {
    async fn prepare(&self, _client: &Client) -> Result<(), CallError> {
        Ok(())
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        client.batch_update(&update_request(client.instance(), self.blobs(number))).await?;
        Ok(Moved::plain(BLOBS * SMALL_BYTES as u64))
    }

    async fn verify(&self, client: &Client, done: Range<u64>) -> Result<(), CallError> {
        let Some(number) = done.last() else { return Ok(()) };
        for blob in self.blobs(number) {
            client.read_expecting(&blob.digest, &blob.bytes).await?;
        }
        Ok(())
    }
}

/// A call that stores these.
pub(super) fn update_request(
    instance: &str,
    blobs: impl Iterator<Item = Blob>,
) -> BatchUpdateBlobsRequest {
    let request = |blob: Blob| Request {
        digest: Some(Digest::to_proto(&blob.digest)),
        data: blob.bytes,
        compressor: 0,
    };
    BatchUpdateBlobsRequest {
        instance_name: instance.to_owned(),
        requests: blobs.map(request).collect(),
        digest_function: 0,
    }
}
