//! Real clients against the built binary: each client is installed, driven through its scenarios against a `larder serve` of
//! its own, and judged by its own output. Nothing here knows Larder's crates; the binary under test is a path.

mod bazel;
mod ccache;
mod clients;
mod error;
mod install;
mod lab;
mod larder;
mod process;
mod report;
mod snapshot;

pub use clients::{client_names, run_clients};
