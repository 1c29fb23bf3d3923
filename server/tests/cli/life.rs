//! The life of a server, from its start, or why there is none, to the end of its drain.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder_protos::{Digest, DigestFunction};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::running::{ABSENT, PATIENCE, Running, check, get, home, larder, put_hello, text};

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
fn a_hang_up_reads_the_configuration_again() {
    let home = home();
    let config = home.path().join("larder.toml");
    std::fs::write(&config, "scrub_rate = '1MiB'\n").unwrap();
    let mut running = Running::start(&home, &[&format!("--config={}", config.display())]);
    std::fs::write(&config, "scrub_rate = '2MiB'\nworkers = 3\n").unwrap();
    running.signal(Signal::HUP);
    let read = running.event("configuration read again");
    let said = [&read["caller"], &read["changed"], &read["needs_restart"]];
    assert_eq!(said, ["SIGHUP", "scrub_rate = 2MiB", "workers"]);
    std::fs::write(&config, "scrub_rate = 'much'\n").unwrap();
    running.signal(Signal::HUP);
    running.event("configuration not taken over as it is");
    assert_eq!(get(running.address, ABSENT, "").0, 404);
    running.signal(Signal::TERM);
    running.event("stopped");
    assert_eq!(running.exit_code(), Some(0));
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
    // Half of them, and of few fewer: some are open already, a few more while the store loads.
    for (open_files, most) in [(128, 64), (64, 24)] {
        let home = home();
        let running = Running::spawn(with_open_files(open_files, &home));
        let connect = |_| TcpStream::connect(running.address).unwrap();
        let mut connections: Vec<_> = (0..100).map(connect).collect();
        let refusal = running.event("too many connections");
        let limit = refusal["limit"].as_u64().unwrap();
        assert!((1..=most).contains(&limit), "{limit} of {open_files}");
        // While all places are taken, descriptors are left for who asks how it is, and for what is opened to store this.
        assert_eq!(get(running.admin, "/readyz", "").0, 200);
        put_hello(connections.swap_remove(0));
    }
}

/// A server that may have so many files open.
fn with_open_files(limit: u32, home: &TempDir) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_larder"), "serve", "--workers=1"]);
    command.env_clear().env("HOME", home.path());
    command
}

#[test]
fn too_few_file_descriptors_end_nothing() {
    let home = home();
    let mut running = Running::spawn(with_open_files(48, &home));
    // Its limit is above what is left.
    let connect = |_| TcpStream::connect(running.admin).unwrap();
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
fn a_pipe_that_nobody_reads_is_not_waited_for() {
    let home = home();
    let pipe = home.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let trace = format!("--trace-file={}", pipe.display());
    let ports = ["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", &trace];
    let output = larder(&home, &ports).output().unwrap();
    check(&output, 1, "pipe");
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

#[test]
fn that_nobody_is_trusted_is_said() {
    let home = home();
    for argument in ["--traces-endpoint=https://127.0.0.1:1", "--fetch-enabled"] {
        let mut command = larder(&home, &["serve", "--fetch-allow=127.0.0.1", argument]);
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
        let running = Running::spawn_only(command);
        let said =
            running.event("the system has no trusted certificates: nothing is had over https");
        assert!(said["errors"].to_string().contains("/nonexistent"), "{said}");
    }
}

/// How a server ends that has this data directory, in a mount namespace after `prepare`; `None` where this user may not make one.
fn refused_data_dir(prepare: &str, data_dir: &str) -> Option<String> {
    let script = format!(
        "{prepare} && exec setpriv --reuid=65534 --clear-groups --bounding-set=-all -- \"$0\" serve \
         --listen=127.0.0.1:0 --admin-listen=127.0.0.1:0 --data-dir={data_dir}"
    );
    let binary = env!("CARGO_BIN_EXE_larder");
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script, binary]).output();
    let output = output.unwrap();
    let stderr = text(&output.stderr);
    if stderr.starts_with("unshare: ") || stderr.starts_with("mount: ") {
        return None;
    }
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    Some(stderr.to_owned())
}

#[test]
fn a_data_directory_that_cannot_be_written_says_what_to_do() {
    let home = home();
    let path = home.path().to_str().unwrap();
    let denied = format!(
        "larder: user 65534 may not read and write the data directory: give it to that user, or \
                          choose another directory with --data-dir: create {path}/data"
    );
    let read_only = format!(
        "larder: the data directory is on a read-only file system and holds nothing to serve: mount it \
                             writable, or choose another directory with --data-dir: create {path}/data"
    );
    let mount = format!("mount -t tmpfs none {path} && chmod 755 {path} && mkdir {path}/data");
    let data = format!("{path}/data");
    let remount = format!("{mount} && mount -o remount,ro {path}");
    for (prepare, data_dir, expect) in [
        (&mount, &data, format!("{denied}/packs: Permission denied (os error 13)\n")),
        (
            &mount,
            &format!("{data}/new"),
            format!("{denied}/new: Permission denied (os error 13)\n"),
        ),
        (&remount, &data, format!("{read_only}/packs: Read-only file system (os error 30)\n")),
        (
            &remount,
            &format!("{data}/new"),
            format!("{read_only}/new: Read-only file system (os error 30)\n"),
        ),
    ] {
        let Some(stderr) = refused_data_dir(prepare, data_dir) else { return };
        assert_eq!(stderr, expect);
    }
}
