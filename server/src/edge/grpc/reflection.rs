//! gRPC reflection, so that `grpcurl` and its like need no `.proto` files. Both versions: older clients know only v1alpha.

use larder_protos::FILE_DESCRIPTOR_SET;
use tonic_reflection::server::{Builder, v1, v1alpha};

pub(crate) fn v1() -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    builder().build_v1().expect(BUILT_IN)
}

pub(crate) fn v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    builder().build_v1alpha().expect(BUILT_IN)
}

/// Both sets are constants of this program, and a test decodes ours.
const BUILT_IN: &str = "the built-in descriptors decode";

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
