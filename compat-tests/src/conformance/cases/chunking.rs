//! `chunking`: SplitBlob and SpliceBlob of REAPI 2.12.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use fastcdc::v2020::{FastCDC, Normalization};
use reapi::chunking_function::Value as Chunking;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::output_file;
use crate::conformance::calls::result_of;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::{Blob, signed};
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, not_applicable, violated};

pub(crate) const CASES: &[Case] = cases! {
    /// The chunks of a blob, one after the other, are the blob.
    "chunking.split.whole", Must, "SplitBlob, \"results in the original blob\"", needs[Need::Split] => split(9_000_000, Chunking::Unknown);
    /// A blob that is too small to be cut is a chunk of its own.
    "chunking.split.small", Must, "SplitBlob, \"results in the original blob\"", needs[Need::Split] => split(1_000, Chunking::Unknown);
    /// FastCDC's chunks are the blob, and none but the last is outside a quarter to four times the average.
    "chunking.split.fastcdc", Must, "FastCdc2020Params, minimum and maximum chunk size", needs[Need::Split, Need::FastCdc] => split_fastcdc;
    /// FastCDC cuts where the implementation does that the specification names, so that clients can cut the same way.
    "chunking.split.fastcdc-boundaries", Should, "FastCdc2020Params, \"Supported implementations\"", needs[Need::Split, Need::FastCdc] => split_fastcdc_boundaries;
    /// RepMaxCDC's chunks are the blob, and none is outside the minimum to twice the minimum.
    "chunking.split.repmax", Must, "RepMaxCdcParams.min_chunk_size_bytes", needs[Need::Split, Need::RepMaxCdc] => split_repmax;
    /// The same blob is cut the same way again.
    "chunking.split.again", Should, "ContentAddressableStorage.SplitBlob", needs[Need::Split] => split_again;
    /// Two blobs with a long part in common have chunks in common.
    "chunking.split.shares-chunks", Should, "SplitBlob, \"blobs SHOULD be split in a content-defined way\"", needs[Need::Split] => split_shares;
    /// All chunks of an answer are there.
    "chunking.split.chunks-present", Must, "SplitBlob, \"The blob chunks are stored in CAS\"", needs[Need::Split] => split_chunks_present;
    /// A blob that is not there is NOT_FOUND.
    "chunking.split.absent", Must, "SplitBlob, NOT_FOUND", needs[Need::Split] => split_absent;
    /// The answer says by which function the blob was cut.
    "chunking.split.says-function", Should, "SplitBlobResponse.chunking_function", needs[Need::Split, Need::FastCdc] => split_says;
    /// A request without a digest is refused.
    "chunking.split.no-digest", Should, "SplitBlobRequest.blob_digest", needs[Need::Split] => split_no_digest;
    /// A hash that is none is refused.
    "chunking.split.bad-hash", Must, "Digest.hash", needs[Need::Split] => split_bad_hash;
    /// The empty blob can be split, or is not found; never an error of the server.
    "chunking.split.empty-blob", Should, "ContentAddressableStorage, \"as though empty blobs are always available\"", needs[Need::Split] => split_empty;
    /// Chunks that were uploaded become the blob.
    "chunking.splice.whole", Must, "ContentAddressableStorage.SpliceBlob", needs[Need::Splice] => splice(&[100_000, 200_000, 50_000]);
    /// One chunk can be the whole blob.
    "chunking.splice.one-chunk", Must, "ContentAddressableStorage.SpliceBlob", needs[Need::Splice] => splice(&[100_000]);
    /// A thousand chunks become a blob.
    "chunking.splice.thousand-chunks", Must, "ContentAddressableStorage.SpliceBlob", needs[Need::Splice] => splice(&[500; 1_000]);
    /// The answer has the blob's digest.
    "chunking.splice.answers-digest", Must, "SpliceBlobResponse.blob_digest", needs[Need::Splice] => splice_answers;
    /// Chunks that are not the blob are INVALID_ARGUMENT, and nothing is stored.
    "chunking.splice.wrong-digest", Must, "SpliceBlob, \"reject the request if they differ\"", needs[Need::Splice] => splice_wrong;
    /// Chunks in another order are INVALID_ARGUMENT.
    "chunking.splice.wrong-order", Must, "SpliceBlob, \"reject the request if they differ\"", needs[Need::Splice] => splice_order;
    /// A chunk that is not there is NOT_FOUND.
    "chunking.splice.absent-chunk", Must, "SpliceBlob, NOT_FOUND", needs[Need::Splice] => splice_absent;
    /// A blob that is there may be spliced again.
    "chunking.splice.again", Must, "SpliceBlob, \"MAY accept a request as no-op\"", needs[Need::Splice] => splice_again;
    /// A chunk may be there more than once.
    "chunking.splice.repeated-chunk", Must, "ContentAddressableStorage.SpliceBlob", needs[Need::Splice] => splice_repeated;
    /// A spliced blob can be read from any offset, and with a limit.
    "chunking.splice.ranges", Must, "google.bytestream.ReadRequest.read_offset", needs[Need::Splice] => splice_ranges;
    /// A spliced blob can be read as zstd.
    "chunking.splice.read-zstd", Must, "ContentAddressableStorage, \"each of the compression formats\"", needs[Need::Splice, Need::Zstd] => splice_zstd;
    /// A spliced blob can be read in a batch.
    "chunking.splice.batch-read", Must, "ContentAddressableStorage.BatchReadBlobs", needs[Need::Splice] => splice_batch;
    /// A spliced blob can be split.
    "chunking.splice.split", Must, "ContentAddressableStorage.SplitBlob", needs[Need::Splice, Need::Split] => splice_split;
    /// A result whose output was spliced is a hit.
    "chunking.splice.action-result", Must, "ActionCache.GetActionResult", needs[Need::Splice, Need::ActionCache, Need::Updates] => splice_result;
    /// A request without a blob digest is refused.
    "chunking.splice.no-digest", Should, "SpliceBlobRequest.blob_digest, \"The client MUST set this field\"", needs[Need::Splice] => splice_no_digest;
};

/// Splits, and holds the chunks against the blob; gives their sizes.
async fn checked_split(cx: &Cx, blob: &Blob, by: Chunking) -> Result<Vec<usize>, Halt> {
    let what = format!("SplitBlob of {} B by {}", blob.data.len(), by.as_str_name());
    let answer = expect::ok(cx.split(&blob.digest(), by.into()).await, &what)?;
    let mut assembled = Vec::with_capacity(blob.data.len());
    let mut sizes = Vec::new();
    for digest in answer.chunk_digests {
        let segment = blob.function.segment().map_or(String::new(), |name| format!("{name}/"));
        let name = cx.name(&format!("blobs/{segment}{}/{}", digest.hash, digest.size_bytes));
        let chunk = expect::ok(cx.read(&name).await, format!("a read of a chunk of {what}"))?;
        expect::equal(signed(chunk.len()), digest.size_bytes, "the size of a chunk")?;
        sizes.push(chunk.len());
        assembled.extend_from_slice(&chunk);
    }
    expect::bytes(&assembled, &blob.data, format!("the chunks of {what}, one after the other"))?;
    Ok(sizes)
}

async fn split(cx: &Cx, size: usize, by: Chunking) -> Outcome {
    let blob = cx.stored(size).await?;
    checked_split(cx, &blob, by).await.map(drop)
}

/// All sizes but the last lie within; the last is at most the largest.
fn expect_sizes(sizes: &[usize], least: usize, most: usize) -> Outcome {
    let Some((last, others)) = sizes.split_last() else {
        return violated("expected chunks, got none");
    };
    let outside = others.iter().find(|size| !(least..=most).contains(size));
    let outside = outside.or_else(|| Some(last).filter(|size| **size > most));
    match outside {
        Some(size) => {
            violated(format!("expected chunks of {least} to {most} B, got one of {size} B"))
        }
        None => Ok(()),
    }
}

async fn split_fastcdc(cx: &Cx) -> Outcome {
    let parameters = cx.announced().cache().fast_cdc_2020_params.unwrap_or_default();
    let average = usize::try_from(parameters.avg_chunk_size_bytes).unwrap_or(usize::MAX);
    let blob = cx.stored(9_000_000).await?;
    let sizes = checked_split(cx, &blob, Chunking::FastCdc2020).await?;
    expect_sizes(&sizes, average / 4, average.saturating_mul(4))
}

async fn split_fastcdc_boundaries(cx: &Cx) -> Outcome {
    let parameters = cx.announced().cache().fast_cdc_2020_params.unwrap_or_default();
    let average = u32::try_from(parameters.avg_chunk_size_bytes).unwrap_or(u32::MAX);
    if !(1_024..=fastcdc::v2020::AVERAGE_MAX).contains(&average) {
        return not_applicable(format!("the kit cannot cut by an average of {average} B"));
    }
    let blob = cx.stored(9_000_000).await?;
    let (level, seed) = (Normalization::Level2, parameters.seed.into());
    let cutter =
        FastCDC::with_level_and_seed(&blob.data, average / 4, average, average * 4, level, seed);
    let expected: Vec<_> = cutter.map(|chunk| chunk.length).collect();
    let sizes = checked_split(cx, &blob, Chunking::FastCdc2020).await?;
    expect::equal(
        sizes,
        expected,
        format!("the sizes of the chunks, by an average of {average} B and seed {seed}"),
    )
}

async fn split_repmax(cx: &Cx) -> Outcome {
    let parameters = cx.announced().cache().rep_max_cdc_params.unwrap_or_default();
    let least = usize::try_from(parameters.min_chunk_size_bytes).unwrap_or(usize::MAX);
    let blob = cx.stored(9_000_000).await?;
    let sizes = checked_split(cx, &blob, Chunking::RepMaxCdc).await?;
    expect_sizes(&sizes, least, least.saturating_mul(2))
}

async fn split_again(cx: &Cx) -> Outcome {
    let blob = cx.stored(9_000_000).await?;
    let first = expect::ok(cx.split(&blob.digest(), 0).await, "the first SplitBlob")?;
    let second = expect::ok(cx.split(&blob.digest(), 0).await, "the second SplitBlob")?;
    expect::that(first.chunk_digests == second.chunk_digests, || {
        "expected the same chunks twice, got two lists".to_owned()
    })
}

async fn split_shares(cx: &Cx) -> Outcome {
    let mut data = cx.bytes(9_000_000);
    let blob = cx.blob_of(data.clone());
    data.splice(..0, cx.bytes(1_000));
    let shifted = cx.blob_of(data);
    cx.store(&blob).await?;
    cx.store(&shifted).await?;
    let first = expect::ok(cx.split(&blob.digest(), 0).await, "the first SplitBlob")?;
    let second = expect::ok(cx.split(&shifted.digest(), 0).await, "the second SplitBlob")?;
    let shared = second.chunk_digests.iter().filter(|chunk| first.chunk_digests.contains(chunk));
    let (shared, all) = (shared.count(), second.chunk_digests.len());
    expect::that(shared > 0, || {
        format!("expected chunks in common after 1000 B in front, got 0 of {all}")
    })
}

async fn split_chunks_present(cx: &Cx) -> Outcome {
    let blob = cx.stored(9_000_000).await?;
    let answer = expect::ok(cx.split(&blob.digest(), 0).await, "SplitBlob")?;
    let missing = cx.find_missing(&answer.chunk_digests).await;
    let missing = expect::ok(missing, "FindMissingBlobs of the chunks")?;
    expect::equal(missing.len(), 0, "the number of missing chunks")
}

async fn split_absent(cx: &Cx) -> Outcome {
    let answer = cx.split(&cx.blob(100).digest(), 0).await;
    expect::code(&answer, Code::NotFound, "SplitBlob of a blob that was never stored")
}

async fn split_says(cx: &Cx) -> Outcome {
    let blob = cx.stored(9_000_000).await?;
    let by = i32::from(Chunking::FastCdc2020);
    let answer = expect::ok(cx.split(&blob.digest(), by).await, "SplitBlob by FAST_CDC_2020")?;
    expect::that(answer.chunking_function != 0, || {
        "expected the chunking function to be said, got UNKNOWN".to_owned()
    })
}

async fn split_no_digest(cx: &Cx) -> Outcome {
    let request = reapi::SplitBlobRequest { instance_name: cx.instance(), ..Default::default() };
    let answer = cx.cas().split_blob(request).await.map(tonic::Response::into_inner);
    expect::refused(&answer, "SplitBlob without blob_digest")
}

async fn split_bad_hash(cx: &Cx) -> Outcome {
    let mut digest = cx.blob(100).digest();
    digest.hash.replace_range(..1, "z");
    expect::refused(&cx.split(&digest, 0).await, "SplitBlob of a hash that begins with z")
}

async fn split_empty(cx: &Cx) -> Outcome {
    let answer = cx.split(&cx.blob_of(Vec::new()).digest(), 0).await;
    expect::one_of(&answer, &[Code::Ok, Code::NotFound, Code::InvalidArgument], "SplitBlob of it")
}

/// Stored chunks of these sizes, and the blob that they make, which is not stored.
async fn chunks(cx: &Cx, sizes: &[usize]) -> Result<(Vec<Blob>, Blob), Halt> {
    let chunks: Vec<_> = sizes.iter().map(|size| cx.blob(*size)).collect();
    for part in chunks.chunks(500) {
        if part.iter().map(|chunk| chunk.data.len()).sum::<usize>() > 1_000_000 {
            for chunk in part {
                cx.store(chunk).await?;
            }
            continue;
        }
        let answer = cx.batch_update(part.iter().map(Blob::batched).collect()).await;
        expect::ok(answer, "BatchUpdateBlobs of the chunks, which prepares the case")?;
    }
    let whole = chunks.iter().flat_map(|chunk| chunk.data.clone()).collect();
    let whole = cx.blob_of(whole);
    Ok((chunks, whole))
}

fn digests(chunks: &[Blob]) -> Vec<reapi::Digest> {
    chunks.iter().map(Blob::digest).collect()
}

/// A blob that was spliced of three chunks.
async fn spliced(cx: &Cx) -> Result<Blob, Halt> {
    let (parts, whole) = chunks(cx, &[100_000, 200_000, 50_000]).await?;
    let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
    expect::ok(answer, "SpliceBlob of three chunks")?;
    Ok(whole)
}

async fn splice(cx: &Cx, sizes: &[usize]) -> Outcome {
    let (parts, whole) = chunks(cx, sizes).await?;
    let what = format!("SpliceBlob of {} chunks", parts.len());
    expect::ok(cx.splice(&whole.digest(), digests(&parts), 0).await, &what)?;
    cx.expect_present(&whole, "a blob that was spliced").await?;
    cx.expect_readable(&whole, &format!("a read after {what}")).await
}

async fn splice_answers(cx: &Cx) -> Outcome {
    let (parts, whole) = chunks(cx, &[1_000, 2_000]).await?;
    let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
    let answer = expect::ok(answer, "SpliceBlob")?;
    expect::equal(answer.blob_digest, Some(whole.digest()), "the digest in its answer")
}

async fn splice_wrong(cx: &Cx) -> Outcome {
    let (parts, whole) = chunks(cx, &[1_000, 2_000]).await?;
    let other = cx.blob(whole.data.len());
    let answer = cx.splice(&other.digest(), digests(&parts), 0).await;
    expect::code(&answer, Code::InvalidArgument, "SpliceBlob under another blob's digest")?;
    cx.expect_missing(&other, "the other blob").await
}

async fn splice_order(cx: &Cx) -> Outcome {
    let (mut parts, whole) = chunks(cx, &[1_000, 2_000]).await?;
    parts.reverse();
    let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
    expect::code(&answer, Code::InvalidArgument, "SpliceBlob of chunks in another order")
}

async fn splice_absent(cx: &Cx) -> Outcome {
    let (mut parts, _) = chunks(cx, &[1_000]).await?;
    parts.push(cx.blob(2_000));
    let whole = cx.blob_of(parts.iter().flat_map(|chunk| chunk.data.clone()).collect());
    let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
    expect::code(&answer, Code::NotFound, "SpliceBlob with a chunk that was never stored")?;
    cx.expect_missing(&whole, "the blob of a refused splice").await
}

async fn splice_again(cx: &Cx) -> Outcome {
    let (parts, whole) = chunks(cx, &[1_000, 2_000]).await?;
    cx.store(&whole).await?;
    let codes = [Code::Ok, Code::AlreadyExists];
    for what in ["SpliceBlob of a blob that was uploaded", "the same again"] {
        let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
        expect::one_of(&answer, &codes, what)?;
    }
    cx.expect_readable(&whole, "a read after it").await
}

async fn splice_repeated(cx: &Cx) -> Outcome {
    let (mut parts, _) = chunks(cx, &[1_000, 2_000]).await?;
    parts.extend(parts.clone());
    let whole = cx.blob_of(parts.iter().flat_map(|chunk| chunk.data.clone()).collect());
    let answer = cx.splice(&whole.digest(), digests(&parts), 0).await;
    expect::ok(answer, "SpliceBlob of two chunks, each twice")?;
    cx.expect_readable(&whole, "a read after it").await
}

async fn splice_ranges(cx: &Cx) -> Outcome {
    let whole = spliced(cx).await?;
    for (offset, size) in [(0, 10), (99_990, 20), (100_000, 5), (250_000, 100_000), (349_999, 1)] {
        let what = format!("{size} B from {offset} on of a blob that was spliced");
        let data = cx.read_range(&cx.read_name(&whole), signed(offset), signed(size)).await;
        let data = expect::ok(data, &what)?;
        expect::bytes(&data, whole.data.get(offset..offset + size).unwrap_or(&[]), &what)?;
    }
    Ok(())
}

async fn splice_zstd(cx: &Cx) -> Outcome {
    let whole = spliced(cx).await?;
    let what = "a zstd read of a blob that was spliced";
    let encoded = expect::ok(cx.read(&cx.zstd_read_name(&whole)).await, what)?;
    let decoded = crate::conformance::compression::unzstd(&encoded, whole.data.len(), what)?;
    expect::bytes(&decoded, &whole.data, what)
}

async fn splice_batch(cx: &Cx) -> Outcome {
    let whole = spliced(cx).await?;
    let answer = expect::ok(cx.batch_read(&[whole.digest()], &[]).await, "BatchReadBlobs")?;
    let what = "a batch read of a blob that was spliced";
    expect::bytes(&whole.batch_answer(&answer)?.data, &whole.data, what)
}

async fn splice_split(cx: &Cx) -> Outcome {
    let whole = spliced(cx).await?;
    checked_split(cx, &whole, Chunking::Unknown).await.map(drop)
}

async fn splice_result(cx: &Cx) -> Outcome {
    let whole = spliced(cx).await?;
    let action = cx.cached(result_of(vec![output_file("out", &whole)])).await?;
    cx.expect_hit(&action, "an action whose output was spliced").await.map(drop)
}

async fn splice_no_digest(cx: &Cx) -> Outcome {
    let (parts, _) = chunks(cx, &[1_000]).await?;
    let request = reapi::SpliceBlobRequest {
        instance_name: cx.instance(),
        chunk_digests: digests(&parts),
        ..Default::default()
    };
    let answer = cx.cas().splice_blob(request).await.map(tonic::Response::into_inner);
    expect::refused(&answer, "SpliceBlob without blob_digest")
}
