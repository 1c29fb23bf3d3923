//! [`ActionVersions`]: tells which result of an action is current, without reading it.

use std::fmt::Debug;

use larder_disk::RecordVersion;

use crate::ActionKey;

/// Tells which result of an action is current, so that a copy can be held against it.
pub trait ActionVersions: Debug + Send + Sync + 'static {
    /// Another one after each put, however the put ended for its caller, and none comes back. Extends the result's life as a read
    /// does. `None` where there is no result or it is not known yet. Memory only.
    fn version(&self, key: &ActionKey) -> Option<RecordVersion>;
}
