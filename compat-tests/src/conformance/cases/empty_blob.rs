//! `empty-blob`: it is always there, in every form, though nobody uploaded it.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use http::Method;
use reapi::compressor::Value as Compressor;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::{http_status, messages, output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{unzstd, zstd};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, not_applicable};

pub(crate) const CASES: &[Case] = cases! {
    /// FindMissingBlobs says that it is there.
    "empty-blob.find-missing", Must, "ContentAddressableStorage, \"as though empty blobs are always available\"" => find_missing;
    /// ByteStream reads it.
    "empty-blob.read", Must, "ContentAddressableStorage, \"as though empty blobs are always available\"" => read;
    /// An offset past its end is OUT_OF_RANGE.
    "empty-blob.read-past-end", Must, "google.bytestream.ReadRequest.read_offset" => read_past_end;
    /// ByteStream reads it as zstd.
    "empty-blob.read-zstd", Must, "ContentAddressableStorage, \"as though empty blobs are always available\"", needs[Need::Zstd] => read_zstd;
    /// BatchReadBlobs reads it.
    "empty-blob.batch-read", Must, "ContentAddressableStorage, \"as though empty blobs are always available\"" => batch_read(&[]);
    /// BatchReadBlobs reads it where zstd is acceptable.
    "empty-blob.batch-read-zstd", Must, "ContentAddressableStorage, \"as though empty blobs are always available\"" => batch_read(&[Compressor::Zstd]);
    /// ByteStream takes it.
    "empty-blob.write", Must, "ByteStream.Write" => write;
    /// ByteStream takes it as a zstd frame of nothing.
    "empty-blob.write-zstd", Must, "ContentAddressableStorage, compressed-blobs", needs[Need::Zstd] => write_zstd;
    /// BatchUpdateBlobs takes it.
    "empty-blob.batch-update", Must, "ContentAddressableStorage.BatchUpdateBlobs" => batch_update;
    /// QueryWriteStatus knows it as complete.
    "empty-blob.query-write-status", Should, "ByteStream.QueryWriteStatus" => query;
    /// An action result that names it is a hit.
    "empty-blob.action-result", Must, "ActionCache.GetActionResult", needs[Need::ActionCache, Need::Updates] => action_result;
    /// As a directory it is one with nothing in it.
    "empty-blob.get-tree", Must, "ContentAddressableStorage.GetTree" => get_tree;
    /// HTTP reads it.
    "empty-blob.http", Client[Bazel], "Bazel's HttpCacheClient", needs[Need::Http] => over_http;
    /// Another hash with size 0 is not it: it is refused, or not there.
    "empty-blob.other-hash", Should, "Digest" => other_hash;
};

fn empty(cx: &Cx) -> Blob {
    cx.blob_of(Vec::new())
}

async fn find_missing(cx: &Cx) -> Outcome {
    cx.expect_present(&empty(cx), "the empty blob").await
}

async fn read(cx: &Cx) -> Outcome {
    cx.expect_readable(&empty(cx), "a read of the empty blob").await
}

async fn read_past_end(cx: &Cx) -> Outcome {
    let answer = cx.read_range(&cx.read_name(&empty(cx)), 1, 0).await;
    expect::code(&answer, Code::OutOfRange, "read_offset 1 of the empty blob")
}

async fn read_zstd(cx: &Cx) -> Outcome {
    let what = "a zstd read of the empty blob";
    let encoded = expect::ok(cx.read(&cx.zstd_read_name(&empty(cx))).await, what)?;
    if encoded.is_empty() {
        return Ok(());
    }
    expect::bytes(&unzstd(&encoded, 0, what)?, &[], what)
}

async fn batch_read(cx: &Cx, acceptable: &[Compressor]) -> Outcome {
    let blob = empty(cx);
    let answer = cx.batch_read(&[blob.digest()], acceptable).await;
    let answer = expect::ok(answer, "BatchReadBlobs of the empty blob")?;
    let mine = blob.batch_answer(&answer)?;
    expect::batch_code(mine.status.as_ref(), Code::Ok, "the empty blob")?;
    if mine.compressor == i32::from(Compressor::Zstd) && !mine.data.is_empty() {
        return expect::bytes(&unzstd(&mine.data, 0, "its zstd")?, &[], "its zstd");
    }
    expect::bytes(&mine.data, &[], "the empty blob")
}

async fn write(cx: &Cx) -> Outcome {
    let blob = empty(cx);
    let answer = cx.write_messages(messages(&cx.write_name(&blob), &[], 1)).await;
    let answer = expect::ok(answer, "an upload of the empty blob")?;
    expect::equal(answer.committed_size, 0, "committed_size of the empty blob")
}

async fn write_zstd(cx: &Cx) -> Outcome {
    let blob = empty(cx);
    let encoded = zstd(&[]);
    let answer = cx.write_zstd(&blob, &encoded).await;
    expect::ok(answer, "a zstd upload of the empty blob").map(drop)
}

async fn batch_update(cx: &Cx) -> Outcome {
    let blob = empty(cx);
    let answer = cx.batch_update(vec![blob.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs of the empty blob")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "the empty blob")
}

async fn query(cx: &Cx) -> Outcome {
    let answer = cx.query_write(&cx.write_name(&empty(cx))).await;
    if matches!(&answer, Err(status) if status.code() == Code::Unimplemented) {
        return not_applicable("QueryWriteStatus is UNIMPLEMENTED");
    }
    let answer = expect::ok(answer, "QueryWriteStatus of the empty blob")?;
    expect::equal((answer.committed_size, answer.complete), (0, true), "(committed_size, complete)")
}

async fn action_result(cx: &Cx) -> Outcome {
    let mut result = result_of(vec![output_file("empty", &empty(cx))]);
    result.stdout_digest = Some(empty(cx).digest());
    let action = cx.cached(result).await?;
    cx.expect_hit(&action, "an action whose output and stdout are empty").await.map(drop)
}

async fn get_tree(cx: &Cx) -> Outcome {
    let what = "GetTree of the empty directory";
    let directories = expect::ok(cx.get_tree(&empty(cx).digest()).await, what)?;
    let all_empty = directories.iter().all(|found| *found == reapi::Directory::default());
    expect::that(directories.len() <= 1 && all_empty, || {
        format!("expected the empty directory for {what}, got {} directories", directories.len())
    })
}

async fn over_http(cx: &Cx) -> Outcome {
    let path = cx.cas_path(&empty(cx));
    let response = http_status(cx.http_get(&path).await, &[200], "GET of the empty blob")?;
    expect::bytes(response.body(), &[], "GET of the empty blob")?;
    let head = cx.http(Method::HEAD, &path, &[], &[]).await;
    http_status(head, &[200], "HEAD of the empty blob").map(drop)
}

async fn other_hash(cx: &Cx) -> Outcome {
    let mut digest = cx.blob(100).digest();
    digest.size_bytes = 0;
    let name = cx.name(&format!("blobs/{}/0", digest.hash));
    let name = match cx.function().segment() {
        Some(segment) => cx.name(&format!("blobs/{segment}/{}/0", digest.hash)),
        None => name,
    };
    let codes = [Code::NotFound, Code::InvalidArgument];
    expect::one_of(&cx.read(&name).await, &codes, "a read of another hash with size 0")
}
