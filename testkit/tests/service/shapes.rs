//! Messages that would decode to far more than they are or take the stack, and what is no message.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use larder_protos::reapi::{
    ActionResult, GetActionResultRequest, GetTreeRequest, OutputDirectory,
    UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use crate::client::{assert_refused, digest, store};

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
const SPLIT: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob";
const SPLICE: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob";
const FETCH_BLOB: &str = "/build.bazel.remote.asset.v1.Fetch/FetchBlob";
const FETCH_DIRECTORY: &str = "/build.bazel.remote.asset.v1.Fetch/FetchDirectory";
const PUSH_BLOB: &str = "/build.bazel.remote.asset.v1.Push/PushBlob";
const PUSH_DIRECTORY: &str = "/build.bazel.remote.asset.v1.Push/PushDirectory";

/// Every method of the protocols, which have the codec that counts.
const METHODS: [&str; 16] = [
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
    SPLIT,
    SPLICE,
    FETCH_BLOB,
    FETCH_DIRECTORY,
    PUSH_BLOB,
    PUSH_DIRECTORY,
];

/// What tonic brings, with its own codec, and what such a call comes to: reflection ends its answer without a word.
const METHODS_OF_TONIC: [(&str, &str); 4] = [
    ("/grpc.health.v1.Health/Check", "recursion limit reached"),
    ("/grpc.health.v1.Health/Watch", "recursion limit reached"),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "Missing response message"),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "Missing response message"),
];

/// Groups that nobody knows, each within the one before it: who skips them by calls within calls needs a gigabyte of stack.
fn nested_groups() -> Bytes {
    [b"\x7b".repeat(1_000_000), b"\x7c".repeat(1_000_000)].concat().into()
}

/// The field of this number, with these bytes.
fn within(number: u8, bytes: &[u8]) -> Bytes {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).expect("a vector grows");
    [&field, bytes].concat().into()
}

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
    for method in METHODS {
        // A field longer than the message, and one of a wrong type.
        for message in [&b"\x0a\x7f"[..], b"\x0d1234"] {
            let refused = call(&server, method, Bytes::from_static(message)).await;
            assert_refused(refused, Code::InvalidArgument, "the bytes are no encoded");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn groups_within_groups_are_refused_in_every_method() {
    let server = TestServer::start().await;
    let groups = nested_groups();
    let expect = "more than 100 groups stand within each other";
    for method in METHODS {
        let refused = call(&server, method, groups.clone()).await;
        assert_refused(refused, Code::InvalidArgument, expect);
    }
    // The result in a request is counted on its own.
    let update = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        ..UpdateActionResultRequest::default()
    };
    let update = [&update.encode_to_vec()[..], &within(3, &groups)].concat();
    let refused = call(&server, UPDATE_RESULT, update.into()).await;
    assert_refused(refused, Code::InvalidArgument, expect);
    // Digests, blobs and qualifiers are not looked into before they are decoded.
    for (method, number) in [
        (FIND_MISSING, 2),
        (UPDATE_BATCH, 2),
        (READ_BATCH, 2),
        (GET_TREE, 2),
        (GET_RESULT, 2),
        (UPDATE_RESULT, 2),
        (SPLIT, 2),
        (SPLICE, 2),
        (FETCH_BLOB, 5),
        (FETCH_DIRECTORY, 5),
        (PUSH_BLOB, 3),
        (PUSH_DIRECTORY, 3),
    ] {
        let refused = call(&server, method, within(number, &groups)).await;
        assert_refused(refused, Code::InvalidArgument, "recursion limit reached");
    }
    for (method, expect) in METHODS_OF_TONIC {
        let refused = call(&server, method, groups.clone()).await;
        assert_refused(refused, Code::Internal, expect);
    }
    assert_serves(&server).await;
    server.stop().await;
}

async fn assert_serves(server: &TestServer) {
    let answer = call(server, CAPABILITIES, Bytes::new()).await.expect("it serves");
    assert!(!answer.is_empty());
}

#[tokio::test]
async fn groups_within_groups_are_refused_over_http() {
    let server = TestServer::start().await;
    let hash = digest(b"action").hash().to_string();
    for (body, expect) in [
        (nested_groups(), "more than 100 groups stand within each other"),
        // Of an output file and its digest.
        (within(2, &within(2, &nested_groups())), "recursion limit reached"),
    ] {
        let put = Request::put(format!("/ac/{hash}")).body(body.to_vec());
        let answer = server.http(put.expect("a good request")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(text.contains(expect), "{text}");
    }
    assert_serves(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn stored_directories_and_trees_of_groups_are_neither_walked_nor_a_hit() {
    let server = TestServer::start().await;
    let groups = nested_groups();
    // As a directory, and as the digest of a file in it; the tree holds each as its root.
    for (directory, expect) in [
        (groups.clone(), "more than 100 groups stand within each other"),
        (within(1, &within(2, &groups)), "recursion limit reached"),
    ] {
        let root_digest = Some(store(&server, &directory).await.to_proto());
        let walk = GetTreeRequest { root_digest: root_digest.clone(), ..GetTreeRequest::default() };
        let refused = call(&server, GET_TREE, walk.encode_to_vec().into()).await;
        assert_refused(refused, Code::InvalidArgument, expect);
        let tree_digest = Some(store(&server, &within(1, &directory)).await.to_proto());
        for output in [
            OutputDirectory { tree_digest, ..OutputDirectory::default() },
            OutputDirectory { root_directory_digest: root_digest, ..OutputDirectory::default() },
        ] {
            assert_no_hit(&server, output).await;
        }
    }
    assert_serves(&server).await;
    server.stop().await;
}

/// A result with this output directory can be stored, but is never complete.
async fn assert_no_hit(server: &TestServer, output: OutputDirectory) {
    let action_digest = Some(digest(b"action").to_proto());
    let result = ActionResult { output_directories: vec![output], ..ActionResult::default() };
    let update = UpdateActionResultRequest {
        action_digest: action_digest.clone(),
        action_result: Some(result),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(update).await.expect("stored");
    let get = GetActionResultRequest { action_digest, ..GetActionResultRequest::default() };
    let missed = server.actions().get_action_result(get).await;
    assert_refused(missed, Code::NotFound, "is cached");
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
