//! `Capabilities`, health and reflection.

use larder_protos::reapi::{GetCapabilitiesRequest, SemVer, compressor};
use larder_testkit::TestServer;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::client::assert_refused;

#[tokio::test]
async fn what_is_announced_is_what_clients_need() {
    let server = TestServer::start_with(&[("max_blob_size", "512MiB")]).await;
    let request = GetCapabilitiesRequest { instance_name: "any/name".to_owned() };
    let answer = server.capabilities().get_capabilities(request).await.expect("an answer");
    let answer = answer.into_inner();
    let version = |major, minor| Some(SemVer { major, minor, ..SemVer::default() });
    assert_eq!(answer.low_api_version, version(2, 0));
    assert_eq!(answer.high_api_version, version(2, 12));
    assert_eq!(answer.execution_capabilities, None);
    let cache = answer.cache_capabilities.expect("a cache");
    assert_eq!(
        cache.digest_functions,
        [1, 5, 6, 9, 8],
        "SHA256, SHA384, SHA512, BLAKE3, SHA256TREE"
    );
    let zstd: i32 = compressor::Value::Zstd.into();
    assert_eq!(cache.supported_compressors, [zstd]);
    assert_eq!(cache.supported_batch_update_compressors, [zstd]);
    assert_eq!(cache.max_batch_total_size_bytes, 4_128_768);
    assert_eq!(cache.max_cas_blob_size_bytes, 512 << 20);
    assert!(cache.action_cache_update_capabilities.expect("said").update_enabled);
    let priorities = cache.cache_priority_capabilities.expect("said").priorities;
    assert!(priorities[0].min_priority <= 0 && priorities[0].max_priority >= 0);
    server.stop().await;
}

#[tokio::test]
async fn a_reserved_instance_name_is_refused() {
    let server = TestServer::start().await;
    let request = GetCapabilitiesRequest { instance_name: "operations/x".to_owned() };
    let refused = server.capabilities().get_capabilities(request).await;
    assert_refused(refused, Code::InvalidArgument, "reserved segment");
    server.stop().await;
}

#[tokio::test]
async fn health_answers_for_the_whole_server() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel());
    let whole = health.check(HealthCheckRequest::default()).await.expect("an answer");
    assert_eq!(whole.into_inner().status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest { service: "no.such.Service".to_owned() };
    assert_refused(health.check(unknown).await, Code::NotFound, "whole");
    server.stop().await;
}

#[tokio::test]
async fn reflection_lists_every_service() {
    let server = TestServer::start().await;
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(server.channel());
    let answers = reflection.server_reflection_info(futures_util::stream::iter([list])).await;
    let answer = answers.expect("a stream").into_inner().message().await.expect("an answer");
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answer.and_then(|answer| answer.message_response)
    else {
        panic!("no list");
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for name in [
        "google.bytestream.ByteStream",
        "build.bazel.remote.execution.v2.ActionCache",
        "build.bazel.remote.execution.v2.Capabilities",
        "build.bazel.remote.execution.v2.ContentAddressableStorage",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
    }
    server.stop().await;
}
