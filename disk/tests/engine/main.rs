//! The storage engine, tested through its public face: on real files, on a disk that fails, against a model.

mod eviction;
mod faults;
mod faulty;
mod model;
mod recovery;
mod round_trip;
mod support;
