//! `http`: the cache that Bazel and others speak over HTTP/1.1, `GET|HEAD|PUT {/instance}/{ac|cas}/{hash}`. No specification
//! says MUST here; the levels follow Bazel's documentation of its HTTP cache and RFC 9110.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use futures_util::future::join_all;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE};
use prost::Message;

use crate::conformance::announced::Need;
use crate::conformance::calls::{HttpAnswer, http_status, output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::compression::{unzstd, zstd};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, not_applicable};

pub(crate) const CASES: &[Case] = cases! {
    /// A blob that was PUT can be GET.
    "http.cas.put-get", Must, "Bazel, HTTP caching protocol" => put_get(1_000);
    /// The same for a blob of 9 MB.
    "http.cas.put-get-large", Must, "Bazel, HTTP caching protocol" => put_get(9_000_000);
    /// A blob that was never stored is 404.
    "http.cas.absent", Must, "Bazel, HTTP caching protocol" => absent;
    /// HEAD of a blob is 200 with its length and no body.
    "http.cas.head", Should, "RFC 9110, 9.3.2" => head;
    /// HEAD of a blob that was never stored is 404.
    "http.cas.head-absent", Should, "RFC 9110, 9.3.2" => head_absent;
    /// A GET has the blob's length in its header.
    "http.cas.content-length", Should, "RFC 9110, 8.6" => content_length;
    /// A body in chunks, its length not announced, is taken.
    "http.cas.put-chunked", Must, "RFC 9112, 7.1" => put_chunked;
    /// A body of another hash is refused, and not stored.
    "http.cas.wrong-hash", Should, "a content-addressable store" => wrong_hash;
    /// A blob may be PUT again.
    "http.cas.put-again", Must, "RFC 9110, 9.3.4, idempotent" => put_again;
    /// PUTs of a blob at the same time all succeed.
    "http.cas.put-concurrent", Must, "RFC 9110, 9.3.4" => put_concurrent;
    /// A hash that is none is refused.
    "http.cas.bad-hash", Must, "Bazel, HTTP caching protocol" => bad_hash;
    /// A path that names nothing is 404 or 400, not a server's error.
    "http.path.unknown", Must, "RFC 9110, 15.5" => unknown_path;
    /// A path with dots leads nowhere.
    "http.path.dots", Must, "RFC 3986, 6.2.2.3" => dots;
    /// A method that a cache does not have is 405 or 501.
    "http.method.unknown", Should, "RFC 9110, 15.5.6" => unknown_method;
    /// 405 comes with the methods that are allowed.
    "http.method.allow", Should, "RFC 9110, 10.2.1" => allow;
    /// A range from the beginning on is 206 with these bytes, or 200 with all.
    "http.range.first-last", Should, "RFC 9110, 14.2" => range("bytes=0-99", 0, 100);
    /// A range in the middle is 206 with these bytes, or 200 with all.
    "http.range.middle", Should, "RFC 9110, 14.2" => range("bytes=500-599", 500, 100);
    /// An open range is 206 with the rest, or 200 with all.
    "http.range.open", Should, "RFC 9110, 14.2" => range("bytes=900-", 900, 100);
    /// A range of the last bytes is 206 with these, or 200 with all.
    "http.range.suffix", Should, "RFC 9110, 14.1.2" => range("bytes=-100", 900, 100);
    /// A range that begins past the end is 416, or ignored.
    "http.range.past-end", Should, "RFC 9110, 15.5.17" => range_past_end;
    /// A range that does not parse is ignored.
    "http.range.malformed", Should, "RFC 9110, 14.2" => range_malformed;
    /// Where zstd is accepted, the answer is valid in whichever encoding it comes.
    "http.encoding.accept-zstd", Must, "RFC 9110, 12.5.3" => accept_zstd;
    /// Where no encoding is accepted, none is used.
    "http.encoding.identity", Must, "RFC 9110, 12.5.3" => identity_only;
    /// A body in zstd is taken as its content, or refused; never stored as it is.
    "http.encoding.put-zstd", Must, "RFC 9110, 8.4" => put_zstd;
    /// A body in an unknown encoding is refused.
    "http.encoding.put-unknown", Should, "RFC 9110, 8.4" => put_unknown_encoding;
    /// An action result that was PUT can be GET.
    "http.ac.put-get", Must, "Bazel, HTTP caching protocol" => ac_put_get;
    /// An action that was never stored is 404.
    "http.ac.absent", Must, "Bazel, HTTP caching protocol" => ac_absent;
    /// A later result takes the place of an earlier one.
    "http.ac.overwritten", Must, "Bazel, HTTP caching protocol" => ac_overwritten;
    /// A result whose output is absent is a miss.
    "http.ac.incomplete", Client[Bazel], "Bazel, build without the bytes" => ac_incomplete;
    /// What HTTP stored gRPC reads, and the other way round.
    "http.shared.blobs", Client[Bazel], "one cache for both protocols" => shared_blobs;
    /// An action result that gRPC stored can be GET, and the other way round.
    "http.shared.action-results", Client[Bazel], "one cache for both protocols", needs[Need::ActionCache, Need::Updates] => shared_results;
    /// A blob that gRPC stored as zstd comes as it is.
    "http.shared.zstd", Client[Bazel], "one cache for both protocols", needs[Need::Zstd] => shared_zstd;
    /// A client that waits to be told to go on, and goes on, is served.
    "http.cas.expect-continue", Should, "RFC 9110, 10.1.1" => expect_continue;
};

async fn put_get(cx: &Cx, size: usize) -> Outcome {
    let blob = cx.blob(size);
    let what = format!("PUT of {size} B");
    http_status(cx.http_put(&cx.cas_path(&blob), &blob.data).await, &[200, 201, 204], &what)?;
    cx.expect_http_readable(&blob, &format!("GET after {what}")).await
}

async fn absent(cx: &Cx) -> Outcome {
    let answer = cx.http_get(&cx.cas_path(&cx.blob(100))).await;
    http_status(answer, &[404], "GET of a blob that was never stored").map(drop)
}

async fn http_stored(cx: &Cx, size: usize) -> Result<Blob, crate::conformance::outcome::Halt> {
    let blob = cx.blob(size);
    let put = cx.http_put(&cx.cas_path(&blob), &blob.data).await;
    http_status(put, &[200, 201, 204], "the PUT, which prepares the case")?;
    Ok(blob)
}

async fn head(cx: &Cx) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    let answer = cx.http(Method::HEAD, &cx.cas_path(&blob), &[], &[]).await;
    let response = http_status(answer, &[200], "HEAD of a blob that is there")?;
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    expect::equal(length, Some("1000"), "content-length of HEAD")
}

async fn head_absent(cx: &Cx) -> Outcome {
    let answer = cx.http(Method::HEAD, &cx.cas_path(&cx.blob(100)), &[], &[]).await;
    http_status(answer, &[404], "HEAD of a blob that was never stored").map(drop)
}

async fn content_length(cx: &Cx) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    let answer = cx.http_get(&cx.cas_path(&blob)).await;
    let response = http_status(answer, &[200], "GET of a blob that is there")?;
    let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    expect::equal(length, Some("1000"), "content-length of GET")
}

async fn put_chunked(cx: &Cx) -> Outcome {
    let blob = cx.blob(100_000);
    let chunks = blob.data.chunks(7_000).map(<[u8]>::to_vec).collect();
    let answer = cx.http_chunked(Method::PUT, &cx.cas_path(&blob), chunks).await;
    http_status(answer, &[200, 201, 204], "PUT of a body in chunks")?;
    cx.expect_http_readable(&blob, "GET after it").await
}

async fn wrong_hash(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.http_put(&cx.cas_path(&blob), &cx.bytes(100)).await;
    http_status(answer, &[400, 409, 412, 422, 500], "PUT of other bytes")?;
    let answer = cx.http_get(&cx.cas_path(&blob)).await;
    http_status(answer, &[404], "GET after a PUT of other bytes").map(drop)
}

async fn put_again(cx: &Cx) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    let answer = cx.http_put(&cx.cas_path(&blob), &blob.data).await;
    http_status(answer, &[200, 201, 204], "PUT of a blob that is there")?;
    cx.expect_http_readable(&blob, "GET after it").await
}

async fn put_concurrent(cx: &Cx) -> Outcome {
    let blob = cx.blob(500_000);
    let path = cx.cas_path(&blob);
    for answer in join_all((0..8).map(|_| cx.http_put(&path, &blob.data))).await {
        http_status(answer, &[200, 201, 204], "one of 8 PUTs of a blob at once")?;
    }
    cx.expect_http_readable(&blob, "GET after them").await
}

async fn bad_hash(cx: &Cx) -> Outcome {
    for hash in ["", "nonsense", "zz", "0123456789"] {
        let path = cx.http_path("cas", hash);
        http_status(cx.http_get(&path).await, &[400, 404], &format!("GET {path}"))?;
        let put = cx.http_put(&path, b"x").await;
        http_status(put, &[400, 403, 404, 405, 422], &format!("PUT {path}"))?;
    }
    Ok(())
}

async fn unknown_path(cx: &Cx) -> Outcome {
    let hash = cx.blob(10).hash;
    for kind in ["nonsense", "casx", "xac"] {
        let path = cx.http_path(kind, &hash);
        http_status(cx.http_get(&path).await, &[400, 404], &format!("GET {path}"))?;
    }
    Ok(())
}

async fn dots(cx: &Cx) -> Outcome {
    for path in ["/cas/../../../../etc/passwd", "/cas/%2e%2e/%2e%2e/etc/passwd", "/../etc/passwd"] {
        http_status(cx.http_get(path).await, &[301, 308, 400, 403, 404], &format!("GET {path}"))?;
    }
    Ok(())
}

async fn unsupported(cx: &Cx) -> HttpAnswer {
    let path = cx.cas_path(&cx.blob(10));
    cx.http(Method::PATCH, &path, &[], b"x").await
}

async fn unknown_method(cx: &Cx) -> Outcome {
    http_status(unsupported(cx).await, &[405, 501], "PATCH of a blob").map(drop)
}

async fn allow(cx: &Cx) -> Outcome {
    let response = http_status(unsupported(cx).await, &[405, 501], "PATCH of a blob")?;
    if response.status().as_u16() == 501 {
        return not_applicable("PATCH is answered with 501");
    }
    let allow = response.headers().get(http::header::ALLOW).and_then(|value| value.to_str().ok());
    expect::that(allow.is_some_and(|methods| methods.contains("GET")), || {
        format!("expected an allow header with GET in it, got {allow:?}")
    })
}

/// A range of a blob of 1,000 B, and the bytes that it means.
async fn range(cx: &Cx, header: &str, from: usize, size: usize) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    let what = format!("GET with range {header} of 1000 B");
    let answer = cx.http(Method::GET, &cx.cas_path(&blob), &[("range", header)], &[]).await;
    let response = http_status(answer, &[200, 206], &what)?;
    if response.status().as_u16() == 200 {
        return expect::bytes(response.body(), &blob.data, &what);
    }
    expect::bytes(response.body(), blob.data.get(from..from + size).unwrap_or(&[]), &what)?;
    let expected = format!("bytes {from}-{}/1000", from + size - 1);
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    expect::equal(range, Some(expected.as_str()), format!("content-range of {what}"))
}

async fn range_past_end(cx: &Cx) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    let headers = [("range", "bytes=1000-1001")];
    let answer = cx.http(Method::GET, &cx.cas_path(&blob), &headers, &[]).await;
    http_status(answer, &[200, 416], "GET with range bytes=1000-1001 of 1000 B").map(drop)
}

async fn range_malformed(cx: &Cx) -> Outcome {
    let blob = http_stored(cx, 1_000).await?;
    for header in ["bytes=x-y", "lines=1-2", "bytes=5-1"] {
        let what = format!("GET with range {header}");
        let answer = cx.http(Method::GET, &cx.cas_path(&blob), &[("range", header)], &[]).await;
        let response = http_status(answer, &[200, 416], &what)?;
        if response.status().as_u16() == 200 {
            expect::bytes(response.body(), &blob.data, &what)?;
        }
    }
    Ok(())
}

async fn accept_zstd(cx: &Cx) -> Outcome {
    let blob = cx.text(20_000);
    let path = cx.cas_path(&blob);
    http_status(cx.http_put(&path, &blob.data).await, &[200, 201, 204], "a PUT")?;
    let what = "GET with accept-encoding zstd";
    let answer = cx.http(Method::GET, &path, &[("accept-encoding", "zstd")], &[]).await;
    let response = http_status(answer, &[200], what)?;
    match response.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().to_vec()) {
        None => expect::bytes(response.body(), &blob.data, what),
        Some(encoding) => {
            expect::equal(encoding, b"zstd".to_vec(), format!("content-encoding of {what}"))?;
            expect::bytes(&unzstd(response.body(), 20_000, what)?, &blob.data, what)
        }
    }
}

async fn identity_only(cx: &Cx) -> Outcome {
    let blob = cx.text(20_000);
    let path = cx.cas_path(&blob);
    http_status(cx.http_put(&path, &blob.data).await, &[200, 201, 204], "a PUT")?;
    for accepted in ["identity", "zstd;q=0, identity"] {
        let what = format!("GET with accept-encoding {accepted}");
        let answer = cx.http(Method::GET, &path, &[("accept-encoding", accepted)], &[]).await;
        expect::bytes(http_status(answer, &[200], &what)?.body(), &blob.data, &what)?;
    }
    Ok(())
}

async fn put_zstd(cx: &Cx) -> Outcome {
    let blob = cx.text(20_000);
    let path = cx.cas_path(&blob);
    let what = "PUT with content-encoding zstd";
    let headers = [("content-encoding", "zstd")];
    let answer = cx.http(Method::PUT, &path, &headers, &zstd(&blob.data)).await;
    let response = http_status(answer, &[200, 201, 204, 400, 415, 422, 500, 501], what)?;
    if response.status().is_success() {
        return cx.expect_http_readable(&blob, &format!("GET after {what}")).await;
    }
    http_status(cx.http_get(&path).await, &[404], "GET after a refused PUT").map(drop)
}

async fn put_unknown_encoding(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let headers = [("content-encoding", "nonesuch")];
    let answer = cx.http(Method::PUT, &cx.cas_path(&blob), &headers, &blob.data).await;
    http_status(answer, &[400, 415, 422, 501], "PUT with content-encoding nonesuch").map(drop)
}

/// A result with a stored output, and its bytes; the path of a fresh action.
async fn result(cx: &Cx) -> Result<(String, Vec<u8>, Blob), crate::conformance::outcome::Halt> {
    let output = http_stored(cx, 100).await?;
    let result = result_of(vec![output_file("out", &output)]);
    let action = cx.blob(50);
    Ok((cx.http_path("ac", &action.hash), result.encode_to_vec(), action))
}

/// The body is a result with the one output called `out`.
fn expect_result(body: &[u8], what: &str) -> Outcome {
    let result = reapi::ActionResult::decode(body).unwrap_or_default();
    let paths: Vec<_> = result.output_files.iter().map(|file| file.path.as_str()).collect();
    expect::equal(paths, vec!["out"], format!("the outputs of {what}"))
}

async fn ac_put_get(cx: &Cx) -> Outcome {
    let (path, body, _) = result(cx).await?;
    http_status(cx.http_put(&path, &body).await, &[200, 201, 204], "PUT of an action result")?;
    let what = "GET of an action result";
    let response = http_status(cx.http_get(&path).await, &[200], what)?;
    expect_result(response.body(), what)
}

async fn ac_absent(cx: &Cx) -> Outcome {
    let path = cx.http_path("ac", &cx.blob(100).hash);
    http_status(cx.http_get(&path).await, &[404], "GET of an action never stored").map(drop)
}

async fn ac_overwritten(cx: &Cx) -> Outcome {
    let (path, first, _) = result(cx).await?;
    let output = http_stored(cx, 200).await?;
    let second = result_of(vec![output_file("second", &output)]).encode_to_vec();
    for body in [first, second] {
        http_status(cx.http_put(&path, &body).await, &[200, 201, 204], "PUT of a result")?;
    }
    let response = http_status(cx.http_get(&path).await, &[200], "GET of the result")?;
    let found = reapi::ActionResult::decode(response.body().as_ref()).unwrap_or_default();
    let paths: Vec<_> = found.output_files.iter().map(|file| file.path.as_str()).collect();
    expect::equal(paths, vec!["second"], "the outputs of the latest result")
}

async fn ac_incomplete(cx: &Cx) -> Outcome {
    let body = result_of(vec![output_file("out", &cx.blob(100))]).encode_to_vec();
    let path = cx.http_path("ac", &cx.blob(50).hash);
    let put = cx.http_put(&path, &body).await;
    if put.as_ref().is_ok_and(|response| response.status().is_client_error()) {
        return Ok(());
    }
    http_status(put, &[200, 201, 204], "PUT of a result whose output is absent")?;
    let what = "GET of a result whose output is absent";
    http_status(cx.http_get(&path).await, &[404], what).map(drop)
}

async fn shared_blobs(cx: &Cx) -> Outcome {
    let over_http = http_stored(cx, 1_000).await?;
    cx.expect_readable(&over_http, "ByteStream.Read of what HTTP stored").await?;
    let over_grpc = cx.stored(1_000).await?;
    cx.expect_http_readable(&over_grpc, "GET of what ByteStream stored").await
}

async fn shared_results(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let action = cx.cached(result_of(vec![output_file("out", &output)])).await?;
    let what = "GET of a result that gRPC stored";
    let path = cx.http_path("ac", &action.hash);
    expect_result(http_status(cx.http_get(&path).await, &[200], what)?.body(), what)?;
    let (path, body, action) = result(cx).await?;
    http_status(cx.http_put(&path, &body).await, &[200, 201, 204], "PUT of a result")?;
    let found = cx.expect_hit(&action, "a result that HTTP stored").await?;
    expect::equal(found.output_files.len(), 1, "the number of its outputs")
}

async fn shared_zstd(cx: &Cx) -> Outcome {
    let blob = cx.text(20_000);
    expect::ok(cx.write_zstd(&blob, &zstd(&blob.data)).await, "a zstd upload")?;
    cx.expect_http_readable(&blob, "GET of what was uploaded as zstd").await
}

async fn expect_continue(cx: &Cx) -> Outcome {
    let blob = cx.blob(1_000);
    let headers = [("expect", "100-continue")];
    let answer = cx.http(Method::PUT, &cx.cas_path(&blob), &headers, &blob.data).await;
    http_status(answer, &[200, 201, 204], "PUT with expect: 100-continue")?;
    cx.expect_http_readable(&blob, "GET after it").await
}
