//! Clients that hold the memory of requests and do not move, while others wait for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use larder_protos::Digest;
use larder_protos::bytestream::WriteRequest;
use larder_testkit::TestServer;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{digest, metric, sample, store, until, upload_name};
use crate::memory::{LIMIT_BYTES, small_server};

const STALLED: &str = "larder_connections_stalled_total";
const BLOB_BYTES: usize = 4 << 20;
/// A download of it holds two buffers of 512 KiB, and what its decoding may take.
const DOWNLOAD_BYTES: u64 = (1 << 20) + larder_cas::decoding_bytes(BLOB_BYTES as u64);
/// Longer than who stalls is borne with, shorter than others wait: else they would be refused.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// An HTTP/2 client that sends just what it is told to (RFC 9113).
struct Raw(TcpStream);

impl Raw {
    /// Whose streams may be sent so many bytes at first.
    async fn connect(server: &TestServer, window_bytes: u32) -> Self {
        let stream = TcpStream::connect(server.address()).await.expect("it listens");
        let mut raw = Self(stream);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is read");
        let initial_window_size = [&[0, 4], &window_bytes.to_be_bytes()[..]].concat();
        raw.frame(SETTINGS, 0, 0, &initial_window_size).await;
        raw
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, length @ ..] = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let frame = [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await.expect("it is read");
    }

    async fn request(&mut self, stream: u32, method: &str, path: &str, flags: u8) {
        let fields = [
            (":method", method),
            (":path", path),
            (":scheme", "http"),
            (":authority", "larder"),
            ("content-type", if method == "POST" { "application/grpc" } else { "text/plain" }),
            ("te", "trailers"),
        ];
        let short =
            |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        let block = fields.map(|(name, value)| [vec![0], short(name), short(value)].concat());
        self.frame(HEADERS, flags | END_HEADERS, stream, &block.concat()).await;
    }
}

/// Reads until the server closes the connection.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let _how = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

fn path_of(digest: Digest) -> String {
    format!("/cas/{}", digest.hash())
}

/// Somebody else's download, while those who stall hold all there is.
async fn served(server: &TestServer, digest: Digest) {
    until(server, "larder_in_flight_bytes", |bytes| bytes > LIMIT_BYTES - DOWNLOAD_BYTES).await;
    let begun = Instant::now();
    let get = Request::get(path_of(digest)).body(Bytes::new()).expect("a good request");
    let answer = timeout(SERVED_WITHIN, server.http(get)).await.expect("in time");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body().len(), BLOB_BYTES);
    assert!(begun.elapsed() > Duration::from_secs(5), "there was no need to wait");
}

/// At the same time, since each takes ten seconds.
#[tokio::test]
async fn who_stalls_while_others_wait_loses_the_connection() {
    tokio::join!(
        no_window_for_downloads(),
        no_answer_read_on_a_unix_socket(),
        uploads_drip_over_http(),
        messages_drip_over_grpc(),
        uploads_drip_that_could_be_resumed(),
    );
}

async fn no_window_for_downloads() {
    let server = small_server().await;
    let digest = store(&server, &sample(BLOB_BYTES)).await;
    let mut stalled = Raw::connect(&server, 0).await;
    for number in 0..64 {
        stalled.request(2 * number + 1, "GET", &path_of(digest), END_STREAM).await;
    }
    let ((), ()) = tokio::join!(closed(stalled.0), served(&server, digest));
    assert_eq!(metric(&server, STALLED).await, 1);
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    server.stop().await;
}

async fn no_answer_read_on_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("larder.sock");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    let settings = [("listen", listen.as_str()), ("max_in_flight", "16MiB")];
    let server = TestServer::start_with(&settings).await;
    let digest = store(&server, &sample(BLOB_BYTES)).await;
    let mut stalled = Vec::new();
    for _ in 0..LIMIT_BYTES / DOWNLOAD_BYTES {
        let mut stream = UnixStream::connect(&path).await.expect("it listens");
        let get = format!("GET {} HTTP/1.1\r\nhost: larder\r\n\r\n", path_of(digest));
        stream.write_all(get.as_bytes()).await.expect("it is read");
        stalled.push(stream);
    }
    served(&server, digest).await;
    for stream in stalled {
        closed(stream).await;
    }
    assert_eq!(metric(&server, STALLED).await, LIMIT_BYTES / DOWNLOAD_BYTES);
    server.stop().await;
}

/// Sends a byte now and then until the connection is closed.
async fn drip(mut stream: impl AsyncWrite + Unpin, byte: &[u8]) {
    while stream.write_all(byte).await.is_ok() {
        sleep(Duration::from_millis(200)).await;
    }
}

async fn uploads_drip_over_http() {
    let server = small_server().await;
    let stored = store(&server, &sample(BLOB_BYTES)).await;
    let mut dripping = JoinSet::new();
    // Results are collected whole, blobs streamed.
    for (kind, announced_bytes) in [("ac", 4 << 20), ("cas", 8 << 20)] {
        let stream = TcpStream::connect(server.address()).await;
        let mut stream = stream.expect("it listens");
        let hash = digest(&sample(announced_bytes)).hash().to_string();
        let put = format!(
            "PUT /{kind}/{hash} HTTP/1.1\r\nhost: larder\r\ncontent-length: {announced_bytes}\r\n\r\n"
        );
        stream.write_all(put.as_bytes()).await.expect("it is read");
        dripping.spawn(drip(stream, b"x"));
    }
    served(&server, stored).await;
    dripping.join_all().await;
    assert_eq!(metric(&server, STALLED).await, 2);
    server.stop().await;
}

/// A gRPC message of `message_bytes` to each of `calls` streams, of which only `beginning` is there, and then drips.
async fn drip_messages(
    server: &TestServer,
    path: &str,
    calls: u32,
    message_bytes: usize,
    beginning: impl Fn(u32) -> Vec<u8>,
) {
    let mut raw = Raw::connect(server, 1 << 16).await;
    let streams: Vec<_> = (0..calls).map(|number| 2 * number + 1).collect();
    for &stream in &streams {
        raw.request(stream, "POST", path, 0).await;
        let length = u32::try_from(message_bytes).expect("it fits").to_be_bytes();
        let prefix = [&[0], &length[..]].concat();
        raw.frame(DATA, 0, stream, &[prefix, beginning(stream)].concat()).await;
    }
    let frames = streams
        .iter()
        .map(|stream| [&[0, 0, 1, DATA, 0][..], &stream.to_be_bytes(), &[0]].concat());
    drip(raw.0, &frames.collect::<Vec<_>>().concat()).await;
}

async fn messages_drip_over_grpc() {
    let server = small_server().await;
    let stored = store(&server, &sample(BLOB_BYTES)).await;
    let path = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
    // The field 3, of 5 MB.
    let beginning = |_| vec![0x1a, 0xc0, 0x96, 0xb1, 0x02];
    let dripping = drip_messages(&server, path, 4, 5_000_000, beginning);
    tokio::join!(dripping, served(&server, stored));
    assert_eq!(metric(&server, STALLED).await, 1);
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    server.stop().await;
}

async fn uploads_drip_that_could_be_resumed() {
    let server = small_server().await;
    let stored = store(&server, &sample(BLOB_BYTES)).await;
    // The name, and then the data, which is the rest of the message.
    let message_bytes = 65_000;
    let beginning = |stream: u32| {
        let size = 3_000_000 + usize::try_from(stream).expect("small");
        let resource_name = upload_name("blobs", digest(&sample(size)));
        let name = WriteRequest { resource_name, ..WriteRequest::default() }.encode_to_vec();
        let data_bytes = message_bytes - name.len() - 4;
        let mut beginning = [name, vec![10 << 3 | 2]].concat();
        prost::encode_length_delimiter(data_bytes, &mut beginning).expect("it grows");
        beginning
    };
    let path = "/google.bytestream.ByteStream/Write";
    let dripping = drip_messages(&server, path, 6, message_bytes, beginning);
    tokio::join!(dripping, served(&server, stored));
    assert_eq!(metric(&server, STALLED).await, 1);
    assert!(metric(&server, "larder_uploads_kept").await > 0, "what came can go on");
    server.stop().await;
}

#[tokio::test]
async fn who_is_slow_but_moves_is_left_alone() {
    let server = small_server().await;
    let digest = store(&server, &sample(BLOB_BYTES)).await;
    let mut slow = Raw::connect(&server, 1 << 10).await;
    slow.frame(WINDOW_UPDATE, 0, 0, &(16_u32 << 20).to_be_bytes()).await;
    let streams = [1, 3, 5, 7];
    for stream in streams {
        slow.request(stream, "GET", &path_of(digest), END_STREAM).await;
    }
    let all_bytes = DOWNLOAD_BYTES * streams.len() as u64;
    assert!(LIMIT_BYTES - all_bytes < DOWNLOAD_BYTES, "one more must wait");
    until(&server, "larder_in_flight_bytes", |bytes| bytes == all_bytes).await;
    let mut waiting = Box::pin(async {
        let get = Request::get(path_of(digest)).body(Bytes::new()).expect("a good request");
        server.http(get).await.status()
    });
    // 64 KiB/s of all together, of which one sixty-fourth in ten seconds is 22 KiB/s.
    let begun = Instant::now();
    let mut taken = vec![0; 1 << 20];
    while begun.elapsed() < Duration::from_secs(14) {
        for stream in streams {
            slow.frame(WINDOW_UPDATE, 0, stream, &(4_u32 << 10).to_be_bytes()).await;
        }
        let pause = timeout(Duration::from_millis(250), &mut waiting);
        pause.await.expect_err("there is no memory for it");
        let read = slow.0.read(&mut taken).await.expect("a connection");
        assert!(read > 0, "closed after {:?}", begun.elapsed());
    }
    assert_eq!(metric(&server, STALLED).await, 0);
    drop(slow);
    assert_eq!(waiting.await, StatusCode::OK);
    server.stop().await;
}
