//! [`Edge`]: one tower service for all that the public port speaks.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::header::CONTENT_TYPE;
use ::http::{Request, Response};
use hyper::body::Incoming;
use larder_action_cache::ActionStore;
use larder_cas::{BlobStore, Chunked};
use larder_protos::InstanceName;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::budget::Budget;
use super::drainer::Drainer;
use super::functions::{FunctionError, Functions, Said};
use super::grpc::GrpcRouter;
use super::health::HealthHandle;
use super::http::{HttpCache, Spool};
use super::limits::{
    KEPT_UPLOADS_AGE, KEPT_UPLOADS_DISK_SHARE, KEPT_UPLOADS_MEMORY_SHARE, MAX_KEPT_UPLOADS,
};
use super::partition::Partition;
use super::uploads::{UploadLimits, Uploads};
use crate::compose::{BlobSizes, Stacks};
use crate::config::{ByteSize, Config};
use crate::fetch::Origin;

/// What every service of the edge works with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) actions: Arc<dyn ActionStore>,
    pub(crate) sizes: Arc<dyn BlobSizes>,
    pub(crate) chunked: Chunked,
    pub(crate) functions: Functions,
    pub(crate) budget: Budget,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) drainer: Drainer,
    pub(crate) zstd_level: i32,
    pub(crate) spool: Spool,
    /// Whom Remote Asset has asked for what was not pushed, if anybody.
    pub(crate) origin: Option<Arc<Origin>>,
    /// Cancelled when the drain begins.
    pub(crate) ending: CancellationToken,
    /// Announced to clients; the store itself enforces it.
    pub(crate) max_blob_bytes: Option<u64>,
}

impl Shared {
    /// What a request to an instance is about: where its data lives, and how its digests are read.
    pub(crate) fn addressed(
        &self,
        instance_name: &str,
        digest_function: i32,
    ) -> Result<(Partition, Said<'_>), FunctionError> {
        let instance = InstanceName::parse(instance_name)?;
        let said = self.functions.of(&instance).said(digest_function)?;
        Ok((Partition::of(&instance), said))
    }
}

/// The public port's service: gRPC by content type, else the HTTP cache. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Edge {
    budget: Budget,
    uploads: Arc<Uploads>,
    grpc: Arc<GrpcRouter>,
    http: Arc<HttpCache>,
}

impl Edge {
    /// Serves `stacks`. When the drain begins, `ending` is cancelled: what runs in the background ends soon.
    pub fn new(
        stacks: &Stacks,
        config: &Config,
        origin: Option<Arc<Origin>>,
        health: HealthHandle,
        ending: CancellationToken,
    ) -> Self {
        let budget = Budget::new(config.max_in_flight.as_bytes());
        let uploads = Arc::new(Uploads::new(UploadLimits {
            count: MAX_KEPT_UPLOADS,
            disk_bytes: config.max_size.as_bytes() / KEPT_UPLOADS_DISK_SHARE,
            memory_bytes: config.max_in_flight.as_bytes() / KEPT_UPLOADS_MEMORY_SHARE,
            age: KEPT_UPLOADS_AGE,
        }));
        let shared = Arc::new(Shared {
            blobs: Arc::clone(&stacks.blobs),
            actions: Arc::clone(&stacks.actions),
            sizes: Arc::clone(&stacks.sizes),
            chunked: stacks.chunked().clone(),
            functions: Functions::new(config),
            budget: budget.clone(),
            uploads: Arc::clone(&uploads),
            drainer: Drainer::new(ending.clone()),
            zstd_level: config.compression.level,
            spool: Spool {
                directory: config.data_dir.clone(),
                limit_bytes: config.max_blob_size.unwrap_or(config.max_size).as_bytes(),
            },
            origin,
            ending,
            max_blob_bytes: config.max_blob_size.map(ByteSize::as_bytes),
        });
        let grpc = Arc::new(GrpcRouter::new(&shared, &health));
        Self { budget, uploads, grpc, http: Arc::new(HttpCache::new(shared)) }
    }

    /// The uploads that can be resumed.
    pub fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// The bytes of all requests in memory.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

/// Whether a request is a gRPC call, by its content type.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl tower_service::Service<Request<Incoming>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if is_grpc(&request) {
            let grpc = Arc::clone(&self.grpc);
            Box::pin(async move { Ok(grpc.call(request).await) })
        } else {
            let http = Arc::clone(&self.http);
            Box::pin(async move { Ok(http.call(request).await) })
        }
    }
}
