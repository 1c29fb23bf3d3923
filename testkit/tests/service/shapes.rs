//! Messages that would decode to far more than they are, and what is no message.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use larder_protos::reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use larder_testkit::TestServer;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use crate::client::{assert_refused, digest};

/// Sends bytes as they are.
#[derive(Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

async fn call(server: &TestServer, method: &'static str, message: Bytes) -> Result<Bytes, Status> {
    let mut client = Grpc::new(server.channel());
    client.ready().await.expect("connected");
    let path = PathAndQuery::from_static(method);
    let answer = client.unary(tonic::Request::new(message), path, RawCodec).await;
    answer.map(tonic::Response::into_inner)
}

const FIND_MISSING: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";
const UPDATE_BATCH: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
const READ_BATCH: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs";
const GET_TREE: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree";
const GET_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
const UPDATE_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
const CAPABILITIES: &str = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities";
const READ: &str = "/google.bytestream.ByteStream/Read";
const WRITE: &str = "/google.bytestream.ByteStream/Write";
const WRITE_STATUS: &str = "/google.bytestream.ByteStream/QueryWriteStatus";

#[tokio::test]
async fn lists_of_nothing_are_refused_before_they_are_decoded() {
    let server = TestServer::start().await;
    let nothings = b"\x12\x00".repeat(1 << 20);
    let hints = b"\x2a\x00".repeat(1 << 20);
    let update = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        ..UpdateActionResultRequest::default()
    };
    let update = update.encode_to_vec();
    // The same within the field 3, its length being 2 MiB.
    let result = [&update[..], b"\x1a\x80\x80\x80\x01", &nothings].concat();
    let results = b"\x1a\x00".repeat(1 << 20);
    for (method, message, expect) in [
        (FIND_MISSING, &nothings, "FindMissingBlobsRequest of 2097152 B has more than 66560"),
        (UPDATE_BATCH, &nothings, "BatchUpdateBlobsRequest of 2097152 B has more than 65536"),
        (READ_BATCH, &nothings, "BatchReadBlobsRequest of 2097152 B has more than 65536"),
        (GET_RESULT, &hints, "GetActionResultRequest of 2097152 B has more than 65536"),
        (UPDATE_RESULT, &result, "ActionResult of 2097152 B has more than 81920"),
        (UPDATE_RESULT, &results, "UpdateActionResultRequest of 2097152 B has more than 66560"),
    ] {
        let refused = call(&server, method, message.clone().into()).await;
        assert_refused(refused, Code::InvalidArgument, expect);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_result_is_stored_and_answered_as_it_came() {
    let server = TestServer::start().await;
    let action_digest = Some(digest(b"action").to_proto());
    let update = UpdateActionResultRequest {
        action_digest: action_digest.clone(),
        ..UpdateActionResultRequest::default()
    };
    let get = GetActionResultRequest { action_digest, ..GetActionResultRequest::default() };
    // An exit code, the field 1000, which nobody knows, and an empty stdout, which need not be there.
    let (code, rest) = (&b"\x20\x07"[..], &b"\xc0\x3e\x01\x2a\x00"[..]);
    let whole = [code, rest].concat();
    let in_one = [&update.encode_to_vec()[..], b"\x1a\x07", &whole].concat();
    // Several fields of one message are what they say together.
    let in_two = [&update.encode_to_vec()[..], b"\x1a\x02", code, b"\x1a\x05", rest].concat();
    for message in [in_one, in_two] {
        let answer = call(&server, UPDATE_RESULT, message.into()).await.expect("stored");
        assert_eq!(answer, whole);
        let stored = call(&server, GET_RESULT, get.encode_to_vec().into()).await.expect("a hit");
        assert_eq!(stored, whole);
        assert_eq!(ActionResult::decode(stored).expect("a result").exit_code, 7);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_the_callers_fault_in_every_method() {
    let server = TestServer::start().await;
    for method in [
        FIND_MISSING,
        UPDATE_BATCH,
        READ_BATCH,
        GET_TREE,
        GET_RESULT,
        UPDATE_RESULT,
        CAPABILITIES,
        READ,
        WRITE,
        WRITE_STATUS,
    ] {
        // A field longer than the message, and one of a wrong type.
        for message in [&b"\x0a\x7f"[..], b"\x0d1234"] {
            let refused = call(&server, method, Bytes::from_static(message)).await;
            assert_refused(refused, Code::InvalidArgument, "the bytes are no encoded");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn results_over_http_are_counted_once_decompressed() {
    let server = TestServer::start().await;
    let bomb = zstd::encode_all(&b"\x62\x00".repeat(8 << 20)[..], 3).expect("in memory");
    assert!(bomb.len() < 10_000, "{} B", bomb.len());
    let hash = digest(b"action").hash().to_string();
    let put = Request::put(format!("/ac/{hash}")).header("content-encoding", "zstd");
    let answer = server.http(put.body(bomb).expect("a good request")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let expect = "ActionResult of 16777216 B has more than 540672 elements in its lists";
    assert!(text.contains(expect), "{text}");
    server.stop().await;
}
