//! `ByteStream.Read`.

use larder_testkit::TestServer;
use tonic::Code;

use crate::client::{assert_refused, digest, read, read_range, sample, store};

#[tokio::test]
async fn blobs_of_every_size_come_back() {
    let server = TestServer::start().await;
    for size in [0, 1, 100, 65_536, 262_144, 262_145, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let blob = sample(size);
        let digest = store(&server, &blob).await;
        assert!(read(&server, digest).await.expect("present") == blob, "{size} B");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_empty_blob_is_always_there() {
    let server = TestServer::start().await;
    let empty = digest(b"");
    assert_eq!(read(&server, empty).await.expect("always there"), b"");
    let name = format!("compressed-blobs/zstd/{empty}");
    let frame = read_range(&server, &name, 0, 0).await.expect("always there");
    assert_eq!(zstd::decode_all(&frame[..]).expect("a frame"), b"");
    server.stop().await;
}

#[tokio::test]
async fn offsets_and_limits_cut_out_a_range() {
    let server = TestServer::start().await;
    for size in [1_000, 700_000] {
        let blob = sample(size);
        let name = format!("some/instance/blobs/{}", store(&server, &blob).await);
        let part = read_range(&server, &name, 100, 50).await.expect("a range");
        assert_eq!(part, blob[100..150]);
        let rest = read_range(&server, &name, 900, 0).await.expect("a range");
        assert!(rest == blob[900..]);
        let capped = read_range(&server, &name, 900, i64::MAX).await.expect("a range");
        assert!(capped == blob[900..]);
        let size = i64::try_from(size).expect("small");
        assert_eq!(read_range(&server, &name, size, 0).await.expect("the end"), b"");
        let beyond = read_range(&server, &name, size + 1, 0).await;
        assert_refused(beyond, Code::OutOfRange, "is beyond the end");
        let negative = read_range(&server, &name, -1, 0).await;
        assert_refused(negative, Code::OutOfRange, "read_offset -1 is negative");
        let negative = read_range(&server, &name, 0, -1).await;
        assert_refused(negative, Code::InvalidArgument, "read_limit -1 is negative");
    }
    server.stop().await;
}

#[tokio::test]
async fn compressed_reads_resume_at_uncompressed_offsets() {
    let server = TestServer::start().await;
    for size in [1_000, 100_000, 3_000_000] {
        let blob = sample(size);
        let name = format!("compressed-blobs/zstd/{}", store(&server, &blob).await);
        for offset in [0, 1, size / 2, size - 1, size] {
            let offset_field = i64::try_from(offset).expect("small");
            let stream = read_range(&server, &name, offset_field, 0).await.expect("present");
            let rest = zstd::decode_all(&stream[..]).expect("a fresh zstd stream");
            assert!(rest == blob[offset..], "{size} B from {offset}");
        }
        let limited = read_range(&server, &name, 0, 10).await;
        assert_refused(limited, Code::InvalidArgument, "does not go with a compressed read");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_absent_is_not_found() {
    let server = TestServer::start().await;
    let stored = store(&server, &sample(100)).await;
    assert_refused(read(&server, digest(b"never stored")).await, Code::NotFound, "is absent");
    let wrong_size = format!("blobs/{}/101", stored.hash());
    let read_wrong_size = read_range(&server, &wrong_size, 0, 0).await;
    assert_refused(read_wrong_size, Code::NotFound, "is absent");
    let blake3 = format!("blobs/blake3/{stored}");
    assert_refused(read_range(&server, &blake3, 0, 0).await, Code::NotFound, "is absent");
    server.stop().await;
}

#[tokio::test]
async fn malformed_names_are_refused() {
    let server = TestServer::start().await;
    let upper = format!("blobs/{}/1", "AB".repeat(32));
    for (name, words) in [
        ("", "is not of the form"),
        ("blobs/abc/1", "which no digest function has"),
        ("../../etc/passwd", "is not of the form"),
        (upper.as_str(), "not lower-case hexadecimal"),
        ("uploads/blobs/x", "instance name \"uploads\" has the reserved segment"),
    ] {
        assert_refused(read_range(&server, name, 0, 0).await, Code::InvalidArgument, words);
    }
    let sha1 = format!("blobs/{}/1", "ab".repeat(20));
    let weak = read_range(&server, &sha1, 0, 0).await;
    assert_refused(weak, Code::InvalidArgument, "SHA1 is not served here");
    server.stop().await;
}
