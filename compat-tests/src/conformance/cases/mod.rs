//! The cases, by topic: `bytestream.read` is in `read`. Each file has its table first and then the functions.

pub(crate) mod action_cache;
pub(crate) mod asset;
pub(crate) mod batches;
pub(crate) mod capabilities;
pub(crate) mod cas;
pub(crate) mod chunking;
pub(crate) mod clients;
pub(crate) mod completeness;
pub(crate) mod digests;
pub(crate) mod empty_blob;
pub(crate) mod hostile;
pub(crate) mod http;
pub(crate) mod instances;
pub(crate) mod read;
pub(crate) mod read_zstd;
pub(crate) mod resume;
pub(crate) mod services;
pub(crate) mod transport;
pub(crate) mod tree;
pub(crate) mod write;
pub(crate) mod write_zstd;
