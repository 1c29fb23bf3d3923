//! What the log says of admins' orders: who gave them, from where, and what came of them.

use std::fs;
use std::path::Path;

use larder_protos::{Digest, DigestFunction};
use serde_json::{Value, json};

use crate::larder::{Larder, exchange};

const BOSS: &str = "boss-0123456789abcdef01234567";
const CI: &str = "ci-0123456789abcdef0123456789";

/// Somebody with each role, as the file of credentials has them.
fn credentials() -> String {
    let line = |name: &str, role: &str, token: &str| {
        let hash = Digest::of(DigestFunction::Sha256, token.as_bytes()).hash().to_string();
        format!("{name} {role} token sha256:{hash}\n")
    };
    line("boss", "admin", BOSS) + &line("ci", "write", CI)
}

/// A server with credentials, its profiles on, and the file that it is set up by.
fn larder(directory: &Path) -> (Larder, impl Fn(&str)) {
    let (config, file) = (directory.join("larder.toml"), directory.join("credentials"));
    fs::write(&file, credentials()).unwrap();
    let write = move |settings: &str| {
        let auth = format!("[auth]\ncredentials_file = '{}'\n", file.display());
        fs::write(&config, format!("debug_profiles = true\n{settings}\n{auth}")).unwrap();
    };
    write("scrub_rate = '1MiB'");
    let config = directory.join("larder.toml");
    (Larder::start(&[format!("--config={}", config.display())]), write)
}

fn asked(larder: &Larder, token: &str, method: &str, path: &str, body: &str) -> u16 {
    let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    exchange(larder.admin, method, path, &headers, body).0
}

/// The events of a log that was read to its end.
fn events(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// Whether one of them has all that is expected.
#[track_caller]
fn assert_told(events: &[Value], expect: Value) {
    let expect = expect.as_object().unwrap();
    let is_it = |event: &&Value| expect.iter().all(|(field, value)| event[field] == *value);
    assert!(events.iter().any(|event| is_it(&event)), "{expect:?} is not in {events:#?}");
}

#[test]
fn orders_are_told_with_who_gave_them() {
    let directory = tempfile::tempdir().unwrap();
    let (mut larder, write) = larder(directory.path());
    let boss = |path: &str, body: &str| asked(&larder, BOSS, "POST", path, body);
    assert_eq!(boss("/admin/v1/purge", r#"{"kind":"blobs","keyspace":"main"}"#), 200);
    assert_eq!(boss("/admin/v1/purge", "{}"), 400);
    assert_eq!(boss("/admin/v1/evict", r#"{"to_bytes":1000}"#), 200);
    assert_eq!(boss("/admin/v1/scrub", r#""stop""#), 200);
    write("scrub_rate = '2MiB'\nsync_interval = '2s'");
    assert_eq!(boss("/admin/v1/reload", ""), 200);
    write("scrub_rate = 'much'");
    assert_eq!(boss("/admin/v1/reload", ""), 200);
    assert_eq!(asked(&larder, CI, "POST", "/admin/v1/purge", r#"{"everything":true}"#), 403);
    assert_eq!(larder.stop().0, Some(0));
    let log = larder.rest_of_log();
    assert!(!log.contains("Reloaded"), "fields, not structures of the program: {log}");
    let events = events(&log);
    let (caller, peer) = ("boss", "127.0.0.1");
    let begun = "an admin's order begins";
    let through = "an admin's order is through";
    assert_told(
        &events,
        json!({"message": begun, "order": "purge", "caller": caller, "peer": peer, "kind": "blobs",
               "keyspace": "main", "everything": false, "hash": null, "instance": null, "unused_for_s": null}),
    );
    assert_told(
        &events,
        json!({"message": through, "order": "purge", "caller": caller, "peer": peer, "state": "done",
               "records": 0, "bytes": 0}),
    );
    assert_told(
        &events,
        json!({"message": "an admin's order is refused", "order": "purge", "caller": caller, "peer": peer,
               "reason": "say what to purge: hash, keyspace, instance, kind, unused_for_s, or everything"}),
    );
    assert_told(
        &events,
        json!({"message": begun, "order": "evict", "caller": caller, "peer": peer, "to_bytes": 1000}),
    );
    assert_told(&events, json!({"message": through, "order": "evict", "caller": caller}));
    assert_told(
        &events,
        json!({"message": through, "order": "scrub", "caller": caller, "peer": peer, "action": "stop"}),
    );
    assert_told(
        &events,
        json!({"message": "configuration read again", "level": "INFO", "order": "reload", "caller": caller,
               "peer": peer, "changed": "scrub_rate = 2MiB", "needs_restart": "sync_interval"}),
    );
    let refused = "configuration not taken over as it is";
    let refused = events.iter().find(|event| event["message"] == refused).expect("it is told");
    assert_eq!((&refused["level"], &refused["caller"]), (&json!("WARN"), &json!(caller)));
    let problems = refused["problems"].as_str().unwrap();
    assert!(problems.starts_with("scrub_rate: \"much\" is not a size"), "{refused}");
    assert_told(
        &events,
        json!({"message": "not from an admin", "level": "WARN", "peer": peer,
               "reason": "ci has the role write, and this needs admin"}),
    );
    assert!(!log.contains(BOSS) && !log.contains(CI), "no secrets");
}

#[test]
fn profiles_are_told_with_who_asked_for_them_and_by_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let (mut larder, _) = larder(directory.path());
    let boss = |path: &str| asked(&larder, BOSS, "GET", path, "");
    assert_eq!(boss("/debug/pprof/profile?second=1"), 400);
    assert_eq!(boss("/debug/pprof/flamegraph?seconds=1"), 200);
    assert_eq!(boss("/debug/pprof/heap/flamegraph"), 200);
    // What HEAD asks for is not looked at.
    assert_eq!(asked(&larder, BOSS, "HEAD", "/debug/pprof/profile?seconds=300", ""), 200);
    assert_eq!(asked(&larder, BOSS, "HEAD", "/debug/pprof/profile?seconds=301", ""), 400);
    assert_eq!(larder.stop().0, Some(0));
    let log = larder.rest_of_log();
    let events = events(&log);
    let (order, caller, peer) = ("profile", "boss", "127.0.0.1");
    for expect in [
        json!({"message": "an admin's order is refused", "order": order, "caller": caller, "peer": peer,
               "reason": "\"second=1\" is not seconds=N"}),
        json!({"message": "profiling the CPU", "order": order, "caller": caller, "peer": peer, "seconds": 1}),
        json!({"message": "profiling the memory", "order": order, "caller": caller, "peer": peer}),
    ] {
        assert_told(&events, expect);
    }
    let begun = events.iter().filter(|event| event["message"] == "profiling the CPU");
    assert_eq!(begun.count(), 1, "{log}");
    for event in &events {
        let target = event["target"].as_str().unwrap();
        assert!(target.starts_with("larder_"), "a line of a library: {event}");
    }
}
