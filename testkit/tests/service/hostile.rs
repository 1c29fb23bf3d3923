//! What no honest client sends.

use std::time::Duration;

use bytes::Bytes;
use larder_testkit::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::client::{assert_refused, chunked, digest, read, sample, store, upload_name, write};

/// 512 MiB of zeros in a few kilobytes.
fn bomb() -> Bytes {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("in memory");
    let block = vec![0; 1 << 20];
    for _ in 0..512 {
        std::io::Write::write_all(&mut encoder, &block).expect("in memory");
    }
    encoder.finish().expect("in memory").into()
}

#[tokio::test]
async fn a_bomb_is_refused_after_its_declared_size() {
    let server = TestServer::start().await;
    let bomb = bomb();
    for size in [100, 2_000_000] {
        let named = digest(&sample(size));
        let messages = chunked(&upload_name("compressed-blobs/zstd", named), &bomb, 10_000);
        assert_refused(write(&server, messages).await, Code::InvalidArgument, "goes on after its");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connection_of_garbage_harms_no_other() {
    let server = TestServer::start().await;
    let stored = store(&server, &sample(1_000)).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let huge_frame = [0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1];
    for garbage in [
        b"\0\0\0\0".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        vec![0xFF; 100_000],
        [preface, &[0xAA; 1_000]].concat(),
        [preface, &settings, &huge_frame].concat(),
        format!("GET /cas/x HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).into(),
    ] {
        let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
        // The server may close before it has read everything.
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        ended.expect("the server ends the connection").ok();
    }
    assert!(read(&server, stored).await.is_ok(), "other clients are served");
    server.stop().await;
}
