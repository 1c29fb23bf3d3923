//! The log: where nobody reads it any more, what its lines carry, and its level anew.

use std::process::Command;
use std::time::Duration;

use crate::larder::Larder;

/// More lines than its pipe and its queue hold: a refusal is one at this level.
const REQUESTS: usize = 6000;

#[test]
fn a_stalled_reader_of_the_log_stops_neither_requests_nor_the_end() {
    let mut larder = Larder::start(&["--log-level=debug".to_owned()]);
    for _ in 0..REQUESTS {
        assert_eq!(larder.get("/cas/short", ""), 400);
    }
    assert!(larder.metric("larder_log_dropped_lines_total") > 0);
    let (code, within) = larder.stop();
    assert_eq!(code, Some(0));
    // A second for the log; its reader has had its chance.
    assert!(within < Duration::from_secs(10), "{within:?}");
}

#[test]
fn all_lines_are_written_where_they_are_read() {
    let mut larder = Larder::start(&[]);
    let (code, _) = larder.stop();
    assert_eq!(code, Some(0));
    larder.event("stopped");
}

#[test]
fn lines_of_a_request_carry_its_trace() {
    // Its collector need not be there.
    let arguments =
        ["--traces-endpoint=http://127.0.0.1:9".to_owned(), "--log-level=debug".to_owned()];
    for (mut larder, expect) in [
        (Larder::start(&arguments), r#""trace_id":"0af7651916cd43dd8448eb211c80319c""#),
        (Larder::start_human(&arguments), "trace_id=0af7651916cd43dd8448eb211c80319c"),
    ] {
        for flags in ["00", "01"] {
            let parent = format!(
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}\r\n"
            );
            assert_eq!(larder.get("/cas/short", &parent), 400);
        }
        assert_eq!(larder.stop().0, Some(0));
        let log = larder.rest_of_log();
        let refusals: Vec<_> =
            log.lines().filter(|line| line.contains("request refused")).collect();
        assert_eq!(refusals.len(), 2, "{log}");
        assert!(refusals.iter().all(|line| line.contains(expect)), "{expect} is not in {log}");
    }
}

#[test]
fn a_reload_changes_what_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("larder.toml");
    std::fs::write(&config, "[log]\nlevel = 'info'\n").unwrap();
    // Its collector need not be there; its layer is beside the log's.
    let traces = "--traces-endpoint=http://127.0.0.1:9".to_owned();
    let mut larder = Larder::start(&[format!("--config={}", config.display()), traces]);
    assert_eq!(larder.get("/cas/before", ""), 400);
    std::fs::write(&config, "[log]\nlevel = 'debug'\n").unwrap();
    let mut reload = Command::new(env!("CARGO_BIN_EXE_larder"));
    reload.args(["config", "reload", &format!("--admin=http://{}", larder.admin)]).env_clear();
    assert!(reload.output().unwrap().status.success());
    assert_eq!(larder.get("/cas/after", ""), 400);
    assert_eq!(larder.stop().0, Some(0));
    let log = larder.rest_of_log();
    assert_eq!(log.lines().filter(|line| line.contains("request refused")).count(), 1, "{log}");
}
