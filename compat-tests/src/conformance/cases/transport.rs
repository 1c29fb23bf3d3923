//! `transport` and `metadata`: what holds for calls of every kind.

use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use futures_util::future::join_all;
use prost::Message;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::conformance::announced::Need;
use crate::conformance::calls::{messages, output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, violated};

pub(crate) const TRANSPORT: &[Case] = cases! {
    /// 500 calls at once over one connection are all answered.
    "transport.concurrent-calls", Client[Bazel, Buck2, GoSdk], "gRPC over HTTP/2, streams" => concurrent_calls;
    /// 50 connections at once are all served.
    "transport.connections", Client[Bazel], "Bazel, --remote_max_connections" => connections;
    /// A method that nobody has is UNIMPLEMENTED.
    "transport.unknown-method", Must, "gRPC, status codes" => unimplemented("/build.bazel.remote.execution.v2.ContentAddressableStorage/NoSuchMethod");
    /// A service that nobody has is UNIMPLEMENTED.
    "transport.unknown-service", Must, "gRPC, status codes" => unimplemented("/no.such.Service/Method");
    /// Fields that the server does not know are ignored: so clients may be newer than servers.
    "transport.unknown-fields", Must, "Protocol Buffers, unknown fields" => unknown_fields;
    /// A message that does not decode is an error, and the connection lives on.
    "transport.garbage-message", Must, "gRPC, status codes" => garbage_message;
    /// An empty message is answered: every field of proto3 may be left out.
    "transport.empty-message", Must, "Protocol Buffers, default values" => empty_message;
    /// Header lists of 6 KiB, as long tokens make them, are taken.
    "transport.large-headers", Should, "gRPC, 8 KiB of metadata by default" => large_headers;
    /// A deadline that is met changes nothing.
    "transport.deadline", Must, "gRPC, grpc-timeout" => deadline;
    /// Headers that the server does not know are ignored.
    "transport.unknown-headers", Must, "gRPC, custom metadata" => unknown_headers;
    /// An upload that breaks off harms no other call of its connection.
    "transport.broken-off", Must, "HTTP/2, streams" => broken_off;
    /// A small window of flow control makes downloads slow, not wrong.
    "transport.small-window", Must, "HTTP/2, flow control" => small_window;
    /// Messages of 5 MiB are taken: results of many outputs are so large.
    "transport.large-message", Client[Bazel], "UpdateActionResult with many outputs", needs[Need::ActionCache, Need::Updates] => large_message;
    /// Keepalive pings every 10 s on a connection without calls do not end it.
    "transport.keepalive", Client[Bazel, Buck2, Cuenv], "gRPC keepalive", only(Slow) => keepalive;
};

pub(crate) const METADATA: &[Case] = cases! {
    /// A well-formed RequestMetadata is taken.
    "metadata.well-formed", Must, "RequestMetadata" => with_metadata(Kind::WellFormed);
    /// An empty RequestMetadata is taken.
    "metadata.empty", Must, "RequestMetadata" => with_metadata(Kind::Empty);
    /// RequestMetadata that does not decode is ignored: it is a hint.
    "metadata.garbage", Should, "RequestMetadata, \"The server may use this for logging or other purposes\"" => with_metadata(Kind::Garbage);
    /// Long values are taken.
    "metadata.long", Should, "RequestMetadata" => with_metadata(Kind::Long);
    /// Fields that the server does not know are ignored.
    "metadata.unknown-fields", Must, "Protocol Buffers, unknown fields" => with_metadata(Kind::UnknownFields);
    /// Text outside ASCII is taken.
    "metadata.unicode", Must, "RequestMetadata" => with_metadata(Kind::Unicode);
};

async fn concurrent_calls(cx: &Cx) -> Outcome {
    let blob = cx.stored(2_000).await?;
    let reads = join_all((0..250).map(|_| cx.expect_readable(&blob, "one of 500 calls at once")));
    let asked = join_all((0..250).map(|_| cx.expect_present(&blob, "a stored blob")));
    let (reads, asked) = tokio::join!(reads, asked);
    reads.into_iter().chain(asked).collect()
}

async fn connections(cx: &Cx) -> Outcome {
    let blob = cx.stored(2_000).await?;
    let each = |_| async {
        let endpoint = match cx.server.target.endpoint() {
            Ok(endpoint) => endpoint,
            Err(error) => return violated(format!("the kit could not connect: {error}")),
        };
        match endpoint.connect().await {
            Ok(channel) => {
                cx.over(channel).expect_readable(&blob, "a read on one of 50 connections").await
            }
            Err(error) => violated(format!("expected 50 connections, one was not made: {error}")),
        }
    };
    join_all((0..50).map(each)).await.into_iter().collect()
}

async fn unimplemented(cx: &Cx, method: &'static str) -> Outcome {
    let answer = cx.call_raw(method, Vec::new()).await;
    expect::code(&answer, Code::Unimplemented, format!("a call of {method}"))
}

const FIND_MISSING: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";

/// Field 1999, a string.
const UNKNOWN_FIELD: [u8; 8] = [0xfa, 0x7c, 5, b'h', b'e', b'l', b'l', b'o'];

async fn unknown_fields(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let request = reapi::FindMissingBlobsRequest {
        instance_name: cx.instance(),
        blob_digests: vec![blob.digest()],
        digest_function: blob.function.value(),
    };
    let message = [request.encode_to_vec(), UNKNOWN_FIELD.to_vec()].concat();
    let what = "FindMissingBlobs with an unknown field";
    let answer = expect::ok(cx.call_raw(FIND_MISSING, message).await, what)?;
    let answer = reapi::FindMissingBlobsResponse::decode(answer.as_slice()).unwrap_or_default();
    expect::equal(answer.missing_blob_digests, vec![blob.digest()], "what is missing")
}

async fn garbage_message(cx: &Cx) -> Outcome {
    let answer = cx.call_raw(FIND_MISSING, vec![0xff; 50]).await;
    expect::that(answer.is_err(), || {
        format!("expected an error for a message of garbage, got {}", expect::answer_text(&answer))
    })?;
    cx.expect_missing(&cx.blob(100), "a blob, asked for on the same connection").await
}

async fn empty_message(cx: &Cx) -> Outcome {
    let answer = cx.call_raw(FIND_MISSING, Vec::new()).await;
    if answer.is_err() && !cx.instance().is_empty() {
        return expect::refused(&answer, "FindMissingBlobs without an instance");
    }
    expect::ok(answer, "FindMissingBlobs of an empty message").map(drop)
}

async fn large_headers(cx: &Cx) -> Outcome {
    let token = "t".repeat(6 << 10);
    let cx = cx.with_header(|headers| {
        if let Ok(value) = token.parse() {
            headers.insert("x-token", value);
        }
    });
    cx.expect_missing(&cx.blob(100), "a blob, asked for with 6 KiB of headers").await
}

async fn deadline(cx: &Cx) -> Outcome {
    let cx = cx.with_header(|headers| {
        headers.insert("grpc-timeout", MetadataValue::from_static("20S"));
    });
    let blob = cx.stored(1_000).await?;
    cx.expect_readable(&blob, "a read with a deadline in 20 s").await
}

async fn unknown_headers(cx: &Cx) -> Outcome {
    let cx = cx.with_header(|headers| {
        headers.insert("x-nobody-knows", MetadataValue::from_static("this"));
        headers.insert_bin("x-nor-this-bin", MetadataValue::from_bytes(&[0, 255, 7]));
    });
    let blob = cx.stored(1_000).await?;
    cx.expect_readable(&blob, "a read with unknown headers").await
}

async fn broken_off(cx: &Cx) -> Outcome {
    let uploads = (0..20).map(|_| async {
        let blob = cx.blob(200_000);
        let mut upload = messages(&cx.write_name(&blob), &blob.data, 50_000);
        upload.pop();
        cx.write_broken_off(upload).await;
    });
    join_all(uploads).await;
    let blob = cx.stored(100_000).await?;
    cx.expect_readable(&blob, "a read after 20 uploads that broke off").await
}

async fn small_window(cx: &Cx) -> Outcome {
    let blob = cx.stored(3_000_000).await?;
    let endpoint = cx.server.target.endpoint().map(|endpoint| {
        endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535)
    });
    match endpoint {
        Ok(endpoint) => {
            let cx = cx.over(endpoint.connect_lazy());
            cx.expect_readable(&blob, "a read through a window of 64 KiB").await
        }
        Err(error) => violated(format!("the kit could not connect: {error}")),
    }
}

async fn large_message(cx: &Cx) -> Outcome {
    let output = cx.stored(100).await?;
    let long = "directory/".repeat(15);
    let files = (0..25_000).map(|index| output_file(&format!("{long}file-{index}"), &output));
    let result = result_of(files.collect());
    let size = result.encoded_len();
    let action = cx.stored_action().await?;
    let what = format!("UpdateActionResult of {size} B with 25000 outputs");
    expect::ok(cx.update_action(&action, result).await, &what)?;
    let found = cx.expect_hit(&action, "an action with 25000 outputs").await?;
    expect::equal(found.output_files.len(), 25_000, "the number of outputs")
}

async fn keepalive(cx: &Cx) -> Outcome {
    let endpoint = match cx.server.target.endpoint() {
        Ok(endpoint) => endpoint
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true),
        Err(error) => return violated(format!("the kit could not connect: {error}")),
    };
    let blob = cx.blob(200);
    let upload = messages(&cx.write_name(&blob), &blob.data, 100);
    let mut upload = upload.into_iter();
    let (first, last) = (upload.next(), upload.next());
    // An upload that pauses for 45 s holds the connection open, so that the pings are seen to be taken on it.
    let paused =
        futures_util::stream::unfold((first, last, false), |(first, last, paused)| async move {
            if let Some(first) = first {
                return Some((first, (None, last, false)));
            }
            if !paused {
                tokio::time::sleep(Duration::from_secs(45)).await;
            }
            last.map(|last| (last, (None, None, true)))
        });
    let answer = cx.over(endpoint.connect_lazy()).write_stream(paused).await;
    expect::ok(answer, "an upload that pauses for 45 s under pings every 10 s").map(drop)
}

/// How RequestMetadata is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    WellFormed,
    Empty,
    Garbage,
    Long,
    UnknownFields,
    Unicode,
}

impl Kind {
    fn bytes(self, cx: &Cx) -> Vec<u8> {
        let text = match self {
            Self::Empty => return Vec::new(),
            Self::Garbage => return vec![0xff; 40],
            Self::Long => "long".repeat(500),
            Self::Unicode => "größe ファイル".to_owned(),
            Self::WellFormed | Self::UnknownFields => "larder-conformance".to_owned(),
        };
        let metadata = reapi::RequestMetadata {
            tool_details: Some(reapi::ToolDetails {
                tool_name: text.clone(),
                tool_version: "1.0".to_owned(),
            }),
            action_id: cx.blob(10).hash,
            tool_invocation_id: cx.uuid(),
            correlated_invocations_id: cx.uuid(),
            action_mnemonic: text,
            target_id: "//package:target".to_owned(),
            configuration_id: "k8-fastbuild".to_owned(),
        };
        let mut bytes = metadata.encode_to_vec();
        if self == Self::UnknownFields {
            bytes.extend(UNKNOWN_FIELD);
        }
        bytes
    }
}

async fn with_metadata(cx: &Cx, kind: Kind) -> Outcome {
    let value = MetadataValue::from_bytes(&kind.bytes(cx));
    let cx = cx.with_header(|headers| {
        headers.insert_bin("build.bazel.remote.execution.v2.requestmetadata-bin", value);
    });
    let blob: Blob = cx.stored(100).await?;
    cx.expect_present(&blob, "a blob that was stored").await?;
    cx.expect_readable(&blob, "a read with RequestMetadata").await?;
    let answer = cx.get_action(&cx.blob(100)).await;
    let codes = [Code::NotFound, Code::Unimplemented];
    expect::one_of(&answer, &codes, "GetActionResult of an action never stored")
}
