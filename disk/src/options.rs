//! [`EngineOptions`]: what an engine is opened with.

use std::path::PathBuf;
use std::time::Duration;

use crate::eviction::EvictionPolicy;

/// What an answer to a write means.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Durability {
    /// The record survives a power cut: an fdatasync that all waiting writes share comes before the answer.
    Sync,
    /// The record survives the end of the process; it survives a power cut once the next sync is done, at most this
    /// much later. After a power cut nothing torn is served or claimed.
    Interval(Duration),
}

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where everything is stored; created if need be. One engine at a time.
    pub data_dir: PathBuf,
    /// The limit for packs and blob files together, the index not counted.
    ///
    /// Too small: evictions in `Usage` grow as fast as puts.
    pub max_size_bytes: u64,
    /// What the file system keeps free for others: below it, records are evicted as if the limit were lower. 0 is no guard.
    pub min_free_disk_bytes: u64,
    /// What makes room for what is new.
    pub eviction: EvictionPolicy,
    /// What an answer to a write means.
    pub durability: Durability,
    /// zstd's level, 1 to 19; 1 is right for a cache on a fast network.
    pub zstd_level: i32,
    /// sled's page cache. sled takes it as a target rather than as a bound.
    pub index_cache_bytes: u64,
    /// A blob whose record takes this much or more gets a file of its own; about 1 MiB.
    pub large_blob_bytes: u64,
    /// How much the scrub reads, in bytes a second; 0 turns it off.
    ///
    /// Too small: rot is found by who reads it. Too large: the disk is busy with it.
    pub scrub_rate_bytes: u64,
}
