//! Real clients against the built binary: each client is installed, driven through its scenarios against a `larder serve` of
//! its own, and judged by its own output. `limits` measures the process itself, `comparison` loads it beside others. [`conformance`] is the kit that checks any REAPI cache.
//! Nothing here knows Larder's crates; the binary under test is a path.

mod bazel;
mod bazel_socket;
mod bgd;
mod blob;
mod buildbox;
mod buildstream;
mod ccache;
mod clients;
mod comparison;
pub mod conformance;
mod curl;
mod error;
mod expectations;
mod faults;
mod gradle;
mod grpcurl;
mod h2spec;
mod http;
mod install;
mod instructions;
mod kit;
mod lab;
mod larder;
mod limits;
mod metrics;
mod moon;
mod neighbour;
mod nx;
mod observe;
mod pants;
mod peers;
mod pprof;
mod process;
mod relay;
mod remotetool;
mod report;
mod sample_action;
mod sccache;
mod secure;
mod snapshot;
mod turborepo;

pub use bazel::{Recording, record};
pub use clients::{client_names, run_clients};
pub use comparison::{Comparison, Durability, compare};
