//! Results and trees as large as they come.

use std::time::{Duration, Instant};

use larder_protos::Digest;
use larder_protos::hot::{BatchUpdateBlobsRequest, batch_update_blobs_request};
use larder_protos::reapi::{
    ActionResult, Directory, FileNode, GetActionResultRequest, OutputDirectory, OutputFile, Tree,
    UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use prost::Message;

use crate::client::{digest, store};

/// Stores so many small blobs.
async fn store_many(server: &TestServer, count: u32) -> Vec<Digest> {
    let mut names = Vec::new();
    for numbers in (0..count).collect::<Vec<_>>().chunks(10_000) {
        let blobs = numbers.iter().map(|number| number.to_le_bytes().to_vec());
        let requests: Vec<_> = blobs
            .map(|blob| {
                let name = digest(&blob);
                names.push(name);
                batch_update_blobs_request::Request {
                    digest: Some(name.to_proto()),
                    data: blob.into(),
                    compressor: 0,
                }
            })
            .collect();
        let request = BatchUpdateBlobsRequest { requests, ..BatchUpdateBlobsRequest::default() };
        server.storage().batch_update_blobs(request).await.expect("stored");
    }
    names
}

async fn update(server: &TestServer, result: &ActionResult) {
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        action_result: Some(result.clone()),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.expect("accepted");
}

async fn get(server: &TestServer) -> ActionResult {
    let request = GetActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        ..GetActionResultRequest::default()
    };
    server.actions().get_action_result(request).await.expect("a hit").into_inner()
}

/// How many reads of blobs found them.
async fn blob_reads(server: &TestServer) -> u64 {
    let page = server.admin("/metrics").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    let name = "larder_blob_reads_total{outcome=\"hit\"} ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn a_result_of_30_000_files_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let names = store_many(&server, 30_000).await;
    let files = names.iter().enumerate().map(|(number, name)| OutputFile {
        path: format!("a/directory/with/a/longish/name/file-{number}.o"),
        digest: Some(name.to_proto()),
        is_executable: number % 2 == 0,
        ..OutputFile::default()
    });
    let result = ActionResult { output_files: files.collect(), ..ActionResult::default() };
    update(&server, &result).await;
    assert!(get(&server).await == result, "it has changed");
    server.stop().await;
}

#[tokio::test]
async fn a_tree_of_20_mib_is_read_once() {
    let server = TestServer::start().await;
    let names = store_many(&server, 1_000).await;
    let file = |number: usize| FileNode {
        name: format!("file-{number:09}"),
        digest: Some(names[number % names.len()].to_proto()),
        ..FileNode::default()
    };
    let directory = |number: usize| Directory {
        files: (number * 1_000..(number + 1) * 1_000).map(file).collect(),
        ..Directory::default()
    };
    let tree = Tree { root: None, children: (0..240).map(directory).collect() }.encode_to_vec();
    assert!(tree.len() > 20 << 20, "{} B", tree.len());
    let tree = store(&server, &tree.into()).await;
    let directory = OutputDirectory {
        path: "tree".to_owned(),
        tree_digest: Some(tree.to_proto()),
        ..OutputDirectory::default()
    };
    let output_directories = vec![directory];
    let result = ActionResult { output_directories, ..ActionResult::default() };
    update(&server, &result).await;
    let before = blob_reads(&server).await;
    assert_eq!(get(&server).await, result);
    assert_eq!(blob_reads(&server).await, before + 1);
    // From now on what the tree names is remembered. The fastest of some answers counts: other tests run beside this one.
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(get(&server).await, result);
        fastest = fastest.min(begun.elapsed());
    }
    assert_eq!(blob_reads(&server).await, before + 1);
    assert!(fastest < Duration::from_millis(10), "{fastest:?}");
    server.stop().await;
}
