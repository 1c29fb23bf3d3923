//! An upload of plain bytes that can be resumed: its connection may be lost, or another may take it over.

use std::sync::Arc;

use larder_cas::{BlobKey, Encoding, PutOutcome, RequestCx, StoreError, UntrustedPayload};
use tonic::{Code, Status};

use super::messages::Messages;
use super::upload::session_status;
use super::write_parts::Parts;
use super::write_session::WriteSession;
use crate::edge::budget::Hold;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::uploads::{Fed, Lease, LeaseError, UploadName};

/// Begins the upload, or goes on with it where the session does not begin at 0.
pub(super) async fn lease(
    shared: &Shared,
    hold: &Hold,
    name: UploadName,
    key: &BlobKey,
    session: &WriteSession,
) -> Result<Lease, Status> {
    if session.offset_bytes() > 0 {
        let resumed = shared.uploads.resume(name, session.offset_bytes()).await;
        return resumed.map_err(lease_status);
    }
    let (blobs, key) = (Arc::clone(&shared.blobs), key.clone());
    Ok(shared.uploads.begin(name, hold.split_off(), |arriving| async move {
        let untrusted = UntrustedPayload::from_stream(Encoding::Raw, arriving);
        let payload = untrusted.verify(&key.digest).await?;
        blobs.put(&RequestCx::RAW, &key, payload).await
    }))
}

/// Takes the messages up to the end of the upload, or of the connection; then what came so far stays with the lease.
pub(super) async fn receive<P: Parts>(
    lease: Lease,
    mut session: WriteSession,
    mut messages: Messages<P>,
    key: &BlobKey,
) -> Result<PutOutcome, Status> {
    let size_bytes = key.digest.size_bytes();
    let mut turn = messages.turn(lease.hold());
    while !session.is_finished() {
        turn.pass_to_client();
        let next = messages.next().await?;
        turn.pass_to_server();
        let Some(message) = next else {
            if session.offset_bytes() < size_bytes {
                let (digest, actual_bytes) = (key.digest, session.offset_bytes());
                return Err(grpc_status(StoreError::TooShort { digest, actual_bytes }));
            }
            break;
        };
        let data = session.accept(message).map_err(session_status)?;
        if !data.is_empty() && lease.feed(data).await.map_err(lease_status)? == Fed::Enough {
            break;
        }
    }
    lease.finish().await.map_err(lease_status)?.map_err(grpc_status)
}

/// ABORTED is retried, after `QueryWriteStatus` has told where to begin; `INVALID_ARGUMENT` would end the build.
pub(super) fn lease_status(error: LeaseError) -> Status {
    Status::new(Code::Aborted, error.to_string())
}
