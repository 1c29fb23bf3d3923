//! [`Batch`]: records that go into a pack by one write, and what their being written brings about.

use std::collections::HashSet;
use std::io::IoSlice;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::commit::PutOutcome;
use crate::error::DiskError;
use crate::slot::{Entry, Location, ShortKey};

/// Where the one who waits is answered.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, DiskError>>;

/// A record on its way into the pack.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) bytes: Vec<u8>,
    pub(crate) prologue_bytes: usize,
    /// The body, where it is not in `bytes`.
    pub(crate) kept: Bytes,
    pub(crate) after: After,
}

impl Item {
    pub(crate) fn length_bytes(&self) -> u64 {
        (self.bytes.len() + self.kept.len()) as u64
    }

    /// What is written, one after the other.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = IoSlice<'_>> {
        let pieces = [&self.bytes[..], &self.kept[..]];
        pieces.into_iter().filter(|piece| !piece.is_empty()).map(IoSlice::new)
    }
}

/// What its being written brings about.
#[derive(Debug)]
pub(crate) enum After {
    Store {
        entry: Entry,
        answer: Answer<PutOutcome>,
    },
    Remove {
        key: ShortKey,
        location: Location,
        at: Location,
        answer: Answer<bool>,
    },
    Move {
        key: ShortKey,
        from: Location,
        to: Location,
    },
    /// What is forgotten stays so when the log is read again.
    Forget {
        key: ShortKey,
        at: Location,
    },
}

#[derive(Default, Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    pub(crate) bytes: u64,
    /// Blobs in `items`.
    pub(crate) blobs: HashSet<ShortKey>,
    /// Action results in `items`, and whatever is removed by them.
    pub(crate) others: HashSet<ShortKey>,
    /// Who asked for a blob that is in `items` already.
    pub(crate) followers: Vec<Answer<PutOutcome>>,
}

impl Batch {
    /// Whether it stores or removes a key, so that the table does not say yet how the key stands.
    pub(crate) fn is_about(&self, key: &ShortKey) -> bool {
        self.blobs.contains(key) || self.others.contains(key)
    }

    /// Makes room for so many blobs more.
    pub(crate) fn reserve(&mut self, blobs: usize) {
        self.items.reserve(blobs);
        self.blobs.reserve(blobs);
    }

    /// Whether it is itself a part of making room.
    pub(crate) fn is_of_reclaiming(&self) -> bool {
        let is = |item: &Item| matches!(item.after, After::Move { .. } | After::Forget { .. });
        self.items.iter().any(is)
    }

    /// The keys that it removes, and where in the log it does so.
    pub(crate) fn removals(&self) -> impl Iterator<Item = (&ShortKey, Location)> {
        self.items.iter().filter_map(|item| match &item.after {
            After::Remove { key, at, .. } | After::Forget { key, at } => Some((key, *at)),
            After::Store { .. } | After::Move { .. } => None,
        })
    }

    /// Tells all who wait that it was not written.
    pub(crate) fn fail(self, error: &DiskError) {
        for item in self.items {
            match item.after {
                After::Store { answer, .. } => drop(answer.send(Err(error.clone()))),
                After::Remove { answer, .. } => drop(answer.send(Err(error.clone()))),
                After::Move { .. } | After::Forget { .. } => {}
            }
        }
        for follower in self.followers {
            let _ = follower.send(Err(error.clone()));
        }
    }
}
