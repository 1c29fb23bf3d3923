//! The bytes of a request's body: as they come, decoded, or whole.

use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use ::http::{HeaderMap, Request};
use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use larder_cas::{Encoding, StoreError, UntrustedStream, zstd_codec};
use larder_protos::Hash;
use thiserror::Error;

/// What is wrong with a body before anything of it is believed.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("content-encoding {encoding:?} is not understood here; zstd is")]
    Encoding { encoding: String },
    #[error("the body is over the limit of {limit_bytes} B")]
    TooLarge { limit_bytes: u64 },
    #[error("the body could not be kept until its end: {source}")]
    Spool {
        #[from]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store {
        #[from]
        source: StoreError,
    },
}

/// How the body is encoded.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
        None => Ok(Encoding::Raw),
        Some(value) if value == b"identity" => Ok(Encoding::Raw),
        Some(value) if value == b"zstd" => Ok(Encoding::Zstd),
        Some(value) => {
            let encoding = String::from_utf8_lossy(&value).chars().take(40).collect();
            Err(BodyError::Encoding { encoding })
        }
    }
}

/// The encoded length, where the client says it.
pub(super) fn length_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body as it comes.
pub(super) fn chunks(request: Request<Incoming>) -> UntrustedStream {
    BodyDataStream::new(request.into_body()).map_err(Into::into).boxed()
}

/// The body's decoded chunks. `hash` is what the path names, for errors.
pub(super) fn decoded(
    encoding: Encoding,
    chunks: UntrustedStream,
    hash: Hash,
) -> BoxStream<'static, Result<Bytes, StoreError>> {
    let chunks = chunks.map_err(move |source| StoreError::UploadBrokeOff { hash, source });
    match encoding {
        Encoding::Raw => chunks.boxed(),
        Encoding::Zstd => {
            let malformed = move |reason| StoreError::MalformedZstd { hash, reason };
            zstd_codec::decode_with(chunks, malformed).boxed()
        }
    }
}

/// All of it, in memory.
pub(super) async fn whole(
    mut decoded: BoxStream<'static, Result<Bytes, StoreError>>,
    limit_bytes: u64,
) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = decoded.try_next().await? {
        if (whole.len() + chunk.len()) as u64 > limit_bytes {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
