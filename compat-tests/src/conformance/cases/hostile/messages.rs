//! `hostile.messages`: bytes that are no message, messages that decode to far more than they are, and lists without end.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use super::frames::{DATA, END_HEADERS, HEADERS, call, frame, preface};
use super::unharmed;
use super::wire::{Answers, Wire};
use crate::conformance::announced::Need;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::{Answer, Cx};
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

/// Refusals of what is too much.
const TOO_MUCH: [Code; 4] =
    [Code::ResourceExhausted, Code::InvalidArgument, Code::OutOfRange, Code::Unimplemented];

pub(crate) const CASES: &[Case] = cases! {
    /// A message that is no protobuf is an error, whatever the method.
    "hostile.messages.malformed", Must, "google.rpc.Code.INVALID_ARGUMENT", only(Hostile) => malformed(false);
    /// A message that is no protobuf is the caller's fault, whatever the method of the cache.
    "hostile.messages.malformed-code", Should, "google.rpc.Code.INVALID_ARGUMENT", only(Hostile) => malformed(true);
    /// Groups nested 100,000 deep harm nobody.
    "hostile.messages.nested", Must, "google.rpc.Code.INVALID_ARGUMENT", only(Hostile) => nested;
    /// A message whose prefix promises 4 GiB does not reserve them.
    "hostile.messages.promised-size", Must, "gRPC over HTTP/2, Length-Prefixed-Message", only(Hostile) => promised_size;
    /// 200,000 digests in FindMissingBlobs are answered or refused.
    "hostile.messages.find-missing", Must, "ContentAddressableStorage.FindMissingBlobs", only(Hostile) => find_missing;
    /// 200,000 digests in BatchReadBlobs are answered or refused.
    "hostile.messages.batch-read", Must, "BatchReadBlobsRequest.digests", only(Hostile) => batch_read;
    /// 200,000 blobs in BatchUpdateBlobs are answered or refused.
    "hostile.messages.batch-update", Must, "BatchUpdateBlobsRequest.requests", only(Hostile) => batch_update;
    /// 200,000 inlined files asked of GetActionResult are answered or refused.
    "hostile.messages.inline-files", Must, "GetActionResultRequest.inline_output_files", needs[Need::ActionCache], only(Hostile) => inline_files;
    /// An action result of 8 million empty outputs, 16 MB that decode to gigabytes, is answered or refused.
    "hostile.messages.empty-outputs", Must, "ActionCache.UpdateActionResult", needs[Need::Updates], only(Hostile) => empty_outputs;
    /// A directory that names itself 2^24 times over does not keep GetActionResult busy.
    "hostile.messages.tree-of-paths", Must, "OutputDirectory.root_directory_digest", needs[Need::Updates], only(Hostile) => tree_of_paths;
};

/// Methods that take one message, optional services included: one that is not there is refused too.
const METHODS: [&str; 17] = [
    "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
    "/build.bazel.remote.execution.v2.ActionCache/GetActionResult",
    "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob",
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob",
    "/google.bytestream.ByteStream/Read",
    "/google.bytestream.ByteStream/Write",
    "/google.bytestream.ByteStream/QueryWriteStatus",
    "/build.bazel.remote.asset.v1.Fetch/FetchBlob",
    "/build.bazel.remote.asset.v1.Fetch/FetchDirectory",
    "/build.bazel.remote.asset.v1.Push/PushBlob",
    "/build.bazel.remote.asset.v1.Push/PushDirectory",
    "/grpc.health.v1.Health/Check",
];

/// Bytes that no message begins with: a key without an end, a field 0, lengths beyond the end, a group that is not closed.
const NO_MESSAGES: [&[u8]; 5] = [
    &[0xFF; 16],
    &[0x00, 0x01],
    &[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
    &[0x12, 0x7F, 0x0A],
    &[0x0B],
];

async fn malformed(cx: &Cx, judges_code: bool) -> Outcome {
    for method in METHODS {
        for bytes in NO_MESSAGES {
            let answer = call_raw(cx, method, bytes.to_vec()).await;
            let what = format!("the bytes {bytes:02x?} as a message to {method}");
            if judges_code && !method.starts_with("/grpc.") {
                expect::refused(&answer, what)?;
            } else {
                expect::that(answer.is_err(), || format!("expected an error for {what}, got OK"))?;
            }
        }
    }
    unharmed(cx, "after malformed messages").await
}

async fn nested(cx: &Cx) -> Outcome {
    for method in METHODS {
        // Groups of field 1 and messages in field 2, each in the other.
        let deep = [vec![0x0B; 100_000], vec![0x0C; 100_000]].concat();
        let _any_answer = call_raw(cx, method, deep).await;
        let mut inner = Vec::new();
        for _ in 0..200 {
            let length = u16::try_from(inner.len()).unwrap_or(u16::MAX);
            let length = [0x80 | (length & 0x7F).to_le_bytes()[0], (length >> 7).to_le_bytes()[0]];
            inner = [&[0x12], &length[..], &inner].concat();
        }
        let _any_answer = call_raw(cx, method, inner).await;
    }
    unharmed(cx, "after deeply nested messages").await
}

async fn promised_size(cx: &Cx) -> Outcome {
    let mut held = Vec::new();
    for method in METHODS {
        let mut wire = Wire::connect(&cx.server.target).await?;
        let begun = frame(HEADERS, END_HEADERS, 1, &call(method, &[]));
        let promise = frame(DATA, 0, 1, &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0A]);
        wire.send(&[preface(&[]), begun, promise].concat()).await;
        held.push(wire);
    }
    unharmed(cx, "beside messages that promise 4 GiB").await?;
    let wire = Wire::connect(&cx.server.target).await?;
    wire.flood(&preface(&[]), 1, Answers::Read).await;
    Ok(())
}

fn digests(cx: &Cx, count: usize) -> Vec<reapi::Digest> {
    let digits = cx.blob(7).hash.len();
    let digest = |number| reapi::Digest { hash: format!("{number:0digits$x}"), size_bytes: 7 };
    (1..=count).map(digest).collect()
}

async fn find_missing(cx: &Cx) -> Outcome {
    let digests = digests(cx, 200_000);
    let answer = cx.find_missing(&digests).await;
    match &answer {
        Ok(missing) => {
            expect::equal(missing.len(), digests.len(), "200,000 digests that nobody stored")?;
        }
        Err(_) => expect::one_of(&answer, &TOO_MUCH, "200,000 digests in FindMissingBlobs")?,
    }
    unharmed(cx, "after 200,000 digests in FindMissingBlobs").await
}

async fn batch_read(cx: &Cx) -> Outcome {
    let answer = cx.batch_read(&digests(cx, 200_000), &[]).await;
    if answer.is_err() {
        expect::one_of(&answer, &TOO_MUCH, "200,000 digests in BatchReadBlobs")?;
    }
    unharmed(cx, "after 200,000 digests in BatchReadBlobs").await
}

async fn batch_update(cx: &Cx) -> Outcome {
    let empty = |digest| reapi::batch_update_blobs_request::Request {
        digest: Some(digest),
        ..Default::default()
    };
    let answer = cx.batch_update(digests(cx, 200_000).into_iter().map(empty).collect()).await;
    if let Ok(answer) = &answer {
        let stored = answer.responses.iter().filter(|one| {
            one.status.as_ref().is_none_or(|status| status.code == i32::from(Code::Ok))
        });
        expect::equal(stored.count(), 0, "blobs stored, of 200,000 whose bytes were missing")?;
    } else {
        expect::one_of(&answer, &TOO_MUCH, "200,000 blobs in BatchUpdateBlobs")?;
    }
    unharmed(cx, "after 200,000 blobs in BatchUpdateBlobs").await
}

async fn inline_files(cx: &Cx) -> Outcome {
    let action = cx.blob(100);
    let mut request = cx.action_request(&action);
    request.inline_output_files = (0..200_000).map(|number| format!("out/{number}")).collect();
    let answer = cx.get_action_as(request).await;
    let codes = [&[Code::NotFound][..], &TOO_MUCH].concat();
    expect::one_of(&answer, &codes, "200,000 inlined files of an action that nobody stored")?;
    unharmed(cx, "after 200,000 inlined files").await
}

async fn empty_outputs(cx: &Cx) -> Outcome {
    const OUTPUT_SYMLINKS: u8 = 0x62;
    let action = cx.blob(100);
    let named = prost::Message::encode_to_vec(&action.digest());
    let result = [OUTPUT_SYMLINKS, 0].repeat(8 << 20);
    let mut request = Vec::new();
    let fields = [(0x0A, cx.instance().into_bytes()), (0x12, named), (0x1A, result)];
    for (tag, bytes) in fields {
        request.push(tag);
        prost::encoding::encode_varint(bytes.len() as u64, &mut request);
        request.extend_from_slice(&bytes);
    }
    let path = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
    let answer = call_raw(cx, path, request).await;
    let codes = [&[Code::Ok][..], &TOO_MUCH].concat();
    expect::one_of(&answer, &codes, "an action result of 8 million empty outputs")?;
    unharmed(cx, "after an action result of 8 million empty outputs").await
}

async fn tree_of_paths(cx: &Cx) -> Outcome {
    let mut child = Blob::new(cx.function(), Vec::new());
    for _ in 0..24 {
        let node = |name: &str| reapi::DirectoryNode {
            name: name.to_owned(),
            digest: Some(child.digest()),
        };
        let directories = vec![node("a"), node("b")];
        let directory = reapi::Directory { directories, ..Default::default() };
        child = cx.blob_of(prost::Message::encode_to_vec(&directory));
        cx.store(&child).await?;
    }
    let directory = reapi::OutputDirectory {
        path: "out".to_owned(),
        root_directory_digest: Some(child.digest()),
        ..Default::default()
    };
    let result = reapi::ActionResult { output_directories: vec![directory], ..Default::default() };
    let action = cx.cached(result).await?;
    let answer = cx.get_action(&action).await;
    let codes = [&[Code::Ok, Code::NotFound][..], &TOO_MUCH].concat();
    expect::one_of(&answer, &codes, "an output directory of 2^24 paths")?;
    unharmed(cx, "after an output directory of 2^24 paths").await
}

/// Sends one message as it is. Answers are not decoded; of a stream the first message counts.
async fn call_raw(cx: &Cx, method: &'static str, message: Vec<u8>) -> Answer<Vec<u8>> {
    let mut client = Grpc::new(cx.connection());
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(format!("no connection: {error:?}")))?;
    let path = PathAndQuery::from_static(method);
    let answer = client.server_streaming(Request::new(message), path, RawCodec).await?;
    let first = answer.into_inner().message().await?;
    first.ok_or_else(|| Status::unknown("an answer without a message"))
}

/// Messages as bytes.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; input.remaining()];
        input.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
