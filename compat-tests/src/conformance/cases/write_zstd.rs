//! `bytestream.write-zstd`: uploads of `compressed-blobs/zstd`.

use std::io::Write;

use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::calls::{messages, write_request};
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{bomb, skippable, zstd, zstd_stream};
use crate::conformance::context::Cx;
use crate::conformance::digest::signed;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// A frame with its content size is taken.
    "bytestream.write-zstd.frame", Must, "ContentAddressableStorage, compressed-blobs" => frame;
    /// A frame as a stream writes it, with a checksum and no content size, is taken.
    "bytestream.write-zstd.stream-frame", Must, "ContentAddressableStorage, compressed-blobs" => stream_frame;
    /// Several frames in a row are one zstd stream.
    "bytestream.write-zstd.frames", Must, "RFC 8878, section 3" => frames;
    /// Skippable frames carry nothing of the blob.
    "bytestream.write-zstd.skippable-frames", Must, "RFC 8878, section 3.1.2" => skippable_frames;
    /// Offsets count compressed bytes, and frames may be cut anywhere.
    "bytestream.write-zstd.small-messages", Must, "ContentAddressableStorage, \"the total size of all the compressed data bundles\"" => small_messages;
    /// Random bytes, whose zstd is longer than they are, are taken.
    "bytestream.write-zstd.incompressible", Must, "ContentAddressableStorage, compressed-blobs" => incompressible;
    /// A blob of 20 MB is taken.
    "bytestream.write-zstd.large", Must, "ContentAddressableStorage, compressed-blobs" => large;
    /// Frames of the strongest usual level are taken.
    "bytestream.write-zstd.level-19", Must, "ContentAddressableStorage, compressed-blobs" => level_19;
    /// A frame that needs a window of 8 MiB is taken.
    "bytestream.write-zstd.window-of-8-mib", Should, "RFC 8878, section 3.1.1.1.2" => window_of_8_mib;
    /// The answer to a whole upload is how many compressed bytes were sent, or -1.
    "bytestream.write-zstd.committed-size", Client[Bazel, Buck2], "Bazel's ByteStreamUploader; Buck2" => committed_size;
    /// zstd of other bytes is INVALID_ARGUMENT.
    "bytestream.write-zstd.wrong-hash", Must, "ContentAddressableStorage, \"MUST return an INVALID_ARGUMENT error in the case of mismatch\"" => wrong_hash;
    /// zstd of fewer bytes than the name says is INVALID_ARGUMENT.
    "bytestream.write-zstd.short", Must, "ContentAddressableStorage, \"MUST return an INVALID_ARGUMENT error in the case of mismatch\"" => wrong_length(99);
    /// zstd of more bytes than the name says is INVALID_ARGUMENT.
    "bytestream.write-zstd.long", Must, "ContentAddressableStorage, \"MUST return an INVALID_ARGUMENT error in the case of mismatch\"" => wrong_length(101);
    /// Bytes that are no zstd are INVALID_ARGUMENT.
    "bytestream.write-zstd.no-zstd", Must, "ContentAddressableStorage, \"MUST verify that these match\"" => no_zstd;
    /// zstd that was damaged on the way is INVALID_ARGUMENT.
    "bytestream.write-zstd.damaged", Must, "ContentAddressableStorage, \"MUST verify that these match\"" => damaged;
    /// zstd that ends too early is INVALID_ARGUMENT, though all bytes of the blob are decoded.
    "bytestream.write-zstd.truncated", Must, "ContentAddressableStorage, \"MUST verify that these match\"" => truncated;
    /// An empty upload under the name of a blob that is not empty is INVALID_ARGUMENT.
    "bytestream.write-zstd.nothing", Must, "ContentAddressableStorage, \"MUST verify that these match\"" => nothing;
    /// What decodes to far more than its name says is INVALID_ARGUMENT, and soon.
    "bytestream.write-zstd.bomb", Must, "ContentAddressableStorage, \"MUST verify that these match\"" => of_a_bomb;
    /// An offset that leaves a gap is an error.
    "bytestream.write-zstd.offset-gap", Must, "google.bytestream.WriteRequest.write_offset" => offset_gap;
    /// An upload of a blob that is there is answered before it ends, with -1.
    "bytestream.write-zstd.duplicate-early", Must, "ContentAddressableStorage, \"committed_size is the value -1 if this is a compressed upload\"" => duplicate_early;
    /// A whole upload of a blob that is there succeeds, with -1 or its bytes counted.
    "bytestream.write-zstd.duplicate", Must, "ContentAddressableStorage, \"another client has already completed the upload\"" => duplicate;
    /// Uploads of one blob in both forms at the same time all succeed.
    "bytestream.write-zstd.concurrent", Must, "ContentAddressableStorage, \"Uploads of the same data MAY occur concurrently in any form\"" => concurrent;
};

/// Uploads these compressed bytes of a text of this size, and reads it back.
async fn check(cx: &Cx, size: usize, encode: impl FnOnce(&[u8]) -> Vec<u8>, what: &str) -> Outcome {
    let blob = cx.text(size);
    let encoded = encode(&blob.data);
    expect::ok(cx.write_zstd(&blob, &encoded).await, what)?;
    cx.expect_readable(&blob, &format!("a read after {what}")).await
}

async fn frame(cx: &Cx) -> Outcome {
    check(cx, 100_000, zstd, "a zstd upload of one frame").await
}

async fn stream_frame(cx: &Cx) -> Outcome {
    check(cx, 100_000, zstd_stream, "a zstd upload of a frame without content size").await
}

async fn frames(cx: &Cx) -> Outcome {
    let encode = |data: &[u8]| data.chunks(9_000).flat_map(zstd).collect();
    check(cx, 100_000, encode, "a zstd upload of twelve frames").await
}

async fn skippable_frames(cx: &Cx) -> Outcome {
    let encode = |data: &[u8]| {
        let (first, second) = data.split_at(50_000);
        [skippable(10), zstd(first), skippable(0), zstd(second), skippable(1_000)].concat()
    };
    check(cx, 100_000, encode, "a zstd upload with skippable frames").await
}

async fn small_messages(cx: &Cx) -> Outcome {
    let blob = cx.text(200_000);
    for chunk in [1_000, 7] {
        let blob = cx.text(blob.data.len() / 10);
        let upload = messages(&cx.zstd_write_name(&blob), &zstd_stream(&blob.data), chunk);
        let what = format!("a zstd upload in messages of {chunk} B");
        expect::ok(cx.write_messages(upload).await, &what)?;
        cx.expect_readable(&blob, &format!("a read after {what}")).await?;
    }
    Ok(())
}

async fn incompressible(cx: &Cx) -> Outcome {
    for size in [1, 1_000, 1_000_000] {
        let blob = cx.blob(size);
        let what = format!("a zstd upload of {size} random bytes");
        expect::ok(cx.write_zstd(&blob, &zstd(&blob.data)).await, &what)?;
        cx.expect_readable(&blob, &format!("a read after {what}")).await?;
    }
    Ok(())
}

async fn large(cx: &Cx) -> Outcome {
    check(cx, 20_000_000, zstd, "a zstd upload of 20000000 B").await
}

async fn level_19(cx: &Cx) -> Outcome {
    let encode = |data: &[u8]| zstd::bulk::compress(data, 19).expect("memory is enough");
    check(cx, 300_000, encode, "a zstd upload of level 19").await
}

async fn window_of_8_mib(cx: &Cx) -> Outcome {
    let encode = |data: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory is enough");
        encoder.window_log(23).expect("a window that zstd has");
        encoder.write_all(data).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    check(cx, 9_000_000, encode, "a zstd upload whose frame needs a window of 8 MiB").await
}

async fn committed_size(cx: &Cx) -> Outcome {
    let blob = cx.text(100_000);
    let encoded = zstd(&blob.data);
    let answer = expect::ok(cx.write_zstd(&blob, &encoded).await, "a zstd upload")?;
    let (committed, sent) = (answer.committed_size, signed(encoded.len()));
    expect::that(committed == -1 || committed == sent, || {
        format!(
            "expected committed_size -1 or {sent} for {sent} B of zstd of 100000 B, got {committed}"
        )
    })
}

async fn wrong_hash(cx: &Cx) -> Outcome {
    let (blob, other) = (cx.text(10_000), cx.text(10_000));
    let answer = cx.write_zstd(&blob, &zstd(&other.data)).await;
    expect::code(&answer, Code::InvalidArgument, "zstd of other bytes of the same size")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn wrong_length(cx: &Cx, size: usize) -> Outcome {
    let blob = cx.blob(100);
    let mut data = blob.data.clone();
    data.resize(size, 0);
    let answer = cx.write_zstd(&blob, &zstd(&data)).await;
    let what = format!("zstd of {size} B under the name of a 100 B blob");
    expect::code(&answer, Code::InvalidArgument, what)?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn no_zstd(cx: &Cx) -> Outcome {
    let blob = cx.blob(1_000);
    let answer = cx.write_zstd(&blob, &blob.data).await;
    expect::code(&answer, Code::InvalidArgument, "a blob as it is under compressed-blobs/zstd")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn damaged(cx: &Cx) -> Outcome {
    let blob = cx.text(100_000);
    let mut encoded = zstd_stream(&blob.data);
    let middle = encoded.len() / 2;
    for byte in encoded.iter_mut().skip(middle).take(8) {
        *byte ^= 0xff;
    }
    let answer = cx.write_zstd(&blob, &encoded).await;
    expect::code(&answer, Code::InvalidArgument, "zstd with 8 bytes flipped")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn truncated(cx: &Cx) -> Outcome {
    let blob = cx.text(100_000);
    let mut encoded = zstd_stream(&blob.data);
    // Of the checksum at the end half is missing.
    encoded.truncate(encoded.len() - 2);
    let answer = cx.write_zstd(&blob, &encoded).await;
    expect::code(&answer, Code::InvalidArgument, "zstd without its last 2 B")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn nothing(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.write_zstd(&blob, &[]).await;
    expect::code(&answer, Code::InvalidArgument, "no bytes as the zstd of a 100 B blob")
}

async fn of_a_bomb(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.write_zstd(&blob, &bomb(256)).await;
    let what = "zstd of 256 MiB of zeros under the name of a 100 B blob";
    expect::code(&answer, Code::InvalidArgument, what)
}

async fn offset_gap(cx: &Cx) -> Outcome {
    let blob = cx.text(100_000);
    let encoded = zstd(&blob.data);
    let (first, second) = encoded.split_at(encoded.len() / 2);
    let upload = vec![
        write_request(&cx.zstd_write_name(&blob), 0, first, false),
        write_request("", first.len() + 1, second, true),
    ];
    let what = "a zstd upload whose second offset is one too far";
    expect::refused(&cx.write_messages(upload).await, what)?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn duplicate_early(cx: &Cx) -> Outcome {
    let blob = cx.stored(1_000_000).await?;
    let mut upload = messages(&cx.zstd_write_name(&blob), &zstd(&blob.data), 100_000);
    upload.truncate(2);
    let what = "the first 200000 B of the zstd of a blob that is there, and no end";
    let answer = expect::ok(cx.write_unclosed(upload).await, what)?;
    expect::equal(answer.committed_size, -1, format!("committed_size of {what}"))
}

async fn duplicate(cx: &Cx) -> Outcome {
    let blob = cx.text(100_000);
    cx.store(&blob).await?;
    let encoded = zstd(&blob.data);
    let what = "a zstd upload of a blob that is there";
    let committed = expect::ok(cx.write_zstd(&blob, &encoded).await, what)?.committed_size;
    let sent = signed(encoded.len());
    expect::that(committed == -1 || committed == sent, || {
        format!("expected committed_size -1 for {what}, or {sent} as sent, got {committed}")
    })
}

async fn concurrent(cx: &Cx) -> Outcome {
    let blob = cx.text(1_000_000);
    let encoded = zstd(&blob.data);
    let plain = join_all((0..8).map(|_| cx.write(&blob)));
    let compressed = join_all((0..8).map(|_| cx.write_zstd(&blob, &encoded)));
    let (plain, compressed) = tokio::join!(plain, compressed);
    for answer in plain.into_iter().chain(compressed) {
        expect::ok(answer, "one of 16 uploads of a blob at once, half of them zstd")?;
    }
    cx.expect_readable(&blob, "a read after them").await
}
