//! The server: configuration, composition, the gRPC and HTTP edge, telemetry, command line.
//!
//! Start reading at [`run`]: what happens between a checked configuration and a server that runs.

pub mod admin;
pub mod auth;
pub mod background;
mod bounded_read;
mod caller;
pub mod cli;
pub mod compose;
pub mod config;
pub mod edge;
pub mod fetch;
pub mod from_files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod guard;
pub mod lifecycle;
mod link;
pub mod memory;
pub mod profile;
pub mod reload;
pub mod report;
pub mod run;
pub mod spans;
pub mod telemetry;
pub mod trace;
pub mod transport;
pub mod trust;
mod unwaiting;
