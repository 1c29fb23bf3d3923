//! `hostile.zstd`: few bytes that decode to many, and frames that ask for much memory.

use tonic::Code;

use super::unharmed;
use crate::conformance::announced::Need;
use crate::conformance::calls::http_status;
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{bomb, skippable, zstd};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// An upload of 1 KiB that decodes to 1 GiB is INVALID_ARGUMENT.
    "hostile.zstd.bomb", Must, "ContentAddressableStorage, compressed-blobs", needs[Need::Zstd], only(Hostile) => upload_bomb;
    /// The same in a batch.
    "hostile.zstd.bomb-in-batch", Must, "BatchUpdateBlobsRequest.Request.compressor", needs[Need::BatchZstd], only(Hostile) => batch_bomb;
    /// The same over HTTP.
    "hostile.zstd.bomb-over-http", Must, "RFC 9110, 8.4: Content-Encoding", needs[Need::Zstd, Need::Http], only(Hostile) => http_bomb;
    /// A frame that asks for a window of terabytes, and holds other bytes than it should, is INVALID_ARGUMENT.
    "hostile.zstd.huge-window", Must, "RFC 8878, 3.1.1.1.2", needs[Need::Zstd], only(Hostile) => huge_window;
    /// 64 MiB of frames that are skipped, before those of a blob of 10 B, harm nobody.
    "hostile.zstd.skippable-flood", Must, "RFC 8878, 3.1.2", needs[Need::Zstd], only(Hostile) => skippable_flood;
    /// 100,000 empty frames before a blob of 10 B harm nobody.
    "hostile.zstd.empty-frames", Must, "RFC 8878, 3.1", needs[Need::Zstd], only(Hostile) => empty_frames;
};

/// A blob of 1 KiB, and a frame of 1 GiB of zeros.
fn bombed(cx: &Cx) -> (Blob, Vec<u8>) {
    (cx.blob(1 << 10), bomb(1 << 10))
}

async fn upload_bomb(cx: &Cx) -> Outcome {
    let (blob, bomb) = bombed(cx);
    let answer = cx.write_zstd(&blob, &bomb).await;
    expect::code(&answer, Code::InvalidArgument, "1 GiB in zstd as a blob of 1 KiB")?;
    cx.expect_missing(&blob, "the blob").await?;
    unharmed(cx, "after a bomb").await
}

async fn batch_bomb(cx: &Cx) -> Outcome {
    let (blob, bomb) = bombed(cx);
    let answer = cx.batch_update(vec![blob.batched_zstd(bomb)]).await;
    let what = "1 GiB in zstd as a blob of 1 KiB";
    match &answer {
        Ok(batch) => {
            let status = blob.updated(batch)?.status.as_ref();
            expect::batch_code(status, Code::InvalidArgument, what)?;
        }
        Err(_) => expect::code(&answer, Code::InvalidArgument, what)?,
    }
    unharmed(cx, "after a bomb in a batch").await
}

async fn http_bomb(cx: &Cx) -> Outcome {
    let (blob, bomb) = bombed(cx);
    let headers = [("content-encoding", "zstd")];
    let answer = cx.http(http::Method::PUT, &cx.cas_path(&blob), &headers, &bomb).await;
    // A server may not know its size over HTTP, and believe what fits its largest blob.
    http_status(answer, &[400, 413, 415, 422], "1 GiB in zstd as a blob of 1 KiB")?;
    unharmed(cx, "after a bomb over HTTP").await
}

async fn huge_window(cx: &Cx) -> Outcome {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    // No content size, no checksum; a window of 2^41 B, the largest that there is; one raw block, the last, of 5 bytes.
    let frame = [&MAGIC[..], &[0x00, 0xF8, 0x29, 0x00, 0x00], b"hello"].concat();
    let blob = cx.blob(5);
    let answer = cx.write_zstd(&blob, &frame).await;
    expect::code(&answer, Code::InvalidArgument, "other bytes in a window of 2^41 B")?;
    unharmed(cx, "after a window of 2^41 B").await
}

async fn skippable_flood(cx: &Cx) -> Outcome {
    let blob = cx.blob(10);
    let flood = [skippable(1 << 20).repeat(64), zstd(&blob.data)].concat();
    let answer = cx.write_zstd(&blob, &flood).await;
    if answer.is_err() {
        expect::refused(&answer, "64 MiB of skippable frames")?;
    }
    unharmed(cx, "after 64 MiB of skippable frames").await
}

async fn empty_frames(cx: &Cx) -> Outcome {
    let blob = cx.blob(10);
    let flood = [zstd(&[]).repeat(100_000), zstd(&blob.data)].concat();
    let answer = cx.write_zstd(&blob, &flood).await;
    if answer.is_err() {
        expect::refused(&answer, "100,000 empty frames")?;
    }
    unharmed(cx, "after 100,000 empty frames").await
}
