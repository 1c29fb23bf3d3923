//! The storage engine, tested through its public face: on real files, on a disk that fails, against a model.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports, in its helpers too")]

mod compaction;
mod eviction;
mod faults;
mod faulty;
mod free_disk;
mod full;
mod gated;
mod held;
mod keeping;
mod loading;
mod model;
mod mutations;
mod oracle;
mod purge;
mod random;
mod recovery;
mod retire;
mod round_trip;
mod scrub;
mod set_io;
mod sim_disk;
mod simulation;
mod start;
mod streams;
mod support;
mod verify;
mod version;
