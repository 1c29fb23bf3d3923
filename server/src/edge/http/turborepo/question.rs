//! `POST v8/artifacts`: what is known of many artifacts at once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use larder_cas::{ErrorClass, StoreError};
use larder_protos::{Digest, DigestFunction};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::super::body::{self, BodyError, CacheRequest};
use super::super::dialect::Place;
use super::super::entry::{Entry, Value};
use super::{DURATION, TAG, Team, TurborepoError, artifact};
use crate::edge::limits::BATCH_CONCURRENCY;
use crate::edge::service::Shared;
use crate::edge::status::EdgeError;
use crate::edge::working_set::message_bytes;

/// The longest question: more hashes than may be asked for.
const MAX_BYTES: u64 = 256 * 1024;

/// The most hashes in one question.
const MAX_HASHES: usize = 1_024;

/// Why a question is not answered.
#[derive(Debug, Error)]
pub(in crate::edge::http) enum QuestionError {
    #[error("the question is no JSON with hashes in it: {source}")]
    Json {
        #[from]
        source: serde_json::Error,
    },
    #[error("the question has {actual} hashes, over the limit of {limit}")]
    TooMany { actual: usize, limit: usize },
    #[error(transparent)]
    Body {
        #[from]
        source: BodyError,
    },
}

#[derive(Debug, Deserialize)]
struct Question {
    hashes: Vec<String>,
}

/// What is known of one artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    size: u64,
    task_duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// The answer, as JSON: for each hash what is known of its artifact, or null.
pub(super) async fn answer(
    shared: &Shared,
    place: &Place<'_>,
    request: CacheRequest,
) -> Result<String, TurborepoError> {
    let team = Team::parse(request.uri().query().unwrap_or_default())?;
    let hashes = ask(shared, request).await?;
    let entries = hashes.into_iter().map(|hash| {
        let name = artifact(place.instance, &team, &hash)?;
        Ok::<_, TurborepoError>(known(hash, Entry::of(shared, name)))
    });
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let found = stream::iter(entries).buffer_unordered(BATCH_CONCURRENCY);
    let found: BTreeMap<String, Option<Known>> = found.try_collect().await?;
    Ok(serde_json::to_string(&found).map_err(QuestionError::from)?)
}

async fn known(hash: String, entry: Entry<'_>) -> Result<(String, Option<Known>), StoreError> {
    let value = entry.value().await?;
    Ok((hash, value.and_then(|value| Known::of(&value))))
}

/// The hashes that are asked for.
async fn ask(shared: &Shared, request: CacheRequest) -> Result<BTreeSet<String>, QuestionError> {
    let encoding = body::encoding(request.headers())?;
    let length_bytes = body::length_bytes(request.headers()).unwrap_or(MAX_BYTES);
    if length_bytes > MAX_BYTES {
        return Err(BodyError::TooLarge { limit_bytes: MAX_BYTES }.into());
    }
    let needed_bytes = message_bytes(length_bytes);
    let held = body::hold(shared, needed_bytes, request).await;
    let (hold, chunks) = held.map_err(BodyError::from)?;
    // For errors, which name the blob that is sent; a question is none.
    let nameless = *Digest::empty(DigestFunction::Sha256).hash();
    let mut decoded = body::decoded(encoding, chunks, nameless);
    let question = body::whole(&mut decoded, MAX_BYTES, &hold).await?;
    let Question { hashes } = serde_json::from_slice(&question)?;
    if hashes.len() > MAX_HASHES {
        return Err(QuestionError::TooMany { actual: hashes.len(), limit: MAX_HASHES });
    }
    Ok(hashes.into_iter().collect())
}

impl Known {
    fn of(value: &Value) -> Option<Self> {
        let duration = value.property(DURATION).and_then(|duration| duration.parse().ok());
        Some(Self {
            size: value.digest?.size_bytes(),
            task_duration_ms: duration.unwrap_or_default(),
            tag: value.property(TAG).map(str::to_owned),
        })
    }
}

impl EdgeError for QuestionError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Json { .. } | Self::TooMany { .. } => ErrorClass::Caller,
            Self::Body { source } => source.class(),
        }
    }

    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Json { .. } | Self::TooMany { .. } => None,
            Self::Body { source } => source.store_error(),
        }
    }

    fn own_http_code(&self) -> Option<http::StatusCode> {
        match self {
            Self::Json { .. } | Self::TooMany { .. } => None,
            Self::Body { source } => source.own_http_code(),
        }
    }

    fn is_too_large(&self) -> bool {
        match self {
            Self::Json { .. } | Self::TooMany { .. } => false,
            Self::Body { source } => source.is_too_large(),
        }
    }
}
