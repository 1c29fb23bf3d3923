//! `bytestream.read-zstd`: downloads of `compressed-blobs/zstd`.

use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{unzstd, zstd};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// What was uploaded as it is can be read as zstd.
    "bytestream.read-zstd.of-identity", Must, "ContentAddressableStorage, \"each of the compression formats\"" => of_identity(10_000);
    /// The same for a blob of several messages.
    "bytestream.read-zstd.large", Must, "ContentAddressableStorage, \"each of the compression formats\"" => of_identity(9_000_001);
    /// The same for a blob that is too small to gain from it.
    "bytestream.read-zstd.tiny", Must, "ContentAddressableStorage, \"each of the compression formats\"" => of_identity(1);
    /// What was uploaded as zstd can be read as it is.
    "bytestream.read-zstd.identity-of-zstd", Must, "ContentAddressableStorage, \"as well as in uncompressed form\"" => identity_of_zstd;
    /// What was uploaded as zstd can be read as zstd.
    "bytestream.read-zstd.of-zstd", Must, "ContentAddressableStorage, \"each of the compression formats\"" => of_zstd;
    /// What was uploaded in a batch can be read as zstd.
    "bytestream.read-zstd.of-batch", Must, "ContentAddressableStorage, \"each of the compression formats\"" => of_batch;
    /// The bytes of an incompressible blob come as valid zstd too.
    "bytestream.read-zstd.incompressible", Must, "ContentAddressableStorage, \"Servers MAY use any compression level\"" => incompressible;
    /// The offset counts uncompressed bytes, and what comes is zstd of the rest: so downloads are resumed.
    "bytestream.read-zstd.offset", Must, "ContentAddressableStorage, \"the offset in the uncompressed form\"" => offset(100_000, &[1, 50_000, 99_999]);
    /// The same in a blob of several messages.
    "bytestream.read-zstd.offset-large", Must, "ContentAddressableStorage, \"the offset in the uncompressed form\"" => offset(6_000_000, &[2_097_152, 5_999_999]);
    /// From the end on there is nothing, as valid zstd or as no bytes.
    "bytestream.read-zstd.offset-at-end", Must, "google.bytestream.ReadRequest.read_offset" => offset_at_end;
    /// An offset past the uncompressed end is OUT_OF_RANGE.
    "bytestream.read-zstd.offset-past-end", Must, "google.bytestream.ReadRequest.read_offset" => out_of_range(10_001);
    /// A negative offset is OUT_OF_RANGE.
    "bytestream.read-zstd.offset-negative", Must, "google.bytestream.ReadRequest.read_offset" => out_of_range(-1);
    /// A limit is INVALID_ARGUMENT.
    "bytestream.read-zstd.limit", Must, "ContentAddressableStorage, \"if ReadRequest.read_limit is non-zero\"" => limit;
    /// A blob that is not there is NOT_FOUND.
    "bytestream.read-zstd.absent", Must, "google.rpc.Code.NOT_FOUND" => absent;
    /// A compressor that was not announced is refused.
    "bytestream.read-zstd.unknown-compressor", Must, "CacheCapabilities.supported_compressors" => unknown_compressor;
    /// A blob can be read in both forms at once.
    "bytestream.read-zstd.concurrent", Must, "ByteStream.Read" => concurrent;
};

async fn expect_zstd(cx: &Cx, blob: &Blob, what: &str) -> Outcome {
    let encoded = expect::ok(cx.read(&cx.zstd_read_name(blob)).await, what)?;
    expect::bytes(&unzstd(&encoded, blob.data.len(), what)?, &blob.data, what)
}

async fn of_identity(cx: &Cx, size: usize) -> Outcome {
    let blob = cx.text(size);
    cx.store(&blob).await?;
    expect_zstd(cx, &blob, &format!("a zstd read of {size} B uploaded as they are")).await
}

async fn store_as_zstd(cx: &Cx, blob: &Blob) -> Outcome {
    let written = cx.write_zstd(blob, &zstd(&blob.data)).await;
    expect::ok(written, "the zstd upload, which prepares the case").map(drop)
}

async fn identity_of_zstd(cx: &Cx) -> Outcome {
    for size in [100, 100_000, 3_000_000] {
        let blob = cx.text(size);
        store_as_zstd(cx, &blob).await?;
        cx.expect_readable(&blob, &format!("a read of {size} B uploaded as zstd")).await?;
    }
    Ok(())
}

async fn of_zstd(cx: &Cx) -> Outcome {
    for size in [100, 100_000, 3_000_000] {
        let blob = cx.text(size);
        store_as_zstd(cx, &blob).await?;
        expect_zstd(cx, &blob, &format!("a zstd read of {size} B uploaded as zstd")).await?;
    }
    Ok(())
}

async fn of_batch(cx: &Cx) -> Outcome {
    let blob = cx.text(5_000);
    let what = "BatchUpdateBlobs, which prepares the case";
    expect::ok(cx.batch_update(vec![blob.batched()]).await, what)?;
    expect_zstd(cx, &blob, "a zstd read of 5000 B uploaded in a batch").await
}

async fn incompressible(cx: &Cx) -> Outcome {
    let blob = cx.stored(1_000_000).await?;
    expect_zstd(cx, &blob, "a zstd read of 1000000 random bytes").await
}

async fn offset(cx: &Cx, size: usize, offsets: &[usize]) -> Outcome {
    let blob = cx.text(size);
    cx.store(&blob).await?;
    for offset in offsets {
        let what = format!("a zstd read from read_offset {offset} of {size} B on");
        let at = crate::conformance::digest::signed(*offset);
        let encoded = expect::ok(cx.read_range(&cx.zstd_read_name(&blob), at, 0).await, &what)?;
        let rest = unzstd(&encoded, size, &what)?;
        expect::bytes(&rest, blob.data.get(*offset..).unwrap_or(&[]), &what)?;
    }
    Ok(())
}

async fn offset_at_end(cx: &Cx) -> Outcome {
    let blob = cx.text(10_000);
    cx.store(&blob).await?;
    let what = "a zstd read from read_offset 10000 of 10000 B on";
    let encoded = cx.read_range(&cx.zstd_read_name(&blob), 10_000, 0).await;
    let encoded = expect::ok(encoded, what)?;
    if encoded.is_empty() {
        return Ok(());
    }
    expect::bytes(&unzstd(&encoded, 0, what)?, &[], what)
}

async fn out_of_range(cx: &Cx, offset: i64) -> Outcome {
    let blob = cx.text(10_000);
    cx.store(&blob).await?;
    let answer = cx.read_range(&cx.zstd_read_name(&blob), offset, 0).await;
    let what = format!("a zstd read from read_offset {offset} of a 10000 B blob on");
    expect::code(&answer, Code::OutOfRange, what)
}

async fn limit(cx: &Cx) -> Outcome {
    let blob = cx.text(10_000);
    cx.store(&blob).await?;
    let answer = cx.read_range(&cx.zstd_read_name(&blob), 0, 100).await;
    expect::code(&answer, Code::InvalidArgument, "a zstd read with read_limit 100")
}

async fn absent(cx: &Cx) -> Outcome {
    let answer = cx.read(&cx.zstd_read_name(&cx.blob(100))).await;
    expect::code(&answer, Code::NotFound, "a zstd read of a blob that was never stored")
}

async fn unknown_compressor(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let name = cx.zstd_read_name(&blob).replace("/zstd/", "/nonesuch/");
    expect::refused(&cx.read(&name).await, "a read of compressed-blobs/nonesuch")
}

async fn concurrent(cx: &Cx) -> Outcome {
    let blob = cx.text(300_000);
    cx.store(&blob).await?;
    let zstd = join_all((0..8).map(|_| expect_zstd(cx, &blob, "one of 8 zstd reads at once")));
    let plain = join_all((0..8).map(|_| cx.expect_readable(&blob, "one of 8 reads at once")));
    let (zstd, plain) = tokio::join!(zstd, plain);
    zstd.into_iter().chain(plain).collect()
}
