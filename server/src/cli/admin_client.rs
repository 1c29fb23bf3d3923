//! [`AdminClient`]: one question to the admin port of a running server, over HTTP or HTTPS.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;
use url::Url;

use crate::bounded_read::bounded_read;
use crate::trust::{TrustError, tls_connector};

const TOKEN_FILE_BYTES_MAX: u64 = 8 << 10;
/// Longer pages are none of ours: metrics take some 100 KiB.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// A line longer than this is no step of ours.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Asks a running server.
#[derive(Debug)]
pub(super) struct AdminClient {
    url: Url,
    authorization: Option<HeaderValue>,
    ca_file: Option<PathBuf>,
}

/// The address of an admin port.
pub(super) fn admin_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok();
    let url =
        url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    let url = url.ok_or("it is no URL such as http://127.0.0.1:8981")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user and password are not taken: give --token-file");
    }
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    if has_more { Err("it has more than a host and a port") } else { Ok(url) }
}

/// An answer that begins, and the connection that it comes through.
struct Answer {
    response: Response<Incoming>,
    _connections: JoinSet<()>,
}

/// What ends a question without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("--token-file: {}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("--token-file: {}: no token that fits into a header", path.display())]
    Token { path: PathBuf },
    #[error("--ca-file")]
    CaFile(#[source] TrustError),
    #[error("{url}: no server answers; is it running, and is this its admin port?")]
    Connect { url: String, source: io::Error },
    #[error(
        "{url}: no TLS with the server; --ca-file says who has signed its certificate, http:// asks without TLS"
    )]
    Tls { url: String, source: io::Error },
    #[error("{url}: the exchange broke off")]
    Exchange { url: String, source: hyper::Error },
    /// 401, 403, 409 and the like, with what the server says about it.
    #[error("{url}: {code}: {text}")]
    Refused { url: String, code: StatusCode, text: String },
    #[error("{url}: the answer is over the limit of {limit_bytes} B")]
    TooLong { url: String, limit_bytes: usize },
    #[error("{url}: the answer is no JSON")]
    Answer { url: String, source: serde_json::Error },
    #[error("no runtime")]
    Runtime(#[source] io::Error),
}

impl AdminClient {
    /// Reads the token, if one is named.
    pub(super) fn new(
        url: Url,
        token_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> Result<Self, AdminError> {
        let authorization = token_file.map(authorization).transpose()?;
        Ok(Self { url, authorization, ca_file: ca_file.map(Path::to_owned) })
    }

    /// One answer.
    pub(super) fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.ask(Method::GET, path, None, &mut |_| {})
    }

    /// A page of text.
    pub(super) fn page(&self, path: &str) -> Result<String, AdminError> {
        run(async { self.whole(self.exchange(Method::GET, path, None).await?).await })
    }

    /// The last line of an answer; `tell` gets each one before.
    pub(super) fn post(
        &self,
        path: &str,
        order: &Value,
        tell: &mut dyn FnMut(&Value),
    ) -> Result<Value, AdminError> {
        self.ask(Method::POST, path, Some(order), tell)
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        order: Option<&Value>,
        tell: &mut dyn FnMut(&Value),
    ) -> Result<Value, AdminError> {
        run(async { self.last_line(self.exchange(method, path, order).await?, tell).await })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        order: Option<&Value>,
    ) -> Result<Answer, AdminError> {
        let (host, port) =
            (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default());
        let host_and_port = format!("{host}:{}", port.unwrap_or_default());
        let connect = |source| AdminError::Connect { url: self.url.to_string(), source };
        let stream = TcpStream::connect(&host_and_port).await.map_err(connect)?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, &host_and_port);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = order.map_or_else(Bytes::new, |order| order.to_string().into());
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.expect("a path and headers of our own");
        if self.url.scheme() == "http" {
            return self.send(TokioIo::new(stream), request).await;
        }
        let tls = tls_connector(self.ca_file.as_deref()).map_err(AdminError::CaFile)?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let refused = |source| AdminError::Tls { url: self.url.to_string(), source };
        let name = name.map_err(|error| refused(io::Error::other(error)))?;
        let stream = tls.connect(name, stream).await.map_err(refused)?;
        self.send(TokioIo::new(stream), request).await
    }

    async fn send<I>(&self, io: I, request: Request<Full<Bytes>>) -> Result<Answer, AdminError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let exchange = |source| AdminError::Exchange { url: self.url.to_string(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(exchange)?;
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let _ended = connection.await;
        });
        let answer = sender.send_request(request).await.map_err(exchange)?;
        Ok(Answer { response: answer, _connections: connections })
    }

    async fn last_line(
        &self,
        Answer { response: answer, _connections }: Answer,
        tell: &mut dyn FnMut(&Value),
    ) -> Result<Value, AdminError> {
        let url = || self.url.to_string();
        let code = answer.status();
        let mut body = answer.into_body();
        let mut line = Vec::new();
        let mut last = Value::Null;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| AdminError::Exchange { url: url(), source })?;
            let Some(data) = frame.data_ref() else { continue };
            line.extend_from_slice(data);
            while code.is_success()
                && let Some(end) = line.iter().position(|byte| *byte == b'\n')
            {
                let step: Vec<_> = line.drain(..=end).collect();
                last = parse(&step).map_err(|source| AdminError::Answer { url: url(), source })?;
                tell(&last);
            }
            if line.len() > LINE_BYTES_MAX {
                break;
            }
        }
        self.accepted(code, &line)?;
        if !line.is_empty() {
            last = parse(&line).map_err(|source| AdminError::Answer { url: url(), source })?;
        }
        Ok(last)
    }

    async fn whole(&self, Answer { response, _connections }: Answer) -> Result<String, AdminError> {
        let url = || self.url.to_string();
        let code = response.status();
        let mut body = response.into_body();
        let mut page = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| AdminError::Exchange { url: url(), source })?;
            page.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if page.len() > PAGE_BYTES_MAX {
                return Err(AdminError::TooLong { url: url(), limit_bytes: PAGE_BYTES_MAX });
            }
        }
        self.accepted(code, &page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// What is said with any other code is why.
    fn accepted(&self, code: StatusCode, said: &[u8]) -> Result<(), AdminError> {
        if code.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(said).trim().to_owned();
        Err(AdminError::Refused { url: self.url.to_string(), code, text })
    }
}

fn run<T>(exchange: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(AdminError::Runtime)?.block_on(exchange)
}

fn parse(line: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(line)
}

fn authorization(path: &Path) -> Result<HeaderValue, AdminError> {
    let token = bounded_read(path, TOKEN_FILE_BYTES_MAX);
    let token = token.map_err(|source| AdminError::TokenFile { path: path.to_owned(), source })?;
    let value = HeaderValue::try_from(format!("Bearer {}", token.trim_end()));
    let mut value = value.map_err(|_| AdminError::Token { path: path.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}
