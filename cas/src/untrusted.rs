//! [`UntrustedPayload`]: bytes that somebody claims to be a blob, and the one way to turn them into a [`Payload`].

use std::future::ready;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_protos::{Digest, DigestFunction, DigestHasher};

use crate::payload::OWN_BYTES;
use crate::zstd_codec::{self, DecodeError};
use crate::{Encoding, Payload, PayloadStream, StoreError};
use crate::{blocking, kept_zstd};

/// Chunks as they come from outside. An error is the edge's own, see [`StoreError::UploadBrokeOff`]; a [`StoreError`] is
/// passed on as it is, since then the fault is not the caller's.
pub type UntrustedStream =
    Pin<Box<dyn Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// Blobs up to this size are verified whole, in memory, before any store sees them; larger ones as they stream.
pub(crate) const IN_MEMORY_BYTES: u64 = 1024 * 1024;

/// What of a stream is gathered to be hashed in one go: long enough to be worth the way to the blocking pool and back.
const HASHED_AT_ONCE_BYTES: u64 = 256 * 1024;

/// Bytes that somebody claims to be a blob.
pub struct UntrustedPayload {
    encoding: Encoding,
    body: Body,
}

enum Body {
    Bytes(Bytes),
    /// Plain bytes whose digest is known.
    Hashed(Digest, Bytes),
    Stream(UntrustedStream),
}

impl UntrustedPayload {
    /// A claim that is in memory already.
    pub fn from_bytes(encoding: Encoding, bytes: Bytes) -> Self {
        Self { encoding, body: Body::Bytes(bytes) }
    }

    /// Plain bytes that nobody has named yet, and the digest they have; verifying them then takes no second hash.
    pub async fn identify(
        function: DigestFunction,
        bytes: Bytes,
    ) -> Result<(Digest, Self), StoreError> {
        let hashed = bytes.clone();
        let hash = move || Digest::of(function, &hashed);
        let digest = blocking::run_sized(bytes.len(), hash).await?;
        Ok((digest, Self { encoding: Encoding::Raw, body: Body::Hashed(digest, bytes) }))
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
            (_, Body::Hashed(actual, bytes)) => {
                check_size(&digest, actual.size_bytes())?;
                check_digest(digest, actual)?;
                Ok(Payload::from_trusted_bytes(digest.size_bytes(), Encoding::Raw, own(bytes)))
            }
            (Encoding::Zstd, Body::Bytes(bytes)) if small => verify_zstd(digest, bytes).await,
            (Encoding::Raw, Body::Stream(chunks)) => {
                let raw = own_errors(digest, chunks);
                if small {
                    return verify_raw(digest, collect(digest, raw).await?).await;
                }
                let verified = verify_stream(digest, raw);
                Ok(Payload::from_trusted_stream(digest.size_bytes(), Encoding::Raw, verified))
            }
            (Encoding::Zstd, Body::Stream(chunks)) if small => {
                let encoded = collect_encoded(digest, own_errors(digest, chunks)).await?;
                verify_zstd(digest, encoded).await
            }
            (Encoding::Zstd, Body::Bytes(bytes)) => {
                verify_large_zstd(digest, stream::iter([Ok(bytes)]).boxed()).await
            }
            (Encoding::Zstd, Body::Stream(chunks)) => {
                verify_large_zstd(digest, own_errors(digest, chunks)).await
            }
        }
    }
}

fn own_errors(digest: Digest, chunks: UntrustedStream) -> PayloadStream {
    let hash = *digest.hash();
    // An empty chunk, such as an empty DATA frame that only says END_STREAM, is no byte too many.
    let chunks = chunks.try_filter(|chunk| ready(!chunk.is_empty()));
    let own = move |source: Box<dyn std::error::Error + Send + Sync>| match source.downcast() {
        Ok(ours) => *ours,
        Err(source) => StoreError::UploadBrokeOff { hash, source },
    };
    chunks.map_err(own).boxed()
}

/// Keeps the stream as it came where that is worth it; its decoded bytes otherwise.
async fn verify_large_zstd(
    digest: Digest,
    mut encoded: PayloadStream,
) -> Result<Payload, StoreError> {
    let (beginning, is_kept) = kept_zstd::look(&digest, &mut encoded).await?;
    let encoded = stream_of(beginning).chain(encoded).boxed();
    let (encoding, verified) = if is_kept {
        (Encoding::Zstd, kept_zstd::verify_kept(digest, encoded))
    } else {
        let raw = zstd_codec::decode_with(encoded, malformed_zstd(digest)).boxed();
        (Encoding::Raw, verify_stream(digest, raw))
    };
    Ok(Payload::from_trusted_stream(digest.size_bytes(), encoding, verified))
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
        Ok(Payload::from_trusted_bytes(digest.size_bytes(), Encoding::Raw, own(bytes)))
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
        Ok(Payload::from_trusted_bytes(size_bytes, encoding, own(bytes)))
    })
    .await?
}

/// Passes chunks on once they are hashed, many at a time. The last ones are held back until the digest is known to be right.
fn verify_stream(digest: Digest, raw: PayloadStream) -> PayloadStream {
    let hasher = DigestHasher::new(digest.function(), digest.size_bytes());
    let state = Some((raw, hasher, 0_u64));
    let hashed = stream::try_unfold(state, move |state| async move {
        let Some((mut raw, hasher, seen_bytes)) = state else { return Ok(None) };
        let chunks = next_of_blob(&mut raw, &digest, seen_bytes).await?;
        let chunks_bytes = chunks.iter().map(Bytes::len).sum();
        let (hasher, chunks) = blocking::run_sized(chunks_bytes, move || {
            let mut hasher = hasher;
            for chunk in &chunks {
                hasher.update(chunk);
            }
            (hasher, chunks)
        })
        .await?;
        let seen_bytes = seen_bytes + chunks_bytes as u64;
        if seen_bytes < digest.size_bytes() {
            return Ok(Some((stream_of(chunks), Some((raw, hasher, seen_bytes)))));
        }
        if raw.try_next().await?.is_some() {
            return Err(StoreError::TooLong { digest });
        }
        check_digest(digest, hasher.finish())?;
        Ok(Some((stream_of(chunks), None)))
    });
    hashed.try_flatten().boxed()
}

fn stream_of(chunks: Vec<Bytes>) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream::iter(chunks.into_iter().map(Ok))
}

/// What is hashed at a time, if so much is left of the blob, of which so many bytes have been seen.
async fn next_of_blob(
    raw: &mut PayloadStream,
    digest: &Digest,
    mut seen_bytes: u64,
) -> Result<Vec<Bytes>, StoreError> {
    let enough_bytes = digest.size_bytes().min(seen_bytes + HASHED_AT_ONCE_BYTES);
    let mut chunks = Vec::new();
    while seen_bytes < enough_bytes {
        let Some(chunk) = raw.try_next().await? else {
            return Err(StoreError::TooShort { digest: *digest, actual_bytes: seen_bytes });
        };
        seen_bytes += chunk.len() as u64;
        if seen_bytes > digest.size_bytes() {
            return Err(StoreError::TooLong { digest: *digest });
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

pub(crate) fn malformed_zstd(digest: Digest) -> impl Fn(&'static str) -> StoreError + Send {
    move |reason| StoreError::MalformedZstd { hash: *digest.hash(), reason }
}

/// Small ones in an allocation of their own.
fn own(bytes: Bytes) -> Bytes {
    if bytes.len() <= OWN_BYTES { Bytes::copy_from_slice(&bytes) } else { bytes }
}

pub(crate) fn check_size(digest: &Digest, actual_bytes: u64) -> Result<(), StoreError> {
    match actual_bytes.cmp(&digest.size_bytes()) {
        std::cmp::Ordering::Less => Err(StoreError::TooShort { digest: *digest, actual_bytes }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::TooLong { digest: *digest }),
    }
}

pub(crate) fn check_digest(expected: Digest, actual: Digest) -> Result<(), StoreError> {
    if actual == expected { Ok(()) } else { Err(StoreError::DigestMismatch { expected, actual }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    async fn verified(encoding: Encoding, blob: &Bytes, chunks: Vec<Bytes>) -> Bytes {
        let chunks = stream::iter(chunks.into_iter().map(Ok)).boxed();
        let untrusted = UntrustedPayload::from_stream(encoding, chunks);
        let digest = Digest::of(DigestFunction::Sha256, blob);
        let payload = untrusted.verify(&digest).await.expect("the digest's bytes");
        payload.into_bytes(u64::MAX).await.expect("the digest's bytes")
    }

    #[tokio::test]
    async fn what_was_identified_is_still_held_against_its_name() {
        let blob = Bytes::from_static(b"blob");
        let identify = || UntrustedPayload::identify(DigestFunction::Sha256, blob.clone());
        let (digest, untrusted) = identify().await.expect("hashed");
        assert_eq!(digest, Digest::of(DigestFunction::Sha256, &blob));
        assert_eq!(untrusted.verify(&digest).await.expect("its own").bytes(), Some(&blob));
        for other in [&b"bloc"[..], b"longer", b"x"] {
            let (_, untrusted) = identify().await.expect("hashed");
            let other = Digest::of(DigestFunction::Sha256, other);
            untrusted.verify(&other).await.expect_err("another name");
        }
    }

    #[tokio::test]
    async fn whose_fault_a_broken_stream_is_stays_known() {
        let eio = || std::io::Error::other("the disk");
        for (error, expect) in [
            (eio().into(), ErrorClass::Interrupted),
            (StoreError::from(eio()).into(), ErrorClass::Dependency),
        ] {
            let chunks = stream::iter([Err(error)]).boxed();
            let untrusted = UntrustedPayload::from_stream(Encoding::Raw, chunks);
            let refused = untrusted.verify(&Digest::of(DigestFunction::Sha256, b"blob")).await;
            assert_eq!(refused.expect_err("it broke off").class(), expect);
        }
    }

    #[tokio::test]
    async fn empty_chunks_are_no_bytes() {
        for size in [10, 2_000_000] {
            let blob = Bytes::from(vec![7; size]);
            let frame = zstd_codec::encode(&blob, 1);
            for (encoding, sent) in [(Encoding::Raw, &blob), (Encoding::Zstd, &frame)] {
                let middle = sent.len() / 2;
                let (first, second) = (sent.slice(..middle), sent.slice(middle..));
                let empty = Bytes::new();
                let chunks =
                    vec![empty.clone(), first, empty.clone(), second, empty.clone(), empty];
                assert!(verified(encoding, &blob, chunks).await == blob, "{encoding:?}, {size} B");
            }
        }
    }
}
