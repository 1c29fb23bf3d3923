//! The storage engine, tested through its public face: on real files, on a disk that fails, against a model.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports, in its helpers too")]

mod eviction;
mod faults;
mod faulty;
mod gated;
mod keeping;
mod loading;
mod model;
mod recovery;
mod round_trip;
mod scrub;
mod start;
mod support;
mod verify;
