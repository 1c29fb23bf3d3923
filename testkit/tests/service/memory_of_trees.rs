//! Trees read for completeness, and the walk of `GetTree`, are within the budget of bytes in flight.

use larder_protos::reapi::{
    ActionResult, Digest as ProtoDigest, Directory, DirectoryNode, FileNode,
    GetActionResultRequest, GetTreeRequest, OutputDirectory, Tree, UpdateActionResultRequest,
};
use larder_protos::{Digest, DigestFunction};
use larder_testkit::TestServer;
use prost::Message;
use tonic::Code;

use crate::client::{digest, metric, store, until};
use crate::memory::{assert_come_again, fill, small_server};

const LIMIT_BYTES: u64 = 16 << 20;

/// Stores an action result with a tree of so many files, which are all empty.
async fn store_tree_result(server: &TestServer, files: usize) -> ProtoDigest {
    let file = |number| FileNode {
        name: format!("{number:07}"),
        digest: Some(digest(b"").to_proto()),
        ..FileNode::default()
    };
    let root = Directory { files: (0..files).map(file).collect(), ..Directory::default() };
    let tree = Tree { root: Some(root), children: vec![] }.encode_to_vec();
    let tree_digest = Some(store(server, &tree.into()).await.to_proto());
    let directory = OutputDirectory { tree_digest, ..OutputDirectory::default() };
    let result = ActionResult { output_directories: vec![directory], ..ActionResult::default() };
    let action = digest(&result.encode_to_vec()).to_proto();
    let request = UpdateActionResultRequest {
        action_digest: Some(action.clone()),
        action_result: Some(result),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.expect("stored");
    action
}

fn get(action: &ProtoDigest) -> GetActionResultRequest {
    let action_digest = Some(action.clone());
    GetActionResultRequest { action_digest, ..GetActionResultRequest::default() }
}

#[tokio::test]
async fn a_result_whose_tree_is_read_waits_for_memory() {
    let server = small_server().await;
    // Some 700 kB, of which reading takes several times as much.
    let action = store_tree_result(&server, 8_000).await;
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    let stalled = fill(&server).await;
    let mut client = server.actions();
    let answer = client.get_action_result(get(&action));
    let relieved = async {
        until(&server, "larder_in_flight_waiting", |waiting| waiting == 1).await;
        drop(stalled);
    };
    let (answer, ()) = tokio::join!(answer, relieved);
    assert_eq!(answer.expect("complete").into_inner().output_directories.len(), 1);
    assert_eq!(metric(&server, r#"larder_hot_entries{kind="tree"}"#).await, 1);
    // What is remembered takes nothing, so nothing is waited for.
    let stalled = fill(&server).await;
    server.actions().get_action_result(get(&action)).await.expect("complete");
    drop(stalled);
    server.stop().await;
}

#[tokio::test]
async fn who_holds_memory_and_reads_a_tree_is_told_to_come_again() {
    let server = small_server().await;
    let action = store_tree_result(&server, 8_000).await;
    let stalled = fill(&server).await;
    // The request itself is large enough to be counted, so it does not wait for what the tree takes.
    let inline_output_files = vec!["x".repeat(40_000)];
    let request = GetActionResultRequest { inline_output_files, ..get(&action) };
    let refused = server.actions().get_action_result(request.clone()).await;
    assert_come_again(&refused.expect_err("no memory"));
    drop(stalled);
    until(&server, "larder_in_flight_bytes", |bytes| bytes < LIMIT_BYTES / 4).await;
    server.actions().get_action_result(request).await.expect("complete");
    server.stop().await;
}

#[tokio::test]
async fn a_walk_that_sees_more_directories_takes_more_memory() {
    let server = small_server().await;
    // Absent, all of them, which costs the walk no less.
    let child = |number: u32| DirectoryNode {
        name: format!("{number}"),
        digest: Some(Digest::of(DigestFunction::Sha256, &number.to_le_bytes()).to_proto()),
    };
    let sizes = [100, 30_000];
    let mut seen = Vec::new();
    for children in sizes {
        let directories = (0..children).map(child).collect();
        let root = Directory { directories, ..Directory::default() }.encode_to_vec();
        let root_digest = Some(store(&server, &root.into()).await.to_proto());
        until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
        let request = GetTreeRequest { root_digest, ..GetTreeRequest::default() };
        let answer = server.storage().get_tree(request).await;
        seen.push(answer.map(drop).map_err(|status| (status.code(), status)));
    }
    assert!(seen[0].is_ok(), "{seen:?}");
    let (code, status) = seen[1].as_ref().expect_err("more than there is");
    assert_eq!(*code, Code::ResourceExhausted, "{status:?}");
    assert_come_again(status);
    until(&server, "larder_in_flight_bytes", |bytes| bytes == 0).await;
    server.stop().await;
}
