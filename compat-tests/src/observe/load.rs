//! Some load of every kind that the dashboard shows: a miss, uploads, a hit whose action once ran, reads, HTTP.

use bazel_remote_apis::build::bazel::remote::execution::v2::action_cache_client::ActionCacheClient;
use bazel_remote_apis::build::bazel::remote::execution::v2::{
    ActionResult, Digest, ExecutedActionMetadata, GetActionResultRequest, OutputFile,
    RequestMetadata, ToolDetails, UpdateActionResultRequest,
};
use bazel_remote_apis::google::protobuf::Timestamp;
use prost::Message;
use tokio::runtime;
use tonic::metadata::BinaryMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::blob::Blob;
use crate::error::CompatError;
use crate::http::Connection;
use crate::larder::Larder;

const METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";
const ACTIONS: usize = 50;
/// Large enough for a file of its own, not to shrink.
const LARGE_BYTES: usize = 2 << 20;

/// One build of some actions, cold and then warm.
pub(super) fn drive(larder: &Larder) -> Result<(), CompatError> {
    let mut http = Connection::open(larder.address()).map_err(CompatError::call("connect"))?;
    let large = Blob::noise(LARGE_BYTES, 1);
    for (number, blob) in
        (0..ACTIONS).map(|n| (n, Blob::noise(4_000, n as u64))).chain([(0, large)])
    {
        let path = format!("/cas/{}", blob.hash);
        let put = http.put(&path, &blob.bytes).map_err(CompatError::call("PUT"))?;
        let got = http.get(&path).map_err(CompatError::call("GET"))?;
        if (put.code, got.code, got.body == blob.bytes) != (200, 200, true) {
            let wrong = format!("blob {number}: PUT {}, GET {}", put.code, got.code);
            return Err(CompatError::call("PUT and GET")(wrong));
        }
    }
    let log = larder.log().to_path_buf();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CompatError::io(&log))?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{}", larder.address()));
        let channel = endpoint.map_err(CompatError::call("connect"))?.connect().await;
        let mut client = ActionCacheClient::new(channel.map_err(CompatError::call("connect"))?);
        for number in 0..ACTIONS {
            build(&mut client, number).await?;
        }
        Ok(())
    })
}

/// An action that misses, runs for two seconds, is stored, and hits.
async fn build(client: &mut ActionCacheClient<Channel>, number: usize) -> Result<(), CompatError> {
    // Every run of this program has other actions.
    let action = Blob::of(format!("action {number} of {:?}", std::time::Instant::now()));
    let digest = |blob: &Blob| {
        let size_bytes = i64::try_from(blob.bytes.len()).unwrap_or_default();
        Some(Digest { hash: blob.hash.clone(), size_bytes })
    };
    let get = GetActionResultRequest { action_digest: digest(&action), ..Default::default() };
    let missed = client.get_action_result(of_task(get.clone())).await;
    if missed.as_ref().map_err(tonic::Status::code).err() != Some(Code::NotFound) {
        return Err(CompatError::call("GetActionResult")(format!("expected a miss: {missed:?}")));
    }
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let output = OutputFile {
        path: "out".to_owned(),
        digest: digest(&Blob::noise(4_000, number as u64)),
        ..Default::default()
    };
    let result = ActionResult {
        output_files: vec![output],
        execution_metadata: Some(ExecutedActionMetadata {
            execution_start_timestamp: at(10),
            execution_completed_timestamp: at(12),
            ..Default::default()
        }),
        ..Default::default()
    };
    let update = UpdateActionResultRequest {
        action_digest: digest(&action),
        action_result: Some(result),
        ..Default::default()
    };
    let stored = client.update_action_result(of_task(update)).await;
    stored.map_err(CompatError::call("UpdateActionResult"))?;
    let hit = client.get_action_result(of_task(get)).await;
    hit.map(drop).map_err(CompatError::call("GetActionResult"))
}

/// A request that says whose it is.
fn of_task<T>(message: T) -> Request<T> {
    let metadata = RequestMetadata {
        tool_details: Some(ToolDetails { tool_name: "bazel".to_owned(), ..Default::default() }),
        action_mnemonic: "CppCompile".to_owned(),
        ..Default::default()
    };
    let value = BinaryMetadataValue::from_bytes(&metadata.encode_to_vec());
    let mut request = Request::new(message);
    request.metadata_mut().insert_bin(METADATA, value);
    request
}
