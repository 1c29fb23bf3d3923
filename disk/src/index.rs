//! Opening sled, guarded; cutting off what it says too much; reading it in the background.
//!
//! sled is an index and disposable. It may be missing, damaged, panic or hang; each of these moves it aside and the log
//! rebuilds it. Nothing it says is believed about bytes that are not there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{DiskError, with_causes};
use crate::index_format::{
    Item, Line, MARK_KEY, Mark, Recency, dead_key, pack_prefix, page_key, parse_line,
    partition_key, push_item, recency_key,
};
use crate::io::Io;
use crate::key::RecordKind;
use crate::layout::Layout;
use crate::pack::LogPosition;
use crate::partitions::Partitions;
use crate::slot::{Entry, Location};

/// sled reads its own log when it is opened: seconds for tens of millions of records.
const OPEN_LIMIT: Duration = Duration::from_mins(1);
/// How long sled may take for its next page before it is given up.
const PAGE_LIMIT: Duration = Duration::from_secs(30);
/// How often sled writes out what it holds back.
const FLUSH_EVERY_MS: u64 = 500;
/// The cache of an index that is only looked at.
const INSPECT_CACHE_BYTES: u64 = 16 << 20;
/// How often, and after how long each time, a lock of sled's is asked for again.
const LOCK_TRIES: u32 = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Records that go to the loader in one piece: waking it for each page takes longer than reading the page.
const ITEMS_AT_A_TIME: usize = 1_024;
/// Such pieces that wait to be taken into the table.
const PIECES_AHEAD: usize = 4;

/// An index that could be used, not read yet.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) partitions: Partitions,
    pub(crate) mark: Mark,
}

/// What an index says, piece by piece.
#[derive(Debug)]
pub(crate) enum Said {
    Items(Vec<Item>),
    File(Entry),
    /// A record of this pack was dropped, and the log may not say so.
    Dead(u32),
    /// Nothing more; all has been said.
    End,
}

/// Opens sled; a fresh one without [`Head`] when the old one cannot be used. `None` when there is no way to have one: the
/// engine then works without, and the next start reads the log.
pub(crate) fn open(
    io: &dyn Io,
    layout: &Layout,
    cache_bytes: u64,
    salt: u64,
) -> (Option<sled::Db>, Option<Head>) {
    let dir = layout.index_dir();
    let existed = io.list(&dir).is_ok_and(|entries| !entries.is_empty());
    match guarded_open(&dir, cache_bytes, salt, Tail::Cut) {
        Ok((db, Some(head))) => return (Some(db), Some(head)),
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
        tracing::warn!(error = %with_causes(&error), "the old index cannot be moved; going on without an index");
        return (None, None);
    }
    match guarded_open(&dir, cache_bytes, salt, Tail::Cut) {
        Ok((db, _)) => (Some(db), None),
        Err(reason) => {
            tracing::warn!(%reason, "no index can be made; going on without one");
            (None, None)
        }
    }
}

/// Keeps the index for a look, out of the way of a new one.
pub(crate) fn move_aside(io: &dyn Io, layout: &Layout) -> Result<(), DiskError> {
    let (dir, broken) = (layout.index_dir(), layout.broken_index_dir());
    if io.list(&broken).is_ok() {
        io.remove_dir_all(&broken).map_err(DiskError::io("remove", &broken))?;
    }
    io.rename(&dir, &broken).map_err(DiskError::io("move aside", &dir))
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error("sled panicked while opening")]
    Panicked,
    #[error("opening took longer than {} s", OPEN_LIMIT.as_secs())]
    TooSlow,
    #[error("no thread to open it in")]
    Thread,
}

type Opened = (sled::Db, Option<Head>);

/// Whether what an index says of the log behind its mark is removed.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Tail {
    Cut,
    Kept,
}

/// Opens an index for a look. Its lines stay as they are; the error says why it cannot be used.
pub(crate) fn inspect(dir: &Path, salt: u64) -> Result<Opened, Unusable> {
    guarded_open(dir, INSPECT_CACHE_BYTES, salt, Tail::Kept)
}

/// Opens in a thread of its own. One that takes too long is left to itself: there is no way to end it, it works on a
/// directory that is moved aside, and what it comes back with is dropped.
fn guarded_open(dir: &Path, cache_bytes: u64, salt: u64, tail: Tail) -> Result<Opened, Unusable> {
    let dir = dir.to_owned();
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("disk-index-open".to_owned())
        .spawn(move || {
            let opened =
                catch_unwind(AssertUnwindSafe(|| open_head(&dir, cache_bytes, salt, tail)));
            let _ = sender.send(opened);
        })
        .map_err(|_| Unusable::Thread)?;
    match receiver.recv_timeout(OPEN_LIMIT) {
        Ok(Ok(opened)) => opened.map_err(Unusable::Sled),
        Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(Unusable::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Unusable::TooSlow),
    }
}

/// The data directory is ours, so sled's own lock can only be held by what is left of an engine that has just ended in this
/// process: sled's threads let go of it a moment after the last handle is dropped.
fn open_db(dir: &Path, cache_bytes: u64) -> Result<sled::Db, sled::Error> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let mut tries = LOCK_TRIES;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && tries > 0 => {
                tries -= 1;
                std::thread::park_timeout(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// sled passes the system's answer on as a text only.
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

fn open_head(dir: &Path, cache_bytes: u64, salt: u64, tail: Tail) -> Result<Opened, sled::Error> {
    let db = open_db(dir, cache_bytes)?;
    let mark = db.get(MARK_KEY)?.and_then(|value| parse_line(&MARK_KEY, &value, |_| None));
    let Some(Line::Mark(mark)) = mark else { return Ok((db, None)) };
    if mark.salt != salt {
        return Ok((db, None));
    }
    let partitions = Partitions::default();
    let mut number = 0;
    while let Some(value) = db.get(partition_key(number))? {
        let key = partition_key(number);
        let Some(Line::Partition(_, partition)) = parse_line(&key, &value, |_| None) else {
            return Ok((db, None));
        };
        if partitions.push(partition) != Some(number) {
            return Ok((db, None));
        }
        number += 1;
    }
    if tail == Tail::Cut {
        cut(&db, mark.position, &partitions)?;
    }
    Ok((db, Some(Head { partitions, mark })))
}

/// Takes the mark back to where the log ends, when it ends before it: what was behind is lost, other records will stand
/// there. Without success the index is not to be used.
pub(crate) fn take_back(db: &sled::Db, mark: Mark, partitions: &Partitions) -> bool {
    let take_back = || -> Result<(), sled::Error> {
        cut(db, mark.position, partitions)?;
        db.insert(MARK_KEY, mark.to_value().as_slice()).map(drop)
    };
    matches!(catch_unwind(AssertUnwindSafe(take_back)), Ok(Ok(())))
}

/// Removes what is said of the log behind the mark: a power cut may have taken those records, and others stand there now.
fn cut(db: &sled::Db, mark: LogPosition, partitions: &Partitions) -> Result<(), sled::Error> {
    let LogPosition { pack, offset } = mark;
    let end = |start: [u8; 10]| {
        let mut end = start;
        end[6..].fill(u8::MAX);
        start..=end
    };
    // No pack has the greatest id.
    let later = db.range(pack_prefix(pack.saturating_add(1))..pack_prefix(u32::MAX));
    let in_pack = [dead_key, recency_key, page_key].map(|key| db.range(end(key(pack, offset))));
    for line in in_pack.into_iter().flatten().chain(later) {
        db.remove(line?.0)?;
    }
    let Some((key, value)) = db.get_lt(page_key(pack, offset))? else { return Ok(()) };
    let kind_of = |number| partitions.get(number).map(|partition| partition.kind);
    let Some(Line::Page(of, items)) = parse_line(&key, &value, kind_of) else { return Ok(()) };
    let is_behind = |item: &Item| match item {
        Item::Put(Entry { location: Location::Pack { offset: at, .. }, record_bytes, .. }) => {
            u64::from(*at) + record_bytes > u64::from(offset)
        }
        Item::Put(_) | Item::Removal { .. } => item.location() >= Location::Pack { pack, offset },
    };
    if of == pack && items.iter().any(is_behind) {
        let mut page = Vec::new();
        for item in items.iter().filter(|item| !is_behind(item)) {
            push_item(&mut page, item);
        }
        db.insert(key, page)?;
    }
    Ok(())
}

/// An index that is being read in a thread of its own.
#[derive(Debug)]
pub(crate) struct Reading {
    said: mpsc::Receiver<Result<Said, sled::Error>>,
    thread: JoinHandle<()>,
}

impl Reading {
    /// Begins to read. What `partitions` does not know when it is met is left out, for the log to say again.
    pub(crate) fn begin(db: sled::Db, partitions: Vec<RecordKind>) -> std::io::Result<Self> {
        let (sender, said) = mpsc::sync_channel(PIECES_AHEAD);
        let sender = Arc::new(sender);
        let name = "disk-index-read".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| read_all(&db, &partitions, &sender)));
            let last = match read {
                Ok(Ok(())) => Ok(Said::End),
                Ok(Err(error)) => Err(error),
                // The other side sees that there is nobody to hear from.
                Err(_) => return,
            };
            let _ = sender.send(last);
        })?;
        Ok(Self { said, thread })
    }

    /// Waits until the index is closed again, which is soon after it has said the last.
    pub(crate) fn close(self) {
        drop(self.said);
        // A panic has been told of as a failure.
        let _ = self.thread.join();
    }

    /// The next piece; `None` when the index failed, panicked or hangs.
    pub(crate) fn next(&self) -> Option<Said> {
        match self.said.recv_timeout(PAGE_LIMIT) {
            Ok(Ok(said)) => Some(said),
            Ok(Err(error)) => {
                tracing::warn!(error = %with_causes(&error), "the index cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

fn read_all(
    db: &sled::Db,
    kinds: &[RecordKind],
    sender: &mpsc::SyncSender<Result<Said, sled::Error>>,
) -> Result<(), sled::Error> {
    let mut facts = PackFacts::default();
    let mut gathered = Vec::with_capacity(ITEMS_AT_A_TIME);
    let kind_of = |number: u16| kinds.get(usize::from(number)).copied();
    let mut last = sled::IVec::default();
    // One search a line and no iterator: sled lets go of nodes only after so many searches, and an iterator makes one for
    // a node with all its lines, which leaves the whole index in memory.
    while let Some((key, value)) = db.get_gt(&last)? {
        last = key.clone();
        let said = match parse_line(&key, &value, kind_of) {
            Some(Line::Dead(pack, offset)) => {
                facts.of(pack).dead.push(offset);
                Said::Dead(pack)
            }
            Some(Line::Recencies(pack, recencies)) => {
                facts.of(pack).recencies.extend(recencies);
                continue;
            }
            Some(Line::Page(pack, items)) => {
                gathered.append(&mut facts.of(pack).apply(items));
                if gathered.len() < ITEMS_AT_A_TIME {
                    continue;
                }
                Said::Items(std::mem::replace(&mut gathered, Vec::with_capacity(ITEMS_AT_A_TIME)))
            }
            Some(Line::File(entry)) => Said::File(entry),
            Some(Line::Mark(_) | Line::Partition(..)) | None => continue,
        };
        if sender.send(Ok(said)).is_err() {
            // Nobody waits for it any more.
            return Ok(());
        }
    }
    // Where nobody waits for it any more it does not matter.
    let _ = sender.send(Ok(Said::Items(gathered)));
    Ok(())
}

/// What is known of a pack's records before its pages are read. Its lines come in this order: dead, recencies, pages.
#[derive(Default, Debug)]
struct PackFacts {
    pack: u32,
    dead: Vec<u32>,
    recencies: Vec<Recency>,
}

impl PackFacts {
    fn of(&mut self, pack: u32) -> &mut Self {
        if self.pack != pack {
            *self = Self { pack, ..Self::default() };
        }
        self
    }

    /// Leaves out what is dead, and brings recency and hits up to date. A dead action result becomes a removal: an older one must not
    /// be found in its stead.
    fn apply(&self, mut items: Vec<Item>) -> Vec<Item> {
        items.retain_mut(|item| {
            let at = item.location();
            let Location::Pack { offset, .. } = at else { return false };
            let is_dead = self.dead.binary_search(&offset).is_ok();
            if let Item::Put(Entry { key, kind: RecordKind::ActionResult, .. }) = item
                && is_dead
            {
                *item = Item::Removal { key: *key, at };
                return true;
            }
            if let Item::Put(entry) = item
                && let Ok(at) = self.recencies.binary_search_by_key(&offset, |it| it.offset)
            {
                entry.recency_s = self.recencies[at].asked_s;
                entry.hits = self.recencies[at].hits;
            }
            !is_dead
        });
        items
    }
}
