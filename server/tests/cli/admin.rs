//! The admin port, and the commands that ask it.

use std::net::TcpStream;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::running::{ABSENT, Running, check, get, home, larder, put, put_hello, text};
use crate::terminal::Terminal;

/// The words of a command to a running server.
fn to_server(running: &Running, arguments: &[&str]) -> Output {
    let home = home();
    let admin = format!("--admin=http://{}", running.admin);
    larder(&home, arguments).arg(admin).output().unwrap()
}

#[test]
fn commands_ask_a_running_server() {
    let home = home();
    let config = home.path().join("larder.toml");
    std::fs::write(&config, "scrub_rate = '1MiB'\n[log]\nlevel = 'info'\n").unwrap();
    let running = Running::start(&home, &[&format!("--config={}", config.display())]);
    put_hello(TcpStream::connect(running.address).unwrap());
    let said = |output: &Output| text(&output.stdout).to_owned();

    let stats = to_server(&running, &["stats"]);
    check(&stats, 0, "");
    assert!(said(&stats).contains("usage.records                    1\n"), "{}", said(&stats));
    let stats = to_server(&running, &["stats", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said(&stats)).unwrap()["usage"]["records"], 1);

    let scrub = to_server(&running, &["scrub", "stop"]);
    check(&scrub, 0, "");
    assert!(said(&scrub).contains("is_halted                        true\n"), "{}", said(&scrub));

    let nothing = to_server(&running, &["config", "reload"]);
    check(&nothing, 0, "");
    assert_eq!(said(&nothing), "nothing changed\n");
    let settings = "scrub_rate = '2MiB'\nworkers = 3\n[log]\nlevel = 'debug'\n";
    std::fs::write(&config, settings).unwrap();
    let reloaded = to_server(&running, &["config", "reload"]);
    check(&reloaded, 0, "");
    assert_eq!(
        said(&reloaded),
        "changed          scrub_rate = 2MiB\nchanged          log.level = debug\nneeds a restart  workers\n"
    );
    let status = get(running.admin, "/statusz", "").1;
    assert!(status.contains("config.scrub_rate                2MiB\n"), "{status}");
    std::fs::write(&config, "scrub_rate = 'much'\n").unwrap();
    let refused = to_server(&running, &["config", "reload"]);
    check(&refused, 1, "not taken over");
    assert!(said(&refused).contains("scrub_rate: \"much\" is not a size"), "{}", said(&refused));

    let hot = || -> Value {
        let stats = to_server(&running, &["stats", "--json"]);
        serde_json::from_str::<Value>(&said(&stats)).unwrap()["hot"].take()
    };
    let full = hot();
    assert_eq!(full["blobs"]["entries"], 1, "{full}");
    let kept = to_server(&running, &["purge", "--unused-for=3599s 1ms"]);
    assert!(said(&kept).starts_with("removed 0 records, "), "{}", said(&kept));
    let purged = to_server(&running, &["purge", "--everything"]);
    check(&purged, 0, "");
    assert!(said(&purged).starts_with("removed 1 records, "), "{}", said(&purged));
    for (kind, empty) in hot().as_object().unwrap() {
        assert_eq!((&empty["entries"], &empty["evictions"]), (&json!(0), &json!(0)), "{kind}");
        assert_eq!(empty["limit_bytes"], full[kind]["limit_bytes"], "{kind}");
    }
    check(&to_server(&running, &["evict", "--to=1GiB"]), 0, "");
    check(&to_server(&running, &["purge"]), 2, "--everything");
    check(&to_server(&running, &["purge", "--unused-for=soon"]), 2, "is not a duration");
    check(&to_server(&running, &["purge", "--unused-for=0s"]), 2, "say --everything");
    check(&to_server(&running, &["evict", "--to=much"]), 2, "is not a size");
    for (admin, why) in [
        ("here", "is no URL such as"),
        ("https://u:p@host", "give --token-file"),
        ("http://host/path", "more than a host and a port"),
    ] {
        let refused = larder(&home, &["stats", &format!("--admin={admin}")]).output().unwrap();
        check(&refused, 2, why);
    }
    let address = running.admin;
    drop(running);
    let nobody = larder(&home, &["stats", &format!("--admin=http://{address}")]).output().unwrap();
    check(&nobody, 1, "no server answers");
}

#[test]
fn an_instance_is_purged_with_its_entries() {
    let home = home();
    let running = Running::start(&home, &[]);
    let key = "0123456789abcdef0123456789abcdef";
    let paths = ["/main/kv/a", "/kv/a", "/main/sub/kv/a", "/main/gradle/KEY", "/main/sccache/a"];
    let paths = paths.map(|path| path.replace("KEY", key));
    let found = |purged: &[&str]| {
        let output = to_server(&running, purged);
        check(&output, 0, "");
        let is_found = |path: &String| get(running.address, path, "").0 == 200;
        (text(&output.stdout).split(',').next().unwrap().to_owned(), paths.each_ref().map(is_found))
    };
    for path in &paths {
        put(TcpStream::connect(running.address).unwrap(), path, "hello");
    }
    let (removed, is_found) = found(&["purge", "--keyspace=uploads/kv/main"]);
    assert_eq!(removed, "removed 1 records");
    assert_eq!(is_found, [false, true, true, true, true]);
    let (removed, is_found) = found(&["purge", "--instance=main"]);
    assert_eq!(removed, "removed 2 records");
    assert_eq!(is_found, [false, true, true, false, false]);
    let (removed, is_found) = found(&["purge", "--instance="]);
    assert_eq!(removed, "removed 1 records", "and no blobs");
    assert_eq!(is_found, [false, false, true, false, false]);
    check(&to_server(&running, &["purge", "--instance=a", "--kind=blobs"]), 2, "cannot be used");
}

#[test]
fn the_admin_port_tells() {
    // A server whose directory is taken from it is not ready.
    let home = home();
    let running = Running::start(&home, &["--hot-capacity=1MiB"]);
    assert_eq!(get(running.admin, "/livez", ""), (200, "ok\n".to_owned()));
    assert_eq!(get(running.admin, "/readyz", ""), (200, "serving\n".to_owned()));
    get(running.address, ABSENT, "");
    put_hello(TcpStream::connect(running.address).unwrap());
    let (status, metrics) = get(running.admin, "/metrics", "");
    assert_eq!(status, 200);
    for line in [
        "larder_rpcs_total{method=\"http/GET\",code=\"NOT_FOUND\"} 1",
        "larder_rpcs_total{method=\"http/PUT\",code=\"OK\"} 1",
        "larder_blob_puts_total{outcome=\"stored\"} 1",
        "larder_disk_records 1",
        "larder_connections ",
        "process_resident_memory_bytes ",
        "larder_build_info{version=\"",
        "# TYPE larder_rpcs_total counter",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let open_metrics = "accept: application/openmetrics-text; version=1.0.0\r\n";
    let (_, metrics) = get(running.admin, "/metrics", open_metrics);
    assert!(metrics.contains("# TYPE larder_rpcs counter\n"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let (status, shown) = get(running.admin, "/statusz", "");
    assert_eq!(status, 200);
    assert!(shown.contains(&running.address.to_string()), "{shown}");
    for (path, header) in
        [("/statusz?format=json", ""), ("/statusz", "accept: application/json\r\n")]
    {
        let (_, body) = get(running.admin, path, header);
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status["phase"], "serving");
        assert_eq!(status["addresses"]["listen"], running.address.to_string());
        assert_eq!(status["config"]["hot.capacity"], "1MiB");
        assert!(status["usage"].is_object() && status["stack"].is_string(), "{status}");
    }
}

#[test]
fn top_tells_what_is_asked_for() {
    let home = home();
    let running = Running::start(&home, &[]);
    put_hello(TcpStream::connect(running.address).unwrap());
    for _ in 0..3 {
        get(running.address, &ABSENT.replace("/cas/", "/ac/"), "");
    }
    let table = to_server(&running, &["top", "--interval=200ms"]);
    check(&table, 0, "");
    let table = text(&table.stdout);
    for part in [
        "FOUND  ",
        "action results                    0.0        -         0.0%\n",
        "http/PUT  ",
        "none none  ",
    ] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    assert!(!table.contains('\x1b'), "no terminal is there to steer: {table:?}");

    let json = to_server(&running, &["top", "--json", "--interval=100ms", "--sort=sent"]);
    check(&json, 0, "");
    let activity: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(activity["tasks"][0]["misses"], 3.0, "{activity}");
    assert_eq!(activity["calls"].as_array().unwrap().len(), 2, "{activity}");
    assert!(activity["seconds"].as_f64().unwrap() >= 0.1, "{activity}");
    for interval in ["1ms", "0s", "soon", "61m", "100y"] {
        let refused = to_server(&running, &["top", &format!("--interval={interval}")]);
        check(&refused, 2, "is not a duration from 100ms to 1h");
    }
    check(
        &to_server(&running, &["top", "--sort=colour"]),
        2,
        "possible values: misses, saved, rate, sent",
    );
}

#[test]
fn top_waits_for_a_server_that_is_away() {
    let home = home();
    let running = Running::start(&home, &[]);
    let admin = running.admin;
    let url = format!("--admin=http://{admin}");
    let terminal = Terminal::run(larder(&home, &["top", "--interval=100ms", &url]), (50, 80));
    terminal.await_text("FOUND ");
    drop(running);
    terminal.await_text("away       the server has not answered for ");
    let again = Running::start(&home, &[&format!("--admin-listen={admin}")]);
    assert_eq!(again.admin, admin);
    terminal.await_text("TASKS by misses");
}

#[test]
fn output_that_nobody_reads_to_its_end_is_no_failure() {
    let running = Running::start(&home(), &[]);
    let home = home();
    let mut stats = larder(&home, &["stats"]);
    stats.arg(format!("--admin=http://{}", running.admin));
    let mut child = stats.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn without_tls_on_both_sides_that_is_said() {
    let running = Running::start(&home(), &[]);
    let admin = format!("--admin=https://{}", running.admin);
    let output = larder(&home(), &["stats", &admin]).output().unwrap();
    check(&output, 1, "no TLS with the server");
}

#[test]
fn a_setting_that_nobody_says_any_more_needs_a_restart() {
    let home = home();
    let config = home.path().join("larder.toml");
    std::fs::write(&config, "workers = 1\n").unwrap();
    let running = Running::start(&home, &[&format!("--config={}", config.display())]);
    // What the machine decided at the start, such as max_size, holds; what the file said then it decides anew.
    std::fs::write(&config, "workers = 1\nmax_size = '1GiB'\n").unwrap();
    let reloaded = to_server(&running, &["config", "reload"]);
    assert_eq!(text(&reloaded.stdout), "needs a restart  max_size\n");
    std::fs::write(&config, "").unwrap();
    let reloaded = to_server(&running, &["config", "reload"]);
    let cores = std::thread::available_parallelism().unwrap().get();
    let expect = if cores == 1 { "nothing changed\n" } else { "needs a restart  workers\n" };
    assert_eq!(text(&reloaded.stdout), expect);
}
