//! `bytestream.resume`: QueryWriteStatus, and uploads that go on where they broke off.

use bazel_remote_apis::google::bytestream::QueryWriteStatusResponse;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::{messages, write_request};
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::zstd_stream;
use crate::conformance::context::{Answer, Cx};
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, not_applicable};

pub(crate) const CASES: &[Case] = cases! {
    /// An upload that never began is NOT_FOUND, or at 0.
    "bytestream.resume.never-begun", Must, "ByteStream.QueryWriteStatus, \"If the resource does not exist\"" => never_begun;
    /// Of a blob that is there all bytes are committed, and the upload is complete.
    "bytestream.resume.complete", Must, "QueryWriteStatusResponse.complete" => complete;
    /// The same by the name of an upload that nobody made: the blob is there.
    "bytestream.resume.complete-by-other-upload", Should, "QueryWriteStatusResponse.complete" => complete_by_other;
    /// Of an upload that broke off no more is committed than was sent, and it is not complete.
    "bytestream.resume.broken-off", Must, "QueryWriteStatusResponse.committed_size" => broken_off;
    /// An upload that broke off is finished from committed_size on.
    "bytestream.resume.goes-on", Must, "ByteStream.Write, \"continue writing from the returned committed_size\"" => goes_on;
    /// An upload that broke off may begin again from 0.
    "bytestream.resume.begins-again", Must, "ByteStream.Write" => begins_again;
    /// An upload that broke off, finished with other bytes, is INVALID_ARGUMENT.
    "bytestream.resume.wrong-rest", Must, "ContentAddressableStorage, \"does not match\"" => wrong_rest;
    /// After a zstd upload that broke off, a fresh one succeeds.
    "bytestream.resume.zstd-begins-again", Must, "ByteStream.Write", needs[Need::Zstd] => zstd_begins_again;
    /// Of a zstd upload of a blob that is there, the upload is complete.
    "bytestream.resume.zstd-complete", Must, "QueryWriteStatusResponse.complete", needs[Need::Zstd] => zstd_complete;
    /// A name that does not parse is refused.
    "bytestream.resume.bad-name", Must, "QueryWriteStatusRequest.resource_name" => bad_name;
};

/// How far an upload is. Where nobody tells there is nothing to check, but that: `bytestream.resume.complete` does.
async fn query(cx: &Cx, name: &str) -> Result<Answer<QueryWriteStatusResponse>, Halt> {
    match cx.query_write(name).await {
        Err(status) if status.code() == Code::Unimplemented => {
            not_applicable("QueryWriteStatus is UNIMPLEMENTED")
        }
        answer => Ok(answer),
    }
}

async fn never_begun(cx: &Cx) -> Outcome {
    let answer = query(cx, &cx.write_name(&cx.blob(1_000))).await?;
    let what = "QueryWriteStatus of an upload that never began";
    expect::one_of(&answer, &[Code::NotFound, Code::Ok], what)?;
    let Ok(answer) = answer else { return Ok(()) };
    expect::equal((answer.committed_size, answer.complete), (0, false), what)
}

async fn complete(cx: &Cx) -> Outcome {
    let blob = cx.blob(1_000);
    let name = cx.write_name(&blob);
    let written = cx.write_messages(messages(&name, &blob.data, 1_000)).await;
    expect::ok(written, "the upload, which prepares the case")?;
    let what = "QueryWriteStatus of a complete upload";
    let answer = expect::ok(cx.query_write(&name).await, what)?;
    expect::equal((answer.committed_size, answer.complete), (1_000, true), what)
}

async fn complete_by_other(cx: &Cx) -> Outcome {
    let blob = cx.stored(1_000).await?;
    let what = "QueryWriteStatus, by a fresh UUID, of a blob that is there";
    let answer = expect::ok(query(cx, &cx.write_name(&blob)).await?, what)?;
    expect::equal((answer.committed_size, answer.complete), (1_000, true), what)
}

const SIZE: usize = 1_000_000;
const SENT: usize = 600_000;

/// Begins the upload of a blob, breaks it off after 600 kB, and gives what the server says it has.
async fn begun(cx: &Cx, name: &str, blob: &Blob) -> Result<usize, Halt> {
    let mut upload = messages(name, &blob.data, 100_000);
    upload.truncate(SENT / 100_000);
    cx.write_broken_off(upload).await;
    let what = "QueryWriteStatus of an upload that broke off after 600000 of 1000000 B";
    let answer = query(cx, name).await?;
    expect::one_of(&answer, &[Code::NotFound, Code::Ok], what)?;
    let Ok(answer) = answer else { return Ok(0) };
    let committed = usize::try_from(answer.committed_size).unwrap_or(usize::MAX);
    expect::that(committed <= SENT && !answer.complete, || {
        let seen = expect::Seen::seen(&answer);
        format!("expected at most {SENT} B and not complete for {what}, got {seen}")
    })?;
    Ok(committed)
}

async fn broken_off(cx: &Cx) -> Outcome {
    let blob = cx.blob(SIZE);
    begun(cx, &cx.write_name(&blob), &blob).await.map(drop)
}

async fn goes_on(cx: &Cx) -> Outcome {
    let blob = cx.blob(SIZE);
    let name = cx.write_name(&blob);
    let committed = begun(cx, &name, &blob).await?;
    let rest = blob.data.get(committed..).unwrap_or(&[]);
    let upload = vec![write_request(&name, committed, rest, true)];
    let what = format!("the rest of an upload from write_offset {committed} on");
    let answer = expect::ok(cx.write_messages(upload).await, &what)?;
    expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    cx.expect_readable(&blob, "a read of an upload that was resumed").await
}

async fn begins_again(cx: &Cx) -> Outcome {
    let blob = cx.blob(SIZE);
    let name = cx.write_name(&blob);
    let mut upload = messages(&name, &blob.data, 100_000);
    upload.truncate(SENT / 100_000);
    cx.write_broken_off(upload).await;
    let answer = cx.write_messages(messages(&name, &blob.data, 100_000)).await;
    expect::ok(answer, "an upload from 0 after one that broke off")?;
    cx.expect_readable(&blob, "a read after it").await
}

async fn wrong_rest(cx: &Cx) -> Outcome {
    let blob = cx.blob(SIZE);
    let name = cx.write_name(&blob);
    let committed = begun(cx, &name, &blob).await?;
    let rest = cx.bytes(SIZE - committed);
    let answer = cx.write_messages(vec![write_request(&name, committed, &rest, true)]).await;
    expect::code(&answer, Code::InvalidArgument, "an upload that goes on with other bytes")?;
    cx.expect_missing(&blob, "its blob").await
}

async fn zstd_begins_again(cx: &Cx) -> Outcome {
    let blob = cx.text(SIZE);
    let name = cx.zstd_write_name(&blob);
    let encoded = zstd_stream(&blob.data);
    let mut upload = messages(&name, &encoded, encoded.len() / 4);
    upload.truncate(2);
    cx.write_broken_off(upload).await;
    let answer = cx.write_messages(messages(&name, &encoded, 10_000)).await;
    expect::ok(answer, "a zstd upload from 0 after one that broke off")?;
    cx.expect_readable(&blob, "a read after it").await
}

async fn zstd_complete(cx: &Cx) -> Outcome {
    let blob = cx.stored(1_000).await?;
    let what = "QueryWriteStatus of a zstd upload of a blob that is there";
    let answer = expect::ok(query(cx, &cx.zstd_write_name(&blob)).await?, what)?;
    expect::equal(answer.complete, true, format!("complete of {what}"))
}

async fn bad_name(cx: &Cx) -> Outcome {
    for name in ["", "nonsense", "uploads/x/blobs/y/z"] {
        let answer = cx.query_write(name).await;
        expect::refused(&answer, format!("QueryWriteStatus of {name:?}"))?;
    }
    Ok(())
}
