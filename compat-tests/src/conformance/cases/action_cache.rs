//! `action-cache`: results of actions: stored, overwritten, malformed, and their inlining. Completeness is in `completeness`.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::{output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// An action that was never stored is NOT_FOUND.
    "action-cache.absent", Must, "ActionCache.GetActionResult, NOT_FOUND" => absent;
    /// A result that was stored is found.
    "action-cache.stored", Must, "ActionCache.UpdateActionResult", needs[Need::Updates] => stored;
    /// All that a result says comes back.
    "action-cache.all-fields", Must, "ActionResult", needs[Need::Updates] => all_fields;
    /// UpdateActionResult answers with the result.
    "action-cache.update-answers", Must, "UpdateActionResult, \"return an equivalent value\"", needs[Need::Updates] => update_answers;
    /// A later result takes the place of an earlier one.
    "action-cache.overwritten", Should, "ActionCache.UpdateActionResult", needs[Need::Updates] => overwritten;
    /// A failed action's result is stored as it is: to judge it is the client's affair.
    "action-cache.exit-code", Should, "ActionResult.exit_code", needs[Need::Updates] => exit_code;
    /// The size is part of the action's digest, or is ignored; another hash is another action.
    "action-cache.other-action", Must, "GetActionResultRequest.action_digest", needs[Need::Updates] => other_action;
    /// A request without an action digest is refused.
    "action-cache.no-digest", Should, "GetActionResultRequest.action_digest" => no_digest;
    /// An update without an action digest is refused.
    "action-cache.update-no-digest", Should, "UpdateActionResultRequest.action_digest", needs[Need::Updates] => update_no_digest;
    /// An update without a result is refused.
    "action-cache.update-no-result", Should, "UpdateActionResultRequest.action_result", needs[Need::Updates] => update_no_result;
    /// A hash that is none is refused.
    "action-cache.bad-hash", Must, "Digest.hash" => bad_hash;
    /// A hash that is none is INVALID_ARGUMENT.
    "action-cache.bad-hash-code", Should, "google.rpc.Code.INVALID_ARGUMENT" => bad_hash_code;
    /// A result that names an output by a hash that is none is INVALID_ARGUMENT.
    "action-cache.update-bad-output", Should, "ActionCache.UpdateActionResult, INVALID_ARGUMENT", needs[Need::Updates] => update_bad_output;
    /// A result of 5,000 outputs comes back whole.
    "action-cache.many-outputs", Must, "ActionResult.output_files", needs[Need::Updates] => many_outputs;
    /// Symlinks come back as they were stored.
    "action-cache.symlinks", Must, "ActionResult.output_symlinks", needs[Need::Updates] => symlinks;
    /// Node properties come back as they were stored.
    "action-cache.node-properties", Must, "OutputFile.node_properties", needs[Need::Updates] => node_properties;
    /// Paths outside ASCII come back as they were stored.
    "action-cache.unicode-paths", Must, "OutputFile.path", needs[Need::Updates] => unicode_paths;
    /// A result with nothing but an exit code is a result.
    "action-cache.empty-result", Must, "ActionResult", needs[Need::Updates] => empty_result;
    /// Standard output that was not asked for is not sent along.
    "action-cache.inline.not-asked", Should, "ActionResult.stdout_raw, \"SHOULD NOT inline stdout unless requested\"", needs[Need::Updates] => inline_not_asked;
    /// Inlined standard output is what its digest says; its digest stays.
    "action-cache.inline.stdout", Must, "GetActionResultRequest.inline_stdout", needs[Need::Updates] => inline_stdout;
    /// Inlined standard error is what its digest says.
    "action-cache.inline.stderr", Must, "GetActionResultRequest.inline_stderr", needs[Need::Updates] => inline_stderr;
    /// Inlined output files are what their digests say, and others are not inlined.
    "action-cache.inline.files", Must, "GetActionResultRequest.inline_output_files", needs[Need::Updates] => inline_files;
    /// Small outputs that are asked for are inlined: it spares Bazel a call for each action.
    "action-cache.inline.is-done", Client[Bazel], "Bazel, inline_stdout and inline_stderr", needs[Need::Updates] => inline_is_done;
    /// Paths that the result does not have are ignored.
    "action-cache.inline.unknown-path", Must, "GetActionResultRequest.inline_output_files", needs[Need::Updates] => inline_unknown_path;
    /// Outputs that are too large for a message are not inlined: the answer stays within what clients take.
    "action-cache.inline.too-large", Must, "ActionResult.stdout_raw, \"MUST do so if inlining would cause the response to exceed message size limits\"", needs[Need::Updates] => inline_too_large;
    /// Standard output that was uploaded inline comes back, inline or by its digest.
    "action-cache.inline.uploaded", Should, "ActionResult.stdout_raw", needs[Need::Updates] => inline_uploaded;
    /// Updates of one action at the same time all succeed, and one of them is the result.
    "action-cache.concurrent", Must, "ActionCache.UpdateActionResult", needs[Need::Updates] => concurrent;
};

async fn absent(cx: &Cx) -> Outcome {
    cx.expect_miss(&cx.blob(100), "an action that was never stored").await
}

async fn stored(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let action = cx.cached(result_of(vec![output_file("out/a.o", &output)])).await?;
    let found = cx.expect_hit(&action, "an action that was stored").await?;
    let names: Vec<_> = found.output_files.iter().map(|file| file.path.as_str()).collect();
    expect::equal(names, vec!["out/a.o"], "the output files")?;
    let digest = found.output_files.first().and_then(|file| file.digest.clone());
    expect::equal(digest, Some(output.digest()), "the output's digest")
}

async fn all_fields(cx: &Cx) -> Outcome {
    let (output, stdout, stderr) =
        (cx.stored(100).await?, cx.stored(50).await?, cx.stored(60).await?);
    let mut file = output_file("bin/tool", &output);
    file.is_executable = true;
    let mut result = result_of(vec![file]);
    result.exit_code = 0;
    result.stdout_digest = Some(stdout.digest());
    result.stderr_digest = Some(stderr.digest());
    result.execution_metadata =
        Some(reapi::ExecutedActionMetadata { worker: "a worker".to_owned(), ..Default::default() });
    let action = cx.cached(result.clone()).await?;
    let found = cx.expect_hit(&action, "an action that was stored").await?;
    expect::equal(found.output_files, result.output_files, "output_files")?;
    expect::equal(found.stdout_digest, result.stdout_digest, "stdout_digest")?;
    expect::equal(found.stderr_digest, result.stderr_digest, "stderr_digest")?;
    let worker = found.execution_metadata.map(|metadata| metadata.worker);
    expect::equal(worker, Some("a worker".to_owned()), "the worker in execution_metadata")
}

async fn update_answers(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let action = cx.stored_action().await?;
    let result = result_of(vec![output_file("out", &output)]);
    let answer = expect::ok(cx.update_action(&action, result.clone()).await, "UpdateActionResult")?;
    expect::equal(answer.output_files, result.output_files, "the output files in its answer")
}

async fn overwritten(cx: &Cx) -> Outcome {
    let action = cx.stored_action().await?;
    for path in ["first", "second", "third"] {
        let output = cx.stored(100).await?;
        let result = result_of(vec![output_file(path, &output)]);
        expect::ok(cx.update_action(&action, result).await, "UpdateActionResult")?;
        let found = cx.expect_hit(&action, "an action that was stored again").await?;
        let name = found.output_files.first().map(|file| file.path.clone());
        expect::equal(name, Some(path.to_owned()), "the output of the latest result")?;
    }
    Ok(())
}

async fn exit_code(cx: &Cx) -> Outcome {
    let action = cx.stored_action().await?;
    let mut result = result_of(Vec::new());
    result.exit_code = 3;
    let what = "UpdateActionResult with exit_code 3";
    expect::ok(cx.update_action(&action, result).await, what)?;
    let found = cx.expect_hit(&action, "a failed action").await?;
    expect::equal(found.exit_code, 3, "exit_code")
}

async fn other_action(cx: &Cx) -> Outcome {
    let action = cx.cached(result_of(Vec::new())).await?;
    let mut other = action.clone();
    let last = if action.hash.ends_with('0') { "1" } else { "0" };
    other.hash.replace_range(action.hash.len() - 1.., last);
    cx.expect_miss(&other, "an action whose hash differs in its last digit").await
}

async fn no_digest(cx: &Cx) -> Outcome {
    let request =
        reapi::GetActionResultRequest { instance_name: cx.instance(), ..Default::default() };
    expect::refused(&cx.get_action_as(request).await, "GetActionResult without action_digest")
}

async fn update_no_digest(cx: &Cx) -> Outcome {
    let request = reapi::UpdateActionResultRequest {
        instance_name: cx.instance(),
        action_result: Some(result_of(Vec::new())),
        ..Default::default()
    };
    let answer = cx.actions().update_action_result(request).await;
    let answer = answer.map(tonic::Response::into_inner);
    expect::refused(&answer, "UpdateActionResult without action_digest")
}

async fn update_no_result(cx: &Cx) -> Outcome {
    let action = cx.stored_action().await?;
    let request = reapi::UpdateActionResultRequest {
        instance_name: cx.instance(),
        action_digest: Some(action.digest()),
        digest_function: action.function.value(),
        ..Default::default()
    };
    let answer = cx.actions().update_action_result(request).await;
    let answer = answer.map(tonic::Response::into_inner);
    expect::refused(&answer, "UpdateActionResult without action_result")
}

fn with_bad_hash(cx: &Cx) -> Blob {
    let mut action = cx.blob(100);
    action.hash.replace_range(..1, "z");
    action
}

async fn bad_hash(cx: &Cx) -> Outcome {
    let answer = cx.get_action(&with_bad_hash(cx)).await;
    expect::refused(&answer, "GetActionResult of a hash that begins with z")
}

async fn bad_hash_code(cx: &Cx) -> Outcome {
    let answer = cx.get_action(&with_bad_hash(cx)).await;
    let what = "GetActionResult of a hash that begins with z";
    expect::code(&answer, Code::InvalidArgument, what)
}

async fn update_bad_output(cx: &Cx) -> Outcome {
    let action = cx.stored_action().await?;
    let result = result_of(vec![output_file("out", &with_bad_hash(cx))]);
    let answer = cx.update_action(&action, result).await;
    let what = "UpdateActionResult with an output whose hash begins with z";
    expect::code(&answer, Code::InvalidArgument, what)
}

async fn many_outputs(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let files = (0..5_000).map(|index| output_file(&format!("out/file-{index:05}"), &output));
    let action = cx.cached(result_of(files.collect())).await?;
    let found = cx.expect_hit(&action, "an action with 5000 outputs").await?;
    expect::equal(found.output_files.len(), 5_000, "the number of outputs")
}

async fn symlinks(cx: &Cx) -> Outcome {
    let link = reapi::OutputSymlink {
        path: "out/link".to_owned(),
        target: "../elsewhere/file".to_owned(),
        ..Default::default()
    };
    let mut result = result_of(Vec::new());
    result.output_symlinks = vec![link.clone()];
    let action = cx.cached(result).await?;
    let found = cx.expect_hit(&action, "an action with a symlink").await?;
    expect::equal(found.output_symlinks, vec![link], "output_symlinks")
}

async fn node_properties(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let mode = bazel_remote_apis::google::protobuf::UInt32Value { value: 0o755 };
    let mut file = output_file("out", &output);
    file.node_properties =
        Some(reapi::NodeProperties { unix_mode: Some(mode), ..Default::default() });
    let action = cx.cached(result_of(vec![file.clone()])).await?;
    let found = cx.expect_hit(&action, "an action with node properties").await?;
    let properties = found.output_files.first().and_then(|found| found.node_properties.clone());
    expect::equal(properties, file.node_properties, "node_properties")
}

async fn unicode_paths(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let path = "größe/ファイル.txt";
    let action = cx.cached(result_of(vec![output_file(path, &output)])).await?;
    let found = cx.expect_hit(&action, "an action with such a path").await?;
    let name = found.output_files.first().map(|file| file.path.clone());
    expect::equal(name, Some(path.to_owned()), "the path")
}

async fn empty_result(cx: &Cx) -> Outcome {
    let action = cx.cached(result_of(Vec::new())).await?;
    cx.expect_hit(&action, "an action without outputs").await.map(drop)
}

/// An action with standard output, standard error and two files; and these four blobs.
async fn with_outputs(cx: &Cx) -> Result<(Blob, [Blob; 4]), crate::conformance::outcome::Halt> {
    let blobs = [
        cx.stored(300).await?,
        cx.stored(200).await?,
        cx.stored(100).await?,
        cx.stored(150).await?,
    ];
    let mut result = result_of(vec![output_file("a", &blobs[2]), output_file("b", &blobs[3])]);
    result.stdout_digest = Some(blobs[0].digest());
    result.stderr_digest = Some(blobs[1].digest());
    Ok((cx.cached(result).await?, blobs))
}

async fn inline_not_asked(cx: &Cx) -> Outcome {
    let (action, _) = with_outputs(cx).await?;
    let found = cx.expect_hit(&action, "an action, nothing asked to be inlined").await?;
    expect::bytes(&found.stdout_raw, &[], "stdout_raw")?;
    expect::bytes(&found.stderr_raw, &[], "stderr_raw")?;
    found.output_files.iter().try_for_each(|file| expect::bytes(&file.contents, &[], "contents"))
}

/// Inlined bytes are the blob's; none are right too.
fn expect_inlined(raw: &[u8], blob: &Blob, what: &str) -> Outcome {
    if raw.is_empty() { Ok(()) } else { expect::bytes(raw, &blob.data, what) }
}

async fn inline_stdout(cx: &Cx) -> Outcome {
    let (action, blobs) = with_outputs(cx).await?;
    let mut request = cx.action_request(&action);
    request.inline_stdout = true;
    let found = expect::ok(cx.get_action_as(request).await, "GetActionResult with inline_stdout")?;
    expect_inlined(&found.stdout_raw, &blobs[0], "stdout_raw")?;
    expect::equal(found.stdout_digest, Some(blobs[0].digest()), "stdout_digest beside stdout_raw")
}

async fn inline_stderr(cx: &Cx) -> Outcome {
    let (action, blobs) = with_outputs(cx).await?;
    let mut request = cx.action_request(&action);
    request.inline_stderr = true;
    let found = expect::ok(cx.get_action_as(request).await, "GetActionResult with inline_stderr")?;
    expect_inlined(&found.stderr_raw, &blobs[1], "stderr_raw")?;
    expect::equal(found.stderr_digest, Some(blobs[1].digest()), "stderr_digest beside stderr_raw")
}

async fn inline_files(cx: &Cx) -> Outcome {
    let (action, blobs) = with_outputs(cx).await?;
    let mut request = cx.action_request(&action);
    request.inline_output_files = vec!["a".to_owned()];
    let what = "GetActionResult with inline_output_files [\"a\"]";
    let found = expect::ok(cx.get_action_as(request).await, what)?;
    for file in &found.output_files {
        if file.path == "a" {
            expect_inlined(&file.contents, &blobs[2], "the contents of a")?;
            expect::equal(file.digest.clone(), Some(blobs[2].digest()), "the digest of a")?;
        } else {
            expect_inlined(&file.contents, &blobs[3], "the contents of b")?;
        }
    }
    expect::equal(found.output_files.len(), 2, "the number of output files")
}

async fn inline_is_done(cx: &Cx) -> Outcome {
    let (action, blobs) = with_outputs(cx).await?;
    let mut request = cx.action_request(&action);
    request.inline_stdout = true;
    request.inline_output_files = vec!["a".to_owned()];
    let found = expect::ok(cx.get_action_as(request).await, "GetActionResult with inlining")?;
    expect::bytes(&found.stdout_raw, &blobs[0].data, "stdout_raw, asked for")?;
    let contents =
        found.output_files.iter().find(|file| file.path == "a").map(|file| &file.contents);
    expect::bytes(contents.map_or(&[], |contents| contents), &blobs[2].data, "contents, asked for")
}

async fn inline_unknown_path(cx: &Cx) -> Outcome {
    let (action, _) = with_outputs(cx).await?;
    let mut request = cx.action_request(&action);
    request.inline_output_files = vec!["no/such/file".to_owned(), String::new()];
    let what = "GetActionResult with inline_output_files that are not there";
    expect::ok(cx.get_action_as(request).await, what).map(drop)
}

async fn inline_too_large(cx: &Cx) -> Outcome {
    let blobs = [cx.stored(3_000_000).await?, cx.stored(3_000_000).await?];
    let mut result = result_of(vec![output_file("a", &blobs[1])]);
    result.stdout_digest = Some(blobs[0].digest());
    let action = cx.cached(result).await?;
    let mut request = cx.action_request(&action);
    request.inline_stdout = true;
    request.inline_output_files = vec!["a".to_owned()];
    let mut client = cx.actions().max_decoding_message_size(4 << 20);
    let answer = client.get_action_result(request).await.map(tonic::Response::into_inner);
    let what = "GetActionResult with 6 MB to inline, by a client that takes 4 MiB";
    expect::ok(answer, what).map(drop)
}

async fn inline_uploaded(cx: &Cx) -> Outcome {
    let stdout = cx.blob(300);
    let mut result = result_of(Vec::new());
    result.stdout_raw.clone_from(&stdout.data);
    let action = cx.cached(result).await?;
    let mut request = cx.action_request(&action);
    request.inline_stdout = true;
    let found = expect::ok(cx.get_action_as(request).await, "GetActionResult")?;
    if !found.stdout_raw.is_empty() {
        return expect::bytes(&found.stdout_raw, &stdout.data, "stdout_raw as it was uploaded");
    }
    expect::equal(found.stdout_digest, Some(stdout.digest()), "stdout_digest of what was inline")?;
    cx.expect_readable(&stdout, "a read of what was inline").await
}

async fn concurrent(cx: &Cx) -> Outcome {
    let action = cx.stored_action().await?;
    let outputs = [cx.stored(100).await?, cx.stored(100).await?];
    let updates = (0..16).map(|index| {
        let result = result_of(vec![output_file("out", &outputs[index % 2])]);
        cx.update_action(&action, result)
    });
    for answer in join_all(updates).await {
        expect::ok(answer, "one of 16 UpdateActionResults at once")?;
    }
    let found = cx.expect_hit(&action, "an action that was stored 16 times at once").await?;
    let digest = found.output_files.first().and_then(|file| file.digest.clone());
    let one_of_them = outputs.iter().any(|output| digest == Some(output.digest()));
    expect::that(one_of_them, || format!("expected one of the two results, got {digest:?}"))
}
