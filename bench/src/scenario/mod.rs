//! [`Scenario`]: what is done to a server, over and over; one file for each family.

mod action;
mod batch;
mod find;
mod http;
mod kind;
mod large_read;
mod large_write;
mod mixed;
mod resident;
mod session;
mod small_read;
mod small_write;

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;

use crate::client::Client;
use crate::error::CallError;

pub(crate) use kind::{Kind, Sizes, Unit};

/// One kind of operation, shared by the threads that load one server.
#[async_trait(?Send)]
pub(crate) trait Scenario: Debug + Send + Sync {
    /// Stores what operations need, unless it is there already.
    async fn prepare(&self, client: &Client) -> Result<(), CallError>;

    /// One operation. No number comes twice; numbers are near each other.
    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError>;

    /// Reads some of what these operations wrote back.
    async fn verify(&self, _client: &Client, _done: Range<u64>) -> Result<(), CallError> {
        Ok(())
    }
}

/// What an operation moved, of blobs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Moved {
    /// Decoded.
    pub(crate) bytes: u64,
    /// As sent over the wire, without framing.
    pub(crate) wire_bytes: u64,
}

impl Moved {
    /// Bytes that are sent as they are.
    pub(crate) fn plain(bytes: u64) -> Self {
        Self { bytes, wire_bytes: bytes }
    }

    /// Adds what another operation moved.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.wire_bytes += other.wire_bytes;
    }
}
