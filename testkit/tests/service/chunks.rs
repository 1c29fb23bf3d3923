//! `SplitBlob` and `SpliceBlob`: the lists, the codes, and chunked blobs wherever blobs are asked for.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use larder_protos::Digest;
use larder_protos::reapi::chunking_function::Value;
use larder_protos::reapi::{
    ActionResult, Directory, DirectoryNode, FileNode, FindMissingBlobsRequest,
    GetActionResultRequest, GetCapabilitiesRequest, GetTreeRequest, OutputDirectory, OutputFile,
    SpliceBlobRequest, SplitBlobRequest, Tree, UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use prost::Message;
use tonic::{Code, Status};

use crate::client::{assert_refused, chunked, digest, read, read_range, store, upload_name, write};

/// Bytes that zstd cannot shrink.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

pub(crate) async fn split(
    server: &TestServer,
    blob: Digest,
    chunking_function: i32,
) -> Result<(Vec<Digest>, i32), Status> {
    let blob_digest = Some(blob.to_proto());
    let request = SplitBlobRequest { blob_digest, chunking_function, ..Default::default() };
    let answer = server.storage().split_blob(request).await?.into_inner();
    let parse = |chunk| Digest::from_proto(chunk, blob.function()).expect("a good digest");
    Ok((answer.chunk_digests.iter().map(parse).collect(), answer.chunking_function))
}

async fn splice(server: &TestServer, blob: Digest, chunks: &[Digest]) -> Result<Digest, Status> {
    let request = SpliceBlobRequest {
        blob_digest: Some(blob.to_proto()),
        chunk_digests: chunks.iter().map(Digest::to_proto).collect(),
        chunking_function: Value::FastCdc2020.into(),
        ..SpliceBlobRequest::default()
    };
    let answer = server.storage().splice_blob(request).await?.into_inner();
    let named = answer.blob_digest.expect("the protocol wants it");
    Ok(Digest::from_proto(&named, blob.function()).expect("a good digest"))
}

pub(crate) async fn is_missing(server: &TestServer, blob: Digest) -> bool {
    let blob_digests = vec![blob.to_proto()];
    let request = FindMissingBlobsRequest { blob_digests, ..Default::default() };
    let answer = server.storage().find_missing_blobs(request).await.expect("an answer");
    !answer.into_inner().missing_blob_digests.is_empty()
}

#[tokio::test]
async fn the_functions_are_announced() {
    let server = TestServer::start().await;
    let request = GetCapabilitiesRequest::default();
    let answer = server.capabilities().get_capabilities(request).await.expect("an answer");
    let cache = answer.into_inner().cache_capabilities.expect("a cache");
    assert!(cache.split_blob_support && cache.splice_blob_support);
    let fast = cache.fast_cdc_2020_params.expect("announced");
    assert_eq!((fast.avg_chunk_size_bytes, fast.seed), (512 << 10, 0));
    let rep_max = cache.rep_max_cdc_params.expect("announced");
    assert_eq!((rep_max.min_chunk_size_bytes, rep_max.horizon_size_bytes), (256 << 10, 2 << 20));
    server.stop().await;
}

#[tokio::test]
async fn a_split_blob_is_read_in_every_way() {
    let server = TestServer::start().await;
    let blob = noise(1, 6 << 20);
    let name = store(&server, &blob).await;
    for function in [Value::Unknown, Value::FastCdc2020, Value::RepMaxCdc] {
        let (chunks, used) = split(&server, name, function.into()).await.expect("present");
        let expect = if function == Value::Unknown { Value::FastCdc2020 } else { function };
        assert_eq!(used, i32::from(expect));
        let mut joined = Vec::new();
        for chunk in &chunks {
            joined.extend(read(&server, *chunk).await.expect("each chunk is a blob"));
        }
        assert!(chunks.len() > 2 && joined == blob, "{} chunks", chunks.len());
        assert!(!is_missing(&server, name).await);
        assert!(read(&server, name).await.expect("present") == blob);
        let part = read_range(&server, &format!("blobs/{name}"), 3_000_000, 1_000_000).await;
        assert!(part.expect("present") == blob[3_000_000..4_000_000]);
        let zstd = read_range(&server, &format!("compressed-blobs/zstd/{name}"), 0, 0).await;
        let decoded = zstd::decode_all(&zstd.expect("present")[..]).expect("one zstd stream");
        assert!(decoded == blob);
        let get = |method| {
            let uri = format!("/cas/{}", name.hash());
            Request::builder().method(method).uri(uri).body(Bytes::new()).expect("a request")
        };
        assert_eq!(server.http(get(Method::HEAD)).await.status(), StatusCode::OK);
        assert!(server.http(get(Method::GET)).await.into_body() == blob);
        // Already present: the upload is answered at once.
        let messages = chunked(&upload_name("blobs", name), &blob, 1 << 20);
        assert_eq!(write(&server, messages).await.expect("present"), 6 << 20);
    }
    let page = server.admin("/metrics").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    assert!(page.contains("ContentAddressableStorage/SplitBlob"), "{page}");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_split_is_refused() {
    let server = TestServer::start().await;
    let absent = split(&server, digest(b"absent"), 0).await;
    assert_refused(absent, Code::NotFound, "is absent");
    let small = store(&server, &noise(2, 100_000)).await;
    let unknown = split(&server, small, 7).await;
    assert_refused(unknown, Code::InvalidArgument, "chunking function 7 is not served here");
    let alone = split(&server, small, Value::RepMaxCdc.into()).await.expect("present");
    assert_eq!(alone, (vec![small], Value::RepMaxCdc.into()));
    let nothing = server.storage().split_blob(SplitBlobRequest::default()).await;
    assert_refused(nothing, Code::InvalidArgument, "no blob_digest");
    let bad = SplitBlobRequest { instance_name: "a/blobs/b".to_owned(), ..Default::default() };
    let bad = server.storage().split_blob(bad).await;
    assert_refused(bad, Code::InvalidArgument, "blobs");
    server.stop().await;
}

#[tokio::test]
async fn splicing_verifies_and_says_what_is_wrong() {
    let server = TestServer::start_with(&[("max_blob_size", "4MiB")]).await;
    let parts = [noise(3, 700_000), noise(4, 30), noise(5, 900_000)];
    let blob = Bytes::from(parts.concat());
    let names = [digest(&parts[0]), digest(&parts[1]), digest(&parts[2])];
    let name = digest(&blob);
    store(&server, &parts[0]).await;
    store(&server, &parts[1]).await;
    let absent = splice(&server, name, &names).await;
    assert_refused(absent, Code::NotFound, &format!("chunk {}", names[2]));
    store(&server, &parts[2]).await;
    let turned = [names[2], names[1], names[0]];
    assert_refused(splice(&server, name, &turned).await, Code::InvalidArgument, "have the digest");
    let short = splice(&server, name, &names[..2]).await;
    assert_refused(short, Code::InvalidArgument, "ended after 700030 B");
    let large = Digest::new(*name.hash(), 5 << 20);
    assert_refused(splice(&server, large, &names).await, Code::InvalidArgument, "limit of 4194304");
    assert!(is_missing(&server, name).await);
    for _ in 0..2 {
        assert_eq!(splice(&server, name, &names).await.expect("spliced"), name);
        assert!(read(&server, name).await.expect("present") == blob);
    }
    let (chunks, function) = split(&server, name, 0).await.expect("present");
    assert_eq!((&chunks[..], function), (&names[..], Value::Unknown.into()));
    // Present already: whatever is said of its chunks.
    assert_eq!(splice(&server, name, &turned).await.expect("present"), name);
    server.stop().await;
}

#[tokio::test]
async fn a_hundred_thousand_chunks_are_spliced() {
    let server = TestServer::start().await;
    let parts: Vec<_> = (0..50).map(|seed| noise(100 + seed, 20)).collect();
    for part in &parts {
        store(&server, part).await;
    }
    let blob = Bytes::from(parts.concat().repeat(2_000));
    let names: Vec<_> = parts.iter().map(|part| digest(part)).collect();
    let chunks = names.repeat(2_000);
    let name = splice(&server, digest(&blob), &chunks).await.expect("spliced");
    let (listed, _) = split(&server, name, 0).await.expect("present");
    assert!(listed == chunks, "{} chunks", listed.len());
    assert!(!is_missing(&server, name).await);
    server.stop().await;
}

async fn is_hit(server: &TestServer) -> bool {
    let action_digest = Some(digest(b"action").to_proto());
    let request = GetActionResultRequest { action_digest, ..Default::default() };
    match server.actions().get_action_result(request).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            false
        }
    }
}

#[tokio::test]
async fn results_and_trees_may_name_chunked_blobs() {
    let server = TestServer::start().await;
    let output = noise(6, 3 << 20);
    let output = store(&server, &output).await;
    split(&server, output, Value::FastCdc2020.into()).await.expect("present");
    let node =
        |name: String| FileNode { name, digest: Some(output.to_proto()), ..Default::default() };
    let files = (0..100).map(|number| node(format!("file {number}"))).collect();
    let root = Directory { files, ..Directory::default() };
    let tree = Tree { root: Some(root.clone()), children: vec![] }.encode_to_vec();
    let leaf = root.encode_to_vec();
    // Both messages come as two chunks each.
    for message in [&tree, &leaf] {
        let (first, second) = message.split_at(message.len() / 2);
        let (first, second) = (Bytes::copy_from_slice(first), Bytes::copy_from_slice(second));
        let parts = [store(&server, &first).await, store(&server, &second).await];
        splice(&server, digest(message), &parts).await.expect("spliced");
    }
    let directory = OutputDirectory {
        path: "tree".to_owned(),
        tree_digest: Some(digest(&tree).to_proto()),
        ..OutputDirectory::default()
    };
    let file = OutputFile {
        path: "out".to_owned(),
        digest: Some(output.to_proto()),
        ..OutputFile::default()
    };
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        action_result: Some(ActionResult {
            output_files: vec![file],
            output_directories: vec![directory],
            ..ActionResult::default()
        }),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.expect("accepted");
    assert!(is_hit(&server).await);
    let child = DirectoryNode { name: "leaf".to_owned(), digest: Some(digest(&leaf).to_proto()) };
    let top = Directory { directories: vec![child], ..Directory::default() }.encode_to_vec();
    let top = store(&server, &top.into()).await;
    let request = GetTreeRequest { root_digest: Some(top.to_proto()), ..Default::default() };
    let mut pages = server.storage().get_tree(request).await.expect("a tree").into_inner();
    let page = pages.message().await.expect("a page").expect("one");
    assert_eq!(page.directories.last(), Some(&Bytes::from(leaf)));
    server.stop().await;
}
