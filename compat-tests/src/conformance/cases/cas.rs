//! `cas.find-missing`: what is missing, exactly and now.

use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// A blob that was never stored is missing.
    "cas.find-missing.absent", Must, "ContentAddressableStorage.FindMissingBlobs" => absent;
    /// A blob that was stored is not missing.
    "cas.find-missing.present", Must, "ContentAddressableStorage.FindMissingBlobs" => present;
    /// Of stored and absent blobs the absent ones are missing, and only these.
    "cas.find-missing.mixed", Must, "ContentAddressableStorage.FindMissingBlobs" => mixed;
    /// A question about nothing is answered with nothing.
    "cas.find-missing.nothing", Must, "ContentAddressableStorage.FindMissingBlobs" => nothing;
    /// A digest may be asked for twice.
    "cas.find-missing.duplicates", Must, "FindMissingBlobsRequest.blob_digests" => duplicates;
    /// 10,000 digests in a call are answered.
    "cas.find-missing.ten-thousand", Must, "FindMissingBlobsRequest.blob_digests" => ten_thousand;
    /// The size is part of the digest: a stored hash with another size is missing.
    "cas.find-missing.other-size", Must, "Digest.size_bytes" => other_size;
    /// What a batch stored is present.
    "cas.find-missing.after-batch", Must, "ContentAddressableStorage.BatchUpdateBlobs" => after_batch;
    /// Missing digests are given back as they were asked for.
    "cas.find-missing.echo", Must, "FindMissingBlobsResponse.missing_blob_digests" => echo;
    /// A hash that is none is INVALID_ARGUMENT: were it "missing", the client would try to upload it.
    "cas.find-missing.bad-hash", Should, "Digest.hash" => bad_hash;
    /// A hash in upper case is INVALID_ARGUMENT.
    "cas.find-missing.hash-in-upper-case", Should, "Digest.hash" => upper_case;
    /// A negative size is INVALID_ARGUMENT.
    "cas.find-missing.negative-size", Should, "Digest.size_bytes" => negative_size;
    /// Questions at the same time are all answered.
    "cas.find-missing.concurrent", Must, "ContentAddressableStorage.FindMissingBlobs" => concurrent;
};

async fn absent(cx: &Cx) -> Outcome {
    cx.expect_missing(&cx.blob(100), "a blob that was never stored").await
}

async fn present(cx: &Cx) -> Outcome {
    cx.expect_present(&cx.stored(100).await?, "a blob that was stored").await
}

async fn mixed(cx: &Cx) -> Outcome {
    let mut asked = Vec::new();
    let mut absent = Vec::new();
    for _ in 0..10 {
        asked.push(cx.stored(50).await?.digest());
        absent.push(cx.blob(50).digest());
    }
    asked.extend(absent.iter().cloned());
    let mut missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs")?;
    missing.sort_by(|a, b| a.hash.cmp(&b.hash));
    absent.sort_by(|a, b| a.hash.cmp(&b.hash));
    expect::equal(missing.len(), absent.len(), "how many of 10 stored and 10 absent are missing")?;
    expect::that(missing == absent, || {
        "expected the 10 absent digests as missing, got others".to_owned()
    })
}

async fn nothing(cx: &Cx) -> Outcome {
    let missing = expect::ok(cx.find_missing(&[]).await, "FindMissingBlobs of no digest")?;
    expect::equal(missing.len(), 0, "how many of no digest are missing")
}

async fn duplicates(cx: &Cx) -> Outcome {
    let (there, absent) = (cx.stored(50).await?.digest(), cx.blob(50).digest());
    let asked = [there.clone(), absent.clone(), there.clone(), absent.clone()];
    let missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs of duplicates")?;
    let fine = !missing.is_empty() && missing.iter().all(|digest| *digest == absent);
    expect::that(fine, || {
        let count = missing.len();
        format!("expected the absent one of two digests asked for twice, got {count} digests")
    })
}

async fn ten_thousand(cx: &Cx) -> Outcome {
    let there = cx.stored(50).await?.digest();
    let mut asked: Vec<_> = (0..9_999).map(|_| cx.blob(20).digest()).collect();
    asked.push(there.clone());
    let missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs of 10000 digests")?;
    expect::equal(missing.len(), 9_999, "how many of 9999 absent and 1 stored are missing")?;
    expect::that(!missing.contains(&there), || {
        "expected the stored digest not to be missing, got it listed".to_owned()
    })
}

async fn other_size(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    for size in [99, 101] {
        let mut digest = blob.digest();
        digest.size_bytes = size;
        let missing = cx.find_missing(&[digest]).await;
        let missing = expect::ok(missing, format!("FindMissingBlobs of size {size}"))?;
        let what = format!("how many are missing of the hash of a 100 B blob with size {size}");
        expect::equal(missing.len(), 1, what)?;
    }
    Ok(())
}

async fn after_batch(cx: &Cx) -> Outcome {
    let blobs: Vec<_> = (1..20).map(|size| cx.blob(size * 10)).collect();
    let requests = blobs.iter().map(Blob::batched).collect();
    expect::ok(cx.batch_update(requests).await, "BatchUpdateBlobs, which prepares the case")?;
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let missing = expect::ok(cx.find_missing(&digests).await, "FindMissingBlobs")?;
    expect::equal(missing.len(), 0, "how many blobs of a batch are missing after it")
}

async fn echo(cx: &Cx) -> Outcome {
    let asked = vec![cx.blob(123).digest()];
    let missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs")?;
    expect::equal(missing, asked, "the missing digests")
}

async fn bad_hash(cx: &Cx) -> Outcome {
    let hash = cx.blob(100).hash;
    let bad = [
        String::new(),
        hash.get(2..).unwrap_or("").to_owned(),
        format!("{hash}00"),
        format!("{}g", hash.get(1..).unwrap_or("")),
        format!("../{}", hash.get(3..).unwrap_or("")),
    ];
    for hash in bad {
        let what = format!("FindMissingBlobs of the hash {hash:?}");
        let digest = bazel_remote_apis::build::bazel::remote::execution::v2::Digest {
            hash,
            size_bytes: 100,
        };
        expect::code(&cx.find_missing(&[digest]).await, Code::InvalidArgument, what)?;
    }
    Ok(())
}

async fn upper_case(cx: &Cx) -> Outcome {
    let mut digest = cx.stored(100).await?.digest();
    digest.hash.make_ascii_uppercase();
    let answer = cx.find_missing(&[digest]).await;
    expect::code(&answer, Code::InvalidArgument, "FindMissingBlobs of a hash in upper case")
}

async fn negative_size(cx: &Cx) -> Outcome {
    let mut digest = cx.blob(100).digest();
    digest.size_bytes = -1;
    let answer = cx.find_missing(&[digest]).await;
    expect::code(&answer, Code::InvalidArgument, "FindMissingBlobs of size -1")
}

async fn concurrent(cx: &Cx) -> Outcome {
    let there = cx.stored(100).await?;
    let absent = cx.blob(100);
    let asked = [there.digest(), absent.digest()];
    for answer in join_all((0..50).map(|_| cx.find_missing(&asked))).await {
        let missing = expect::ok(answer, "one of 50 FindMissingBlobs at once")?;
        expect::equal(missing, vec![absent.digest()], "what is missing in one of them")?;
    }
    Ok(())
}
