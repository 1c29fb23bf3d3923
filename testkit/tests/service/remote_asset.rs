//! Remote Asset: what was pushed is found again, whole or not at all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use larder_protos::asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse,
    PushBlobRequest, PushDirectoryRequest, Qualifier,
};
use larder_protos::reapi::{
    BatchUpdateBlobsResponse, Directory, DirectoryNode, FileNode, digest_function,
};
use larder_protos::well_known::Timestamp;
use larder_protos::{Digest, DigestFunction, hot};
use larder_testkit::TestServer;
use prost::Message;
use tonic::Code;

use crate::client::{assert_refused, digest, read, sample, store};

pub(crate) fn qualifiers(pairs: &[(&str, &str)]) -> Vec<Qualifier> {
    let qualifier =
        |(name, value): &(&str, &str)| Qualifier { name: (*name).into(), value: (*value).into() };
    pairs.iter().map(qualifier).collect()
}

fn uris(uris: &[&str]) -> Vec<String> {
    uris.iter().map(|uri| (*uri).to_owned()).collect()
}

fn blob_request(of: &[&str], pairs: &[(&str, &str)]) -> FetchBlobRequest {
    FetchBlobRequest {
        uris: uris(of),
        qualifiers: qualifiers(pairs),
        ..FetchBlobRequest::default()
    }
}

fn push_request(of: &[&str], pairs: &[(&str, &str)], digest: Digest) -> PushBlobRequest {
    PushBlobRequest {
        uris: uris(of),
        qualifiers: qualifiers(pairs),
        blob_digest: Some(digest.to_proto()),
        ..PushBlobRequest::default()
    }
}

pub(crate) async fn fetch(server: &TestServer, request: FetchBlobRequest) -> FetchBlobResponse {
    server.fetch().fetch_blob(request).await.expect("an answer").into_inner()
}

async fn push(server: &TestServer, request: PushBlobRequest) {
    server.push().push_blob(request).await.expect("pushed");
}

/// Which URI was found, and the digest.
pub(crate) fn found(answer: &FetchBlobResponse) -> Option<(&str, Digest)> {
    let status = answer.status.as_ref().expect("a status");
    if status.code == i32::from(Code::NotFound) {
        assert_eq!(answer.blob_digest, None);
        return None;
    }
    assert_eq!(status.code, 0, "{status:?}");
    let function = DigestFunction::from_proto(answer.digest_function)
        .expect("one that is known")
        .expect("it is told");
    let digest = answer.blob_digest.as_ref().expect("a digest");
    Some((&answer.uri, Digest::from_proto(digest, function).expect("well formed")))
}

async fn check(
    server: &TestServer,
    of: &[&str],
    pairs: &[(&str, &str)],
    expect: Option<(&str, Digest)>,
) {
    let answer = fetch(server, blob_request(of, pairs)).await;
    assert_eq!(found(&answer), expect, "{of:?} {pairs:?}");
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let nanos = since.subsec_nanos().cast_signed();
    Timestamp { seconds: since.as_secs().cast_signed(), nanos }
}

fn after(from: Timestamp, length: Duration) -> Timestamp {
    Timestamp { seconds: from.seconds + length.as_secs().cast_signed(), ..from }
}

#[tokio::test]
async fn what_is_pushed_is_found_by_each_of_its_uris() {
    let server = TestServer::start().await;
    let blob = store(&server, &sample(1_000)).await;
    let pairs = [("vcs.commit", "abc"), ("directory", "x")];
    push(&server, push_request(&["urn:a", "https://b/"], &pairs, blob)).await;
    let swapped = [("directory", "x"), ("vcs.commit", "abc")];
    check(&server, &["urn:a"], &pairs, Some(("urn:a", blob))).await;
    check(&server, &["https://b/"], &swapped, Some(("https://b/", blob))).await;
    check(&server, &["urn:other", "https://b/", "urn:a"], &pairs, Some(("https://b/", blob))).await;
    check(&server, &["urn:other"], &pairs, None).await;
    check(&server, &["urn:a"], &[], None).await;
    check(&server, &["urn:a"], &pairs[..1], None).await;
    check(&server, &["urn:a"], &[("vcs.commit", "abc"), ("directory", "y")], None).await;
    let elsewhere =
        FetchBlobRequest { instance_name: "other".into(), ..blob_request(&["urn:a"], &pairs) };
    assert_eq!(found(&fetch(&server, elsewhere).await), None);
    let answer = fetch(&server, blob_request(&["urn:a"], &pairs)).await;
    assert_eq!(answer.qualifiers, qualifiers(&swapped), "what is known of it");
    assert_eq!(answer.digest_function, i32::from(digest_function::Value::Sha256));
    // A directory of this name is another thing.
    let request = FetchDirectoryRequest {
        uris: uris(&["urn:a"]),
        qualifiers: qualifiers(&pairs),
        ..FetchDirectoryRequest::default()
    };
    assert_eq!(found_directory(&server, request).await, None);
    let server = server.restart().await;
    check(&server, &["urn:a"], &pairs, Some(("urn:a", blob))).await;
    server.stop().await;
}

#[tokio::test]
async fn a_later_push_replaces_an_earlier_one() {
    let server = TestServer::start().await;
    let (one, other) = (store(&server, &sample(10)).await, store(&server, &sample(20)).await);
    push(&server, push_request(&["urn:a", "urn:b"], &[], one)).await;
    push(&server, push_request(&["urn:a"], &[], other)).await;
    check(&server, &["urn:a"], &[], Some(("urn:a", other))).await;
    check(&server, &["urn:b"], &[], Some(("urn:b", one))).await;
    server.stop().await;
}

#[tokio::test]
async fn times_are_kept() {
    let server = TestServer::start().await;
    let blob = store(&server, &sample(10)).await;
    let begun = now();
    let hour = Duration::from_hours(1);
    let until = |expire_at| PushBlobRequest {
        expire_at: Some(expire_at),
        ..push_request(&["urn:a"], &[], blob)
    };
    push(&server, until(after(begun, hour))).await;
    check(&server, &["urn:a"], &[], Some(("urn:a", blob))).await;
    let not_older_than = |oldest| FetchBlobRequest {
        oldest_content_accepted: Some(oldest),
        ..blob_request(&["urn:a"], &[])
    };
    assert!(found(&fetch(&server, not_older_than(begun)).await).is_some());
    assert_eq!(found(&fetch(&server, not_older_than(after(begun, hour))).await), None);
    // A later request alters the time; one that has passed ends it.
    push(&server, until(begun)).await;
    check(&server, &["urn:a"], &[], None).await;
    push(&server, until(after(begun, hour))).await;
    check(&server, &["urn:a"], &[], Some(("urn:a", blob))).await;
    let broken = Timestamp { seconds: 0, nanos: -1 };
    let refused = server.push().push_blob(until(broken)).await;
    assert_refused(refused, Code::InvalidArgument, "expire_at");
    let refused = server.fetch().fetch_blob(not_older_than(broken)).await;
    assert_refused(refused, Code::InvalidArgument, "oldest_content_accepted");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused() {
    let server = TestServer::start().await;
    let blob = store(&server, &sample(10)).await;
    // BuildStream's probe: no URI is INVALID_ARGUMENT.
    let probe = server.fetch().fetch_blob(FetchBlobRequest::default()).await;
    assert_refused(probe, Code::InvalidArgument, "no URI");
    let probe = server.push().push_blob(PushBlobRequest::default()).await;
    assert_refused(probe, Code::InvalidArgument, "no URI");
    let probe = server.fetch().fetch_directory(FetchDirectoryRequest::default()).await;
    assert_refused(probe, Code::InvalidArgument, "no URI");
    let probe = server.push().push_directory(PushDirectoryRequest::default()).await;
    assert_refused(probe, Code::InvalidArgument, "no URI");
    let twice = [("a", "1"), ("a", "1")];
    let refused = server.fetch().fetch_blob(blob_request(&["urn:a"], &twice)).await;
    assert_refused(refused, Code::InvalidArgument, "\"a\" is given twice");
    let refused = server.push().push_blob(push_request(&["urn:a"], &twice, blob)).await;
    assert_refused(refused, Code::InvalidArgument, "\"a\" is given twice");
    let absent = push_request(&["urn:a"], &[], digest(b"absent"));
    let refused = server.push().push_blob(absent).await;
    assert_refused(refused, Code::InvalidArgument, "is absent");
    let none = PushBlobRequest { blob_digest: None, ..push_request(&["urn:a"], &[], blob) };
    let refused = server.push().push_blob(none).await;
    assert_refused(refused, Code::InvalidArgument, "no blob_digest");
    let weak = FetchBlobRequest {
        digest_function: digest_function::Value::Md5.into(),
        ..blob_request(&["urn:a"], &[])
    };
    let refused = server.fetch().fetch_blob(weak).await;
    assert_refused(refused, Code::InvalidArgument, "MD5 is not served");
    let reserved = FetchBlobRequest {
        instance_name: "uploads/assets".into(),
        ..blob_request(&["urn:a"], &[])
    };
    let refused = server.fetch().fetch_blob(reserved).await;
    assert_refused(refused, Code::InvalidArgument, "uploads");
    let many = PushBlobRequest { uris: vec!["urn:a".into(); 65], ..push_request(&[], &[], blob) };
    let refused = server.push().push_blob(many).await;
    assert_refused(refused, Code::InvalidArgument, "65 URIs, over the limit of 64");
    server.stop().await;
}

#[tokio::test]
async fn the_digest_function_is_honoured() {
    let server = TestServer::start().await;
    let blob = sample(1_000);
    let blake3 = Digest::of(DigestFunction::Blake3, &blob);
    update(&server, &blob, blake3).await;
    let function = digest_function::Value::Blake3.into();
    let request =
        PushBlobRequest { digest_function: function, ..push_request(&["urn:a"], &[], blake3) };
    push(&server, request).await;
    let asked =
        |digest_function| FetchBlobRequest { digest_function, ..blob_request(&["urn:a"], &[]) };
    assert_eq!(found(&fetch(&server, asked(function)).await), Some(("urn:a", blake3)));
    assert_eq!(found(&fetch(&server, asked(0)).await), None);
    // Where nothing is said the length tells.
    let sha512 = Digest::of(DigestFunction::Sha512, &blob);
    update(&server, &blob, sha512).await;
    push(&server, push_request(&["urn:a"], &[], sha512)).await;
    let function = digest_function::Value::Sha512.into();
    assert_eq!(found(&fetch(&server, asked(function)).await), Some(("urn:a", sha512)));
    server.stop().await;
}

async fn update(server: &TestServer, blob: &Bytes, digest: Digest) {
    let request = hot::batch_update_blobs_request::Request {
        digest: Some(digest.to_proto()),
        data: blob.clone(),
        ..hot::batch_update_blobs_request::Request::default()
    };
    let request = hot::BatchUpdateBlobsRequest {
        requests: vec![request],
        digest_function: digest.function().to_proto(),
        ..hot::BatchUpdateBlobsRequest::default()
    };
    let updated = server.storage().batch_update_blobs(request).await.expect("an answer");
    let BatchUpdateBlobsResponse { responses } = updated.into_inner();
    assert_eq!(responses[0].status.as_ref().map_or(0, |status| status.code), 0);
}

async fn found_directory(server: &TestServer, request: FetchDirectoryRequest) -> Option<Digest> {
    let answer = server.fetch().fetch_directory(request).await.expect("an answer").into_inner();
    let FetchDirectoryResponse { status, root_directory_digest, .. } = answer;
    let code = status.expect("a status").code;
    assert!(code == 0 || code == i32::from(Code::NotFound), "{code}");
    assert_eq!(root_directory_digest.is_some(), code == 0);
    root_directory_digest
        .map(|digest| Digest::from_proto(&digest, DigestFunction::Sha256).expect("well formed"))
}

/// A directory with one file and perhaps one directory in it.
fn directory(file: Digest, child: Option<Digest>) -> Bytes {
    let file =
        FileNode { name: "file".into(), digest: Some(file.to_proto()), ..FileNode::default() };
    let child =
        child.map(|child| DirectoryNode { name: "child".into(), digest: Some(child.to_proto()) });
    let directory = Directory {
        files: vec![file],
        directories: child.into_iter().collect(),
        ..Directory::default()
    };
    directory.encode_to_vec().into()
}

#[tokio::test]
async fn a_directory_is_found_whole_or_not_at_all() {
    let server = TestServer::start().await;
    let (file, deep) = (sample(100), sample(200));
    let child = directory(digest(&deep), None);
    let root = directory(digest(&file), Some(digest(&child)));
    let push = || PushDirectoryRequest {
        uris: uris(&["urn:tree"]),
        root_directory_digest: Some(digest(&root).to_proto()),
        ..PushDirectoryRequest::default()
    };
    let asked =
        || FetchDirectoryRequest { uris: uris(&["urn:tree"]), ..FetchDirectoryRequest::default() };
    let refused = server.push().push_directory(push()).await;
    assert_refused(refused, Code::InvalidArgument, "is absent");
    store(&server, &root).await;
    server.push().push_directory(push()).await.expect("pushed");
    for part in [&file, &child] {
        assert_eq!(found_directory(&server, asked()).await, None);
        store(&server, part).await;
    }
    assert_eq!(found_directory(&server, asked()).await, None, "the deepest file is missing");
    store(&server, &deep).await;
    assert_eq!(found_directory(&server, asked()).await, Some(digest(&root)));
    let elsewhere = FetchDirectoryRequest { instance_name: "other".into(), ..asked() };
    assert_eq!(found_directory(&server, elsewhere).await, None);
    server.stop().await;
}

#[tokio::test]
async fn references_must_be_there_as_long_as_they_were() {
    let server = TestServer::start().await;
    let (blob, file) = (store(&server, &sample(10)).await, sample(100));
    let root = directory(digest(&file), None);
    let root_digest = store(&server, &root).await;
    let absent = digest(b"never stored").to_proto();
    let request = PushBlobRequest {
        references_blobs: vec![absent.clone(), blob.to_proto()],
        references_directories: vec![root_digest.to_proto()],
        ..push_request(&["urn:a"], &[], blob)
    };
    push(&server, request).await;
    check(&server, &["urn:a"], &[], None).await;
    store(&server, &file).await;
    // What was absent already at the push is no longer waited for.
    check(&server, &["urn:a"], &[], Some(("urn:a", blob))).await;
    server.stop().await;
}

#[tokio::test]
async fn finding_an_asset_extends_the_life_of_all_of_it() {
    let settings = [("max_size", "16MiB"), ("hot.capacity", "0"), ("eviction", "lru")];
    let server = TestServer::start_with(&settings).await;
    let (blob, reference) = (store(&server, &sample(10)).await, store(&server, &sample(20)).await);
    let bystander = store(&server, &sample(30)).await;
    let request = PushBlobRequest {
        references_blobs: vec![reference.to_proto()],
        ..push_request(&["urn:a"], &[], blob)
    };
    push(&server, request).await;
    push(&server, push_request(&["urn:bystander"], &[], bystander)).await;
    for number in 0..60 {
        store(&server, &sample(900_000 + number)).await;
        // Ages are seconds: where a second fills the store, nothing is older than anything.
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        check(&server, &["urn:a"], &[], Some(("urn:a", blob))).await;
    }
    for digest in [blob, reference] {
        read(&server, digest).await.expect("as young as the asset");
    }
    assert_refused(read(&server, bystander).await, Code::NotFound, "absent");
    check(&server, &["urn:bystander"], &[], None).await;
    server.stop().await;
}

#[tokio::test]
async fn directories_of_origins_are_refused_clearly() {
    let server = TestServer::start().await;
    let request = FetchDirectoryRequest {
        uris: uris(&["https://github.com/bazelbuild/remote-apis.git"]),
        qualifiers: qualifiers(&[("vcs.commit", "abc")]),
        ..FetchDirectoryRequest::default()
    };
    let answer = server.fetch().fetch_directory(request).await.expect("an answer").into_inner();
    let status = answer.status.expect("a status");
    assert_eq!(status.code, i32::from(Code::NotFound));
    assert!(status.message.contains("is not supported"), "{}", status.message);
    let off = fetch(&server, blob_request(&["https://example.com/"], &[])).await;
    let status = off.status.expect("a status");
    assert_eq!(status.code, i32::from(Code::NotFound));
    assert!(status.message.contains("fetch.enabled"), "{}", status.message);
    server.stop().await;
}
