//! What the server says about itself: log lines, metrics, the observation of every request.

mod access;
mod call;
mod disk;
mod exposition;
mod fetches;
mod in_flight;
mod log;
mod method;
mod observe;
mod outlet;
mod process;
mod reported;
mod rpc_metrics;
mod tally;
mod tasks;
mod throttle;
mod tiers;

pub use self::access::AccessMetrics;
pub use self::disk::DiskMetrics;
pub use self::fetches::FetchMetrics;
pub use self::in_flight::InFlightMetrics;
pub use self::log::{LogControl, LogError, LogHandle, LogStyle, start_log};
pub use self::method::method_labels;
pub use self::observe::{BoxError, Observed, ObservedBody, ObservedFuture, Sinks};
pub(crate) use self::outlet::Outlet;
pub use self::outlet::OutletCounts;
pub use self::process::register_process;
pub use self::reported::Reported;
pub use self::rpc_metrics::RpcMetrics;
pub(crate) use self::rpc_metrics::{Ended, code_label};
pub(crate) use self::tally::Tally;
pub use self::tasks::TaskMetrics;
pub(crate) use self::throttle::Throttle;
pub use self::tiers::TierMetrics;

#[cfg(test)]
mod tests;
