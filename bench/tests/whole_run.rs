//! The program as a user runs it, against a server in this process: every scenario goes through, and every byte is right.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use serde_json::Value;

/// Few operations of each kind: what is tested is that they are right.
const SMALL_RUN: &str = "--operations 24 --duration 20s --warm-up 0s --rounds 1 --large-mib 1 \
                         --cold-blobs 50 --entries 200 --connections 2";

/// A hit, a miss, and an upload of nothing.
const SESSION: &str = "larder-session 1\n\nget one hit x:5120 empty:0\nread x:5120\n\nget two miss\n\
                       find y:70 x:5120 none:0\nwrite y:70\nwrite none:0\nupdate two y:70 none:0\n";

fn bench(arguments: &str, scratch: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder-bench"))
        .args(arguments.split_whitespace())
        .args(["--scratch".as_ref(), scratch])
        .args(["--json".as_ref(), scratch.join("report.json").as_path()])
        .output()
        .expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_goes_through() {
    let server = TestServer::start().await;
    let (address, pid) = (server.address(), std::process::id());
    let scratch = tempfile::tempdir().unwrap();
    let scratch_path = scratch.path().to_owned();
    let run = move || {
        let servers = format!(
            "--compare first=grpc://{address},http=http://{address},pid={pid} \
             second=grpc://{address},http=http://{address},instance=other"
        );
        let session = scratch_path.join("session");
        fs::write(&session, SESSION).unwrap();
        let session = session.display();
        bench(&format!("{servers} --rate 50% --session {session} {SMALL_RUN}"), &scratch_path)
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{printed}");

    let report = fs::read(scratch.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rows = report["rows"].as_array().unwrap();
    // Twenty scenarios, two servers, a closed and an open loop.
    assert_eq!(rows.len(), 80);
    for row in rows {
        assert!(row["failure"].is_null(), "{row}");
        assert_eq!((&row["operations"], &row["errors"]), (&24.into(), &0.into()), "{row}");
        assert_eq!(row["in_flight"].is_null(), row["offered_per_second"].is_number(), "{row}");
        assert_eq!(row["cost"].is_null(), row["server"] == "second", "{row}");
        assert_eq!(row["origin"].is_null(), row["server"] == "second", "{row}");
    }
    assert_eq!(report["ratios"].as_array().map(Vec::len), Some(40));
    assert_eq!(report["limits"].as_array().map(Vec::len), Some(11));
    assert!(printed.contains("first times better"), "{printed}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_does_not_offer_is_no_error() {
    let server = TestServer::start().await;
    let address = server.address();
    let run = move |with_http: &str, without: &str| {
        let scratch = tempfile::tempdir().unwrap();
        let with_http = format!("{with_http}=grpc://{address},http=http://{address}");
        let without = format!("{without}=grpc://{address}");
        let mut servers = [with_http, without];
        servers.sort();
        let servers = servers.join(" ");
        bench(&format!("--compare {servers} --only http-get-small {SMALL_RUN}"), scratch.path())
    };
    let runs = tokio::task::spawn_blocking(move || [run("a", "b"), run("b", "a")]);
    let [other, first] = runs.await.unwrap();
    for output in [&other, &first] {
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            printed.contains("not measured: storing what http-get-small needs at"),
            "{printed}"
        );
    }
    assert_eq!((other.status.code(), first.status.code()), (Some(0), Some(1)));
    let complaints = String::from_utf8_lossy(&first.stderr);
    assert!(complaints.contains("http-get-small could not be measured at a"), "{complaints}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_credentials_are_for_both_protocols() {
    const TOKEN: &str = "writer-b1946ac92492d234";
    let scratch = tempfile::tempdir().unwrap();
    let scratch_path = scratch.path().to_owned();
    let credentials = scratch_path.join("credentials");
    let hash = Digest::of(DigestFunction::Sha256, TOKEN.as_bytes());
    fs::write(&credentials, format!("bench write token sha256:{}\n", hash.hash())).unwrap();
    let tls = |file| format!("{}/../testkit/tests/service/tls/{file}", env!("CARGO_MANIFEST_DIR"));
    let (cert, key, ca) = (tls("server.pem"), tls("server.key"), tls("ca.pem"));
    let credentials = credentials.display().to_string();
    let server = TestServer::start_with(&[
        ("tls.cert_file", &cert),
        ("tls.key_file", &key),
        ("auth.credentials_file", &credentials),
    ])
    .await;
    let address = server.address();
    let run = move || {
        let header = format!("authorization: Bearer {TOKEN}");
        let begin = |ca: Option<&str>, header: Option<&str>| {
            let scheme = if ca.is_some() { "grpcs" } else { "grpc" };
            Command::new(env!("CARGO_BIN_EXE_larder-bench"))
                .arg(format!("{scheme}://{address}"))
                .args(ca.into_iter().flat_map(|ca| ["--tls-ca", ca]))
                .args(header.into_iter().flat_map(|header| ["--header", header]))
                .args(["--only", "read-small", "write-small", "http-get-small"])
                .args(SMALL_RUN.split_whitespace())
                .args(["--scratch".as_ref(), scratch_path.as_path()])
                .output()
                .expect("the program starts")
        };
        let header = Some(header.as_str());
        [
            begin(Some(&ca), header),
            begin(Some(&ca), None),
            begin(Some(&tls("client_ca.pem")), header),
            begin(None, header),
        ]
    };
    let [trusted, unnamed, distrustful, plain] = tokio::task::spawn_blocking(run).await.unwrap();
    let complaints = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(trusted.status.success(), "{}", complaints(&trusted));
    assert_eq!((unnamed.status.code(), distrustful.status.code()), (Some(1), Some(1)));
    let refused = "FindMissingBlobs: UNAUTHENTICATED, \"this cache asks who calls: send ";
    assert!(complaints(&unnamed).contains(refused), "{}", complaints(&unnamed));
    assert!(complaints(&plain).contains("without TLS (grpc://)"), "{}", complaints(&plain));
    assert!(complaints(&distrustful).contains("UnknownIssuer"), "{}", complaints(&distrustful));
    server.stop().await;
}

#[test]
fn a_server_that_is_not_there_ends_the_run() {
    let scratch = tempfile::tempdir().unwrap();
    // Nobody listens on port 1.
    let output =
        bench(&format!("grpc://127.0.0.1:1 --only read-small {SMALL_RUN}"), scratch.path());
    assert_eq!(output.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("connecting to 127.0.0.1:1"), "{complaints}");
}

#[test]
fn a_session_that_is_none_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("session");
    fs::write(&file, "larder-session 1\nput x:1\n").unwrap();
    let wrong = bench(&format!("--only-limits --session {}", file.display()), scratch.path());
    assert_eq!(wrong.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&wrong.stderr);
    assert!(complaints.contains("line 2: `put` is no call"), "{complaints}");
    let log = bench(&format!("--session-of {}", file.display()), scratch.path());
    assert_eq!(log.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&log.stderr);
    assert!(complaints.contains("begins no message of Bazel's log"), "{complaints}");
}

#[test]
fn a_process_that_is_not_there_ends_the_run_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    // No process has so large a number.
    let output = bench(&format!("grpc://{address} --pid 4194305 {SMALL_RUN}"), scratch.path());
    assert_eq!(output.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains("process 4194305"), "{complaints}");
    assert!(output.stdout.is_empty(), "limits were measured before");
}
