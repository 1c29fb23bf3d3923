//! What `RequestMetadata` changes, and that nothing else in a header does.

use bytes::Bytes;
use futures_util::stream;
use larder_protos::bytestream::WriteRequest;
use larder_protos::reapi::{RequestMetadata, ToolDetails};
use larder_testkit::TestServer;
use prost::Message as _;
use tonic::metadata::{BinaryMetadataValue, MetadataValue};
use tonic::{Code, Request};

use crate::client::{assert_refused, chunked, digest, sample, upload_name};

const HEADER: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

fn metadata(tool: &str) -> BinaryMetadataValue {
    let details = ToolDetails { tool_name: tool.to_owned(), ..ToolDetails::default() };
    let metadata = RequestMetadata { tool_details: Some(details), ..RequestMetadata::default() };
    MetadataValue::from_bytes(&metadata.encode_to_vec())
}

async fn write_as(
    server: &TestServer,
    metadata: Option<BinaryMetadataValue>,
    messages: Vec<WriteRequest>,
) -> i64 {
    let mut request = Request::new(stream::iter(messages));
    if let Some(metadata) = metadata {
        request.metadata_mut().insert_bin(HEADER, metadata);
    }
    let written = server.byte_stream().write(request).await.expect("stored");
    written.into_inner().committed_size
}

/// A compressed upload in one message and in several, then again now that the blob is there.
async fn check_committed(server: &TestServer, tool: Option<&str>, size: usize, counts_blob: bool) {
    for chunk_bytes in [1_000, 10_000_000] {
        let blob = sample(size + chunk_bytes % 7);
        let frame = Bytes::from(zstd::encode_all(&blob[..], 1).expect("encoded"));
        let messages =
            chunked(&upload_name("compressed-blobs/zstd", digest(&blob)), &frame, chunk_bytes);
        let first = write_as(server, tool.map(metadata), messages.clone()).await;
        let again = write_as(server, tool.map(metadata), messages).await;
        let signed = |bytes: &Bytes| i64::try_from(bytes.len()).expect("small");
        let expect =
            if counts_blob { (signed(&blob), signed(&blob)) } else { (signed(&frame), -1) };
        assert_eq!((first, again), expect, "{tool:?}, {size} B by {chunk_bytes}");
    }
}

#[tokio::test]
async fn committed_size_is_what_the_tool_expects() {
    let server = TestServer::start().await;
    check_committed(&server, None, 50_000, false).await;
    check_committed(&server, Some("bazel"), 51_000, false).await;
    check_committed(&server, Some("buck2"), 52_000, false).await;
    check_committed(&server, Some("siso"), 53_000, true).await;
    check_committed(&server, Some("re-client"), 3 << 20, true).await;
    server.stop().await;
}

#[tokio::test]
async fn tools_have_metrics_and_garbage_is_ignored() {
    let server = TestServer::start().await;
    let garbage = BinaryMetadataValue::from_bytes(&[0xff; 100]);
    for (tool, value) in [
        ("bazel", metadata("bazel")),
        ("other", metadata("a tool of one's own")),
        ("none", garbage),
    ] {
        let name = format!("blobs/{}", digest(tool.as_bytes()));
        let read = larder_protos::bytestream::ReadRequest {
            resource_name: name,
            ..larder_protos::bytestream::ReadRequest::default()
        };
        let mut request = Request::new(read);
        request.metadata_mut().insert_bin(HEADER, value);
        let refused = server.byte_stream().read(request).await;
        assert_refused(refused.map(|_| ()), Code::NotFound, "absent");
        let page = server.admin("/metrics").await;
        let line = format!(
            "larder_tool_rpcs_total{{tool=\"{tool}\",method=\"ByteStream/Read\",code=\"NOT_FOUND\"}} 1"
        );
        assert!(String::from_utf8_lossy(page.body()).contains(&line), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn credentials_in_the_authority_are_tolerated() {
    let server = TestServer::start().await;
    let absent = format!("/cas/{}", digest(b"absent").hash());
    for authority in ["user:pass@127.0.0.1:8980", "user@localhost", "user:p%40ss@[::1]"] {
        let uri = format!("http://{authority}{absent}");
        assert_eq!(server.http2_get(&uri).await, http::StatusCode::NOT_FOUND, "{authority}");
        let request = http::Request::get(&uri).body("").expect("a request");
        assert_eq!(server.http(request).await.status(), http::StatusCode::NOT_FOUND, "{authority}");
    }
    server.stop().await;
}
