//! The HTTP dialects of Gradle, Turborepo, Nx and sccache over the wire: what each is answered, and that none sees another's entries.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use larder_testkit::TestServer;

use crate::client::{digest, sample};

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn call(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.http(request.body(body).expect("a good request")).await
}

async fn ask(server: &TestServer, method: &str, path: &str) -> Response<Bytes> {
    call(server, method, path, &[], Bytes::new()).await
}

async fn put(server: &TestServer, path: &str, body: &Bytes) -> StatusCode {
    call(server, "PUT", path, &[("authorization", "Bearer secret")], body.clone()).await.status()
}

/// The lines that metrics have of a dialect, without those that time.
async fn counted(server: &TestServer, dialect: &str) -> Vec<String> {
    let page = server.admin("/metrics").await;
    let page = String::from_utf8(page.body().to_vec()).expect("text");
    let begin = format!("larder_rpcs_total{{method=\"{dialect}/");
    let of = page.lines().filter_map(|line| line.strip_prefix(&begin));
    of.map(|line| line.replace("\",code=\"", " ").replace("\"}", "")).collect()
}

#[tokio::test]
async fn no_dialect_sees_the_entries_of_another() {
    let server = TestServer::start().await;
    let paths = [
        format!("/kv/{KEY}"),
        format!("/team/kv/{KEY}"),
        format!("/gradle/{KEY}"),
        format!("/team/gradle/{KEY}"),
        format!("/v8/artifacts/{KEY}"),
        format!("/v8/artifacts/{KEY}?slug=team"),
        format!("/v8/artifacts/{KEY}?teamId=team"),
        format!("/team/v8/artifacts/{KEY}"),
        format!("/v1/cache/{KEY}"),
        format!("/team/v1/cache/{KEY}"),
        format!("/sccache/{KEY}"),
        format!("/sccache/team/{KEY}"),
        format!("/team/sccache/{KEY}"),
    ];
    // Small, empty, and larger than what is kept in memory while it comes.
    let values = paths.iter().enumerate().map(|(at, path)| match at {
        0 => (path, Bytes::new()),
        1 => (path, sample(3_000_000)),
        _ => (path, sample(1_000 + at)),
    });
    let values: Vec<_> = values.collect();
    for (path, _) in &values {
        assert_eq!(ask(&server, "GET", path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for (path, value) in &values {
        assert!(put(&server, path, value).await.is_success(), "{path}");
    }
    for (path, value) in &values {
        let got = ask(&server, "GET", path).await;
        assert_eq!(got.status(), StatusCode::OK, "{path}");
        assert!(got.body() == value, "{path}");
        let head = ask(&server, "HEAD", path).await;
        assert_eq!(head.headers()["content-length"], value.len().to_string(), "{path}");
        let part = call(&server, "GET", path, &[("range", "bytes=1-2")], Bytes::new()).await;
        assert!(value.is_empty() || part.body() == &value.slice(1..3), "{path}");
        // The value is a blob like any other, and shared.
        let blob = ask(&server, "GET", &format!("/cas/{}", digest(value).hash())).await;
        assert!(blob.body() == value, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_dialect_does_not_have_is_405() {
    let server = TestServer::start().await;
    for (path, methods, allow) in [
        ("/kv/a", "POST PROPFIND OPTIONS", "GET, HEAD, PUT, DELETE"),
        ("/gradle/KEY", "POST DELETE PROPFIND", "GET, HEAD, PUT"),
        ("/v1/cache/1", "POST DELETE OPTIONS", "GET, HEAD, PUT"),
        ("/v8/artifacts", "GET PUT DELETE", "OPTIONS, POST"),
        ("/v8/artifacts/events", "GET PUT", "OPTIONS, POST"),
        ("/v8/artifacts/status", "POST PUT", "OPTIONS, GET, HEAD"),
        ("/v8/artifacts/a", "POST DELETE", "OPTIONS, GET, HEAD, PUT"),
        ("/sccache/a", "POST LOCK COPY MKCOL", "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND"),
        ("/sccache/a/", "GET PUT DELETE", "OPTIONS, PROPFIND, MKCOL"),
        ("/sccache", "PUT LOCK", "OPTIONS, PROPFIND, MKCOL"),
    ] {
        for method in methods.split(' ') {
            let answer = ask(&server, method, &path.replace("KEY", KEY)).await;
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_stores_nothing() {
    let server = TestServer::start_with(&[("max_blob_size", "1MiB")]).await;
    let value = sample(100);
    for (path, status) in [
        ("/gradle/abc", StatusCode::BAD_REQUEST),
        ("/gradle/../kv/x", StatusCode::BAD_REQUEST),
        ("/kv/%2e%2e/gradle/KEY", StatusCode::BAD_REQUEST),
        ("/kv//x", StatusCode::BAD_REQUEST),
        ("/kv/a%00b", StatusCode::BAD_REQUEST),
        ("/kv/", StatusCode::NOT_FOUND),
        ("/v1/cache/a%2Fb", StatusCode::NOT_FOUND),
        ("/v1/cache/a.b", StatusCode::BAD_REQUEST),
        ("/v8/artifacts/a.b", StatusCode::BAD_REQUEST),
        ("/v8/artifacts/a?slug=b&slug=c", StatusCode::BAD_REQUEST),
        ("/uploads/gradle/KEY", StatusCode::BAD_REQUEST),
    ] {
        let path = path.replace("KEY", KEY);
        let sent = call(&server, "PUT", &path, &[], value.clone()).await;
        assert_eq!(sent.status(), status, "{path}: {:?}", sent.body());
        assert!(sent.body().len() < 500, "{path}: {:?}", sent.body());
    }
    let long = format!("/kv/{}", "a".repeat(1_025));
    assert_eq!(put(&server, &long, &value).await, StatusCode::BAD_REQUEST);
    let long = format!("/kv/{}", "a".repeat(4_000));
    assert_eq!(put(&server, &long, &value).await, StatusCode::URI_TOO_LONG);
    let large = sample(2_000_000);
    for path in ["/kv/a", "/gradle/KEY", "/v8/artifacts/a", "/v1/cache/1", "/sccache/a"] {
        let path = path.replace("KEY", KEY);
        assert_eq!(put(&server, &path, &large).await, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let chunks = large.chunks(100_000).map(Bytes::copy_from_slice).collect();
        let chunked = server.http_chunked("PUT", &path, chunks).await;
        assert_eq!(chunked, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(ask(&server, "GET", &path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_part_is_not_stored_as_the_whole() {
    let server = TestServer::start().await;
    let whole = sample(100);
    let hash = digest(&whole).hash().to_string();
    for path in [
        "/kv/a".to_owned(),
        format!("/gradle/{KEY}"),
        "/v8/artifacts/a".to_owned(),
        "/v1/cache/1".to_owned(),
        "/sccache/a".to_owned(),
        format!("/cas/{hash}"),
        format!("/ac/{hash}"),
    ] {
        let part = [("content-range", "bytes 90-99/100")];
        let refused = call(&server, "PUT", &path, &part, whole.slice(90..)).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(ask(&server, "GET", &path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_put_with_conditions_replaces_only_what_it_knows() {
    let server = TestServer::start().await;
    let path = "/kv/a";
    let put_if = async |name: &str, value: &str, size: usize| {
        call(&server, "PUT", path, &[(name, value)], sample(size)).await.status()
    };
    assert_eq!(put_if("if-match", "*", 1).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put_if("if-none-match", "*", 2).await, StatusCode::OK);
    assert_eq!(put_if("if-none-match", "*", 3).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put_if("if-match", "\"other\"", 4).await, StatusCode::PRECONDITION_FAILED);
    let got = ask(&server, "GET", path).await;
    assert!(got.body() == &sample(2));
    let tag = got.headers()["etag"].to_str().expect("ASCII").to_owned();
    assert_eq!(put_if("if-match", &tag, 5).await, StatusCode::OK);
    assert!(ask(&server, "GET", path).await.body() == &sample(5));
    server.stop().await;
}

#[tokio::test]
async fn gradle_overwrites() {
    let server = TestServer::start().await;
    let path = format!("/some/where/gradle/{KEY}");
    for value in [sample(10), sample(20)] {
        assert_eq!(put(&server, &path, &value).await, StatusCode::OK);
        assert!(ask(&server, "GET", &path).await.body() == &value);
    }
    assert_eq!(counted(&server, "gradle").await, ["GET OK 2", "PUT OK 2"]);
    server.stop().await;
}

#[tokio::test]
async fn nx_stores_once() {
    let server = TestServer::start().await;
    let path = "/v1/cache/5304396659359688627";
    assert_eq!(put(&server, path, &sample(10)).await, StatusCode::OK);
    let again = call(&server, "PUT", path, &[], sample(20)).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert!(again.headers()["content-type"].as_bytes().starts_with(b"text/plain"));
    assert!(ask(&server, "GET", path).await.body() == &sample(10));
    // Of many at once, one is stored: the one that says so.
    let path = "/v1/cache/7";
    let values: Vec<_> = (100..120).map(sample).collect();
    let puts = values.iter().map(|value| put(&server, path, value));
    let statuses = futures_util::future::join_all(puts).await;
    let stored: Vec<_> =
        values.iter().zip(&statuses).filter(|(_, status)| **status == StatusCode::OK).collect();
    assert_eq!(stored.len(), 1, "{statuses:?}");
    let refused = statuses.iter().filter(|status| **status == StatusCode::CONFLICT);
    assert_eq!(refused.count(), 19, "{statuses:?}");
    assert!(ask(&server, "GET", path).await.body() == stored[0].0);
    server.stop().await;
}

#[tokio::test]
async fn turborepo_gets_back_what_it_said() {
    let server = TestServer::start().await;
    let path = "/v8/artifacts/27bac52d8a0c9784?slug=my-team";
    let headers = [("x-artifact-duration", "577"), ("x-artifact-tag", "c2lnbmF0dXJl+/=")];
    let stored = call(&server, "PUT", path, &headers, sample(500)).await;
    assert_eq!(stored.status(), StatusCode::ACCEPTED);
    assert_eq!(stored.body(), r#"{"urls":["/v8/artifacts/27bac52d8a0c9784"]}"#);
    for method in ["GET", "HEAD"] {
        let got = ask(&server, method, path).await;
        assert_eq!(got.status(), StatusCode::OK);
        for (name, value) in headers {
            assert_eq!(got.headers()[name], value, "{method}");
        }
    }
    // What a path may have, JSON may not.
    let odd = call(&server, "PUT", "/a\"b/v8/artifacts/b2", &[], sample(5)).await;
    assert_eq!(odd.body(), r#"{"urls":["/a\"b/v8/artifacts/b2"]}"#);
    let bad = [("x-artifact-duration", "soon")];
    let refused = call(&server, "PUT", path, &bad, sample(500)).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    // Without what it may say.
    assert!(put(&server, "/v8/artifacts/b1?slug=my-team", &sample(70)).await.is_success());
    let got = ask(&server, "GET", "/v8/artifacts/b1?slug=my-team").await;
    assert_eq!(got.headers().get("x-artifact-tag"), None);
    let known = r#"{"hashes":["27bac52d8a0c9784","b1","ff","b1"]}"#;
    let answer = call(&server, "POST", "/v8/artifacts?slug=my-team", &[], known.into()).await;
    let expect = concat!(
        r#"{"27bac52d8a0c9784":{"size":500,"taskDurationMs":577,"tag":"c2lnbmF0dXJl+/="},"#,
        r#""b1":{"size":70,"taskDurationMs":0},"ff":null}"#
    );
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, expect.as_bytes()));
    let elsewhere = call(&server, "POST", "/v8/artifacts?slug=other", &[], known.into()).await;
    assert_eq!(elsewhere.body(), r#"{"27bac52d8a0c9784":null,"b1":null,"ff":null}"#);
    server.stop().await;
}

#[tokio::test]
async fn turborepo_asks_what_it_needs() {
    let server = TestServer::start().await;
    let status = ask(&server, "GET", "/team/v8/artifacts/status?slug=a").await;
    assert_eq!(status.body(), r#"{"status":"enabled"}"#);
    let events = r#"[{"sessionId":"x","source":"REMOTE","event":"HIT","hash":"b1"}]"#;
    let taken = call(&server, "POST", "/v8/artifacts/events", &[], events.into()).await;
    assert_eq!((taken.status(), taken.body().len()), (StatusCode::OK, 0));
    let preflight = ask(&server, "OPTIONS", "/v8/artifacts/b1").await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.contains("Authorization"), "{allowed}");
    let many: Vec<_> = (0..1_025).map(|number| format!("\"{number}\"")).collect();
    let many = format!("{{\"hashes\":[{}]}}", many.join(","));
    let long = format!("{{\"hashes\":[\"{}\"]}}", "a".repeat(300_000));
    for (question, status) in [
        ("", StatusCode::BAD_REQUEST),
        ("{}", StatusCode::BAD_REQUEST),
        (r#"{"hashes":["../x"]}"#, StatusCode::BAD_REQUEST),
        (r#"{"hashes":[]}"#, StatusCode::OK),
        (&many, StatusCode::BAD_REQUEST),
        (&long, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let body = Bytes::copy_from_slice(question.as_bytes());
        let answer = call(&server, "POST", "/v8/artifacts", &[], body).await;
        assert_eq!(answer.status(), status, "{:.80}: {:?}", question, answer.body());
    }
    let chunks = vec![Bytes::from(long)];
    let chunked = server.http_chunked("POST", "/v8/artifacts", chunks).await;
    assert_eq!(chunked, StatusCode::PAYLOAD_TOO_LARGE);
    server.stop().await;
}

#[tokio::test]
async fn webdav_has_files_and_virtual_folders() {
    let server = TestServer::start().await;
    let file = "/sccache/team/4/0/407c";
    assert_eq!(ask(&server, "PROPFIND", file).await.status(), StatusCode::NOT_FOUND);
    for folder in ["/sccache", "/sccache/", "/sccache/team/4/", "/a/sccache/x/"] {
        let found = ask(&server, "PROPFIND", folder).await;
        assert_eq!(found.status(), StatusCode::MULTI_STATUS, "{folder}");
        let text = String::from_utf8_lossy(found.body());
        let href = format!("<D:href>{}/</D:href>", folder.trim_end_matches('/'));
        assert!(text.contains(&href) && text.contains("<D:collection/>"), "{text}");
        assert_eq!(ask(&server, "MKCOL", folder).await.status(), StatusCode::CREATED, "{folder}");
    }
    assert_eq!(put(&server, file, &sample(10)).await, StatusCode::CREATED);
    assert_eq!(put(&server, file, &sample(20)).await, StatusCode::NO_CONTENT);
    let found = ask(&server, "PROPFIND", file).await;
    let text = String::from_utf8_lossy(found.body());
    assert!(text.contains("<D:getcontentlength>20</D:getcontentlength>"), "{text}");
    assert!(text.contains("<D:getlastmodified>"), "{text}");
    let options = ask(&server, "OPTIONS", file).await;
    assert_eq!(
        (options.status(), &options.headers()["dav"]),
        (StatusCode::OK, &"1".parse().unwrap())
    );
    assert_eq!(ask(&server, "DELETE", file).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, "DELETE", file).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&server, "GET", file).await.status(), StatusCode::NOT_FOUND);
    let counts = counted(&server, "sccache").await;
    assert!(counts.contains(&"PROPFIND OK 5".to_owned()), "{counts:?}");
    server.stop().await;
}

#[tokio::test]
async fn entries_outlive_the_server() {
    let server = TestServer::start().await;
    let headers = [("x-artifact-duration", "12")];
    call(&server, "PUT", "/v8/artifacts/a?slug=t", &headers, sample(2_000)).await;
    assert_eq!(put(&server, "/v1/cache/1", &sample(10)).await, StatusCode::OK);
    let server = server.restart().await;
    let got = ask(&server, "GET", "/v8/artifacts/a?slug=t").await;
    assert_eq!(got.headers()["x-artifact-duration"], "12");
    assert!(got.body() == &sample(2_000));
    assert_eq!(put(&server, "/v1/cache/1", &sample(20)).await, StatusCode::CONFLICT);
    server.stop().await;
}
