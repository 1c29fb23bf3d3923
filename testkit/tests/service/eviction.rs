//! Eviction as clients see it: a result whose outputs are evicted is no hit, what is asked for stays, and the trace says so.

use bytes::Bytes;
use larder_disk::eviction::trace::{TraceOp, TraceReader};
use larder_protos::reapi::{
    ActionResult, FindMissingBlobsRequest, GetActionResultRequest, OutputFile,
    UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use tonic::Code;

use crate::client::{digest, read, store};

/// Bytes that zstd cannot shrink.
fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

async fn update(server: &TestServer, action: &[u8], output: &[u8]) {
    let file = OutputFile {
        path: "out".to_owned(),
        digest: Some(digest(output).to_proto()),
        ..OutputFile::default()
    };
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(action).to_proto()),
        action_result: Some(ActionResult { output_files: vec![file], ..ActionResult::default() }),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.expect("accepted");
}

async fn is_hit(server: &TestServer, action: &[u8]) -> bool {
    let request = GetActionResultRequest {
        action_digest: Some(digest(action).to_proto()),
        ..GetActionResultRequest::default()
    };
    match server.actions().get_action_result(request).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            false
        }
    }
}

async fn is_missing(server: &TestServer, blob: &[u8]) -> bool {
    let request = FindMissingBlobsRequest {
        blob_digests: vec![digest(blob).to_proto()],
        ..FindMissingBlobsRequest::default()
    };
    let response = server.storage().find_missing_blobs(request).await.expect("an answer");
    !response.into_inner().missing_blob_digests.is_empty()
}

#[tokio::test]
async fn a_result_ends_with_its_outputs() {
    let settings = [("max_size", "16MiB"), ("min_free_disk", "0"), ("hot.capacity", "0")];
    let server = TestServer::start_with(&settings).await;
    let (warm, cold) = (noise(1, 100_000), noise(2, 100_000));
    store(&server, &cold).await;
    // So that the two are not in one pack, of which a warm part keeps the rest longer.
    for seed in 0..25 {
        store(&server, &noise(500 + seed, 100_000)).await;
    }
    store(&server, &warm).await;
    update(&server, b"warm", &warm).await;
    update(&server, b"cold", &cold).await;
    for seed in 0..400 {
        store(&server, &noise(1_000 + seed, 100_000)).await;
        // The result and what it names; for the other, the result alone is stored anew.
        assert!(is_hit(&server, b"warm").await, "after {seed}");
        update(&server, b"cold", &cold).await;
    }
    assert!(is_missing(&server, &cold).await, "nothing was evicted");
    assert!(!is_hit(&server, b"cold").await, "the result outlives its output");
    assert_eq!(read(&server, digest(&warm)).await.expect("present"), warm);
    let metrics = server.admin("/metrics").await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    assert!(metrics.contains("larder_disk_min_retention_seconds "), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_asked_is_in_the_trace() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("larder.trace");
    let file = path.to_str().expect("a plain name");
    let server = TestServer::start_with(&[("trace_file", file)]).await;
    let blob = noise(1, 10_000);
    assert!(is_missing(&server, &blob).await);
    assert!(!is_hit(&server, b"action").await);
    store(&server, &blob).await;
    update(&server, b"action", &blob).await;
    assert!(is_hit(&server, b"action").await);
    read(&server, digest(&blob)).await.expect("present");
    server.stop().await;
    let trace = std::fs::read(&path).expect("it was written");
    let events: Vec<_> =
        TraceReader::new(&trace[..]).collect::<Result<_, _>>().expect("a good trace");
    let asked: Vec<_> = events.iter().map(|event| (event.op, event.was_hit)).collect();
    let expect = [
        (TraceOp::Find, false),
        (TraceOp::Action, false),
        (TraceOp::StoreBlob, false),
        (TraceOp::StoreAction, false),
        (TraceOp::Find, true),
        (TraceOp::Action, true),
        (TraceOp::Read, true),
    ];
    assert_eq!(asked, expect);
    let blob_events: Vec<_> = [0, 2, 4, 6].map(|index| &events[index]).into();
    assert!(blob_events.iter().all(|event| event.name == events[0].name));
    assert_ne!(events[1].name, events[0].name);
    assert_eq!(events[1].name, events[5].name);
    assert!((10_000..10_500).contains(&events[2].bytes), "{:?}", events[2]);
}
