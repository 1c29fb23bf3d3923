//! [`HealthHandle`]: `grpc.health.v1`, which answers what the server's life says.

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What `grpc.health.v1` answers for the server as a whole: not serving, until told otherwise. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HealthHandle {
    phase: Arc<watch::Sender<Phase>>,
    /// Whether a failed sync has ended writes.
    writes_refused: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Starting,
    Serving,
    Draining,
}

impl Phase {
    fn status(self, refuses_writes: bool) -> ServingStatus {
        match self {
            Self::Serving if !refuses_writes => ServingStatus::Serving,
            Self::Serving | Self::Starting | Self::Draining => ServingStatus::NotServing,
        }
    }
}

impl HealthHandle {
    /// Not serving yet. Once `writes_refused` says so, the answer is `NOT_SERVING`, though reads are still answered.
    pub fn new(writes_refused: watch::Receiver<bool>) -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Starting)), writes_refused }
    }

    /// From now on the answer is SERVING.
    pub fn set_serving(&self) {
        self.phase.send_replace(Phase::Serving);
    }

    /// From now on the answer is `NOT_SERVING`: clients should go elsewhere.
    pub fn set_draining(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// The status now and at each change, up to the drain: a watch that stayed open would hold it up.
    fn changes(&self) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + use<> {
        let (phases, refused) = (self.phase.subscribe(), self.writes_refused.clone());
        stream::unfold(Some((phases, refused, None)), async |state| {
            let (mut phases, mut refused, told) = state?;
            loop {
                let phase = *phases.borrow_and_update();
                let status = phase.status(*refused.borrow_and_update());
                if told != Some(status) || phase == Phase::Draining {
                    let is_more = phase != Phase::Draining;
                    let more = is_more.then_some((phases, refused, Some(status)));
                    return Some((Ok(response(status)), more));
                }
                tokio::select! {
                    changed = phases.changed() => changed.ok()?,
                    Ok(()) = refused.changed() => {}
                    else => return None,
                }
            }
        })
    }

    fn status(&self) -> ServingStatus {
        self.phase.borrow().status(*self.writes_refused.borrow())
    }

    pub(crate) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
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
            return Ok(Response::new(response(self.status())));
        }
        Err(Status::not_found("only the server as a whole has a status: ask for the empty service"))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if request.into_inner().service.is_empty() {
            return Ok(Response::new(self.changes().boxed()));
        }
        // The protocol wants a watch of an unknown service to stay open; no longer than any other, though.
        let unknown = stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
        let until_the_drain = self.changes().filter(|_| ready(false));
        Ok(Response::new(unknown.chain(until_the_drain).boxed()))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
