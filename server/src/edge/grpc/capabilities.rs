//! `Capabilities`: what this server does, and nothing that it does not.

use std::sync::Arc;

use larder_cas::chunking::{
    FAST_CDC_AVERAGE_BYTES, REP_MAX_CDC_HORIZON_BYTES, REP_MAX_CDC_MIN_BYTES,
};
use larder_protos::reapi::{
    ActionCacheUpdateCapabilities, CacheCapabilities, FastCdc2020Params, GetCapabilitiesRequest,
    PriorityCapabilities, RepMaxCdcParams, SemVer, ServerCapabilities, compressor,
    priority_capabilities::PriorityRange, symlink_absolute_path_strategy,
};
use larder_protos::services::capabilities_server::Capabilities;
use larder_protos::{DigestFunction, InstanceName};
use tonic::{Request, Response, Status};

use super::notes::note_instance;
use crate::auth::{Granted, Role};
use crate::edge::limits::MAX_BATCH_BYTES;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;

/// REAPI 2.0 to 2.12; Bazel refuses a server whose lowest version is above its own.
const LOW_API_VERSION: (i32, i32) = (2, 0);
const HIGH_API_VERSION: (i32, i32) = (2, 12);

#[derive(Clone, Debug)]
pub(crate) struct CapabilitiesService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Capabilities for CapabilitiesService {
    async fn get_capabilities(
        &self,
        request: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        note_instance(&request, |request| &request.instance_name);
        let granted = request.extensions().get::<Granted>();
        let update_enabled = granted.is_some_and(|granted| granted.is_at_least(Role::Write));
        let instance =
            InstanceName::parse(&request.get_ref().instance_name).map_err(grpc_status)?;
        let functions = self.0.functions.of(&instance).announced();
        let zstd = vec![compressor::Value::Zstd.into()];
        // Priorities are accepted and make no difference; a range is announced so that sending one is no error.
        let any_priority = PriorityRange { min_priority: i32::MIN, max_priority: i32::MAX };
        let cache = CacheCapabilities {
            digest_functions: functions.into_iter().map(DigestFunction::to_proto).collect(),
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities {
                update_enabled,
            }),
            cache_priority_capabilities: Some(PriorityCapabilities {
                priorities: vec![any_priority],
            }),
            max_batch_total_size_bytes: MAX_BATCH_BYTES.cast_signed(),
            symlink_absolute_path_strategy: symlink_absolute_path_strategy::Value::Allowed.into(),
            supported_compressors: zstd.clone(),
            supported_batch_update_compressors: zstd,
            max_cas_blob_size_bytes: self.0.max_blob_bytes.unwrap_or(0).cast_signed(),
            split_blob_support: true,
            splice_blob_support: true,
            fast_cdc_2020_params: Some(FastCdc2020Params {
                avg_chunk_size_bytes: FAST_CDC_AVERAGE_BYTES.into(),
                seed: 0,
            }),
            rep_max_cdc_params: Some(RepMaxCdcParams {
                min_chunk_size_bytes: REP_MAX_CDC_MIN_BYTES as u64,
                horizon_size_bytes: REP_MAX_CDC_HORIZON_BYTES as u64,
            }),
        };
        Ok(Response::new(ServerCapabilities {
            cache_capabilities: Some(cache),
            low_api_version: Some(version(LOW_API_VERSION)),
            high_api_version: Some(version(HIGH_API_VERSION)),
            ..ServerCapabilities::default()
        }))
    }
}

fn version((major, minor): (i32, i32)) -> SemVer {
    SemVer { major, minor, ..SemVer::default() }
}
