//! [`Running`]: the binary while it serves, and what the tests ask it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A blob that nobody has.
pub(crate) const ABSENT: &str =
    "/cas/1111111111111111111111111111111111111111111111111111111111111111";

/// `larder` in an environment that holds nothing but a home.
pub(crate) fn larder(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env_clear().env("HOME", home.path());
    command
}

pub(crate) fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
pub(crate) fn check(output: &Output, code: i32, stderr: &str) {
    let actual = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{actual}");
    assert!(actual.contains(stderr), "{stderr:?} is not in {actual:?}");
}

/// A server that is killed, should a test end early.
pub(crate) struct Running {
    child: Child,
    pub(crate) lines: mpsc::Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Running {
    pub(crate) fn start(home: &TempDir, arguments: &[&str]) -> Self {
        let mut command = larder(home, &["serve"]);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Adds the ports to a command that serves, and waits until it does.
    pub(crate) fn spawn(command: Command) -> Self {
        let mut running = Self::spawn_only(command);
        let event = running.event("listening");
        running.address = event["address"].as_str().unwrap().parse().unwrap();
        running.admin = event["admin_address"].as_str().unwrap().parse().unwrap();
        assert_eq!(event["bazel"], format!("--remote_cache=grpc://{}", running.address));
        running
    }

    /// The same without waiting; the addresses are not known then.
    pub(crate) fn spawn_only(mut command: Command) -> Self {
        command.arg("--listen=127.0.0.1:0");
        let is_said = |arg: &OsStr| arg.to_string_lossy().starts_with("--admin-listen=");
        if !command.get_args().any(is_said) {
            command.arg("--admin-listen=127.0.0.1:0");
        }
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
    pub(crate) fn event(&self, message: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if event["message"] == message {
                return event;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
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
pub(crate) fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn put_hello(stream: TcpStream) {
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    put(stream, &format!("/cas/{hash}"), "hello");
}

/// Stores what is not there yet, or is.
pub(crate) fn put(mut stream: TcpStream, path: &str, body: &str) {
    let head = format!("host: x\r\nconnection: close\r\ncontent-length: {}", body.len());
    write!(stream, "PUT {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}
