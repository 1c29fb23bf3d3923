//! The edge: the one place that knows the wire. It parses, enters the partition, calls the stacks and phrases the reply.

mod budget;
mod drainer;
mod functions;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod grpc;
mod health;
mod held_body;
mod http;
mod limits;
mod partition;
mod service;
mod stalls;
mod status;
mod uploads;
mod working_set;

pub use budget::{Budget, BudgetStats};
pub(crate) use drainer::Drainer;
pub use health::HealthHandle;
pub(crate) use http::{Dialect, Place};
pub(crate) use partition::instance_keyspaces;
pub use service::Edge;
pub(crate) use service::is_grpc;
pub(crate) use status::RETRY_AFTER;
pub use uploads::{UploadStats, Uploads};
