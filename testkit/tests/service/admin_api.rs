//! What an admin has done to a running server.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_protos::reapi::{ActionResult, UpdateActionResultRequest};
use larder_testkit::TestServer;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;

use crate::access::{ADMIN, File, WRITER};
use crate::chunks::{noise, split};
use crate::client::{digest, read, sample, store};

async fn order(server: &TestServer, path: &str, body: &str) -> (StatusCode, String) {
    order_with(server, path, body, &[("content-type", "application/json")]).await
}

async fn order_with(
    server: &TestServer,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Bytes::copy_from_slice(body.as_bytes())).expect("a request");
    let answer = server.admin_request(request).await;
    (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
}

/// The last step of an order that is carried out.
async fn done(server: &TestServer, path: &str, body: &str) -> String {
    let (code, text) = order(server, path, body).await;
    assert_eq!(code, StatusCode::OK, "{text}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("\"state\":\"done\""), "{text}");
    last
}

#[tokio::test]
async fn a_blob_that_is_purged_by_its_hash_is_gone_from_memory_too() {
    let server = TestServer::start().await;
    let (purged, kept) =
        (store(&server, &sample(1_000)).await, store(&server, &sample(2_000)).await);
    assert!(read(&server, purged).await.is_ok());
    let last =
        done(&server, "/admin/v1/purge", &format!("{{\"hash\":\"{}\"}}", purged.hash())).await;
    assert!(last.contains("\"records\":1"), "{last}");
    assert_eq!(read(&server, purged).await.map_err(|status| status.code()), Err(Code::NotFound));
    assert!(read(&server, kept).await.is_ok());
    // What is gone can come back.
    store(&server, &sample(1_000)).await;
    assert!(read(&server, purged).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn purges_name_what_they_mean() {
    let server = TestServer::start().await;
    for size in 1..20 {
        store(&server, &sample(size * 100)).await;
    }
    for (body, words) in [
        ("{}", "say what to purge"),
        ("{\"everything\":true,\"kind\":\"blobs\"}", "say what to purge"),
        ("{\"hash\":\"xyz\"}", "is not the hash"),
        ("{\"kind\":\"trees\"}", "neither blobs nor action-results"),
        ("{\"hash\":\"00\",\"kind\":\"blobs\"}", "hash stands alone"),
        ("{\"instance\":\"a\",\"kind\":\"blobs\"}", "instance stands alone"),
        ("{\"instance\":\"a\",\"everything\":true}", "instance stands alone"),
        ("{\"instance\":\"uploads\"}", "instance name"),
        ("{\"unused_for_s\":0}", "for all there is say everything"),
    ] {
        let (code, text) = order(&server, "/admin/v1/purge", body).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{body}");
        assert!(text.contains(words), "{text}");
    }
    let (code, _) = order(&server, "/admin/v1/purge", "{\"hsah\":\"00\"}").await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    for (body, records) in [
        ("{\"kind\":\"action-results\"}", 0),
        ("{\"unused_for_s\":3600}", 0),
        ("{\"keyspace\":\"\",\"kind\":\"blobs\"}", 19),
        ("{\"everything\":true}", 0),
    ] {
        let last = done(&server, "/admin/v1/purge", body).await;
        assert!(last.contains(&format!("\"records\":{records},")), "{body}: {last}");
    }
    assert!(read(&server, digest(&sample(100))).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn the_manifest_of_a_chunked_blob_goes_with_blobs_alone() {
    let server = TestServer::start().await;
    let blob = noise(40, 4 << 20);
    let name = store(&server, &blob).await;
    let (chunks, _) = split(&server, name, 0).await.expect("present");
    let update = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        action_result: Some(ActionResult { exit_code: 1, ..ActionResult::default() }),
        ..UpdateActionResultRequest::default()
    };
    let records_of = async |body| {
        let last = done(&server, "/admin/v1/purge", body).await;
        let step: serde_json::Value = serde_json::from_str(&last).expect("JSON");
        step["records"].as_u64().expect("a number")
    };
    for order in [
        "{\"kind\":\"action-results\"}",
        "{\"keyspace\":\"\",\"kind\":\"action-results\"}",
        "{\"instance\":\"\"}",
    ] {
        server.actions().update_action_result(update.clone()).await.expect("stored");
        assert_eq!(records_of(order).await, 1, "{order}");
        assert!(read(&server, name).await.expect("present") == blob);
    }
    let stored = chunks.len() as u64 + 1;
    assert_eq!(records_of("{\"keyspace\":\"\",\"kind\":\"blobs\"}").await, stored);
    store(&server, &blob).await;
    split(&server, name, 0).await.expect("present");
    assert_eq!(records_of("{\"kind\":\"blobs\"}").await, stored);
    assert_eq!(records_of("{\"everything\":true}").await, 0);
    server.stop().await;
}

/// How many records went, and their bytes.
fn evicted(step: &str) -> (u64, u64) {
    let step: serde_json::Value = serde_json::from_str(step).expect("JSON");
    assert_eq!(step["done"], step["total"], "the bar is full: {step}");
    (step["records"].as_u64().expect("a number"), step["bytes"].as_u64().expect("a number"))
}

#[tokio::test]
async fn the_store_shrinks_and_the_scrub_obeys() {
    let server = TestServer::start().await;
    for size in 1..9 {
        store(&server, &sample(4_000_000 + size)).await;
    }
    let last = done(&server, "/admin/v1/evict", "{\"to_bytes\":4000000}").await;
    assert!(!last.contains("\"records\":0,"), "{last}");
    let first = evicted(&last);
    // All that is left, while a client stores more.
    let (last, _) = tokio::join!(done(&server, "/admin/v1/evict", "{\"to_bytes\":0}"), async {
        store(&server, &sample(4_000_100)).await
    });
    let (records, bytes) = evicted(&last);
    let metrics = server.admin("/metrics").await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    for (name, expect) in [
        ("larder_disk_evictions_total", first.0 + records),
        ("larder_disk_evicted_bytes_total", first.1 + bytes),
    ] {
        assert!(metrics.contains(&format!("\n{name} {expect}\n")), "{name} {expect}: {metrics}");
    }
    assert!(first.0 + records >= 8, "{last}");
    for (action, halted) in [("stop", true), ("start", false)] {
        let (code, text) = order(&server, "/admin/v1/scrub", &format!("\"{action}\"")).await;
        assert_eq!(code, StatusCode::OK, "{text}");
        assert!(text.contains(&format!("\"is_halted\":{halted}")), "{text}");
    }
    let stats = server.admin("/admin/v1/stats").await;
    let stats = String::from_utf8_lossy(stats.body()).into_owned();
    assert!(stats.contains("\"usage\"") && stats.contains("\"action_results\""), "{stats}");
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_read_the_steps_keeps_nobody_from_the_next_order() {
    let server = TestServer::start().await;
    // More steps than wait for him.
    for size in 1..100 {
        store(&server, &sample(size)).await;
    }
    let stream = TcpStream::connect(server.admin_address()).await.expect("it listens");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let purge = Request::post(format!("http://{}/admin/v1/purge", server.admin_address()))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"{\"everything\":true}")))
        .expect("a request");
    let unread = sender.send_request(purge).await.expect("an answer");
    assert_eq!(unread.status(), StatusCode::OK);

    let next = async {
        loop {
            let (code, text) = order(&server, "/admin/v1/evict", "{\"to_bytes\":0}").await;
            if code != StatusCode::CONFLICT {
                return (code, text);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let next = tokio::time::timeout(Duration::from_secs(20), next).await;
    let (code, text) = next.expect("the purge has ended");
    assert_eq!(code, StatusCode::OK, "{text}");
    drop((unread, sender));
    tasks.shutdown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_page_in_a_browser_and_who_is_no_admin_can_do_nothing() {
    let file = File::new();
    let server = file.server(&[]).await;
    let (admin, writer) = (format!("Bearer {ADMIN}"), format!("Bearer {WRITER}"));
    let json = ("content-type", "application/json");
    for (headers, expect) in [
        (&[json][..], StatusCode::UNAUTHORIZED),
        (&[json, ("authorization", writer.as_str())], StatusCode::FORBIDDEN),
        (
            &[json, ("authorization", &admin), ("origin", "https://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("content-type", "text/plain"), ("authorization", &admin)],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (&[json, ("authorization", &admin)], StatusCode::OK),
    ] {
        let (code, text) =
            order_with(&server, "/admin/v1/purge", "{\"everything\":true}", headers).await;
        assert_eq!(code, expect, "{headers:?}: {text}");
    }
    server.stop().await;
}
