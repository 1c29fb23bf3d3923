//! `BatchUpdateBlobs` and `BatchReadBlobs`.

use bytes::Bytes;
use larder_protos::hot::{BatchUpdateBlobsRequest, batch_update_blobs_request::Request};
use larder_protos::reapi::{BatchReadBlobsRequest, Digest as ProtoDigest, compressor};
use larder_testkit::TestServer;
use tonic::{Code, Status};

use crate::client::{assert_refused, digest, read, sample, store};

fn request(digest: ProtoDigest, data: Bytes, compressor: compressor::Value) -> Request {
    Request { digest: Some(digest), data, compressor: compressor.into() }
}

fn identity(blob: &Bytes) -> Request {
    request(digest(blob).to_proto(), blob.clone(), compressor::Value::Identity)
}

/// The code for each request, in order.
async fn update(server: &TestServer, requests: Vec<Request>) -> Result<Vec<Code>, Status> {
    let request = BatchUpdateBlobsRequest { requests, ..BatchUpdateBlobsRequest::default() };
    let responses = server.storage().batch_update_blobs(request).await?.into_inner().responses;
    Ok(responses.into_iter().map(|response| code(response.status)).collect())
}

fn code(status: Option<larder_protos::rpc::Status>) -> Code {
    Code::from_i32(status.expect("each has a status").code)
}

#[tokio::test]
async fn good_blobs_are_stored_though_others_fail() {
    let server = TestServer::start().await;
    let blobs: Vec<_> = (1..6).map(|number| sample(number * 1_000)).collect();
    let frame = zstd::encode_all(&blobs[1][..], 1).expect("in memory").into();
    let codes = update(
        &server,
        vec![
            identity(&blobs[0]),
            request(digest(&blobs[1]).to_proto(), frame, compressor::Value::Zstd),
            request(digest(b"other").to_proto(), blobs[2].clone(), compressor::Value::Identity),
            request(digest(&blobs[3]).to_proto(), blobs[3].clone(), compressor::Value::Zstd),
            request(digest(&blobs[4]).to_proto(), blobs[4].clone(), compressor::Value::Deflate),
            Request { digest: None, ..identity(&blobs[2]) },
            identity(&Bytes::new()),
        ],
    );
    let invalid = Code::InvalidArgument;
    let expect = [Code::Ok, Code::Ok, invalid, invalid, invalid, invalid, Code::Ok];
    assert_eq!(codes.await.expect("a batch"), expect);
    for (number, present) in [(0, true), (1, true), (2, false), (3, false), (4, false)] {
        let found = read(&server, digest(&blobs[number])).await;
        assert_eq!(found.is_ok(), present, "blob {number}: {:?}", found.err());
    }
    server.stop().await;
}

#[tokio::test]
async fn each_digest_has_an_answer_of_its_own() {
    let server = TestServer::start().await;
    let blob = sample(2_000);
    let stored = store(&server, &blob).await.to_proto();
    let absent = digest(b"absent").to_proto();
    let malformed = ProtoDigest { hash: "xyz".to_owned(), size_bytes: 1 };
    let asked = vec![stored.clone(), absent.clone(), malformed.clone(), stored.clone()];
    for acceptable_compressors in [vec![], vec![compressor::Value::Zstd.into()]] {
        let request = BatchReadBlobsRequest {
            digests: asked.clone(),
            acceptable_compressors: acceptable_compressors.clone(),
            ..BatchReadBlobsRequest::default()
        };
        let answer = server.storage().batch_read_blobs(request).await.expect("a batch");
        let responses = answer.into_inner().responses;
        let digests: Vec<_> = responses.iter().map(|response| response.digest.clone()).collect();
        let echoed: Vec<_> = asked.iter().cloned().map(Some).collect();
        assert_eq!(digests, echoed, "digests are echoed as they were asked");
        let codes: Vec<_> =
            responses.iter().map(|response| code(response.status.clone())).collect();
        assert_eq!(codes, [Code::Ok, Code::NotFound, Code::InvalidArgument, Code::Ok]);
        for response in [&responses[0], &responses[3]] {
            if response.compressor == i32::from(compressor::Value::Zstd) {
                assert!(!acceptable_compressors.is_empty(), "zstd only where it is acceptable");
                assert!(zstd::decode_all(&response.data[..]).expect("a frame") == blob);
            } else {
                assert!(response.data == blob);
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused() {
    let server = TestServer::start().await;
    let blob = sample(1_500_000);
    let stored = store(&server, &blob).await.to_proto();
    let request =
        BatchReadBlobsRequest { digests: vec![stored; 60], ..BatchReadBlobsRequest::default() };
    let read = server.storage().batch_read_blobs(request).await;
    assert_refused(read, Code::InvalidArgument, "over the limit of 4128768 B a batch");
    let blobs: Vec<_> = (0..5).map(|number| sample(1_000_000 + number)).collect();
    let sent = update(&server, blobs.iter().map(identity).collect()).await;
    assert_refused(sent, Code::InvalidArgument, "over the limit of 4128768 B a batch");
    server.stop().await;
}
