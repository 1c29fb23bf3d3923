//! Asking the index whether it can be used, and whether it knows of records that are lost.
//!
//! The index is no truth, but it remembers: a pack that was cut between two records looks whole by itself, and only the
//! index knows that there was more.

use std::collections::BTreeMap;

use super::directory::Directory;
use super::{Finding, FindingKind, Verifier};
use crate::error::DiskError;
use crate::index::{Head, Reading, Said, inspect};
use crate::index_format::Item;
use crate::pack::LogPosition;
use crate::slot::Location;

/// How many lost records are told one by one.
const TOLD_LOST: u64 = 100;

impl Verifier<'_> {
    /// `ends` says where the packs end.
    pub(super) fn index(
        &mut self,
        directory: &Directory,
        ends: &BTreeMap<u32, u64>,
    ) -> Result<(), DiskError> {
        let dir = self.layout.index_dir();
        if !self.io.list(&dir).is_ok_and(|names| !names.is_empty()) {
            return Ok(());
        }
        let findings = match inspect(&dir, directory.salt) {
            Ok((db, Some(head))) => self.ask(db, &head, ends),
            Ok((_, None)) => vec![self.bad("it holds no mark of this directory".to_owned())],
            Err(reason) => vec![self.bad(format!("it cannot be used: {reason}"))],
        };
        for finding in findings {
            self.tell(finding, |it| it.remove_dir(&it.layout.index_dir()))?;
        }
        Ok(())
    }

    fn ask(&self, db: sled::Db, head: &Head, ends: &BTreeMap<u32, u64>) -> Vec<Finding> {
        let mark = head.mark.position;
        let mut findings: Vec<_> = self.ask_mark(mark, ends).into_iter().collect();
        let Ok(reading) = Reading::begin(db, head.partitions.kinds()) else {
            findings.push(self.bad("no thread to read it in".to_owned()));
            return findings;
        };
        let mut lost = 0_u64;
        loop {
            let items = match reading.next() {
                // Left to itself: it may hang.
                None => {
                    findings.push(self.bad("it fails while it is read".to_owned()));
                    break;
                }
                Some(Said::End) => {
                    reading.close();
                    break;
                }
                Some(Said::File(_) | Said::Dead(_)) => continue,
                Some(Said::Items(items)) => items,
            };
            for (pack, offset) in items.iter().filter_map(|item| lost_at(item, mark, ends)) {
                lost += 1;
                if lost <= TOLD_LOST {
                    let reason = format!(
                        "it knows a record in pack {pack:08x} +{offset}, which ends before"
                    );
                    findings.push(self.bad(reason));
                }
            }
        }
        if lost > TOLD_LOST {
            let more = lost - TOLD_LOST;
            findings.push(self.bad(format!("it knows {more} more records that packs end before")));
        }
        findings
    }

    /// What is wrong when the log ends before the place that the index covers.
    fn ask_mark(&self, mark: LogPosition, ends: &BTreeMap<u32, u64>) -> Option<Finding> {
        let LogPosition { pack, offset } = mark;
        let Some((last, end)) = ends.last_key_value() else {
            let reason = "it covers a log of which no pack is left";
            return (pack > 0).then(|| self.bad(reason.to_owned()));
        };
        ((*last, *end) < (pack, u64::from(offset))).then(|| {
            self.bad(format!(
                "it covers the log up to pack {pack:08x} +{offset}; the log ends in pack {last:08x} +{end}"
            ))
        })
    }

    fn bad(&self, reason: String) -> Finding {
        Finding::new(FindingKind::BadIndex, &self.layout.index_dir(), reason)
    }
}

/// Where a record stood, if the log held it for certain and its pack is too short for it now. Of a pack that is not there
/// nothing is said: eviction may have taken it just before the end.
fn lost_at(item: &Item, mark: LogPosition, ends: &BTreeMap<u32, u64>) -> Option<(u32, u32)> {
    let Item::Put(entry) = item else { return None };
    let Location::Pack { pack, offset } = entry.location else { return None };
    let end = ends.get(&pack)?;
    let is_covered = LogPosition { pack, offset } < mark;
    (is_covered && u64::from(offset) + entry.record_bytes > *end).then_some((pack, offset))
}
