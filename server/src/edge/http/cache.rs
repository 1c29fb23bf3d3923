//! [`HttpCache`]: from method and path to what is done.

use std::sync::Arc;

use ::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use larder_cas::{ByteRange, RequestCx, StoreError};
use larder_protos::{Digest, Hash};
use tonic::body::Body;

use super::body::{CacheRequest, RequestBody};
use super::claims::Claims;
use super::dialect::{Dialect, Place};
use super::path::{CachePath, Kind, PathError};
use super::url_path::UrlPath;
use super::{download, gradle, key_value, nx, turborepo, upload, webdav};
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::{self, EdgeError, http_status};
use crate::report::Notes;

/// The HTTP cache over the same stores as gRPC.
#[derive(Debug)]
pub(crate) struct HttpCache {
    shared: Arc<Shared>,
    /// Of what may be stored only once.
    claims: Claims,
}

/// What a request means, as far as its line tells.
pub(super) struct Target<'a> {
    pub(super) shared: &'a Shared,
    pub(super) partition: Partition,
    pub(super) hash: Hash,
}

impl HttpCache {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, claims: Claims::default() }
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let request = RequestBody::of(request, &self.shared.drainer);
        let path = match UrlPath::parse(request.uri().path()) {
            Ok(path) => path,
            Err(error) => return refusal(error),
        };
        let (path, is_folder) = (path.as_str(), path.is_folder());
        match Place::of(path) {
            Some(place) if place.dialect == Dialect::Cache && !is_folder => {
                Notes::of(request.extensions()).instance(place.instance);
                self.cache(&place, request).await
            }
            Some(place) if place.dialect == Dialect::Sccache || !is_folder => {
                Notes::of(request.extensions()).instance(place.instance);
                // In a box, as all that takes more room than a download, which would have to move it too.
                Box::pin(self.entry(path, is_folder, &place, request)).await
            }
            _ => refusal(PathError::Unknown),
        }
    }

    /// What other tools keep.
    async fn entry(
        &self,
        path: &str,
        is_folder: bool,
        place: &Place<'_>,
        request: CacheRequest,
    ) -> Response<Body> {
        let shared = &*self.shared;
        match place.dialect {
            Dialect::Cache => self.cache(place, request).await,
            Dialect::KeyValue => key_value::call(shared, place, request).await,
            Dialect::Gradle => gradle::call(shared, place, request).await,
            Dialect::Turborepo => turborepo::call(shared, place, request).await,
            Dialect::Nx => nx::call(shared, &self.claims, place, request).await,
            Dialect::Sccache => webdav::call(shared, path, is_folder, place, request).await,
        }
    }

    /// Blobs and action results.
    async fn cache(&self, place: &Place<'_>, request: CacheRequest) -> Response<Body> {
        let path = match CachePath::parse(place, &self.shared.functions) {
            Ok(path) => path,
            Err(error) => return refusal(error),
        };
        Notes::of(request.extensions()).instance(&path.instance).digest(path.hash);
        let target = Target {
            shared: &self.shared,
            partition: Partition::of(&path.instance),
            hash: path.hash,
        };
        match (request.method(), path.kind) {
            (&Method::GET | &Method::HEAD, Kind::Blob) => download::blob(&target, &request).await,
            // To HEAD, hyper answers with the length alone.
            (&Method::GET | &Method::HEAD, Kind::ActionResult) => {
                download::action_result(&target, &request).await
            }
            (&Method::PUT, Kind::Blob) => Box::pin(upload::blob(&target, request)).await,
            (&Method::PUT, Kind::ActionResult) => {
                Box::pin(upload::action_result(&target, request)).await
            }
            _ => method_not_allowed("GET, HEAD, PUT"),
        }
    }
}

impl Target<'_> {
    /// The digest of the blob that the hash names, to be read; without one this was a miss. It may turn out to be gone when it is
    /// read.
    pub(super) async fn to_read(&self) -> Result<Option<Digest>, StoreError> {
        let digest = self.digest().await;
        if digest.is_none() {
            let key = self.partition.blob(self.unknown());
            self.shared.blobs.get(&RequestCx::RAW, &key, ByteRange::ALL).await?;
        }
        Ok(digest)
    }

    /// The same, if the blob is present; this extends its life.
    pub(super) async fn present(&self) -> Result<Option<Digest>, StoreError> {
        let digest = self.digest().await.unwrap_or_else(|| self.unknown());
        if digest.is_empty_blob() {
            return Ok(Some(digest));
        }
        let key = self.partition.blob(digest);
        let missing = self.shared.blobs.find_missing(&RequestCx::RAW, key.into()).await?;
        Ok(missing.is_empty().then_some(digest))
    }

    async fn digest(&self) -> Option<Digest> {
        let empty = Digest::empty(self.hash.function());
        if *empty.hash() == self.hash {
            return Some(empty);
        }
        let keyspace = self.partition.blob_keyspace();
        let size_bytes = self.shared.sizes.size_of(keyspace, &self.hash).await?;
        Some(Digest::new(self.hash, size_bytes))
    }

    /// Stands for a blob that has no size, since it is not here: no blob is named so, and the stores are asked for it as for any
    /// other, so that they count over HTTP what they count over gRPC.
    fn unknown(&self) -> Digest {
        Digest::new(self.hash, 0)
    }
}

/// An error as the client sees it.
pub(super) fn refusal<E: EdgeError>(error: E) -> Response<Body> {
    let (code, message) = http_status(error);
    let mut response = text(code, &message);
    if code == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(status::RETRY_AFTER.as_secs()));
    }
    response
}

/// The answer to a method that the resource does not have.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("use one of {allowed}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A line of text.
pub(super) fn text(code: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(format!("{message}\n")));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Nothing but a code.
pub(super) fn bare(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
