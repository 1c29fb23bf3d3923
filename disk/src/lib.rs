//! The storage engine: packs, blob files, the index, recovery, eviction.
//!
//! The log is the truth, sled is its index, memory answers. Start reading at [`Engine`]; `docs/design/disk-format.md` says every
//! byte, `docs/adr/0003-log-is-truth.md` why.

mod activity;
mod batch;
mod blob_file;
mod body_check;
mod codec;
mod commit;
mod committer;
mod durable;
mod engine;
mod error;
pub mod eviction;
mod full_disk;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod histogram;
mod index;
mod index_format;
mod indexer;
mod inventory;
mod io;
mod key;
mod layout;
mod loader;
mod options;
mod pace;
mod pack;
mod partitions;
mod prepared;
mod prologue;
mod purge;
mod quarantine;
mod queue;
mod reader;
mod recency;
mod recent;
mod reclaim;
mod record_writer;
mod recovery;
mod retire;
mod room;
mod salt;
mod scan;
mod scrub;
mod shard;
mod slot;
mod survey;
mod table;
mod usage;
mod verify;
mod version;
mod window;
mod withdraw;

pub use activity::{Activity, EngineState};
pub use codec::{Content, STORED_PLAIN_BYTES};
pub use commit::{Commit, PutOutcome};
pub use engine::{Engine, RecordInfo};
pub use error::{DiskError, DiskErrorClass};
pub use eviction::EvictionPolicy;
pub use histogram::Histogram;
pub use io::{DirEntry, DirLock, Io, IoFile, OpenMode, RealIo};
pub use key::{Keyspace, RecordKey, RecordKind};
pub use options::{Durability, EngineOptions};
pub use prepared::Prepared;
pub use prologue::Encoding;
pub use purge::{GoOn, PurgeRule, Purged};
pub use reader::{Accepts, RecordReader};
pub use recent::RecentRecord;
pub use record_writer::RecordWriter;
pub use scrub::{Scrub, ScrubUsage};
pub use usage::Usage;
pub use verify::{Finding, FindingKind, Repair, Unwatched, Verified, Watch, verify};
pub use version::RecordVersion;
