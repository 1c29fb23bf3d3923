//! The HTTP/1.1 cache that Bazel, ccache and curl speak: `GET|HEAD|PUT /{instance/}{ac|cas}/{hex}`.

mod body;
mod cache;
mod download;
mod path;
mod range;
mod spool;
mod upload;

pub(crate) use cache::HttpCache;
pub(crate) use spool::Spool;
