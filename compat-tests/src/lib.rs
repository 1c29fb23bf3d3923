//! Real clients against the built binary: each client is installed, driven through its scenarios against a `larder serve` of
//! its own, and judged by its own output. `limits` measures the process itself. Nothing here knows Larder's crates; the binary under test is a path.

mod bazel;
mod blob;
mod ccache;
mod clients;
mod curl;
mod error;
mod expectations;
mod faults;
mod grpcurl;
mod http;
mod install;
mod lab;
mod larder;
mod limits;
mod metrics;
mod moon;
mod process;
mod relay;
mod remotetool;
mod report;
mod sample_action;
mod snapshot;

pub use clients::{client_names, run_clients};
