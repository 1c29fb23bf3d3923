//! One `ByteStream.Write`, from the first message to the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_cas::{BlobKey, Encoding, PutOutcome, RequestCx, UntrustedPayload, UntrustedStream};
use larder_protos::Compressor;
use larder_protos::bytestream::WriteRequest;
use tonic::{Status, Streaming};

use super::byte_stream::{signed, write_name};
use super::write_session::{SessionError, WriteSession};
use crate::edge::budget::Hold;
use crate::edge::drainer::Drainer;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;

/// What a compressed upload is told that ended early, and so has no size that both sides know.
const COMMITTED_EARLY_COMPRESSED: i64 = -1;

/// Receives one upload and stores it. Returns `committed_size`.
pub(crate) async fn receive(
    shared: &Arc<Shared>,
    hold: &Arc<Hold>,
    mut messages: Streaming<WriteRequest>,
) -> Result<i64, Status> {
    let first = messages.message().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("the upload has no message"))?;
    let name = write_name(&first.resource_name).map_err(grpc_status)?;
    let session = WriteSession::begin(&first).map_err(session_status)?;
    let key = Partition::of(&name.instance).blob(name.digest);

    let early = match name.compressor {
        Compressor::Identity => signed(name.digest.size_bytes()),
        Compressor::Zstd => COMMITTED_EARLY_COMPRESSED,
    };
    if !first.finish_write && is_present(shared, &key).await? {
        hold.discard_rest();
        shared.drainer.drain(messages);
        return Ok(early);
    }

    let sent_bytes = Arc::new(AtomicU64::new(0));
    let chunks = Chunks {
        session,
        first: Some(first),
        messages: Some(messages),
        sent_bytes: Arc::clone(&sent_bytes),
        drainer: shared.drainer.clone(),
        hold: Arc::clone(hold),
    };
    let encoding = match name.compressor {
        Compressor::Identity => Encoding::Raw,
        Compressor::Zstd => Encoding::Zstd,
    };
    let untrusted = UntrustedPayload::from_stream(encoding, chunks.into_stream());
    let payload = untrusted.verify(&name.digest).await.map_err(grpc_status)?;
    let put = shared.blobs.put(&RequestCx::RAW, &key, payload).await;
    let outcome = put.map_err(grpc_status)?;
    Ok(match (name.compressor, outcome) {
        (Compressor::Identity, _) => early,
        // By now all compressed bytes have come, unless another upload of the blob won and this one was left unread.
        (Compressor::Zstd, PutOutcome::Stored) => signed(sent_bytes.load(Ordering::Relaxed)),
        (Compressor::Zstd, PutOutcome::AlreadyPresent) => COMMITTED_EARLY_COMPRESSED,
    })
}

async fn is_present(shared: &Shared, key: &BlobKey) -> Result<bool, Status> {
    let missing = shared.blobs.find_missing(&RequestCx::RAW, key.clone().into()).await;
    Ok(missing.map_err(grpc_status)?.is_empty())
}

/// The bytes of an upload's messages, checked by its session. However it ends, the rest of the messages is drained.
struct Chunks {
    session: WriteSession,
    first: Option<WriteRequest>,
    /// `None` once they have ended.
    messages: Option<Streaming<WriteRequest>>,
    sent_bytes: Arc<AtomicU64>,
    drainer: Drainer,
    hold: Arc<Hold>,
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if let Some(messages) = self.messages.take() {
            self.hold.discard_rest();
            self.drainer.drain(messages);
        }
    }
}

impl Chunks {
    fn into_stream(self) -> UntrustedStream {
        let chunks = stream::try_unfold(self, async |mut chunks| {
            let chunk = chunks.next().await?;
            Ok::<_, Status>(chunk.map(|chunk| (chunk, chunks)))
        });
        chunks.map_err(Into::into).boxed()
    }

    /// The next bytes; `None` after `finish_write` or half-close, whichever comes first.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        while !self.session.is_finished() {
            let Some(message) = self.next_message().await? else { break };
            let data = self.session.accept(message).map_err(session_status)?;
            self.sent_bytes.store(self.session.offset_bytes(), Ordering::Relaxed);
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    async fn next_message(&mut self) -> Result<Option<WriteRequest>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(messages) = &mut self.messages else { return Ok(None) };
        let next = messages.message().await;
        if !matches!(next, Ok(Some(_))) {
            self.messages = None;
        }
        next
    }
}

fn session_status(error: SessionError) -> Status {
    match error {
        // Retried, after QueryWriteStatus has told where to begin; INVALID_ARGUMENT would end the build.
        SessionError::Resumed { .. } => Status::aborted(error.to_string()),
        SessionError::Offset { .. } | SessionError::Name { .. } => {
            Status::invalid_argument(error.to_string())
        }
    }
}
