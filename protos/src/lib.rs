//! The Remote Execution API's messages and services, and the words of its specification as pure types.

pub mod asset;
pub mod bounded;
pub mod bytestream;
mod chunking_function;
mod compressor;
mod descriptors;
mod digest;
mod digest_function;
mod digest_hasher;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hash;
pub mod hot;
mod instance_name;
pub mod reapi;
mod resource_name;
pub mod rpc;
pub mod services;
mod sha256_tree;
pub mod well_known;

pub use chunking_function::ChunkingFunction;
pub use compressor::Compressor;
pub use descriptors::FILE_DESCRIPTOR_SET;
pub use digest::Digest;
pub use digest_function::DigestFunction;
pub use digest_hasher::DigestHasher;
pub use error::ParseError;
pub use hash::Hash;
pub use instance_name::InstanceName;
pub use resource_name::{ReadName, WriteName};
