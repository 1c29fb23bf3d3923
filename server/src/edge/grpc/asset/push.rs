//! `Push`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use larder_cas::{RequestCx, StoreError, blocking};
use larder_protos::asset::{
    PushBlobRequest, PushBlobResponse, PushDirectoryRequest, PushDirectoryResponse,
};
use larder_protos::services::push_server::Push;
use larder_protos::{Digest, InstanceName, reapi};
use tonic::{Request, Response, Status};

use super::error::AssetError;
use super::identity::{Identity, Kind, Qualifiers, check_uris, qualifiers};
use super::index::Index;
use super::plan::CHECKSUM;
use super::record::{Content, Record};
use super::timestamp::Moment;
use crate::edge::budget::Hold;
use crate::edge::grpc::admission::hold_of;
use crate::edge::grpc::notes::{note_digest, note_instance};
use crate::edge::limits::MAX_MESSAGE_BYTES;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::working_set::reference_bytes;
use crate::fetch::Integrity;

#[derive(Clone, Debug)]
pub(in crate::edge::grpc) struct PushService(pub(in crate::edge::grpc) Arc<Shared>);

#[tonic::async_trait]
impl Push for PushService {
    async fn push_blob(
        &self,
        request: Request<PushBlobRequest>,
    ) -> Result<Response<PushBlobResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        note_digest(&request, |request| request.blob_digest.as_ref());
        let hold = hold_of(&request);
        store(request.into_inner(), &self.0, &hold, Kind::Blob).await?;
        Ok(Response::new(PushBlobResponse {}))
    }

    async fn push_directory(
        &self,
        request: Request<PushDirectoryRequest>,
    ) -> Result<Response<PushDirectoryResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        note_digest(&request, |request| request.root_directory_digest.as_ref());
        let hold = hold_of(&request);
        let request = request.into_inner();
        // The same words, but for one.
        let pushed = PushBlobRequest {
            instance_name: request.instance_name,
            uris: request.uris,
            qualifiers: request.qualifiers,
            expire_at: request.expire_at,
            blob_digest: request.root_directory_digest,
            references_blobs: request.references_blobs,
            references_directories: request.references_directories,
            digest_function: request.digest_function,
        };
        store(pushed, &self.0, &hold, Kind::Directory).await?;
        Ok(Response::new(PushDirectoryResponse {}))
    }
}

async fn store(
    pushed: PushBlobRequest,
    shared: &Arc<Shared>,
    hold: &Hold,
    kind: Kind,
) -> Result<(), Status> {
    check_uris(&pushed.uris).map_err(grpc_status)?;
    let qualifiers = qualifiers(pushed.qualifiers).map_err(grpc_status)?;
    let expire_at = Moment::read("expire_at", pushed.expire_at).map_err(grpc_status)?;
    let instance = InstanceName::parse(&pushed.instance_name).map_err(grpc_status)?;
    let said = shared.functions.of(&instance).said(pushed.digest_function);
    let said = said.map_err(grpc_status)?;
    let (field, is_directory) = match kind {
        Kind::Directory => ("root_directory_digest", true),
        Kind::Blob | Kind::Fetched => ("blob_digest", false),
    };
    let digest = said.require(field, pushed.blob_digest.as_ref()).map_err(grpc_status)?;
    let said = said.settled(digest.function());
    let parse = |digests: &[reapi::Digest]| {
        digests.iter().map(|digest| said.parse(digest)).collect::<Result<Vec<_>, _>>()
    };
    if !is_directory {
        check_integrity(&qualifiers, digest).map_err(grpc_status)?;
    }
    let blobs = parse(&pushed.references_blobs).map_err(grpc_status)?;
    let directories = parse(&pushed.references_directories).map_err(grpc_status)?;
    let references = blobs.len() + directories.len();
    hold.grow_by(reference_bytes(references)).map_err(grpc_status)?;

    let index = Index::new(shared, &instance, digest.function());
    let missing = missing(shared, &index, digest, &blobs, &directories).await;
    let missing = missing.map_err(grpc_status)?;
    if missing.contains(&digest) {
        return Err(grpc_status(AssetError::Absent { field, digest }));
    }
    // References are hints: what is not here now cannot be kept, and is no reason never to find the rest.
    let here = |digests: Vec<Digest>| {
        digests.into_iter().filter(|digest| !missing.contains(digest)).collect()
    };
    let record = Record {
        content: if is_directory { Content::Directory(digest) } else { Content::Blob(digest) },
        blobs: here(blobs),
        directories: here(directories),
        since: Moment::from(SystemTime::now()),
        expire_at,
    };
    let encoding = index.clone();
    let entry = blocking::run_sized(references, move || encoding.entry(&record)).await;
    let entry = entry.map_err(grpc_status)?.map_err(grpc_status)?;
    let needed_bytes = entry.encoded().len().saturating_mul(pushed.uris.len());
    if needed_bytes > MAX_MESSAGE_BYTES {
        let (uris, limit_bytes) = (pushed.uris.len(), MAX_MESSAGE_BYTES);
        let error = AssetError::TooMuch { uris, references, needed_bytes, limit_bytes };
        return Err(grpc_status(error));
    }
    let identity =
        Identity { instance, function: digest.function(), uris: pushed.uris, qualifiers };
    for uri in &identity.uris {
        index.keep(identity.key(kind, uri), entry.clone()).await.map_err(grpc_status)?;
    }
    Ok(())
}

/// Who asks with a checksum is answered without a second look, so it must be that of the blob as far as its digest tells:
/// other functions, and what only other servers can read, are their sender's word.
fn check_integrity(qualifiers: &Qualifiers, digest: Digest) -> Result<(), AssetError> {
    let integrity = qualifiers.get(CHECKSUM).and_then(|text| Integrity::parse(text).ok());
    let of_digest = integrity.filter(|integrity| integrity.function() == digest.function());
    if of_digest.is_some_and(|integrity| !integrity.admits(digest.hash())) {
        return Err(AssetError::OtherChecksum { digest });
    }
    Ok(())
}

/// Which of all these are absent; the others live longer.
async fn missing(
    shared: &Shared,
    index: &Index,
    digest: Digest,
    blobs: &[Digest],
    directories: &[Digest],
) -> Result<HashSet<Digest>, StoreError> {
    let asked =
        std::iter::once(digest).chain(blobs.iter().copied()).chain(directories.iter().copied());
    let keys = index.partition().blobs(asked.collect());
    let missing = shared.blobs.find_missing(&RequestCx::RAW, keys).await?;
    Ok(missing.digests.into_iter().collect())
}
