//! [`Loader`]: fills the table in the background, from the index and from what of the log the index does not cover.
//!
//! While it runs, what is in the table already is served, and what is not is not believed to be missing: who does not find
//! a record waits for [`Inventory::loaded`]. The order in which it reads does not matter, since of two records of a key the
//! one further along the log stays.
//! Errors: an index that fails on the way is left, and the log is read instead.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use larder_protos::Hash;

use crate::error::{DiskError, with_causes};
use crate::index::{Reading, Said};
use crate::index_format::Item;
use crate::indexer::IndexUpdate;
use crate::inventory::Inventory;
use crate::io::{IoFile, OpenMode, read_full};
use crate::key::RecordKind;
use crate::pack::Pack;
use crate::prologue::{Effect, Place, Prologue, announced_bytes};
use crate::scan::{Bodies, Found, Scanner};
use crate::slot::{Entry, Location, ShortKey};
use crate::table::Offered;

/// A pack that is to be read from `from` on.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) pack: Arc<Pack>,
    pub(crate) from: u64,
    /// Behind this lies what was appended since.
    pub(crate) length: u64,
}

/// A blob file as it was found.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) path: PathBuf,
    pub(crate) hash_hex: String,
    pub(crate) length: u64,
}

/// What is still to be read.
#[derive(Debug)]
pub(crate) struct Loader {
    inventory: Arc<Inventory>,
    /// Read first; `None` when there is nothing in it.
    index: Option<sled::Db>,
    /// All packs but the last, and as far as the index covers them.
    scans: Vec<Scan>,
    lengths: HashMap<u32, u64>,
    files: HashMap<u64, FoundFile>,
    /// Where keys were removed: what stands before that in the log is not to be found.
    removals: HashMap<ShortKey, Location>,
    /// For the index, while nobody takes them from the queue.
    updates: Option<Vec<IndexUpdate>>,
    /// The engine was closed before all was read.
    is_cut_short: bool,
}

impl Loader {
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        index: Option<sled::Db>,
        files: HashMap<u64, FoundFile>,
    ) -> Self {
        Self {
            inventory,
            index,
            scans: Vec::new(),
            lengths: HashMap::new(),
            files,
            removals: HashMap::new(),
            updates: Some(Vec::new()),
            is_cut_short: false,
        }
    }

    /// Leaves a pack to be read later.
    pub(crate) fn leave(&mut self, scan: Scan) {
        self.lengths.insert(scan.pack.id, scan.length);
        self.scans.push(scan);
    }

    /// What the index has to be told of what was read so far; from here on it is told by the queue.
    pub(crate) fn take_updates(&mut self) -> Vec<IndexUpdate> {
        self.updates.take().unwrap_or_default()
    }

    pub(crate) fn tell_index(&mut self, update: IndexUpdate) {
        match &mut self.updates {
            Some(updates) => updates.push(update),
            None => self.inventory.tell_index(update),
        }
    }

    /// The thread's work.
    pub(crate) fn run(mut self) {
        let inventory = Arc::clone(&self.inventory);
        let _opens = OpenOnExit(&inventory);
        if let Some(index) = self.index.take()
            && !self.index(index)
            && !self.is_cut_short
        {
            tracing::warn!("the index fails while it is read; reading the log instead");
            self.scans.iter_mut().for_each(|scan| scan.from = 0);
        }
        for scan in std::mem::take(&mut self.scans) {
            if scan.from >= scan.length {
                continue;
            }
            if let Err(error) = self.scan(&scan, Bodies::Trusted) {
                tracing::error!(error = %with_causes(&error), "a pack cannot be read; its records are missing until the next start");
            }
        }
        self.files();
        // An engine that is closed at once may have read all there is: what it was told since must not be lost.
        if !self.is_cut_short {
            self.tell_index(IndexUpdate::CaughtUp);
        }
    }

    /// Takes in what the index says; `false` when it cannot be read to its end.
    fn index(&mut self, db: sled::Db) -> bool {
        let kinds = self.inventory.partitions.kinds();
        let Ok(reading) = Reading::begin(db, kinds) else { return false };
        while !self.inventory.is_closing() {
            match reading.next() {
                None => return false,
                Some(Said::End) => return true,
                Some(Said::Items(items)) => items.iter().for_each(|item| self.item(item)),
                Some(Said::File(entry)) => self.known_file(&entry),
                Some(Said::Dead(pack)) => {
                    if let Some(pack) = self.inventory.packs.get(pack) {
                        pack.note_removal();
                    }
                }
            }
        }
        self.is_cut_short = true;
        false
    }

    /// Takes in a record that the index knows, if its pack still has it.
    fn item(&mut self, item: &Item) {
        let Location::Pack { pack, offset } = item.location() else { return };
        match item {
            Item::Put(entry) => {
                let is_there = |length: &u64| u64::from(offset) + entry.record_bytes <= *length;
                if self.lengths.get(&pack).is_some_and(is_there) {
                    self.offer(entry);
                }
            }
            Item::Removal { key, at } => self.remove(*key, *at),
        }
    }

    /// Reads one pack and returns where its last good record ends, and which of those before are torn.
    pub(crate) fn scan(
        &mut self,
        scan: &Scan,
        bodies: Bodies,
    ) -> Result<(u64, Vec<u32>), DiskError> {
        self.lengths.insert(scan.pack.id, scan.length);
        let path = self.inventory.layout.pack_file(scan.pack.id);
        let origin = (self.inventory.salt, scan.pack.id);
        let mut scanner = Scanner::new(&*scan.pack.file, origin, scan.from, scan.length, bodies);
        while let Some(record) = scanner.next().map_err(DiskError::io("read", &path))? {
            if self.inventory.is_closing() {
                self.is_cut_short = true;
                break;
            }
            self.record(scan.pack.id, &record)?;
        }
        let damaged_bytes = scanner.damaged_bytes();
        if damaged_bytes > 0 {
            let path = path.display();
            tracing::warn!(%path, damaged_bytes, "a pack holds bytes that are no good record");
        }
        Ok((scanner.good_end(), scanner.torn().to_vec()))
    }

    fn record(&mut self, pack: u32, record: &Found) -> Result<(), DiskError> {
        let prologue = &record.prologue;
        self.inventory.note_sequence(prologue.sequence);
        let key = self.inventory.intern(&prologue.key)?;
        let at = Location::Pack { pack, offset: record.offset };
        match prologue.effect {
            Effect::Store => {
                let entry = entry_of(prologue, key, at);
                self.offer(&entry);
                self.tell_index(IndexUpdate::Put(entry));
            }
            Effect::Remove => {
                self.remove(key, at);
                self.tell_index(IndexUpdate::Removal { key, at });
            }
        }
        Ok(())
    }

    fn offer(&mut self, entry: &Entry) {
        if self.removals.get(&entry.key).is_none_or(|removed| *removed < entry.location) {
            self.inventory.offer(entry);
        }
    }

    /// Takes in a removal. A blob file is removed as a whole, so one that is there is newer than any removal.
    fn remove(&mut self, key: ShortKey, at: Location) {
        if let Location::Pack { pack, .. } = at
            && let Some(pack) = self.inventory.packs.get(pack)
        {
            pack.note_removal();
        }
        let newest = self.removals.entry(key).or_insert(at);
        *newest = at.max(*newest);
        self.inventory.remove_before(&key, at);
    }

    /// Takes in a blob file that the index knows.
    fn known_file(&mut self, entry: &Entry) {
        let Location::File { sequence } = entry.location else { return };
        match self.files.get(&sequence) {
            Some(file) if file.length == entry.record_bytes => {
                if let Some(file) = self.files.remove(&sequence) {
                    self.take_file(entry, sequence, file);
                }
            }
            // Another length: what it is, its prologue will tell.
            Some(_) | None => self.tell_index(IndexUpdate::Dead(entry.location)),
        }
    }

    /// Takes in the blob files that the index does not know.
    fn files(&mut self) {
        for (sequence, file) in std::mem::take(&mut self.files) {
            if self.inventory.is_closing() {
                self.is_cut_short = true;
                return;
            }
            match self.adopt(sequence, &file) {
                Ok(Some(entry)) => {
                    self.take_file(&entry, sequence, file);
                    self.tell_index(IndexUpdate::Put(entry));
                }
                Ok(None) => {
                    tracing::warn!(path = %file.path.display(), "a blob file is damaged; removing it");
                    self.drop_file(&file);
                }
                Err(error) => {
                    tracing::error!(error = %with_causes(&error), "a blob file cannot be read; it is left alone");
                }
            }
        }
    }

    /// The entry of a file that the index does not know; `None` when it is damaged.
    fn adopt(&self, sequence: u64, file: &FoundFile) -> Result<Option<Entry>, DiskError> {
        let open = self.inventory.io.open(&file.path, OpenMode::Read);
        let open = open.map_err(DiskError::io("open", &file.path))?;
        let prologue = read_prologue(&*open, file.length, Place::in_file(self.inventory.salt))
            .map_err(DiskError::io("read", &file.path))?
            .filter(|prologue| is_file_of(prologue, sequence, file));
        let Some(prologue) = prologue else { return Ok(None) };
        let key = self.inventory.intern(&prologue.key)?;
        Ok(Some(entry_of(&prologue, key, Location::File { sequence })))
    }

    /// Makes a blob file findable, or removes it when its blob is there already.
    fn take_file(&mut self, entry: &Entry, sequence: u64, file: FoundFile) {
        if self.inventory.offer(entry) == Offered::Ignored {
            self.drop_file(&file);
            self.tell_index(IndexUpdate::Dead(entry.location));
        } else {
            self.inventory.enlist_file(entry, file.path, sequence);
        }
    }

    fn drop_file(&self, file: &FoundFile) {
        if self.inventory.is_read_only() {
            return;
        }
        match self.inventory.io.remove_file(&file.path) {
            Ok(()) => self.inventory.counters.shrink_files(file.length),
            Err(error) => {
                tracing::warn!(path = %file.path.display(), error = %with_causes(&error), "a file of no use cannot be removed");
            }
        }
    }
}

/// Whoever waits goes on, even when the loader panics: what it did not read is then a miss until the next start.
struct OpenOnExit<'a>(&'a Inventory);

impl Drop for OpenOnExit<'_> {
    fn drop(&mut self) {
        self.0.loaded.open();
    }
}

fn entry_of(prologue: &Prologue, key: ShortKey, location: Location) -> Entry {
    Entry {
        key,
        kind: prologue.key.kind(),
        location,
        record_bytes: prologue.record_bytes(),
        logical_size_bytes: prologue.logical_size_bytes,
        encoding: prologue.encoding,
        recency_s: u32::try_from(prologue.written_unix_ms / 1_000).unwrap_or(u32::MAX),
        hits: 0,
    }
}

fn read_prologue(
    file: &dyn IoFile,
    file_bytes: u64,
    place: Place,
) -> std::io::Result<Option<Prologue>> {
    let mut bytes = vec![0; 4_096];
    let filled = read_full(file, &mut bytes, 0)?;
    bytes.truncate(filled);
    let Ok(announced) = announced_bytes(&bytes) else { return Ok(None) };
    if announced as u64 > file_bytes {
        return Ok(None);
    }
    if announced > filled {
        bytes.resize(announced, 0);
        read_full(file, &mut bytes, 0)?;
    }
    Ok(Prologue::parse(&bytes, place).ok())
}

fn is_file_of(prologue: &Prologue, sequence: u64, file: &FoundFile) -> bool {
    let hash: &Hash = prologue.key.hash();
    prologue.effect == Effect::Store
        && prologue.key.kind() == RecordKind::Blob
        && prologue.sequence == sequence
        && prologue.record_bytes() == file.length
        && hash.to_string() == file.hash_hex
}
