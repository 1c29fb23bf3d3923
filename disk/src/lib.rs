//! The storage engine: packs, blob files, the index, recovery, eviction.
