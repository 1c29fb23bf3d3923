//! The same service on a socket that is a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use larder_protos::bytestream::WriteRequest;
use larder_protos::services::byte_stream_client::ByteStreamClient;
use larder_testkit::TestServer;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use crate::client::{chunked, digest, read, sample, until, upload_name};

async fn start(directory: &Path) -> (TestServer, PathBuf) {
    let path = directory.join("larder.sock");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    (TestServer::start_with(&[("listen", &listen)]).await, path)
}

async fn connect(path: &Path) -> ByteStreamClient<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://larder");
    let channel = endpoint.connect_with_connector(connector).await.expect("it listens");
    ByteStreamClient::new(channel)
}

#[tokio::test]
async fn grpc_and_http_share_the_socket_and_the_store() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (server, path) = start(directory.path()).await;
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let blob = sample(100_000);
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 30_000);
    let written = connect(&path).await.write(stream::iter(messages)).await.expect("stored");
    assert_eq!(written.into_inner().committed_size, 100_000);
    assert!(read(&server, digest(&blob)).await.expect("over TCP") == blob);

    let stream = TokioIo::new(UnixStream::connect(&path).await.expect("it listens"));
    let handshake = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = handshake.expect("HTTP/1.1");
    let request = http::Request::get(format!("/cas/{}", digest(&blob).hash()))
        .header("host", "larder")
        .body(Full::new(Bytes::new()))
        .expect("a request");
    let exchange = async move {
        let body = sender.send_request(request).await.expect("an answer").into_body();
        body.collect().await.expect("a whole body").to_bytes()
    };
    let (body, _ended) = tokio::join!(exchange, connection);
    assert!(body == blob);

    server.stop().await;
    assert!(!path.exists(), "the file is gone with the server");
}

#[tokio::test]
async fn a_drain_removes_the_file_and_lets_an_upload_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (server, path) = start(directory.path()).await;
    let blob = sample(100_000);
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 25_000);
    let (sender, receiver) = mpsc::channel::<WriteRequest>(1);
    let sent =
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let mut client = connect(&path).await;
    let upload = async move { client.write(sent).await };
    let drained = async move {
        let mut messages = messages.into_iter();
        for message in messages.by_ref().take(3) {
            sender.send(message).await.expect("it is read");
        }
        until(&server, "larder_in_flight_bytes", |bytes| bytes > 0).await;
        server.begin_drain();
        let gone = async {
            while path.exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("removed");
        UnixStream::connect(&path).await.expect_err("nobody listens any more");
        for message in messages {
            sender.send(message).await.expect("it is read");
        }
        server
    };
    let (written, server) = tokio::join!(upload, drained);
    assert_eq!(written.expect("stored").into_inner().committed_size, 100_000);
    server.stop().await;
}
