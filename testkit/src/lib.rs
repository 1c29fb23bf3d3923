//! A server in this process for tests, clients for it, a checker of its log, and the fuzz targets.

pub mod fuzz_targets;
mod log_checker;
mod server;

pub use log_checker::LogChecker;
pub use server::TestServer;
