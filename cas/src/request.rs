//! [`RequestCx`]: what a store may know about the request it serves.

use crate::{Accepts, RequestMemory};

/// What a store may know about the request it serves. Nothing here decides *which* data is meant: that is in the key.
#[derive(Clone, Debug)]
pub struct RequestCx {
    /// The encodings the caller can take, so that stored zstd reaches a zstd client untouched.
    pub accepts: Accepts,
    /// What it may take in memory for what is read on its way to the answer.
    pub memory: RequestMemory,
}

impl RequestCx {
    /// A caller that takes plain bytes only.
    pub const RAW: Self = Self { accepts: Accepts::Raw, memory: RequestMemory::UNCOUNTED };

    /// A caller that takes zstd as well as plain bytes.
    pub const RAW_OR_ZSTD: Self =
        Self { accepts: Accepts::RawOrZstd, memory: RequestMemory::UNCOUNTED };

    /// A caller that takes plain bytes only, and whose memory is counted.
    pub fn raw_within(memory: RequestMemory) -> Self {
        Self { memory, ..Self::RAW }
    }
}
