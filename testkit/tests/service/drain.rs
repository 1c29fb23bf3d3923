//! The drain that SIGTERM begins, and the admin port.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http::StatusCode;
use larder_testkit::TestServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{chunked, digest, sample, upload_name};

#[tokio::test]
async fn an_upload_in_flight_finishes_while_the_server_drains() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel());
    let mut watch =
        health.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    let first = watch.message().await.expect("an answer").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);

    let blob = sample(3_000_000);
    let mut messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 1_000_000);
    let rest = messages.split_off(1);
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let sent = stream::iter(messages).chain(
        stream::once(async move {
            begun.await.expect("the test goes on");
            stream::iter(rest)
        })
        .flatten(),
    );
    let mut client = server.byte_stream();
    let upload = client.write(Box::pin(sent));
    let drain = async {
        sleep(Duration::from_millis(100)).await;
        server.begin_drain();
        let next = watch.message().await.expect("an answer").expect("a status");
        assert_eq!(next.status(), ServingStatus::NotServing);
        assert_eq!(server.admin("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(server.admin("/livez").await.status(), StatusCode::OK);
        assert_eq!(watch.message().await.expect("a clean end"), None, "the watch has ended");
        begin.send(()).expect("the upload waits");
    };
    let (written, ()) = tokio::join!(upload, drain);
    assert_eq!(written.expect("stored").into_inner().committed_size, 3_000_000);
    server.stop().await;
}

#[tokio::test]
async fn half_a_head_does_not_hold_up_a_drain() {
    let server = TestServer::start_with(&[("drain_timeout", "60s")]).await;
    let mut halves = Vec::new();
    for asks_before in [false, true] {
        let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
        if asks_before {
            let whole = b"GET /cas/ HTTP/1.1\r\nhost: larder\r\n\r\n";
            stream.write_all(whole).await.expect("it is read");
            let mut answer = [0; 1 << 10];
            assert!(stream.read(&mut answer).await.expect("an answer") > 0);
        }
        stream.write_all(b"GET /cas/ HTT").await.expect("it is read");
        halves.push(stream);
    }
    // Until they have been read.
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn every_health_watch_ends_with_the_drain() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel());
    for (service, expect) in
        [("", ServingStatus::Serving), ("any.Service", ServingStatus::ServiceUnknown)]
    {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(request).await.expect("a stream").into_inner();
        let first = watch.message().await.expect("an answer").expect("a status");
        assert_eq!(first.status(), expect);
        if service.is_empty() {
            continue;
        }
        server.begin_drain();
        assert_eq!(watch.message().await.expect("a clean end"), None, "{service:?} has ended");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_admin_port_tells_what_is_so() {
    let server = TestServer::start().await;
    assert_eq!(server.admin("/readyz").await.status(), StatusCode::OK);
    crate::client::store(&server, &sample(5_000)).await;
    let metrics = server.admin("/metrics").await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    for line in ["blob_puts_total{outcome=\"stored\"} 1", "larder_rpcs_total{"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let status = server.admin("/statusz?format=json").await;
    let status = String::from_utf8_lossy(status.body()).into_owned();
    for part in ["\"records\":1", "metered(guarded(hot "] {
        assert!(status.contains(part), "{part} is not in {status}");
    }
    server.stop().await;
}
