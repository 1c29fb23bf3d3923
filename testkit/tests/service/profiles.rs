//! Profiles on the admin port. A process has one sampler, so all that runs it is one test.

use std::io::Read as _;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use http::{Request, StatusCode};
use larder_testkit::TestServer;
use prost::Message;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::access::{ADMIN, File};
use crate::client::{read, sample, store};

const ENOUGH_SAMPLES: i64 = 5;
const PATIENCE: Duration = Duration::from_mins(1);

const PROFILE: &str = "/debug/pprof/profile?seconds=1";
const FLAMEGRAPH: &str = "/debug/pprof/flamegraph?seconds=1";
const HEAP: &str = "/debug/pprof/heap";
const HEAP_FLAMEGRAPH: &str = "/debug/pprof/heap/flamegraph";

/// Of pprof's `Profile`, what is looked at here.
#[derive(Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

#[derive(Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

/// What a path of the admin port answers while clients keep the server busy.
async fn under_load(server: &TestServer, path: &str) -> http::Response<bytes::Bytes> {
    let blob = store(server, &sample(100_000)).await;
    let load = async {
        loop {
            read(server, blob).await.expect("it is there");
        }
    };
    tokio::select! {
        answer = server.admin(path) => answer,
        () = load => unreachable!("it does not end"),
    }
}

async fn refused(server: &TestServer, path: &str) -> (StatusCode, String) {
    let answer = server.admin(path).await;
    (answer.status(), String::from_utf8_lossy(answer.body()).into_owned())
}

#[tokio::test]
async fn they_are_off_unless_they_are_turned_on() {
    let server = TestServer::start().await;
    for path in [PROFILE, FLAMEGRAPH, HEAP, HEAP_FLAMEGRAPH] {
        let expect = (StatusCode::NOT_FOUND, "profiles are off: set debug_profiles\n".to_owned());
        assert_eq!(refused(&server, path).await, expect);
        assert_eq!(head(&server, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    server.stop().await;
}

async fn head(server: &TestServer, path: &str) -> http::Response<bytes::Bytes> {
    let request = Request::head(path).body(bytes::Bytes::new()).expect("a request");
    server.admin_request(request).await
}

#[tokio::test]
async fn head_tells_what_get_would_and_looks_at_nothing() {
    let server = TestServer::start_with(&[("debug_profiles", "true")]).await;
    for (path, kind) in [
        ("/debug/pprof/profile?seconds=300", "application/octet-stream"),
        ("/debug/pprof/flamegraph?seconds=300", "image/svg+xml"),
        (HEAP, "application/octet-stream"),
        (HEAP_FLAMEGRAPH, "image/svg+xml"),
    ] {
        let begun = Instant::now();
        let answer = head(&server, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], kind, "{path}");
        assert!(answer.body().is_empty(), "{path}");
        assert!(begun.elapsed() < PATIENCE, "{path}");
    }
    assert_eq!(head(&server, "/debug/pprof/profile?seconds=0").await.status(), 400);
    server.stop().await;
}

#[tokio::test]
async fn a_profile_is_for_admins_and_of_a_length_within_bounds() {
    let file = File::new();
    let server = file.server(&[("debug_profiles", "true")]).await;
    for query in [
        "profile?seconds=0",
        "profile?seconds=301",
        "profile?seconds=-1",
        "profile?seconds=1.5",
        "profile?seconds=",
        "profile?seconds=99999999999999999999",
        "profile?seconds=1&seconds=1",
        "flamegraph?second=1",
        "heap?seconds=1",
        "heap/flamegraph?debug=1",
    ] {
        let path = format!("/debug/pprof/{query}");
        let answer = server.admin_as(&path, Some(ADMIN)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(server.admin_as(&path, None).await.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_busy_server_shows_where_it_is_busy() {
    let server = TestServer::start_with(&[("debug_profiles", "true")]).await;
    assert_profile(&server).await;
    assert_flamegraph(&server).await;

    // One at a time; who goes away makes room.
    let leaving = occupy(&server).await;
    assert_eq!(refused(&server, HEAP).await.0, StatusCode::CONFLICT);
    drop(leaving);
    let begun = Instant::now();
    while refused(&server, PROFILE).await.0 != StatusCode::OK {
        assert!(begun.elapsed() < PATIENCE, "nobody asks for the first one");
    }

    // The end of the server does not wait for a profile.
    let _waiting = occupy(&server).await;
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < PATIENCE, "it ends in {:?}", begun.elapsed());
}

/// A connection whose profile is under way, and would be for minutes.
async fn occupy(server: &TestServer) -> TcpStream {
    let request = "GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\nhost: a\r\n\r\n";
    let busy = (StatusCode::CONFLICT, "another profile is under way\n".to_owned());
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(server.admin_address()).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        // The second may have come first; then the one of minutes was refused.
        if refused(server, FLAMEGRAPH).await == busy {
            return stream;
        }
        assert!(begun.elapsed() < PATIENCE, "two at once");
    }
}

/// Of a busy machine this process may have little, and so few samples: then it looks again.
async fn assert_profile(server: &TestServer) {
    let begun = Instant::now();
    let Profile { samples, strings } = loop {
        let answer = under_load(server, PROFILE).await;
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        let mut bytes = Vec::new();
        GzDecoder::new(&answer.body()[..]).read_to_end(&mut bytes).expect("gzip");
        let profile = Profile::decode(&bytes[..]).expect("protobuf");
        let seen: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
        if seen >= ENOUGH_SAMPLES {
            break profile;
        }
        assert!(begun.elapsed() < PATIENCE, "{seen} samples at most");
    };
    assert!(samples.iter().any(|sample| sample.locations.len() > 5), "whole stacks");
    let of = |start: &str| strings.iter().filter(|name| name.contains(start)).count();
    assert!(of("larder_server::") > 0 && of("tokio::") > 0, "{strings:?}");
    assert_eq!(of("perf_signal_handler"), 0, "the sampler does not see itself");
}

async fn assert_flamegraph(server: &TestServer) {
    let begun = Instant::now();
    let titles = loop {
        let answer = under_load(server, FLAMEGRAPH).await;
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        assert_eq!(answer.headers()["content-type"], "image/svg+xml");
        let text = str::from_utf8(answer.body()).expect("UTF-8");
        let picture = roxmltree::Document::parse(text).expect("XML");
        let boxes = picture.descendants().filter(|node| node.has_tag_name("title"));
        let titles: Vec<_> = boxes.filter_map(|title| title.text().map(str::to_owned)).collect();
        assert!(titles[0].starts_with("all threads: "), "{titles:?}");
        if titles.len() > 10 {
            break titles;
        }
        assert!(begun.elapsed() < PATIENCE, "{titles:?}");
    };
    assert!(titles.iter().any(|title| title.contains("larder_server::")), "{titles:?}");
}
