//! `FindMissingBlobs`.

use larder_protos::reapi::{Digest as ProtoDigest, FindMissingBlobsRequest};
use larder_testkit::TestServer;
use tonic::{Code, Status};

use crate::client::{assert_refused, digest, sample, store};

async fn find(
    server: &TestServer,
    blob_digests: Vec<ProtoDigest>,
) -> Result<Vec<ProtoDigest>, Status> {
    let request = FindMissingBlobsRequest { blob_digests, ..FindMissingBlobsRequest::default() };
    let found = server.storage().find_missing_blobs(request).await?;
    Ok(found.into_inner().missing_blob_digests)
}

#[tokio::test]
async fn exactly_the_absent_ones_are_named() {
    let server = TestServer::start().await;
    let present = store(&server, &sample(100)).await.to_proto();
    let absent = digest(b"absent").to_proto();
    let wrong_size = ProtoDigest { size_bytes: 101, ..present.clone() };
    let empty = digest(b"").to_proto();
    let asked = vec![absent.clone(), present, empty, wrong_size.clone(), absent.clone()];
    let missing = find(&server, asked).await.expect("an answer");
    assert_eq!(missing, [absent.clone(), wrong_size, absent]);
    assert_eq!(find(&server, Vec::new()).await.expect("an answer"), []);
    server.stop().await;
}

#[tokio::test]
async fn ten_thousand_digests_fit_in_a_call() {
    let server = TestServer::start().await;
    let asked: Vec<_> =
        (0..10_000_u32).map(|seed| digest(&seed.to_le_bytes()).to_proto()).collect();
    assert_eq!(find(&server, asked.clone()).await.expect("an answer"), asked);
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_digest_is_an_error_and_not_missing() {
    let server = TestServer::start().await;
    let good = digest(b"x").to_proto();
    for (bad, words) in [
        (ProtoDigest { hash: String::new(), ..good.clone() }, "hashes of 0 hex digits"),
        (ProtoDigest { hash: "AB".repeat(32), ..good.clone() }, "not lower-case hexadecimal"),
        (ProtoDigest { size_bytes: -1, ..good.clone() }, "size -1 of blob"),
        (ProtoDigest { hash: "ab".repeat(16), ..good.clone() }, "MD5 is not served"),
    ] {
        let asked = vec![good.clone(), bad];
        assert_refused(find(&server, asked).await, Code::InvalidArgument, words);
    }
    let request = FindMissingBlobsRequest {
        digest_function: 4,
        blob_digests: vec![good.clone()],
        ..FindMissingBlobsRequest::default()
    };
    let unknown = server.storage().find_missing_blobs(request).await;
    assert_refused(unknown, Code::InvalidArgument, "digest function 4 is not known");
    let request = FindMissingBlobsRequest {
        instance_name: "a/blobs".to_owned(),
        blob_digests: vec![good],
        ..FindMissingBlobsRequest::default()
    };
    let reserved = server.storage().find_missing_blobs(request).await;
    assert_refused(reserved, Code::InvalidArgument, "reserved segment \"blobs\"");
    server.stop().await;
}
