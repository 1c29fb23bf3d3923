//! Real clients against the built binary: each client is installed, driven through its scenarios against a `larder serve` of
//! its own, and judged by its own output. `limits` measures the process itself. [`conformance`] is the kit that checks any REAPI cache.
//! Nothing here knows Larder's crates; the binary under test is a path.

mod bazel;
mod ccache;
mod clients;
pub mod conformance;
mod error;
mod faults;
mod install;
mod lab;
mod larder;
mod limits;
mod process;
mod report;
mod snapshot;

pub use clients::{client_names, run_clients};
