//! [`Announced`]: what a server says that it can do, asked once before the cases. [`Need`]: what a case wants of it.
//!
//! What a server does not announce is no fault: the cases that need it are skipped, with the reason.

use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use reapi::compressor::Value as Compressor;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::context::Connection;
use super::digest::Function;

/// Something optional that a case cannot do without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Need {
    /// An HTTP/1.1 cache, by `--http`.
    Http,
    /// The ActionCache service; a CAS on its own has none.
    ActionCache,
    /// `update_enabled`.
    Updates,
    /// zstd for `compressed-blobs`.
    Zstd,
    /// zstd in BatchUpdateBlobs.
    BatchZstd,
    /// A digest function.
    Function(Function),
    /// At least two digest functions that the kit can compute.
    TwoFunctions,
    /// A `max_batch_total_size_bytes`.
    BatchLimit,
    /// A `max_cas_blob_size_bytes`.
    BlobLimit,
    Split,
    Splice,
    FastCdc,
    RepMaxCdc,
    Fetch,
    Push,
    Health,
    Reflection,
}

/// What a server offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced {
    /// As it answered; empty where it did not.
    pub(crate) capabilities: reapi::ServerCapabilities,
    /// What is there without being announced: services, and HTTP where the user says so.
    pub(crate) found: Vec<Need>,
}

impl Announced {
    /// Asks. An error is a server that nothing can be tried on.
    pub(crate) async fn ask(
        connection: Connection,
        instance_name: &str,
        has_http: bool,
    ) -> Result<Self, Status> {
        let capabilities = capabilities(connection.clone(), instance_name).await?;
        let absent = Function::Sha256.hash(b"larder-conformance asks whether there is a service");
        let digest = Some(reapi::Digest { hash: absent, size_bytes: 50 });
        let mut actions = reapi::action_cache_client::ActionCacheClient::new(connection.clone());
        let instance_name = instance_name.to_owned();
        let action = reapi::GetActionResultRequest {
            instance_name: instance_name.clone(),
            action_digest: digest,
            ..Default::default()
        };
        let mut fetch = asset::fetch_client::FetchClient::new(connection.clone());
        let fetched =
            asset::FetchBlobRequest { instance_name: instance_name.clone(), ..Default::default() };
        let mut push = asset::push_client::PushClient::new(connection.clone());
        let pushed = asset::PushBlobRequest { instance_name, ..Default::default() };
        let mut health = HealthClient::new(connection.clone());
        let found = [
            (has_http, Need::Http),
            (is_there(&actions.get_action_result(action).await), Need::ActionCache),
            (is_there(&fetch.fetch_blob(fetched).await), Need::Fetch),
            (is_there(&push.push_blob(pushed).await), Need::Push),
            (is_there(&health.check(HealthCheckRequest::default()).await), Need::Health),
            (has_reflection(connection).await, Need::Reflection),
        ];
        let found = found.into_iter().filter_map(|(there, need)| there.then_some(need)).collect();
        Ok(Self { capabilities, found })
    }

    /// What it says of its cache.
    pub(crate) fn cache(&self) -> reapi::CacheCapabilities {
        self.capabilities.cache_capabilities.clone().unwrap_or_default()
    }

    /// The announced digest functions that the kit can compute, in the kit's order.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let announced = self.cache().digest_functions;
        Function::ALL.into_iter().filter(|function| announced.contains(&function.value())).collect()
    }

    /// The function that cases use which are about something else.
    pub(crate) fn usual_function(&self) -> Function {
        self.functions().first().copied().unwrap_or(Function::Sha256)
    }

    /// Whether the cache takes batches of this size, as far as it says.
    pub(crate) fn batch_limit(&self) -> Option<usize> {
        usize::try_from(self.cache().max_batch_total_size_bytes).ok().filter(|limit| *limit > 0)
    }

    /// Why a case that has this need means nothing here; `None` where it does.
    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        let cache = self.cache();
        let zstd = i32::from(Compressor::Zstd);
        let has = |need| self.found.contains(&need);
        let updates = cache.action_cache_update_capabilities.is_some_and(|can| can.update_enabled);
        let (offered, reason) = match need {
            Need::Http => (has(Need::Http), "no --http address was given"),
            Need::ActionCache => (has(Need::ActionCache), "there is no ActionCache service"),
            Need::Updates => (updates, "update_enabled is not announced"),
            Need::Zstd => (
                cache.supported_compressors.contains(&zstd),
                "zstd is not among the supported_compressors",
            ),
            Need::BatchZstd => (
                cache.supported_batch_update_compressors.contains(&zstd),
                "zstd is not among the supported_batch_update_compressors",
            ),
            Need::Function(function) => {
                let offered = cache.digest_functions.contains(&function.value());
                let reason = format!("{} is not among the digest_functions", function.name());
                return (!offered).then_some(reason);
            }
            Need::TwoFunctions => (
                self.functions().len() > 1,
                "fewer than two digest_functions that the kit can compute are announced",
            ),
            Need::BatchLimit => {
                (self.batch_limit().is_some(), "no max_batch_total_size_bytes is announced")
            }
            Need::BlobLimit => {
                (cache.max_cas_blob_size_bytes > 0, "no max_cas_blob_size_bytes is announced")
            }
            Need::Split => (cache.split_blob_support, "split_blob_support is not announced"),
            Need::Splice => (cache.splice_blob_support, "splice_blob_support is not announced"),
            Need::FastCdc => {
                (cache.fast_cdc_2020_params.is_some(), "no fast_cdc_2020_params are announced")
            }
            Need::RepMaxCdc => {
                (cache.rep_max_cdc_params.is_some(), "no rep_max_cdc_params are announced")
            }
            Need::Fetch => (has(Need::Fetch), "there is no Remote Asset Fetch service"),
            Need::Push => (has(Need::Push), "there is no Remote Asset Push service"),
            Need::Health => (has(Need::Health), "there is no grpc.health.v1 service"),
            Need::Reflection => (has(Need::Reflection), "there is no grpc.reflection.v1 service"),
        };
        (!offered).then(|| reason.to_owned())
    }

    /// In a line, for people.
    pub(crate) fn summary(&self) -> String {
        let cache = self.cache();
        let version = |version: &Option<_>| match version {
            Some(bazel_remote_apis::build::bazel::semver::SemVer { major, minor, .. }) => {
                format!("{major}.{minor}")
            }
            None => "?".to_owned(),
        };
        let functions = cache.digest_functions.iter().map(|value| {
            reapi::digest_function::Value::try_from(*value)
                .map_or_else(|_| value.to_string(), |known| known.as_str_name().to_owned())
        });
        let compressors = cache.supported_compressors.iter().map(|value| {
            Compressor::try_from(*value)
                .map_or_else(|_| value.to_string(), |known| known.as_str_name().to_owned())
        });
        let has = |need| self.found.contains(&need);
        let offered = [
            (has(Need::ActionCache), "ActionCache"),
            (cache.split_blob_support, "SplitBlob"),
            (cache.splice_blob_support, "SpliceBlob"),
            (has(Need::Fetch), "Fetch"),
            (has(Need::Push), "Push"),
            (has(Need::Health), "health"),
            (has(Need::Reflection), "reflection"),
            (has(Need::Http), "HTTP"),
        ];
        let offered = offered.into_iter().filter_map(|(there, name)| there.then_some(name));
        format!(
            "REAPI {} to {}; digests {}; compressors {}; {}",
            version(&self.capabilities.low_api_version),
            version(&self.capabilities.high_api_version),
            listed(functions),
            listed(compressors),
            listed(offered),
        )
    }
}

fn listed<T: AsRef<str>>(words: impl Iterator<Item = T>) -> String {
    let words: Vec<_> = words.map(|word| word.as_ref().to_owned()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// The server's capabilities. A server that lives but has no such method has none; that is a case's finding, not the end.
async fn capabilities(
    connection: Connection,
    instance_name: &str,
) -> Result<reapi::ServerCapabilities, Status> {
    let mut client = reapi::capabilities_client::CapabilitiesClient::new(connection);
    let request = reapi::GetCapabilitiesRequest { instance_name: instance_name.to_owned() };
    match client.get_capabilities(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::Unimplemented => {
            Ok(reapi::ServerCapabilities::default())
        }
        Err(status) => Err(status),
    }
}

async fn has_reflection(connection: Connection) -> bool {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(connection);
    match client.server_reflection_info(futures_util::stream::iter([request])).await {
        Ok(answer) => is_there(&answer.into_inner().message().await),
        Err(status) => status.code() != Code::Unimplemented,
    }
}

fn is_there<T>(answer: &Result<T, Status>) -> bool {
    !matches!(answer, Err(status) if status.code() == Code::Unimplemented)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_announced_is_lacking_with_a_reason() {
        let nothing = Announced::default();
        let cache = reapi::CacheCapabilities {
            digest_functions: vec![Function::Blake3.value()],
            supported_compressors: vec![Compressor::Zstd.into()],
            max_batch_total_size_bytes: 7,
            ..Default::default()
        };
        let capabilities =
            reapi::ServerCapabilities { cache_capabilities: Some(cache), ..Default::default() };
        let something = Announced { capabilities, found: vec![Need::Http] };
        for need in [Need::Zstd, Need::BatchLimit, Need::Http, Need::Function(Function::Blake3)] {
            assert!(nothing.lacks(need).is_some(), "{need:?}");
            assert_eq!(something.lacks(need), None, "{need:?}");
        }
        let lacking = something.lacks(Need::Function(Function::Sha256));
        assert_eq!(lacking.as_deref(), Some("SHA256 is not among the digest_functions"));
        assert_eq!(something.usual_function(), Function::Blake3);
    }
}
