//! The transport with real sockets and hand-written bytes.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Instant;

use http_body_util::Full;
use tower::service_fn;

use super::*;
use crate::config::{ListenAddress, SocketMode};
use crate::telemetry::{Observed, Sinks};

/// Longer than anything here takes, shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

struct Running {
    transport: Transport,
    address: SocketAddr,
    metrics: Arc<TransportMetrics>,
    /// Told when a request to `/slow` or `/never` has begun.
    begun: mpsc::Receiver<()>,
}

/// Answers with the name of the worker's thread.
fn start(max_connections: usize, drain_timeout: Duration) -> Running {
    let (beginning, begun) = mpsc::channel();
    let service = service_fn(move |request: Request<Incoming>| -> Answer {
        let beginning = beginning.clone();
        Box::pin(async move {
            match request.uri().path() {
                "/slow" => {
                    beginning.send(()).unwrap();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                "/never" => {
                    beginning.send(()).unwrap();
                    std::future::pending::<()>().await;
                }
                "/panic" => panic!("on purpose"),
                _ => {}
            }
            let name = thread::current().name().unwrap_or_default().to_owned();
            Ok(Response::new(Full::from(name)))
        })
    });
    let service = Observed::new(service, Sinks::default());
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let (listener, address) = listen(&any, SocketMode(0o600), "listen").unwrap();
    let address = address.tcp().unwrap();
    let options = TransportOptions {
        name: "test",
        workers: NonZeroUsize::new(2).unwrap(),
        max_connections,
        drain_timeout,
        encryption: None,
    };
    let metrics = Arc::new(TransportMetrics::default());
    let transport = serve(vec![listener], &service, &options, &metrics).unwrap();
    Running { transport, address, metrics, begun }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
}

/// The status line and the body of one answer, whose length must be given.
fn receive(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap())
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn connections_spread_over_the_workers() {
    let running = start(64, PATIENCE);
    let mut names = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(running.address);
        send(&mut stream, "/");
        names.push(receive(&mut stream).1);
        streams.push(stream);
    }
    names.sort();
    assert_eq!(names, ["test-0", "test-0", "test-1", "test-1"]);
    assert_eq!(running.metrics.connections.get(), 4);
}

#[test]
fn a_panic_costs_one_request() {
    let running = start(64, PATIENCE);
    let mut stream = connect(running.address);
    for (path, expect) in [
        ("/", "HTTP/1.1 200 OK"),
        ("/panic", "HTTP/1.1 500 Internal Server Error"),
        ("/", "HTTP/1.1 200 OK"),
    ] {
        send(&mut stream, path);
        assert_eq!(receive(&mut stream).0, expect);
    }
}

#[test]
fn too_many_connections_are_closed_and_counted() {
    let running = start(1, PATIENCE);
    let mut first = connect(running.address);
    send(&mut first, "/");
    receive(&mut first);
    let mut second = connect(running.address);
    assert!(is_closed(&mut second));
    assert_eq!(running.metrics.refused.get(), 1);
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while running.metrics.connections.get() > 0 {
        assert!(Instant::now() < deadline, "the place was not given back");
        thread::yield_now();
    }
    let mut third = connect(running.address);
    send(&mut third, "/");
    assert_eq!(receive(&mut third).0, "HTTP/1.1 200 OK");
}

#[test]
fn a_drain_lets_requests_end_and_nothing_begin() {
    let mut running = start(64, PATIENCE);
    let mut busy = connect(running.address);
    send(&mut busy, "/slow");
    running.begun.recv_timeout(PATIENCE).unwrap();
    let mut idle = connect(running.address);
    send(&mut idle, "/");
    receive(&mut idle);
    running.transport.drain();
    assert!(is_closed(&mut idle));
    assert_eq!(receive(&mut busy).0, "HTTP/1.1 200 OK");
    assert!(is_closed(&mut busy));
    running.transport.join();
    assert!(TcpStream::connect(running.address).is_err());
    assert_eq!(running.metrics.connections.get(), 0);
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    let mut running = start(64, Duration::from_millis(100));
    let mut stuck = connect(running.address);
    send(&mut stuck, "/never");
    running.begun.recv_timeout(PATIENCE).unwrap();
    running.transport.drain();
    running.transport.join();
    assert!(is_closed(&mut stuck));
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Type, flags and payload of the next HTTP/2 frame (RFC 9113, section 4.1).
fn frame(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).unwrap();
    (head[3], head[4], payload)
}

#[test]
fn http2_settings_pings_and_goaway() {
    let running = start(64, PATIENCE);
    let mut stream = connect(running.address);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).unwrap();
    let (kind, _, settings) = frame(&mut stream);
    assert_eq!(kind, SETTINGS);
    let setting = |name: u8| {
        let found = settings.chunks(6).find(|entry| entry[..2] == [0, name]).unwrap();
        u32::from_be_bytes([found[2], found[3], found[4], found[5]])
    };
    assert!(setting(3) >= 1000, "streams at a time: {settings:?}");
    assert!(setting(4) >= 1 << 20, "window of a stream: {settings:?}");
    assert!(setting(5) > 16 << 10, "frame size: {settings:?}");
    assert!(setting(6) <= 1 << 20, "header list: {settings:?}");

    let mut window_bytes = 65_535;
    let mut pongs = 0;
    for _ in 0..100 {
        stream.write_all(&[0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        // An acknowledgement of our settings and a window update may come between.
        loop {
            match frame(&mut stream) {
                (PING, 1, payload) => {
                    assert_eq!(payload, [1, 2, 3, 4, 5, 6, 7, 8]);
                    pongs += 1;
                    break;
                }
                (WINDOW_UPDATE, _, payload) => {
                    window_bytes += u32::from_be_bytes(payload.try_into().unwrap());
                }
                (SETTINGS, 1, _) => {}
                other => panic!("unexpected frame {other:?}"),
            }
        }
    }
    assert_eq!(pongs, 100);
    assert!(window_bytes > setting(4), "window of the connection: {window_bytes}");

    running.transport.drain();
    loop {
        match frame(&mut stream) {
            (GOAWAY, _, payload) => {
                assert_eq!(payload[4..8], [0; 4], "no error");
                break;
            }
            (SETTINGS | PING | WINDOW_UPDATE, ..) => {}
            other => panic!("unexpected frame {other:?}"),
        }
    }
}
