//! `GetTree`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_protos::Digest;
use larder_protos::reapi::{Directory, DirectoryNode, GetTreeRequest};
use larder_testkit::TestServer;
use prost::Message;
use tonic::{Code, Status};

use crate::client::{assert_refused, digest, store};

async fn store_directory(server: &TestServer, children: Vec<Option<Digest>>) -> Digest {
    store(server, &directory(&children).encode_to_vec().into()).await
}

fn directory(children: &[Option<Digest>]) -> Directory {
    let node = |(number, child): (usize, &Option<Digest>)| DirectoryNode {
        name: format!("child {number}"),
        digest: child.map(|child| child.to_proto()),
    };
    let directories = children.iter().enumerate().map(node).collect();
    Directory { directories, ..Directory::default() }
}

/// The pages: digests of the directories, and the token that follows.
async fn get(
    server: &TestServer,
    root: Digest,
    page_size: i32,
    page_token: &str,
) -> Result<Vec<(Vec<Digest>, String)>, Status> {
    let request = GetTreeRequest {
        root_digest: Some(root.to_proto()),
        page_size,
        page_token: page_token.to_owned(),
        ..GetTreeRequest::default()
    };
    let mut messages = server.storage().get_tree(request).await?.into_inner();
    let mut pages = Vec::new();
    while let Some(page) = messages.message().await? {
        let digests = page.directories.iter().map(|bytes: &Bytes| digest(bytes)).collect();
        pages.push((digests, page.next_page_token));
    }
    Ok(pages)
}

#[tokio::test]
async fn pages_hold_each_directory_once_and_resume() {
    let server = TestServer::start().await;
    let leaf = store_directory(&server, vec![]).await;
    let left = store_directory(&server, vec![Some(leaf)]).await;
    let right = store_directory(&server, vec![Some(leaf), Some(left)]).await;
    let root = store_directory(&server, vec![Some(left), Some(right)]).await;
    let all = vec![root, left, right, leaf];
    let whole = get(&server, root, 0, "").await.expect("a tree");
    assert_eq!(whole, [(all.clone(), String::new())]);
    let paged = get(&server, root, 3, "").await.expect("a tree");
    assert_eq!(paged.len(), 2);
    assert_eq!(paged[0].0, all[..3]);
    assert_eq!(paged[1], (all[3..].to_vec(), String::new()));
    let resumed = get(&server, root, 0, &paged[0].1).await.expect("the rest");
    assert_eq!(resumed, [(all[3..].to_vec(), String::new())]);
    server.stop().await;
}

#[tokio::test]
async fn absent_children_and_nodes_without_digest_are_left_out() {
    let server = TestServer::start().await;
    let leaf = store_directory(&server, vec![]).await;
    let absent = digest(b"absent");
    let root = store_directory(&server, vec![None, Some(absent), Some(leaf)]).await;
    let whole = get(&server, root, 0, "").await.expect("a tree");
    assert_eq!(whole, [(vec![root, leaf], String::new())]);
    assert_refused(get(&server, absent, 0, "").await, Code::NotFound, "is absent");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_directory_is_refused_as_a_root_and_left_out_as_a_child() {
    let server = TestServer::start().await;
    let junk = store(&server, &Bytes::from_static(b"\x0a\xffjunk")).await;
    let empty_files = store(&server, &b"\x0a\x00".repeat(1 << 17).into()).await;
    let large = store(&server, &vec![0; 5 << 20].into()).await;
    for (root, expect) in [
        (junk, "the bytes are no encoded Directory"),
        (empty_files, "Directory of 262144 B has more than 24576 elements in its lists"),
        (large, "over the limit of 4128768 B a directory"),
    ] {
        assert_refused(get(&server, root, 0, "").await, Code::InvalidArgument, expect);
    }
    let leaf = store_directory(&server, vec![]).await;
    let children = vec![Some(junk), Some(empty_files), Some(large), Some(leaf)];
    let root = store_directory(&server, children).await;
    let whole = get(&server, root, 0, "").await.expect("a tree");
    assert_eq!(whole, [(vec![root, leaf], String::new())]);
    server.stop().await;
}

#[tokio::test]
async fn shared_subtrees_do_not_explode() {
    let server = TestServer::start().await;
    let mut root = store_directory(&server, vec![]).await;
    for _ in 0..24 {
        root = store_directory(&server, vec![Some(root), Some(root)]).await;
    }
    let begun = Instant::now();
    let whole = get(&server, root, 0, "").await.expect("2^24 paths, 25 directories");
    let took = begun.elapsed();
    assert_eq!(whole[0].0.len(), 25);
    assert!(took < Duration::from_secs(1), "{took:?}");
    server.stop().await;
}

#[tokio::test]
async fn bad_pages_are_refused() {
    let server = TestServer::start().await;
    let root = store_directory(&server, vec![]).await;
    let bad_token = get(&server, root, 0, "never given").await;
    assert_refused(bad_token, Code::InvalidArgument, "\"never given\" is none of this server's");
    let far_token = get(&server, root, 0, "7").await;
    assert_refused(far_token, Code::InvalidArgument, "no 7 directories to skip");
    let negative = get(&server, root, -1, "").await;
    assert_refused(negative, Code::InvalidArgument, "page_size -1 is negative");
    server.stop().await;
}

#[tokio::test]
async fn directories_come_as_they_were_stored() {
    let server = TestServer::start().await;
    // With a field that this version of the message does not know.
    let extended = [&directory(&[]).encode_to_vec()[..], &[0xC0, 0x3E, 0x01]].concat();
    let root = store(&server, &extended.into()).await;
    let whole = get(&server, root, 0, "").await.expect("a tree");
    assert_eq!(whole[0].0, [root], "its bytes still have its digest");
    server.stop().await;
}
