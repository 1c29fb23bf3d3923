//! `cas.batch-update` and `cas.batch-read`: many blobs in a call, each with a fate of its own.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use reapi::compressor::Value as Compressor;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{bomb, unzstd, zstd, zstd_stream};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, violated};

pub(crate) const UPDATE: &[Case] = cases! {
    /// Blobs of a batch can be read.
    "cas.batch-update.stores", Must, "ContentAddressableStorage.BatchUpdateBlobs" => stores;
    /// There is one response for each blob.
    "cas.batch-update.responses", Must, "BatchUpdateBlobsResponse.responses" => responses;
    /// A batch of nothing is answered with nothing.
    "cas.batch-update.nothing", Must, "ContentAddressableStorage.BatchUpdateBlobs" => update_nothing;
    /// A blob of other bytes is INVALID_ARGUMENT, and not stored.
    "cas.batch-update.wrong-hash", Must, "BatchUpdateBlobsResponse.Response.status" => wrong_hash;
    /// A blob of another size is INVALID_ARGUMENT, and not stored.
    "cas.batch-update.wrong-size", Must, "BatchUpdateBlobsResponse.Response.status" => wrong_size;
    /// Good blobs are stored, though others of the batch are refused.
    "cas.batch-update.independent", Must, "BatchUpdateBlobs, \"may succeed or fail independently\"" => independent;
    /// A blob may be in a batch twice.
    "cas.batch-update.duplicates", Must, "ContentAddressableStorage.BatchUpdateBlobs" => duplicates;
    /// A blob that is there succeeds again.
    "cas.batch-update.again", Must, "ContentAddressableStorage.BatchUpdateBlobs" => again;
    /// A batch just within the limit is taken.
    "cas.batch-update.at-limit", Must, "CacheCapabilities.max_batch_total_size_bytes", needs[Need::BatchLimit] => update_at_limit;
    /// A batch above the limit is INVALID_ARGUMENT, or taken whole.
    "cas.batch-update.above-limit", Must, "BatchUpdateBlobs, \"attempted to upload more than the server supported limit\"", needs[Need::BatchLimit] => update_above_limit;
    /// A hash that is none is refused.
    "cas.batch-update.bad-hash", Must, "Digest.hash" => bad_hash;
    /// A blob with a compressor that was not announced is refused; or, if the answer is OK, stored.
    "cas.batch-update.unknown-compressor", Must, "BatchUpdateBlobsRequest.Request.compressor" => unknown_compressor(false);
    /// A compressor that was not announced is INVALID_ARGUMENT.
    "cas.batch-update.unknown-compressor-code", Should, "BatchUpdateBlobsRequest.Request.compressor" => unknown_compressor(true);
    /// zstd is taken.
    "cas.batch-update.zstd", Must, "CacheCapabilities.supported_batch_update_compressors", needs[Need::BatchZstd] => update_zstd;
    /// zstd as a stream writes it is taken.
    "cas.batch-update.zstd-stream-frame", Must, "CacheCapabilities.supported_batch_update_compressors", needs[Need::BatchZstd] => update_zstd_stream;
    /// zstd of other bytes is INVALID_ARGUMENT.
    "cas.batch-update.zstd-wrong-hash", Must, "BatchUpdateBlobsResponse.Response.status", needs[Need::BatchZstd] => zstd_wrong_hash;
    /// Bytes that are no zstd are INVALID_ARGUMENT.
    "cas.batch-update.no-zstd", Must, "BatchUpdateBlobsResponse.Response.status", needs[Need::BatchZstd] => no_zstd;
    /// What decodes to far more than its size says is INVALID_ARGUMENT.
    "cas.batch-update.zstd-bomb", Must, "BatchUpdateBlobsResponse.Response.status", needs[Need::BatchZstd] => zstd_bomb;
    /// Compressed and plain blobs go together.
    "cas.batch-update.mixed-compressors", Must, "BatchUpdateBlobsRequest.Request.compressor", needs[Need::BatchZstd] => mixed_compressors;
};

pub(crate) const READ: &[Case] = cases! {
    /// Blobs come as they were stored.
    "cas.batch-read.reads", Must, "ContentAddressableStorage.BatchReadBlobs" => reads;
    /// A blob that is not there is NOT_FOUND, and the call is OK.
    "cas.batch-read.absent", Must, "BatchReadBlobs, \"returned in the corresponding digest status\"" => absent;
    /// Blobs that are there come, though others of the batch do not.
    "cas.batch-read.independent", Must, "BatchReadBlobs, \"may succeed or fail independently\"" => read_independent;
    /// A batch of nothing is answered with nothing.
    "cas.batch-read.nothing", Must, "ContentAddressableStorage.BatchReadBlobs" => read_nothing;
    /// A blob may be asked for twice.
    "cas.batch-read.duplicates", Must, "BatchReadBlobsRequest.digests" => read_duplicates;
    /// The right hash with another size is not found.
    "cas.batch-read.other-size", Must, "Digest.size_bytes" => read_other_size;
    /// A hash that is none is refused, alone or with the batch.
    "cas.batch-read.bad-hash", Must, "Digest.hash" => read_bad_hash;
    /// A batch just within the limit is answered.
    "cas.batch-read.at-limit", Must, "CacheCapabilities.max_batch_total_size_bytes", needs[Need::BatchLimit] => read_at_limit;
    /// A batch above the limit is INVALID_ARGUMENT, or answered whole.
    "cas.batch-read.above-limit", Must, "BatchReadBlobs, \"attempted to read more than the server supported limit\"", needs[Need::BatchLimit] => read_above_limit;
    /// Where zstd is not acceptable it is not sent, not even of a blob that came as zstd.
    "cas.batch-read.zstd-not-acceptable", Must, "BatchReadBlobsResponse.Response.compressor" => zstd_not_acceptable;
    /// Where zstd is acceptable the answer is valid in whichever form it comes.
    "cas.batch-read.zstd-acceptable", Must, "BatchReadBlobsResponse.Response.compressor" => zstd_acceptable;
    /// A compressor that nobody knows may be acceptable to the client: the answer is in another form.
    "cas.batch-read.unknown-acceptable", Should, "BatchReadBlobsRequest.acceptable_compressors" => unknown_acceptable;
};

async fn stores(cx: &Cx) -> Outcome {
    let blobs = [cx.blob(1), cx.blob(1_000), cx.blob(100_000)];
    let answer = cx.batch_update(blobs.iter().map(Blob::batched).collect()).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs")?;
    for blob in &blobs {
        let what = format!("{} B in a batch", blob.data.len());
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, &what)?;
        cx.expect_readable(blob, &format!("a read of {what}")).await?;
    }
    Ok(())
}

async fn responses(cx: &Cx) -> Outcome {
    let blobs: Vec<_> = (0..50).map(|_| cx.blob(100)).collect();
    let answer = cx.batch_update(blobs.iter().map(Blob::batched).collect()).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs of 50 blobs")?;
    expect::equal(answer.responses.len(), 50, "the number of responses to 50 blobs")?;
    blobs.iter().try_for_each(|blob| blob.updated(&answer).map(drop))
}

async fn update_nothing(cx: &Cx) -> Outcome {
    let answer = expect::ok(cx.batch_update(vec![]).await, "BatchUpdateBlobs of nothing")?;
    expect::equal(answer.responses.len(), 0, "the number of responses to nothing")
}

/// The upload of one blob is refused in its status; or the whole call is.
async fn expect_update_refused(
    cx: &Cx,
    blob: &Blob,
    request: reapi::batch_update_blobs_request::Request,
    what: &str,
) -> Outcome {
    let answer = expect::ok(cx.batch_update(vec![request]).await, format!("a batch of {what}"))?;
    let status = blob.updated(&answer)?.status.as_ref();
    expect::batch_code(status, Code::InvalidArgument, what)?;
    cx.expect_missing(blob, &format!("the blob after {what}")).await
}

async fn wrong_hash(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let mut request = blob.batched();
    request.data = cx.bytes(100);
    expect_update_refused(cx, &blob, request, "other bytes under a blob's digest").await
}

async fn wrong_size(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let mut request = blob.batched();
    request.data.push(0);
    expect_update_refused(cx, &blob, request, "101 B under the digest of 100 B").await
}

async fn independent(cx: &Cx) -> Outcome {
    let (good, bad) = (cx.blob(100), cx.blob(100));
    let mut wrong = bad.batched();
    wrong.data = cx.bytes(100);
    let answer = cx.batch_update(vec![wrong, good.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs of a good and a bad blob")?;
    let bad_status = bad.updated(&answer)?.status.as_ref();
    expect::batch_code(bad_status, Code::InvalidArgument, "the bad blob")?;
    expect::batch_code(good.updated(&answer)?.status.as_ref(), Code::Ok, "the good blob")?;
    cx.expect_readable(&good, "a read of the good blob").await
}

async fn duplicates(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.batch_update(vec![blob.batched(), blob.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs of a blob twice")?;
    for response in &answer.responses {
        expect::batch_code(response.status.as_ref(), Code::Ok, "a blob that is there twice")?;
    }
    cx.expect_readable(&blob, "a read of it").await
}

async fn again(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let answer = expect::ok(cx.batch_update(vec![blob.batched()]).await, "BatchUpdateBlobs")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "a blob that is there")
}

/// Blobs of together `total` bytes.
fn blobs_of(cx: &Cx, total: usize) -> Vec<Blob> {
    const PART: usize = 500_000;
    let whole = (0..total / PART).map(|_| PART);
    let sizes = whole.chain([total % PART]).filter(|size| *size > 0);
    sizes.map(|size| cx.blob(size)).collect()
}

/// The announced limit, where blobs of together so much still fit into memory.
fn limit(cx: &Cx) -> Result<usize, crate::conformance::outcome::Halt> {
    match cx.announced().batch_limit() {
        Some(limit) if limit <= 64 << 20 => Ok(limit),
        other => crate::conformance::outcome::not_applicable(format!(
            "a limit of {other:?} B is more than the kit tries"
        )),
    }
}

async fn update_at_limit(cx: &Cx) -> Outcome {
    let limit = limit(cx)?;
    let blobs = blobs_of(cx, limit);
    let what = format!("BatchUpdateBlobs of exactly the announced {limit} B");
    let answer = cx.batch_update(blobs.iter().map(Blob::batched).collect()).await;
    let answer = expect::ok(answer, &what)?;
    for blob in &blobs {
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, &what)?;
    }
    Ok(())
}

async fn update_above_limit(cx: &Cx) -> Outcome {
    let limit = limit(cx)?;
    let blobs = blobs_of(cx, limit + 1);
    let answer = cx.batch_update(blobs.iter().map(Blob::batched).collect()).await;
    let what = format!("BatchUpdateBlobs of 1 B more than the announced {limit} B");
    if let Ok(answer) = &answer {
        return blobs.iter().try_for_each(|blob| {
            expect::batch_code(blob.updated(answer)?.status.as_ref(), Code::Ok, &what)
        });
    }
    // A message too large for gRPC itself ends the call before the service sees it.
    let codes = [Code::InvalidArgument, Code::ResourceExhausted, Code::OutOfRange];
    expect::one_of(&answer, &codes, what)
}

async fn bad_hash(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let mut request = blob.batched();
    if let Some(digest) = &mut request.digest {
        digest.hash.replace_range(..1, "z");
    }
    let answer = cx.batch_update(vec![request]).await;
    match &answer {
        Ok(batch) => match batch.responses.as_slice() {
            [one] => expect::batch_code(one.status.as_ref(), Code::InvalidArgument, "a bad hash"),
            _ => violated("expected a response for a bad hash, got none"),
        },
        Err(_) => expect::refused(&answer, "a batch upload of a bad hash"),
    }
}

async fn unknown_compressor(cx: &Cx, with_code: bool) -> Outcome {
    let blob = cx.blob(100);
    let mut request = blob.batched();
    request.compressor = 4_711;
    let answer = cx.batch_update(vec![request]).await;
    let what = "a batch upload with compressor 4711";
    match &answer {
        Ok(batch) => {
            let status = blob.updated(batch)?.status.as_ref();
            if with_code {
                return expect::batch_code(status, Code::InvalidArgument, what);
            }
            if status.is_none_or(|status| status.code == 0) {
                return cx.expect_readable(&blob, &format!("a read after OK to {what}")).await;
            }
        }
        Err(_) if with_code => return expect::code(&answer, Code::InvalidArgument, what),
        Err(_) => expect::refused(&answer, what)?,
    }
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn expect_zstd_taken(cx: &Cx, blob: &Blob, encoded: Vec<u8>, what: &str) -> Outcome {
    let answer = expect::ok(cx.batch_update(vec![blob.batched_zstd(encoded)]).await, what)?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, what)?;
    cx.expect_readable(blob, &format!("a read after {what}")).await
}

async fn update_zstd(cx: &Cx) -> Outcome {
    for blob in [cx.text(10_000), cx.blob(1_000), cx.blob(1)] {
        let encoded = zstd(&blob.data);
        let what = format!("a batch upload of the zstd of {} B", blob.data.len());
        expect_zstd_taken(cx, &blob, encoded, &what).await?;
    }
    Ok(())
}

async fn update_zstd_stream(cx: &Cx) -> Outcome {
    let blob = cx.text(10_000);
    let encoded = zstd_stream(&blob.data);
    expect_zstd_taken(cx, &blob, encoded, "a batch upload of a frame without content size").await
}

async fn zstd_wrong_hash(cx: &Cx) -> Outcome {
    let (blob, other) = (cx.text(1_000), cx.text(1_000));
    let request = blob.batched_zstd(zstd(&other.data));
    expect_update_refused(cx, &blob, request, "zstd of other bytes").await
}

async fn no_zstd(cx: &Cx) -> Outcome {
    let blob = cx.blob(1_000);
    let request = blob.batched_zstd(blob.data.clone());
    expect_update_refused(cx, &blob, request, "plain bytes said to be zstd").await
}

async fn zstd_bomb(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let request = blob.batched_zstd(bomb(64));
    expect_update_refused(cx, &blob, request, "zstd of 64 MiB of zeros as a 100 B blob").await
}

async fn mixed_compressors(cx: &Cx) -> Outcome {
    let (plain, packed) = (cx.text(2_000), cx.text(2_000));
    let requests = vec![plain.batched(), packed.batched_zstd(zstd(&packed.data))];
    let answer = expect::ok(cx.batch_update(requests).await, "a batch of both forms")?;
    for blob in [&plain, &packed] {
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "one of both forms")?;
        cx.expect_readable(blob, "a read of it").await?;
    }
    Ok(())
}

async fn reads(cx: &Cx) -> Outcome {
    let blobs = [cx.stored(1).await?, cx.stored(1_000).await?, cx.stored(100_000).await?];
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let answer = expect::ok(cx.batch_read(&digests, &[]).await, "BatchReadBlobs of 3 blobs")?;
    expect::equal(answer.responses.len(), 3, "the number of responses to 3 digests")?;
    for blob in &blobs {
        let mine = blob.batch_answer(&answer)?;
        let what = format!("{} B in a batch", blob.data.len());
        expect::batch_code(mine.status.as_ref(), Code::Ok, &what)?;
        expect::bytes(&mine.data, &blob.data, &what)?;
    }
    Ok(())
}

async fn absent(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.batch_read(&[blob.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs of a blob that was never stored")?;
    let status = blob.batch_answer(&answer)?.status.as_ref();
    expect::batch_code(status, Code::NotFound, "a blob that was never stored")
}

async fn read_independent(cx: &Cx) -> Outcome {
    let (there, absent) = (cx.stored(100).await?, cx.blob(100));
    let answer = cx.batch_read(&[absent.digest(), there.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs of a stored and an absent blob")?;
    let status = absent.batch_answer(&answer)?.status.as_ref();
    expect::batch_code(status, Code::NotFound, "the absent blob")?;
    expect::bytes(&there.batch_answer(&answer)?.data, &there.data, "the stored blob")
}

async fn read_nothing(cx: &Cx) -> Outcome {
    let answer = expect::ok(cx.batch_read(&[], &[]).await, "BatchReadBlobs of nothing")?;
    expect::equal(answer.responses.len(), 0, "the number of responses to nothing")
}

async fn read_duplicates(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let answer = cx.batch_read(&[blob.digest(), blob.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs of a blob twice")?;
    expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "the blob")
}

async fn read_other_size(cx: &Cx) -> Outcome {
    let mut digest = cx.stored(100).await?.digest();
    digest.size_bytes = 99;
    let answer = cx.batch_read(&[digest], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs of another size")?;
    let status = answer.responses.first().and_then(|response| response.status.as_ref());
    let code = status.map_or(Code::Ok, |status| Code::from(status.code));
    expect::that(code != Code::Ok, || {
        "expected NOT_FOUND for the hash of a 100 B blob with size 99, got OK".to_owned()
    })
}

async fn read_bad_hash(cx: &Cx) -> Outcome {
    let mut digest = cx.blob(100).digest();
    digest.hash.replace_range(..1, "z");
    let answer = cx.batch_read(&[digest], &[]).await;
    let Ok(batch) = &answer else { return expect::refused(&answer, "a batch read of a bad hash") };
    let status = batch.responses.first().and_then(|response| response.status.as_ref());
    let code = status.map_or(Code::Ok, |status| Code::from(status.code));
    expect::that(code != Code::Ok, || "expected a refusal of a bad hash, got OK".to_owned())
}

async fn stored_in_batches(cx: &Cx, blobs: &[Blob]) -> Outcome {
    for blob in blobs {
        cx.store(blob).await?;
    }
    Ok(())
}

async fn read_at_limit(cx: &Cx) -> Outcome {
    let limit = limit(cx)?;
    let blobs = blobs_of(cx, limit);
    stored_in_batches(cx, &blobs).await?;
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let what = format!("BatchReadBlobs of exactly the announced {limit} B");
    let answer = expect::ok(cx.batch_read(&digests, &[]).await, &what)?;
    blobs
        .iter()
        .try_for_each(|blob| expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, &what))
}

async fn read_above_limit(cx: &Cx) -> Outcome {
    let limit = limit(cx)?;
    let blobs = blobs_of(cx, limit + 1);
    stored_in_batches(cx, &blobs).await?;
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let answer = cx.batch_read(&digests, &[]).await;
    let what = format!("BatchReadBlobs of 1 B more than the announced {limit} B");
    if let Ok(answer) = &answer {
        return blobs.iter().try_for_each(|blob| {
            expect::bytes(&blob.batch_answer(answer)?.data, &blob.data, &what)
        });
    }
    expect::code(&answer, Code::InvalidArgument, what)
}

async fn zstd_not_acceptable(cx: &Cx) -> Outcome {
    let blob = cx.text(10_000);
    if cx.announced().lacks(Need::Zstd).is_none() {
        expect::ok(cx.write_zstd(&blob, &zstd(&blob.data)).await, "a zstd upload")?;
    } else {
        cx.store(&blob).await?;
    }
    for acceptable in [&[][..], &[Compressor::Identity]] {
        let answer = cx.batch_read(&[blob.digest()], acceptable).await;
        let answer = expect::ok(answer, "BatchReadBlobs without zstd")?;
        let mine = blob.batch_answer(&answer)?;
        expect::equal(mine.compressor, Compressor::Identity.into(), "the compressor")?;
        expect::bytes(&mine.data, &blob.data, "a batch read without zstd")?;
    }
    Ok(())
}

async fn expect_either_form(cx: &Cx, acceptable: &[i32]) -> Outcome {
    let blob = cx.text(10_000);
    cx.store(&blob).await?;
    let request = reapi::BatchReadBlobsRequest {
        instance_name: cx.instance(),
        digests: vec![blob.digest()],
        acceptable_compressors: acceptable.to_vec(),
        digest_function: cx.function().value(),
    };
    let answer = cx.cas().batch_read_blobs(request).await.map(tonic::Response::into_inner);
    let what = format!("BatchReadBlobs with acceptable_compressors {acceptable:?}");
    let answer = expect::ok(answer, &what)?;
    let mine = blob.batch_answer(&answer)?;
    expect::batch_code(mine.status.as_ref(), Code::Ok, &what)?;
    match Compressor::try_from(mine.compressor) {
        Ok(Compressor::Identity) => expect::bytes(&mine.data, &blob.data, &what),
        Ok(Compressor::Zstd) if acceptable.contains(&Compressor::Zstd.into()) => {
            expect::bytes(&unzstd(&mine.data, 10_000, &what)?, &blob.data, &what)
        }
        _ => violated(format!("expected an acceptable form for {what}, got {}", mine.compressor)),
    }
}

async fn zstd_acceptable(cx: &Cx) -> Outcome {
    expect_either_form(cx, &[Compressor::Zstd.into()]).await
}

async fn unknown_acceptable(cx: &Cx) -> Outcome {
    expect_either_form(cx, &[4_711, Compressor::Identity.into()]).await
}
