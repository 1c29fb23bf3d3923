//! The edge's parsers, for [`crate::fuzzing`].

pub use super::grpc::fuzzing::grpc_body;
pub use super::http::fuzzing::http_request;
