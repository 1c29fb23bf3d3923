//! Uploads that lose their connection, and go on where they were cut off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use larder_protos::bytestream::{QueryWriteStatusRequest, WriteRequest};
use larder_protos::services::byte_stream_client::ByteStreamClient;
use larder_testkit::TestServer;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::client::{
    assert_refused, chunked, digest, metric, read, sample, until, upload_name, write,
};

const CHUNK_BYTES: usize = 50_000;

/// A connection that can be lost without any other.
async fn connection(server: &TestServer) -> ByteStreamClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address()));
    let channel = endpoint.expect("an address is a good URI").connect().await;
    ByteStreamClient::new(channel.expect("it listens"))
}

/// `committed_size` and `complete`.
async fn status(server: &TestServer, name: &str) -> (i64, bool) {
    let request = QueryWriteStatusRequest { resource_name: name.to_owned() };
    let answer = server.byte_stream().query_write_status(request).await.expect("an answer");
    (answer.get_ref().committed_size, answer.get_ref().complete)
}

async fn committed(server: &TestServer, name: &str, expect: usize) {
    let expect = i64::try_from(expect).expect("small");
    let reached = async {
        while status(server, name).await != (expect, false) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(ended.is_ok(), "it stays at {:?}", status(server, name).await);
}

/// Sends so many messages of an upload over a connection of its own; aborting the task cuts it.
async fn begin(server: &TestServer, messages: Vec<WriteRequest>) -> JoinSet<()> {
    let mut client = connection(server).await;
    let mut upload = JoinSet::new();
    upload.spawn(async move {
        let _ = client.write(stream::iter(messages).chain(stream::pending())).await;
    });
    upload
}

/// An upload that loses its connection after so many messages.
async fn lose(server: &TestServer, name: &str, blob: &Bytes, sent: usize) {
    let messages = chunked(name, blob, CHUNK_BYTES).into_iter().take(sent).collect();
    let mut upload = begin(server, messages).await;
    committed(server, name, sent * CHUNK_BYTES).await;
    upload.shutdown().await;
}

/// The rest of an upload from an offset on.
fn rest(name: &str, blob: &Bytes, offset: usize) -> Vec<WriteRequest> {
    let mut messages = chunked(name, &blob.slice(offset..), CHUNK_BYTES);
    for message in &mut messages {
        message.write_offset += i64::try_from(offset).expect("small");
    }
    messages
}

#[tokio::test]
async fn an_upload_goes_on_over_another_connection() {
    let server = TestServer::start().await;
    for (size, sent) in [(3_000_000, 30), (200_000, 1), (3_000_001, 60)] {
        let blob = sample(size);
        let name = upload_name("blobs", digest(&blob));
        lose(&server, &name, &blob, sent).await;
        assert_refused(read(&server, digest(&blob)).await, Code::NotFound, "is absent");
        until(&server, "larder_uploads_kept", |kept| kept == 1).await;
        let resumed = write(&server, rest(&name, &blob, sent * CHUNK_BYTES)).await;
        assert_eq!(resumed.expect("stored"), i64::try_from(size).expect("small"));
        assert!(read(&server, digest(&blob)).await.expect("present") == blob);
        assert_eq!(status(&server, &name).await, (i64::try_from(size).expect("small"), true));
        assert_eq!(metric(&server, "larder_uploads_kept").await, 0);
    }
    assert_eq!(metric(&server, "larder_uploads_resumed_total").await, 3);
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn an_upload_may_be_cut_off_many_times() {
    let server = TestServer::start().await;
    let blob = sample(2_000_000);
    let name = upload_name("blobs", digest(&blob));
    for step in 0..8 {
        let messages = rest(&name, &blob, step * 4 * CHUNK_BYTES).into_iter().take(4).collect();
        let mut upload = begin(&server, messages).await;
        committed(&server, &name, (step + 1) * 4 * CHUNK_BYTES).await;
        upload.shutdown().await;
    }
    let resumed = write(&server, rest(&name, &blob, 32 * CHUNK_BYTES)).await;
    assert_eq!(resumed.expect("stored"), 2_000_000);
    assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    server.stop().await;
}

#[tokio::test]
async fn a_half_close_in_the_middle_leaves_what_came_to_be_resumed() {
    let server = TestServer::start().await;
    let blob = sample(1_000_000);
    let name = upload_name("blobs", digest(&blob));
    let half = chunked(&name, &blob, CHUNK_BYTES).into_iter().take(10).collect();
    assert_refused(write(&server, half).await, Code::InvalidArgument, "ended after 500000 B");
    assert_eq!(status(&server, &name).await, (500_000, false));
    write(&server, rest(&name, &blob, 500_000)).await.expect("stored");
    assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    server.stop().await;
}

#[tokio::test]
async fn only_the_offset_that_is_kept_resumes() {
    let server = TestServer::start().await;
    let blob = sample(1_000_000);
    let name = upload_name("blobs", digest(&blob));
    lose(&server, &name, &blob, 10).await;
    for offset in [450_000, 550_000] {
        let refused = write(&server, rest(&name, &blob, offset)).await;
        assert_refused(refused, Code::Aborted, "but 500000 bytes of it are kept here");
    }
    let digest = digest(&blob);
    for other in [format!("uploads/other/blobs/{digest}"), format!("i/uploads/test/blobs/{digest}")]
    {
        assert_eq!(status(&server, &other).await, (0, false), "{other}");
        let refused = write(&server, rest(&other, &blob, 500_000)).await;
        assert_refused(refused, Code::Aborted, "but 0 bytes of it are kept here");
    }
    // Whoever does not ask begins anew, under the same name too.
    write(&server, chunked(&name, &blob, CHUNK_BYTES)).await.expect("stored");
    assert!(read(&server, digest).await.expect("present") == blob);
    assert_eq!(metric(&server, "larder_uploads_kept").await, 0);
    // What is there by now need not be sent.
    assert_eq!(write(&server, rest(&name, &blob, 500_000)).await.expect("present"), 1_000_000);
    server.stop().await;
}

#[tokio::test]
async fn compressed_and_small_uploads_begin_anew() {
    let server = TestServer::start().await;
    let blob = sample(1_000_000);
    let frame = Bytes::from(zstd::encode_all(&blob[..], 1).expect("in memory"));
    let name = upload_name("compressed-blobs/zstd", digest(&blob));
    let half: Vec<_> = chunked(&name, &frame, CHUNK_BYTES).into_iter().take(4).collect();
    write(&server, half).await.expect_err("cut short");
    assert_eq!(status(&server, &name).await, (0, false));
    let refused = write(&server, rest(&name, &frame, 200_000)).await;
    assert_refused(refused, Code::Aborted, "but 0 bytes of it are kept here");
    write(&server, chunked(&name, &frame, CHUNK_BYTES)).await.expect("stored");

    let small = sample(60_000);
    let name = upload_name("blobs", digest(&small));
    let half: Vec<_> = chunked(&name, &small, CHUNK_BYTES).into_iter().take(1).collect();
    write(&server, half).await.expect_err("cut short");
    assert_eq!(status(&server, &name).await, (0, false));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_not_known_to_be_lost_is_cut_off() {
    let server = TestServer::start().await;
    let blob = sample(1_000_000);
    let name = upload_name("blobs", digest(&blob));
    let (sender, mut receiver) = mpsc::channel::<WriteRequest>(1);
    let sent = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut stale = connection(&server).await;
    let mut stale_upload = JoinSet::new();
    stale_upload.spawn(async move { stale.write(sent).await });
    for message in chunked(&name, &blob, CHUNK_BYTES).into_iter().take(10) {
        sender.send(message).await.expect("the upload takes it");
    }
    committed(&server, &name, 500_000).await;
    write(&server, rest(&name, &blob, 500_000)).await.expect("stored");
    assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    let late = rest(&name, &blob, 500_000).swap_remove(0);
    sender.send(late).await.expect("the upload takes it");
    let refused = stale_upload.join_next().await.expect("one").expect("no panic");
    assert_refused(refused, Code::Aborted, "goes on over another connection");
    server.stop().await;
}

#[tokio::test]
async fn who_resumes_at_once_with_others_harms_nobody() {
    let server = TestServer::start().await;
    let blob = sample(2_000_000);
    let name = upload_name("blobs", digest(&blob));
    lose(&server, &name, &blob, 10).await;
    let resumes = (0..8).map(|_| write(&server, rest(&name, &blob, 500_000)));
    let answers = join_all(resumes).await;
    assert!(answers.iter().any(Result::is_ok), "{answers:?}");
    for answer in answers {
        match answer {
            Ok(committed) => assert_eq!(committed, 2_000_000),
            Err(status) => assert_eq!(status.code(), Code::Aborted, "{status:?}"),
        }
    }
    assert!(read(&server, digest(&blob)).await.expect("present") == blob);
    server.stop().await;
}

#[tokio::test]
async fn resumed_bytes_are_verified_with_those_before() {
    let server = TestServer::start().await;
    let blob = sample(1_000_000);
    let name = upload_name("blobs", digest(&blob));
    let mut flipped = blob.to_vec();
    flipped[100] ^= 1;
    lose(&server, &name, &flipped.into(), 10).await;
    let refused = write(&server, rest(&name, &blob, 500_000)).await;
    assert_refused(refused, Code::InvalidArgument, "have the digest");
    assert_refused(read(&server, digest(&blob)).await, Code::NotFound, "is absent");
    assert_eq!(status(&server, &name).await, (0, false), "nothing is kept of it");
    write(&server, chunked(&name, &blob, CHUNK_BYTES)).await.expect("stored");
    server.stop().await;
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_ends_with_the_server() {
    // A quarter of it is for uploads without a connection: room for one.
    let server = TestServer::start_with(&[("max_in_flight", "16MiB")]).await;
    let blobs = [sample(3_000_000), sample(3_000_001), sample(3_000_002)];
    for (number, blob) in blobs.iter().enumerate() {
        lose(&server, &upload_name("blobs", digest(blob)), blob, 20).await;
        let given_up = number as u64;
        until(&server, "larder_uploads_given_up_total", |count| count == given_up).await;
        until(&server, "larder_uploads_kept", |kept| kept == 1).await;
    }
    assert_eq!(metric(&server, "larder_uploads_kept_bytes").await, 1_000_000);
    let name = upload_name("blobs", digest(&blobs[0]));
    assert_eq!(status(&server, &name).await, (0, false));
    let directory = server.stop().await;
    let left: Vec<_> =
        std::fs::read_dir(directory.path().join("tmp")).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
}
