//! [`Larder`]: the binary under test, and requests to it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// SHA-256 of `hello`.
pub(crate) const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// The binary under test, over a home of its own. What it logs is read as far as a test asks for it, no further.
pub(crate) struct Larder {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    _home: TempDir,
}

impl Larder {
    /// Starts it with a log of JSON.
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::spawn("json", arguments, |stderr| {
            let listening = event(stderr, "listening");
            let address = |name: &str| listening[name].as_str().unwrap().parse().unwrap();
            (address("address"), address("admin_address"))
        })
    }

    /// Starts it with a log for people.
    pub(crate) fn start_human(arguments: &[String]) -> Self {
        Self::spawn("human", arguments, |stderr| {
            let address = after(stderr, " is listening on ").parse().unwrap();
            let admin = after(stderr, "admin   http://");
            (address, admin.trim_end_matches("/statusz").parse().unwrap())
        })
    }

    fn spawn(
        format: &str,
        arguments: &[String],
        addresses: impl FnOnce(&mut BufReader<ChildStderr>) -> (SocketAddr, SocketAddr),
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]);
        command.arg(format!("--log-format={format}")).arg("--workers=2").args(arguments);
        command.env_clear().env("HOME", home.path()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (address, admin) = addresses(&mut stderr);
        Self { child, stderr, address, admin, _home: home }
    }

    /// What is logged from here to its end.
    pub(crate) fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for the log event with this message.
    pub(crate) fn event(&mut self, message: &str) -> Value {
        event(&mut self.stderr, message)
    }

    /// SIGTERM; the exit code, and how long it took. What is logged meanwhile is not read.
    #[expect(clippy::disallowed_methods, reason = "a thread of the test that waits for a process")]
    pub(crate) fn stop(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "the server did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stores `hello`; the status.
    pub(crate) fn put_hello(&self, headers: &str) -> u16 {
        exchange(self.address, "PUT", &format!("/cas/{HELLO}"), headers, "hello").0
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> u16 {
        exchange(self.address, "GET", path, headers, "").0
    }

    /// The value of a metric without labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = exchange(self.admin, "GET", "/metrics", "", "");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }
}

impl Drop for Larder {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The rest of the next line that has these words.
fn after(stderr: &mut BufReader<ChildStderr>, words: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the log ended before {words:?}");
        if let Some((_, rest)) = line.split_once(words) {
            return rest.trim_end().to_owned();
        }
    }
}

fn event(stderr: &mut BufReader<ChildStderr>, message: &str) -> Value {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the log ended before {message:?}");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        if event["message"] == message {
            return event;
        }
    }
    panic!("no event {message:?}")
}

/// Status and body of one exchange.
pub(crate) fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    write!(request, "{headers}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
