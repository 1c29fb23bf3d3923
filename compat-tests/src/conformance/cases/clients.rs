//! `client`: what named clients do, in the order in which they do it, and what they hold against the answers.

use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use futures_util::future::join_all;
use prost::Message;
use reapi::compressor::Value as Compressor;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::conformance::announced::Need;
use crate::conformance::calls::{messages, output_file, result_of, tree_of, write_request};
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{unzstd, zstd};
use crate::conformance::context::Cx;
use crate::conformance::digest::{Blob, Function, signed};
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, not_applicable};

pub(crate) const CASES: &[Case] = cases! {
    /// A cold build and a warm one after it: a miss, uploads each in a ByteStream call, a result, a hit with inlined output.
    "client.bazel.build", Client[Bazel], "Bazel, remote caching", needs[Need::ActionCache, Need::Updates] => bazel_build;
    /// 200 uploads at once over one connection, some of them twice.
    "client.bazel.parallel-uploads", Client[Bazel], "Bazel, ByteStreamUploader" => bazel_parallel_uploads;
    /// Before an upload is tried again Bazel asks how far it is, and goes on from there.
    "client.bazel.retried-upload", Client[Bazel], "Bazel, ByteStreamUploader" => bazel_retried_upload;
    /// A compressed download that broke off is resumed by an offset into the content.
    "client.bazel.resumed-zstd-download", Client[Bazel], "Bazel, GrpcCacheClient", needs[Need::Zstd] => bazel_resumed_zstd;
    /// A compressed upload of a blob that is there is answered with -1 or all its bytes.
    "client.bazel.zstd-upload-twice", Client[Bazel], "Bazel, ByteStreamUploader", needs[Need::Zstd] => bazel_zstd_twice;
    /// An output directory is a tree that the client reads first, then its files.
    "client.bazel.tree-output", Client[Bazel], "Bazel, build without the bytes", needs[Need::ActionCache, Need::Updates] => bazel_tree;
    /// digest_function is never sent, nor a segment in names: all of it works by the hash's length.
    "client.buck2.unmarked", Client[Buck2], "Buck2 sends no digest_function", needs[Need::Function(Function::Sha256)] => buck2_unmarked;
    /// The same with BLAKE3, where it is the only function with hashes of 64 digits that is announced.
    "client.buck2.unmarked-blake3", Client[Buck2], "Buck2 sends no digest_function", needs[Need::Function(Function::Blake3)] => buck2_unmarked_blake3;
    /// A batch of 100 blobs is filled up to the limit, the message's own bytes not counted.
    "client.buck2.full-batch", Client[Buck2], "Buck2, batches to min(limit, 4000000)" => buck2_full_batch;
    /// A message of an upload is filled up to the limit of batches, the message's own bytes not counted.
    "client.buck2.full-write-message", Client[Buck2], "Buck2, ByteStream.Write" => buck2_full_write;
    /// A compressed upload is answered with the bytes sent or -1.
    "client.buck2.zstd-upload", Client[Buck2], "Buck2, ByteStream.Write", needs[Need::Zstd] => buck2_zstd;
    /// One digest a call; what comes back is the digest that was sent, exactly.
    "client.cuenv.one-digest-a-call", Client[Cuenv], "cuenv, remote cache" => cuenv_one_digest;
    /// An upload that is answered early still takes the rest: a stream that is cut is an error to the client.
    "client.cuenv.early-answer", Client[Cuenv], "cuenv, remote cache" => cuenv_early_answer;
    /// A task is looked up without inlining, and stored with the standard output as a digest.
    "client.cuenv.task", Client[Cuenv], "cuenv, remote cache", needs[Need::ActionCache, Need::Updates] => cuenv_task;
    /// Blobs are cut into batches by the announced limit, and all found after it.
    "client.go-sdk.batches", Client[GoSdk], "Go SDK, UploadIfMissing" => go_sdk_batches;
    /// An action's input tree is read by GetTree.
    "client.go-sdk.input-tree", Client[GoSdk], "Go SDK, GetDirectoryTree" => go_sdk_tree;
    /// zstd is used in batches, both ways.
    "client.go-sdk.zstd-batches", Client[GoSdk], "Go SDK, compressed batches", needs[Need::BatchZstd] => go_sdk_zstd_batches;
    /// A complete compressed upload is answered with the size of the blob, and with nothing else.
    "client.go-sdk.zstd-committed-size", Client[GoSdk], "Go SDK, ByteStream.Write; bazelbuild/bazel#30000", needs[Need::Zstd] => counts_blob_bytes(&["remotetool", "re-client"]);
    /// Inputs of a step: FindMissingBlobs, a batch, a large one by ByteStream; then the result.
    "client.siso.step", Client[Siso], "Siso, remote cache", needs[Need::ActionCache, Need::Updates] => siso_step;
    /// Many small reads in one batch, some of them absent.
    "client.siso.batch-read", Client[Siso], "Siso, reapi/digest" => siso_batch_read;
    /// A complete compressed upload is answered with the size of the blob, and with nothing else.
    "client.siso.zstd-committed-size", Client[Siso], "Siso, ByteStream.Write; bazelbuild/bazel#30000", needs[Need::Zstd] => counts_blob_bytes(&["siso"]);
    /// An upload in small messages is answered with exactly the blob's size.
    "client.pants.exact-committed-size", Client[Pants], "Pants, remote store" => pants_committed_size;
    /// The empty blob is really uploaded, by ByteStream and in a batch.
    "client.pants.empty-blob", Client[Pants], "Pants, remote store" => pants_empty;
    /// A process result: a tree as output, standard output and error by digest, found again.
    "client.pants.process", Client[Pants], "Pants, remote cache", needs[Need::ActionCache, Need::Updates] => pants_process;
    /// An artifact: its files and directories stored in batches, fetched by GetTree and batches.
    "client.buildstream.artifact", Client[BuildStream], "BuildStream, CAS" => buildstream_artifact;
    /// An artifact's name is pushed, and fetched by another machine.
    "client.buildstream.asset", Client[BuildStream], "BuildStream, Remote Asset", needs[Need::Fetch, Need::Push] => buildstream_asset;
    /// A source that nobody has pushed is not found, and that is no failure of the server.
    "client.buildstream.absent-source", Client[BuildStream], "BuildStream, Remote Asset", needs[Need::Fetch] => buildstream_absent;
};

/// As a tool says who it is.
fn as_tool(cx: &Cx, name: &str, version: &str) -> Cx {
    let metadata = reapi::RequestMetadata {
        tool_details: Some(reapi::ToolDetails {
            tool_name: name.to_owned(),
            tool_version: version.to_owned(),
        }),
        tool_invocation_id: cx.uuid(),
        ..Default::default()
    };
    let value = MetadataValue::from_bytes(&metadata.encode_to_vec());
    cx.with_header(|headers| {
        headers.insert_bin("build.bazel.remote.execution.v2.requestmetadata-bin", value);
    })
}

async fn bazel_build(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "bazel", "8.0.0");
    expect::ok(cx.capabilities().await, "GetCapabilities")?;
    let (output, stderr) = (cx.blob(50_000), cx.blob(200));
    let action = cx.stored_action().await?;
    let mut request = cx.action_request(&action);
    (request.inline_stdout, request.inline_stderr) = (true, true);
    request.inline_output_files = vec!["bazel-out/a.d".to_owned()];
    let cold = cx.get_action_as(request.clone()).await;
    expect::code(&cold, Code::NotFound, "GetActionResult of a cold build")?;
    let asked = [output.digest(), stderr.digest()];
    let missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs")?;
    expect::equal(missing.len(), 2, "the number of missing outputs")?;
    cx.store(&output).await?;
    cx.store(&stderr).await?;
    let mut result = result_of(vec![output_file("bazel-out/a.o", &output)]);
    result.stderr_digest = Some(stderr.digest());
    expect::ok(cx.update_action(&action, result).await, "UpdateActionResult")?;
    let warm = expect::ok(cx.get_action_as(request).await, "GetActionResult of a warm build")?;
    expect::equal(warm.output_files.len(), 1, "the number of outputs")?;
    cx.expect_readable(&output, "the download of an output").await?;
    if warm.stderr_raw.is_empty() {
        return cx.expect_readable(&stderr, "the download of standard error").await;
    }
    expect::bytes(&warm.stderr_raw, &stderr.data, "stderr_raw")
}

async fn bazel_parallel_uploads(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "bazel", "8.0.0");
    let blobs: Vec<_> = (0..150).map(|index| cx.blob(100 + index * 100)).collect();
    let all = blobs.iter().chain(blobs.iter().take(50));
    let answers = join_all(all.clone().map(|blob| cx.write(blob))).await;
    for (blob, answer) in all.zip(answers) {
        let answer = expect::ok(answer, "one of 200 uploads at once")?;
        expect::equal(answer.committed_size, blob.size(), "its committed_size")?;
    }
    Ok(())
}

async fn bazel_retried_upload(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "bazel", "8.0.0");
    let blob = cx.blob(2_000_000);
    let name = cx.write_name(&blob);
    let mut upload = messages(&name, &blob.data, 16 << 10);
    upload.truncate(60);
    cx.write_broken_off(upload).await;
    let answer = cx.query_write(&name).await;
    // Bazel begins again where nobody tells how far it was.
    let codes = [Code::Ok, Code::NotFound, Code::Unimplemented];
    expect::one_of(&answer, &codes, "QueryWriteStatus before the retry")?;
    let committed = answer.map_or(0, |answer| answer.committed_size);
    let from = usize::try_from(committed).unwrap_or(0).min(blob.data.len());
    let rest = blob.data.get(from..).unwrap_or(&[]);
    let upload: Vec<_> = rest
        .chunks(16 << 10)
        .enumerate()
        .map(|(index, chunk)| {
            let offset = from + index * (16 << 10);
            let last = offset + chunk.len() == blob.data.len();
            write_request(if index == 0 { &name } else { "" }, offset, chunk, last)
        })
        .collect();
    let what = format!("the retried upload from write_offset {from} on");
    let answer = expect::ok(cx.write_messages(upload).await, &what)?;
    expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))
}

async fn bazel_resumed_zstd(cx: &Cx) -> Outcome {
    let blob = cx.text(2_000_000);
    cx.store(&blob).await?;
    let what = "a zstd download, resumed after 777777 B of content";
    let rest = cx.read_range(&cx.zstd_read_name(&blob), 777_777, 0).await;
    let rest = unzstd(&expect::ok(rest, what)?, blob.data.len(), what)?;
    let first = blob.data.get(..777_777).unwrap_or(&[]);
    expect::bytes(&[first, &rest].concat(), &blob.data, what)
}

async fn bazel_zstd_twice(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "bazel", "8.0.0");
    let blob = cx.text(500_000);
    let encoded = zstd(&blob.data);
    for what in ["a zstd upload", "the same zstd upload again"] {
        let committed = expect::ok(cx.write_zstd(&blob, &encoded).await, what)?.committed_size;
        let sent = signed(encoded.len());
        expect::that(committed == -1 || committed == sent, || {
            format!("expected committed_size -1 or {sent} for {what}, got {committed}")
        })?;
    }
    Ok(())
}

async fn bazel_tree(cx: &Cx) -> Outcome {
    let file = cx.stored(300).await?;
    let node =
        reapi::FileNode { name: "f".to_owned(), digest: Some(file.digest()), ..Default::default() };
    let root = reapi::Directory { files: vec![node], ..Default::default() };
    let tree = reapi::Tree { root: Some(root), children: Vec::new() };
    let tree = cx.blob_of(tree.encode_to_vec());
    cx.store(&tree).await?;
    let mut result = result_of(Vec::new());
    result.output_directories = vec![reapi::OutputDirectory {
        path: "bazel-out/dir".to_owned(),
        tree_digest: Some(tree.digest()),
        ..Default::default()
    }];
    let action = cx.cached(result).await?;
    let found = cx.expect_hit(&action, "an action with an output directory").await?;
    let digest = found.output_directories.first().and_then(|found| found.tree_digest.clone());
    expect::equal(digest, Some(tree.digest()), "the digest of its tree")?;
    cx.expect_readable(&tree, "the download of the tree").await?;
    cx.expect_readable(&file, "the download of its file").await
}

/// All calls without a digest function, on blobs of this one; names have no segment.
async fn unmarked(cx: &Cx, function: Function) -> Outcome {
    // The hash is `function`'s, the name's form that of SHA256.
    let data = cx.bytes(1_000);
    let hash = function.hash(&data);
    let blob = Blob { data, function: Function::Sha256, hash };
    let missing = cx.find_missing_by(0, &[blob.digest()]).await;
    let missing = expect::ok(missing, "FindMissingBlobs without digest_function")?;
    expect::equal(missing.len(), 1, "the number of missing blobs")?;
    let answer = cx.batch_update_by(0, vec![blob.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs without digest_function")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "a batch upload")?;
    let data = expect::ok(cx.read(&cx.read_name(&blob)).await, "a read without a segment")?;
    expect::bytes(&data, &blob.data, "a read without a segment")?;
    let data = cx.bytes(1_000);
    let hash = function.hash(&data);
    let blob = Blob { data, function: Function::Sha256, hash };
    expect::ok(cx.write(&blob).await, "an upload without a segment")?;
    let answer = cx.batch_read_by(0, &[blob.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs without digest_function")?;
    expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "a batch read")
}

async fn buck2_unmarked(cx: &Cx) -> Outcome {
    unmarked(cx, Function::Sha256).await
}

async fn buck2_unmarked_blake3(cx: &Cx) -> Outcome {
    if cx.announced().lacks(Need::Function(Function::Sha256)).is_none() {
        return not_applicable("SHA256 is announced too, and is what unmarked hashes mean");
    }
    unmarked(cx, Function::Blake3).await
}

/// What Buck2 fills batches and messages to.
fn buck2_limit(cx: &Cx) -> usize {
    cx.announced().batch_limit().unwrap_or(4_000_000).min(4_000_000)
}

async fn buck2_full_batch(cx: &Cx) -> Outcome {
    let limit = buck2_limit(cx);
    let blobs: Vec<_> = (0..100).map(|_| cx.blob(limit / 100)).collect();
    let what = format!("BatchUpdateBlobs of 100 blobs of {} B", limit / 100);
    let answer = cx.batch_update_by(0, blobs.iter().map(Blob::batched).collect()).await;
    let answer = expect::ok(answer, &what)?;
    for blob in &blobs {
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, &what)?;
    }
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let what = "BatchReadBlobs of the same 100 blobs";
    let answer = expect::ok(cx.batch_read_by(0, &digests, &[]).await, what)?;
    blobs
        .iter()
        .try_for_each(|blob| expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, what))
}

async fn buck2_full_write(cx: &Cx) -> Outcome {
    let limit = buck2_limit(cx);
    let blob = cx.blob(limit + limit / 2);
    let upload = messages(&cx.write_name(&blob), &blob.data, limit);
    let what = format!("an upload whose first message carries {limit} B");
    let answer = expect::ok(cx.write_messages(upload).await, &what)?;
    expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))
}

async fn buck2_zstd(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "buck2", "");
    let blob = cx.text(100_000);
    let encoded = zstd(&blob.data);
    let committed = expect::ok(cx.write_zstd(&blob, &encoded).await, "a zstd upload")?;
    let (committed, sent) = (committed.committed_size, signed(encoded.len()));
    expect::that(committed == -1 || committed == sent, || {
        format!("expected committed_size -1 or {sent} as sent, got {committed}")
    })
}

/// What the tools of these names take: not -1 either, since nobody has the blob yet.
async fn counts_blob_bytes(cx: &Cx, tools: &[&str]) -> Outcome {
    for tool in tools {
        let cx = as_tool(cx, tool, "1.0");
        let blob = cx.text(100_000);
        let what = format!("a complete zstd upload by {tool}");
        let answer = expect::ok(cx.write_zstd(&blob, &zstd(&blob.data)).await, &what)?;
        expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    }
    Ok(())
}

async fn cuenv_one_digest(cx: &Cx) -> Outcome {
    for size in [20, 100, 10_000] {
        let blob = cx.blob(size);
        let missing = cx.find_missing(&[blob.digest()]).await;
        let missing = expect::ok(missing, "FindMissingBlobs of one digest")?;
        expect::equal(missing, vec![blob.digest()], "what is missing")?;
        let answer = expect::ok(cx.batch_update(vec![blob.batched()]).await, "a batch of one")?;
        let digests: Vec<_> =
            answer.responses.iter().filter_map(|one| one.digest.clone()).collect();
        expect::equal(digests, vec![blob.digest()], "the digests in the answer to an upload")?;
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "the upload")?;
        let answer = cx.batch_read(&[blob.digest()], &[]).await;
        let answer = expect::ok(answer, "a batch read of one")?;
        let digests: Vec<_> =
            answer.responses.iter().filter_map(|one| one.digest.clone()).collect();
        expect::equal(digests, vec![blob.digest()], "the digests in the answer to a download")?;
        expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "the download")?;
    }
    Ok(())
}

async fn cuenv_early_answer(cx: &Cx) -> Outcome {
    let blob = cx.stored(6_000_000).await?;
    for _ in 0..3 {
        let upload = messages(&cx.write_name(&blob), &blob.data, 64 << 10);
        let what = "a whole upload of 6000000 B that are there";
        let answer = expect::ok(cx.write_messages(upload).await, what)?;
        expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    }
    Ok(())
}

async fn cuenv_task(cx: &Cx) -> Outcome {
    expect::ok(cx.capabilities().await, "GetCapabilities")?;
    let action = cx.stored_action().await?;
    cx.expect_miss(&action, "a task that never ran").await?;
    let (output, stdout) = (cx.stored(5_000).await?, cx.stored(100).await?);
    let mut result = result_of(vec![output_file("dist/out", &output)]);
    result.stdout_digest = Some(stdout.digest());
    expect::ok(cx.update_action(&action, result.clone()).await, "UpdateActionResult")?;
    let found = cx.expect_hit(&action, "a task that ran").await?;
    expect::equal(found.output_files, result.output_files, "its outputs")?;
    expect::equal(found.stdout_digest, result.stdout_digest, "its stdout_digest")
}

async fn go_sdk_batches(cx: &Cx) -> Outcome {
    let limit = cx.announced().batch_limit().unwrap_or(4 << 20).min(8 << 20);
    let blobs: Vec<_> = (0..60).map(|index| cx.blob(1_000 + index * 2_500)).collect();
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let missing = expect::ok(cx.find_missing(&digests).await, "FindMissingBlobs of 60")?;
    expect::equal(missing.len(), blobs.len(), "the number of missing blobs")?;
    let mut batch = Vec::new();
    let mut size = 0;
    for blob in &blobs {
        // The SDK counts what the digest takes, too.
        let cost = blob.data.len() + 100;
        if size + cost > limit {
            expect::ok(cx.batch_update(std::mem::take(&mut batch)).await, "a full batch")?;
            size = 0;
        }
        size += cost;
        batch.push(blob.batched());
    }
    expect::ok(cx.batch_update(batch).await, "the last batch")?;
    let missing = expect::ok(cx.find_missing(&digests).await, "FindMissingBlobs after it")?;
    expect::equal(missing.len(), 0, "the number of missing blobs after the batches")
}

async fn go_sdk_tree(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 20);
    cx.store_tree(&tree).await?;
    let found = expect::ok(cx.get_tree(&tree.root()).await, "GetTree of an input root")?;
    let mut hashes: Vec<_> =
        found.iter().map(|directory| cx.blob_of(directory.encode_to_vec()).hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    expect::equal(hashes.len(), 21, "the number of distinct directories, by their digests")
}

async fn go_sdk_zstd_batches(cx: &Cx) -> Outcome {
    let blobs: Vec<_> = (0..10).map(|_| cx.text(20_000)).collect();
    let requests = blobs.iter().map(|blob| blob.batched_zstd(zstd(&blob.data))).collect();
    let answer = expect::ok(cx.batch_update(requests).await, "a batch of zstd")?;
    for blob in &blobs {
        expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "one of the batch")?;
    }
    let digests: Vec<_> = blobs.iter().map(Blob::digest).collect();
    let answer = expect::ok(cx.batch_read(&digests, &[Compressor::Zstd]).await, "a batch read")?;
    for blob in &blobs {
        let mine = blob.batch_answer(&answer)?;
        if mine.compressor == i32::from(Compressor::Zstd) {
            let data = unzstd(&mine.data, 20_000, "zstd of a batch read")?;
            expect::bytes(&data, &blob.data, "zstd of a batch read")?;
        } else {
            expect::bytes(&mine.data, &blob.data, "a batch read")?;
        }
    }
    Ok(())
}

async fn siso_step(cx: &Cx) -> Outcome {
    let cx = as_tool(cx, "siso", "1.0");
    let (small, large) = ([cx.blob(100), cx.blob(2_000)], cx.blob(3_000_000));
    let asked = [small[0].digest(), small[1].digest(), large.digest()];
    let missing = expect::ok(cx.find_missing(&asked).await, "FindMissingBlobs")?;
    expect::equal(missing.len(), 3, "the number of missing inputs")?;
    let answer = cx.batch_update(small.iter().map(Blob::batched).collect()).await;
    for response in expect::ok(answer, "a batch of small inputs")?.responses {
        expect::batch_code(response.status.as_ref(), Code::Ok, "a small input")?;
    }
    let answer = expect::ok(cx.write(&large).await, "the upload of a large input")?;
    expect::equal(answer.committed_size, large.size(), "its committed_size")?;
    let action = cx.cached(result_of(vec![output_file("obj/a.o", &large)])).await?;
    cx.expect_hit(&action, "a step that ran").await.map(drop)
}

async fn siso_batch_read(cx: &Cx) -> Outcome {
    let (there, absent) = ([cx.stored(100).await?, cx.stored(200).await?], cx.blob(300));
    let asked = [there[0].digest(), absent.digest(), there[1].digest()];
    let answer = expect::ok(cx.batch_read(&asked, &[]).await, "BatchReadBlobs")?;
    for blob in &there {
        expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "a stored blob")?;
    }
    let status = absent.batch_answer(&answer)?.status.as_ref();
    expect::batch_code(status, Code::NotFound, "the absent blob")
}

async fn pants_committed_size(cx: &Cx) -> Outcome {
    for size in [1, 65_536, 65_537, 1_500_000] {
        let blob = cx.blob(size);
        let upload = messages(&cx.write_name(&blob), &blob.data, 64 << 10);
        let what = format!("an upload of {size} B in messages of 64 KiB");
        let answer = expect::ok(cx.write_messages(upload).await, &what)?;
        expect::equal(answer.committed_size, blob.size(), format!("committed_size of {what}"))?;
    }
    Ok(())
}

async fn pants_empty(cx: &Cx) -> Outcome {
    let blob = cx.blob_of(Vec::new());
    let answer = expect::ok(cx.write(&blob).await, "an upload of the empty blob")?;
    expect::equal(answer.committed_size, 0, "its committed_size")?;
    let answer = expect::ok(cx.batch_update(vec![blob.batched()]).await, "a batch of it")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "the empty blob")
}

async fn pants_process(cx: &Cx) -> Outcome {
    let (stdout, stderr) = (cx.stored(300).await?, cx.blob_of(Vec::new()));
    let tree = reapi::Tree { root: Some(reapi::Directory::default()), children: Vec::new() };
    let tree = cx.blob_of(tree.encode_to_vec());
    cx.store(&tree).await?;
    let mut result = result_of(Vec::new());
    result.stdout_digest = Some(stdout.digest());
    result.stderr_digest = Some(stderr.digest());
    result.output_directories = vec![reapi::OutputDirectory {
        tree_digest: Some(tree.digest()),
        is_topologically_sorted: true,
        ..Default::default()
    }];
    let action = cx.cached(result.clone()).await?;
    let found = cx.expect_hit(&action, "a process that ran").await?;
    expect::equal(found.output_directories, result.output_directories, "its output directories")?;
    cx.expect_readable(&stdout, "its standard output").await
}

async fn buildstream_artifact(cx: &Cx) -> Outcome {
    expect::ok(cx.capabilities().await, "GetCapabilities")?;
    let tree = tree_of(cx, 5);
    let digests: Vec<_> = tree.directories.iter().map(Blob::digest).collect();
    let missing = expect::ok(cx.find_missing(&digests).await, "FindMissingBlobs")?;
    expect::equal(missing.len(), 6, "the number of missing directories")?;
    let answer = cx.batch_update(tree.directories.iter().map(Blob::batched).collect()).await;
    for response in expect::ok(answer, "a batch of directories")?.responses {
        expect::batch_code(response.status.as_ref(), Code::Ok, "a directory")?;
    }
    let found = expect::ok(cx.get_tree(&tree.root()).await, "GetTree of an artifact")?;
    expect::equal(found.len(), 6, "the number of its directories")?;
    let answer = expect::ok(cx.batch_read(&digests, &[]).await, "BatchReadBlobs")?;
    tree.directories.iter().try_for_each(|directory| {
        expect::bytes(&directory.batch_answer(&answer)?.data, &directory.data, "a directory")
    })
}

async fn buildstream_asset(cx: &Cx) -> Outcome {
    let (artifact, files) = (cx.stored(400).await?, tree_of(cx, 1));
    cx.store_tree(&files).await?;
    let uri = format!("urn:fdc:buildstream.build:2020:artifact:{}", cx.uuid());
    let mut request = cx.push_request(std::slice::from_ref(&uri), &artifact);
    request.references_directories = vec![files.root()];
    expect::ok(cx.push_blob(request).await, "PushBlob of an artifact")?;
    let what = "FetchBlob of an artifact";
    let fetched: asset::FetchBlobResponse =
        expect::ok(cx.fetch_blob(cx.fetch_request(&[uri])).await, what)?;
    let status = fetched.status.clone();
    expect::batch_code(status.as_ref(), Code::Ok, format!("the status of {what}"))?;
    expect::equal(fetched.blob_digest, Some(artifact.digest()), "the artifact's digest")
}

async fn buildstream_absent(cx: &Cx) -> Outcome {
    let uri = format!("urn:fdc:buildstream.build:2020:source:{}", cx.uuid());
    let answer = cx.fetch_blob(cx.fetch_request(&[uri])).await;
    let code = match &answer {
        Ok(answer) => answer.status.as_ref().map_or(Code::Ok, |status| Code::from(status.code)),
        Err(status) => status.code(),
    };
    expect::that(code == Code::NotFound, || {
        format!("expected NOT_FOUND for a source nobody pushed, got {}", expect::code_name(code))
    })
}
