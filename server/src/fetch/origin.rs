//! [`Origin`]: asks an origin for one resource, following redirects, and passes on its bytes as they came.
//!
//! Bounds: so many redirects, so long without a byte, so many bytes; the whole is bounded by the caller's timeout, and
//! dropping the future or the body closes the connection. Nothing is decoded: a gzip that the origin sends is the resource.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ACCEPT, ACCEPT_ENCODING, HOST, LOCATION, USER_AGENT};
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Position, Url};

use super::connect::{Connector, shown_host};
use super::error::FetchError;
use super::headers::OriginHeaders;
use super::settings::FetchSettings;
use super::stats::FetchStats;
use crate::config::ByteSize;
use crate::trust::TrustError;

/// Mirrors redirect once or twice.
const MAX_REDIRECTS: usize = 10;

/// Longer than an origin thinks that works.
const MAX_IDLE: Duration = Duration::from_mins(1);

/// What an answer's head may have, and what is read of a body at a time.
const READ_BYTES: usize = 64 * 1024;

const AGENT: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// Asks origins, within what the settings allow.
pub struct Origin {
    settings: FetchSettings,
    connector: Connector,
    stats: FetchStats,
}

/// What an origin answered, as far as it is not read yet.
pub struct OriginBody {
    host: String,
    body: Incoming,
    limit_bytes: u64,
    seen_bytes: u64,
    /// Its end is the body's.
    _connection: JoinSet<()>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Origin {
    /// Within `settings`, and nothing larger than is stored. Reads the certificates that are trusted; blocks.
    pub fn new(settings: &FetchSettings, max_blob_size: ByteSize) -> Result<Self, TrustError> {
        let connector = Connector::new(settings)?;
        let max_size = settings.max_size.min(max_blob_size);
        let settings = FetchSettings { max_size, ..settings.clone() };
        Ok(Self { settings, connector, stats: FetchStats::default() })
    }

    /// What is allowed.
    pub fn settings(&self) -> &FetchSettings {
        &self.settings
    }

    /// How fetches ended.
    pub fn stats(&self) -> &FetchStats {
        &self.stats
    }

    /// Reads a URI as far as it may be asked for.
    pub fn url(&self, uri: &str) -> Result<Url, FetchError> {
        let url = Url::parse(uri).map_err(|source| FetchError::Url { source })?;
        self.check(&url).map(|()| url)
    }

    /// Whether a URI is one that an origin could be asked for, if it is allowed.
    pub fn could_fetch(uri: &str) -> bool {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme.trim());
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        })
    }

    /// Asks for `url`. `headers` go to its own origin only, but for a few that tell nothing.
    pub async fn get(&self, url: Url, headers: &HeaderMap) -> Result<OriginBody, FetchError> {
        let first = url.origin();
        let (mut url, mut headers) = (url, headers.clone());
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url)?;
            let (response, connection) = self.exchange(&url, &headers).await?;
            if !is_redirect(response.status()) {
                return self.body(&url, response, connection);
            }
            url = redirected(&url, &response)?;
            if url.origin() != first {
                headers = OriginHeaders::harmless(&headers);
            }
        }
        Err(FetchError::Redirects { host: shown_host(&url), limit: MAX_REDIRECTS })
    }

    fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme { scheme: url.scheme().chars().take(40).collect() });
        }
        let host = shown_host(url);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::UserInfo { host });
        }
        if self.settings.allow.allow(url) { Ok(()) } else { Err(FetchError::Host { host }) }
    }

    async fn exchange(
        &self,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<(Response<Incoming>, JoinSet<()>), FetchError> {
        let host = shown_host(url);
        let broke_off =
            |source| FetchError::Exchange { host: host.clone(), source: Arc::new(source) };
        let io = TokioIo::new(self.connector.connect(url).await?);
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(READ_BYTES)
            .handshake(io)
            .await
            .map_err(broke_off)?;
        let mut running = JoinSet::new();
        // How it ends, the answer tells.
        running.spawn(async move { drop(connection.await) });
        let request = request(url, headers, &host)
            .ok_or_else(|| FetchError::Request { host: host.clone() })?;
        let answer = timeout(MAX_IDLE, sender.send_request(request)).await;
        let idle = FetchError::Idle { host: host.clone(), seconds: MAX_IDLE.as_secs() };
        Ok((answer.map_err(|_elapsed| idle)?.map_err(broke_off)?, running))
    }

    fn body(
        &self,
        url: &Url,
        response: Response<Incoming>,
        connection: JoinSet<()>,
    ) -> Result<OriginBody, FetchError> {
        let (host, limit_bytes) = (shown_host(url), self.settings.max_size.as_bytes());
        if response.status() != StatusCode::OK {
            return Err(FetchError::Code { host, code: response.status() });
        }
        if response.body().size_hint().lower() > limit_bytes {
            return Err(FetchError::TooLarge { host, limit_bytes });
        }
        let body = response.into_body();
        Ok(OriginBody { host, body, limit_bytes, seen_bytes: 0, _connection: connection })
    }
}

impl OriginBody {
    /// Who sends it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The bytes as they come.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, FetchError>> + Send + 'static {
        stream::try_unfold(self, async |mut body| Ok(body.next().await?.map(|bytes| (bytes, body))))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let next = timeout(MAX_IDLE, self.body.frame()).await;
            let host = || self.host.clone();
            let idle = |_elapsed| FetchError::Idle { host: host(), seconds: MAX_IDLE.as_secs() };
            let Some(frame) = next.map_err(idle)? else { return Ok(None) };
            let frame = frame.map_err(|source| FetchError::Exchange {
                host: host(),
                source: Arc::new(source),
            })?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.seen_bytes += bytes.len() as u64;
            if self.seen_bytes > self.limit_bytes {
                return Err(FetchError::TooLarge { host: host(), limit_bytes: self.limit_bytes });
            }
            return Ok(Some(bytes));
        }
    }
}

/// `None` where the URL is longer, or has other letters, than a request can have.
fn request(url: &Url, headers: &HeaderMap, host: &str) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse().ok()?;
    let sent = request.headers_mut();
    sent.insert(ACCEPT, HeaderValue::from_static("*/*"));
    // The checksum is of the resource itself.
    sent.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    sent.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    sent.extend(headers.clone());
    sent.insert(HOST, host.parse().ok()?);
    Some(request)
}

fn is_redirect(code: StatusCode) -> bool {
    matches!(code.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirected(url: &Url, response: &Response<Incoming>) -> Result<Url, FetchError> {
    let host = shown_host(url);
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| url.join(location).ok());
    let target = target.ok_or_else(|| FetchError::Location { host: host.clone() })?;
    if url.scheme() == "https" && target.scheme() == "http" {
        return Err(FetchError::Downgrade { host });
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;
    use url::Host;

    use super::super::hosts::HostRules;
    use super::*;

    #[test]
    fn what_is_sent_is_the_resource_and_its_host() {
        let url = Url::parse("https://u:p@A.org:8443/a b/../c?d=e#f").unwrap();
        let request = request(&url, &HeaderMap::new(), &shown_host(&url)).unwrap();
        assert_eq!(request.uri(), "/c?d=e");
        assert_eq!(request.headers()[HOST], "a.org:8443");
        assert_eq!(request.headers()[ACCEPT_ENCODING], "identity");
        let long = Url::parse(&format!("https://a.org/{}", "x".repeat(1 << 17))).unwrap();
        assert!(super::request(&long, &HeaderMap::new(), "a.org").is_none());
    }

    proptest! {
        #[test]
        fn any_url_is_asked_for_or_refused(text in "https?://\\PC{0,60}") {
            let all = HostRules::parse("*").unwrap();
            if let Ok(url) = Url::parse(&text) {
                let _ = request(&url, &HeaderMap::new(), &shown_host(&url));
                prop_assert_eq!(all.allow(&url), url.port().is_none());
                // What reads as an address somewhere is an address here, and no name to resolve.
                if let Some(Host::Domain(name)) = url.host() {
                    prop_assert!(name.parse::<IpAddr>().is_err(), "{}", name);
                }
            }
        }
    }
}
