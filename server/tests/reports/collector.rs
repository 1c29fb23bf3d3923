//! [`Collector`]: a receiver of OTLP, over gRPC by tonic and over HTTP by hyper, that decodes what it gets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// What it speaks.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Speaks {
    Grpc,
    Http,
    GrpcOverTls,
    HttpOverTls,
}

/// Who has signed its certificate.
pub(crate) const CA_FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/tests/service/tls/ca.pem");
/// Of `localhost`.
const CERT: &[u8] = include_bytes!("../../../testkit/tests/service/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../testkit/tests/service/tls/server.key");

/// Collects spans until it is dropped, on a thread that ends with the process.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    exports: mpsc::Receiver<ExportTraceServiceRequest>,
}

impl Collector {
    pub(crate) fn start(speaks: Speaks) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, exports) = mpsc::channel();
        thread::spawn(move || {
            runtime.block_on(async {
                match speaks {
                    Speaks::Grpc => serve_grpc(Server::builder(), listener, sender).await,
                    Speaks::GrpcOverTls => {
                        let tls = ServerTlsConfig::new().identity(Identity::from_pem(CERT, KEY));
                        let server = Server::builder().tls_config(tls).unwrap();
                        serve_grpc(server, listener, sender).await;
                    }
                    Speaks::Http => serve_http(None, listener, sender).await,
                    Speaks::HttpOverTls => serve_http(Some(acceptor()), listener, sender).await,
                }
            });
        });
        Self { address, exports }
    }

    /// All spans that have come, once at least `count` have.
    pub(crate) fn spans(&self, count: usize) -> Vec<Span> {
        let begun = Instant::now();
        let mut spans = Vec::new();
        while spans.len() < count {
            let left = Duration::from_secs(20).saturating_sub(begun.elapsed());
            let export = self.exports.recv_timeout(left).expect("spans come");
            spans.extend(spans_of(export));
        }
        spans.extend(self.exports.try_iter().flat_map(spans_of));
        spans
    }

    /// Whether none have come.
    pub(crate) fn is_empty(&self) -> bool {
        self.exports.try_recv().is_err()
    }
}

fn spans_of(export: ExportTraceServiceRequest) -> Vec<Span> {
    let resources = export.resource_spans;
    for resource in &resources {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(text(attributes, "service.name"), Some("larder"));
        assert!(text(attributes, "service.version").is_some());
    }
    let scopes = resources.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The text of an attribute.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

struct Receiver(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let _gone = self.0.send(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn serve_grpc(
    mut server: Server,
    listener: TcpListener,
    sender: mpsc::Sender<ExportTraceServiceRequest>,
) {
    let incoming = TcpIncoming::from(listener);
    let server = server.add_service(TraceServiceServer::new(Receiver(sender)));
    server.serve_with_incoming(incoming).await.unwrap();
}

fn acceptor() -> TlsAcceptor {
    let certificates = CertificateDer::pem_slice_iter(CERT).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve_http(
    tls: Option<TlsAcceptor>,
    listener: TcpListener,
    sender: mpsc::Sender<ExportTraceServiceRequest>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        match &tls {
            None => exchange(TokioIo::new(stream), &sender).await,
            // Who does not trust it breaks off.
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    exchange(TokioIo::new(stream), &sender).await;
                }
            }
        }
    }
}

async fn exchange<I>(io: I, sender: &mpsc::Sender<ExportTraceServiceRequest>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| async {
        assert_eq!(request.uri().path(), "/v1/traces");
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-protobuf");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let export = ExportTraceServiceRequest::decode(body).unwrap();
        let _gone = sender.send(export);
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::OK;
        Ok::<_, Infallible>(response)
    });
    // A process that ends may end its connection without a word of TLS.
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}
