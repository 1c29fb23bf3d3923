//! A server in this process for tests, clients for it, and a checker of its log.

mod log_checker;
mod server;

pub use log_checker::LogChecker;
pub use server::TestServer;
