//! [`Removals`]: tells whether anything has gone, without asking for each blob.

use std::fmt::Debug;

/// Counts what a store of blobs lets go.
pub trait Removals: Debug + Send + Sync + 'static {
    /// How many blobs have gone so far, evicted ones and damaged ones too. Who reads it, then finds blobs present, and later reads the
    /// same number, knows that they are present still. Others may be counted too. Memory only.
    fn removals(&self) -> u64;
}
