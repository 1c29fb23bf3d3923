//! The HTTP/1.1 cache that Bazel and curl speak, `GET|HEAD|PUT /{instance/}{ac|cas}/{hex}`, and beside it the dialects of
//! other tools, each in a keyspace of its own.

mod accept;
mod body;
mod cache;
mod claims;
mod conditions;
mod dialect;
mod download;
mod entry;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gradle;
mod key_value;
mod nx;
mod path;
mod range;
mod spool;
mod turborepo;
mod upload;
mod url_path;
mod webdav;

#[cfg(test)]
mod tests;

pub(crate) use body::BodyError;
pub(crate) use cache::HttpCache;
pub(crate) use dialect::{Dialect, Place};
pub(crate) use spool::{Spool, Spooled};
