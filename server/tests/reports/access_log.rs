//! The access log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::Value;

use crate::larder::{HELLO, Larder};

const TRACEPARENT: &str =
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

fn to(path: &Path) -> String {
    format!("--access-log-to={}", path.display())
}

fn events(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap();
    serde_json::Deserializer::from_slice(&bytes).into_iter().map(Result::unwrap).collect()
}

#[test]
fn each_request_has_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut larder = Larder::start(&[to(&path)]);
    assert_eq!(larder.put_hello(TRACEPARENT), 200);
    assert_eq!(larder.get(&format!("/some/instance/cas/{HELLO}"), ""), 200);
    assert_eq!(larder.get(&format!("/ac/{HELLO}"), ""), 404);
    assert_eq!(larder.stop().0, Some(0));
    let events = events(&path);
    assert_eq!(events.len(), 3, "{events:#?}");
    for (event, field, expect) in [
        (0, "peer", "127.0.0.1".into()),
        (0, "method", "http/PUT".into()),
        (0, "code", "OK".into()),
        (0, "received_bytes", 5.into()),
        (0, "sent_bytes", 0.into()),
        (0, "tool", "none".into()),
        (0, "instance", "".into()),
        (0, "digest", HELLO.into()),
        (0, "trace_id", "0af7651916cd43dd8448eb211c80319c".into()),
        (1, "method", "http/GET".into()),
        (1, "instance", "some/instance".into()),
        (1, "received_bytes", 0.into()),
        (1, "sent_bytes", 5.into()),
        (1, "trace_id", Value::Null),
        (2, "code", "NOT_FOUND".into()),
    ] {
        assert_eq!(events[event][field], expect, "{field} of {:#}", events[event]);
    }
    assert!(events.iter().all(|event| event["duration_us"].as_u64().unwrap() > 0));
}

#[test]
fn why_lines_are_lost_is_said() {
    let mut larder = Larder::start(&["--access-log-to=/dev/full".to_owned()]);
    for _ in 0..3 {
        assert_eq!(larder.put_hello(""), 200);
    }
    let lost = larder.event("the access log loses events");
    assert_eq!(lost["path"], "/dev/full");
    assert_eq!(lost["error"], "No space left on device (os error 28)");
    assert_eq!(larder.stop().0, Some(0));
    let rest = larder.rest_of_log();
    assert!(!rest.contains("the access log"), "once: {rest}");
}

#[test]
fn errors_have_a_line_whatever_the_ratio() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut larder = Larder::start(&[to(&path), "--access-log-sample-ratio=0".to_owned()]);
    assert_eq!(larder.put_hello(""), 200);
    assert_eq!(larder.get("/cas/short", ""), 400);
    assert_eq!(larder.stop().0, Some(0));
    let events = events(&path);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_pipe_that_is_full_drops_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let unwaiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let _reader: File = OpenOptions::new().read(true).custom_flags(unwaiting).open(&path).unwrap();
    let mut larder = Larder::start(&[to(&path)]);
    // Its pipe and its queue hold some 4,500.
    for _ in 0..6000 {
        assert_eq!(larder.get("/cas/short", ""), 400);
    }
    assert!(larder.metric("larder_access_log_dropped_events_total") > 0);
    assert!(larder.metric("larder_access_log_events_total") > 0);
    let (code, within) = larder.stop();
    assert_eq!(code, Some(0));
    assert!(within < Duration::from_secs(10), "{within:?}");
}

#[test]
fn a_pipe_without_a_reader_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]).arg(to(&path));
    let output = command.env_clear().env("HOME", directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("access_log.to: "), "{stderr}");
}
