//! The storage engine: packs, blob files, the index, recovery, eviction.
//!
//! The log is the truth, sled is its index, memory answers. Start reading at [`Engine`]; `docs/design/disk-format.md` says every
//! byte, `docs/adr/0003-log-is-truth.md` why.

mod batch;
mod blob_file;
mod codec;
mod commit;
mod committer;
mod durable;
mod engine;
mod error;
pub mod eviction;
mod full_disk;
mod gate;
mod index;
mod index_format;
mod indexer;
mod inventory;
mod io;
mod key;
mod layout;
mod loader;
mod options;
mod pack;
mod partitions;
mod prepared;
mod prologue;
mod queue;
mod reader;
mod recency;
mod recent;
mod reclaim;
mod recovery;
mod room;
mod salt;
mod scan;
mod shard;
mod slot;
mod table;
mod usage;

pub use blob_file::RecordWriter;
pub use codec::Content;
pub use commit::{Commit, PutOutcome};
pub use engine::{Engine, RecordInfo};
pub use error::{DiskError, DiskErrorClass};
pub use eviction::EvictionPolicy;
pub use io::{DirEntry, DirLock, Io, IoFile, OpenMode, RealIo};
pub use key::{Keyspace, RecordKey, RecordKind};
pub use options::{Durability, EngineOptions};
pub use prepared::Prepared;
pub use prologue::Encoding;
pub use reader::{Accepts, RecordReader};
pub use recent::RecentRecord;
pub use usage::Usage;
