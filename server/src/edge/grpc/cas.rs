//! `ContentAddressableStorage`.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use larder_protos::hot::{BatchReadBlobsResponse, BatchUpdateBlobsRequest, GetTreeResponse};
use larder_protos::reapi::{
    BatchReadBlobsRequest, BatchUpdateBlobsResponse, FindMissingBlobsRequest,
    FindMissingBlobsResponse, GetTreeRequest, SpliceBlobRequest, SpliceBlobResponse,
    SplitBlobRequest, SplitBlobResponse,
};
use larder_protos::services::content_addressable_storage_server::ContentAddressableStorage;
use tonic::{Request, Response, Status};

use super::admission::hold_of;
use super::notes::{note_digest, note_instance};
use super::{batch, find_missing, get_tree, splice, split};
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::report::Notes;

#[derive(Clone, Debug)]
pub(crate) struct CasService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ContentAddressableStorage for CasService {
    type GetTreeStream = BoxStream<'static, Result<GetTreeResponse, Status>>;

    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let notes = Notes::of(request.extensions());
        find_missing::of_message(&self.0, &notes, request.into_inner()).await.map(Response::new)
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        // The router lets no call come here whose message can be decoded.
        note_instance(&request, |request| &request.instance_name);
        let hold = hold_of(&request);
        batch::update(&self.0, &hold, request.into_inner()).await.map(Response::new)
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        let hold = hold_of(&request);
        batch::read(&self.0, &hold, request.into_inner()).await.map(Response::new)
    }

    async fn get_tree(
        &self,
        request: Request<GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        note_instance(&request, |request| &request.instance_name);
        note_digest(&request, |request| request.root_digest.as_ref());
        let hold = hold_of(&request);
        hold.cover(get_tree::PAGE_BYTES).await.map_err(grpc_status)?;
        get_tree::pages(Arc::clone(&self.0), hold, request.into_inner()).await.map(Response::new)
    }

    async fn split_blob(
        &self,
        request: Request<SplitBlobRequest>,
    ) -> Result<Response<SplitBlobResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        note_digest(&request, |request| request.blob_digest.as_ref());
        let hold = hold_of(&request);
        split::chunks(&self.0, &hold, request.into_inner()).await.map(Response::new)
    }

    async fn splice_blob(
        &self,
        request: Request<SpliceBlobRequest>,
    ) -> Result<Response<SpliceBlobResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        note_digest(&request, |request| request.blob_digest.as_ref());
        splice::blob(&self.0, request.into_inner()).await.map(Response::new)
    }
}
