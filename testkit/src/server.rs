//! [`TestServer`]: a whole server in this process, over a temporary directory, with clients for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_disk::{Io, RealIo};
use larder_protos::services::action_cache_client::ActionCacheClient;
use larder_protos::services::byte_stream_client::ByteStreamClient;
use larder_protos::services::capabilities_client::CapabilitiesClient;
use larder_protos::services::content_addressable_storage_client::ContentAddressableStorageClient;
use larder_protos::services::fetch_client::FetchClient;
use larder_protos::services::push_client::PushClient;
use larder_server::config::{ByteSize, Config, ListenAddress, Machine, Origin, Sources};
use larder_server::reload::Again;
use larder_server::run::{RunningServer, Server};
use larder_server::telemetry::Reported;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::LogChecker;

/// What clients accept in these tests, above what the server sends.
const MAX_MESSAGE_BYTES: usize = 80 << 20;

/// A whole server in this process. [`TestServer::stop`] ends it and checks its log.
#[derive(Debug)]
pub struct TestServer {
    server: RunningServer,
    channel: Channel,
    log: &'static LogChecker,
    directory: TempDir,
}

impl TestServer {
    /// Starts with defaults over an empty directory.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with these settings, named as in the configuration file.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_in(directory, settings).await
    }

    /// The same on a disk of the caller's. End it with [`Self::stop_with_errors`] if the disk fails.
    pub async fn start_on(io: Arc<dyn Io>, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_in_on(directory, io, settings).await
    }

    /// Ends the server and starts another one over its data.
    pub async fn restart(self) -> Self {
        let directory = self.stop().await;
        Self::start_in(directory, &[]).await
    }

    /// Drains, ends, and checks that nothing was logged as ERROR. Returns the data directory.
    pub async fn stop(self) -> TempDir {
        let log = self.log;
        let directory = self.end().await;
        log.assert_no_errors();
        directory
    }

    /// Drains and ends. Returns the data directory and what was logged as ERROR, by any server of this process.
    pub async fn stop_with_errors(self) -> (TempDir, Vec<String>) {
        let log = self.log;
        (self.end().await, log.take_errors())
    }

    async fn end(self) -> TempDir {
        let Self { server, channel, directory, .. } = self;
        drop(channel);
        server.shutdown();
        tokio::task::spawn_blocking(|| server.wait()).await.expect("it ends without a panic");
        directory
    }

    /// What was logged, by any server of this process.
    pub fn log(&self) -> &'static LogChecker {
        self.log
    }

    /// Begins the drain, as SIGTERM does.
    pub fn begin_drain(&self) {
        self.server.shutdown();
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        tcp_address(&self.server)
    }

    /// Where status is read.
    pub fn admin_address(&self) -> SocketAddr {
        self.server.addresses().admin
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The one gRPC connection of this server's clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client of `ByteStream`.
    pub fn byte_stream(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A client of `ContentAddressableStorage`.
    pub fn storage(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel())
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A client of `ActionCache`.
    pub fn actions(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel())
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A client of `Capabilities`.
    pub fn capabilities(&self) -> CapabilitiesClient<Channel> {
        CapabilitiesClient::new(self.channel())
    }

    /// A client of Remote Asset's `Fetch`.
    pub fn fetch(&self) -> FetchClient<Channel> {
        FetchClient::new(self.channel())
    }

    /// A client of Remote Asset's `Push`.
    pub fn push(&self) -> PushClient<Channel> {
        PushClient::new(self.channel()).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// One exchange with the HTTP cache, over a connection of its own.
    pub async fn http(&self, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
        exchange(self.address(), request.map(|body| Full::new(body.into()))).await
    }

    /// Sends a body in chunks, its length not announced; the status that comes back.
    pub async fn http_chunked(&self, method: &str, path: &str, chunks: Vec<Bytes>) -> StatusCode {
        let request = Request::builder().method(method).uri(path).body(in_chunks(chunks));
        exchange(self.address(), request.expect("a good request")).await.status()
    }

    /// A GET over HTTP/2 of a whole URI, whose authority need not be this server's.
    pub async fn http2_get(&self, uri: &str) -> StatusCode {
        let stream = TcpStream::connect(self.address()).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let request = Request::get(uri).body(in_chunks(Vec::new())).expect("a good request");
        // The exchange owns the sender: with its end the connection ends too.
        let exchange =
            async move { sender.send_request(request).await.expect("an answer").status() };
        let (status, ended) = tokio::join!(exchange, connection);
        ended.expect("a connection without faults");
        status
    }

    /// A body over HTTP/2, where an empty frame says that the body has ended; its length is announced.
    pub async fn http2_chunked(&self, method: &str, path: &str, chunks: Vec<Bytes>) -> StatusCode {
        let stream = TcpStream::connect(self.address()).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        let uri = format!("http://{}{path}", self.address());
        let length_bytes: usize = chunks.iter().map(Bytes::len).sum();
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(http::header::CONTENT_LENGTH, length_bytes);
        let request = request.body(in_chunks(chunks));
        // The exchange owns the sender: with its end the connection ends too.
        let exchange = async move {
            let answer = sender.send_request(request.expect("a good request")).await;
            answer.expect("an answer").status()
        };
        let (status, ended) = tokio::join!(exchange, connection);
        ended.expect("a connection without faults");
        status
    }

    /// One exchange with the admin port.
    pub async fn admin(&self, path: &str) -> Response<Bytes> {
        let request = Request::get(path).body(Bytes::new()).expect("a good path");
        exchange(self.admin_address(), request.map(Full::new)).await
    }

    /// Any exchange with the admin port.
    pub async fn admin_request(&self, request: Request<Bytes>) -> Response<Bytes> {
        exchange(self.admin_address(), request.map(Full::new)).await
    }

    /// The same with a token.
    pub async fn admin_as(&self, path: &str, token: Option<&str>) -> Response<Bytes> {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::new()).expect("a good path");
        exchange(self.admin_address(), request.map(Full::new)).await
    }

    async fn start_in(directory: TempDir, settings: &[(&str, &str)]) -> Self {
        Self::start_in_on(directory, Arc::new(RealIo), settings).await
    }

    /// The same over a directory that has data.
    pub async fn start_in_on(
        directory: TempDir,
        io: Arc<dyn Io>,
        settings: &[(&str, &str)],
    ) -> Self {
        let log = LogChecker::install();
        let config = config(directory.path(), settings);
        let is_encrypted = config.tls.is_some();
        // As of a process with a log, and with a collector where spans go to one; these are the tests' own.
        let spans = config.traces.is_some().then(Arc::default);
        let reported = Reported { log: Some(Arc::default()), access_log: None, spans };
        let start = move || Server::start_again(&config, io, Again::nothing(&config), reported);
        let started = tokio::task::spawn_blocking(start).await;
        let server = started.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
        let uri = format!("http://{}", tcp_address(&server));
        let endpoint = Endpoint::from_shared(uri).expect("an address is a good URI");
        let channel = if is_encrypted {
            // This client speaks plain text.
            endpoint.connect_lazy()
        } else {
            endpoint.connect().await.expect("it listens")
        };
        Self { server, channel, log, directory }
    }
}

fn tcp_address(server: &RunningServer) -> SocketAddr {
    let mut addresses = server.addresses().listen.iter().filter_map(ListenAddress::tcp);
    addresses.next().expect("it listens on TCP too")
}

fn config(data_dir: &Path, settings: &[(&str, &str)]) -> Config {
    let mut sources = Sources::default();
    let fixed = [
        ("listen", "127.0.0.1:0".to_owned()),
        ("admin_listen", "127.0.0.1:0".to_owned()),
        ("data_dir", data_dir.display().to_string()),
        ("max_size", "1GiB".to_owned()),
        ("drain_timeout", "5s".to_owned()),
    ];
    for (key, text) in fixed {
        sources.set(Origin::Environment, key, text);
    }
    for (key, text) in settings {
        sources.set(Origin::Flag, key, *text);
    }
    let machine = Machine {
        cache_dir: Some(PathBuf::from("/nonexistent")),
        cores: NonZeroUsize::new(2).expect("two"),
        memory: ByteSize::gib(1),
        disk_room: |_| None,
        disk_size: |_| None,
    };
    Config::check(sources, &machine).unwrap_or_else(|problems| panic!("{problems}"))
}

fn in_chunks(
    chunks: Vec<Bytes>,
) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let frames = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk)));
    StreamBody::new(futures_util::stream::iter(frames))
}

async fn exchange<B>(address: SocketAddr, mut request: Request<B>) -> Response<Bytes>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let host = address.to_string().parse().expect("an address is a good header");
    request.headers_mut().insert(http::header::HOST, host);
    // The exchange owns the sender: with its end the connection ends too.
    let exchange = async move {
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Response::from_parts(head, body)
    };
    let (response, ended) = tokio::join!(exchange, connection);
    ended.expect("a connection without faults");
    response
}
