//! `bytestream.write`: uploads as they are, their names, offsets and ends.

use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::calls::{messages, write_request};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// An upload in one message is stored, and its size is the answer.
    "bytestream.write.one-message", Must, "ByteStream.Write" => in_messages(100, 100);
    /// An upload in several messages is stored.
    "bytestream.write.messages", Must, "ByteStream.Write" => in_messages(1_000_000, 100_000);
    /// An upload in messages of a byte is stored.
    "bytestream.write.messages-of-a-byte", Must, "ByteStream.Write" => in_messages(300, 1);
    /// An upload in messages of 2 MiB is stored.
    "bytestream.write.messages-of-2-mib", Must, "ByteStream.Write" => in_messages(7_000_000, 2 << 20);
    /// An upload of 32 MiB is stored.
    "bytestream.write.large", Must, "ByteStream.Write" => in_messages(32 << 20, 1 << 20);
    /// The name may stand in every message.
    "bytestream.write.name-repeated", Must, "google.bytestream.WriteRequest.resource_name" => name_repeated;
    /// Another name in a later message is an error.
    "bytestream.write.name-changed", Must, "google.bytestream.WriteRequest.resource_name" => name_changed;
    /// A first message without a name is an error.
    "bytestream.write.name-missing", Must, "google.bytestream.WriteRequest.resource_name" => name_missing;
    /// The finish may come in a message of its own.
    "bytestream.write.finish-apart", Must, "google.bytestream.WriteRequest.finish_write" => finish_apart;
    /// Messages may be empty.
    "bytestream.write.empty-messages", Must, "google.bytestream.WriteRequest.data" => empty_messages;
    /// An offset that leaves a gap is an error.
    "bytestream.write.offset-gap", Must, "google.bytestream.WriteRequest.write_offset" => wrong_offset(60);
    /// An offset that goes back is an error.
    "bytestream.write.offset-back", Must, "google.bytestream.WriteRequest.write_offset" => wrong_offset(40);
    /// A negative offset is an error.
    "bytestream.write.offset-negative", Must, "google.bytestream.WriteRequest.write_offset" => wrong_offset(-50);
    /// A first offset that nothing was stored for is an error.
    "bytestream.write.offset-of-nothing", Must, "google.bytestream.WriteRequest.write_offset" => first_offset(50);
    /// A first offset that is negative is an error.
    "bytestream.write.offset-negative-first", Must, "google.bytestream.WriteRequest.write_offset" => first_offset(-50);
    /// Bytes of another hash are INVALID_ARGUMENT.
    "bytestream.write.wrong-hash", Must, "ContentAddressableStorage, \"If the client completes the upload but the Digest does not match\"" => wrong_bytes(100, 100);
    /// The same in an upload of several messages.
    "bytestream.write.wrong-hash-large", Must, "ContentAddressableStorage, \"If the client completes the upload but the Digest does not match\"" => wrong_bytes(3_000_000, 3_000_000);
    /// Fewer bytes than the name says are INVALID_ARGUMENT.
    "bytestream.write.short", Must, "ContentAddressableStorage, \"If the client completes the upload but the Digest does not match\"" => short;
    /// More bytes than the name says are INVALID_ARGUMENT.
    "bytestream.write.long", Must, "ContentAddressableStorage, \"If the client completes the upload but the Digest does not match\"" => long;
    /// The right bytes under another size are INVALID_ARGUMENT: the size is part of the digest.
    "bytestream.write.other-size", Must, "Digest.size_bytes" => other_size;
    /// After an upload of wrong bytes the right ones are taken.
    "bytestream.write.right-after-wrong", Must, "ContentAddressableStorage" => right_after_wrong;
    /// What is still being uploaded is not visible.
    "bytestream.write.unfinished", Must, "ByteStream.Write, \"will not view the resource as complete\"" => unfinished;
    /// An upload that ends before its last byte and without a finish stores nothing.
    "bytestream.write.closed-short", Must, "ByteStream.Write, \"will not view the resource as complete\"" => closed_short;
    /// Data after the finish changes nothing of what is stored.
    "bytestream.write.data-after-finish", Must, "google.bytestream.WriteRequest.finish_write" => data_after_finish;
    /// What is acknowledged is present at once.
    "bytestream.write.present-at-once", Must, "ContentAddressableStorage.FindMissingBlobs" => present_at_once;
    /// A whole upload of a blob that is there succeeds, and its size is the answer.
    "bytestream.write.duplicate", Must, "ContentAddressableStorage, \"another client has already completed the upload\"" => duplicate;
    /// An upload of a blob that is there is answered before it ends, with the blob's full size.
    "bytestream.write.duplicate-early", Must, "ContentAddressableStorage, \"the request will terminate immediately without error\"" => duplicate_early;
    /// Uploads of one blob at the same time all succeed.
    "bytestream.write.concurrent", Must, "ContentAddressableStorage, \"Uploads of the same data MAY occur concurrently\"" => concurrent;
    /// Uploads of many blobs at the same time all succeed.
    "bytestream.write.many", Must, "ByteStream.Write" => many;
    /// One UUID may serve for several blobs.
    "bytestream.write.uuid-reused", Must, "ContentAddressableStorage, uuid" => uuid_reused;
    /// What follows the size in a name is the client's affair.
    "bytestream.write.optional-metadata", Must, "ContentAddressableStorage, optional_metadata" => optional_metadata;
    /// The resource name may also come as a header.
    "bytestream.write.resource-name-header", Must, "ContentAddressableStorage, build.bazel.remote.execution.v2.resource-name" => with_header;
    /// A name that does not parse is refused.
    "bytestream.write.bad-name", Must, "ContentAddressableStorage, WriteRequest.resource_name" => bad_names(false);
    /// A name that does not parse is INVALID_ARGUMENT.
    "bytestream.write.bad-name-code", Should, "google.rpc.Code.INVALID_ARGUMENT" => bad_names(true);
    /// A blob above max_cas_blob_size_bytes is refused.
    "bytestream.write.above-blob-limit", Should, "CacheCapabilities.max_cas_blob_size_bytes", needs[crate::conformance::announced::Need::BlobLimit] => above_blob_limit;
};

async fn in_messages(cx: &Cx, size: usize, chunk: usize) -> Outcome {
    let blob = cx.blob(size);
    let what = format!("an upload of {size} B in messages of {chunk} B");
    let upload = messages(&cx.write_name(&blob), &blob.data, chunk);
    let answer = expect::ok(cx.write_messages(upload).await, &what)?;
    expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    cx.expect_readable(&blob, &format!("a read after {what}")).await
}

async fn name_repeated(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let name = cx.write_name(&blob);
    let mut upload = messages(&name, &blob.data, 30);
    for message in &mut upload {
        message.resource_name.clone_from(&name);
    }
    expect::ok(cx.write_messages(upload).await, "an upload with its name in each message")?;
    cx.expect_readable(&blob, "a read after it").await
}

async fn name_changed(cx: &Cx) -> Outcome {
    let (blob, other) = (cx.blob(100), cx.blob(100));
    let upload = vec![
        write_request(&cx.write_name(&blob), 0, &blob.data[..50], false),
        write_request(&cx.write_name(&other), 50, &blob.data[50..], true),
    ];
    let answer = cx.write_messages(upload).await;
    expect::refused(&answer, "an upload whose second message has another name")?;
    cx.expect_missing(&other, "the blob of the second name").await
}

async fn name_missing(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.write_messages(messages("", &blob.data, 100)).await;
    expect::refused(&answer, "an upload without a name")
}

async fn finish_apart(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let name = cx.write_name(&blob);
    let upload =
        vec![write_request(&name, 0, &blob.data, false), write_request("", 100, &[], true)];
    expect::ok(cx.write_messages(upload).await, "an upload that ends in an empty message")?;
    cx.expect_readable(&blob, "a read after it").await
}

async fn empty_messages(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let upload = vec![
        write_request(&cx.write_name(&blob), 0, &[], false),
        write_request("", 0, &blob.data[..50], false),
        write_request("", 50, &[], false),
        write_request("", 50, &blob.data[50..], false),
        write_request("", 100, &[], true),
    ];
    expect::ok(cx.write_messages(upload).await, "an upload with empty messages")?;
    cx.expect_readable(&blob, "a read after it").await
}

/// The second of two messages of 50 B has this offset.
async fn wrong_offset(cx: &Cx, offset: i64) -> Outcome {
    let blob = cx.blob(100);
    let mut upload = messages(&cx.write_name(&blob), &blob.data, 50);
    upload[1].write_offset = offset;
    let what = format!("write_offset {offset} after 50 B");
    expect::refused(&cx.write_messages(upload).await, &what)?;
    cx.expect_missing(&blob, &format!("the blob of an upload with {what}")).await
}

/// The only message has the second half of the blob, and this offset.
async fn first_offset(cx: &Cx, offset: i64) -> Outcome {
    let blob = cx.blob(100);
    let mut upload = vec![write_request(&cx.write_name(&blob), 0, &blob.data[50..], true)];
    upload[0].write_offset = offset;
    let what = format!("write_offset {offset} in the first message of a new upload");
    expect::refused(&cx.write_messages(upload).await, &what)?;
    cx.expect_missing(&blob, "the blob of such an upload").await
}

/// Other bytes, of this size, under the name of a blob.
async fn wrong_bytes(cx: &Cx, named: usize, sent: usize) -> Outcome {
    let blob = cx.blob(named);
    let upload = messages(&cx.write_name(&blob), &cx.bytes(sent), 1 << 20);
    let answer = cx.write_messages(upload).await;
    let what = format!("an upload of {sent} other bytes under the name of a {named} B blob");
    expect::code(&answer, Code::InvalidArgument, what)?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn short(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let upload = vec![write_request(&cx.write_name(&blob), 0, &blob.data[..99], true)];
    let answer = cx.write_messages(upload).await;
    expect::code(&answer, Code::InvalidArgument, "finish_write after 99 of 100 B")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn long(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let longer = [blob.data.clone(), vec![0]].concat();
    for chunk in [101, 100] {
        let upload = messages(&cx.write_name(&blob), &longer, chunk);
        let answer = cx.write_messages(upload).await;
        let what = format!("101 B under the name of a 100 B blob, in messages of {chunk} B");
        expect::code(&answer, Code::InvalidArgument, what)?;
    }
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn other_size(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    for size in [99, 101] {
        let name = cx.write_name(&blob).replace("/100", &format!("/{size}"));
        let answer = cx.write_messages(messages(&name, &blob.data, 100)).await;
        let what = format!("a 100 B blob under its own hash and size {size}");
        expect::code(&answer, Code::InvalidArgument, what)?;
    }
    cx.expect_missing(&blob, "the blob under its own size").await
}

async fn right_after_wrong(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let name = cx.write_name(&blob);
    let wrong = cx.write_messages(messages(&name, &cx.bytes(100), 100)).await;
    expect::code(&wrong, Code::InvalidArgument, "an upload of other bytes")?;
    let right = cx.write_messages(messages(&name, &blob.data, 100)).await;
    expect::ok(right, "an upload of the right bytes after it, under the same name")?;
    cx.expect_readable(&blob, "a read after it").await
}

async fn unfinished(cx: &Cx) -> Outcome {
    let blob = cx.blob(200_000);
    let mut upload = messages(&cx.write_name(&blob), &blob.data, 50_000);
    upload.pop();
    cx.write_broken_off(upload).await;
    cx.expect_missing(&blob, "the blob of an upload that broke off").await?;
    let answer = cx.read(&cx.read_name(&blob)).await;
    expect::code(&answer, Code::NotFound, "a read of the blob of an upload that broke off")
}

async fn closed_short(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let upload = vec![write_request(&cx.write_name(&blob), 0, &blob.data[..50], false)];
    // Either answer is right: an error, or how far it is.
    if let Ok(answer) = cx.write_messages(upload).await {
        let committed = answer.committed_size;
        expect::that(committed < 100, || {
            format!("expected committed_size below 100 after 50 of 100 B, got {committed}")
        })?;
    }
    cx.expect_missing(&blob, "the blob of an upload that was closed after 50 of 100 B").await
}

async fn data_after_finish(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let mut upload = messages(&cx.write_name(&blob), &blob.data, 100);
    upload.push(write_request("", 100, b"more", true));
    // An error is right, and so is an answer that was given before the rest came.
    let answer = cx.write_messages(upload).await;
    let what = "an upload that goes on after finish_write";
    let codes = [Code::Ok, Code::InvalidArgument, Code::FailedPrecondition, Code::OutOfRange];
    expect::one_of(&answer, &codes, what)?;
    if answer.is_ok() {
        return cx.expect_readable(&blob, "a read of its blob").await;
    }
    expect::one_of(&cx.read(&cx.read_name(&blob)).await, &[Code::Ok, Code::NotFound], "a read")
}

async fn present_at_once(cx: &Cx) -> Outcome {
    for size in [1, 1_000, 100_000, 2_000_000] {
        let blob = cx.stored(size).await?;
        cx.expect_present(&blob, &format!("a blob of {size} B right after its upload")).await?;
    }
    Ok(())
}

async fn duplicate(cx: &Cx) -> Outcome {
    for size in [100, 3_000_000] {
        let blob = cx.stored(size).await?;
        let what = format!("a second upload of a {size} B blob");
        let answer = expect::ok(cx.write(&blob).await, &what)?;
        expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    }
    Ok(())
}

async fn duplicate_early(cx: &Cx) -> Outcome {
    let blob = cx.stored(1_000_000).await?;
    let mut upload = messages(&cx.write_name(&blob), &blob.data, 100_000);
    upload.truncate(2);
    let what = "the first 200000 B of a 1000000 B blob that is there, and no end";
    let answer = expect::ok(cx.write_unclosed(upload).await, what)?;
    expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))
}

async fn concurrent(cx: &Cx) -> Outcome {
    let blob = cx.blob(2_000_000);
    let uploads = join_all((0..16).map(|_| cx.write(&blob))).await;
    for answer in uploads {
        let answer = expect::ok(answer, "one of 16 uploads of a blob at once")?;
        expect::equal(answer.committed_size, blob.size(), "committed_size of one of them")?;
    }
    cx.expect_readable(&blob, "a read after them").await
}

async fn many(cx: &Cx) -> Outcome {
    let blobs: Vec<_> = (0..100).map(|_| cx.blob(2_000)).collect();
    for answer in join_all(blobs.iter().map(|blob| cx.write(blob))).await {
        expect::ok(answer, "one of 100 uploads at once")?;
    }
    let digests: Vec<_> = blobs.iter().map(crate::conformance::digest::Blob::digest).collect();
    let missing = expect::ok(cx.find_missing(&digests).await, "FindMissingBlobs")?;
    expect::equal(missing.len(), 0, "the number of missing blobs after 100 uploads")
}

async fn uuid_reused(cx: &Cx) -> Outcome {
    let uuid = cx.uuid();
    for size in [100, 200] {
        let blob = cx.blob(size);
        let name = cx.name(&format!("uploads/{uuid}/blobs/{}", blob.path()));
        let answer = cx.write_messages(messages(&name, &blob.data, 1_000)).await;
        expect::ok(answer, "an upload with a UUID that another blob's upload has, too")?;
        cx.expect_readable(&blob, "a read after it").await?;
    }
    Ok(())
}

async fn optional_metadata(cx: &Cx) -> Outcome {
    for tail in ["file.txt", "a/b/c", "blobs/x", "12"] {
        let blob = cx.blob(100);
        let name = format!("{}/{tail}", cx.write_name(&blob));
        let answer = cx.write_messages(messages(&name, &blob.data, 100)).await;
        expect::ok(answer, format!("an upload whose name ends in /{tail}"))?;
        cx.expect_readable(&blob, "a read after it").await?;
    }
    Ok(())
}

async fn with_header(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let name = cx.write_name(&blob);
    let value = name.parse();
    let cx = cx.with_header(|headers| {
        if let Ok(value) = value {
            headers.insert("build.bazel.remote.execution.v2.resource-name", value);
        }
    });
    let answer = cx.write_messages(messages(&name, &blob.data, 100)).await;
    expect::ok(answer, "an upload with the resource name in a header too").map(drop)
}

async fn bad_names(cx: &Cx, with_code: bool) -> Outcome {
    let blob = cx.blob(100);
    let (hash, uuid) = (&blob.hash, cx.uuid());
    let (short, upper) = (hash.get(1..).unwrap_or(""), hash.to_ascii_uppercase());
    let mut names = vec![
        "nonsense".to_owned(),
        format!("uploads/{uuid}/blobs/{hash}"),
        format!("uploads/{uuid}/blobs/{hash}/-100"),
        format!("uploads/{uuid}/blobs/{hash}/one"),
        format!("uploads/{uuid}/blobs/{short}/100"),
        format!("uploads/{uuid}/blobs/{short}g/100"),
        format!("uploads/{uuid}/compressed-blobs/nonesuch/{hash}/100"),
    ];
    if with_code {
        // To guess what these mean harms nobody.
        names.extend([
            format!("blobs/{hash}/100"),
            format!("uploads/blobs/{hash}/100"),
            format!("uploads/{uuid}/{hash}/100"),
            format!("uploads/{uuid}/blobs/{upper}/100"),
        ]);
    }
    for name in names {
        let upload = messages(&cx.name(&name), &blob.data, 100);
        let answer = cx.write_messages(upload).await;
        let what = format!("an upload called {name:?}");
        if with_code {
            expect::code(&answer, Code::InvalidArgument, what)?;
        } else {
            expect::refused(&answer, what)?;
        }
    }
    Ok(())
}

async fn above_blob_limit(cx: &Cx) -> Outcome {
    let limit = cx.announced().cache().max_cas_blob_size_bytes;
    let blob = cx.blob(100);
    let name = cx.write_name(&blob).replace("/100", &format!("/{}", limit.saturating_add(1)));
    let upload = vec![write_request(&name, 0, &blob.data, false)];
    let answer = cx.write_messages(upload).await;
    let what = format!("an upload of {} B, one above the limit", limit.saturating_add(1));
    expect::code(&answer, Code::InvalidArgument, what)
}
