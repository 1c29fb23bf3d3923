//! The calls that cases make, as methods of [`super::context::Cx`], by service. What they answer is judged by `expect`.

mod action_cache;
mod asset;
mod byte_stream;
mod cas;
mod http;
mod raw;

pub(crate) use action_cache::{output_file, result_of};
pub(crate) use asset::qualifier;
pub(crate) use byte_stream::{messages, write_request};
pub(crate) use cas::{DirectoryTree, tree_of};
pub(crate) use http::{HttpAnswer, status as http_status};

/// The largest message that the kit takes: more than any server sends.
const MAX_MESSAGE_BYTES: usize = 128 << 20;
