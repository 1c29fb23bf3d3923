//! `SplitBlob`: the chunks that a blob is made of, all of which are there.

use std::sync::Arc;

use larder_cas::{RequestCx, RequestMemory, Split};
use larder_protos::reapi::{SplitBlobRequest, SplitBlobResponse};
use larder_protos::{ChunkingFunction, Digest};
use tonic::Status;

use crate::edge::budget::Hold;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::working_set::chunk_list_bytes;

/// The whole list, or an error; never a part of it.
pub(super) async fn chunks(
    shared: &Shared,
    hold: &Arc<Hold>,
    request: SplitBlobRequest,
) -> Result<SplitBlobResponse, Status> {
    let addressed = shared.addressed(&request.instance_name, request.digest_function);
    let (partition, said) = addressed.map_err(grpc_status)?;
    let digest = said.require("blob_digest", request.blob_digest.as_ref()).map_err(grpc_status)?;
    // The protocol allows another function than the one asked for; a client is better served by an error than by
    // chunks that it will never make itself.
    let function = ChunkingFunction::from_proto(request.chunking_function).map_err(grpc_status)?;
    let key = partition.blob(digest);
    // The list is long only where it is known already: then it is lent its memory before it is read.
    let cx = RequestCx::raw_within(RequestMemory::counted_by(Arc::<Hold>::clone(hold)));
    let found = shared.chunked.split(&cx, &key, function).await;
    let Some(Split { chunks, function }) = found.map_err(grpc_status)? else {
        return Err(Status::not_found(format!("blob {digest} or one of its chunks is absent")));
    };
    hold.grow_by(chunk_list_bytes(chunks.len())).map_err(grpc_status)?;
    Ok(SplitBlobResponse {
        chunk_digests: chunks.iter().map(Digest::to_proto).collect(),
        chunking_function: ChunkingFunction::to_proto(function),
    })
}
