//! [`GrpcRouter`]: from the path of a call to its service.

use std::sync::Arc;

use ::http::{Request, Response};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use larder_protos::services::action_cache_server::ActionCacheServer;
use larder_protos::services::byte_stream_server::ByteStreamServer;
use larder_protos::services::capabilities_server::CapabilitiesServer;
use larder_protos::services::content_addressable_storage_server::ContentAddressableStorageServer;
use larder_protos::services::fetch_server::FetchServer;
use larder_protos::services::push_server::PushServer;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::ServiceExt;

use super::action_cache::ActionCacheService;
use super::admission::{Admitted, AdmittedBody, admit};
use super::asset::{FetchService, PushService};
use super::byte_stream::ByteStreamService;
use super::capabilities::CapabilitiesService;
use super::cas::CasService;
use super::read_body::with_download;
use super::stored_message::with_stored;
use super::write_call::is_plain;
use super::{find_missing, reflection, update_batch, update_result, write_call};
use crate::edge::health::HealthHandle;
use crate::edge::held_body::held;
use crate::edge::limits::MAX_MESSAGE_BYTES;
use crate::edge::service::Shared;

/// Hands each call to its service: the build's own directly, the rarely called ones through tonic's router.
#[derive(Clone, Debug)]
pub(crate) struct GrpcRouter {
    byte_stream: ByteStreamServer<ByteStreamService>,
    cas: ContentAddressableStorageServer<CasService>,
    action_cache: ActionCacheServer<ActionCacheService>,
    capabilities: CapabilitiesServer<CapabilitiesService>,
    others: Routes,
    shared: Arc<Shared>,
}

impl GrpcRouter {
    pub(crate) fn new(shared: &Arc<Shared>, health: &HealthHandle) -> Self {
        let byte_stream = ByteStreamServer::new(ByteStreamService(Arc::clone(shared)));
        let cas = ContentAddressableStorageServer::new(CasService(Arc::clone(shared)));
        let action_cache = ActionCacheServer::new(ActionCacheService(Arc::clone(shared)));
        let push = PushServer::new(PushService(Arc::clone(shared)));
        let capabilities = CapabilitiesServer::new(CapabilitiesService(Arc::clone(shared)));
        Self {
            byte_stream: byte_stream.max_decoding_message_size(MAX_MESSAGE_BYTES),
            cas: cas
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            action_cache: action_cache
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            capabilities,
            others: Routes::new(health.service())
                .add_service(FetchServer::new(FetchService::new(shared)))
                .add_service(push.max_decoding_message_size(MAX_MESSAGE_BYTES))
                .add_service(reflection::v1())
                .add_service(reflection::v1alpha()),
            shared: Arc::clone(shared),
        }
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        match admit(&self.shared.budget, request).await {
            Ok(Admitted { request, hold }) => held(self.dispatch(request).await, hold),
            Err((status, rest)) => {
                self.shared.drainer.drain(BodyDataStream::new(rest));
                status.into_http()
            }
        }
    }

    async fn dispatch(&self, request: Request<AdmittedBody>) -> Response<Body> {
        // In boxes, since these take more room than other calls, which would have to move it too.
        if request.uri().path() == find_missing::PATH {
            return Box::pin(find_missing::call(&self.shared, request)).await;
        }
        if request.uri().path() == update_result::PATH && is_plain(&request) {
            return Box::pin(update_result::call(&self.shared, request)).await;
        }
        if request.uri().path() == write_call::PATH && is_plain(&request) {
            return Box::pin(write_call::call(&self.shared, request)).await;
        }
        if request.uri().path() == update_batch::PATH && is_plain(&request) {
            return Box::pin(update_batch::call(&self.shared, request)).await;
        }
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let response = match service {
            ByteStreamServer::<ByteStreamService>::NAME => {
                self.byte_stream.clone().oneshot(request).await.map(with_download)
            }
            ContentAddressableStorageServer::<CasService>::NAME => {
                self.cas.clone().oneshot(request).await
            }
            ActionCacheServer::<ActionCacheService>::NAME => {
                self.action_cache.clone().oneshot(request).await.map(with_stored)
            }
            CapabilitiesServer::<CapabilitiesService>::NAME => {
                self.capabilities.clone().oneshot(request).await
            }
            _ => {
                let others = Box::pin(self.others.clone().oneshot(request.map(Body::new))).await;
                return others.unwrap_or_else(|never| match never {});
            }
        };
        response.unwrap_or_else(|never| match never {})
    }
}
