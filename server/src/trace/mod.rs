//! The trace: what clients ask, written to a file for `larder-replay`. Off unless `trace_file` is set.
//!
//! Two decorators see the requests, [`Recorder`] writes them. Source: docs/design/trace-format.md.

mod actions;
mod blobs;
mod recorder;

pub use actions::TracedActions;
pub use blobs::TracedBlobs;
pub use recorder::{Recorder, RecorderError};
