//! Generates the services over our `Bytes` twins of the messages that carry blobs, and with a codec that counts the elements
//! of lists before it decodes.

use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

fn main() {
    Builder::new().compile(&[byte_stream(), storage(), actions(), capabilities(), fetch(), push()]);
}

fn byte_stream() -> Service {
    Service::builder()
        .name("ByteStream")
        .package("google.bytestream")
        .comment("Reads and writes blobs as streams of bytes.")
        .method(
            method("read", "Read")
                .input_type("crate::bytestream::ReadRequest")
                .output_type("crate::bytestream::ReadResponse")
                .server_streaming()
                .build(),
        )
        .method(
            method("write", "Write")
                .input_type("crate::bytestream::WriteRequest")
                .output_type("crate::bytestream::WriteResponse")
                .client_streaming()
                .build(),
        )
        .method(
            method("query_write_status", "QueryWriteStatus")
                .input_type("crate::bytestream::QueryWriteStatusRequest")
                .output_type("crate::bytestream::QueryWriteStatusResponse")
                .build(),
        )
        .build()
}

fn storage() -> Service {
    Service::builder()
        .name("ContentAddressableStorage")
        .package("build.bazel.remote.execution.v2")
        .comment("Stores and reads blobs by their digests.")
        .method(
            method("find_missing_blobs", "FindMissingBlobs")
                .input_type("crate::reapi::FindMissingBlobsRequest")
                .output_type("crate::reapi::FindMissingBlobsResponse")
                .build(),
        )
        .method(
            method("batch_update_blobs", "BatchUpdateBlobs")
                .input_type("crate::hot::BatchUpdateBlobsRequest")
                .output_type("crate::reapi::BatchUpdateBlobsResponse")
                .build(),
        )
        .method(
            method("batch_read_blobs", "BatchReadBlobs")
                .input_type("crate::reapi::BatchReadBlobsRequest")
                .output_type("crate::hot::BatchReadBlobsResponse")
                .build(),
        )
        .method(
            method("get_tree", "GetTree")
                .input_type("crate::reapi::GetTreeRequest")
                .output_type("crate::hot::GetTreeResponse")
                .server_streaming()
                .build(),
        )
        .method(
            method("split_blob", "SplitBlob")
                .input_type("crate::reapi::SplitBlobRequest")
                .output_type("crate::reapi::SplitBlobResponse")
                .build(),
        )
        .method(
            method("splice_blob", "SpliceBlob")
                .input_type("crate::reapi::SpliceBlobRequest")
                .output_type("crate::reapi::SpliceBlobResponse")
                .build(),
        )
        .build()
}

fn actions() -> Service {
    Service::builder()
        .name("ActionCache")
        .package("build.bazel.remote.execution.v2")
        .comment("Reads and writes the results of actions.")
        .method(
            method("get_action_result", "GetActionResult")
                .input_type("crate::reapi::GetActionResultRequest")
                .output_type("crate::reapi::ActionResult")
                .build(),
        )
        .method(
            method("update_action_result", "UpdateActionResult")
                .input_type("crate::reapi::UpdateActionResultRequest")
                .output_type("crate::reapi::ActionResult")
                .build(),
        )
        .build()
}

fn capabilities() -> Service {
    Service::builder()
        .name("Capabilities")
        .package("build.bazel.remote.execution.v2")
        .comment("Says what the server can do.")
        .method(
            method("get_capabilities", "GetCapabilities")
                .input_type("crate::reapi::GetCapabilitiesRequest")
                .output_type("crate::reapi::ServerCapabilities")
                .build(),
        )
        .build()
}

fn fetch() -> Service {
    Service::builder()
        .name("Fetch")
        .package("build.bazel.remote.asset.v1")
        .comment("Finds what URIs stand for.")
        .method(
            method("fetch_blob", "FetchBlob")
                .input_type("crate::asset::FetchBlobRequest")
                .output_type("crate::asset::FetchBlobResponse")
                .build(),
        )
        .method(
            method("fetch_directory", "FetchDirectory")
                .input_type("crate::asset::FetchDirectoryRequest")
                .output_type("crate::asset::FetchDirectoryResponse")
                .build(),
        )
        .build()
}

fn push() -> Service {
    Service::builder()
        .name("Push")
        .package("build.bazel.remote.asset.v1")
        .comment("Says what URIs stand for.")
        .method(
            method("push_blob", "PushBlob")
                .input_type("crate::asset::PushBlobRequest")
                .output_type("crate::asset::PushBlobResponse")
                .build(),
        )
        .method(
            method("push_directory", "PushDirectory")
                .input_type("crate::asset::PushDirectoryRequest")
                .output_type("crate::asset::PushDirectoryResponse")
                .build(),
        )
        .build()
}

fn method(name: &str, route: &str) -> MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .comment(format!("The RPC {route}."))
        .codec_path("crate::bounded::BoundedCodec")
}
