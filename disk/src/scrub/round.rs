//! [`Round`]: one pass over all that the table lists.
//!
//! The table is looked through once for each batch of records; no lock is held while one is read, and what moves or goes
//! meanwhile is left alone.

use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use super::bookmark::{Bookmark, Turn};
use crate::body_check::BodyCheck;
use crate::error::{is_unreadable, with_causes};
use crate::inventory::Inventory;
use crate::io::{IoFile, OpenMode};
use crate::key::RecordKey;
use crate::layout::{fan_of_prefix, parse_blob_name};
use crate::pace::{Pace, PacedFile};
use crate::prologue::{Effect, Place, Prologue, announced_bytes};
use crate::slot::{Entry, Location};
use crate::window::Window;

/// Records for which the table is looked through once; some megabytes of memory.
const BATCH_RECORDS: usize = 32_768;
/// The bookmark is written after so many bytes.
const SAVE_EVERY_BYTES: u64 = 64 << 20;

/// What a round has done.
#[derive(Copy, Clone, Default, Debug)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) corrupt_records: u64,
    pub(super) skipped_records: u64,
}

/// One pass over all that the table lists, and the wait for the next.
pub(super) struct Round {
    inventory: Arc<Inventory>,
    pace: Arc<dyn Pace>,
    bookmark: Bookmark,
    skipped_records: u64,
    unsaved_bytes: u64,
}

/// What is to be said of a record.
enum Verdict {
    Sound,
    /// Its key is known.
    Rotten(RecordKey, String),
    /// Not even that can be read.
    Unnamed(String),
}

impl Round {
    /// Takes up what an earlier run left.
    pub(super) fn resume(inventory: &Arc<Inventory>, pace: Arc<dyn Pace>) -> Self {
        let bookmark = Bookmark::load(&*inventory.io, &inventory.layout);
        let inventory = Arc::clone(inventory);
        Self { inventory, pace, bookmark, skipped_records: 0, unsaved_bytes: 0 }
    }

    /// How long to wait for a round that begins so long after the last one; `None` when there is something to do now.
    pub(super) fn due_in(&self, every: Duration) -> Option<Duration> {
        let Bookmark { begun_unix_ms, .. } = self.bookmark;
        // One that found nothing to check puts off none.
        if begun_unix_ms == 0 || self.bookmark.is_under_way() || self.bookmark.records == 0 {
            return None;
        }
        // A clock that was set back must not put off the next round for years.
        let since = self.inventory.io.unix_ms().checked_sub(begun_unix_ms)?;
        every.checked_sub(Duration::from_millis(since)).filter(|rest| !rest.is_zero())
    }

    /// Begins a round, or says that the one under way goes on.
    pub(super) fn begin_or_go_on(&mut self) {
        let is_resumed = self.bookmark.is_under_way();
        if !is_resumed {
            self.bookmark = Bookmark::begin(self.inventory.io.unix_ms());
            self.skipped_records = 0;
        }
        let checked_bytes = self.bookmark.bytes;
        tracing::info!(is_resumed, checked_bytes, "scrubbing what is stored");
    }

    pub(super) fn begun_unix_ms(&self) -> u64 {
        self.bookmark.begun_unix_ms
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            records: self.bookmark.records,
            bytes: self.bookmark.bytes,
            corrupt_records: self.bookmark.corrupt_records,
            skipped_records: self.skipped_records,
        }
    }

    pub(super) fn save(&mut self) {
        self.unsaved_bytes = 0;
        self.bookmark.save(&*self.inventory.io, &self.inventory.layout);
    }

    /// Goes on to the end of the round; tells after each record how far it is. An error is the pace's, or nothing could be
    /// done about it here.
    pub(super) fn run(&mut self, tell: &mut dyn FnMut(Totals)) -> io::Result<()> {
        let mut check = BodyCheck::new()?;
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                break;
            }
            for run in batch.chunk_by(|left, right| home_of(left) == home_of(right)) {
                match run[0].location {
                    Location::Pack { pack, .. } => self.pack(pack, run, &mut check, tell)?,
                    Location::File { .. } => self.files(run, &mut check, tell)?,
                }
            }
        }
        self.bookmark.ended_unix_ms = self.inventory.io.unix_ms().max(1);
        let Totals { records, bytes, corrupt_records, skipped_records } = self.totals();
        tracing::info!(
            records,
            bytes,
            corrupt_records,
            skipped_records,
            "a scrub has checked all that is stored"
        );
        Ok(())
    }

    /// The next records whose turn it is, in their order.
    fn next_batch(&self) -> Vec<Entry> {
        let last = self.bookmark.last;
        let mut heap: BinaryHeap<Next> = BinaryHeap::new();
        self.inventory.table.for_each(|entry| {
            let turn = Turn::of(entry);
            if turn <= last {
                return;
            }
            if heap.len() < BATCH_RECORDS {
                heap.push(Next { turn, entry: *entry });
            } else if heap.peek().is_some_and(|latest| turn < latest.turn) {
                heap.pop();
                heap.push(Next { turn, entry: *entry });
            }
        });
        heap.into_sorted_vec().into_iter().map(|next| next.entry).collect()
    }

    fn pack(
        &mut self,
        pack: u32,
        entries: &[Entry],
        check: &mut BodyCheck,
        tell: &mut dyn FnMut(Totals),
    ) -> io::Result<()> {
        let file = ScrubbedPack { inventory: Arc::clone(&self.inventory), id: pack };
        let file = self.paced(Arc::new(file));
        let mut window = Window::new(&file, u64::MAX);
        for entry in entries {
            let Location::Pack { offset, .. } = entry.location else { continue };
            let place = Place::in_pack(self.inventory.salt, pack, offset);
            let verdict = self.read(&file, &mut window, (offset.into(), place), entry, check)?;
            self.conclude(entry, None, verdict, tell);
        }
        Ok(())
    }

    /// Blob files of one directory.
    fn files(
        &mut self,
        entries: &[Entry],
        check: &mut BodyCheck,
        tell: &mut dyn FnMut(Totals),
    ) -> io::Result<()> {
        let inventory = Arc::clone(&self.inventory);
        let dir = inventory.layout.blob_dir(fan_of_prefix(&entries[0].key.prefix));
        let mut names = HashMap::new();
        let listing = match inventory.io.list(&dir) {
            // Another hand took the whole directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listing => listing?,
        };
        for listed in listing {
            if let Some((_, sequence)) = listed.name.to_str().and_then(parse_blob_name) {
                names.insert(sequence, dir.join(&listed.name));
            }
        }
        for entry in entries {
            let Location::File { sequence } = entry.location else { continue };
            let Some(path) = names.get(&sequence) else {
                let gone = Verdict::Unnamed("its file is gone".to_owned());
                self.conclude(entry, None, gone, tell);
                continue;
            };
            let verdict = match inventory.io.open(path, OpenMode::Read) {
                Ok(file) => {
                    let file = self.paced(file);
                    let mut window = Window::new(&file, u64::MAX);
                    let place = Place::in_file(inventory.salt);
                    self.read(&file, &mut window, (0, place), entry, check)?
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Verdict::Unnamed("its file is gone".to_owned())
                }
                Err(error) if is_unreadable(&error) => unreadable(&error),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %with_causes(&error), "a blob file cannot be checked now");
                    self.skipped_records += 1;
                    self.bookmark.last = Turn::of(entry);
                    tell(self.totals());
                    continue;
                }
            };
            self.conclude(entry, Some(path), verdict, tell);
        }
        Ok(())
    }

    fn paced(&self, file: Arc<dyn IoFile>) -> PacedFile {
        PacedFile { file, pace: Arc::clone(&self.pace) }
    }

    /// Reads a record; once more by itself where the system refuses, so that it does not answer for its neighbours.
    fn read(
        &self,
        file: &PacedFile,
        window: &mut Window<'_>,
        (at, place): (u64, Place),
        entry: &Entry,
        check: &mut BodyCheck,
    ) -> io::Result<Verdict> {
        match self.judge(window, (at, place), entry, check) {
            Err(error) if is_unreadable(&error) => {}
            judged => return judged,
        }
        let mut alone = Window::new(file, at + entry.record_bytes);
        match self.judge(&mut alone, (at, place), entry, check) {
            Err(error) if is_unreadable(&error) => Ok(unreadable(&error)),
            judged => judged,
        }
    }

    fn judge(
        &self,
        window: &mut Window<'_>,
        (at, place): (u64, Place),
        entry: &Entry,
        check: &mut BodyCheck,
    ) -> io::Result<Verdict> {
        let announced = announced_bytes(window.peek(at, 12)?);
        let announced = match announced {
            Ok(announced) if announced as u64 <= entry.record_bytes => announced,
            Ok(_) => return Ok(Verdict::Unnamed("its prologue is too long".to_owned())),
            Err(error) => return Ok(Verdict::Unnamed(error.to_string())),
        };
        let prologue = match Prologue::parse(window.peek(at, announced)?, place) {
            Ok(prologue) => prologue,
            Err(error) => return Ok(Verdict::Unnamed(error.to_string())),
        };
        if self.inventory.short_key(&prologue.key) != Some(entry.key)
            || prologue.effect != Effect::Store
            || prologue.record_bytes() != entry.record_bytes
        {
            return Ok(Verdict::Unnamed("another record stands there".to_owned()));
        }
        let rot = check.check(&prologue, window, at + announced as u64)?;
        Ok(match rot {
            None => Verdict::Sound,
            Some(rot) => Verdict::Rotten(prologue.key, rot.to_string()),
        })
    }

    fn conclude(
        &mut self,
        entry: &Entry,
        file: Option<&std::path::PathBuf>,
        verdict: Verdict,
        tell: &mut dyn FnMut(Totals),
    ) {
        let is_dropped = match verdict {
            Verdict::Sound => false,
            Verdict::Rotten(key, reason) => {
                let is_there = self.is_there(entry);
                drop(self.inventory.quarantine(&key, entry, &reason));
                is_there
            }
            Verdict::Unnamed(reason) => {
                let file = file.map(std::path::PathBuf::as_path);
                self.inventory.quarantine_unnamed(entry, file, &reason)
            }
        };
        self.bookmark.last = Turn::of(entry);
        self.bookmark.records += 1;
        self.bookmark.bytes += entry.record_bytes;
        self.bookmark.corrupt_records += u64::from(is_dropped);
        self.unsaved_bytes += entry.record_bytes;
        if self.unsaved_bytes >= SAVE_EVERY_BYTES {
            self.save();
        }
        tell(self.totals());
    }

    fn is_there(&self, entry: &Entry) -> bool {
        let now = self.inventory.table.get(&entry.key);
        now.is_some_and(|now| now.location == entry.location)
    }
}

/// A pack that is held only while it is read: who waits between two reads must not keep one that is evicted from being closed. One
/// that is gone is empty.
#[derive(Debug)]
struct ScrubbedPack {
    inventory: Arc<Inventory>,
    id: u32,
}

impl ScrubbedPack {
    fn with<T>(&self, otherwise: T, work: impl FnOnce(&dyn IoFile) -> T) -> T {
        self.inventory.packs.get(self.id).map_or(otherwise, |pack| work(&*pack.file))
    }
}

impl IoFile for ScrubbedPack {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Ok(0), |file| file.read_at(buffer, offset))
    }
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.with(0, |file| file.read_cached(buffer, offset))
    }
    fn write_at(&self, _slices: &[IoSlice<'_>], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn forget_cached(&self, offset: u64, length_bytes: u64) {
        self.with((), |file| file.forget_cached(offset, length_bytes));
    }
    fn len_bytes(&self) -> io::Result<u64> {
        self.with(Ok(0), IoFile::len_bytes)
    }
    fn truncate(&self, _length_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An entry in the heap of those whose turn is next.
struct Next {
    turn: Turn,
    entry: Entry,
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.turn.cmp(&other.turn)
    }
}

/// The pack, or the directory of blob files, where an entry is.
fn home_of(entry: &Entry) -> (bool, u32) {
    match entry.location {
        Location::Pack { pack, .. } => (false, pack),
        Location::File { .. } => (true, u32::from(fan_of_prefix(&entry.key.prefix))),
    }
}

fn unreadable(error: &io::Error) -> Verdict {
    Verdict::Unnamed(format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
