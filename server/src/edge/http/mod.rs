//! The HTTP/1.1 cache that Bazel and curl speak, `GET|HEAD|PUT /{instance/}{ac|cas}/{hex}`, and a raw key-value space
//! beside it.

mod body;
mod cache;
mod download;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod key_value;
mod path;
mod range;
mod spool;
mod upload;

pub(crate) use body::BodyError;
pub(crate) use cache::HttpCache;
pub(crate) use spool::{Spool, Spooled};
