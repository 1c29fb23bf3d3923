//! A server on a disk that fails: what clients, probes and metrics are told, and that reads go on.

#[path = "../../disk/tests/engine/faulty.rs"]
mod faulty;

use std::sync::Arc;

use bytes::Bytes;
use faulty::{Call, EDQUOT, EIO, EMFILE, ENFILE, ENOSPC, EROFS, Fault, FaultyIo};
use futures_util::stream;
use http::{Method, Request, StatusCode};
use larder_protos::bytestream::WriteRequest;
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Errors are collected for the whole process, so that one test's must not come while another one looks.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Bytes that zstd cannot shrink, others for each seed.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn http(
    server: &TestServer,
    method: Method,
    blob: &Bytes,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let path = format!("/cas/{}", Digest::of(DigestFunction::Sha256, blob).hash());
    let request = Request::builder().method(method).uri(path).body(body);
    let answer = server.http(request.expect("a good request")).await;
    (answer.status(), answer.into_body())
}

async fn put(server: &TestServer, blob: &Bytes) -> StatusCode {
    http(server, Method::PUT, blob, blob.clone()).await.0
}

async fn expect_there(server: &TestServer, blob: &Bytes) {
    let (status, body) = http(server, Method::GET, blob, Bytes::new()).await;
    assert!(status == StatusCode::OK && body == *blob, "{status}");
}

async fn write(server: &TestServer, blob: &Bytes) -> Result<(), Status> {
    let digest = Digest::of(DigestFunction::Sha256, blob);
    let message = WriteRequest {
        resource_name: format!("uploads/faults/blobs/{digest}"),
        finish_write: true,
        data: blob.clone(),
        ..WriteRequest::default()
    };
    server.byte_stream().write(stream::iter([message])).await.map(drop)
}

/// Without a hot tier to speak of, so that reads reach the disk.
async fn start(io: &FaultyIo, durability: &str) -> TestServer {
    let settings = [
        ("durability", durability),
        ("sync_interval", "10ms"),
        ("hot.capacity", "1KiB"),
        ("hot.max_blob_size", "1KiB"),
    ];
    TestServer::start_on(Arc::new(io.clone()), &settings).await
}

#[tokio::test]
async fn a_failed_sync_ends_writes_and_everybody_is_told() {
    let _turn = ONE_AT_A_TIME.lock().await;
    for durability in ["sync", "interval"] {
        let io = FaultyIo::default();
        let server = start(&io, durability).await;
        let mut health = HealthClient::new(server.channel());
        let mut watch =
            health.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
        let mut next = async || watch.message().await.expect("an answer").expect("a status");
        assert_eq!(next().await.status(), ServingStatus::Serving);
        let before = noise(1, 5_000);
        assert_eq!(put(&server, &before).await, StatusCode::OK);
        assert_eq!(server.admin("/readyz").await.status(), StatusCode::OK);

        io.fail(Fault::new(Call::SyncData, EIO));
        let unsafe_put = put(&server, &noise(2, 5_000)).await;
        if durability == "sync" {
            assert_eq!(unsafe_put, StatusCode::SERVICE_UNAVAILABLE);
        }
        // In the other mode the sync comes when it comes; the watch is told.
        assert_eq!(next().await.status(), ServingStatus::NotServing);
        io.heal();

        let late = noise(3, 5_000);
        assert_eq!(put(&server, &late).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(write(&server, &late).await.expect_err("refused").code(), Code::Unavailable);
        let large = noise(4, 1_200_000);
        assert_eq!(put(&server, &large).await, StatusCode::SERVICE_UNAVAILABLE);
        expect_there(&server, &before).await;
        let checked = health.check(HealthCheckRequest::default()).await.expect("an answer");
        assert_eq!(checked.into_inner().status(), ServingStatus::NotServing);
        let ready = server.admin("/readyz").await;
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.body().starts_with(b"serving reads only"), "{:?}", ready.body());
        let metrics = server.admin("/metrics").await.into_body();
        let metrics = String::from_utf8_lossy(&metrics);
        assert!(metrics.contains("\nlarder_disk_writes_refused 1\n"), "{metrics}");
        assert_eq!(server.admin("/livez").await.status(), StatusCode::OK);

        let (_, errors) = server.stop_with_errors().await;
        assert!(errors.iter().all(|line| line.contains("a sync failed")), "{errors:?}");
        assert_eq!(errors.len(), 1, "said once: {errors:?}");
    }
}

#[tokio::test]
async fn no_room_and_no_descriptors_are_matters_of_capacity_and_pass() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let io = FaultyIo::default();
    let server = start(&io, "sync").await;
    let (small, large) = (noise(1, 5_000), noise(2, 1_200_000));
    for blob in [&small, &large] {
        assert_eq!(put(&server, blob).await, StatusCode::OK);
    }
    let mut seed = 10;
    for (call, errno, length) in [
        (Call::Write, ENOSPC, 5_000),
        (Call::Write, EDQUOT, 5_000),
        (Call::Write, EDQUOT, 1_200_000),
        (Call::Open, ENOSPC, 1_200_000),
        (Call::Open, EMFILE, 1_200_000),
        (Call::Open, ENFILE, 1_200_000),
        (Call::SyncDir, EMFILE, 1_200_000),
    ] {
        seed += 1;
        let refused = noise(seed, length);
        io.fail(Fault::new(call, errno));
        let what = format!("{call:?} {errno} {length}");
        assert_eq!(put(&server, &refused).await, StatusCode::INSUFFICIENT_STORAGE, "{what}");
        let status = write(&server, &refused).await.expect_err("refused");
        assert_eq!(status.code(), Code::ResourceExhausted, "{what}");
        expect_there(&server, &small).await;
        io.heal();
        assert_eq!(put(&server, &refused).await, StatusCode::OK, "{what}: it passes");
        expect_there(&server, &refused).await;
    }
    assert_eq!(server.admin("/readyz").await.status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_is_still_read() {
    let _turn = ONE_AT_A_TIME.lock().await;
    for errno in [EROFS, EIO] {
        let io = FaultyIo::default();
        let server = start(&io, "sync").await;
        let (small, large) = (noise(1, 5_000), noise(2, 1_200_000));
        for blob in [&small, &large] {
            assert_eq!(put(&server, blob).await, StatusCode::OK);
        }
        io.fail(Fault::new(Call::Write, errno));
        for length in [5_000, 1_200_000] {
            let refused = noise(3, length);
            assert_eq!(put(&server, &refused).await, StatusCode::SERVICE_UNAVAILABLE);
            let status = write(&server, &refused).await.expect_err("refused");
            assert_eq!(status.code(), Code::Unavailable);
            let (status, _) = http(&server, Method::GET, &refused, Bytes::new()).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
        }
        expect_there(&server, &small).await;
        expect_there(&server, &large).await;
        io.heal();
        assert_eq!(put(&server, &noise(3, 5_000)).await, StatusCode::OK);
        server.stop().await;
    }
}

#[tokio::test]
async fn no_dialect_over_http_has_room_on_a_full_disk_and_each_recovers() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let io = FaultyIo::default();
    let server = start(&io, "sync").await;
    let key = "0123456789abcdef0123456789abcdef";
    let paths = ["kv", "gradle", "v8/artifacts", "v1/cache", "sccache"];
    for (seed, length) in [(1, 5_000), (2, 1_200_000)] {
        for (path, seed) in paths.iter().zip(10 * seed..) {
            let path = format!("/{length}/{path}/{key}");
            let value = noise(seed, length);
            let call = async |method: Method, body: Bytes| {
                let request = Request::builder().method(method).uri(&path).body(body);
                server.http(request.expect("a good request")).await
            };
            io.fail(Fault::new(Call::Write, ENOSPC));
            let refused = call(Method::PUT, value.clone()).await.status();
            assert_eq!(refused, StatusCode::INSUFFICIENT_STORAGE, "{path}");
            let missing = call(Method::GET, Bytes::new()).await.status();
            assert_eq!(missing, StatusCode::NOT_FOUND, "{path}");
            io.heal();
            let stored = call(Method::PUT, value.clone()).await.status();
            assert!(stored.is_success(), "{path}: {stored}");
            assert!(call(Method::GET, Bytes::new()).await.body() == &value, "{path}");
        }
    }
    server.stop().await;
}
