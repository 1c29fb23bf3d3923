//! `ActionCache`.

use larder_protos::reapi::{
    ActionResult, Digest as ProtoDigest, GetActionResultRequest, OutputFile,
    UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use tonic::{Code, Status};

use crate::client::{assert_refused, digest, read, sample, store};

async fn update(
    server: &TestServer,
    instance: &str,
    result: ActionResult,
) -> Result<ActionResult, Status> {
    let request = UpdateActionResultRequest {
        instance_name: instance.to_owned(),
        action_digest: Some(digest(b"action").to_proto()),
        action_result: Some(result),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.map(tonic::Response::into_inner)
}

fn get_request(instance: &str) -> GetActionResultRequest {
    GetActionResultRequest {
        instance_name: instance.to_owned(),
        action_digest: Some(digest(b"action").to_proto()),
        ..GetActionResultRequest::default()
    }
}

async fn get(server: &TestServer, request: GetActionResultRequest) -> Result<ActionResult, Status> {
    server.actions().get_action_result(request).await.map(tonic::Response::into_inner)
}

fn naming(output: ProtoDigest) -> ActionResult {
    let file = OutputFile { path: "out".to_owned(), digest: Some(output), ..OutputFile::default() };
    ActionResult { output_files: vec![file], ..ActionResult::default() }
}

#[tokio::test]
async fn a_result_is_a_hit_while_its_outputs_are_present() {
    let server = TestServer::start().await;
    assert_refused(get(&server, get_request("")).await, Code::NotFound, "is cached");
    let blob = sample(100);
    let result = naming(digest(&blob).to_proto());
    update(&server, "", result.clone()).await.expect("accepted, though the output is absent");
    assert_refused(get(&server, get_request("")).await, Code::NotFound, "is cached");
    store(&server, &blob).await;
    assert_eq!(get(&server, get_request("")).await.expect("a hit"), result);
    let server = server.restart().await;
    assert_eq!(get(&server, get_request("")).await.expect("a hit"), result);
    server.stop().await;
}

#[tokio::test]
async fn updates_replace_at_once_also_empty_ones() {
    let server = TestServer::start().await;
    for exit_code in [1, 2, 0, 0] {
        let result = ActionResult { exit_code, ..ActionResult::default() };
        update(&server, "", result.clone()).await.expect("stored");
        assert_eq!(get(&server, get_request("")).await.expect("a hit"), result);
    }
    server.stop().await;
}

#[tokio::test]
async fn instances_share_blobs_but_not_results() {
    let server = TestServer::start().await;
    let result = ActionResult { exit_code: 7, ..ActionResult::default() };
    update(&server, "a/b", result.clone()).await.expect("stored");
    assert_eq!(get(&server, get_request("a/b")).await.expect("a hit"), result);
    assert_refused(get(&server, get_request("a")).await, Code::NotFound, "is cached");
    assert_refused(get(&server, get_request("")).await, Code::NotFound, "is cached");
    server.stop().await;
}

#[tokio::test]
async fn inlined_bytes_move_to_the_cas_and_come_back_when_asked_for() {
    let server = TestServer::start().await;
    let file = OutputFile {
        path: "out".to_owned(),
        contents: b"contents".to_vec(),
        ..OutputFile::default()
    };
    let result = ActionResult {
        output_files: vec![file],
        stdout_raw: b"said".to_vec(),
        ..ActionResult::default()
    };
    update(&server, "", result).await.expect("stored");
    let plain = get(&server, get_request("")).await.expect("a hit");
    assert_eq!(plain.stdout_digest, Some(digest(b"said").to_proto()));
    assert_eq!(plain.output_files[0].digest, Some(digest(b"contents").to_proto()));
    assert!(plain.stdout_raw.is_empty() && plain.output_files[0].contents.is_empty());
    assert_eq!(read(&server, digest(b"contents")).await.expect("in the CAS"), b"contents");
    let asking = GetActionResultRequest {
        inline_stdout: true,
        inline_output_files: vec!["out".to_owned()],
        ..get_request("")
    };
    let inlined = get(&server, asking).await.expect("a hit");
    assert_eq!(inlined.stdout_raw, b"said");
    assert_eq!(inlined.output_files[0].contents, b"contents");
    assert_eq!(inlined.stdout_digest, plain.stdout_digest, "the digest is kept");
    server.stop().await;
}

#[tokio::test]
async fn malformed_results_are_refused() {
    let server = TestServer::start().await;
    let bad_digest = ProtoDigest { hash: "no hash".to_owned(), size_bytes: 1 };
    let refused = update(&server, "", naming(bad_digest)).await;
    assert_refused(refused, Code::InvalidArgument, "output_files[0]: hash \"no hash\"");
    let mut nameless = naming(digest(b"x").to_proto());
    nameless.output_files[0].digest = None;
    let refused = update(&server, "", nameless).await;
    assert_refused(refused, Code::InvalidArgument, "neither a digest nor contents");
    let mut lying = naming(digest(b"x").to_proto());
    lying.output_files[0].contents = b"y".to_vec();
    let refused = update(&server, "", lying).await;
    assert_refused(refused, Code::InvalidArgument, "but its contents have");
    let request = UpdateActionResultRequest {
        action_digest: Some(digest(b"action").to_proto()),
        ..UpdateActionResultRequest::default()
    };
    let refused = server.actions().update_action_result(request).await;
    assert_refused(refused, Code::InvalidArgument, "no action_result");
    let request = GetActionResultRequest { action_digest: None, ..get_request("") };
    assert_refused(get(&server, request).await, Code::InvalidArgument, "no action_digest");
    server.stop().await;
}

#[tokio::test]
async fn huge_results_round_trip() {
    let server = TestServer::start().await;
    let output = store(&server, &sample(10)).await.to_proto();
    let file = |number: usize| OutputFile {
        path: format!("a/rather/long/path/to/an/output/of/a/huge/action/number/{number}"),
        digest: Some(output.clone()),
        ..OutputFile::default()
    };
    let output_files = (0..150_000).map(file).collect();
    let result = ActionResult { output_files, ..ActionResult::default() };
    assert!(prost::Message::encoded_len(&result) > 16 << 20);
    update(&server, "", result.clone()).await.expect("stored");
    assert!(get(&server, get_request("")).await.expect("a hit") == result);
    server.stop().await;
}
