//! `capabilities`: what a server says of itself.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::semver::SemVer;

use crate::conformance::announced::Need;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, not_applicable, violated};

pub(crate) const CASES: &[Case] = cases! {
    /// GetCapabilities answers.
    "capabilities.answers", Must, "Capabilities.GetCapabilities" => answers;
    /// A cache has cache_capabilities.
    "capabilities.cache", Must, "ServerCapabilities.cache_capabilities" => cache_is_there;
    /// The lowest and the highest API version are said, and the lowest is not above the highest.
    "capabilities.api-versions", Must, "ServerCapabilities.low_api_version, high_api_version" => api_versions;
    /// Version 2.0 is within the range: Bazel up to 4 knows no other, and refuses a server whose lowest is above it.
    "capabilities.api-version-2-0", Client[Bazel], "ServerCapabilities.low_api_version" => speaks_2_0;
    /// At least one digest function is announced.
    "capabilities.digest-functions", Must, "CacheCapabilities.digest_functions" => digest_functions;
    /// UNKNOWN is no digest function that a server can have, and none is listed twice.
    "capabilities.digest-functions-sane", Should, "CacheCapabilities.digest_functions" => digest_functions_sane;
    /// SHA256 is among the digest functions: the default of these clients.
    "capabilities.sha256", Client[Bazel, Buck2, GoSdk, Siso, Pants, BuildStream], "CacheCapabilities.digest_functions" => sha256;
    /// The limit of batches is not negative.
    "capabilities.batch-limit", Must, "CacheCapabilities.max_batch_total_size_bytes" => batch_limit;
    /// A limit of batches is said: the client cuts its batches by it, and takes 0 at its word.
    "capabilities.batch-limit-is-set", Client[GoSdk], "CacheCapabilities.max_batch_total_size_bytes" => batch_limit_is_set;
    /// A full batch fits into a gRPC message of 4 MiB, the most that clients take by default.
    "capabilities.batch-limit-fits-a-message", Client[GoSdk, Pants, BuildStream], "CacheCapabilities.max_batch_total_size_bytes", needs[Need::BatchLimit] => batch_limit_fits;
    /// The largest blob size is not negative.
    "capabilities.blob-limit", Must, "CacheCapabilities.max_cas_blob_size_bytes" => blob_limit;
    /// Each range of priorities begins at or below its end.
    "capabilities.priorities", Must, "PriorityCapabilities.PriorityRange" => priorities;
    /// Priority 0, which means the default, is within a range where any is announced.
    "capabilities.priority-zero", Should, "ResultsCachePolicy.priority" => priority_zero;
    /// Whether absolute symlinks are taken is said.
    "capabilities.symlink-strategy", Should, "CacheCapabilities.symlink_absolute_path_strategy" => symlink_strategy;
    /// Every compressor that is announced has a name in the specification.
    "capabilities.compressors-known", Should, "CacheCapabilities.supported_compressors" => compressors_known;
    /// The average chunk of FastCDC is from 1 KiB to 8 MiB.
    "capabilities.fastcdc-average", Must, "FastCdc2020Params.avg_chunk_size_bytes", needs[Need::FastCdc] => fastcdc_average;
    /// The least chunk of RepMaxCDC is at least 64 B, the window of its hash.
    "capabilities.repmax-minimum", Must, "RepMaxCdcParams.min_chunk_size_bytes", needs[Need::RepMaxCdc] => repmax_minimum;
    /// Two calls get the same answer.
    "capabilities.stable", Should, "Capabilities.GetCapabilities" => stable;
    /// An instance name with a reserved segment is refused: resource names with it could not be parsed.
    "capabilities.reserved-instance", Should, "ContentAddressableStorage, instance_name" => reserved_instance;
};

async fn cache(cx: &Cx) -> Result<reapi::CacheCapabilities, Halt> {
    let capabilities = expect::ok(cx.capabilities().await, "GetCapabilities")?;
    capabilities
        .cache_capabilities
        .map_or_else(|| violated("expected cache_capabilities, got none"), Ok)
}

async fn answers(cx: &Cx) -> Outcome {
    expect::ok(cx.capabilities().await, "GetCapabilities").map(drop)
}

async fn cache_is_there(cx: &Cx) -> Outcome {
    cache(cx).await.map(drop)
}

async fn versions(cx: &Cx) -> Result<(SemVer, SemVer), Halt> {
    let capabilities = expect::ok(cx.capabilities().await, "GetCapabilities")?;
    match (capabilities.low_api_version, capabilities.high_api_version) {
        (Some(low), Some(high)) => Ok((low, high)),
        (low, high) => violated(format!(
            "expected both API versions, got low {:?} and high {:?}",
            low.map(text),
            high.map(text)
        )),
    }
}

fn text(version: SemVer) -> String {
    format!("{}.{}", version.major, version.minor)
}

async fn api_versions(cx: &Cx) -> Outcome {
    let (low, high) = versions(cx).await?;
    let in_order = (low.major, low.minor) <= (high.major, high.minor);
    let found = format!("expected low <= high, got {} and {}", text(low), text(high));
    expect::that(in_order, || found)
}

async fn speaks_2_0(cx: &Cx) -> Outcome {
    let (low, high) = versions(cx).await?;
    let within = (low.major, low.minor) <= (2, 0) && high.major >= 2;
    let found = format!("expected 2.0 within the range, got {} to {}", text(low), text(high));
    expect::that(within, || found)
}

async fn digest_functions(cx: &Cx) -> Outcome {
    let functions = cache(cx).await?.digest_functions;
    expect::that(!functions.is_empty(), || "expected a digest function, got none".to_owned())
}

async fn digest_functions_sane(cx: &Cx) -> Outcome {
    let functions = cache(cx).await?.digest_functions;
    let mut distinct = functions.clone();
    distinct.sort_unstable();
    distinct.dedup();
    expect::that(!functions.contains(&0), || "expected no UNKNOWN, got it listed".to_owned())?;
    expect::equal(distinct.len(), functions.len(), "the number of distinct digest functions")
}

async fn sha256(cx: &Cx) -> Outcome {
    let functions = cache(cx).await?.digest_functions;
    let sha256 = i32::from(reapi::digest_function::Value::Sha256);
    expect::that(functions.contains(&sha256), || {
        format!("expected SHA256 (1) among the digest functions, got {functions:?}")
    })
}

async fn batch_limit(cx: &Cx) -> Outcome {
    let limit = cache(cx).await?.max_batch_total_size_bytes;
    expect::that(limit >= 0, || {
        format!("expected max_batch_total_size_bytes of at least 0, got {limit}")
    })
}

async fn batch_limit_is_set(cx: &Cx) -> Outcome {
    let limit = cache(cx).await?.max_batch_total_size_bytes;
    expect::that(limit > 0, || format!("expected max_batch_total_size_bytes above 0, got {limit}"))
}

async fn batch_limit_fits(cx: &Cx) -> Outcome {
    let limit = cache(cx).await?.max_batch_total_size_bytes;
    expect::that(limit <= 4 << 20, || {
        format!("expected max_batch_total_size_bytes of at most 4194304, got {limit}")
    })
}

async fn blob_limit(cx: &Cx) -> Outcome {
    let limit = cache(cx).await?.max_cas_blob_size_bytes;
    expect::that(limit >= 0, || {
        format!("expected max_cas_blob_size_bytes of at least 0, got {limit}")
    })
}

async fn priority_ranges(
    cx: &Cx,
) -> Result<Vec<reapi::priority_capabilities::PriorityRange>, Halt> {
    let ranges = cache(cx).await?.cache_priority_capabilities.unwrap_or_default().priorities;
    if ranges.is_empty() {
        return not_applicable("no priorities are announced");
    }
    Ok(ranges)
}

async fn priorities(cx: &Cx) -> Outcome {
    for range in priority_ranges(cx).await? {
        let (min, max) = (range.min_priority, range.max_priority);
        expect::that(min <= max, || {
            format!("expected min_priority <= max_priority, got {min} and {max}")
        })?;
    }
    Ok(())
}

async fn priority_zero(cx: &Cx) -> Outcome {
    let ranges = priority_ranges(cx).await?;
    let includes =
        ranges.iter().any(|range| (range.min_priority..=range.max_priority).contains(&0));
    expect::that(includes, || format!("expected a range that includes 0, got {ranges:?}"))
}

async fn symlink_strategy(cx: &Cx) -> Outcome {
    let strategy = cache(cx).await?.symlink_absolute_path_strategy;
    expect::that(strategy != 0, || "expected DISALLOWED (1) or ALLOWED (2), got UNKNOWN".to_owned())
}

async fn compressors_known(cx: &Cx) -> Outcome {
    let cache = cache(cx).await?;
    for value in [cache.supported_compressors, cache.supported_batch_update_compressors].concat() {
        expect::that(reapi::compressor::Value::try_from(value).is_ok(), || {
            format!("expected compressors of the specification, got {value}")
        })?;
    }
    Ok(())
}

async fn fastcdc_average(cx: &Cx) -> Outcome {
    let parameters = cache(cx).await?.fast_cdc_2020_params.unwrap_or_default();
    let average = parameters.avg_chunk_size_bytes;
    expect::that((1 << 10..=8 << 20).contains(&average), || {
        format!("expected avg_chunk_size_bytes from 1024 to 8388608, got {average}")
    })
}

async fn repmax_minimum(cx: &Cx) -> Outcome {
    let least = cache(cx).await?.rep_max_cdc_params.unwrap_or_default().min_chunk_size_bytes;
    expect::that(least >= 64, || {
        format!("expected min_chunk_size_bytes of at least 64, got {least}")
    })
}

async fn stable(cx: &Cx) -> Outcome {
    let first = expect::ok(cx.capabilities().await, "the first GetCapabilities")?;
    let second = expect::ok(cx.capabilities().await, "the second GetCapabilities")?;
    expect::that(first == second, || "expected the same answer twice, got two".to_owned())
}

async fn reserved_instance(cx: &Cx) -> Outcome {
    for segment in ["blobs", "uploads", "actions", "actionResults", "operations", "capabilities"] {
        let answer = cx.at_instance(&format!("a/{segment}")).capabilities().await;
        expect::refused(&answer, format!("the instance name \"a/{segment}\""))?;
    }
    Ok(())
}
