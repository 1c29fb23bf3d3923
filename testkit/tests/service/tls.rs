//! TLS: both protocols by ALPN, clients' certificates, and certificates that change while the server runs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_testkit::TestServer;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::access::{File, READER};
use crate::client::metric;

const ABSENT: &str = "/cas/1111111111111111111111111111111111111111111111111111111111111111";
const SERVER: [&[u8]; 2] = [include_bytes!("tls/server.pem"), include_bytes!("tls/server.key")];
const SECOND: [&[u8]; 2] = [include_bytes!("tls/second.pem"), include_bytes!("tls/second.key")];
const EXPIRY: &str = "larder_tls_certificate_expiry_timestamp_seconds";
/// As `openssl x509 -enddate` and `date` have it.
const SERVER_EXPIRES: u64 = 4_733_510_400;
const SECOND_EXPIRES: u64 = 4_733_494_295;

/// The server's certificate, key and authority of clients, in files that can be changed.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        files.write(SERVER);
        fs::write(files.path("ca"), include_bytes!("tls/client_ca.pem")).expect("written");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, [cert, key]: [&[u8]; 2]) {
        fs::write(self.path("cert"), cert).expect("written");
        fs::write(self.path("key"), key).expect("written");
    }

    async fn server(&self, more: &[(&str, &str)]) -> TestServer {
        let paths = ["cert", "key"].map(|name| self.path(name).display().to_string());
        let mut settings =
            vec![("tls.cert_file", paths[0].as_str()), ("tls.key_file", paths[1].as_str())];
        settings.extend(more);
        TestServer::start_with(&settings).await
    }
}

/// Trusts both authorities, and shows the client's certificate or none.
fn client(protocol: &str, shows: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for pem in [&include_bytes!("tls/ca.pem")[..], include_bytes!("tls/client_ca.pem")] {
        roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("trusted");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = if shows {
        let chain = CertificateDer::from_pem_slice(include_bytes!("tls/client.pem"));
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/client.key"));
        builder
            .with_client_auth_cert(vec![chain.expect("a certificate")], key.expect("a key"))
            .expect("a pair")
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    server: &TestServer,
    protocol: &str,
    shows: bool,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address()).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    client(protocol, shows).connect(name, stream).await
}

async fn get(server: &TestServer, protocol: &str, shows: bool, header: &str) -> StatusCode {
    let stream = connect(server, protocol, shows).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    let request = Request::get(format!("https://localhost{ABSENT}")).header("host", "localhost");
    let request = if header.is_empty() { request } else { request.header("authorization", header) };
    let request = request.body(Full::new(Bytes::new())).expect("a request");
    let io = TokioIo::new(stream);
    if protocol == "h2" {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.expect("HTTP/2");
        tokio::select! {
            answer = sender.send_request(request) => answer.expect("an answer").status(),
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    } else {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.expect("HTTP/1.1");
        tokio::select! {
            answer = sender.send_request(request) => answer.expect("an answer").status(),
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    }
}

#[tokio::test]
async fn both_protocols_are_chosen_by_alpn_and_plain_text_is_refused() {
    let files = Files::new();
    let server = files.server(&[("tls.admin", "false")]).await;
    for protocol in ["h2", "http/1.1"] {
        assert_eq!(get(&server, protocol, false, "").await, StatusCode::NOT_FOUND, "{protocol}");
    }
    let mut plain = TcpStream::connect(server.address()).await.expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(metric(&server, "larder_tls_handshake_errors_total").await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_says_who_one_is() {
    let (files, credentials) = (Files::new(), File::new());
    let ca = files.path("ca").display().to_string();
    let path = credentials.path().display().to_string();
    let asks = [("tls.client_ca_file", ca.as_str()), ("auth.credentials_file", path.as_str())];
    let server = files.server(&[asks[0], asks[1], ("tls.client_auth", "optional")]).await;
    let bearer = format!("Bearer {READER}");
    for (shows, header, expect) in [
        (true, "", StatusCode::NOT_FOUND),
        (false, "", StatusCode::UNAUTHORIZED),
        (false, bearer.as_str(), StatusCode::NOT_FOUND),
        (true, "Bearer wrong", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(get(&server, "h2", shows, header).await, expect, "{shows} {header}");
    }
    server.stop().await;

    let server = files.server(&[asks[0], asks[1], ("tls.client_auth", "required")]).await;
    assert_eq!(get(&server, "h2", true, "").await, StatusCode::NOT_FOUND);
    // By TLS 1.3 a client learns only from its first read that it was refused.
    let refused = match connect(&server, "h2", false).await {
        Ok(mut stream) => stream.read_u8().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(refused.is_err(), "let in without a certificate");
    server.stop().await;
}

/// The certificate that the server shows.
async fn shown(server: &TestServer) -> CertificateDer<'static> {
    let stream = connect(server, "h2", false).await.expect("a handshake");
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain[0].clone().into_owned()
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_and_a_wrong_one_is_not() {
    let files = Files::new();
    let server = files.server(&[]).await;
    let until = async |outcome: &str| {
        let name = format!("larder_tls_reloads_total{{outcome=\"{outcome}\"}}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while metric(&server, &name).await == 0 {
            assert!(Instant::now() < deadline, "never {outcome}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let certificate = |pem: &[u8]| CertificateDer::from_pem_slice(pem).expect("a certificate");
    // A key that is not the certificate's.
    files.write([SECOND[0], SERVER[1]]);
    until("refused").await;
    assert_eq!(shown(&server).await, certificate(SERVER[0]));
    assert_eq!(metric(&server, EXPIRY).await, SERVER_EXPIRES);
    files.write(SECOND);
    until("replaced").await;
    assert_eq!(shown(&server).await, certificate(SECOND[0]));
    assert_eq!(metric(&server, EXPIRY).await, SECOND_EXPIRES);
    server.stop().await;
}
