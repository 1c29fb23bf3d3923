//! `hostile.names`: paths that lead elsewhere, names without end, and more names than anybody has.

use bazel_remote_apis::google::bytestream::ReadRequest;
use futures_util::{StreamExt, stream};
use tonic::Code;

use super::unharmed;
use super::wire::Wire;
use crate::conformance::announced::Need;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, violated};

pub(crate) const CASES: &[Case] = cases! {
    /// A resource name that climbs out of its place is refused.
    "hostile.names.climbing", Must, "ContentAddressableStorage, ReadRequest.resource_name", only(Hostile) => climbing;
    /// A path that climbs out of its place is refused.
    "hostile.names.climbing-over-http", Must, "RFC 3986, 5.2.4", needs[Need::Http], only(Hostile) => climbing_over_http;
    /// A resource name of 1 MiB is refused.
    "hostile.names.long", Must, "ContentAddressableStorage, ReadRequest.resource_name", only(Hostile) => long;
    /// A digest whose hash is no hash is refused, wherever it may lead.
    "hostile.names.hashes", Must, "Digest.hash", only(Hostile) => hashes;
    /// 10,000 instance names that nobody has harm nobody.
    "hostile.names.instances", Must, "FindMissingBlobsRequest.instance_name", only(Hostile) => instances;
};

const ELSEWHERE: [&str; 6] = [
    "../../../../etc/passwd",
    "blobs/../../etc/passwd/7",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "blobs/\u{0}/7",
    "blobs/%2e%2e/7",
];

async fn climbing(cx: &Cx) -> Outcome {
    for name in ELSEWHERE {
        let request = ReadRequest { resource_name: name.to_owned(), ..Default::default() };
        let answer = match cx.byte_stream().read(request).await {
            Ok(stream) => stream
                .into_inner()
                .message()
                .await
                .map(|first| first.map_or_else(Vec::new, |message| message.data)),
            Err(status) => Err(status),
        };
        expect::refused(&answer, format!("the resource name {name:?}"))?;
    }
    unharmed(cx, "after resource names that climb").await
}

async fn climbing_over_http(cx: &Cx) -> Outcome {
    let Some((target, prefix)) = cx.server.http.as_ref() else { return violated("no HTTP") };
    let hash = cx.blob(7).hash;
    let paths = [
        "/cas/../../../../etc/passwd".to_owned(),
        "/cas/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/cas/..%2f..%2fetc%2fpasswd".to_owned(),
        "/cas//etc/passwd".to_owned(),
        format!("/cas/{hash}%00.txt"),
        format!("/cas/{hash}/../../etc/passwd"),
        format!("/cas/{}", "%".repeat(64)),
    ];
    for path in paths {
        for method in ["GET", "PUT", "DELETE"] {
            let mut wire = Wire::connect(target).await?;
            let head = format!("{method} {prefix}{path} HTTP/1.1\r\nHost: localhost\r\n");
            let request = format!("{head}Connection: close\r\nContent-Length: 0\r\n\r\n");
            wire.send(request.as_bytes()).await;
            let answer = wire.answer().await;
            let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or("").to_owned();
            expect::that(line.starts_with("HTTP/1.1 4") || line.is_empty(), || {
                format!("expected a refusal of {method} {path}, got {line:?}")
            })?;
        }
    }
    unharmed(cx, "after paths that climb").await
}

async fn long(cx: &Cx) -> Outcome {
    for name in
        ["x".repeat(1 << 20), "a/".repeat(1 << 19), format!("blobs/{}/7", "0".repeat(1 << 20))]
    {
        let answer = cx.read(&name).await;
        expect::refused(&answer, format!("a resource name of {} B", name.len()))?;
    }
    unharmed(cx, "after resource names of 1 MiB").await
}

async fn hashes(cx: &Cx) -> Outcome {
    let digits = cx.blob(7).hash.len();
    let hashes = [
        "../".repeat(digits / 3 + 1).get(..digits).unwrap_or_default().to_owned(),
        "/".repeat(digits),
        "\u{0}".repeat(digits),
        "G".repeat(digits),
        "é".repeat(digits / 2),
        "0".repeat(1 << 16),
    ];
    for hash in hashes {
        let mut digest = cx.blob(7).digest();
        digest.hash.clone_from(&hash);
        let shown: String = hash.chars().take(20).collect();
        let answer = cx.find_missing(&[digest]).await;
        expect::code(&answer, Code::InvalidArgument, format!("the hash {shown:?}…"))?;
    }
    unharmed(cx, "after hashes that are none").await
}

async fn instances(cx: &Cx) -> Outcome {
    let digest = cx.blob(7).digest();
    let calls = (0..10_000).map(|number| {
        let cx = cx.at_instance(&format!("nobody/{number}"));
        let digest = digest.clone();
        async move { drop(cx.find_missing(&[digest]).await) }
    });
    stream::iter(calls).buffer_unordered(50).collect::<Vec<()>>().await;
    unharmed(cx, "after 10,000 instance names").await
}
