//! The faulty server's services, over its [`Store`].

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::semver::SemVer;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStream;
use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use bazel_remote_apis::google::rpc;
use futures_util::stream::{self, BoxStream};
use reapi::action_cache_server::ActionCache;
use reapi::capabilities_server::Capabilities;
use reapi::content_addressable_storage_server::ContentAddressableStorage;
use tonic::{Request, Response, Status, Streaming};

use super::Fault;
use super::store::{Store, size};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Capabilities for Store {
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Answer<reapi::ServerCapabilities> {
        let version = |major, minor| Some(SemVer { major, minor, ..Default::default() });
        let updates = reapi::ActionCacheUpdateCapabilities { update_enabled: true };
        let cache = reapi::CacheCapabilities {
            digest_functions: vec![reapi::digest_function::Value::Sha256.into()],
            action_cache_update_capabilities: Some(updates),
            ..Default::default()
        };
        Ok(Response::new(reapi::ServerCapabilities {
            cache_capabilities: Some(cache),
            low_api_version: version(2, 0),
            high_api_version: version(2, 12),
            ..Default::default()
        }))
    }
}

/// The digest that ends a resource name.
fn named(name: &str) -> Result<reapi::Digest, Status> {
    let malformed = || Status::invalid_argument("the name does not parse");
    let (_, digest) = name.rsplit_once("blobs/").ok_or_else(malformed)?;
    let (hash, size) = digest.split_once('/').ok_or_else(malformed)?;
    let size_bytes = size.parse().map_err(|_| malformed())?;
    Ok(reapi::Digest { hash: hash.to_owned(), size_bytes })
}

#[tonic::async_trait]
impl ByteStream for Store {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Answer<Self::ReadStream> {
        let ReadRequest { resource_name, read_offset, read_limit } = request.into_inner();
        if self.has(Fault::ReadHangs) {
            return Ok(Response::new(Box::pin(stream::pending())));
        }
        let mut data = self.get(&named(&resource_name)?)?;
        if let Some(byte) = data.get_mut(50)
            && self.has(Fault::FlippedByte)
        {
            *byte ^= 1;
        }
        let offset = usize::try_from(read_offset).map_err(|_| Status::out_of_range("negative"))?;
        if offset > data.len() && !self.has(Fault::EmptyPastEnd) {
            return Err(Status::out_of_range("past the end"));
        }
        let limit = usize::try_from(read_limit).map_err(|_| Status::invalid_argument("limit"))?;
        let limit = if limit == 0 || self.has(Fault::LimitIgnored) { usize::MAX } else { limit };
        let data: Vec<u8> = data.into_iter().skip(offset).take(limit).collect();
        let messages: Vec<_> =
            data.chunks(1 << 20).map(|data| Ok(ReadResponse { data: data.to_vec() })).collect();
        Ok(Response::new(Box::pin(stream::iter(messages))))
    }

    async fn write(&self, request: Request<Streaming<WriteRequest>>) -> Answer<WriteResponse> {
        let mut messages = request.into_inner();
        let (mut name, mut data) = (String::new(), Vec::new());
        while let Some(message) = messages.message().await? {
            if name.is_empty() {
                name = message.resource_name;
            }
            if message.write_offset != size(&data) && !self.has(Fault::OffsetsUnchecked) {
                return Err(Status::invalid_argument("the offset is another"));
            }
            data.extend(message.data);
        }
        let committed_size = if self.has(Fault::NothingCommitted) { 0 } else { size(&data) };
        self.put(&named(&name)?, data)?;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Answer<QueryWriteStatusResponse> {
        Err(Status::not_found("not kept"))
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Store {
    type GetTreeStream = BoxStream<'static, Result<reapi::GetTreeResponse, Status>>;
    type GetChunkMappingStream = BoxStream<'static, Result<reapi::GetChunkMappingResponse, Status>>;

    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Answer<reapi::FindMissingBlobsResponse> {
        let asked = request.into_inner().blob_digests.into_iter();
        let missing_blob_digests = asked.filter(|digest| self.is_missing(digest)).collect();
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Answer<reapi::BatchUpdateBlobsResponse> {
        let responses = request.into_inner().requests.into_iter().map(|blob| {
            let digest = blob.digest.unwrap_or_default();
            let stored =
                if self.has(Fault::BatchLost) { Ok(()) } else { self.put(&digest, blob.data) };
            let status = stored.err().map(rpc_status);
            reapi::batch_update_blobs_response::Response { digest: Some(digest), status }
        });
        let responses = responses.collect();
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Answer<reapi::BatchReadBlobsResponse> {
        let mut responses = Vec::new();
        for digest in request.into_inner().digests {
            let found = self.get(&digest);
            if let Err(status) = &found
                && self.has(Fault::BatchAllOrNothing)
            {
                return Err(status.clone());
            }
            let (data, status) = match found {
                Ok(data) => (data, None),
                Err(status) => (Vec::new(), Some(rpc_status(status))),
            };
            responses.push(reapi::batch_read_blobs_response::Response {
                digest: Some(digest),
                data,
                status,
                ..Default::default()
            });
        }
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses }))
    }

    async fn get_tree(&self, _: Request<reapi::GetTreeRequest>) -> Answer<Self::GetTreeStream> {
        Err(Status::unimplemented("not here"))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Answer<reapi::SplitBlobResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Answer<reapi::SpliceBlobResponse> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Answer<Self::GetChunkMappingStream> {
        Err(Status::unimplemented("not here"))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Answer<reapi::RegisterChunkMappingResponse> {
        Err(Status::unimplemented("not here"))
    }
}

fn rpc_status(status: Status) -> rpc::Status {
    rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: vec![],
    }
}

#[tonic::async_trait]
impl ActionCache for Store {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Answer<reapi::ActionResult> {
        let action = request.into_inner().action_digest.unwrap_or_default();
        self.result(&action).map(Response::new)
    }

    async fn update_action_result(
        &self,
        request: Request<reapi::UpdateActionResultRequest>,
    ) -> Answer<reapi::ActionResult> {
        let request = request.into_inner();
        let result = request.action_result.unwrap_or_default();
        self.put_result(&request.action_digest.unwrap_or_default(), result.clone());
        Ok(Response::new(result))
    }
}
