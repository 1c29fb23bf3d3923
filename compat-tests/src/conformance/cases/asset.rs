//! `asset`: Remote Asset, as far as it can be tried without an origin to fetch from: what is pushed can be fetched.

use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
use bazel_remote_apis::google::protobuf::Timestamp;
use tonic::Code;

use crate::conformance::announced::Need;
use crate::conformance::calls::{qualifier, tree_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// What nobody pushed, and no origin has, is NOT_FOUND: as the call's status, or in the answer's.
    "asset.fetch.absent", Must, "Push, \"return NOT_FOUND for any resource that was not pushed first\"" => absent;
    /// A fetch without a URI is INVALID_ARGUMENT.
    "asset.fetch.no-uri", Must, "FetchBlobRequest.uris, \"Clients MUST supply at least one URI\"" => no_uri;
    /// A qualifier name that is there twice is INVALID_ARGUMENT.
    "asset.fetch.qualifier-twice", Should, "FetchBlobRequest.qualifiers, \"Specified qualifier names MUST be unique\"" => qualifier_twice;
    /// A directory that nobody pushed is NOT_FOUND.
    "asset.fetch.directory-absent", Must, "Fetch.FetchDirectory" => directory_absent;
    /// A blob that was pushed is fetched by its URI.
    "asset.push.blob", Must, "Push.PushBlob", needs[Need::Push] => pushed_blob;
    /// A directory that was pushed is fetched by its URI.
    "asset.push.directory", Must, "Push.PushDirectory", needs[Need::Push] => pushed_directory;
    /// Of several URIs each one leads to what was pushed.
    "asset.push.several-uris", Must, "PushBlobRequest.uris", needs[Need::Push] => several_uris;
    /// Of several URIs to fetch one that was pushed is enough.
    "asset.fetch.one-of-several", Must, "FetchBlobRequest.uris, \"MAY match any one of the supplied URIs\"", needs[Need::Push] => one_of_several;
    /// The answer says which URI led to it.
    "asset.fetch.says-uri", Must, "FetchBlobResponse.uri", needs[Need::Push] => says_uri;
    /// What was pushed with qualifiers is fetched with the same qualifiers, in whichever order.
    "asset.push.qualifiers", Must, "Qualifier, \"Qualifiers may be supplied in any order\"", needs[Need::Push] => with_qualifiers;
    /// What was pushed with one qualifier is not fetched with another.
    "asset.push.other-qualifier", Must, "Fetch, \"matches all the specified qualifiers\"", needs[Need::Push] => other_qualifier;
    /// A later push takes the place of an earlier one.
    "asset.push.again", Should, "Push.PushBlob", needs[Need::Push] => pushed_again;
    /// What expired before it was pushed is not fetched.
    "asset.push.expired", Should, "PushBlobRequest.expire_at, \"should stop being returned\"", needs[Need::Push] => expired;
    /// What will expire in an hour is fetched.
    "asset.push.not-yet-expired", Must, "PushBlobRequest.expire_at", needs[Need::Push] => not_yet_expired;
    /// Content older than the client accepts is not given.
    "asset.fetch.too-old", Should, "FetchBlobRequest.oldest_content_accepted", needs[Need::Push] => too_old;
    /// What is fetched is there.
    "asset.fetch.present", Should, "Fetch, \"referenced files are present in the CAS\"", needs[Need::Push] => fetched_is_present;
    /// The answer says by which digest function.
    "asset.fetch.says-function", Should, "FetchBlobResponse.digest_function", needs[Need::Push] => says_function;
    /// A push of a blob that is not there is refused, or is not found by a fetch.
    "asset.push.absent-blob", Should, "Push, \"Clients MUST ensure associated content is available\"", needs[Need::Push] => absent_blob;
    /// A push without a URI is refused.
    "asset.push.no-uri", Should, "PushBlobRequest.uris", needs[Need::Push] => push_no_uri;
    /// A push without a digest is refused.
    "asset.push.no-digest", Should, "PushBlobRequest.blob_digest", needs[Need::Push] => push_no_digest;
    /// A pushed blob is no directory.
    "asset.push.kinds-apart", Should, "Fetch.FetchDirectory", needs[Need::Push] => kinds_apart;
};

/// The digest, or why there is none: both ways of saying so are the same to a client.
fn fetched(
    answer: crate::conformance::context::Answer<asset::FetchBlobResponse>,
) -> crate::conformance::context::Answer<asset::FetchBlobResponse> {
    let answer = answer?;
    match &answer.status {
        Some(status) if status.code != 0 => {
            Err(tonic::Status::new(Code::from(status.code), status.message.clone()))
        }
        _ => Ok(answer),
    }
}

async fn fetch(
    cx: &Cx,
    uri: &str,
) -> crate::conformance::context::Answer<asset::FetchBlobResponse> {
    fetched(cx.fetch_blob(cx.fetch_request(&[uri.to_owned()])).await)
}

async fn expect_fetched(
    cx: &Cx,
    request: asset::FetchBlobRequest,
    blob: &Blob,
    what: &str,
) -> Outcome {
    let answer = expect::ok(fetched(cx.fetch_blob(request).await), what)?;
    expect::equal(answer.blob_digest, Some(blob.digest()), format!("the digest of {what}"))
}

async fn push(cx: &Cx, request: asset::PushBlobRequest) -> Outcome {
    expect::ok(cx.push_blob(request).await, "PushBlob")
}

async fn absent(cx: &Cx) -> Outcome {
    expect::code(&fetch(cx, &cx.uri()).await, Code::NotFound, "FetchBlob of what nobody pushed")
}

async fn no_uri(cx: &Cx) -> Outcome {
    let answer = fetched(cx.fetch_blob(cx.fetch_request(&[])).await);
    expect::code(&answer, Code::InvalidArgument, "FetchBlob without a URI")
}

async fn qualifier_twice(cx: &Cx) -> Outcome {
    let mut request = cx.fetch_request(&[cx.uri()]);
    request.qualifiers = vec![qualifier("resource_type", "a"), qualifier("resource_type", "b")];
    let answer = fetched(cx.fetch_blob(request).await);
    expect::code(&answer, Code::InvalidArgument, "FetchBlob with a qualifier twice")
}

fn directory_request(cx: &Cx, uri: &str) -> asset::FetchDirectoryRequest {
    asset::FetchDirectoryRequest {
        instance_name: cx.instance(),
        uris: vec![uri.to_owned()],
        digest_function: cx.function().value(),
        ..Default::default()
    }
}

async fn fetch_directory(
    cx: &Cx,
    uri: &str,
) -> crate::conformance::context::Answer<asset::FetchDirectoryResponse> {
    let answer = cx.fetch_directory(directory_request(cx, uri)).await?;
    match &answer.status {
        Some(status) if status.code != 0 => {
            Err(tonic::Status::new(Code::from(status.code), status.message.clone()))
        }
        _ => Ok(answer),
    }
}

async fn directory_absent(cx: &Cx) -> Outcome {
    let answer = fetch_directory(cx, &cx.uri()).await;
    expect::code(&answer, Code::NotFound, "FetchDirectory of what nobody pushed")
}

async fn pushed_blob(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    expect_fetched(cx, cx.fetch_request(&[uri]), &blob, "FetchBlob of what was pushed").await
}

async fn pushed_directory(cx: &Cx) -> Outcome {
    let (tree, uri) = (tree_of(cx, 2), cx.uri());
    cx.store_tree(&tree).await?;
    let request = asset::PushDirectoryRequest {
        instance_name: cx.instance(),
        uris: vec![uri.clone()],
        root_directory_digest: Some(tree.root()),
        digest_function: cx.function().value(),
        ..Default::default()
    };
    expect::ok(cx.push_directory(request).await, "PushDirectory")?;
    let what = "FetchDirectory of what was pushed";
    let answer = expect::ok(fetch_directory(cx, &uri).await, what)?;
    expect::equal(answer.root_directory_digest, Some(tree.root()), format!("the root of {what}"))
}

async fn several_uris(cx: &Cx) -> Outcome {
    let (blob, uris) = (cx.stored(100).await?, [cx.uri(), cx.uri(), cx.uri()]);
    push(cx, cx.push_request(&uris, &blob)).await?;
    for uri in uris {
        let what = "FetchBlob by one of three URIs";
        expect_fetched(cx, cx.fetch_request(&[uri]), &blob, what).await?;
    }
    Ok(())
}

async fn one_of_several(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    let request = cx.fetch_request(&[cx.uri(), uri]);
    expect_fetched(cx, request, &blob, "FetchBlob by two URIs, the second pushed").await
}

async fn says_uri(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    let answer = expect::ok(fetch(cx, &uri).await, "FetchBlob of what was pushed")?;
    expect::equal(answer.uri, uri, "the uri in its answer")
}

async fn with_qualifiers(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    let mut qualifiers = vec![qualifier("vcs.branch", "main"), qualifier("resource_type", "x/y")];
    let mut pushed = cx.push_request(std::slice::from_ref(&uri), &blob);
    pushed.qualifiers.clone_from(&qualifiers);
    push(cx, pushed).await?;
    for what in ["FetchBlob with the same qualifiers", "the same in another order"] {
        let mut request = cx.fetch_request(std::slice::from_ref(&uri));
        request.qualifiers.clone_from(&qualifiers);
        expect_fetched(cx, request, &blob, what).await?;
        qualifiers.reverse();
    }
    Ok(())
}

async fn other_qualifier(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    let mut pushed = cx.push_request(std::slice::from_ref(&uri), &blob);
    pushed.qualifiers = vec![qualifier("vcs.branch", "main")];
    push(cx, pushed).await?;
    let mut request = cx.fetch_request(&[uri]);
    request.qualifiers = vec![qualifier("vcs.branch", "other")];
    let answer = fetched(cx.fetch_blob(request).await);
    let what = "FetchBlob with vcs.branch other of what was pushed as vcs.branch main";
    expect::one_of(&answer, &[Code::NotFound, Code::InvalidArgument], what)
}

async fn pushed_again(cx: &Cx) -> Outcome {
    let uri = cx.uri();
    for what in ["FetchBlob after the first push", "FetchBlob after the second push"] {
        let blob = cx.stored(100).await?;
        push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
        expect_fetched(cx, cx.fetch_request(std::slice::from_ref(&uri)), &blob, what).await?;
    }
    Ok(())
}

fn seconds_from_now(delta: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    Timestamp { seconds: now + delta, nanos: 0 }
}

async fn expired(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    let mut request = cx.push_request(std::slice::from_ref(&uri), &blob);
    request.expire_at = Some(seconds_from_now(-3_600));
    let pushed = cx.push_blob(request).await;
    if pushed.is_err() {
        return expect::refused(&pushed, "PushBlob with an expire_at an hour ago");
    }
    expect::code(&fetch(cx, &uri).await, Code::NotFound, "FetchBlob of what has expired")
}

async fn not_yet_expired(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    let mut request = cx.push_request(std::slice::from_ref(&uri), &blob);
    request.expire_at = Some(seconds_from_now(3_600));
    push(cx, request).await?;
    expect_fetched(cx, cx.fetch_request(&[uri]), &blob, "FetchBlob before it expires").await
}

async fn too_old(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    let mut request = cx.fetch_request(&[uri]);
    request.oldest_content_accepted = Some(seconds_from_now(3_600));
    let answer = fetched(cx.fetch_blob(request).await);
    expect::code(&answer, Code::NotFound, "FetchBlob of content from an hour hence on")
}

async fn fetched_is_present(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    expect::ok(fetch(cx, &uri).await, "FetchBlob of what was pushed")?;
    cx.expect_readable(&blob, "a read of what was fetched").await
}

async fn says_function(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    let answer = expect::ok(fetch(cx, &uri).await, "FetchBlob of what was pushed")?;
    expect::equal(answer.digest_function, cx.function().value(), "digest_function in its answer")
}

async fn absent_blob(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.blob(100), cx.uri());
    let pushed = cx.push_blob(cx.push_request(std::slice::from_ref(&uri), &blob)).await;
    if pushed.is_err() {
        return expect::refused(&pushed, "PushBlob of a blob that was never stored");
    }
    let answer = fetch(cx, &uri).await;
    expect::code(&answer, Code::NotFound, "FetchBlob of a blob that was pushed but never stored")
}

async fn push_no_uri(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let answer = cx.push_blob(cx.push_request(&[], &blob)).await;
    expect::refused(&answer, "PushBlob without a URI")
}

async fn push_no_digest(cx: &Cx) -> Outcome {
    let request = asset::PushBlobRequest {
        instance_name: cx.instance(),
        uris: vec![cx.uri()],
        ..Default::default()
    };
    expect::refused(&cx.push_blob(request).await, "PushBlob without blob_digest")
}

async fn kinds_apart(cx: &Cx) -> Outcome {
    let (blob, uri) = (cx.stored(100).await?, cx.uri());
    push(cx, cx.push_request(std::slice::from_ref(&uri), &blob)).await?;
    let answer = fetch_directory(cx, &uri).await;
    expect::code(&answer, Code::NotFound, "FetchDirectory of what was pushed as a blob")
}
