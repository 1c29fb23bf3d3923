//! `digest`: digest functions: which one is meant, and that each one that is announced works everywhere.

use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::{messages, output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::{Blob, Function};
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// A digest_function that the specification does not have is refused.
    "digest.unknown-function", Should, "DigestFunction.Value" => unknown_function;
    /// A digest_function that is not announced is refused: what it names could never be found.
    "digest.function-not-announced", Should, "CacheCapabilities.digest_functions" => not_announced;
    /// A hash that is shorter than its function's hashes is refused.
    "digest.hash-of-other-length", Should, "Digest.hash" => other_length;
    /// The same bytes under two functions are both found under their own names.
    "digest.two-functions", Must, "CacheCapabilities.digest_functions", needs[Need::TwoFunctions] => two_functions;
    /// Functions whose hashes are equally long are kept apart: a hash of one is not a hash of the other.
    "digest.functions-apart", Must, "DigestFunction.Value", needs[Need::Function(Function::Sha256), Need::Function(Function::Blake3)] => functions_apart;
};

async fn unknown_function(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.find_missing_by(4_711, &[blob.digest()]).await;
    expect::refused(&answer, "FindMissingBlobs with digest_function 4711")?;
    let answer = cx.batch_update_by(4_711, vec![blob.batched()]).await;
    if let Ok(answer) = &answer {
        let status = blob.updated(answer)?.status.as_ref();
        let what = "a batch upload with digest_function 4711";
        return expect::batch_code(status, Code::InvalidArgument, what);
    }
    expect::refused(&answer, "BatchUpdateBlobs with digest_function 4711")
}

async fn not_announced(cx: &Cx) -> Outcome {
    let announced = cx.announced().functions();
    for function in Function::ALL {
        if !announced.contains(&function) {
            let blob = Blob::new(function, cx.bytes(100));
            let answer = cx.find_missing_by(function.value(), &[blob.digest()]).await;
            let what = format!("FindMissingBlobs by {}, not announced", function.name());
            expect::refused(&answer, what)?;
        }
    }
    Ok(())
}

async fn other_length(cx: &Cx) -> Outcome {
    let mut digest = cx.blob(100).digest();
    digest.hash.pop();
    let answer = cx.find_missing(&[digest]).await;
    expect::code(&answer, Code::InvalidArgument, "FindMissingBlobs of a hash one digit short")
}

async fn two_functions(cx: &Cx) -> Outcome {
    let data = cx.bytes(500);
    for function in cx.announced().functions().into_iter().take(2) {
        let blob = Blob::new(function, data.clone());
        cx.store(&blob).await?;
        cx.expect_readable(&blob, &format!("a read by {}", function.name())).await?;
    }
    Ok(())
}

async fn functions_apart(cx: &Cx) -> Outcome {
    let sha256 = Blob::new(Function::Sha256, cx.bytes(100));
    let misnamed = Blob { function: Function::Blake3, ..sha256.clone() };
    let answer = cx.write(&misnamed).await;
    let what = "an upload whose hash is SHA256's and whose name says blake3";
    expect::code(&answer, Code::InvalidArgument, what)?;
    cx.store(&sha256).await?;
    cx.expect_missing(&misnamed, "the BLAKE3 hash that is equal to a stored SHA256 hash").await
}

/// What must hold for each digest function.
macro_rules! of_function {
    ($table:ident, $word:literal, $function:ident) => {
        /// The cases of one function.
        pub(crate) const $table: &[Case] = cases! {
            /// An upload by ByteStream can be read, and is found.
            concat!("digest.", $word, ".bytestream"), Must, "CacheCapabilities.digest_functions" => bytestream(Function::$function);
            /// An upload in a batch can be read in a batch.
            concat!("digest.", $word, ".batches"), Must, "CacheCapabilities.digest_functions" => batches(Function::$function);
            /// Other bytes are refused.
            concat!("digest.", $word, ".wrong-hash"), Must, "ContentAddressableStorage" => wrong_hash(Function::$function);
            /// An upload of several MiB, which a server may hash in parts, can be read.
            concat!("digest.", $word, ".large"), Must, "CacheCapabilities.digest_functions" => large(Function::$function);
            /// The empty blob is there.
            concat!("digest.", $word, ".empty-blob"), Must, "ContentAddressableStorage, \"as though empty blobs are always available\"" => empty(Function::$function);
            /// An action result by this function is found.
            concat!("digest.", $word, ".action-cache"), Must, "CacheCapabilities.digest_functions", needs[Need::ActionCache, Need::Updates] => action_cache(Function::$function);
            /// The blob can be had as zstd.
            concat!("digest.", $word, ".zstd"), Must, "CacheCapabilities.supported_compressors", needs[Need::Zstd] => compressed(Function::$function);
        };
    };
}

of_function!(SHA256, "sha256", Sha256);
of_function!(BLAKE3, "blake3", Blake3);
of_function!(SHA1, "sha1", Sha1);
of_function!(MD5, "md5", Md5);
of_function!(SHA384, "sha384", Sha384);
of_function!(SHA512, "sha512", Sha512);
of_function!(SHA256TREE, "sha256tree", Sha256Tree);
of_function!(GITSHA1, "gitsha1", GitSha1);

/// What holds for functions that the length of their hashes tells.
pub(crate) const INFERRED: &[Case] = cases! {
    /// Where digest_function is left out, FindMissingBlobs takes the hash's length for it.
    "digest.inferred.find-missing", Should, "FindMissingBlobsRequest.digest_function" => inferred_find_missing;
    /// Where digest_function is left out, batches take the hash's length for it.
    "digest.inferred.batches", Should, "BatchUpdateBlobsRequest.digest_function" => inferred_batches;
    /// Where digest_function is left out, the action cache takes the hash's length for it.
    "digest.inferred.action-cache", Should, "GetActionResultRequest.digest_function", needs[Need::ActionCache, Need::Updates] => inferred_action_cache;
};

async fn bytestream(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, cx.bytes(1_000));
    cx.expect_missing(&blob, "a blob that was never stored").await?;
    cx.store(&blob).await?;
    cx.expect_present(&blob, "a blob that was stored").await?;
    cx.expect_readable(&blob, &format!("a read by {}", function.name())).await
}

async fn batches(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, cx.bytes(1_000));
    let answer = cx.batch_update_by(function.value(), vec![blob.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "a batch upload")?;
    let answer = cx.batch_read_by(function.value(), &[blob.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs")?;
    expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "a batch read")
}

async fn wrong_hash(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, cx.bytes(1_000));
    let upload = messages(&cx.write_name(&blob), &cx.bytes(1_000), 1_000);
    let answer = cx.write_messages(upload).await;
    expect::code(&answer, Code::InvalidArgument, "an upload of other bytes")?;
    cx.expect_missing(&blob, "the blob of a refused upload").await
}

async fn large(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, cx.bytes(5_000_003));
    cx.store(&blob).await?;
    cx.expect_readable(&blob, &format!("a read of 5000003 B by {}", function.name())).await
}

async fn empty(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, Vec::new());
    cx.expect_present(&blob, "the empty blob").await?;
    cx.expect_readable(&blob, "a read of the empty blob").await
}

async fn action_cache(cx: &Cx, function: Function) -> Outcome {
    let output = Blob::new(function, cx.bytes(100));
    cx.store(&output).await?;
    let action = cx.stored_action_by(function).await?;
    let result = result_of(vec![output_file("out", &output)]);
    expect::ok(cx.update_action(&action, result).await, "UpdateActionResult")?;
    let found = cx.expect_hit(&action, "an action that was stored").await?;
    let digest = found.output_files.first().and_then(|file| file.digest.clone());
    expect::equal(digest, Some(output.digest()), "the digest of its output")
}

async fn compressed(cx: &Cx, function: Function) -> Outcome {
    let blob = Blob::new(function, cx.text(10_000).data);
    let encoded = crate::conformance::compression::zstd(&blob.data);
    expect::ok(cx.write_zstd(&blob, &encoded).await, "a zstd upload")?;
    let encoded = expect::ok(cx.read(&cx.zstd_read_name(&blob)).await, "a zstd read")?;
    let decoded = crate::conformance::compression::unzstd(&encoded, 10_000, "a zstd read")?;
    expect::bytes(&decoded, &blob.data, "a zstd read")
}

/// A function that needs not be said, or the reason why there is none.
fn inferable(cx: &Cx) -> Result<Function, crate::conformance::outcome::Halt> {
    let mut announced = cx.announced().functions().into_iter();
    match announced.find(|function| function.segment().is_none()) {
        Some(function) => Ok(function),
        None => crate::conformance::outcome::not_applicable(
            "every digest function that is announced must be named",
        ),
    }
}

async fn inferred_find_missing(cx: &Cx) -> Outcome {
    let function = inferable(cx)?;
    let (there, absent) = (Blob::new(function, cx.bytes(100)), Blob::new(function, cx.bytes(100)));
    cx.store(&there).await?;
    let missing = cx.find_missing_by(0, &[there.digest(), absent.digest()]).await;
    let missing = expect::ok(missing, "FindMissingBlobs without digest_function")?;
    expect::equal(missing, vec![absent.digest()], "what is missing of one stored and one absent")
}

async fn inferred_batches(cx: &Cx) -> Outcome {
    let blob = Blob::new(inferable(cx)?, cx.bytes(100));
    let answer = cx.batch_update_by(0, vec![blob.batched()]).await;
    let answer = expect::ok(answer, "BatchUpdateBlobs without digest_function")?;
    expect::batch_code(blob.updated(&answer)?.status.as_ref(), Code::Ok, "a batch upload")?;
    let answer = cx.batch_read_by(0, &[blob.digest()], &[]).await;
    let answer = expect::ok(answer, "BatchReadBlobs without digest_function")?;
    expect::bytes(&blob.batch_answer(&answer)?.data, &blob.data, "a batch read")
}

async fn inferred_action_cache(cx: &Cx) -> Outcome {
    let function = inferable(cx)?;
    let action = cx.stored_action_by(function).await?;
    let result = result_of(Vec::new());
    expect::ok(cx.update_action(&action, result).await, "UpdateActionResult")?;
    let mut request = cx.action_request(&action);
    request.digest_function = 0;
    let found = cx.get_action_as(request).await;
    expect::ok(found, "GetActionResult without digest_function").map(drop)
}
