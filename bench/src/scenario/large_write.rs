//! `ByteStream.Write` of large blobs that the server has never seen, made at no cost: all but the last bytes are the same, hashed
//! and compressed once.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use larder_protos::{Compressor, Digest, DigestFunction, DigestHasher};

use super::{Moved, Scenario};
use crate::blobs::{self, Content};
use crate::client::{Client, Rest};
use crate::error::CallError;

/// What differs from blob to blob.
const TAIL_BYTES: usize = 64;
const ZSTD_LEVEL: i32 = 1;

/// New blobs of one size.
#[derive(Debug)]
pub(super) struct LargeWrite {
    body: Bytes,
    hashed_body: DigestHasher,
    /// For a zstd client: the head of a frame, and blocks that hold the body.
    encoded_body: Option<Bytes>,
    salt: u64,
}

impl LargeWrite {
    pub(super) fn new(
        content: Content,
        compressor: Compressor,
        size_bytes: usize,
        salt: u64,
    ) -> Result<Self, CallError> {
        let body = blobs::blob(content, salt, size_bytes.saturating_sub(TAIL_BYTES));
        let mut hashed_body =
            DigestHasher::new(DigestFunction::Sha256, (body.len() + TAIL_BYTES) as u64);
        hashed_body.update(&body);
        let encoded_body = match compressor {
            Compressor::Identity => None,
            Compressor::Zstd => Some(frame_without_end(&body)?),
        };
        Ok(Self { body, hashed_body, encoded_body, salt })
    }

    fn tail(&self, number: u64) -> Bytes {
        blobs::blob(Content::Noise, self.salt.wrapping_add(number), TAIL_BYTES)
    }

    fn digest(&self, tail: &[u8]) -> Digest {
        let mut hasher = self.hashed_body.clone();
        hasher.update(tail);
        hasher.finish()
    }
}

#[async_trait(?Send)]
impl Scenario for LargeWrite {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        // Whether the server takes the form at all, before anything is measured; no operation has this number.
        self.operate(client, u64::MAX).await.map(drop)
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let tail = self.tail(number);
        let digest = self.digest(&tail);
        let bytes = digest.size_bytes();
        let Some(encoded) = &self.encoded_body else {
            client.write(&digest, Compressor::Identity, &[self.body.clone(), tail]).await?;
            return Ok(Moved::plain(bytes));
        };
        let last_block = last_block(&tail);
        let wire_bytes = (encoded.len() + last_block.len()) as u64;
        client.write(&digest, Compressor::Zstd, &[encoded.clone(), last_block]).await?;
        Ok(Moved { bytes, wire_bytes })
    }

    async fn verify(&self, client: &Client, done: Range<u64>) -> Result<(), CallError> {
        let Some(number) = done.last() else { return Ok(()) };
        let tail = self.tail(number);
        let expected = [&self.body[..], &tail[..]].concat();
        let mut rest = Rest::of(&expected);
        let digest = self.digest(&tail);
        client.read(&digest, Compressor::Identity, &mut |bytes| rest.take(bytes)).await?;
        rest.finish()
    }
}

/// A zstd frame of the body and a tail, up to where the tail's block comes.
fn frame_without_end(body: &[u8]) -> std::io::Result<Bytes> {
    use std::io::Write;

    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.include_checksum(false)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some((body.len() + TAIL_BYTES) as u64))?;
    encoder.write_all(body)?;
    encoder.flush()?;
    Ok(Bytes::from(encoder.get_ref().clone()))
}

/// The last block of a frame, which holds these bytes as they are. Source: RFC 8878, section 3.1.1.2.
fn last_block(bytes: &[u8]) -> Bytes {
    let header = (u32::try_from(bytes.len()).unwrap_or(u32::MAX) << 3 | 1).to_le_bytes();
    [&header[..3], bytes].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_and_a_tail_make_one_blob_in_both_forms() {
        for content in [Content::Noise, Content::Text] {
            let made = LargeWrite::new(content, Compressor::Zstd, 1 << 20, 7).unwrap();
            let tail = made.tail(3);
            let whole = [&made.body[..], &tail[..]].concat();
            assert_eq!(made.digest(&tail), blobs::digest(&whole));
            let frame = [&made.encoded_body.unwrap()[..], &last_block(&tail)[..]].concat();
            assert_eq!(zstd::decode_all(&frame[..]).unwrap(), whole);
            // One frame with its size told: what every client of a zstd server sends.
            assert_eq!(zstd::bulk::decompress(&frame, whole.len()).unwrap(), whole);
        }
    }
}
