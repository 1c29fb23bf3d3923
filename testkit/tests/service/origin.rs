//! Remote Asset: what nobody pushed is fetched from origins, within what is allowed.

use larder_protos::asset::{FetchBlobRequest, FetchBlobResponse, PushBlobRequest};
use larder_protos::reapi::digest_function;
use larder_protos::well_known;
use larder_testkit::TestServer;
use tonic::Code;
use tonic_types::StatusExt;

use crate::client::{assert_refused, digest, metric, read, sample, store};
use crate::origin_server::{CA_FILE, OriginServer};
use crate::remote_asset::{fetch, found, qualifiers};

/// `checksum.sri` of these bytes by SHA-256.
fn sri(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = *digest(bytes).hash();
    let mut encoded = String::from("sha256-");
    for three in hash.as_bytes().chunks(3) {
        let number = three.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        let number = number << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            encoded.push(char::from(LETTERS[(number >> (18 - 6 * place)) & 63]));
        }
    }
    encoded + "="
}

/// A server that may ask `origin`, and no other.
async fn start(origin: &OriginServer, more: &[(&str, &str)]) -> TestServer {
    let allow = origin.address().to_string();
    let mut settings =
        vec![("fetch.allow", allow.as_str()), ("fetch.allow_addresses", "127.0.0.0/8")];
    settings.extend(more);
    start_with(&settings).await
}

async fn start_with(settings: &[(&str, &str)]) -> TestServer {
    let fixed = [("fetch.enabled", "true"), ("fetch.max_size", "4MiB")];
    TestServer::start_with(&[&fixed[..], settings].concat()).await
}

fn request(url: &str, pairs: &[(&str, &str)]) -> FetchBlobRequest {
    FetchBlobRequest {
        uris: vec![url.to_owned()],
        qualifiers: qualifiers(pairs),
        ..FetchBlobRequest::default()
    }
}

fn check_status(answer: &FetchBlobResponse, code: Code, words: &str) {
    let status = answer.status.as_ref().expect("a status");
    assert_eq!(Code::from(status.code), code, "{status:?}");
    assert!(status.message.contains(words), "{:?} lacks {words:?}", status.message);
    assert_eq!(answer.blob_digest, None);
}

#[tokio::test]
async fn what_has_the_checksum_is_fetched_once() {
    for (size, path) in [
        (1_000, "/blob"),
        (3_000_000, "/blob"),
        (3_000_000, "/chunked"),
        (5_000, "/gzip"),
        (0, "/blob"),
    ] {
        let body = sample(size);
        let origin = OriginServer::start(&body).await;
        let server = start(&origin, &[]).await;
        let (url, sri) = (origin.url(path), sri(&body));
        for _ in 0..2 {
            let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
            assert_eq!(found(&answer), Some((url.as_str(), digest(&body))), "{size} B from {path}");
        }
        assert!(read(&server, digest(&body)).await.expect("stored") == body);
        let requests = origin.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let head = requests[0].to_ascii_lowercase();
        assert!(head.contains("accept-encoding: identity"), "{head}");
        assert!(head.contains(&format!("host: {}\r\n", origin.address())), "{head}");
        server.stop().await;
    }
}

#[tokio::test]
async fn other_functions_are_hashed_beside() {
    let body = sample(2_000_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let asked = |sri: &str| FetchBlobRequest {
        digest_function: digest_function::Value::Blake3.into(),
        ..request(&origin.url("/blob"), &[("checksum.sri", sri)])
    };
    let wrong = fetch(&server, asked(&sri(b"other"))).await;
    check_status(&wrong, Code::Aborted, "hash to");
    let answer = fetch(&server, asked(&sri(&body))).await;
    let blake3 = larder_protos::Digest::of(larder_protos::DigestFunction::Blake3, &body);
    assert_eq!(found(&answer), Some((origin.url("/blob").as_str(), blake3)));
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_meant_is_not_stored() {
    for size in [1_000, 3_000_000] {
        let body = sample(size);
        let origin = OriginServer::start(&body).await;
        let server = start(&origin, &[]).await;
        let wrong = sri(b"other");
        let answer =
            fetch(&server, request(&origin.url("/blob"), &[("checksum.sri", &wrong)])).await;
        check_status(&answer, Code::Aborted, "hash to");
        assert_refused(read(&server, digest(&body)).await, Code::NotFound, "absent");
        let garbled = server
            .fetch()
            .fetch_blob(request(&origin.url("/blob"), &[("checksum.sri", "x")]))
            .await;
        assert_refused(garbled, Code::InvalidArgument, "checksum.sri");
        server.stop().await;
    }
}

#[tokio::test]
async fn how_origins_fail_is_told() {
    let body = sample(300_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let sri = sri(&body);
    for (path, code, words) in [
        ("/code?404+Gone", Code::NotFound, "answers 404"),
        ("/code?410+Gone", Code::NotFound, "answers 410"),
        ("/code?401+No", Code::PermissionDenied, "answers 401"),
        ("/code?403+No", Code::PermissionDenied, "answers 403"),
        ("/code?429+Later", Code::ResourceExhausted, "answers 429"),
        ("/code?504+Slow", Code::DeadlineExceeded, "answers 504"),
        ("/code?500+Oh", Code::Aborted, "answers 500"),
        ("/code?206+Part", Code::Aborted, "answers 206"),
        ("/code?304+Same", Code::Aborted, "answers 304"),
        ("/short", Code::Aborted, "broke off"),
        ("/garbage", Code::Aborted, "broke off"),
        ("/huge", Code::ResourceExhausted, "over the limit of 4194304 B"),
        ("/endless", Code::ResourceExhausted, "over the limit of 4194304 B"),
        ("/loop", Code::Aborted, "over the limit of 10"),
        ("/nowhere", Code::Aborted, "redirects to no URL"),
    ] {
        let answer = fetch(&server, request(&origin.url(path), &[("checksum.sri", &sri)])).await;
        check_status(&answer, code, words);
        assert_eq!(answer.uri, origin.url(path));
    }
    let page = server.admin("/metrics").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    for line in [
        "larder_fetches_total{outcome=\"not_found\"} 2",
        "larder_fetches_total{outcome=\"denied\"} 2",
        "larder_fetches_total{outcome=\"exhausted\"} 3",
        "larder_fetches_total{outcome=\"fetched\"} 0",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    assert_eq!(metric(&server, "larder_fetched_bytes_total").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn mirrors_are_asked_in_turn() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let urls = ["/code?404+Gone", "/short", "/blob", "/never"].map(|path| origin.url(path));
    let asked = FetchBlobRequest {
        uris: [&["urn:x".to_owned()], &urls[..]].concat(),
        ..request("", &[("checksum.sri", &sri(&body)), ("http_header_url:3:x-for", "3")])
    };
    let answer = fetch(&server, asked).await;
    assert_eq!(found(&answer), Some((urls[2].as_str(), digest(&body))));
    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    let sent: Vec<_> = requests.iter().map(|head| head.contains("x-for: 3")).collect();
    assert_eq!(sent, [false, false, true]);
    assert!(!format!("{:?}", answer.qualifiers).contains("http_header"));
    server.stop().await;
}

#[tokio::test]
async fn requests_cannot_be_forged() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let (address, sri) = (origin.address(), sri(&body));
    let server = start(&origin, &[]).await;
    let port = address.port();
    let refused = [
        ("https://example.com/".to_owned(), "fetch.allow"),
        (format!("http://localhost:{port}/blob"), "fetch.allow"),
        (format!("http://[::1]:{port}/blob"), "fetch.allow"),
        (format!("http://127.0.0.1.:{port}@example.com/blob"), "a user name"),
        (format!("http://user:secret@127.0.0.1:{port}/blob"), "a user name"),
        ("http://127.0.0.1/blob".to_owned(), "fetch.allow"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "fetch.allow"),
        (origin.url("/to?http://169.254.169.254/latest/"), "fetch.allow"),
        (origin.url(&format!("/to?http://localhost:{port}/blob")), "fetch.allow"),
        (origin.url("/to?file:///etc/passwd"), "scheme \"file\""),
        (origin.url("/to?gopher://127.0.0.1/"), "scheme \"gopher\""),
    ];
    for (url, words) in &refused {
        let answer = fetch(&server, request(url, &[("checksum.sri", &sri)])).await;
        check_status(&answer, Code::PermissionDenied, words);
        let text = format!("{:?}", answer.status);
        assert!(!text.contains("secret") && !text.contains("/latest"), "{text}");
    }
    // Other notations of the address that is allowed are that address.
    for host in ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"] {
        let url = format!("http://{host}:{port}/blob");
        let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
        assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_address_decides_whatever_the_name() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let sri = sri(&body);
    let port = origin.address().port();
    // Every host is allowed on this port, but no address besides the public ones.
    let allow = format!("*:{port}");
    let server = start_with(&[("fetch.allow", &allow)]).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
    ] {
        let url = format!("http://{host}:{port}/blob");
        let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
        check_status(&answer, Code::PermissionDenied, "address, which is not connected to");
    }
    assert_eq!(origin.requests().len(), 0);
    server.stop().await;
    let server = start(&origin, &[("fetch.allow", &allow)]).await;
    let url = format!("http://localhost:{port}/blob");
    let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
    assert_eq!(found(&answer), Some((url.as_str(), digest(&body))), "127.0.0.0/8 is allowed");
    // From what is allowed to what is not.
    let url = origin.url(&format!("/to?http://10.0.0.1:{port}/"));
    let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
    check_status(&answer, Code::PermissionDenied, "10.0.0.1");
    server.stop().await;
}

#[tokio::test]
async fn https_is_asked_whom_it_trusts() {
    let body = sample(200_000);
    let origin = OriginServer::start_tls(&body).await;
    let sri = sri(&body);
    let port = origin.address().port();
    let allow = format!("*:{port}");
    let server = start(&origin, &[("fetch.allow", &allow), ("fetch.ca_file", CA_FILE)]).await;
    for url in [origin.url("/blob"), format!("https://localhost:{port}/chunked")] {
        let answer = fetch(&server, request(&url, &[("checksum.sri", &sri)])).await;
        assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    }
    let downgrade = origin.url(&format!("/to?http://127.0.0.1:{port}/blob"));
    let answer = fetch(&server, request(&downgrade, &[("checksum.sri", &sri)])).await;
    check_status(&answer, Code::PermissionDenied, "from https to http");
    // 127.0.0.2 is this machine too, but the certificate does not name it.
    let other = format!("https://127.0.0.2:{port}/blob");
    let answer = fetch(&server, request(&other, &[("checksum.sri", &sri)])).await;
    check_status(&answer, Code::Aborted, "cannot be connected to");
    server.stop().await;
    let server = start(&origin, &[]).await;
    let answer = fetch(&server, request(&origin.url("/blob"), &[("checksum.sri", &sri)])).await;
    check_status(&answer, Code::Aborted, "cannot be connected to");
    server.stop().await;
}

#[tokio::test]
async fn headers_are_sent_and_stay_at_their_origin() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let other = OriginServer::start(&body).await;
    let allow = format!("{}, {}", origin.address(), other.address());
    let server = start(&origin, &[("fetch.allow", &allow)]).await;
    let sri = sri(&body);
    let pairs = [
        ("checksum.sri", sri.as_str()),
        ("http_header:Authorization", "Bearer general"),
        ("http_header:X-Thing", "thing"),
        ("http_header:Accept", "application/gzip"),
        ("http_header_url:0:authorization", "Bearer special"),
        ("bazel.canonical_id", "an id"),
    ];
    let url = origin.url(&format!("/to?{}", other.url("/blob")));
    let answer = fetch(&server, request(&url, &pairs)).await;
    assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    let (first, second) = (origin.requests().remove(0), other.requests().remove(0));
    assert!(first.contains("authorization: Bearer special\r\n"), "{first}");
    assert!(first.contains("x-thing: thing\r\n"), "{first}");
    assert!(!second.contains("Bearer") && !second.contains("thing"), "{second}");
    assert!(second.contains("accept: application/gzip\r\n"), "{second}");
    let forged = request(&url, &[("checksum.sri", &sri), ("http_header:Host", "internal")]);
    let refused = server.fetch().fetch_blob(forged).await;
    assert_refused(refused, Code::InvalidArgument, "names no header");
    server.stop().await;
}

#[tokio::test]
async fn qualifiers_that_cannot_be_checked_are_refused_one_by_one() {
    let origin = OriginServer::start(b"x").await;
    let server = start(&origin, &[]).await;
    let pairs = [("vcs.commit", "abc"), ("directory", "x")];
    let refused = server.fetch().fetch_blob(request(&origin.url("/blob"), &pairs)).await;
    let status = refused.expect_err("it should be refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("a detail").field_violations;
    let told: Vec<_> = violations.iter().map(|violation| violation.description.as_str()).collect();
    assert_eq!(told, ["\"directory\" not supported", "\"vcs.commit\" not supported"]);
    assert_eq!(violations[0].field, "qualifiers.name");
    assert_eq!(origin.requests().len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn without_a_checksum_only_as_configured() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let answer = fetch(&server, request(&origin.url("/blob"), &[])).await;
    check_status(&answer, Code::PermissionDenied, "fetch.unchecked");
    assert_eq!(origin.requests().len(), 0);
    server.stop().await;
    let server = start(&origin, &[("fetch.unchecked", "true")]).await;
    let url = origin.url("/blob");
    for _ in 0..2 {
        let answer = fetch(&server, request(&url, &[])).await;
        assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    }
    assert_eq!(origin.requests().len(), 1);
    // As Bazel asks where it has no checksum: nothing that was fetched before is young enough.
    let oldest = well_known::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let asked = FetchBlobRequest { oldest_content_accepted: Some(oldest), ..request(&url, &[]) };
    let answer = fetch(&server, asked).await;
    assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    assert_eq!(origin.requests().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_origin_ends_with_the_timeout() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let timeout = Some(well_known::Duration { seconds: 0, nanos: 20_000_000 });
    let asked = FetchBlobRequest {
        timeout,
        ..request(&origin.url("/hang"), &[("checksum.sri", &sri(&body))])
    };
    let answer = fetch(&server, asked).await;
    check_status(&answer, Code::DeadlineExceeded, "20 ms");
    let negative = FetchBlobRequest {
        timeout: Some(well_known::Duration { seconds: -1, nanos: 0 }),
        ..request(&origin.url("/hang"), &[])
    };
    let refused = server.fetch().fetch_blob(negative).await;
    assert_refused(refused, Code::InvalidArgument, "timeout");
    server.stop().await;
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_client_has_gone() {
    let body = sample(100_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let url = origin.url("/hang");
    let sri = sri(&body);
    let asked = || request(&url, &[("checksum.sri", &sri)]);
    tokio::select! {
        answer = fetch(&server, asked()) => panic!("{answer:?}"),
        () = origin.until_it_hangs() => {}
    }
    // Who comes back joins it, and both who wait get it.
    let together = async { tokio::join!(fetch(&server, asked()), fetch(&server, asked())) };
    let mut together = Box::pin(together);
    let early = tokio::select! {
        _ = &mut together => true,
        () = tokio::task::yield_now() => false,
    };
    assert!(!early);
    origin.go_on();
    let (one, other) = together.as_mut().await;
    drop(together);
    for answer in [one, other] {
        assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    }
    assert_eq!(origin.requests().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn who_waits_less_ends_it_for_nobody_else() {
    let body = sample(100_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[]).await;
    let url = origin.url("/hang");
    let sri = sri(&body);
    let asked = || request(&url, &[("checksum.sri", &sri)]);
    let short = Some(well_known::Duration { seconds: 0, nanos: 300_000_000 });
    let impatient = fetch(&server, FetchBlobRequest { timeout: short, ..asked() });
    let patient = async {
        origin.until_it_hangs().await;
        fetch(&server, asked()).await
    };
    let go_on = async {
        let answer = impatient.await;
        origin.go_on();
        answer
    };
    let (given_up, answer) = tokio::join!(go_on, patient);
    check_status(&given_up, Code::DeadlineExceeded, "300 ms");
    assert_eq!(found(&answer), Some((url.as_str(), digest(&body))));
    assert_eq!(origin.requests().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_is_pushed_has_its_checksum() {
    let origin = OriginServer::start(b"").await;
    let server = start(&origin, &[]).await;
    let body = sample(100);
    store(&server, &body).await;
    let asked = |checksum: &str| PushBlobRequest {
        uris: vec!["urn:x".to_owned()],
        qualifiers: qualifiers(&[("checksum.sri", checksum)]),
        blob_digest: Some(digest(&body).to_proto()),
        ..PushBlobRequest::default()
    };
    let refused = server.push().push_blob(asked(&sri(b"other"))).await;
    assert_refused(refused, Code::InvalidArgument, "checksum.sri");
    for checksum in [sri(&body), "what another server understands".to_owned()] {
        server.push().push_blob(asked(&checksum)).await.expect("pushed");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_fetch_does_not_hold_up_the_end_of_the_server() {
    let body = sample(1_000);
    let origin = OriginServer::start(&body).await;
    let server = start(&origin, &[("drain_timeout", "1h")]).await;
    let mut client = server.fetch();
    let call = client.fetch_blob(request(&origin.url("/hang"), &[("checksum.sri", &sri(&body))]));
    let ended = async {
        origin.until_it_hangs().await;
        server.begin_drain();
    };
    let (refused, ()) = tokio::join!(call, ended);
    assert_refused(refused, Code::Unavailable, "stopping");
    server.stop().await;
}
