//! What fuzzing asks of the decoder of clients' zstd, which ends, in bounded steps, and decodes to the same in all ways, and of
//! the manifests of chunked blobs.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_disk::Encoding;
use larder_protos::{Digest, DigestFunction};
use tokio::runtime::Builder;

use crate::chunked::manifest::{HEADER_BYTES, Header, encode, entry_bytes, parse_entry};
use crate::zstd_codec::{CHUNK_BYTES, decode, decode_stream, is_one_plain_frame};
use crate::{StoreError, UntrustedPayload};

/// A bomb is followed no further than this.
const MOST_DECODED_BYTES: usize = 1 << 20;

/// An upload in zstd: the first byte says how it is cut into chunks.
pub fn zstd_upload(data: &[u8]) {
    let Some((cut, encoded)) = data.split_first() else { return };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let chunk_bytes = usize::from(*cut) + 1;
    let Some(streamed) = runtime.block_on(decode_chunked(encoded, chunk_bytes)) else { return };
    let _ = is_one_plain_frame(encoded);
    let Ok(raw) = streamed else { return };

    let whole = decode(encoded, raw.len()).expect("what streams decodes in one step");
    assert!(whole == raw, "a stream and one step decode to the same");
    if let Some(shorter) = raw.len().checked_sub(1) {
        decode(encoded, shorter).expect_err("there is no room for the last byte");
    }

    let digest = Digest::of(DigestFunction::Sha256, &raw);
    let untrusted = || {
        let chunks: Vec<_> = encoded.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect();
        let stream = stream::iter(chunks.into_iter().map(Ok)).boxed();
        UntrustedPayload::from_stream(Encoding::Zstd, stream)
    };
    let verified = runtime.block_on(async {
        let payload = untrusted().verify(&digest).await?;
        payload.into_bytes(raw.len() as u64).await
    });
    assert!(verified.expect("these are its bytes") == raw, "what is verified is what was sent");
    let other = Digest::new(*digest.hash(), digest.size_bytes() + 1);
    let refused = runtime.block_on(async {
        let payload = untrusted().verify(&other).await?;
        payload.into_bytes(other.size_bytes()).await
    });
    refused.expect_err("the size is another");
}

/// A manifest as it was stored: what is read can be written, and is the same.
pub fn manifest(data: &[u8]) {
    let Some(header) = Header::parse(data) else { return };
    let entries = data.get(HEADER_BYTES..).unwrap_or_default();
    for function in [DigestFunction::Sha256, DigestFunction::Sha1] {
        let entries = entries.chunks_exact(entry_bytes(function));
        let chunks: Vec<_> = entries.map_while(|entry| parse_entry(function, entry)).collect();
        let written = encode(header.function, header.blob_bytes, &chunks).expect("few chunks");
        let again = Header::parse(&written).expect("a manifest");
        let chunks = u32::try_from(chunks.len()).expect("few chunks");
        assert_eq!(again, Header { chunks, ..header });
        let body = written.get(HEADER_BYTES..).unwrap_or_default();
        assert!(data.get(HEADER_BYTES..).unwrap_or_default().starts_with(body));
    }
}

/// The decoded bytes, or why there are none; nothing where there are too many to follow.
async fn decode_chunked(encoded: &[u8], chunk_bytes: usize) -> Option<Result<Vec<u8>, StoreError>> {
    let chunks: Vec<_> = encoded.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect();
    let mut decoded = decode_stream(stream::iter(chunks.into_iter().map(Ok)).boxed(), 0);
    let mut whole = Vec::new();
    loop {
        match decoded.try_next().await {
            Ok(Some(chunk)) => {
                assert!(chunk.len() <= CHUNK_BYTES, "a chunk of {} B", chunk.len());
                whole.extend_from_slice(&chunk);
                if whole.len() > MOST_DECODED_BYTES {
                    return None;
                }
            }
            Ok(None) => return Some(Ok(whole)),
            Err(error) => return Some(Err(error)),
        }
    }
}
