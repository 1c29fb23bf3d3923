//! `LocalContentAddressableStorage`: casd's own service for clients on its machine. Only what goes through it does casd cut
//! into chunks. Source: `build/buildgrid/local_cas.proto`, of which this has the two calls that move blobs.

use std::net::SocketAddr;
use std::path::Path;

use bazel_remote_apis::build::bazel::remote::execution::v2::Digest;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::runtime;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::casd::INSTANCE;
use crate::blob::Blob;
use crate::error::CompatError;

const CAPTURE_FILES: &str = "/build.buildgrid.LocalContentAddressableStorage/CaptureFiles";
const FETCH_MISSING_BLOBS: &str =
    "/build.buildgrid.LocalContentAddressableStorage/FetchMissingBlobs";

#[derive(Clone, PartialEq, Message)]
struct CaptureFilesRequest {
    #[prost(string, tag = "1")]
    instance_name: String,
    #[prost(string, repeated, tag = "2")]
    path: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct FetchMissingBlobsRequest {
    #[prost(string, tag = "1")]
    instance_name: String,
    #[prost(message, repeated, tag = "2")]
    blob_digests: Vec<Digest>,
}

/// What they answer tells no more than the store and the server do afterwards.
#[derive(Clone, PartialEq, Message)]
struct Done {}

/// Has casd take a file in, and hand it on to the server.
pub(super) fn capture_file(casd: SocketAddr, file: &Path) -> Result<(), CompatError> {
    let path = vec![file.display().to_string()];
    let request = CaptureFilesRequest { instance_name: INSTANCE.to_owned(), path };
    call(casd, CAPTURE_FILES, request)
}

/// Has casd fetch a blob from the server into its own store.
pub(super) fn fetch(casd: SocketAddr, blob: &Blob) -> Result<(), CompatError> {
    let size_bytes = i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX);
    let digest = Digest { hash: blob.hash.clone(), size_bytes };
    let instance_name = INSTANCE.to_owned();
    call(
        casd,
        FETCH_MISSING_BLOBS,
        FetchMissingBlobsRequest { instance_name, blob_digests: vec![digest] },
    )
}

fn call<T: Message + 'static>(
    casd: SocketAddr,
    method: &'static str,
    request: T,
) -> Result<(), CompatError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CompatError::call(method))?;
    let answered = runtime.block_on(async {
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{casd}")).map_err(unavailable)?;
        let mut client = Grpc::new(endpoint.connect().await.map_err(unavailable)?);
        client.ready().await.map_err(unavailable)?;
        let codec = ProstCodec::<T, Done>::default();
        client.unary(Request::new(request), PathAndQuery::from_static(method), codec).await
    });
    answered.map(drop).map_err(CompatError::call(method))
}
