//! What the binary tells about itself and its requests, and that telling stops no request: the log, the access log, spans.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access_log;
mod collector;
mod larder;
mod log;
mod orders;
mod traces;
