//! [`OriginServer`]: an origin on loopback that behaves as its paths say, well or badly.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The authority that vouches for an origin over https.
pub(crate) const CA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/tls/ca.pem");

/// An origin on loopback; dropping it ends it.
pub(crate) struct OriginServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    body: Vec<u8>,
    /// The heads of all requests.
    requests: Mutex<Vec<String>>,
    /// Lets what hangs go on.
    go: Notify,
    /// Tells that something hangs.
    hangs: Notify,
}

impl OriginServer {
    /// Whose resources are `body`.
    pub(crate) async fn start(body: &[u8]) -> Self {
        Self::start_with(body, None).await
    }

    /// The same over https.
    pub(crate) async fn start_tls(body: &[u8]) -> Self {
        Self::start_with(body, Some(acceptor())).await
    }

    async fn start_with(body: &[u8], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            body: body.to_vec(),
            requests: Mutex::default(),
            go: Notify::new(),
            hangs: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (serving, tls) = (Arc::clone(&serving), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, serving).await,
                        Some(tls) => {
                            // A client that does not trust it ends the handshake.
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, serving).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, shared, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }

    /// Until a request hangs.
    pub(crate) async fn until_it_hangs(&self) {
        self.shared.hangs.notified().await;
    }

    /// Lets one that hangs go on.
    pub(crate) fn go_on(&self) {
        self.shared.go.notify_one();
    }
}

fn acceptor() -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(include_bytes!("tls/server.pem"));
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("a head of ASCII");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    shared.requests.lock().push(head);
    // The client may well leave before the end.
    let _ = answer(&mut stream, &path, &shared).await;
    let _ = stream.shutdown().await;
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    path: &str,
    shared: &Shared,
) -> std::io::Result<()> {
    let body = &shared.body;
    let length = body.len();
    let whole = |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{more}\r\n");
    let code = |code: &str| format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n");
    let (name, rest) = path.split_once('?').unwrap_or((path, ""));
    match name {
        "/blob" => {
            stream.write_all(whole("").as_bytes()).await?;
            stream.write_all(body).await
        }
        "/gzip" => {
            stream.write_all(whole("Content-Encoding: gzip\r\n").as_bytes()).await?;
            stream.write_all(body).await
        }
        "/chunked" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            for chunk in body.chunks(10_000) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                stream.write_all(chunk).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[0; 10_000]).await?;
            }
        }
        "/huge" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").await
        }
        "/short" => {
            stream.write_all(whole("").as_bytes()).await?;
            stream.write_all(&body[..length / 2]).await
        }
        "/hang" => {
            stream.write_all(whole("").as_bytes()).await?;
            stream.write_all(&body[..1]).await?;
            shared.hangs.notify_one();
            shared.go.notified().await;
            stream.write_all(&body[1..]).await
        }
        "/to" => {
            let head =
                format!("HTTP/1.1 302 Found\r\nLocation: {rest}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        "/loop" => {
            stream
                .write_all(b"HTTP/1.1 301 Moved\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n")
                .await
        }
        "/nowhere" => stream.write_all(code("307 Nowhere").as_bytes()).await,
        "/code" => stream.write_all(code(&rest.replace('+', " ")).as_bytes()).await,
        _ => stream.write_all(b"this is no HTTP\r\n\r\n").await,
    }
}
