//! `ByteStream.Read` of one large blob, as it is or as a zstd client asks for it.

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use larder_protos::Compressor;

use super::resident::{self, Blob};
use super::{Moved, Scenario};
use crate::client::Client;
use crate::error::CallError;

/// One blob, in one of its forms.
#[derive(Debug)]
pub(super) struct LargeRead {
    blob: Blob,
    compressor: Compressor,
    /// What the server sends to a zstd client, decoded once and found right; the same bytes need no decoding again.
    encoded: OnceLock<Bytes>,
}

impl LargeRead {
    pub(super) fn new(blob: Blob, compressor: Compressor) -> Self {
        Self { blob, compressor, encoded: OnceLock::new() }
    }

    async fn read_encoded(&self, client: &Client) -> Result<usize, CallError> {
        let known = self.encoded.get().cloned().unwrap_or_default();
        // The bytes from the first on that differs from what is known; most often none.
        let (mut same_bytes, mut unlike) = (0, Vec::new());
        let mut sink = |bytes: &[u8]| {
            let expected = known.get(same_bytes..same_bytes + bytes.len());
            if unlike.is_empty() && expected == Some(bytes) {
                same_bytes += bytes.len();
            } else {
                unlike.extend_from_slice(bytes);
            }
            Ok(())
        };
        client.read(&self.blob.digest, Compressor::Zstd, &mut sink).await?;
        if unlike.is_empty() && same_bytes == known.len() && !known.is_empty() {
            return Ok(same_bytes);
        }
        let encoded = Bytes::from([&known[..same_bytes], &unlike[..]].concat());
        if zstd::decode_all(&encoded[..])? != self.blob.bytes {
            return Err(CallError::Different { what: "the decoded blob" });
        }
        let length = encoded.len();
        // Another operation may have been first.
        let _kept = self.encoded.set(encoded);
        Ok(length)
    }
}

#[async_trait(?Send)]
impl Scenario for LargeRead {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        resident::store(client, std::iter::once(self.blob.clone())).await?;
        // Whether the server has the form at all, before anything is measured.
        self.operate(client, 0).await.map(drop)
    }

    async fn operate(&self, client: &Client, _number: u64) -> Result<Moved, CallError> {
        let bytes = self.blob.digest.size_bytes();
        if self.compressor == Compressor::Zstd {
            let wire_bytes = self.read_encoded(client).await? as u64;
            return Ok(Moved { bytes, wire_bytes });
        }
        client.read_expecting(&self.blob.digest, &self.blob.bytes).await?;
        Ok(Moved::plain(bytes))
    }
}
