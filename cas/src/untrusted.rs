//! [`UntrustedPayload`]: bytes that somebody claims to be a blob, and the one way to turn them into a [`Payload`].

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_protos::{Digest, DigestHasher};

use crate::blocking;
use crate::zstd_codec::{self, DecodeError};
use crate::{Encoding, Payload, PayloadStream, StoreError};

/// Chunks as they come from outside. An error is the edge's own, see [`StoreError::UploadBrokeOff`].
pub type UntrustedStream =
    Pin<Box<dyn Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// Blobs up to this size are verified whole, in memory, before any store sees them; larger ones as they stream.
const IN_MEMORY_BYTES: u64 = 1024 * 1024;

/// Bytes that somebody claims to be a blob.
pub struct UntrustedPayload {
    encoding: Encoding,
    body: Body,
}

enum Body {
    Bytes(Bytes),
    Stream(UntrustedStream),
}

impl UntrustedPayload {
    /// A claim that is in memory already.
    pub fn from_bytes(encoding: Encoding, bytes: Bytes) -> Self {
        Self { encoding, body: Body::Bytes(bytes) }
    }

    /// A claim that is still arriving.
    pub fn from_stream(encoding: Encoding, stream: UntrustedStream) -> Self {
        Self { encoding, body: Body::Stream(stream) }
    }

    /// Holds the bytes against `digest`. A small blob is checked here and now. The stream of a larger one ends in an
    /// error where the bytes differ, before its last byte was believed. Never reads past the declared size.
    pub async fn verify(self, digest: &Digest) -> Result<Payload, StoreError> {
        let digest = *digest;
        let small = digest.size_bytes() <= IN_MEMORY_BYTES;
        match (self.encoding, self.body) {
            (Encoding::Raw, Body::Bytes(bytes)) => verify_raw(digest, bytes).await,
            (Encoding::Zstd, Body::Bytes(bytes)) if small => verify_zstd(digest, bytes).await,
            (Encoding::Raw, Body::Stream(chunks)) => {
                payload_of(digest, own_errors(digest, chunks), small).await
            }
            (Encoding::Zstd, Body::Stream(chunks)) if small => {
                let encoded = collect_encoded(digest, own_errors(digest, chunks)).await?;
                verify_zstd(digest, encoded).await
            }
            (Encoding::Zstd, body) => {
                let chunks = match body {
                    Body::Bytes(bytes) => stream::iter([Ok(bytes)]).boxed(),
                    Body::Stream(chunks) => own_errors(digest, chunks),
                };
                let raw = zstd_codec::decode_with(chunks, malformed_zstd(digest)).boxed();
                payload_of(digest, raw, small).await
            }
        }
    }
}

fn own_errors(digest: Digest, chunks: UntrustedStream) -> PayloadStream {
    let hash = *digest.hash();
    chunks.map_err(move |source| StoreError::UploadBrokeOff { hash, source }).boxed()
}

async fn payload_of(
    digest: Digest,
    raw: PayloadStream,
    small: bool,
) -> Result<Payload, StoreError> {
    if small {
        verify_raw(digest, collect(digest, raw).await?).await
    } else {
        let verified = verify_stream(digest, raw);
        Ok(Payload::from_trusted_stream(digest.size_bytes(), Encoding::Raw, verified))
    }
}

async fn collect(digest: Digest, raw: PayloadStream) -> Result<Bytes, StoreError> {
    let size_bytes = digest.size_bytes();
    collect_up_to(size_bytes, size_bytes, raw, || StoreError::TooLong { digest }).await
}

/// The zstd frames of a small blob as they come: decoded in one go they need no window, which a stream's decoder would
/// have to allocate for each upload, up to 8 MiB as its frame asks.
async fn collect_encoded(digest: Digest, encoded: PayloadStream) -> Result<Bytes, StoreError> {
    // What zstd makes of incompressible bytes in one frame, with room for many small frames and some skippable ones.
    let size_bytes = digest.size_bytes();
    let limit_bytes = size_bytes + size_bytes / 4 + 64 * 1024;
    let too_long = || malformed_zstd(digest)("it is much longer than its blob");
    collect_up_to(size_bytes, limit_bytes, encoded, too_long).await
}

/// About `size_bytes` come, and not more than `limit_bytes`.
async fn collect_up_to(
    size_bytes: u64,
    limit_bytes: u64,
    mut chunks: PayloadStream,
    too_long: impl Fn() -> StoreError,
) -> Result<Bytes, StoreError> {
    // The first chunk is most often all, which then needs no copy.
    let Some(first) = chunks.try_next().await? else { return Ok(Bytes::new()) };
    let Some(mut next) = chunks.try_next().await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
    whole.extend_from_slice(&first);
    loop {
        if (whole.len() + next.len()) as u64 > limit_bytes {
            return Err(too_long());
        }
        whole.extend_from_slice(&next);
        match chunks.try_next().await? {
            Some(chunk) => next = chunk,
            None => return Ok(whole.freeze()),
        }
    }
}

async fn verify_raw(digest: Digest, bytes: Bytes) -> Result<Payload, StoreError> {
    blocking::run_sized(bytes.len(), move || {
        check_size(&digest, bytes.len() as u64)?;
        check_digest(digest, Digest::of(digest.function(), &bytes))?;
        Ok(Payload::from_trusted_bytes(digest.size_bytes(), Encoding::Raw, bytes))
    })
    .await?
}

/// Keeps the frame as it came where any decoder will take it; the bytes that were hashed otherwise.
async fn verify_zstd(digest: Digest, encoded: Bytes) -> Result<Payload, StoreError> {
    let size_bytes = digest.size_bytes();
    let capacity = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    blocking::run_sized(capacity, move || {
        let raw = zstd_codec::decode(&encoded, capacity).map_err(|error| match error {
            DecodeError::TooLong => StoreError::TooLong { digest },
            DecodeError::Malformed(reason) => malformed_zstd(digest)(reason),
        })?;
        check_size(&digest, raw.len() as u64)?;
        check_digest(digest, Digest::of(digest.function(), &raw))?;
        let keeps_frame = encoded.len() < raw.len() && zstd_codec::is_one_plain_frame(&encoded);
        let (encoding, bytes) =
            if keeps_frame { (Encoding::Zstd, encoded) } else { (Encoding::Raw, raw) };
        Ok(Payload::from_trusted_bytes(size_bytes, encoding, bytes))
    })
    .await?
}

/// Passes chunks on while hashing them. The last chunk is held back until the digest is known to be right.
fn verify_stream(digest: Digest, raw: PayloadStream) -> PayloadStream {
    let hasher = DigestHasher::new(digest.function(), digest.size_bytes());
    let state = Some((raw, hasher, 0_u64));
    stream::try_unfold(state, move |state| async move {
        let Some((mut raw, hasher, seen_bytes)) = state else { return Ok(None) };
        let Some(chunk) = raw.try_next().await? else {
            check_size(&digest, seen_bytes)?;
            return Ok(None);
        };
        let seen_bytes = seen_bytes + chunk.len() as u64;
        if seen_bytes > digest.size_bytes() {
            return Err(StoreError::TooLong { digest });
        }
        let hashed = chunk.clone();
        let hasher = blocking::run_sized(chunk.len(), move || {
            let mut hasher = hasher;
            hasher.update(&hashed);
            hasher
        })
        .await?;
        if seen_bytes < digest.size_bytes() {
            return Ok(Some((chunk, Some((raw, hasher, seen_bytes)))));
        }
        if raw.try_next().await?.is_some() {
            return Err(StoreError::TooLong { digest });
        }
        check_digest(digest, hasher.finish())?;
        Ok(Some((chunk, None)))
    })
    .boxed()
}

fn malformed_zstd(digest: Digest) -> impl Fn(&'static str) -> StoreError + Send {
    move |reason| StoreError::MalformedZstd { hash: *digest.hash(), reason }
}

fn check_size(digest: &Digest, actual_bytes: u64) -> Result<(), StoreError> {
    match actual_bytes.cmp(&digest.size_bytes()) {
        std::cmp::Ordering::Less => Err(StoreError::TooShort { digest: *digest, actual_bytes }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::TooLong { digest: *digest }),
    }
}

fn check_digest(expected: Digest, actual: Digest) -> Result<(), StoreError> {
    if actual == expected { Ok(()) } else { Err(StoreError::DigestMismatch { expected, actual }) }
}
