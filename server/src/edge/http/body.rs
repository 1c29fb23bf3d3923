//! The bytes of a request's body: as they come, decoded, or whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, EXPECT};
use ::http::{HeaderMap, Request};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyDataStream;
use hyper::body::{Body as _, Incoming};
use larder_cas::{Encoding, StoreError, UntrustedStream, zstd_codec};
use larder_protos::{Compressor, Hash};
use thiserror::Error;

use crate::auth::Peer;
use crate::edge::budget::{BudgetError, Hold};
use crate::edge::drainer::Drainer;
use crate::edge::service::Shared;
use crate::edge::stalls::Turn;
use crate::edge::working_set::{message_bytes, upload_bytes};
use crate::telemetry::Tally;

/// What a connection reads at a time, at most.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A request whose body is drained.
pub(super) type CacheRequest = Request<RequestBody>;

/// The chunks of a request's body. What is not read of it, because the answer is known before its end, is drained.
pub(super) struct RequestBody {
    /// `None` once it has ended.
    rest: Option<BodyDataStream<Incoming>>,
    drainer: Drainer,
    tally: Arc<Tally>,
    /// `None` while nothing is held for it.
    turn: Option<Turn>,
    /// The client sends nothing before it is told to go on, which reading tells it.
    waits_to_be_read: bool,
}

impl RequestBody {
    /// Puts the body of `request` into the care of `drainer`.
    pub(super) fn of(request: Request<Incoming>, drainer: &Drainer) -> CacheRequest {
        let waits_to_be_read = request.headers().contains_key(EXPECT);
        let (drainer, tally) = (drainer.clone(), Tally::of(request.extensions()));
        request.map(|body| {
            let rest = (!body.is_end_stream()).then(|| BodyDataStream::new(body));
            Self { rest, drainer, tally, turn: None, waits_to_be_read }
        })
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, hyper::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.waits_to_be_read = false;
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let Poll::Ready(next) = rest.poll_next_unpin(cx) else {
            this.turn.iter_mut().for_each(Turn::pass_to_client);
            return Poll::Pending;
        };
        this.turn.iter().for_each(Turn::pass_to_server);
        match &next {
            Some(Ok(data)) => this.tally.note_received(data.len()),
            Some(Err(_)) | None => this.rest = None,
        }
        Poll::Ready(next)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take()
            && !self.waits_to_be_read
        {
            self.drainer.drain(rest);
        }
    }
}

/// What is wrong with a body before anything of it is believed.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("content-encoding {encoding:?} is not understood here; zstd is")]
    Encoding { encoding: String },
    #[error("the body is a part, by its content-range, and only the whole is stored")]
    Part,
    #[error("what is here is not what if-match or if-none-match ask for")]
    Condition,
    #[error("the body is over the limit of {limit_bytes} B")]
    TooLarge { limit_bytes: u64 },
    #[error(transparent)]
    Budget {
        #[from]
        source: BudgetError,
    },
    #[error(transparent)]
    Store {
        #[from]
        source: StoreError,
    },
}

/// How the body is encoded, which must be all of what is sent. Source: RFC 9110, 14.5.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(BodyError::Part);
    }
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

/// What the upload of a blob needs.
pub(super) fn blob_bytes(encoding: Encoding, length_bytes: Option<u64>) -> u64 {
    match (encoding, length_bytes) {
        (Encoding::Raw, Some(length_bytes)) => {
            let chunk_bytes = CHUNK_BYTES.min(length_bytes);
            upload_bytes(Compressor::Identity, length_bytes, chunk_bytes)
        }
        // Of unknown size: spooled first.
        (Encoding::Raw, None) => upload_bytes(Compressor::Identity, u64::MAX, CHUNK_BYTES),
        (Encoding::Zstd, _) => upload_bytes(Compressor::Zstd, u64::MAX, CHUNK_BYTES),
    }
}

/// Takes from the budget what a body needs. Where there is nothing the body is dropped, and so drained: its sender, who may
/// read only after it has sent, sees the refusal.
pub(super) async fn hold(
    shared: &Shared,
    needed_bytes: u64,
    mut request: CacheRequest,
) -> Result<(Arc<Hold>, UntrustedStream), BudgetError> {
    let announced_bytes = length_bytes(request.headers()).unwrap_or(0).min(needed_bytes);
    shared.budget.check_fits(announced_bytes)?;
    let hold = shared.budget.hold(Peer::of(request.extensions()).cloned(), needed_bytes).await?;
    request.body_mut().turn = Some(Turn::of(Arc::clone(&hold)));
    Ok((hold, chunks(request)))
}

/// The body as it comes.
pub(super) fn chunks(request: CacheRequest) -> UntrustedStream {
    request.into_body().map_err(Into::into).boxed()
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

/// All of it, in memory, which `hold` must have; where it turns out longer than that, more is taken if it is free.
pub(super) async fn whole(
    decoded: &mut BoxStream<'static, Result<Bytes, StoreError>>,
    limit_bytes: u64,
    hold: &Hold,
) -> Result<Bytes, BodyError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = decoded.try_next().await? {
        let length_bytes = (whole.len() + chunk.len()) as u64;
        if length_bytes > limit_bytes {
            return Err(BodyError::TooLarge { limit_bytes });
        }
        let needed_bytes = message_bytes(length_bytes);
        if needed_bytes > hold.bytes() {
            hold.grow_by(needed_bytes - hold.bytes())?;
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
