//! The HTTP/1.1 cache.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use larder_protos::reapi::{ActionResult, GetActionResultRequest};
use larder_testkit::TestServer;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{digest, read, sample, store};

async fn call(
    server: &TestServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.http(request.body(body).expect("a good request")).await
}

async fn put(server: &TestServer, path: &str, body: Bytes) -> StatusCode {
    call(server, Method::PUT, path, &[], body).await.status()
}

async fn get(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    call(server, Method::GET, path, headers, Bytes::new()).await
}

#[tokio::test]
async fn blobs_go_in_and_out_and_are_shared_with_grpc() {
    let server = TestServer::start().await;
    for size in [0, 1, 10_000, 3_000_000] {
        let blob = sample(size);
        let digest = digest(&blob);
        let path = format!("/any/instance/cas/{}", digest.hash());
        assert_eq!(get(&server, &path, &[]).await.status().is_success(), size == 0);
        assert_eq!(put(&server, &path, blob.clone()).await, StatusCode::OK);
        assert_eq!(put(&server, &path, blob.clone()).await, StatusCode::OK, "a duplicate");
        let got = get(&server, &path, &[]).await;
        assert_eq!(got.headers()["content-length"], size.to_string());
        assert!(got.body() == &blob);
        let head = call(&server, Method::HEAD, &path, &[], Bytes::new()).await;
        assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
        assert_eq!(head.headers()["content-length"], size.to_string());
        assert!(read(&server, digest).await.expect("present") == blob, "over gRPC");
    }
    let stored = store(&server, &sample(777)).await;
    let path = format!("/cas/{}", stored.hash());
    assert!(get(&server, &path, &[]).await.body() == &sample(777));
    server.stop().await;
}

#[tokio::test]
async fn ranges_are_cut_out() {
    let server = TestServer::start().await;
    let blob = sample(700_000);
    let path = format!("/cas/{}", store(&server, &blob).await.hash());
    let part = get(&server, &path, &[("range", "bytes=300000-300009")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 300000-300009/700000");
    assert!(part.body()[..] == blob[300_000..300_010]);
    let beyond = get(&server, &path, &[("range", "bytes=700000-")]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], "bytes */700000");
    server.stop().await;
}

#[tokio::test]
async fn zstd_goes_both_ways() {
    let server = TestServer::start().await;
    for size in [1_000, 3_000_000] {
        let blob = sample(size);
        let path = format!("/cas/{}", digest(&blob).hash());
        let frame: Bytes = zstd::encode_all(&blob[..], 1).expect("in memory").into();
        let encoded = [("content-encoding", "zstd")];
        let sent = call(&server, Method::PUT, &path, &encoded, frame).await;
        assert_eq!(sent.status(), StatusCode::OK);
        let plain = get(&server, &path, &[]).await;
        assert_eq!(plain.headers().get("content-encoding"), None);
        assert!(plain.body() == &blob);
        let taken = get(&server, &path, &[("accept-encoding", "gzip, zstd")]).await;
        let body = match taken.headers().get("content-encoding") {
            Some(encoding) => {
                assert_eq!(encoding, "zstd");
                zstd::decode_all(&taken.body()[..]).expect("frames").into()
            }
            None => taken.body().clone(),
        };
        assert!(body == blob);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let server = TestServer::start().await;
    let blob = sample(1_000);
    let hash = *digest(b"other").hash();
    let mismatch = call(&server, Method::PUT, &format!("/cas/{hash}"), &[], blob.clone()).await;
    assert_eq!(mismatch.status(), StatusCode::BAD_REQUEST);
    let text = String::from_utf8_lossy(mismatch.body());
    assert!(text.contains("have the digest"), "{text}");
    assert_eq!(get(&server, &format!("/cas/{hash}"), &[]).await.status(), StatusCode::NOT_FOUND);
    for (method, path, code) in [
        (Method::GET, "/", StatusCode::NOT_FOUND),
        (Method::GET, "/cas/abc", StatusCode::BAD_REQUEST),
        (Method::GET, "/cas/../../etc/passwd", StatusCode::BAD_REQUEST),
        (Method::GET, "/cas/etc/passwd", StatusCode::NOT_FOUND),
        (Method::PUT, "/cas/%2e%2e", StatusCode::BAD_REQUEST),
    ] {
        let answer = call(&server, method, path, &[], Bytes::new()).await;
        assert_eq!(answer.status(), code, "{path}");
    }
    let path = format!("/cas/{hash}");
    let deleted = call(&server, Method::DELETE, &path, &[], Bytes::new()).await;
    assert_eq!(deleted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(deleted.headers()["allow"], "GET, HEAD, PUT");
    let gzip = call(&server, Method::PUT, &path, &[("content-encoding", "gzip")], blob).await;
    assert_eq!(gzip.status(), StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn action_results_are_shared_with_grpc() {
    let server = TestServer::start().await;
    let action = digest(b"action");
    let path = format!("/main/ac/{}", action.hash());
    assert_eq!(get(&server, &path, &[]).await.status(), StatusCode::NOT_FOUND);
    let blob = sample(10);
    let result = ActionResult {
        stdout_digest: Some(digest(&blob).to_proto()),
        exit_code: 3,
        ..ActionResult::default()
    };
    assert_eq!(put(&server, &path, result.encode_to_vec().into()).await, StatusCode::OK);
    assert_eq!(get(&server, &path, &[]).await.status(), StatusCode::NOT_FOUND, "incomplete");
    store(&server, &blob).await;
    let got = get(&server, &path, &[]).await;
    assert_eq!(ActionResult::decode(got.body().clone()).expect("a result"), result);
    let request = GetActionResultRequest {
        instance_name: "main".to_owned(),
        action_digest: Some(action.to_proto()),
        ..GetActionResultRequest::default()
    };
    let over_grpc = server.actions().get_action_result(request).await.expect("a hit");
    assert_eq!(over_grpc.into_inner(), result);
    let elsewhere = get(&server, &format!("/ac/{}", action.hash()), &[]).await;
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND, "another instance");
    let garbage = put(&server, &path, Bytes::from_static(b"\xFF no result")).await;
    assert_eq!(garbage, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn inlined_bytes_of_a_result_move_to_the_cas() {
    let server = TestServer::start().await;
    let path = format!("/ac/{}", digest(b"action").hash());
    let result = ActionResult { stdout_raw: b"said".to_vec(), ..ActionResult::default() };
    assert_eq!(put(&server, &path, result.encode_to_vec().into()).await, StatusCode::OK);
    assert_eq!(read(&server, digest(b"said")).await.expect("in the CAS"), b"said");
    let got = get(&server, &path, &[]).await;
    let got = ActionResult::decode(got.body().clone()).expect("a result");
    assert_eq!(got.stdout_digest, Some(digest(b"said").to_proto()));
    server.stop().await;
}

#[tokio::test]
async fn opaque_values_live_under_any_path() {
    let server = TestServer::start().await;
    let hex = "ab".repeat(32);
    let paths =
        ["/kv/ac/HEX", "/kv/HEX", "/kv/ab/cd/ef.x", "/kv/x"].map(|p| p.replace("HEX", &hex));
    for (number, path) in paths.iter().enumerate() {
        assert_eq!(get(&server, path, &[]).await.status(), StatusCode::NOT_FOUND);
        for size in [0, number + 1, 3_000_000 + number] {
            assert_eq!(put(&server, path, sample(size)).await, StatusCode::OK);
            assert!(get(&server, path, &[]).await.body() == &sample(size), "{path}: {size} B");
        }
        let head = call(&server, Method::HEAD, path, &[], Bytes::new()).await;
        assert_eq!(head.headers()["content-length"], (3_000_000 + number).to_string());
    }
    let delete = || call(&server, Method::DELETE, &paths[0], &[], Bytes::new());
    assert_eq!(delete().await.status(), StatusCode::OK);
    assert_eq!(delete().await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&server, &paths[0], &[]).await.status(), StatusCode::NOT_FOUND);
    let post = call(&server, Method::POST, &paths[1], &[], Bytes::new()).await;
    assert_eq!(post.headers()["allow"], "GET, HEAD, PUT, DELETE");
    let server = server.restart().await;
    assert_eq!(get(&server, &paths[0], &[]).await.status(), StatusCode::NOT_FOUND);
    assert!(get(&server, &paths[1], &[]).await.body() == &sample(3_000_001));
    server.stop().await;
}

#[tokio::test]
async fn bodies_of_unknown_length_are_taken() {
    let server = TestServer::start().await;
    for size in [0, 1_000, 3_000_000] {
        let blob = sample(size);
        let path = format!("/cas/{}", digest(&blob).hash());
        let chunks: Vec<_> = blob.chunks(100_000).map(Bytes::copy_from_slice).collect();
        assert_eq!(server.http_chunked("PUT", &path, chunks.clone()).await, StatusCode::OK);
        assert!(get(&server, &path, &[]).await.body() == &blob);
        let other = format!("/cas/{}", digest(b"other").hash());
        let refused = server.http_chunked("PUT", &other, chunks).await;
        assert_eq!(refused, StatusCode::BAD_REQUEST);
    }
    server.stop().await;
}

#[tokio::test]
async fn bodies_come_over_http2_too() {
    let server = TestServer::start().await;
    for size in [0, 1_000, 3_000_000] {
        let blob = sample(size);
        let path = format!("/cas/{}", digest(&blob).hash());
        let chunks = || blob.chunks(100_000).map(Bytes::copy_from_slice).collect();
        assert_eq!(server.http2_chunked("PUT", &path, chunks()).await, StatusCode::OK);
        assert_eq!(server.http2_chunked("PUT", &path, chunks()).await, StatusCode::OK, "again");
        assert!(get(&server, &path, &[]).await.body() == &blob);
        let other = format!("/cas/{}", digest(b"other").hash());
        let refused = server.http2_chunked("PUT", &other, chunks()).await;
        assert_eq!(refused, StatusCode::BAD_REQUEST);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_413() {
    let server = TestServer::start_with(&[("max_blob_size", "1MiB")]).await;
    let blob = sample(3_000_000);
    let path = format!("/cas/{}", digest(&blob).hash());
    assert_eq!(put(&server, &path, blob.clone()).await, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks: Vec<_> = blob.chunks(100_000).map(Bytes::copy_from_slice).collect();
    for path in [&path, "/kv/x"] {
        let refused = server.http_chunked("PUT", path, chunks.clone()).await;
        assert_eq!(refused, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    let result = Bytes::from(zstd::encode_all(&vec![0; 66 << 20][..], 1).expect("in memory"));
    let action = format!("/ac/{}", digest(b"action").hash());
    let encoded = [("content-encoding", "zstd")];
    let refused = call(&server, Method::PUT, &action, &encoded, result).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    server.stop().await;
}

/// Sends a whole request before it reads anything, as simple clients do; the status.
async fn send_then_read(stream: &mut TcpStream, head: &str, body: &[u8]) -> String {
    let head = format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("the head is taken");
    stream.write_all(body).await.expect("the body is taken");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    let answer = String::from_utf8(answer).expect("text");
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.expect("a length").parse().expect("a number");
    stream.read_exact(&mut vec![0; length]).await.expect("a body");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn a_refused_upload_is_read_to_its_end() {
    let server = TestServer::start_with(&[("max_blob_size", "1MiB")]).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    let blob = sample(20_000_000);
    let path = format!("/cas/{}", digest(&blob).hash());
    for (head, code) in [
        (format!("PUT {path}"), "413"),
        ("PUT /cas/abc".to_owned(), "400"),
        (format!("POST {path}"), "405"),
        ("PUT /elsewhere".to_owned(), "404"),
        ("PUT /kv/key".to_owned(), "413"),
    ] {
        assert_eq!(send_then_read(&mut stream, &head, &blob).await, code, "{head}");
    }
    drop(stream);
    server.stop().await;
}
