//! Memory: what the hot tier shows of itself, and the budget of bytes in flight.

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use larder_protos::bytestream::WriteRequest;
use larder_protos::hot::BatchUpdateBlobsRequest;
use larder_protos::hot::batch_update_blobs_request::Request;
use larder_protos::reapi::{FindMissingBlobsRequest, compressor};
use larder_testkit::TestServer;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::client::{
    assert_refused, chunked, digest, metric, read, sample, store, until, upload_name, write,
};

const HOT_HITS: &str = r#"larder_tier_reads_total{tier="hot",kind="blob",outcome="hit"}"#;
const HOT_MISSES: &str = r#"larder_tier_reads_total{tier="hot",kind="blob",outcome="miss"}"#;

#[tokio::test]
async fn the_hot_tier_shows_what_it_does() {
    let server = TestServer::start_with(&[("hot.capacity", "8MiB")]).await;
    let digest = store(&server, &sample(10_000)).await;
    read(&server, digest).await.expect("present");
    read(&server, digest).await.expect("present");
    let large = store(&server, &sample(2_000_000)).await;
    read(&server, large).await.expect("present");
    assert_eq!(metric(&server, HOT_HITS).await, 2);
    assert_eq!(metric(&server, HOT_MISSES).await, 1);
    assert_eq!(metric(&server, r#"larder_hot_entries{kind="blob"}"#).await, 1);
    let bytes = metric(&server, r#"larder_hot_bytes{kind="blob"}"#).await;
    assert!((10_000..11_000).contains(&bytes), "{bytes} B");
    // A quarter is for action results and trees.
    assert_eq!(metric(&server, r#"larder_hot_capacity_bytes{kind="blob"}"#).await, 6 << 20);
    assert_eq!(metric(&server, r#"larder_hot_limit_bytes{kind="blob"}"#).await, 6 << 20);
    for kind in ["action_result", "tree"] {
        for figure in ["capacity_bytes", "limit_bytes"] {
            assert_eq!(
                metric(&server, &format!("larder_hot_{figure}{{kind=\"{kind}\"}}")).await,
                1 << 20
            );
        }
    }
    for number in 0..1_000 {
        store(&server, &sample(20_000 + number)).await;
    }
    assert!(metric(&server, r#"larder_hot_bytes{kind="blob"}"#).await <= 6 << 20);
    assert!(metric(&server, r#"larder_hot_evictions_total{kind="blob"}"#).await > 0);
    server.stop().await;
}

#[tokio::test]
async fn after_a_restart_the_hot_tier_has_what_was_used_before() {
    let server = TestServer::start().await;
    let blobs: Vec<_> = (0..50).map(|number| sample(10_000 + number)).collect();
    for blob in &blobs {
        store(&server, blob).await;
    }
    for blob in &blobs[..20] {
        read(&server, digest(blob)).await.expect("present");
    }
    let server = server.restart().await;
    until(&server, r#"larder_hot_entries{kind="blob"}"#, |count| count == 20).await;
    assert_eq!(metric(&server, HOT_MISSES).await, 0);
    for blob in &blobs[..20] {
        assert!(read(&server, digest(blob)).await.expect("present") == *blob);
    }
    assert_eq!(metric(&server, HOT_HITS).await, 20);
    assert_eq!(metric(&server, HOT_MISSES).await, 0);
    read(&server, digest(&blobs[30])).await.expect("present");
    assert_eq!(metric(&server, HOT_MISSES).await, 1);
    server.stop().await;
}

pub(crate) const LIMIT_BYTES: u64 = 16 << 20;

/// What a streamed upload by messages of 64 KiB holds. One that is cut off keeps it, until it is resumed or given up.
const UPLOAD_BYTES: u64 = (2 << 20) + (768 << 10) + 4 * (64 << 10);

/// A server with the least memory for requests there can be.
pub(crate) async fn small_server() -> TestServer {
    TestServer::start_with(&[("max_in_flight", "16MiB")]).await
}

/// An upload that sends `sent` messages of 64 KiB and then nothing more; dropping the set ends it.
fn stall(server: &TestServer, stalled: &mut JoinSet<()>, number: usize, sent: usize) {
    let blob = sample(3_000_000 + number);
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, (64 << 10) - 200);
    let messages = stream::iter(messages.into_iter().take(sent)).chain(stream::pending());
    let mut client = server.byte_stream();
    stalled.spawn(async move {
        let _ = client.write(messages).await;
    });
}

/// Stalled uploads that leave less than another one needs.
pub(crate) async fn fill(server: &TestServer) -> JoinSet<()> {
    let mut stalled = JoinSet::new();
    for number in 0..5 {
        stall(server, &mut stalled, number, 2);
    }
    until(server, "larder_in_flight_bytes", |bytes| bytes > LIMIT_BYTES - UPLOAD_BYTES).await;
    stalled
}

pub(crate) fn assert_come_again(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{status:?}");
}

#[tokio::test]
async fn uploads_beyond_the_budget_wait_for_each_other_and_all_succeed() {
    let server = small_server().await;
    let uploads = (0..24).map(|number| {
        let blob = sample(if number % 4 == 0 { 1_500_000 } else { 700_000 } + number);
        let server = &server;
        async move {
            let digest = digest(&blob);
            let messages = chunked(&upload_name("blobs", digest), &blob, 64 << 10);
            write(server, messages).await.expect("stored");
            (digest, blob)
        }
    });
    let reads = join_all(uploads).await.into_iter().map(|(digest, blob)| {
        let server = &server;
        async move { assert!(read(server, digest).await.expect("present") == blob) }
    });
    join_all(reads).await;
    assert!(metric(&server, "larder_in_flight_waits_total").await > 0);
    assert_eq!(metric(&server, "larder_in_flight_refusals_total").await, 0);
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn who_waits_for_memory_goes_on_when_others_give_it_back() {
    let server = small_server().await;
    let stalled = fill(&server).await;
    let blob = sample(2_000_000);
    let upload = store(&server, &blob);
    let relieved = async {
        until(&server, "larder_in_flight_waiting", |waiting| waiting == 1).await;
        drop(stalled);
    };
    let (digest, ()) = tokio::join!(upload, relieved);
    assert!(read(&server, digest).await.expect("present") == blob);
    until(&server, "larder_in_flight_bytes", |bytes| bytes <= UPLOAD_BYTES).await;
    server.stop().await;
}

#[tokio::test]
async fn what_waits_unread_does_not_keep_the_others_from_ending() {
    let server = small_server().await;
    let stalled = fill(&server).await;
    // On one connection these send more ahead than its window has, if all are let wait.
    let uploads = (0..40).map(|number| {
        let blob = sample(2_500_000 + number);
        let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 60_000);
        let server = &server;
        async move { write(server, messages).await }
    });
    let relieved = async {
        until(&server, "larder_in_flight_waiting", |waiting| waiting > 5).await;
        drop(stalled);
    };
    let (answers, ()) = tokio::join!(join_all(uploads), relieved);
    let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(stored.len() > 5, "{refused:?}");
    for refusal in refused {
        assert_come_again(&refusal.expect_err("partitioned"));
    }
    until(&server, "larder_in_flight_bytes", |bytes| bytes <= UPLOAD_BYTES).await;
    server.stop().await;
}

#[tokio::test]
async fn who_holds_memory_and_needs_more_than_is_left_is_told_to_come_again() {
    let server = small_server().await;
    let stalled = fill(&server).await;
    // Its first message announces nothing of how long the second is.
    let blob = sample(900_000);
    let name = upload_name("blobs", digest(&blob));
    let mut messages = chunked(&name, &blob, 100);
    let second = WriteRequest {
        resource_name: String::new(),
        write_offset: 100,
        finish_write: true,
        data: blob.slice(100..),
    };
    messages.truncate(1);
    messages.push(second);
    let held_bytes = metric(&server, "larder_in_flight_bytes").await;
    let mut client = server.byte_stream();
    let first = stream::iter(messages[..1].to_vec());
    let begun = until(&server, "larder_in_flight_bytes", |bytes| bytes > held_bytes);
    let second = messages[1].clone();
    let (send, sent) = tokio::sync::oneshot::channel();
    let late = stream::once(async move { sent.await.expect("it is sent") });
    let upload = client.write(Box::pin(first.chain(late)));
    let (refused, ()) = tokio::join!(upload, async {
        begun.await;
        send.send(second).expect("the upload waits for it");
    });
    assert_come_again(&refused.expect_err("no memory"));
    // A blob of a batch needs room to be decoded; the batch itself is small enough.
    let zeros = Bytes::from(vec![0; 1 << 20]);
    let request = BatchUpdateBlobsRequest {
        requests: vec![Request {
            digest: Some(digest(&zeros).to_proto()),
            data: zstd::encode_all(&zeros[..], 1).expect("in memory").into(),
            compressor: compressor::Value::Zstd.into(),
        }],
        ..BatchUpdateBlobsRequest::default()
    };
    let answer = server.storage().batch_update_blobs(request.clone()).await.expect("an answer");
    let status = answer.into_inner().responses[0].status.clone().expect("each has one");
    assert_eq!(Code::from_i32(status.code), Code::ResourceExhausted, "{status:?}");
    // Over HTTP nothing need be announced.
    let body = vec![Bytes::from(vec![0; 256 << 10]); 16];
    let path = format!("/ac/{}", digest(b"action").hash());
    assert_eq!(server.http_chunked("PUT", &path, body).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(metric(&server, "larder_in_flight_refusals_total").await >= 3);

    drop(stalled);
    until(&server, "larder_in_flight_bytes", |bytes| bytes <= UPLOAD_BYTES).await;
    assert_eq!(write(&server, messages).await.expect("stored"), 900_000);
    let answer = server.storage().batch_update_blobs(request).await.expect("an answer");
    assert_eq!(answer.into_inner().responses[0].status.as_ref().expect("one").code, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_never_fits_is_refused_at_once() {
    let server = small_server().await;
    let data = Bytes::from(vec![7; 17 << 20]);
    let request = BatchUpdateBlobsRequest {
        requests: vec![Request {
            digest: Some(digest(&data).to_proto()),
            data: data.clone(),
            compressor: compressor::Value::Identity.into(),
        }],
        ..BatchUpdateBlobsRequest::default()
    };
    let refused = server.storage().batch_update_blobs(request).await;
    assert_refused(
        refused,
        Code::ResourceExhausted,
        "over the limit of 16777216 B for all requests",
    );
    let path = format!("/ac/{}", digest(b"action").hash());
    let put = http::Request::put(&path).body(data).expect("a good request");
    assert_eq!(server.http(put).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(metric(&server, "larder_in_flight_bytes").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn small_calls_go_by_who_waits() {
    let server = small_server().await;
    let digest = store(&server, &sample(1_000)).await;
    let stalled = fill(&server).await;
    // More than is left, and so in front of all who come later.
    let mut waiting = JoinSet::new();
    stall(&server, &mut waiting, 99, 2);
    until(&server, "larder_in_flight_waiting", |waiting| waiting == 1).await;
    let request = FindMissingBlobsRequest {
        blob_digests: vec![digest.to_proto()],
        ..FindMissingBlobsRequest::default()
    };
    let found = server.storage().find_missing_blobs(request).await.expect("an answer");
    assert!(found.into_inner().missing_blob_digests.is_empty());
    drop((stalled, waiting));
    server.stop().await;
}

#[tokio::test]
async fn a_duplicate_that_goes_on_sending_holds_nothing() {
    let server = small_server().await;
    let blob = sample(3_000_000);
    store(&server, &blob).await;
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 60_000);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let messages = stream::iter(messages.clone()).chain(stream::pending());
        let answer = server.byte_stream().write(messages).await.expect("already present");
        assert_eq!(answer.get_ref().committed_size, 3_000_000);
        clients.push(answer);
    }
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    drop(clients);
    server.stop().await;
}
