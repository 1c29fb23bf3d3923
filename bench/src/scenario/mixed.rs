//! A store of many entries, and what a build asks of it, mixed.

use std::ops::Range;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_protos::Digest;

use super::resident::Blob;
use super::{Moved, Scenario, action, batch};
use crate::blobs::{Content, Noise};
use crate::client::Client;
use crate::error::CallError;

const ENTRY_BYTES: usize = 256;
/// Seeds of these blobs begin here, far from all others.
const FIRST_SEED: u64 = 1 << 40;
/// Of so many entries one is an action result.
const BLOBS_AND_RESULT: u64 = 4;
const BATCH: u64 = 1_000;
const BATCHES_AT_A_TIME: usize = 8;
const UPDATES_AT_A_TIME: usize = 64;
/// How many entries tell whether all are there.
const SAMPLES: u64 = 500;
const NOT_FOUND: i32 = 5;
/// Blobs in one question: the outputs of a few actions.
const ASKED: usize = 10;

/// What fills a store: three blobs of 256 B for each action result, which names one of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entries {
    count: u64,
}

impl Entries {
    /// Of no fewer than [`BLOBS_AND_RESULT`] entries.
    pub(super) fn new(count: u64) -> Self {
        Self { count: count.max(BLOBS_AND_RESULT) }
    }

    /// How many blobs there are.
    pub(super) fn blobs(self) -> u64 {
        self.count - self.results()
    }

    fn results(self) -> u64 {
        self.count / BLOBS_AND_RESULT
    }

    /// Stores them all, unless a sample of them is there: filling takes minutes for millions.
    pub(super) async fn store(self, client: &Client) -> Result<(), CallError> {
        if self.are_there(client).await? {
            return Ok(());
        }
        let batches = (0..self.blobs().div_ceil(BATCH)).map(|number| async move {
            let places = number * BATCH..self.blobs().min((number + 1) * BATCH);
            let blobs = places.map(entry);
            client.batch_update(&batch::update_request(client.instance(), blobs)).await
        });
        stream::iter(batches).buffer_unordered(BATCHES_AT_A_TIME).try_collect::<()>().await?;
        let updates = (0..self.results()).map(|place| async move {
            let result = action::one_output(&entry(place).digest);
            client.update_result(&entry_key(place), result).await
        });
        stream::iter(updates).buffer_unordered(UPDATES_AT_A_TIME).try_collect::<()>().await
    }

    async fn are_there(self, client: &Client) -> Result<bool, CallError> {
        let mut noise = Noise::new(self.count);
        let places = (0..SAMPLES).map(|_| noise.below(self.blobs())).chain([self.blobs() - 1]);
        let digests: Vec<Digest> = places.map(|place| entry(place).digest).collect();
        if client.count_missing(&digests).await? > 0 {
            return Ok(false);
        }
        // Results are stored last.
        let last = client.get_result(&entry_key(self.results() - 1)).await;
        Ok(last.is_ok())
    }
}

/// A blob that fills the store.
pub(super) fn entry(place: u64) -> Blob {
    Blob::of(Content::Half, FIRST_SEED + place, ENTRY_BYTES)
}

/// The name of a result that fills it.
fn entry_key(place: u64) -> Digest {
    action::key(&format!("entry {place}"))
}

/// Of a hundred operations: 36 results that hit and 4 that miss, 30 questions for ten blobs, 20 reads, 10 new blobs.
#[derive(Debug)]
pub(super) struct Mixed {
    pub(super) entries: Entries,
    /// How many of them it looks at.
    pub(super) working_set: u64,
    pub(super) salt: u64,
}

impl Mixed {
    /// One of those that it looks at among so many, blobs or results.
    fn place(&self, noise: &mut Noise, all: u64) -> u64 {
        spread(noise, all, self.entries.count, self.working_set)
    }

    fn new_blob(&self, number: u64) -> Blob {
        Blob::of(Content::Half, self.salt.wrapping_add(number), ENTRY_BYTES)
    }
}

#[async_trait(?Send)]
impl Scenario for Mixed {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.entries.store(client).await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let mut noise = Noise::new(number);
        let entries = self.entries;
        match noise.below(100) {
            0..36 => {
                let place = self.place(&mut noise, entries.results());
                let stored = action::one_output(&entry(place).digest);
                action::expect_same(&client.get_result(&entry_key(place)).await?, &stored)?;
            }
            36..40 => match client.get_result(&action::key(&format!("absent {number}"))).await {
                Err(CallError::Status { code: NOT_FOUND, .. }) => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(CallError::Different { what: "a result nobody stored" }),
            },
            40..70 => {
                let places = (0..ASKED).map(|_| self.place(&mut noise, entries.blobs()));
                let digests: Vec<Digest> = places.map(|place| entry(place).digest).collect();
                client.find_present(client.find_request(&digests)).await?;
            }
            70..90 => {
                let blob = entry(self.place(&mut noise, entries.blobs()));
                client.read_expecting(&blob.digest, &blob.bytes).await?;
                return Ok(Moved::plain(ENTRY_BYTES as u64));
            }
            _ => {
                let blob = self.new_blob(number);
                client.write_blob(&blob.digest, blob.bytes).await?;
                return Ok(Moved::plain(ENTRY_BYTES as u64));
            }
        }
        Ok(Moved::default())
    }

    async fn verify(&self, client: &Client, done: Range<u64>) -> Result<(), CallError> {
        let wrote = |number: &u64| Noise::new(*number).below(100) >= 90;
        for number in done.rev().filter(wrote).take(100) {
            let blob = self.new_blob(number);
            client.read_expecting(&blob.digest, &blob.bytes).await?;
        }
        Ok(())
    }
}

/// A place among `all` that are a part of `entries`, of which a working set is looked at: the same part of it, at equal distances.
fn spread(noise: &mut Noise, all: u64, entries: u64, working_set: u64) -> u64 {
    let looked_at = u128::from(all) * u128::from(working_set) / u128::from(entries);
    let looked_at = u64::try_from(looked_at).unwrap_or(all).clamp(1, all);
    noise.below(looked_at) * (all / looked_at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_working_set_is_spread_over_all() {
        let check = |all: u64, entries: u64, working_set: u64, expect: &[u64]| {
            let mut noise = Noise::new(1);
            let places: BTreeSet<u64> =
                (0..1_000).map(|_| spread(&mut noise, all, entries, working_set)).collect();
            assert_eq!(places.into_iter().collect::<Vec<_>>(), expect);
        };
        check(3, 4, 4, &[0, 1, 2]);
        check(3, 4, 1_000, &[0, 1, 2]);
        check(750, 1_000, 4, &[0, 250, 500]);
        check(250, 1_000, 4, &[0]);
        check(250, 1_000, 1, &[0]);
    }
}
