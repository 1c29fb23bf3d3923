//! `FindMissingBlobs` of blobs that are all there.

use async_trait::async_trait;
use bytes::Bytes;
use larder_protos::Digest;
use parking_lot::Mutex;

use super::mixed::{self, Entries};
use super::{Moved, Scenario};
use crate::blobs::Noise;
use crate::client::Client;
use crate::error::CallError;

/// Digests in one call.
pub(super) const DIGESTS: u64 = 1_000;
/// Different questions, encoded beforehand.
const QUESTIONS: u64 = 64;

/// Questions for blobs anywhere in a store of so many.
#[derive(Debug)]
pub(super) struct Find {
    entries: Entries,
    /// Held for one operation on the list.
    questions: Mutex<Vec<Bytes>>,
}

impl Find {
    pub(super) fn new(entries: Entries) -> Self {
        Self { entries, questions: Mutex::default() }
    }
}

#[async_trait(?Send)]
impl Scenario for Find {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.entries.store(client).await?;
        let mut noise = Noise::new(1);
        let mut digests = || -> Vec<Digest> {
            let places = (0..DIGESTS).map(|_| noise.below(self.entries.blobs()));
            places.map(|place| mixed::entry(place).digest).collect()
        };
        let questions = (0..QUESTIONS).map(|_| client.find_request(&digests())).collect();
        *self.questions.lock() = questions;
        Ok(())
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let place = usize::try_from(number % QUESTIONS).unwrap_or_default();
        let question = self.questions.lock()[place].clone();
        let wire_bytes = question.len() as u64;
        client.find_present(question).await?;
        Ok(Moved { bytes: 0, wire_bytes })
    }
}
