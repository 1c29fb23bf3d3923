//! What the server says about itself: log lines, metrics, the observation of every request.

mod call;
mod fetches;
mod hot;
mod in_flight;
mod log;
mod method;
mod observe;
mod process;
mod rpc_metrics;
mod throttle;
mod usage;

pub use self::fetches::FetchMetrics;
pub use self::hot::HotMetrics;
pub use self::in_flight::InFlightMetrics;
pub use self::log::{LogError, LogStyle, start_log};
pub use self::observe::{BoxError, Observed, ObservedBody, ObservedFuture};
pub use self::process::register_process;
pub use self::rpc_metrics::RpcMetrics;
pub(crate) use self::throttle::Throttle;
pub use self::usage::UsageMetrics;

#[cfg(test)]
mod tests;
