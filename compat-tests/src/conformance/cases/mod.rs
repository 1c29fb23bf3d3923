//! The cases, by topic: `bytestream.read` is in `read`. Each file has its table first and then the functions.

pub(crate) mod capabilities;
pub(crate) mod hostile;
pub(crate) mod read;
pub(crate) mod read_zstd;
pub(crate) mod write;
pub(crate) mod write_zstd;
