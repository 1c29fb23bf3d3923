//! Recency in the index: what was asked for since the last time is written down, pack by pack.
//!
//! The pages say what stands in the log, which never changes; recency does, so it has lines of its own. Only packs of which
//! something was asked for are written again.

use std::collections::BTreeMap;

use crate::index_format::{RECENCY_ENTRIES, Recency, push_recency, recency_key, recency_prefix};
use crate::indexer::Indexer;
use crate::slot::Location;

/// Records that are gathered at once, 16 bytes each: bounds memory against looking at the whole table once more.
const SLICE_RECORDS: u64 = 512 * 1024;

/// What a look at the table says of a pack.
#[derive(Default, Debug)]
struct PackSurvey {
    records: u64,
    has_fresh: bool,
}

impl Indexer {
    /// Writes down when records were last asked for, and how often.
    pub(crate) fn save_recency(&mut self) {
        let mut packs: BTreeMap<u32, PackSurvey> = BTreeMap::new();
        let mut files = Vec::new();
        self.inventory.table.for_each_slot(|found, shard| match found.location() {
            Location::Pack { pack, .. } => {
                let survey = packs.entry(pack).or_default();
                survey.records += 1;
                survey.has_fresh |= found.slot.is_fresh();
            }
            Location::File { .. } if found.slot.take_fresh() => files.push(found.entry(shard)),
            Location::File { .. } => {}
        });
        for entry in &files {
            self.put_file(entry);
        }
        packs.retain(|_, survey| survey.has_fresh);
        while let Some((first, _)) = packs.first_key_value() {
            let first = *first;
            let mut last = first;
            let mut records = 0;
            while let Some((pack, survey)) = packs.first_key_value() {
                if records > 0 && records + survey.records > SLICE_RECORDS {
                    break;
                }
                records += survey.records;
                last = *pack;
                packs.pop_first();
            }
            self.save_slice(first, last);
        }
    }

    /// Writes the packs from `first` to `last` of which something was asked for.
    fn save_slice(&mut self, first: u32, last: u32) {
        let mut seen: BTreeMap<u32, (bool, Vec<Recency>)> = BTreeMap::new();
        self.inventory.table.for_each_slot(|found, shard| {
            let Location::Pack { pack, offset } = found.location() else { return };
            if (first..=last).contains(&pack) {
                let entry = found.entry(shard);
                let (has_fresh, recencies) = seen.entry(pack).or_default();
                *has_fresh |= found.slot.take_fresh();
                recencies.push(Recency { offset, asked_s: entry.recency_s, hits: entry.hits });
            }
        });
        for (pack, (has_fresh, mut recencies)) in seen {
            if !has_fresh {
                continue;
            }
            recencies.sort_unstable();
            self.remove_lines(&recency_prefix(pack));
            for chunk in recencies.chunks(RECENCY_ENTRIES) {
                let mut line = Vec::new();
                for recency in chunk {
                    push_recency(&mut line, *recency);
                }
                self.put_line(&recency_key(pack, chunk[0].offset), &line);
            }
        }
    }
}
