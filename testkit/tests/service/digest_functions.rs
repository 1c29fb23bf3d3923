//! Every digest function in every form, and what unmarked hashes mean on each instance.

use bytes::Bytes;
use http::{Request, StatusCode};
use larder_protos::hot::{BatchUpdateBlobsRequest, batch_update_blobs_request};
use larder_protos::reapi::{
    ActionResult, FindMissingBlobsRequest, GetActionResultRequest, GetCapabilitiesRequest,
    OutputFile, UpdateActionResultRequest,
};
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use prost::Message;
use tonic::Code;

use crate::client::{assert_refused, chunked, read_range, sample, write};

use DigestFunction::{Blake3, GitSha1, Md5, Sha1, Sha256, Sha256Tree, Sha384, Sha512};

const EVERY: &[(&str, &str)] = &[("weak_digest_functions", "SHA1,MD5,GITSHA1")];

const BUCK: &[(&str, &str)] = &[
    ("weak_digest_functions", "GITSHA1"),
    ("default_digest_function", "buck=BLAKE3,buck=GITSHA1"),
];

async fn announced(server: &TestServer, instance: &str) -> Vec<i32> {
    let request = GetCapabilitiesRequest { instance_name: instance.to_owned() };
    let answer = server.capabilities().get_capabilities(request).await.expect("an answer");
    answer.into_inner().cache_capabilities.expect("a cache").digest_functions
}

fn numbers(functions: &[DigestFunction]) -> Vec<i32> {
    functions.iter().map(|function| function.to_proto()).collect()
}

/// The segment of those functions that a name has to tell.
fn segment(function: DigestFunction) -> String {
    if function.is_inferable() { String::new() } else { format!("{}/", function.path_segment()) }
}

fn is_missing(instance: &str, function: i32, digest: Digest) -> FindMissingBlobsRequest {
    FindMissingBlobsRequest {
        instance_name: instance.to_owned(),
        blob_digests: vec![digest.to_proto()],
        digest_function: function,
    }
}

/// Up by one form, found, and down by all the others.
async fn round_trip(server: &TestServer, function: DigestFunction, blob: &Bytes, compressed: bool) {
    let digest = Digest::of(function, blob);
    let marked = format!("{}{digest}", segment(function));
    let frame = Bytes::from(zstd::encode_all(&blob[..], 1).expect("encoded"));
    let (form, sent) = if compressed { ("compressed-blobs/zstd", &frame) } else { ("blobs", blob) };
    let name = format!("uploads/u/{form}/{marked}");
    write(server, chunked(&name, sent, 100_000)).await.unwrap_or_else(|error| panic!("{error}"));
    let asked = is_missing("", function.to_proto(), digest);
    let found = server.storage().find_missing_blobs(asked).await.expect("an answer");
    assert_eq!(found.into_inner().missing_blob_digests, [], "{function}");
    let read = read_range(server, &format!("blobs/{marked}"), 0, 0).await.expect("read");
    assert!(read == *blob, "{function}");
    let name = format!("compressed-blobs/zstd/{marked}");
    let read = read_range(server, &name, 0, 0).await.expect("read");
    assert!(zstd::decode_all(&read[..]).expect("zstd") == *blob, "{function}");
}

#[tokio::test]
async fn every_function_works_in_every_form_once_allowed() {
    let server = TestServer::start_with(EVERY).await;
    assert_eq!(announced(&server, "any").await, numbers(&DigestFunction::ALL));
    for (index, function) in DigestFunction::ALL.into_iter().enumerate() {
        for size in [0, 1000, 3 << 20] {
            round_trip(&server, function, &sample(size + 2 * index), false).await;
            round_trip(&server, function, &sample(size + 2 * index + 1), true).await;
        }
        let blob = sample(5000 + index);
        let wrong = Digest::of(function, b"other").hash().to_string();
        let name = format!("uploads/u/blobs/{}{wrong}/{}", segment(function), blob.len());
        let refused = write(&server, chunked(&name, &blob, 1 << 20)).await;
        assert_refused(refused, Code::InvalidArgument, "");
    }
    server.stop().await;
}

#[tokio::test]
async fn http_takes_the_weak_ones_by_length() {
    let server = TestServer::start_with(EVERY).await;
    for function in [Sha1, Md5, Sha384, Sha512] {
        let blob = sample(2000);
        let path = format!("/x/cas/{}", Digest::of(function, &blob).hash());
        let put = Request::put(&path).body(blob.clone()).expect("a request");
        assert_eq!(server.http(put).await.status(), StatusCode::OK, "{function}");
        let wrong = Request::put(path.replace("/x/", "/y/")).body("other").expect("a request");
        // The blob is there: what is sent under its name makes no difference.
        assert_eq!(server.http(wrong).await.status(), StatusCode::OK, "{function}");
        let got = server.http(Request::get(&path).body("").expect("a request")).await;
        assert!(got.body() == &blob, "{function}");
    }
    server.stop().await;
}

#[tokio::test]
async fn weak_functions_are_refused_unless_allowed() {
    let server = TestServer::start().await;
    let strong = [Sha256, Sha384, Sha512, Blake3, Sha256Tree];
    assert_eq!(announced(&server, "any").await, numbers(&strong));
    for function in DigestFunction::WEAK {
        let digest = Digest::of(function, b"blob");
        let asked = is_missing("", function.to_proto(), digest);
        let words = format!("{function} is not served here");
        let refused = server.storage().find_missing_blobs(asked).await;
        assert_refused(refused, Code::InvalidArgument, &words);
        let marked = format!("uploads/u/blobs/{}/{digest}", function.path_segment());
        let blob = Bytes::from_static(b"blob");
        let refused = write(&server, chunked(&marked, &blob, 10)).await;
        assert_refused(refused, Code::InvalidArgument, &words);
    }
    let sha1 = Digest::of(Sha1, b"blob");
    let path = format!("/cas/{}", sha1.hash());
    let got = server.http(Request::get(&path).body("").expect("a request")).await;
    assert_eq!(got.status(), StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn buck_never_says_its_function() {
    let server = TestServer::start_with(BUCK).await;
    let strong = [Sha256, Sha384, Sha512, Blake3, Sha256Tree, GitSha1];
    assert_eq!(announced(&server, "").await, numbers(&strong));
    let on_buck = [Blake3, GitSha1, Sha384, Sha512, Sha256Tree];
    assert_eq!(announced(&server, "buck").await, numbers(&on_buck));

    for function in [Blake3, GitSha1] {
        let blob = sample(70_000 + function.hash_len_bytes());
        let digest = Digest::of(function, &blob);
        for (instance, missing) in [("buck", 1), ("buck", 0)] {
            let asked = is_missing(instance, 0, digest);
            let found = server.storage().find_missing_blobs(asked).await.expect("an answer");
            assert_eq!(found.into_inner().missing_blob_digests.len(), missing, "{function}");
            let name = format!("buck/uploads/u/blobs/{digest}");
            write(&server, chunked(&name, &blob, 30_000)).await.expect("stored");
        }
        for name in [
            format!("buck/blobs/{digest}"),
            format!("buck/blobs/{}/{digest}", function.path_segment()),
            format!("blobs/{}/{digest}", function.path_segment()),
        ] {
            assert!(read_range(&server, &name, 0, 0).await.expect("read") == blob, "{name}");
        }
        let path = format!("/buck/cas/{}", digest.hash());
        let got = server.http(Request::get(&path).body("").expect("a request")).await;
        assert!(got.body() == &blob, "{function}");
        let empty = Digest::empty(function);
        let read = read_range(&server, &format!("buck/blobs/{empty}"), 0, 0).await;
        assert!(read.expect("always there").is_empty());
        let path = format!("/buck/cas/{}", empty.hash());
        let got = server.http(Request::get(&path).body("").expect("a request")).await;
        assert_eq!((got.status(), got.body().len()), (StatusCode::OK, 0), "{function}");
    }

    // Elsewhere the same hash is SHA-256's, and no such blob is there.
    let digest = Digest::of(Blake3, &sample(70_032));
    let elsewhere = read_range(&server, &format!("blobs/{digest}"), 0, 0).await;
    assert_refused(elsewhere, Code::NotFound, "absent");
    server.stop().await;
}

#[tokio::test]
async fn batches_and_action_results_of_an_instance_with_a_default() {
    let server = TestServer::start_with(BUCK).await;
    let blob = sample(300);
    let digest = Digest::of(Blake3, &blob);
    let request = BatchUpdateBlobsRequest {
        instance_name: "buck".to_owned(),
        requests: vec![batch_update_blobs_request::Request {
            digest: Some(digest.to_proto()),
            data: blob,
            compressor: 0,
        }],
        digest_function: 0,
    };
    let stored = server.storage().batch_update_blobs(request).await.expect("an answer");
    let status = stored.into_inner().responses[0].status.clone().expect("a status");
    assert_eq!(status.code, 0, "{status:?}");

    let action = Digest::of(Blake3, b"action");
    let output = OutputFile {
        path: "out".to_owned(),
        digest: Some(digest.to_proto()),
        ..OutputFile::default()
    };
    let result = ActionResult { output_files: vec![output], ..ActionResult::default() };
    let update = UpdateActionResultRequest {
        instance_name: "buck".to_owned(),
        action_digest: Some(action.to_proto()),
        action_result: Some(result.clone()),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(update).await.expect("stored");
    let path = format!("/buck/ac/{}", action.hash());
    let got = server.http(Request::get(&path).body("").expect("a request")).await;
    assert_eq!(ActionResult::decode(got.into_body()).expect("a result"), result);
    let put = Request::put(&path).body(result.encode_to_vec()).expect("a request");
    assert_eq!(server.http(put).await.status(), StatusCode::OK);
    let get = |digest_function| GetActionResultRequest {
        instance_name: "buck".to_owned(),
        action_digest: Some(action.to_proto()),
        digest_function,
        ..GetActionResultRequest::default()
    };
    for digest_function in [0, Blake3.to_proto()] {
        let got = server.actions().get_action_result(get(digest_function)).await.expect("a hit");
        assert_eq!(got.into_inner(), result);
    }
    let sha256 = server.actions().get_action_result(get(Sha256.to_proto())).await;
    assert_refused(sha256, Code::NotFound, "no result");
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_is_named_by_gits_function_too() {
    let server = TestServer::start_with(BUCK).await;
    for size in [1000, 3 << 20] {
        let blob = sample(size);
        let path = format!("/buck/cas/{}", Digest::of(GitSha1, &blob).hash());
        let chunks = blob.chunks(100_000).map(Bytes::copy_from_slice).collect();
        assert_eq!(server.http_chunked("PUT", &path, chunks).await, StatusCode::OK);
        let got = server.http(Request::get(&path).body("").expect("a request")).await;
        assert!(got.body() == &blob, "{size} B");
    }
    server.stop().await;
}
