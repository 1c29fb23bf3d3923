//! Generates the services whose messages carry blobs, over our `Bytes` twins instead of the published messages, and those
//! whose messages have lists, with a codec that counts before it decodes.

use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

/// tonic's own, for messages without lists.
const PLAIN: &str = "tonic_prost::ProstCodec";
const BOUNDED: &str = "crate::bounded::BoundedCodec";

fn main() {
    let byte_stream = Service::builder()
        .name("ByteStream")
        .package("google.bytestream")
        .comment("Reads and writes blobs as streams of bytes.")
        .method(
            method("read", "Read", PLAIN)
                .input_type("crate::bytestream::ReadRequest")
                .output_type("crate::bytestream::ReadResponse")
                .server_streaming()
                .build(),
        )
        .method(
            method("write", "Write", PLAIN)
                .input_type("crate::bytestream::WriteRequest")
                .output_type("crate::bytestream::WriteResponse")
                .client_streaming()
                .build(),
        )
        .method(
            method("query_write_status", "QueryWriteStatus", PLAIN)
                .input_type("crate::bytestream::QueryWriteStatusRequest")
                .output_type("crate::bytestream::QueryWriteStatusResponse")
                .build(),
        )
        .build();
    let storage = Service::builder()
        .name("ContentAddressableStorage")
        .package("build.bazel.remote.execution.v2")
        .comment("Stores and reads blobs by their digests.")
        .method(
            method("find_missing_blobs", "FindMissingBlobs", BOUNDED)
                .input_type("crate::reapi::FindMissingBlobsRequest")
                .output_type("crate::reapi::FindMissingBlobsResponse")
                .build(),
        )
        .method(
            method("batch_update_blobs", "BatchUpdateBlobs", BOUNDED)
                .input_type("crate::hot::BatchUpdateBlobsRequest")
                .output_type("crate::reapi::BatchUpdateBlobsResponse")
                .build(),
        )
        .method(
            method("batch_read_blobs", "BatchReadBlobs", BOUNDED)
                .input_type("crate::reapi::BatchReadBlobsRequest")
                .output_type("crate::hot::BatchReadBlobsResponse")
                .build(),
        )
        .method(
            method("get_tree", "GetTree", BOUNDED)
                .input_type("crate::reapi::GetTreeRequest")
                .output_type("crate::hot::GetTreeResponse")
                .server_streaming()
                .build(),
        )
        .build();
    let actions = Service::builder()
        .name("ActionCache")
        .package("build.bazel.remote.execution.v2")
        .comment("Reads and writes the results of actions.")
        .method(
            method("get_action_result", "GetActionResult", BOUNDED)
                .input_type("crate::reapi::GetActionResultRequest")
                .output_type("crate::reapi::ActionResult")
                .build(),
        )
        .method(
            method("update_action_result", "UpdateActionResult", BOUNDED)
                .input_type("crate::reapi::UpdateActionResultRequest")
                .output_type("crate::reapi::ActionResult")
                .build(),
        )
        .build();
    Builder::new().compile(&[byte_stream, storage, actions]);
}

fn method(name: &str, route: &str, codec: &str) -> MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .comment(format!("The RPC {route}."))
        .codec_path(codec)
}
