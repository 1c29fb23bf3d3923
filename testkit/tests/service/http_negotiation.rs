//! What HTTP lets a client choose: encodings, ranges, conditions. RFC 9110.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use larder_protos::reapi::ActionResult;
use larder_testkit::TestServer;
use prost::Message as _;

use crate::client::{digest, sample, store};

async fn call(
    server: &TestServer,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.http(request.body(Bytes::new()).expect("a good request")).await
}

/// A blob fresh in memory, and one that is read from the disk since it is too large for memory.
async fn stored(server: &TestServer, size: usize) -> (String, Bytes) {
    let blob = sample(size);
    store(server, &blob).await;
    (format!("/cas/{}", digest(&blob).hash()), blob)
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn zstd_is_sent_to_whom_takes_it_hot_or_not() {
    let server = TestServer::start().await;
    for size in [5_000, 300_000, 3_000_000] {
        let (path, blob) = stored(&server, size).await;
        for _ in 0..2 {
            let taken = call(&server, Method::GET, &path, &[("accept-encoding", "zstd")]).await;
            assert_eq!(header(&taken, "content-encoding"), Some("zstd"), "{size} B");
            assert!(taken.body().len() < size * 3 / 4, "{} of {size} B", taken.body().len());
            assert!(zstd::decode_all(&taken.body()[..]).expect("zstd") == blob);
            assert!(header(&taken, "etag").expect("a tag").starts_with("W/"));
            let plain = call(&server, Method::GET, &path, &[]).await;
            assert_eq!(header(&plain, "content-encoding"), None);
            assert!(plain.body() == &blob);
        }
    }
    // Not worth it.
    let (path, blob) = stored(&server, 4_000).await;
    let taken = call(&server, Method::GET, &path, &[("accept-encoding", "zstd")]).await;
    assert!(taken.body() == &blob);
    server.stop().await;
}

#[tokio::test]
async fn who_takes_no_identity_gets_none() {
    let server = TestServer::start().await;
    for size in [0, 100, 300_000, 3_000_000] {
        let (path, blob) = stored(&server, size).await;
        let only = [("accept-encoding", "zstd, identity;q=0"), ("range", "bytes=0-9")];
        let taken = call(&server, Method::GET, &path, &only).await;
        assert_eq!(taken.status(), StatusCode::OK, "a part of what is encoded is not had");
        assert_eq!(header(&taken, "content-encoding"), Some("zstd"), "{size} B");
        assert!(zstd::decode_all(&taken.body()[..]).expect("zstd") == blob);
        let nothing = [("accept-encoding", "gzip, *;q=0")];
        let refused = call(&server, Method::GET, &path, &nothing).await;
        assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
        assert_eq!(header(&refused, "vary"), Some("accept-encoding"));
    }
    let result = ActionResult { exit_code: 3, ..ActionResult::default() };
    let path = format!("/ac/{}", digest(b"action").hash());
    let put = Request::put(&path).body(result.encode_to_vec()).expect("a request");
    assert_eq!(server.http(put).await.status(), StatusCode::OK);
    let taken = call(&server, Method::GET, &path, &[("accept-encoding", "zstd, *;q=0")]).await;
    let decoded = zstd::decode_all(&taken.body()[..]).expect("zstd");
    assert_eq!(ActionResult::decode(&decoded[..]).expect("a result"), result);
    let refused = call(&server, Method::GET, &path, &[("accept-encoding", "*;q=0")]).await;
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    server.stop().await;
}

#[tokio::test]
async fn parts_are_sent_as_asked() {
    let server = TestServer::start().await;
    for size in [1_000, 3_000_000] {
        let (path, blob) = stored(&server, size).await;
        let end = size - 1;
        for (range, first, last) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=100-199".to_owned(), 100, 199),
            ("bytes=990-".to_owned(), 990, end),
            ("bytes=-10".to_owned(), size - 10, end),
            (format!("bytes=-{}", size + 10), 0, end),
            (format!("bytes=500-{}", 2 * size), 500, end),
        ] {
            let headers = [("range", range.as_str()), ("accept-encoding", "zstd")];
            let part = call(&server, Method::GET, &path, &headers).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            let content_range = format!("bytes {first}-{last}/{size}");
            assert_eq!(header(&part, "content-range"), Some(&*content_range));
            assert_eq!(header(&part, "content-encoding"), None);
            assert!(part.body() == &blob.slice(first..=last), "{range}");
        }
        for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=6-5", "garbage"] {
            let whole = call(&server, Method::GET, &path, &[("range", range)]).await;
            assert_eq!(whole.status(), StatusCode::OK, "{range}");
            assert!(whole.body() == &blob, "{range}");
        }
        for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
            let beyond = call(&server, Method::GET, &path, &[("range", &range)]).await;
            assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
            assert_eq!(header(&beyond, "content-range"), Some(&*format!("bytes */{size}")));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let server = TestServer::start().await;
    for size in [0, 1_000, 3_000_000] {
        let (path, _) = stored(&server, size).await;
        for headers in [&[][..], &[("accept-encoding", "zstd")]] {
            let get = call(&server, Method::GET, &path, headers).await;
            let head = call(&server, Method::HEAD, &path, headers).await;
            assert_eq!(head.status(), get.status());
            assert!(head.body().is_empty());
            for name in [
                "etag",
                "vary",
                "content-encoding",
                "content-length",
                "accept-ranges",
                "content-type",
            ] {
                assert_eq!(header(&head, name), header(&get, name), "{name} of {size} B");
            }
            let ranged = [headers, &[("range", "bytes=9999999-")]].concat();
            let ranged = call(&server, Method::HEAD, &path, &ranged).await;
            assert_eq!(ranged.status(), StatusCode::OK, "a range is GET's alone");
        }
    }
    let absent = format!("/cas/{}", digest(b"absent").hash());
    let head = call(&server, Method::HEAD, &absent, &[]).await;
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    server.stop().await;
}

#[tokio::test]
async fn conditions_are_held_against_the_hash() {
    let server = TestServer::start().await;
    let (path, blob) = stored(&server, 5_000).await;
    let tag = format!("\"{}\"", digest(&blob).hash());
    let weak = format!("W/{tag}");
    let status = async |method: Method, headers: &[(&str, &str)]| {
        let answer = call(&server, method, &path, headers).await;
        assert_eq!(header(&answer, "vary"), Some("accept-encoding"));
        assert!(header(&answer, "etag").expect("a tag").ends_with(&tag));
        (answer.status().as_u16(), answer.body().len())
    };
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(status(method.clone(), &[("if-none-match", &tag)]).await, (304, 0));
        assert_eq!(status(method.clone(), &[("if-none-match", &weak)]).await, (304, 0));
        assert_eq!(status(method.clone(), &[("if-none-match", "*")]).await, (304, 0));
        assert_eq!(status(method, &[("if-match", "\"other\"")]).await, (412, 0));
    }
    assert_eq!(status(Method::GET, &[("if-none-match", "\"other\"")]).await, (200, 5_000));
    assert_eq!(status(Method::GET, &[("if-match", &tag)]).await, (200, 5_000));
    let range = ("range", "bytes=0-9");
    assert_eq!(status(Method::GET, &[range, ("if-range", &tag)]).await, (206, 10));
    assert_eq!(status(Method::GET, &[range, ("if-range", &weak)]).await, (200, 5_000));
    assert_eq!(status(Method::GET, &[range, ("if-range", "\"old\"")]).await, (200, 5_000));
    // What is absent is absent, whatever is said about it.
    let absent = format!("/cas/{}", digest(b"absent").hash());
    let asked = call(&server, Method::GET, &absent, &[("if-none-match", "*")]).await;
    assert_eq!(asked.status(), StatusCode::NOT_FOUND);
    server.stop().await;
}
