//! Traffic of which every call and byte is known.

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use larder_protos::bytestream::{ReadRequest, WriteRequest};
use larder_protos::hot::BatchUpdateBlobsRequest;
use larder_protos::hot::batch_update_blobs_request::Request as BatchItem;
use larder_protos::reapi::{
    ActionResult, ExecutedActionMetadata, FindMissingBlobsRequest, GetActionResultRequest,
    OutputFile, RequestMetadata, ToolDetails, UpdateActionResultRequest, compressor,
};
use larder_protos::well_known::Timestamp;
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

/// Calls that [`drive`] makes: 14 over gRPC, 5 over HTTP.
pub(crate) const CALLS: f64 = 19.0;
/// In a pack, and shrunk by zstd.
pub(crate) const SMALL_BYTES: usize = 100_000;
/// In a batch.
pub(crate) const TINY_BYTES: usize = 1_000;
/// In a file of its own: nothing shrinks it.
pub(crate) const LARGE_BYTES: usize = 2 << 20;

/// A result whose action ran 2.5 s, and one that names what nobody has.
const COMPLETE: &[u8] = b"complete";
const INCOMPLETE: &[u8] = b"incomplete";

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(DigestFunction::Sha256, bytes)
}

/// Bytes without any order.
pub(crate) fn noise(size: usize) -> Bytes {
    let mut state = size as u64 + 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(size.div_ceil(8)).flatten().take(size).collect::<Vec<_>>().into()
}

fn text(size: usize) -> Bytes {
    b"all work and no play ".iter().copied().cycle().take(size).collect::<Vec<_>>().into()
}

/// A request that says which action of Bazel's it is for.
fn of_task<T>(mnemonic: &str, message: T) -> Request<T> {
    let metadata = RequestMetadata {
        tool_details: Some(ToolDetails { tool_name: "bazel".into(), ..ToolDetails::default() }),
        action_mnemonic: mnemonic.to_owned(),
        ..RequestMetadata::default()
    };
    let mut request = Request::new(message);
    let value = MetadataValue::from_bytes(&metadata.encode_to_vec());
    request.metadata_mut().insert_bin("build.bazel.remote.execution.v2.requestmetadata-bin", value);
    request
}

/// A build of one action, cold and then warm; and what goes wrong.
pub(crate) async fn drive(server: &TestServer) {
    let (small, tiny) = (text(SMALL_BYTES), noise(TINY_BYTES));
    assert_eq!(get(server, "CppCompile", COMPLETE).await, Err(Code::NotFound));
    find_missing(server, &[digest(&small), digest(&tiny)], 2).await;
    write(server, "CppCompile", &small).await;
    batch_update(server, &tiny).await;
    update(server, COMPLETE, &[digest(&small), digest(&tiny)]).await;
    assert_eq!(get(server, "CppCompile", COMPLETE).await, Ok(()));
    find_missing(server, &[digest(&small), digest(&tiny)], 0).await;
    assert_eq!(read(server, digest(&small)).await, Ok(small.clone()));
    write(server, "CppCompile", &small).await;

    let large = noise(LARGE_BYTES);
    write(server, "CppLink", &large).await;
    assert_eq!(read(server, digest(&large)).await, Ok(large));

    update(server, INCOMPLETE, &[digest(b"absent")]).await;
    assert_eq!(get(server, "CppLink", INCOMPLETE).await, Err(Code::NotFound));
    assert_eq!(read(server, digest(b"absent")).await, Err(Code::NotFound));

    let blob = noise(TINY_BYTES + 1);
    let path = format!("/cas/{}", digest(&blob).hash());
    let ask = async |method: &str, path: &str, body: Bytes| {
        let request = http::Request::builder().method(method).uri(path).body(body);
        let answer = server.http(request.expect("a good request")).await;
        (answer.status(), answer.body().len())
    };
    assert_eq!(ask("GET", &path, Bytes::new()).await, (StatusCode::NOT_FOUND, 0));
    assert_eq!(ask("PUT", &path, blob.clone()).await.0, StatusCode::OK);
    assert_eq!(ask("GET", &path, Bytes::new()).await, (StatusCode::OK, blob.len()));
    assert_eq!(ask("HEAD", &path, Bytes::new()).await, (StatusCode::OK, 0));
    let result = format!("/ac/{}", digest(COMPLETE).hash());
    assert_eq!(ask("GET", &result, Bytes::new()).await.0, StatusCode::OK);
}

async fn find_missing(server: &TestServer, digests: &[Digest], missing: usize) {
    let request = FindMissingBlobsRequest {
        blob_digests: digests.iter().map(Digest::to_proto).collect(),
        ..FindMissingBlobsRequest::default()
    };
    let found = server.storage().find_missing_blobs(request).await.expect("an answer");
    assert_eq!(found.into_inner().missing_blob_digests.len(), missing);
}

async fn write(server: &TestServer, mnemonic: &str, blob: &Bytes) {
    let message = WriteRequest {
        resource_name: format!("uploads/of-test/blobs/{}", digest(blob)),
        finish_write: true,
        data: blob.clone(),
        ..WriteRequest::default()
    };
    let request = of_task(mnemonic, stream::iter([message]));
    let written = server.byte_stream().write(request).await.expect("stored").into_inner();
    assert_eq!(written.committed_size, i64::try_from(blob.len()).expect("small"));
}

async fn batch_update(server: &TestServer, blob: &Bytes) {
    let item = BatchItem {
        digest: Some(digest(blob).to_proto()),
        data: blob.clone(),
        compressor: compressor::Value::Identity.into(),
    };
    let request =
        BatchUpdateBlobsRequest { requests: vec![item], ..BatchUpdateBlobsRequest::default() };
    server.storage().batch_update_blobs(request).await.expect("stored");
}

async fn read(server: &TestServer, digest: Digest) -> Result<Bytes, Code> {
    let request =
        ReadRequest { resource_name: format!("blobs/{digest}"), ..ReadRequest::default() };
    let answer = server.byte_stream().read(of_task("CppLink", request)).await;
    let mut parts = answer.map_err(|status| status.code())?.into_inner();
    let mut whole = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| status.code())? {
        whole.extend_from_slice(&part.data);
    }
    Ok(whole.into())
}

async fn get(server: &TestServer, mnemonic: &str, action: &[u8]) -> Result<(), Code> {
    let request = GetActionResultRequest {
        action_digest: Some(digest(action).to_proto()),
        ..GetActionResultRequest::default()
    };
    let answer = server.actions().get_action_result(of_task(mnemonic, request)).await;
    answer.map(drop).map_err(|status| status.code())
}

async fn update(server: &TestServer, action: &[u8], outputs: &[Digest]) {
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let output = |digest: &Digest| OutputFile {
        path: digest.to_string(),
        digest: Some(digest.to_proto()),
        ..OutputFile::default()
    };
    let result = ActionResult {
        output_files: outputs.iter().map(output).collect(),
        execution_metadata: Some(ExecutedActionMetadata {
            execution_start_timestamp: at(100, 0),
            execution_completed_timestamp: at(102, 500_000_000),
            ..ExecutedActionMetadata::default()
        }),
        ..ActionResult::default()
    };
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(action).to_proto()),
        action_result: Some(result),
        ..UpdateActionResultRequest::default()
    };
    let request = of_task("CppCompile", request);
    server.actions().update_action_result(request).await.expect("stored");
}
