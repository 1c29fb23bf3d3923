//! The action cache: the port [`ActionStore`], its tiers, and what makes a hit a hit.
//!
//! An action result names blobs; it is worth something only while all of them can be had. [`Complete`] sees to that.

mod complete;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disk_tier;
mod entry;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hot_tier;
mod inline;
mod key;
mod malformed;
mod metered;
mod named;
mod outline;
mod store;
mod trees;
mod versions;

pub use complete::Complete;
pub use disk_tier::DiskActions;
pub use entry::ActionEntry;
pub use hot_tier::HotActions;
pub use inline::{InlineHints, MAX_INLINED_BYTES, inline};
pub use key::ActionKey;
pub use malformed::MalformedResult;
pub use metered::{ActionMetrics, MeteredActions};
pub use outline::{OutlineError, outline};
pub use store::ActionStore;
pub use versions::ActionVersions;
