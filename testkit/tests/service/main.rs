//! The service over the wire, in this process: PROTOCOL's rules, one test each.

mod action_cache;
mod batch;
mod byte_stream_read;
mod byte_stream_write;
mod capabilities;
mod client;
mod dialects;
mod digest_functions;
mod drain;
mod eviction;
mod find_missing;
mod get_tree;
mod hostile;
mod http_cache;
mod http_negotiation;
mod memory;
mod memory_of_trees;
mod origin;
mod origin_server;
mod remote_asset;
mod request_metadata;
mod resume;
mod shapes;
mod unix_socket;
