//! The descriptors that gRPC reflection answers from.

/// An encoded `google.protobuf.FileDescriptorSet` of the services. Origin: `descriptors/README.md`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("../descriptors/services.bin");
