//! One `ByteStream.Write`, from the first message to the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_cas::{BlobKey, Encoding, PutOutcome, RequestCx, UntrustedPayload, UntrustedStream};
use larder_protos::{Compressor, WriteName};
use tonic::{Code, Status};

use super::byte_stream::{signed, write_name};
use super::messages::Messages;
use super::resumable::{self, lease_status};
use super::write_parts::Parts;
use super::write_session::{SessionError, WriteSession};
use crate::caller::Tool;
use crate::edge::budget::Hold;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::uploads::{LeaseError, UploadName};
use crate::report::Notes;

/// What a compressed upload is told that ended early, and so has no size that both sides know.
const COMMITTED_EARLY_COMPRESSED: i64 = -1;

/// Receives one upload and stores it. Returns `committed_size`.
pub(super) async fn receive<P: Parts>(
    shared: &Arc<Shared>,
    hold: &Arc<Hold>,
    tool: Tool,
    notes: &Notes,
    mut messages: P,
) -> Result<i64, Status> {
    let first = messages.try_next().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("the upload has no message"))?;
    let name = write_name(&shared.functions, &first.resource_name);
    let name = name.map_err(grpc_status)?;
    notes.instance(&name.instance).digest(name.digest);
    let session = WriteSession::begin(&first).map_err(session_status)?;
    let key = Partition::of(&name.instance).blob(name.digest);

    let blob_bytes = signed(name.digest.size_bytes());
    let counts_sent_bytes = name.compressor == Compressor::Zstd && !tool.counts_blob_bytes();
    let early = if counts_sent_bytes { COMMITTED_EARLY_COMPRESSED } else { blob_bytes };
    let resumes = session.offset_bytes() > 0;
    let asks = resumes || !first.finish_write;
    if asks && is_present(shared, &key).await? {
        hold.discard_rest();
        shared.drainer.drain(messages);
        return Ok(early);
    }
    let message_bytes = (first.data.len() + messages.rest_bytes()) as u64;
    let is_whole = !resumes && message_bytes >= name.digest.size_bytes();
    let resumable = UploadName::of(&name).filter(|_| !is_whole);
    if resumes && resumable.is_none() {
        let asked_bytes = session.offset_bytes();
        return Err(lease_status(LeaseError::Offset { asked_bytes, kept_bytes: 0 }));
    }
    let lease = match resumable {
        Some(upload) => Some(resumable::lease(shared, hold, upload, &key, &session).await?),
        None => None,
    };
    let messages = Messages::new(first, messages, shared.drainer.clone(), Arc::clone(hold));
    if let Some(lease) = lease {
        resumable::receive(lease, session, messages, &key).await?;
        return Ok(early);
    }
    let (outcome, sent_bytes) = store(shared, &name, &key, session, messages).await?;
    // By now all compressed bytes have come, unless another upload of the blob won and this one was left unread.
    let is_stored = outcome == PutOutcome::Stored;
    Ok(if counts_sent_bytes && is_stored { signed(sent_bytes) } else { early })
}

/// Stores an upload that ends with its connection; with the outcome, how many bytes were sent.
async fn store<P: Parts>(
    shared: &Shared,
    name: &WriteName,
    key: &BlobKey,
    session: WriteSession,
    messages: Messages<P>,
) -> Result<(PutOutcome, u64), Status> {
    let sent_bytes = Arc::new(AtomicU64::new(0));
    let mut chunks = Chunks { session, messages, sent_bytes: Arc::clone(&sent_bytes) };
    let encoding = match name.compressor {
        Compressor::Identity => Encoding::Raw,
        Compressor::Zstd => Encoding::Zstd,
    };
    let untrusted = match chunks.next().await? {
        // Most uploads are one chunk, which then needs no stream around it.
        Some(all) if chunks.session.is_finished() => UntrustedPayload::from_bytes(encoding, all),
        first => {
            let first = stream::iter(first.map(Ok));
            UntrustedPayload::from_stream(encoding, first.chain(chunks.into_stream()).boxed())
        }
    };
    let payload = untrusted.verify(&name.digest).await.map_err(grpc_status)?;
    let put = shared.blobs.put(&RequestCx::RAW, key, payload).await;
    Ok((put.map_err(grpc_status)?, sent_bytes.load(Ordering::Relaxed)))
}

async fn is_present(shared: &Shared, key: &BlobKey) -> Result<bool, Status> {
    let missing = shared.blobs.find_missing(&RequestCx::RAW, key.clone().into()).await;
    Ok(missing.map_err(grpc_status)?.is_empty())
}

/// The bytes of an upload's messages, checked by its session.
struct Chunks<P: Parts> {
    session: WriteSession,
    messages: Messages<P>,
    sent_bytes: Arc<AtomicU64>,
}

impl<P: Parts> Chunks<P> {
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
            let Some(message) = self.messages.next().await? else { break };
            let data = self.session.accept(message).map_err(session_status)?;
            self.sent_bytes.store(self.session.offset_bytes(), Ordering::Relaxed);
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// An offset has the code that it has in reads: Bazel tells its user of a wrong digest where an upload is `INVALID_ARGUMENT`.
pub(super) fn session_status(error: SessionError) -> Status {
    let code = match error {
        SessionError::Negative { .. } | SessionError::Offset { .. } => Code::OutOfRange,
        SessionError::Name { .. } => Code::InvalidArgument,
    };
    Status::new(code, error.to_string())
}
