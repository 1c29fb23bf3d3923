//! `ByteStream.Write` and `QueryWriteStatus`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use larder_protos::bytestream::{QueryWriteStatusRequest, WriteRequest};
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use tonic::Code;

use crate::client::{
    assert_refused, chunked, digest, read, read_range, sample, store, upload_name, write,
};

fn zstd_frame(blob: &[u8]) -> Bytes {
    zstd::encode_all(blob, 3).expect("in memory").into()
}

#[tokio::test]
async fn chunks_of_any_size_make_a_blob() {
    let server = TestServer::start().await;
    for (size, chunk_bytes) in [(0, 1), (5, 1), (5, 5), (100_000, 999), (3_000_000, 65_536)] {
        let blob = sample(size + chunk_bytes);
        let digest = digest(&blob);
        let messages = chunked(&upload_name("blobs", digest), &blob, chunk_bytes);
        let committed = write(&server, messages).await.expect("stored");
        assert_eq!(committed, i64::try_from(blob.len()).expect("small"));
        assert!(read(&server, digest).await.expect("present") == blob);
    }
    server.stop().await;
}

#[tokio::test]
async fn half_close_counts_as_finish_when_all_bytes_are_there() {
    let server = TestServer::start().await;
    for size in [1_000, 2_000_000] {
        let blob = sample(size);
        let digest = digest(&blob);
        let mut messages = chunked(&upload_name("blobs", digest), &blob, 500_000);
        messages.last_mut().expect("one at least").finish_write = false;
        write(&server, messages).await.expect("stored");
        assert!(read(&server, digest).await.expect("present") == blob);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_answer_comes_without_waiting_for_half_close() {
    let server = TestServer::start().await;
    let blob = sample(1_000);
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 1_000);
    let open_ended = stream::iter(messages).chain(stream::pending());
    let answer = server.byte_stream().write(open_ended).await.expect("stored");
    assert_eq!(answer.into_inner().committed_size, 1_000);
    server.stop().await;
}

#[tokio::test]
async fn compressed_uploads_are_verified_and_stored() {
    let server = TestServer::start().await;
    for size in [10, 100_000, 3_000_000] {
        let blob = sample(size);
        let digest = digest(&blob);
        let frame = zstd_frame(&blob);
        let messages = chunked(&upload_name("compressed-blobs/zstd", digest), &frame, 70_000);
        let committed = write(&server, messages).await.expect("stored");
        assert_eq!(committed, i64::try_from(frame.len()).expect("small"), "compressed bytes");
        assert!(read(&server, digest).await.expect("present") == blob);
    }
    server.stop().await;
}

#[tokio::test]
async fn several_and_skippable_frames_are_valid_zstd() {
    let server = TestServer::start().await;
    for size in [100, 2_000_000] {
        let blob = sample(size);
        let skippable = [&0x184D_2A53_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b"ab"].concat();
        let (first, second) = blob.split_at(size / 3);
        let stream = [&zstd_frame(first)[..], &skippable, &zstd_frame(second)].concat().into();
        let name = upload_name("compressed-blobs/zstd", digest(&blob));
        write(&server, chunked(&name, &stream, 10_000)).await.expect("stored");
        assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    }
    server.stop().await;
}

/// Sends `sent` under the digest of `named` and expects a refusal that leaves nothing behind.
async fn check_refused(server: &TestServer, named: &[u8], form: &str, sent: Bytes, words: &str) {
    let digest = digest(named);
    let messages = chunked(&upload_name(form, digest), &sent, 300_000);
    assert_refused(write(server, messages).await, Code::InvalidArgument, words);
    assert_refused(read(server, digest).await, Code::NotFound, "is absent");
}

#[tokio::test]
async fn bytes_that_are_not_their_digest_are_refused_and_not_stored() {
    let server = TestServer::start().await;
    for size in [1_000, 2_000_000] {
        let blob = sample(size);
        let mut flipped = blob.to_vec();
        flipped[size - 1] ^= 1;
        let longer = [&blob[..], b"x"].concat();
        let shorter = blob.slice(..size - 1);
        let zstd = "compressed-blobs/zstd";
        let corrupt = {
            let mut frame = zstd_frame(&blob).to_vec();
            frame.truncate(frame.len() / 2);
            frame
        };
        let check = async |form, sent: Bytes, words| {
            check_refused(&server, &blob, form, sent, words).await;
        };
        check("blobs", flipped.clone().into(), "have the digest").await;
        check("blobs", longer.clone().into(), "goes on after its").await;
        check("blobs", shorter.clone(), "ended after").await;
        check(zstd, zstd_frame(&flipped), "have the digest").await;
        check(zstd, zstd_frame(&longer), "goes on after its").await;
        check(zstd, zstd_frame(&shorter), "ended after").await;
        check(zstd, corrupt.into(), "is malformed").await;
        check(zstd, blob.clone(), "is malformed").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn duplicates_are_answered_early_and_drained() {
    let server = TestServer::start().await;
    let blob = sample(3_000_000);
    let digest = store(&server, &blob).await;
    let again = write(&server, chunked(&upload_name("blobs", digest), &blob, 100_000)).await;
    assert_eq!(again.expect("already present"), 3_000_000);
    let name = upload_name("compressed-blobs/zstd", digest);
    let compressed = write(&server, chunked(&name, &zstd_frame(&blob), 100_000)).await;
    assert_eq!(compressed.expect("already present"), -1);
    // The first message alone brings the answer, though the client has not ended its stream.
    let first = chunked(&upload_name("blobs", digest), &blob, 1_000).swap_remove(0);
    let open_ended = stream::iter([first]).chain(stream::pending());
    let answer = server.byte_stream().write(open_ended).await.expect("already present");
    assert_eq!(answer.into_inner().committed_size, 3_000_000);
    server.stop().await;
}

/// h2 ends a connection of which it had to reset a thousand streams.
#[tokio::test]
async fn a_connection_survives_thousands_of_uploads() {
    let server = TestServer::start().await;
    let blob = sample(10);
    let name = upload_name("blobs", digest(&blob));
    for _ in 0..50 {
        let uploads = (0..50).map(|_| async {
            // The end of the stream comes well behind the last message, as real clients send it.
            let message = chunked(&name, &blob, 10).swap_remove(0);
            let late_end = stream::once(async { Some(message) }).chain(stream::once(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                None
            }));
            let messages = late_end.filter_map(std::future::ready);
            server.byte_stream().write(Box::pin(messages)).await
        });
        for answer in join_all(uploads).await {
            assert_eq!(answer.expect("stored").into_inner().committed_size, 10);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn concurrent_uploads_of_one_blob_all_succeed() {
    let server = TestServer::start().await;
    for size in [1_000, 3_000_000] {
        let blob = sample(size);
        let digest = digest(&blob);
        let frame = zstd_frame(&blob);
        let uploads = (0..10).map(|number| {
            let (form, sent) =
                if number % 2 == 0 { ("blobs", &blob) } else { ("compressed-blobs/zstd", &frame) };
            write(&server, chunked(&upload_name(form, digest), sent, 100_000))
        });
        for answer in join_all(uploads).await {
            answer.expect("each succeeds");
        }
        assert!(read(&server, digest).await.expect("present") == blob);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_abandoned_upload_leaves_nothing_and_harms_nobody() {
    let server = TestServer::start().await;
    let blob = sample(3_000_000);
    let name = upload_name("blobs", digest(&blob));
    let half: Vec<_> = chunked(&name, &blob, 100_000).into_iter().take(15).collect();
    let mut stalled = server.byte_stream();
    let stalled = stalled.write(stream::iter(half).chain(stream::pending()));
    let stalled = tokio::time::timeout(Duration::from_millis(200), stalled);
    stalled.await.expect_err("it never ends");
    assert_refused(read(&server, digest(&blob)).await, Code::NotFound, "is absent");
    store(&server, &blob).await;
    assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    server.stop().await;
}

#[tokio::test]
async fn the_rules_of_a_session_hold_on_the_wire() {
    let server = TestServer::start().await;
    let blob = sample(1_000);
    let name = upload_name("blobs", digest(&blob));
    let messages = || chunked(&name, &blob, 400);

    let mut gap = messages();
    gap[1].write_offset += 1;
    let refused = write(&server, gap).await;
    assert_refused(refused, Code::OutOfRange, "write_offset 401 does not continue");

    let mut negative = messages();
    negative[0].write_offset = -400;
    assert_refused(write(&server, negative).await, Code::OutOfRange, "write_offset -400 is");

    let mut renamed = messages();
    renamed[1].resource_name = upload_name("blobs", digest(b"other"));
    let refused = write(&server, renamed).await;
    assert_refused(refused, Code::InvalidArgument, "resource_name changes");

    let mut resumed = messages();
    resumed[0].write_offset = 400;
    assert_refused(write(&server, resumed).await, Code::Aborted, "begins at offset 400");

    assert_refused(write(&server, Vec::new()).await, Code::InvalidArgument, "no message");
    let nameless = WriteRequest { finish_write: true, ..WriteRequest::default() };
    assert_refused(write(&server, vec![nameless]).await, Code::InvalidArgument, "form");

    let mut offsets_left_out = messages();
    for message in &mut offsets_left_out {
        message.write_offset = 0;
    }
    assert_eq!(write(&server, offsets_left_out).await.expect("tolerated"), 1_000);
    server.stop().await;
}

#[tokio::test]
async fn the_status_of_a_write_tells_where_to_begin() {
    let server = TestServer::start().await;
    let blob = sample(1_000);
    let resource_name = upload_name("blobs", digest(&blob));
    let query = async || {
        let request = QueryWriteStatusRequest { resource_name: resource_name.clone() };
        let answer = server.byte_stream().query_write_status(request).await;
        let answer = answer.expect("an answer").into_inner();
        (answer.committed_size, answer.complete)
    };
    assert_eq!(query().await, (0, false));
    store(&server, &blob).await;
    assert_eq!(query().await, (1_000, true));
    server.stop().await;
}

#[tokio::test]
async fn every_served_function_works_in_both_directions() {
    let server = TestServer::start().await;
    let functions = [
        DigestFunction::Sha256,
        DigestFunction::Blake3,
        DigestFunction::Sha384,
        DigestFunction::Sha512,
        DigestFunction::Sha256Tree,
    ];
    for (function, size) in functions.into_iter().flat_map(|f| [(f, 5_000), (f, 2_000_000)]) {
        let blob = sample(size);
        let digest = Digest::of(function, &blob);
        let segment = function.path_segment();
        let name = format!("uploads/test/blobs/{segment}/{digest}");
        write(&server, chunked(&name, &blob, 1 << 20)).await.expect("stored");
        let name = format!("blobs/{segment}/{digest}");
        assert!(read_range(&server, &name, 0, 0).await.expect("present") == blob, "{function}");
    }
    server.stop().await;
}

#[tokio::test]
async fn blobs_survive_a_restart() {
    let server = TestServer::start().await;
    let (small, large) = (sample(1_000), sample(3_000_000));
    let digests = [store(&server, &small).await, store(&server, &large).await];
    let server = server.restart().await;
    assert!(read(&server, digests[0]).await.expect("still there") == small);
    assert!(read(&server, digests[1]).await.expect("still there") == large);
    server.stop().await;
}

#[tokio::test]
async fn a_blob_over_the_limit_is_refused() {
    let server = TestServer::start_with(&[("max_blob_size", "1MiB")]).await;
    let blob = sample(1_100_000);
    let messages = chunked(&upload_name("blobs", digest(&blob)), &blob, 500_000);
    let words = "over the limit of 1048576 B a blob";
    assert_refused(write(&server, messages).await, Code::InvalidArgument, words);
    server.stop().await;
}
