//! `google.bytestream.ByteStream`: blobs one at a time.

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use larder_cas::{ByteRange, RequestCx};
use larder_protos::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use larder_protos::services::byte_stream_server::ByteStream;
use larder_protos::{Compressor, InstanceName, ReadName, WriteName};
use tonic::{Request, Response, Status, Streaming};

use super::admission::hold_of;
use super::read_body::Download;
use super::upload;
use crate::edge::functions::{FunctionError, Functions};
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::uploads::UploadName;
use crate::edge::working_set::{download_bytes, plain_download_bytes};
use crate::report::Notes;

#[derive(Clone, Debug)]
pub(crate) struct ByteStreamService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ByteStream for ByteStreamService {
    /// Empty: what is sent stands among the answer's extensions (`read_body.rs`).
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let hold = hold_of(&request);
        let notes = Notes::of(request.extensions());
        let ReadRequest { resource_name, read_offset, read_limit } = request.into_inner();
        let name = read_name(&self.0.functions, &resource_name).map_err(grpc_status)?;
        notes.instance(&name.instance).digest(name.digest);
        let range = range(name.compressor, read_offset, read_limit)?;
        let key = Partition::of(&name.instance).blob(name.digest);
        let cx = match name.compressor {
            Compressor::Identity => RequestCx::RAW,
            Compressor::Zstd => RequestCx::RAW_OR_ZSTD,
        };
        let wanted = range.within(&name.digest).map_err(grpc_status)?;
        let (wanted_bytes, size_bytes) = (wanted.end - wanted.start, name.digest.size_bytes());
        let needed_bytes = match name.compressor {
            Compressor::Zstd if wanted_bytes == size_bytes => download_bytes(size_bytes),
            Compressor::Identity | Compressor::Zstd => {
                plain_download_bytes(wanted_bytes, size_bytes)
            }
        };
        hold.cover(needed_bytes).await.map_err(grpc_status)?;
        let found = self.0.blobs.get(&cx, &key, range).await.map_err(grpc_status)?;
        let payload = found.ok_or_else(|| Status::not_found(format!("blob {key} is absent")))?;
        let payload = match name.compressor {
            Compressor::Identity => payload.into_raw(),
            Compressor::Zstd => payload.into_zstd(self.0.zstd_level),
        };
        let mut response = Response::new(stream::empty().boxed());
        response.extensions_mut().insert(Download::new(payload));
        Ok(response)
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let hold = hold_of(&request);
        let tool = request.extensions().get().copied().unwrap_or_default();
        let notes = Notes::of(request.extensions());
        let messages = request.into_inner();
        let committed_size = upload::receive(&self.0, &hold, tool, &notes, messages).await?;
        // The answer takes nothing, and its client may go on sending.
        hold.discard_rest();
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let name = &request.get_ref().resource_name;
        let name = write_name(&self.0.functions, name).map_err(grpc_status)?;
        Notes::of(request.extensions()).instance(&name.instance).digest(name.digest);
        let key = Partition::of(&name.instance).blob(name.digest);
        let asked = self.0.blobs.find_missing(&RequestCx::RAW, key.into()).await;
        let complete = asked.map_err(grpc_status)?.is_empty();
        let committed_bytes = match UploadName::of(&name) {
            _ if complete => name.digest.size_bytes(),
            Some(upload) => self.0.uploads.committed_bytes(&upload),
            // Begins anew.
            None => 0,
        };
        let committed_size = signed(committed_bytes);
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete }))
    }
}

/// Parses the name of a blob.
fn read_name(functions: &Functions, resource_name: &str) -> Result<ReadName, FunctionError> {
    let unmarked = |instance: &InstanceName, digits| functions.of(instance).unmarked(digits);
    let name = ReadName::parse(resource_name, unmarked)?;
    functions.check_served(name.digest.function())?;
    Ok(name)
}

/// Parses the name of an upload.
pub(super) fn write_name(
    functions: &Functions,
    resource_name: &str,
) -> Result<WriteName, FunctionError> {
    let unmarked = |instance: &InstanceName, digits| functions.of(instance).unmarked(digits);
    let name = WriteName::parse(resource_name, unmarked)?;
    functions.check_served(name.digest.function())?;
    Ok(name)
}

/// A size as the protocol writes it.
pub(crate) fn signed(size_bytes: u64) -> i64 {
    i64::try_from(size_bytes).unwrap_or(i64::MAX)
}

fn range(compressor: Compressor, offset: i64, limit: i64) -> Result<ByteRange, Status> {
    let offset_bytes = u64::try_from(offset)
        .map_err(|_| Status::out_of_range(format!("read_offset {offset} is negative")))?;
    let limit_bytes = u64::try_from(limit)
        .map_err(|_| Status::invalid_argument(format!("read_limit {limit} is negative")))?;
    match (compressor, limit_bytes) {
        (_, 0) => Ok(ByteRange::from_offset(offset_bytes)),
        (Compressor::Identity, _) => Ok(ByteRange::from_offset(offset_bytes).limited(limit_bytes)),
        (Compressor::Zstd, _) => Err(Status::invalid_argument(format!(
            "read_limit {limit} does not go with a compressed read"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn check(compressor: Compressor, offset: i64, limit: i64, expect: Result<ByteRange, Code>) {
        let range = range(compressor, offset, limit).map_err(|status| status.code());
        assert_eq!(range, expect, "offset {offset}, limit {limit}");
    }

    #[test]
    fn ranges_follow_the_protocol() {
        use Compressor::{Identity, Zstd};
        check(Identity, 0, 0, Ok(ByteRange::ALL));
        check(Identity, 5, 0, Ok(ByteRange::from_offset(5)));
        check(Identity, 5, 7, Ok(ByteRange::from_offset(5).limited(7)));
        check(Identity, -1, 0, Err(Code::OutOfRange));
        check(Identity, 0, -1, Err(Code::InvalidArgument));
        check(Zstd, 5, 0, Ok(ByteRange::from_offset(5)));
        check(Zstd, 0, 7, Err(Code::InvalidArgument));
    }
}
