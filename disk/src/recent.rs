//! [`RecentRecord`]: what was asked for last, for who fills a memory again after a start.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::Engine;
use crate::error::DiskError;
use crate::key::{RecordKey, RecordKind};
use crate::reader::{Accepts, Opened, RecordReader, key_at};
use crate::slot::{Entry, Location};

/// A record that was asked for lately. Its whole name stands with the record itself.
#[derive(Clone, Debug)]
pub struct RecentRecord(Entry);

impl RecentRecord {
    /// Bytes of the content.
    pub fn logical_size_bytes(&self) -> u64 {
        self.0.logical_size_bytes
    }
}

impl Engine {
    /// Records in packs, of one kind, that were asked for, the most recent first, up to `limit_bytes` of content together;
    /// those of more than `largest_bytes` are left out, and so is what was only stored. Looks at the whole index: a fraction of a
    /// second for millions of records. Blocks until all that is stored is known.
    pub fn recent(
        &self,
        kind: RecordKind,
        limit_bytes: u64,
        largest_bytes: u64,
    ) -> Vec<RecentRecord> {
        self.wait_loaded();
        let is_wanted = |entry: &Entry| {
            entry.kind == kind
                && entry.hits > 0
                && entry.logical_size_bytes <= largest_bytes
                && matches!(entry.location, Location::Pack { .. })
        };
        let table = &self.inventory().table;
        // Bytes by second first: the list that is then made holds no more than is asked for.
        let mut bytes_by_second: BTreeMap<u32, u64> = BTreeMap::new();
        table.for_each(|entry| {
            if is_wanted(entry) {
                *bytes_by_second.entry(entry.recency_s).or_default() += entry.logical_size_bytes;
            }
        });
        let mut bytes = 0;
        let oldest = bytes_by_second.iter().rev().find_map(|(second, more)| {
            bytes += more;
            (bytes >= limit_bytes).then_some(*second)
        });
        let oldest = oldest.unwrap_or(0);
        let mut entries = Vec::new();
        table.for_each(|entry| {
            if is_wanted(entry) && entry.recency_s >= oldest {
                entries.push(*entry);
            }
        });
        entries.sort_unstable_by_key(|entry| {
            std::cmp::Reverse((entry.recency_s, entry.hits, entry.location))
        });
        let mut left_bytes = limit_bytes;
        let fits = |entry: &Entry| {
            let left = left_bytes.checked_sub(entry.logical_size_bytes);
            left.inspect(|left| left_bytes = *left).is_some()
        };
        entries.into_iter().take_while(fits).map(RecentRecord).collect()
    }

    /// Reads such a record, and its name; `None` when it has moved or gone meanwhile. It is not counted as asked for. Blocks.
    pub fn read_recent(
        &self,
        record: &RecentRecord,
        accepts: Accepts,
    ) -> Result<Option<(RecordKey, RecordReader)>, DiskError> {
        const ALL: Range<u64> = 0..u64::MAX;
        // What is removed stays in its pack for a while: only the table tells.
        let there = self.inventory().table.get(&record.0.key);
        if there.is_none_or(|there| there.location != record.0.location) {
            return Ok(None);
        }
        let Some(key) = key_at(self.inventory(), &record.0)? else { return Ok(None) };
        match RecordReader::open(self.inventory(), &key, record.0, ALL, accepts)? {
            Opened::Reader(reader) => Ok(Some((key, reader))),
            Opened::Gone | Opened::Another => Ok(None),
        }
    }
}
