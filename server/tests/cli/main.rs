//! The binary from outside: its words, its exit codes, its life from start to drain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use larder_protos::{Digest, DigestFunction};
use larder_server::config::SETTINGS;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A blob that nobody has.
const ABSENT: &str = "/cas/1111111111111111111111111111111111111111111111111111111111111111";

/// `larder` in an environment that holds nothing but a home.
fn larder(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env_clear().env("HOME", home.path());
    command
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, stderr: &str) {
    let actual = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{actual}");
    assert!(actual.contains(stderr), "{stderr:?} is not in {actual:?}");
}

#[test]
fn wrong_words_are_usage() {
    for (arguments, stderr) in [
        (&[][..], "Usage: larder"),
        (&["sevre"], "unrecognized subcommand"),
        (&["serve", "--lisen=x"], "unexpected argument"),
        (&["check-config"], "required arguments"),
        (&["serve", "--workers=many"], "workers: \"many\" is not a whole number"),
    ] {
        check(&larder(&home(), arguments).output().unwrap(), 2, stderr);
    }
}

#[test]
fn version_goes_to_standard_output() {
    let output = larder(&home(), &["--version"]).output().unwrap();
    check(&output, 0, "");
    assert_eq!(text(&output.stdout), concat!("larder ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_names_every_setting_in_all_its_forms() {
    let output = larder(&home(), &["serve", "--help"]).output().unwrap();
    let help = text(&output.stdout);
    for setting in SETTINGS {
        for form in [
            format!("--{}", setting.flag()),
            format!("[env: {}]", setting.variable()),
            format!("[key: {}]", setting.key),
        ] {
            assert!(help.contains(&form), "{form} is not in {help}");
        }
    }
}

#[test]
fn every_setting_is_a_flag_and_a_variable() {
    // No setting takes an empty text, so each that is read complains; all of them at once.
    let flags: Vec<_> = SETTINGS.iter().map(|setting| format!("--{}=", setting.flag())).collect();
    let home = home();
    let mut by_flag = larder(&home, &["serve"]);
    by_flag.args(&flags);
    let mut by_variable = larder(&home, &["serve"]);
    by_variable.envs(SETTINGS.iter().map(|setting| (setting.variable(), "")));
    for (mut command, prefix) in [(by_flag, "--"), (by_variable, "LARDER_")] {
        let output = command.output().unwrap();
        check(&output, 2, prefix);
        let problems = text(&output.stderr);
        assert_eq!(problems.lines().count(), SETTINGS.len(), "{problems}");
        for setting in SETTINGS {
            let name = match prefix {
                "--" => format!("--{}", setting.flag()),
                _ => setting.variable(),
            };
            let mut lines = problems.lines();
            assert!(
                lines.any(|line| line.starts_with(&format!("{}: \"\" is not ", setting.key))
                    && line.ends_with(&format!("(from {name})"))),
                "{name} is not in {problems}"
            );
        }
    }
}

#[test]
fn listening_beyond_loopback_is_refused() {
    for arguments in [["serve", "--listen=0.0.0.0:0"], ["serve", "--listen=[::]:0"]] {
        check(&larder(&home(), &arguments).output().unwrap(), 2, "--unsafe-anonymous");
    }
}

#[test]
fn check_config_shows_every_problem_or_what_is_in_effect() {
    let home = home();
    let path = home.path().join("larder.toml");
    let arguments = ["check-config", path.to_str().unwrap()];
    check(&larder(&home, &arguments).output().unwrap(), 1, "larder.toml: No such file");

    std::fs::write(&path, "lisen = 'x'\nworkers = 0\n[hot]\ncapacity = '12 apples'\n").unwrap();
    let output = larder(&home, &arguments).output().unwrap();
    check(&output, 1, "lisen: unknown setting; did you mean listen?\n");
    check(&output, 1, "workers: \"0\" is not a whole number from 1 on");
    check(&output, 1, "hot.capacity: \"12 apples\" is not a size");
    assert_eq!(text(&output.stderr).lines().count(), 3);

    std::fs::write(&path, "max_size = '20MiB'\n[hot]\ncapacity = 0\n").unwrap();
    let output = larder(&home, &arguments).output().unwrap();
    check(&output, 0, "");
    let shown = text(&output.stdout).strip_prefix("ok\n").unwrap();
    assert!(shown.contains("max_size = \"20MiB\"\n"), "{shown}");

    // What it shows is a configuration again, with the same effect.
    std::fs::write(&path, shown).unwrap();
    let again = larder(&home, &arguments).output().unwrap();
    assert_eq!(text(&again.stdout).strip_prefix("ok\n"), Some(shown));
}

/// What `hash-credential` makes of a secret.
fn hash_credential(arguments: &[&str], secret: &str) -> Output {
    let mut command = larder(&home(), &["hash-credential"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _closed = child.stdin.take().unwrap().write_all(secret.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_secret_becomes_a_line_of_the_credentials_file() {
    let token = "0123456789abcdef01234567\n";
    let output = hash_credential(&["ci", "--role=write"], token);
    check(&output, 0, "");
    let line = text(&output.stdout).to_owned();
    assert!(line.starts_with("ci write token sha256:"), "{line}");
    let password = hash_credential(&["alice", "--role=read", "--kind=password"], "long enough\n");
    assert!(text(&password.stdout).starts_with("alice read password $argon2id$v=19$"));
    for (arguments, secret, code, stderr) in [
        (&["ci"][..], token, 2, "--role"),
        (&["ci", "--role=root"], token, 2, "root"),
        (&["c:i", "--role=read"], token, 1, "NAME: the name is not"),
        (&["ci", "--role=read"], "hunter2\n", 1, "has 7 B, below the limit of 24 B for a token"),
    ] {
        let output = hash_credential(arguments, secret);
        check(&output, code, stderr);
        assert!(!text(&output.stderr).contains(secret.trim()), "{:?}", text(&output.stderr));
    }

    let home = home();
    let path = home.path().join("credentials");
    std::fs::write(&path, line).unwrap();
    let file = format!("--auth-credentials-file={}", path.display());
    let running = Running::start(&home, &[&file]);
    assert_eq!(get(running.address, ABSENT, "").0, 401);
    let bearer = format!("authorization: Bearer {token}\r\n").replace("\n\r", "\r");
    assert_eq!(get(running.address, ABSENT, &bearer).0, 404);
    assert_eq!(get(running.admin, "/readyz", "").0, 200);
    assert_eq!(get(running.admin, "/statusz", "").0, 401);
    assert_eq!(get(running.admin, "/statusz", &bearer).0, 200);
}

/// A server that is killed, should a test end early.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    fn start(home: &TempDir, arguments: &[&str]) -> Self {
        let mut command = larder(home, &["serve"]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Adds the ports to a command that serves, and waits until it does.
    fn spawn(command: Command) -> Self {
        let mut running = Self::spawn_only(command);
        let event = running.event("listening");
        running.address = event["address"].as_str().unwrap().parse().unwrap();
        running.admin = event["admin_address"].as_str().unwrap().parse().unwrap();
        assert_eq!(event["bazel"], format!("--remote_cache=grpc://{}", running.address));
        running
    }

    /// The same without waiting; the addresses are not known then.
    fn spawn_only(mut command: Command) -> Self {
        command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|x| sender.send(x))
        });
        let nowhere = "127.0.0.1:0".parse().unwrap();
        Self { child, lines, address: nowhere, admin: nowhere }
    }

    /// Waits for the log event with this message.
    fn event(&self, message: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if event["message"] == message {
                return event;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        // Its end closes standard error, which is all that is waited for.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server did not end");
            thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Status and body of a GET.
fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn put_hello(mut stream: TcpStream) {
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let head = "host: x\r\nconnection: close\r\ncontent-length: 5";
    write!(stream, "PUT /cas/{hash} HTTP/1.1\r\n{head}\r\n\r\nhello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn serves_until_sigterm() {
    let home = home();
    let mut running = Running::start(&home, &[]);
    assert_ne!(running.address.port(), 0);
    assert_eq!(get(running.address, ABSENT, "").0, 404);
    assert!(home.path().join(".cache/larder").is_dir());
    running.signal(Signal::TERM);
    running.event("draining");
    running.event("stopped");
    assert_eq!(running.exit_code(), Some(0));
    assert!(TcpStream::connect(running.address).is_err());
}

#[test]
fn a_drain_waits_for_uploads_and_a_second_signal_does_not() {
    let mut running = Running::start(&home(), &["--drain-timeout=1h", "--workers=1"]);
    let mut stream = TcpStream::connect(running.address).unwrap();
    write!(stream, "PUT {ABSENT} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1").unwrap();
    // The one worker has seen this part of the upload once it has answered a later request.
    get(running.address, ABSENT, "");
    running.signal(Signal::TERM);
    running.event("draining");
    assert_eq!(get(running.admin, "/readyz", ""), (503, "draining\n".to_owned()));
    assert_eq!(get(running.admin, "/livez", "").0, 200);
    running.signal(Signal::INT);
    running.event("drain cut short");
    assert_eq!(running.exit_code(), Some(0));
}

/// An upload over a connection of its own, in pieces with pauses between; `None` where the connection was not taken, and else the
/// first line of the answer.
fn slow_put(address: SocketAddr, seed: u64, begun: &AtomicU64) -> Option<String> {
    const PIECES: usize = 40;
    let content: Vec<u8> = (0..PIECES * 8_192).map(|at| (at as u64 * seed % 251) as u8).collect();
    let digest = Digest::of(DigestFunction::Sha256, &content);
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (hash, length) = (digest.hash(), content.len());
    let head = format!("PUT /cas/{hash} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    for (number, piece) in content.chunks(8_192).enumerate() {
        stream.write_all(piece).unwrap();
        if number == 1 {
            begun.fetch_add(1, Ordering::SeqCst);
        }
        thread::park_timeout(Duration::from_millis(25));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Some(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn sigterm_under_load_costs_no_upload_that_has_begun() {
    const UPLOADS: u64 = 24;
    let home = home();
    let mut running = Running::start(&home, &["--drain-timeout=20s", "--workers=2"]);
    let (address, begun) = (running.address, Arc::new(AtomicU64::new(0)));
    let uploads: Vec<_> = (1..=UPLOADS)
        .map(|seed| {
            let begun = Arc::clone(&begun);
            thread::spawn(move || slow_put(address, seed, &begun))
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while begun.load(Ordering::SeqCst) < UPLOADS {
        assert!(Instant::now() < deadline, "{begun:?} of {UPLOADS} have begun");
        thread::yield_now();
    }
    // What the clients have sent, the server has read.
    thread::park_timeout(Duration::from_millis(200));
    let signalled = Instant::now();
    running.signal(Signal::TERM);
    for upload in uploads {
        let answer = upload.join().unwrap();
        assert_eq!(answer.as_deref(), Some("HTTP/1.1 200 OK"));
    }
    assert_eq!(running.exit_code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(20), "{:?}", signalled.elapsed());

    let again = Running::start(&home, &[]);
    let metrics = get(again.admin, "/metrics", "").1;
    let stored = format!("larder_disk_records {UPLOADS}\n");
    assert!(metrics.contains(&stored), "{stored} is not in {metrics}");
}

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

    let purged = to_server(&running, &["purge", "--everything"]);
    check(&purged, 0, "");
    assert!(said(&purged).starts_with("removed 1 records, "), "{}", said(&purged));
    check(&to_server(&running, &["evict", "--to=1GiB"]), 0, "");
    check(&to_server(&running, &["purge"]), 2, "--everything");
    check(&to_server(&running, &["purge", "--unused-for=soon"]), 1, "is not a duration");
    let address = running.admin;
    drop(running);
    let nobody = larder(&home, &["stats", &format!("--admin=http://{address}")]).output().unwrap();
    check(&nobody, 1, "no server answers");
}

/// A server whose store does not open until somebody reads the returned path: the lock is a pipe.
fn starting(home: &TempDir) -> (Running, PathBuf) {
    let data_dir = home.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let lock = data_dir.join("lock");
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let mut command = larder(home, &["serve", "--log-level=debug"]);
    command.arg(format!("--data-dir={}", data_dir.display()));
    let running = Running::spawn_only(command);
    running.event("opening the store");
    (running, lock)
}

#[test]
fn a_signal_while_the_store_opens_waits_for_it() {
    let home = home();
    let (mut running, lock) = starting(&home);
    running.signal(Signal::TERM);
    running.event("stopping once the store is open");
    let _reader = std::fs::File::open(lock).unwrap();
    running.event("draining");
    running.event("stopped");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn a_second_signal_while_the_store_opens_does_not_wait() {
    let home = home();
    let (mut running, _lock) = starting(&home);
    running.signal(Signal::TERM);
    running.event("stopping once the store is open");
    running.signal(Signal::TERM);
    running.event("start cut short");
    assert_eq!(running.exit_code(), Some(0));
}

#[test]
fn few_file_descriptors_mean_few_connections() {
    let home = home();
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "ulimit -n 128; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_larder"),
        "serve",
    ]);
    command.env_clear().env("HOME", home.path()).arg("--workers=1");
    let running = Running::spawn(command);
    let connect = |_| TcpStream::connect(running.address).unwrap();
    let mut connections: Vec<_> = (0..100).map(connect).collect();
    let refusal = running.event("too many connections");
    assert_eq!(refusal["limit"], 64);
    // While all places are taken, descriptors are left for what is opened to store this.
    put_hello(connections.swap_remove(0));
}

#[test]
fn too_few_file_descriptors_end_nothing() {
    let home = home();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_larder"), "serve"]);
    command.env_clear().env("HOME", home.path()).arg("--workers=1");
    let mut running = Running::spawn(command);
    let connect = |_| TcpStream::connect(running.address).unwrap();
    let connections: Vec<_> = (0..100).map(connect).collect();
    running.event("no connection can be accepted");
    drop(connections);
    assert_eq!(get(running.address, ABSENT, "").0, 404);
    running.signal(Signal::TERM);
    let mut failures = 0;
    while let Ok(line) = running.lines.recv_timeout(PATIENCE) {
        failures += usize::from(line.contains("no connection can be accepted"));
    }
    assert!(failures < 20, "the acceptor spins: {failures} failures");
    assert_eq!(running.exit_code(), Some(0));
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
fn what_is_taken_says_what_to_do() {
    let home_in_use = home();
    let running = Running::start(&home_in_use, &[]);
    let used = running.address;
    let other_home = home();
    for (home, address, expect) in [
        (
            &other_home,
            used.to_string(),
            format!("larder: {used} is in use, perhaps by another larder"),
        ),
        // Kept for documentation by RFC 5737, so no machine has it.
        (
            &other_home,
            "192.0.2.1:1".to_owned(),
            "larder: cannot listen on 192.0.2.1:1 (--listen): ".to_owned(),
        ),
        (
            &home_in_use,
            "127.0.0.1:0".to_owned(),
            "choose another directory with --data-dir\n".to_owned(),
        ),
    ] {
        let listen = format!("--listen={address}");
        let arguments = ["serve", &listen, "--admin-listen=127.0.0.1:0", "--unsafe-anonymous"];
        let output = larder(home, &arguments).output().unwrap();
        check(&output, 1, &expect);
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    }
}

#[test]
fn people_get_a_banner() {
    let home = home();
    let ports = ["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"];
    let mut command = larder(&home, &ports);
    let mut child = command.arg("--log-format=human").stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let lines: Vec<_> =
        stderr.lines().map_while(Result::ok).take_while(|line| !line.contains("admin")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let banner = lines.join("\n");
    for part in ["--remote_cache=grpc://127.0.0.1:", "--remote_cache=http://127.0.0.1:", "data"] {
        assert!(banner.contains(part), "{part} is not in {banner}");
    }
}
