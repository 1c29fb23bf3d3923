//! `PUT`.

use ::http::{Response, StatusCode};
use larder_action_cache::{ActionEntry, MalformedResult, OutlineError, outline};
use larder_cas::{Encoding, ErrorClass, RequestCx, StoreError, UntrustedPayload, blocking};
use larder_protos::Digest;
use tonic::body::Body;

use super::body::{self, BodyError, CacheRequest};
use super::cache::{Target, bare, refusal};
use super::spool::Spooled;
use crate::edge::limits::MAX_ACTION_RESULT_BYTES;
use crate::edge::status::EdgeError;
use crate::edge::working_set::message_bytes;

/// Stores the body as the blob that the path names.
pub(super) async fn blob(target: &Target<'_>, request: CacheRequest) -> Response<Body> {
    match target.present().await {
        // Dropped, the body is drained.
        Ok(Some(_)) => {}
        Ok(None) => {
            if let Err(error) = store_blob(target, request).await {
                return refusal(error);
            }
        }
        Err(error) => return refusal(error),
    }
    bare(StatusCode::OK)
}

/// Stores the body as the result of the action that the path names.
pub(super) async fn action_result(target: &Target<'_>, request: CacheRequest) -> Response<Body> {
    match store_action_result(target, request).await {
        Ok(()) => bare(StatusCode::OK),
        Err(error) => refusal(error),
    }
}

async fn store_blob(target: &Target<'_>, request: CacheRequest) -> Result<(), BodyError> {
    let encoding = body::encoding(request.headers())?;
    let length_bytes = body::length_bytes(request.headers());
    let needed_bytes = body::blob_bytes(encoding, length_bytes);
    let (_hold, chunks) = body::hold(target.shared, needed_bytes, request).await?;
    let (size_bytes, untrusted) = if encoding == Encoding::Raw
        && let Some(size_bytes) = length_bytes
    {
        (size_bytes, UntrustedPayload::from_stream(encoding, chunks))
    } else {
        let decoded = body::decoded(encoding, chunks, target.hash);
        let function = target.hash.function();
        let spooled = target.shared.spool.receive::<_, BodyError>(decoded, function).await?;
        let Spooled { digest, untrusted } = spooled;
        (digest.size_bytes(), untrusted)
    };
    let digest = Digest::new(target.hash, size_bytes);
    let payload = untrusted.verify(&digest).await?;
    let key = target.partition.blob(digest);
    target.shared.blobs.put(&RequestCx::RAW, &key, payload).await?;
    Ok(())
}

async fn store_action_result(
    target: &Target<'_>,
    request: CacheRequest,
) -> Result<(), PutResultError> {
    let encoding = body::encoding(request.headers())?;
    let length_bytes = body::length_bytes(request.headers()).unwrap_or(0);
    let needed_bytes = message_bytes(length_bytes.min(MAX_ACTION_RESULT_BYTES));
    let held = body::hold(target.shared, needed_bytes, request).await;
    let (hold, chunks) = held.map_err(BodyError::from)?;
    let mut decoded = body::decoded(encoding, chunks, target.hash);
    let encoded = body::whole(&mut decoded, MAX_ACTION_RESULT_BYTES, &hold).await?;
    let function = target.hash.function();
    let (cx, key) = (RequestCx::RAW, target.partition.action(target.hash));
    let encoded_bytes = encoded.len();
    let parse = move || ActionEntry::parse(function, encoded);
    let entry = blocking::run_sized(encoded_bytes, parse).await??;
    let entry = outline(&cx, &key, entry, &*target.shared.blobs).await?;
    target.shared.actions.put(&cx, &key, entry).await?;
    Ok(())
}

/// Why an action result is not stored.
#[derive(Debug, thiserror::Error)]
enum PutResultError {
    #[error(transparent)]
    Body {
        #[from]
        source: BodyError,
    },
    #[error(transparent)]
    Malformed {
        #[from]
        source: MalformedResult,
    },
    #[error(transparent)]
    Outline {
        #[from]
        source: OutlineError,
    },
    #[error(transparent)]
    Store {
        #[from]
        source: StoreError,
    },
}

impl EdgeError for PutResultError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Body { source } => source.class(),
            Self::Malformed { source } => source.class(),
            Self::Outline { source } => source.class(),
            Self::Store { source } => source.class(),
        }
    }

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Body { source } => source.store_error(),
            Self::Malformed { .. } => None,
            Self::Outline { source } => source.store_error(),
            Self::Store { source } => Some(source),
        }
    }

    fn own_http_code(&self) -> Option<StatusCode> {
        match self {
            Self::Body { source } => source.own_http_code(),
            Self::Malformed { .. } | Self::Outline { .. } | Self::Store { .. } => None,
        }
    }

    fn is_too_large(&self) -> bool {
        match self {
            Self::Body { source } => source.is_too_large(),
            other => other.store_error().is_some_and(EdgeError::is_too_large),
        }
    }
}

impl EdgeError for BodyError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Encoding { .. } | Self::Part | Self::Condition | Self::TooLarge { .. } => {
                ErrorClass::Caller
            }
            Self::Budget { source } => source.class(),
            Self::Store { source } => source.class(),
        }
    }

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Encoding { .. }
            | Self::Part
            | Self::Condition
            | Self::TooLarge { .. }
            | Self::Budget { .. } => None,
            Self::Store { source } => Some(source),
        }
    }

    fn own_http_code(&self) -> Option<StatusCode> {
        match self {
            Self::Budget { source } => source.own_http_code(),
            Self::Condition => Some(StatusCode::PRECONDITION_FAILED),
            _ => None,
        }
    }

    fn is_too_large(&self) -> bool {
        match self {
            Self::Encoding { .. } | Self::Part | Self::Condition | Self::Budget { .. } => false,
            Self::TooLarge { .. } => true,
            Self::Store { source } => source.is_too_large(),
        }
    }
}
