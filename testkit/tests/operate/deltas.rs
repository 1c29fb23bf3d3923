//! Traffic moves each family by exactly what it should, and there is no family that nothing moves.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use larder_testkit::TestServer;

use crate::page::Page;
use crate::traffic::{CALLS, digest, drive, noise};

/// What moves by itself, by how long things take or by how large structures are: left out of what must be exact.
const BY_THE_CLOCK: [&str; 12] = [
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "larder_connections",
    "larder_disk_batch_seconds",
    "larder_disk_sync_seconds",
    "larder_disk_free_bytes",
    "larder_disk_commit_queue_bytes",
    "larder_disk_index_queue_updates",
    // Bookkeeping is in it.
    "larder_hot_bytes",
    // What scrubbing does depends on when its round begins.
    "larder_disk_scrub_bytes_total",
    "larder_disk_scrub_records_total",
];

/// Families that this traffic leaves as they are: settings and states, and counters that another test moves.
const LEFT_ALONE: &str = "
larder_accept_errors_total larder_connections_refused_total larder_connections_stalled_total
larder_action_errors_total larder_blob_errors_total larder_panics_total
larder_build_info process_start_time_seconds process_max_fds
larder_coalesced_calls_total
larder_disk_copied_bytes_total larder_disk_dead_bytes larder_disk_corrupt_records_total larder_disk_full_disk_evictions_total larder_disk_io_errors_total
larder_disk_evictions_total larder_disk_evicted_bytes_total larder_disk_eviction_age_seconds larder_disk_min_retention_seconds
larder_disk_index_failed larder_disk_limit_bytes larder_disk_loaded larder_disk_min_free_bytes larder_disk_packs
larder_disk_writes_refused
larder_disk_scrub_corrupt_records_total larder_disk_scrub_rate_bytes larder_disk_scrub_rounds_total
larder_disk_scrub_round_begun_timestamp_seconds larder_disk_scrub_round_bytes larder_disk_scrub_running
larder_disk_scrub_skipped_records_total
larder_fetched_bytes_total larder_fetches_total
larder_hot_capacity_bytes larder_hot_evictions_total larder_hot_limit_bytes
larder_in_flight_bytes larder_in_flight_limit_bytes larder_in_flight_refusals_total larder_in_flight_waiting larder_in_flight_waits_total
larder_rpcs_in_flight
larder_access_log_dropped_events_total larder_log_lines_total larder_log_dropped_lines_total
larder_otlp_spans_total larder_otlp_dropped_spans_total
larder_trace_dropped_events_total
larder_uploads_given_up_total larder_uploads_kept larder_uploads_kept_bytes larder_uploads_resumed_total
";

/// Events of the access log, one for each call.
const TOLD: &str = "larder_access_log_events_total";

/// Starts with all that is off by default and has metrics, other than what asks who calls: `guarded.rs` has that.
pub(crate) async fn start() -> TestServer {
    // The tests of this program run side by side.
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("larder-operate-{}-{number}.trace", std::process::id());
    let trace = std::env::temp_dir().join(name);
    let trace = trace.to_str().expect("a plain path").to_owned();
    let access_log = trace.replace(".trace", ".access.log");
    let settings = [
        ("fetch.enabled", "true"),
        ("fetch.allow", "example.com"),
        ("trace_file", &trace),
        ("access_log.to", &access_log),
        // Nobody listens there, and nothing is sent.
        ("traces.endpoint", "http://127.0.0.1:1"),
        ("traces.sample_ratio", "0"),
    ];
    let server = TestServer::start_with(&settings).await;
    // The server has them open; nobody else needs them.
    std::fs::remove_file(&trace).expect("the trace is there");
    std::fs::remove_file(&access_log).expect("the access log is there");
    server
}

/// A page on which that many calls have ended: the last bytes of an answer are sent before the call is counted, and the access log
/// tells of it last.
pub(crate) async fn page_after(server: &TestServer, calls: f64) -> Page {
    let ended = async {
        loop {
            let page = Page::of(server).await;
            let is_told = !page.families.contains_key(TOLD) || page.sum(TOLD) >= calls;
            let has_ended = page.sum("larder_rpcs_total") >= calls;
            if has_ended && page.sum("larder_rpcs_in_flight") == 0.0 && is_told {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the calls are counted")
}

#[tokio::test]
async fn traffic_moves_every_family_by_what_it_should() {
    let server = start().await;
    let before = Page::of(&server).await;
    drive(&server).await;
    let after = page_after(&server, CALLS).await;
    let mut exact = String::new();
    let mut moved: BTreeSet<String> = BY_THE_CLOCK.into_iter().map(str::to_owned).collect();
    for (series, by) in after.since(&before) {
        let family = after.family_of(&series);
        let is_by_the_clock = BY_THE_CLOCK.contains(&&*family)
            || family.ends_with("_seconds") && !series.contains("_seconds_count");
        moved.insert(family);
        if !is_by_the_clock && !series.contains("_bucket{") {
            writeln!(exact, "{series} {by}").expect("a string takes all");
        }
    }
    assert_eq!(
        exact,
        include_str!("deltas.txt"),
        "what stands in deltas.txt was calculated:\n{exact}"
    );
    moved.extend(LEFT_ALONE.split_ascii_whitespace().map(str::to_owned));
    let all: BTreeSet<String> = after.families.keys().cloned().collect();
    assert_eq!(moved, all, "each family is moved, or is on a list");
    server.stop().await;
}

/// What a request over HTTP, made ten times, adds to hits, misses and uploads of blobs.
async fn moved_by(
    server: &TestServer,
    method: &str,
    path: &str,
    body: Bytes,
) -> Vec<(String, f64)> {
    let before = Page::of(server).await;
    let calls = before.sum("larder_rpcs_total");
    for _ in 0..10 {
        let request = http::Request::builder().method(method).uri(path).body(body.clone());
        server.http(request.expect("a good request")).await;
    }
    let after = page_after(server, calls + 10.0).await;
    let counted =
        ["larder_blob_lookups_total", "larder_blob_reads_total", "larder_blob_puts_total"];
    let mut moved = after.since(&before);
    moved.retain(|series, _| counted.iter().any(|name| series.starts_with(name)));
    moved.into_iter().collect()
}

#[tokio::test]
async fn hits_and_misses_over_http_are_those_over_grpc() {
    let server = TestServer::start().await;
    let (stored, absent) = (noise(1_000), noise(2_000));
    let path = |blob: &Bytes| format!("/cas/{}", digest(blob).hash());
    let [stored_path, absent_path] = [path(&stored), path(&absent)];
    let lookups = |outcome, by| (format!("larder_blob_lookups_total{{outcome=\"{outcome}\"}}"), by);
    let reads = |outcome, by| (format!("larder_blob_reads_total{{outcome=\"{outcome}\"}}"), by);
    let puts = |outcome, by| (format!("larder_blob_puts_total{{outcome=\"{outcome}\"}}"), by);
    for (method, path, body, expect) in [
        // The first one stores it.
        (
            "PUT",
            &stored_path,
            &stored,
            vec![lookups("missing", 1.0), lookups("present", 9.0), puts("stored", 1.0)],
        ),
        ("GET", &stored_path, &Bytes::new(), vec![reads("hit", 10.0)]),
        ("GET", &absent_path, &Bytes::new(), vec![reads("miss", 10.0)]),
        ("HEAD", &stored_path, &Bytes::new(), vec![lookups("present", 10.0)]),
        ("HEAD", &absent_path, &Bytes::new(), vec![lookups("missing", 10.0)]),
    ] {
        assert_eq!(moved_by(&server, method, path, body.clone()).await, expect, "{method} {path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn evictions_are_counted_with_their_bytes_and_ages() {
    let server = TestServer::start_with(&[("max_size", "64MiB")]).await;
    for number in 0..40 {
        let blob = noise((2 << 20) + number);
        let path = format!("/cas/{}", digest(&blob).hash());
        let put = http::Request::put(path).body(blob).expect("a good request");
        assert_eq!(server.http(put).await.status(), http::StatusCode::OK);
    }
    let page = page_after(&server, 40.0).await;
    let evictions = page.sum("larder_disk_evictions_total");
    assert!(evictions > 0.0);
    let is_same = |one: f64, other: f64| (one - other).abs() < 0.5;
    assert!(is_same(page.sum("larder_disk_eviction_age_seconds_count"), evictions));
    let evicted_bytes = page.sum("larder_disk_evicted_bytes_total");
    assert!((evictions * 2_097_152.0..evictions * 2_100_000.0).contains(&evicted_bytes));
    let kept = page.sum("larder_disk_stored_bytes") + evicted_bytes;
    assert!(is_same(page.sum("larder_disk_written_bytes_total"), kept));
    server.stop().await;
}
