//! The conformance kit can fail: a small server is honest, or wrong in one chosen way, and the kit must tell which.

mod faulty_server;

use std::path::Path;

use clap::Parser;
use faulty_server::{Fault, FaultyServer};
use larder_compat_tests::conformance::{Arguments, run};
use serde_json::Value;

/// Runs the kit with these arguments; its exit code and its JSON report.
fn check(server: &FaultyServer, arguments: &[&str]) -> (u8, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let report = dir.path().join("report.json");
    let target = format!("grpc://{}", server.address());
    let fixed = ["larder-conformance", &target, "--json", text(&report), "--timeout", "5"];
    let arguments = Arguments::parse_from(fixed.iter().chain(arguments));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&arguments, &mut out, &mut err);
    assert!(err.is_empty(), "{}", String::from_utf8_lossy(&err));
    let report = std::fs::read(&report).expect("a report");
    (code, serde_json::from_slice(&report).expect("JSON"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Each fault, a case that it breaks, and what the kit says.
const FAULTS: [(Fault, &str, &str); 16] = [
    (
        Fault::EmptyPastEnd,
        "bytestream.read.offset-past-end",
        "expected OUT_OF_RANGE for read_offset 101 of a 100 B blob, got OK with 0 bytes",
    ),
    (
        Fault::LimitIgnored,
        "bytestream.read.limit",
        "expected 1 B for read_offset 0 and read_limit 1 of a 100 B blob, got 100 B",
    ),
    (
        Fault::FlippedByte,
        "bytestream.read.whole",
        "expected the 100 B as uploaded for a read of 100 B, got bytes that differ from byte 50 on",
    ),
    (
        Fault::AbsentIsEmpty,
        "bytestream.read.absent",
        "expected NOT_FOUND for a read of a blob that was never stored, got OK with 0 bytes",
    ),
    (
        Fault::HashUnchecked,
        "bytestream.write.wrong-hash",
        "expected INVALID_ARGUMENT for an upload of 100 other bytes under the name of a 100 B blob, \
         got OK with committed_size 100",
    ),
    (
        Fault::OffsetsUnchecked,
        "bytestream.write.offset-gap",
        "expected a refusal of write_offset 60 after 50 B, got OK with committed_size 100",
    ),
    (
        Fault::NothingCommitted,
        "bytestream.write.one-message",
        "expected 100 for committed_size of an upload of 100 B in messages of 100 B, got 0",
    ),
    (
        Fault::UploadLost,
        "bytestream.write.present-at-once",
        "expected a blob of 1 B right after its upload to be present, got missing",
    ),
    (
        Fault::NothingMissing,
        "cas.find-missing.absent",
        "expected a blob that was never stored to be missing, got present",
    ),
    (
        Fault::SizeIgnored,
        "cas.find-missing.other-size",
        "expected 1 for how many are missing of the hash of a 100 B blob with size 99, got 0",
    ),
    (
        Fault::BatchLost,
        "cas.batch-update.stores",
        "expected OK for a read of 1 B in a batch, got NOT_FOUND (absent)",
    ),
    (
        Fault::BatchAllOrNothing,
        "cas.batch-read.independent",
        "expected OK for BatchReadBlobs of a stored and an absent blob, got NOT_FOUND (absent)",
    ),
    (
        Fault::FirstResultStays,
        "action-cache.overwritten",
        "expected Some(\"second\") for the output of the latest result, got Some(\"first\")",
    ),
    (
        Fault::ResultsUnchecked,
        "completeness.file",
        "expected NOT_FOUND for GetActionResult of an action whose result names an absent blob, \
         got OK with an action result of 1 files and 1 directories",
    ),
    (
        Fault::NoEmptyBlob,
        "empty-blob.read",
        "expected OK for a read of the empty blob, got NOT_FOUND (absent)",
    ),
    (Fault::ReadHangs, "bytestream.read.whole", "expected an end within 5s, but it still runs"),
];

#[test]
fn an_honest_server_passes() {
    let server = FaultyServer::start(None);
    let cases: Vec<_> = FAULTS.iter().flat_map(|(_, case, _)| ["--only", case]).collect();
    let (code, report) = check(&server, &cases);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["summary"]["failed"], 0, "{report:#}");
    assert_eq!(report["summary"]["skipped"], 0, "{report:#}");
}

#[test]
fn each_fault_is_found_and_told() {
    for (fault, case, expect) in FAULTS {
        let server = FaultyServer::start(Some(fault));
        let (_, report) = check(&server, &["--only", case]);
        assert_eq!(report["cases"][0]["verdict"], "failed", "{fault:?}: {report:#}");
        assert_eq!(report["cases"][0]["detail"], expect, "{fault:?}");
    }
}

#[test]
fn the_exit_code_follows_the_level_that_counts() {
    let server = FaultyServer::start(Some(Fault::FirstResultStays));
    let case = "action-cache.overwritten";
    for (arguments, expect) in [
        (vec!["--only", case], 0),
        (vec!["--only", case, "--fail-on", "should"], 1),
        (vec!["--only", case, "--fail-on", "client"], 1),
        (vec!["--only", "bytestream.read.whole"], 0),
    ] {
        assert_eq!(check(&server, &arguments).0, expect, "{arguments:?}");
    }
    let server = FaultyServer::start(Some(Fault::FlippedByte));
    assert_eq!(check(&server, &["--only", "bytestream.read.whole"]).0, 1);
}

#[test]
fn what_is_not_announced_is_skipped() {
    let server = FaultyServer::start(None);
    let (code, report) = check(&server, &["--only", "http", "--only", "bytestream.write-zstd"]);
    assert_eq!(code, 0);
    let all = report["cases"].as_array().map_or(0, Vec::len);
    assert!(all > 40, "{all} cases");
    assert_eq!(report["summary"]["skipped"], all, "{report:#}");
}

#[test]
fn wrong_usage_and_absent_servers_are_told_apart_from_failures() {
    // Nobody listens on port 1 of the loopback.
    for arguments in [
        vec!["larder-conformance", "grpc://127.0.0.1:1"],
        vec!["larder-conformance", "127.0.0.1:8980"],
        vec!["larder-conformance", "grpc://127.0.0.1:1", "--only", "no.such.case"],
    ] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&Arguments::parse_from(&arguments), &mut out, &mut err);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(err.starts_with(b"error: "), "{arguments:?}");
    }
}
