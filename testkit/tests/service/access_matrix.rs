//! Role by method by protocol: whatever there is to call is called as everybody there is.
//!
//! The gRPC methods come from the server's own reflection, the HTTP methods from its metrics' labels. One that is not in the
//! tables here fails the test: somebody has to say what it needs.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_testkit::TestServer;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::access::{ADMIN, File, READER, WRITER};

/// What a call needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
enum Need {
    Nothing,
    Read,
    Write,
    Admin,
}

use Need::{Admin, Nothing, Read, Write};

/// Everybody: what they show, and what they may.
const CALLERS: [(Option<&str>, Need); 5] = [
    (None, Nothing),
    (Some("wrong-token-of-nobody"), Nothing),
    (Some(READER), Read),
    (Some(WRITER), Write),
    (Some(ADMIN), Admin),
];

const GRPC: [(&str, Need); 22] = [
    ("google.bytestream.ByteStream/Read", Read),
    ("google.bytestream.ByteStream/Write", Write),
    ("google.bytestream.ByteStream/QueryWriteStatus", Write),
    ("build.bazel.remote.execution.v2.ActionCache/GetActionResult", Read),
    ("build.bazel.remote.execution.v2.ActionCache/UpdateActionResult", Write),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs", Read),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs", Write),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs", Read),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree", Read),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob", Read),
    ("build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob", Write),
    ("build.bazel.remote.execution.v2.Capabilities/GetCapabilities", Read),
    ("build.bazel.remote.asset.v1.Fetch/FetchBlob", Read),
    ("build.bazel.remote.asset.v1.Fetch/FetchDirectory", Read),
    ("build.bazel.remote.asset.v1.Push/PushBlob", Write),
    ("build.bazel.remote.asset.v1.Push/PushDirectory", Write),
    ("grpc.health.v1.Health/Check", Nothing),
    ("grpc.health.v1.Health/Watch", Nothing),
    ("grpc.health.v1.Health/List", Nothing),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Read),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Read),
    // Of no service: it is refused to who may not write, and unimplemented for the others.
    ("google.bytestream.ByteStream/Forget", Write),
];

/// What each dialect's labels begin with, and a path in it.
const PATHS: [(&str, &str); 6] = [
    ("http", "/cas/1111111111111111111111111111111111111111111111111111111111111111"),
    ("kv", "/kv/a/b"),
    ("gradle", "/any/gradle/11111111111111111111111111111111"),
    ("turborepo", "/v8/artifacts/1111111111111111"),
    ("nx", "/v1/cache/1111111111111111"),
    ("sccache", "/sccache/a/b"),
];

fn http_need(dialect: &str, verb: &str) -> Need {
    match (dialect, verb) {
        (_, "GET" | "HEAD" | "OPTIONS" | "PROPFIND") | ("turborepo", "POST") => Read,
        (_, "PUT" | "DELETE" | "MKCOL" | "PATCH") => Write,
        other => panic!("what does {other:?} need?"),
    }
}

const ADMIN_PATHS: [(&str, Need); 8] = [
    ("/livez", Nothing),
    ("/readyz", Nothing),
    ("/metrics", Nothing),
    ("/statusz", Read),
    ("/admin/v1/stats", Admin),
    ("/debug/pprof/profile?seconds=0", Admin),
    ("/debug/pprof/flamegraph?seconds=0", Admin),
    ("/what/comes/later", Admin),
];

/// Whether a caller was refused for who he is.
fn expect(token: Option<&str>, may: Need, need: Need) -> Option<Code> {
    match () {
        () if may >= need => None,
        () if token.is_none() || may == Nothing => Some(Code::Unauthenticated),
        () => Some(Code::PermissionDenied),
    }
}

fn request(token: Option<&str>) -> http::request::Builder {
    let request = Request::builder();
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// The code that comes with the headers, if one does. Methods that stream for ever are not waited for.
async fn call(server: &TestServer, method: &str, token: Option<&str>) -> Option<Code> {
    let stream = TcpStream::connect(server.address()).await.expect("it listens");
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("HTTP/2");
    let empty_message = Full::new(Bytes::from_static(&[0; 5]));
    let request = request(token)
        .method("POST")
        .uri(format!("http://{}/{method}", server.address()))
        .header("content-type", "application/grpc")
        .body(empty_message)
        .expect("a request");
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.expect("an answer"),
        ended = connection => panic!("the connection ended: {ended:?}"),
    };
    answer.headers().get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// What reflection answers about a symbol, or the names of the services.
async fn reflect(server: &TestServer, question: MessageRequest) -> MessageResponse {
    let message = ServerReflectionRequest {
        message_request: Some(question),
        ..ServerReflectionRequest::default()
    };
    let mut request = tonic::Request::new(futures_util::stream::iter([message]));
    let value: MetadataValue<_> = format!("Bearer {READER}").parse().expect("a value");
    request.metadata_mut().insert("authorization", value);
    let mut client = ServerReflectionClient::new(server.channel());
    let answers = client.server_reflection_info(request).await.expect("a stream");
    let answer = answers.into_inner().message().await.expect("an answer").expect("an answer");
    answer.message_response.expect("a response")
}

/// Each method of each service, as `package.Service/Method`.
async fn grpc_methods(server: &TestServer) -> Vec<String> {
    let listed = reflect(server, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("no list") };
    let mut methods = Vec::new();
    for service in listed.service {
        let question = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(server, question).await else {
            panic!("{} has no file", service.name);
        };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&file[..]).expect("a descriptor");
            let package = file.package().to_owned();
            for of_file in file.service {
                let name = format!("{package}.{}", of_file.name());
                if name == service.name {
                    let named = |method: &prost_types::MethodDescriptorProto| {
                        format!("{name}/{}", method.name())
                    };
                    methods.extend(of_file.method.iter().map(named));
                }
            }
        }
    }
    methods
}

#[tokio::test]
async fn every_grpc_method_obeys_the_role() {
    let file = File::new();
    let server = file.server(&[]).await;
    let methods = grpc_methods(&server).await;
    assert!(methods.len() >= 18, "{methods:?}");
    for method in methods {
        // Reflection knows the services of the protocol that are not served, too.
        let is_known = GRPC.iter().any(|(known, _)| *known == method);
        let is_served =
            || async { call(&server, &method, Some(ADMIN)).await != Some(Code::Unimplemented) };
        assert!(is_known || !is_served().await, "what does {method} need?");
    }
    for (method, need) in GRPC {
        for (token, may) in CALLERS {
            let expect = expect(token, may, need);
            let code = call(&server, method, token).await;
            let refusal =
                code.filter(|code| matches!(code, Code::Unauthenticated | Code::PermissionDenied));
            assert_eq!(refusal, expect, "{method} by {token:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_http_method_obeys_the_role() {
    let file = File::new();
    let server = file.server(&[]).await;
    let labels = larder_server::telemetry::method_labels();
    let labels = labels.filter(|label| !label.starts_with(|first: char| first.is_uppercase()));
    let labels = labels.filter(|label| *label != "other").chain(["http/PATCH", "kv/PATCH"]);
    for label in labels {
        let (dialect, verb) = label.split_once('/').expect("a dialect and a verb");
        let path = PATHS.iter().find(|(known, _)| *known == dialect);
        let (_, path) = path.unwrap_or_else(|| panic!("what does {label} need?"));
        let need = http_need(dialect, verb);
        for (token, may) in CALLERS {
            let request = request(token).method(verb).uri(*path);
            let answer = server.http(request.body(Bytes::new()).expect("a request")).await;
            let code = code(answer.status());
            assert_eq!(code, expect(token, may, need), "{label} by {token:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn every_path_of_the_admin_port_obeys_the_role() {
    let file = File::new();
    let server = file.server(&[]).await;
    for (path, need) in ADMIN_PATHS {
        for (token, may) in CALLERS {
            let answer = server.admin_as(path, token).await;
            assert_eq!(code(answer.status()), expect(token, may, need), "{path} by {token:?}");
        }
    }
    server.stop().await;
}

fn code(status: StatusCode) -> Option<Code> {
    match status {
        StatusCode::UNAUTHORIZED => Some(Code::Unauthenticated),
        StatusCode::FORBIDDEN => Some(Code::PermissionDenied),
        _ => None,
    }
}
