//! [`HealthHandle`]: `grpc.health.v1`, which answers what the server's life says.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What `grpc.health.v1` answers for the server as a whole: not serving, until told otherwise. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HealthHandle {
    status: Arc<watch::Sender<ServingStatus>>,
}

impl HealthHandle {
    /// Not serving yet.
    pub fn new() -> Self {
        Self { status: Arc::new(watch::Sender::new(ServingStatus::NotServing)) }
    }

    /// From now on the answer is SERVING.
    pub fn set_serving(&self) {
        self.status.send_replace(ServingStatus::Serving);
    }

    /// From now on the answer is `NOT_SERVING`: clients should go elsewhere.
    pub fn set_draining(&self) {
        self.status.send_replace(ServingStatus::NotServing);
    }

    pub(crate) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }
}

impl Default for HealthHandle {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl Health for HealthHandle {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if service.is_empty() {
            return Ok(Response::new(response(*self.status.borrow())));
        }
        Err(Status::not_found("only the server as a whole has a status: ask for the empty service"))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if request.into_inner().service.is_empty() {
            let changes = WatchStream::new(self.status.subscribe());
            return Ok(Response::new(changes.map(|status| Ok(response(status))).boxed()));
        }
        // The protocol wants a watch of an unknown service to stay open.
        let unknown = futures_util::stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
        Ok(Response::new(unknown.chain(futures_util::stream::pending()).boxed()))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
