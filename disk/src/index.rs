//! Opening sled: guarded, loaded into a fresh table, checked against what the disk really holds.
//!
//! sled is an index and disposable. It may be missing, damaged, panic or hang; each of these moves it aside and the log
//! rebuilds it. Nothing it says is believed about bytes that are not there.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use crate::error::DiskError;
use crate::index_format::{Line, MARK_KEY, Mark, entry_key, parse_line};
use crate::io::Io;
use crate::key::RecordKind;
use crate::layout::Layout;
use crate::pack::LogPosition;
use crate::partitions::Partitions;
use crate::table::{Entry, Location, Table};

/// Loading takes 4-6 s a million entries on a busy machine (ADR 3): room for some thirty million.
const OPEN_LIMIT: Duration = Duration::from_mins(3);
/// How often sled writes out what it holds back.
const FLUSH_EVERY_MS: u64 = 500;

/// What the disk holds, by a look at the directories: the measure for what an index says.
#[derive(Clone, Default, Debug)]
pub(crate) struct Survey {
    /// Lengths by id.
    pub(crate) packs: BTreeMap<u32, u64>,
    /// Lengths by sequence number.
    pub(crate) files: HashMap<u64, u64>,
}

impl Survey {
    /// Whether an entry points to bytes that exist.
    fn holds(&self, entry: &Entry) -> bool {
        match entry.location {
            Location::Pack { pack, offset } => self
                .packs
                .get(&pack)
                .is_some_and(|length| u64::from(offset) + entry.record_bytes <= *length),
            Location::File { sequence } => self.files.get(&sequence) == Some(&entry.record_bytes),
        }
    }
}

/// An index that could be used.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) table: Table,
    pub(crate) partitions: Partitions,
    pub(crate) mark: Mark,
}

/// Opens sled and loads it; a fresh one without [`Loaded`] when the old one cannot be used. `None` when there is no way to
/// have one: the engine then works without, and the next start reads the log.
pub(crate) fn open(
    io: &dyn Io,
    layout: &Layout,
    cache_bytes: u64,
    salt: u64,
    survey: &Survey,
) -> (Option<sled::Db>, Option<Loaded>) {
    let dir = layout.index_dir();
    let existed = io.list(&dir).is_ok_and(|entries| !entries.is_empty());
    match guarded_open(&dir, cache_bytes, salt, survey.clone()) {
        Ok((db, Some(loaded))) => return (Some(db), Some(loaded)),
        Ok((db, None)) if !existed => return (Some(db), None),
        Ok((db, None)) => {
            tracing::warn!("the index holds no mark of this directory; rebuilding it from the log");
            drop(db);
        }
        Err(reason) => {
            tracing::warn!(%reason, "the index cannot be used; rebuilding it from the log");
        }
    }
    if let Err(error) = move_aside(io, layout) {
        tracing::warn!(%error, "the old index cannot be moved; going on without an index");
        return (None, None);
    }
    match guarded_open(&dir, cache_bytes, salt, survey.clone()) {
        Ok((db, _)) => (Some(db), None),
        Err(reason) => {
            tracing::warn!(%reason, "no index can be made; going on without one");
            (None, None)
        }
    }
}

fn move_aside(io: &dyn Io, layout: &Layout) -> Result<(), DiskError> {
    let (dir, broken) = (layout.index_dir(), layout.broken_index_dir());
    if io.list(&broken).is_ok() {
        io.remove_dir_all(&broken).map_err(DiskError::io("remove", &broken))?;
    }
    io.rename(&dir, &broken).map_err(DiskError::io("move aside", &dir))
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error("sled panicked while opening")]
    Panicked,
    #[error("opening took longer than {} s", OPEN_LIMIT.as_secs())]
    TooSlow,
    #[error("no thread to open it in")]
    Thread,
}

type Opened = (sled::Db, Option<Loaded>);

/// Opens and loads in a thread of its own. One that takes too long is left to itself: there is no way to end it, it works on
/// a directory that is moved aside, and what it comes back with is dropped.
fn guarded_open(
    dir: &Path,
    cache_bytes: u64,
    salt: u64,
    survey: Survey,
) -> Result<Opened, Unusable> {
    let dir = dir.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("disk-index-open".to_owned())
        .spawn(move || {
            let opened =
                catch_unwind(AssertUnwindSafe(|| open_and_load(&dir, cache_bytes, salt, &survey)));
            let _ = sender.send(opened);
        })
        .map_err(|_| Unusable::Thread)?;
    match receiver.recv_timeout(OPEN_LIMIT) {
        Ok(Ok(opened)) => opened.map_err(Unusable::Sled),
        Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(Unusable::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Unusable::TooSlow),
    }
}

fn open_and_load(
    dir: &Path,
    cache_bytes: u64,
    salt: u64,
    survey: &Survey,
) -> Result<Opened, sled::Error> {
    let db = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
        .open()?;
    let mark = db.get(MARK_KEY)?.and_then(|value| parse_line(&MARK_KEY, &value, |_| None));
    let Some(Line::Mark(mark)) = mark else { return Ok((db, None)) };
    if mark.salt != salt {
        return Ok((db, None));
    }
    let loaded = load(&db, mark, survey)?;
    Ok((db, loaded))
}

/// Reads all lines; `None` when they do not fit together.
fn load(db: &sled::Db, mark: Mark, survey: &Survey) -> Result<Option<Loaded>, sled::Error> {
    let loaded = Loaded { table: Table::new(), partitions: Partitions::default(), mark };
    let mut kinds: Vec<RecordKind> = Vec::new();
    let mut stale = Vec::new();
    for line in db.iter() {
        let (key, value) = line?;
        let kind_of = |number: u16| kinds.get(usize::from(number)).copied();
        match parse_line(&key, &value, kind_of) {
            Some(Line::Mark(_)) => {}
            Some(Line::Partition(number, partition)) => {
                kinds.push(partition.kind);
                if loaded.partitions.push(partition) != Some(number) {
                    return Ok(None);
                }
            }
            Some(Line::Entry(entry)) if !survey.holds(&entry) => stale.push(entry.key),
            // Written ahead of the mark: the log says it again, and is checked.
            Some(Line::Entry(entry)) if is_behind(&entry, mark.position) => {}
            Some(Line::Entry(entry)) => {
                loaded.table.replace(&entry);
            }
            None => return Ok(None),
        }
    }
    for key in stale {
        db.remove(entry_key(&key))?;
    }
    Ok(Some(loaded))
}

fn is_behind(entry: &Entry, mark: LogPosition) -> bool {
    matches!(entry.location, Location::Pack { pack, offset } if LogPosition { pack, offset } >= mark)
}
