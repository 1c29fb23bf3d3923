//! The edge: the one place that knows the wire. It parses, enters the partition, calls the stacks and phrases the reply.

mod drainer;
mod functions;
mod grpc;
mod health;
mod http;
mod limits;
mod partition;
mod service;
mod status;

pub use health::HealthHandle;
pub use service::Edge;
