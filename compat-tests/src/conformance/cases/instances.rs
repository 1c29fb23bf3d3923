//! `instances`: instance names, which clients must not make assumptions about. A server that refuses a name, as it may, is not
//! asked for more.

use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, not_applicable};

pub(crate) const CASES: &[Case] = cases! {
    /// Under the instance that the kit was given, what one service stores the others find.
    "instances.one-store", Must, "ContentAddressableStorage" => one_store;
    /// The empty instance name, if it is served, works in resource names.
    "instances.empty", Must, "ContentAddressableStorage, instance_name" => works("");
    /// A name of one segment, if it is served, works in resource names.
    "instances.one-segment", Must, "ContentAddressableStorage, instance_name" => works("main");
    /// A name of several segments, if it is served, works in resource names.
    "instances.several-segments", Must, "ContentAddressableStorage, instance_name" => works("projects/acme/instances/default");
    /// A name that looks like a hash, if it is served, works in resource names.
    "instances.like-a-hash", Must, "ContentAddressableStorage, instance_name" => works("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /// A name that is a number, if it is served, works in resource names.
    "instances.number", Must, "ContentAddressableStorage, instance_name" => works("7/100");
    /// A name with dots, dashes and colons, if it is served, works in resource names.
    "instances.punctuation", Must, "ContentAddressableStorage, instance_name" => works("team-a.example_1:x");
    /// A name outside ASCII, if it is served, works in resource names.
    "instances.unicode", Must, "ContentAddressableStorage, instance_name" => works("größe");
    /// A name that is called like a compressor or a digest function, if it is served, works in resource names.
    "instances.like-a-word", Must, "ContentAddressableStorage, instance_name" => works("zstd/blake3");
};

async fn one_store(cx: &Cx) -> Outcome {
    let blob = cx.stored(500).await?;
    cx.expect_present(&blob, "a blob that ByteStream stored").await?;
    let answer = expect::ok(cx.batch_read(&[blob.digest()], &[]).await, "BatchReadBlobs")?;
    let mine = blob.batch_answer(&answer)?;
    expect::batch_code(
        mine.status.as_ref(),
        tonic::Code::Ok,
        "a batch read of what ByteStream stored",
    )?;
    expect::bytes(&mine.data, &blob.data, "a batch read of what ByteStream stored")?;
    let blob = cx.blob(500);
    let answer = expect::ok(cx.batch_update(vec![blob.batched()]).await, "BatchUpdateBlobs")?;
    let status = blob.updated(&answer)?.status.as_ref();
    expect::batch_code(status, tonic::Code::Ok, "a batch upload")?;
    cx.expect_readable(&blob, "a read of what a batch stored").await
}

async fn works(cx: &Cx, instance: &str) -> Outcome {
    let cx = cx.at_instance(instance);
    if let Err(status) = cx.capabilities().await {
        let text = expect::status_text(&status);
        return not_applicable(format!("the instance {instance:?} is not served: {text}"));
    }
    let blob = cx.stored(500).await?;
    cx.expect_present(&blob, &format!("a blob stored at the instance {instance:?}")).await?;
    cx.expect_readable(&blob, &format!("a read at the instance {instance:?}")).await
}
