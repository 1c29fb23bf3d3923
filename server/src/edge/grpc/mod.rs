//! The gRPC services.

mod action_cache;
mod admission;
mod asset;
mod batch;
mod byte_stream;
mod capabilities;
mod cas;
mod digest_list;
mod find_missing;
mod frames;
mod framing;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod get_tree;
mod in_order;
mod messages;
mod notes;
mod read_body;
mod reflection;
mod resumable;
mod router;
mod splice;
mod split;
mod stored_message;
mod update_batch;
mod update_result;
mod upload;
mod wire_format;
mod write_call;
mod write_parts;
mod write_session;

pub(crate) use router::GrpcRouter;
