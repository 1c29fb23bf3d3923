//! Generates the services whose messages carry blobs, over our `Bytes` twins instead of the published messages.

use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

fn main() {
    let byte_stream = Service::builder()
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
        .build();
    let storage = Service::builder()
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
        .build();
    Builder::new().compile(&[byte_stream, storage]);
}

fn method(name: &str, route: &str) -> MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .comment(format!("The RPC {route}."))
        .codec_path("tonic_prost::ProstCodec")
}
