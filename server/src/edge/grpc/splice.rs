//! `SpliceBlob`: a blob from chunks that are there.

use larder_cas::{RequestCx, StoreError};
use larder_protos::ChunkingFunction;
use larder_protos::reapi::{SpliceBlobRequest, SpliceBlobResponse};
use tonic::Status;

use crate::edge::service::Shared;
use crate::edge::status::grpc_status;

/// Answers with the digest of the blob once it is present.
pub(super) async fn blob(
    shared: &Shared,
    request: SpliceBlobRequest,
) -> Result<SpliceBlobResponse, Status> {
    let addressed = shared.addressed(&request.instance_name, request.digest_function);
    let (partition, said) = addressed.map_err(grpc_status)?;
    let digest = said.require("blob_digest", request.blob_digest.as_ref()).map_err(grpc_status)?;
    // Chunks have the blob's function, even where their own hashes would tell another one.
    let said = said.settled(digest.function());
    let chunks = request.chunk_digests.iter().map(|chunk| said.parse(chunk));
    let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(grpc_status)?;
    if let Some(limit_bytes) = shared.max_blob_bytes
        && digest.size_bytes() > limit_bytes
    {
        return Err(grpc_status(StoreError::OverSizeLimit { digest, limit_bytes }));
    }
    // How a client cut the blob is its own affair: a function that is not known here is as none.
    let claimed = ChunkingFunction::from_proto(request.chunking_function).ok().flatten();
    let key = partition.blob(digest);
    let spliced = shared.chunked.splice(&RequestCx::RAW, &key, chunks, claimed).await;
    spliced.map_err(grpc_status)?;
    Ok(SpliceBlobResponse { blob_digest: Some(digest.to_proto()) })
}
