//! Opening a directory: what the index says, then what the log says behind its mark, then what lies in `blobs/`.
//!
//! Afterwards the table names exactly what can be read, as far as prologues and lengths tell, and the last pack ends with
//! a good record.
//! Source: docs/design/disk-format.md, "Reading a pack from end to end" and "The index".

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use larder_protos::Hash;

use crate::codec::Codec;
use crate::error::DiskError;
use crate::index::{self, Loaded, Survey};
use crate::indexer::{Backlog, IndexUpdate};
use crate::inventory::Inventory;
use crate::io::{Io, IoFile, OpenMode, read_full};
use crate::key::RecordKind;
use crate::layout::{Layout, is_tmp_name, parse_blob_dir, parse_blob_name, parse_pack_name};
use crate::options::EngineOptions;
use crate::pack::{HEADER_BYTES, LogPosition, Pack, PackHeader};
use crate::partitions::Partitions;
use crate::prologue::{Effect, Place, Prologue, announced_bytes};
use crate::scan::{Bodies, Found, Scanner};
use crate::table::{Entry, Location, ShortKey, Table};

/// What a directory holds, ready for the threads.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) inventory: Arc<Inventory>,
    /// The pack to append to, and where.
    pub(crate) active: (Arc<Pack>, u64),
    pub(crate) db: Option<sled::Db>,
    pub(crate) known_partitions: u16,
    pub(crate) marked: LogPosition,
    pub(crate) backlog: Backlog,
}

/// A pack as it was found.
#[derive(Debug)]
struct FoundPack {
    pack: Arc<Pack>,
    length: u64,
    salt: Option<u64>,
}

/// A blob file as it was found.
#[derive(Debug)]
struct FoundFile {
    path: PathBuf,
    hash_hex: String,
    length: u64,
}

/// Brings a directory back, or makes a new one. The caller holds its lock.
pub(crate) fn recover(options: &EngineOptions, io: Arc<dyn Io>) -> Result<Recovered, DiskError> {
    let layout = Layout::new(&options.data_dir);
    let said_salt = layout.read_salt(&*io)?;
    layout.create_dirs(&*io)?;
    clear_tmp(&*io, &layout)?;
    let packs = find_packs(&*io, &layout)?;
    let files = find_files(&*io, &layout)?;
    let salt = if let Some(salt) = said_salt {
        salt
    } else {
        let salt = packs.values().find_map(|pack| pack.salt).unwrap_or_else(|| io.salt());
        layout.write_salt(&*io, salt)?;
        salt
    };
    let survey = Survey {
        packs: packs.iter().map(|(id, pack)| (*id, pack.length)).collect(),
        files: files.iter().map(|(sequence, file)| (*sequence, file.length)).collect(),
    };
    let (db, loaded) = index::open(&*io, &layout, options.index_cache_bytes, salt, &survey);
    let is_rebuild = loaded.is_none();
    let (table, partitions, mark) = match loaded {
        Some(Loaded { table, partitions, mark }) => (table, partitions, Some(mark)),
        None => (Table::new(), Partitions::default(), None),
    };
    let marked = mark.map_or_else(LogPosition::default, |mark| mark.position);
    let known_partitions = partitions.count();
    let codec = Codec::new(options.zstd_level);
    let inventory = Inventory::new(io, (layout, salt), codec, (table, partitions));
    if let Some(mark) = mark {
        inventory.note_sequence(mark.sequence);
    }
    let mut replay = Replay { inventory: &inventory, updates: Vec::new(), keeps: !is_rebuild };
    let active = replay.packs(&packs, marked)?;
    replay.files(files)?;
    let updates = replay.updates;
    inventory.table.for_each(|entry| inventory.counters.count_in(entry));
    Ok(Recovered {
        inventory: Arc::new(inventory),
        active,
        db,
        known_partitions,
        marked,
        backlog: if is_rebuild { Backlog::WholeTable } else { Backlog::Updates(updates) },
    })
}

/// Removes what was being written when the last engine ended.
fn clear_tmp(io: &dyn Io, layout: &Layout) -> Result<(), DiskError> {
    let dir = layout.tmp_dir();
    for entry in io.list(&dir).map_err(DiskError::io("list", &dir))? {
        if entry.file_bytes.is_some() && entry.name.to_str().is_some_and(is_tmp_name) {
            let path = dir.join(&entry.name);
            io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn find_packs(io: &dyn Io, layout: &Layout) -> Result<BTreeMap<u32, FoundPack>, DiskError> {
    let dir = layout.packs_dir();
    let mut packs = BTreeMap::new();
    let mut foreign = 0_u32;
    for entry in io.list(&dir).map_err(DiskError::io("list", &dir))? {
        let id = entry.name.to_str().and_then(parse_pack_name);
        let (Some(id), Some(length)) = (id, entry.file_bytes) else {
            foreign += 1;
            continue;
        };
        let path = layout.pack_file(id);
        let file = io.open(&path, OpenMode::ReadWrite).map_err(DiskError::io("open", &path))?;
        let mut bytes = [0; HEADER_BYTES];
        read_full(&*file, &mut bytes, 0).map_err(DiskError::io("read", &path))?;
        let salt =
            PackHeader::parse(&bytes).filter(|header| header.id == id).map(|header| header.salt);
        if salt.is_none() {
            tracing::warn!(path = %path.display(), "the header of a pack is damaged; its records are searched");
        }
        packs.insert(id, FoundPack { pack: Arc::new(Pack { id, file }), length, salt });
    }
    report_foreign(&dir, foreign);
    Ok(packs)
}

fn find_files(io: &dyn Io, layout: &Layout) -> Result<HashMap<u64, FoundFile>, DiskError> {
    let mut files = HashMap::new();
    let mut foreign_dirs = 0;
    let blobs = layout.blobs_dir();
    for fan in io.list(&blobs).map_err(DiskError::io("list", &blobs))? {
        let parsed = fan.name.to_str().and_then(parse_blob_dir);
        let (Some(fan), None) = (parsed, fan.file_bytes) else {
            foreign_dirs += 1;
            continue;
        };
        let dir = layout.blob_dir(fan);
        let mut foreign = 0;
        for entry in io.list(&dir).map_err(DiskError::io("list", &dir))? {
            let parsed = entry.name.to_str().and_then(parse_blob_name);
            let (Some((hash_hex, sequence)), Some(length)) = (parsed, entry.file_bytes) else {
                foreign += 1;
                continue;
            };
            let hash_hex = hash_hex.to_owned();
            files.insert(sequence, FoundFile { path: dir.join(&entry.name), hash_hex, length });
        }
        report_foreign(&dir, foreign);
    }
    report_foreign(&blobs, foreign_dirs);
    Ok(files)
}

fn report_foreign(dir: &std::path::Path, count: u32) {
    if count > 0 {
        tracing::info!(dir = %dir.display(), count, "names that are not Larder's are left alone");
    }
}

/// Brings the table up to what the disk holds.
struct Replay<'a> {
    inventory: &'a Inventory,
    updates: Vec<IndexUpdate>,
    /// Whether `updates` are wanted.
    keeps: bool,
}

impl Replay<'_> {
    /// Reads the log behind `mark`, and returns the pack to append to.
    fn packs(
        &mut self,
        packs: &BTreeMap<u32, FoundPack>,
        mark: LogPosition,
    ) -> Result<(Arc<Pack>, u64), DiskError> {
        let last = packs.last_key_value().map(|(id, _)| *id);
        let mut active = None;
        let mut order = 0;
        for (id, found) in packs {
            order = self.first_sequence(found).unwrap_or(order + 1);
            self.inventory.add_pack(&found.pack, order);
            self.inventory.counters.grow_files(found.length);
            if *id < mark.pack {
                continue;
            }
            let from = if *id == mark.pack { u64::from(mark.offset) } else { 0 };
            let bodies = if Some(*id) == last { Bodies::Checked } else { Bodies::Trusted };
            let good_end = self.pack(found, from, bodies)?;
            if Some(*id) == last && found.salt.is_some() {
                active = Some((found, good_end));
            }
        }
        let active = if let Some((found, end)) = active {
            self.reopen(found, end)?
        } else {
            let id = last.unwrap_or_default().max(mark.pack).checked_add(1);
            let inventory = self.inventory;
            let pack = Pack::create(
                &*inventory.io,
                &inventory.layout,
                id.ok_or(DiskError::Closed)?,
                inventory.salt,
            )?;
            let pack = Arc::new(pack);
            inventory.add_pack(&pack, inventory.take_sequence());
            inventory.counters.grow_files(HEADER_BYTES as u64);
            (pack, HEADER_BYTES as u64)
        };
        let offset = u32::try_from(active.1).map_err(|_| DiskError::Closed)?;
        let end = LogPosition { pack: active.0.id, offset };
        self.inventory.durable.note_written(&active.0, end);
        self.inventory.durable.note_synced(end);
        self.updates.push(IndexUpdate::Covered(end));
        Ok(active)
    }

    fn first_sequence(&self, found: &FoundPack) -> Option<u64> {
        let file = &*found.pack.file;
        let origin = (self.inventory.salt, found.pack.id);
        let mut bytes = [0; 2_048];
        let length = read_full(file, &mut bytes, HEADER_BYTES as u64).ok()?;
        let place = Place::in_pack(origin.0, origin.1, u32::try_from(HEADER_BYTES).ok()?);
        Prologue::parse(&bytes[..length], place).ok().map(|prologue| prologue.sequence)
    }

    /// Cuts what is behind the last good record, and makes sure of the rest.
    fn reopen(&self, found: &FoundPack, end: u64) -> Result<(Arc<Pack>, u64), DiskError> {
        let path = self.inventory.layout.pack_file(found.pack.id);
        if end < found.length {
            found.pack.file.truncate(end).map_err(DiskError::io("cut", &path))?;
            self.inventory.counters.shrink_files(found.length - end);
        }
        found.pack.file.sync_data().map_err(DiskError::io("sync", &path))?;
        Ok((Arc::clone(&found.pack), end))
    }

    /// Replays one pack and returns where its last good record ends.
    fn pack(&mut self, found: &FoundPack, from: u64, bodies: Bodies) -> Result<u64, DiskError> {
        let path = self.inventory.layout.pack_file(found.pack.id);
        let from = from.min(found.length);
        let origin = (self.inventory.salt, found.pack.id);
        let mut scanner = Scanner::new(&*found.pack.file, origin, from, found.length, bodies);
        while let Some(record) = scanner.next().map_err(DiskError::io("read", &path))? {
            self.record(found.pack.id, &record)?;
        }
        let damaged_bytes = scanner.damaged_bytes();
        if damaged_bytes > 0 {
            let path = path.display();
            tracing::warn!(%path, damaged_bytes, "a pack holds bytes that are no good record");
        }
        Ok(scanner.good_end())
    }

    fn record(&mut self, pack: u32, record: &Found) -> Result<(), DiskError> {
        let prologue = &record.prologue;
        self.inventory.note_sequence(prologue.sequence);
        let key = self.inventory.intern(&prologue.key)?;
        match prologue.effect {
            Effect::Store => {
                let location = Location::Pack { pack, offset: record.offset };
                let entry = entry_of(prologue, key, location);
                self.inventory.table.replace(&entry);
                self.update(IndexUpdate::Put(entry));
            }
            // A blob file that is newer than the removal is taken in with the files.
            Effect::Remove => {
                self.inventory.table.remove(&key);
                self.update(IndexUpdate::Remove(key));
            }
        }
        Ok(())
    }

    /// Takes in the blob files.
    fn files(&mut self, files: HashMap<u64, FoundFile>) -> Result<(), DiskError> {
        let mut known = HashMap::new();
        self.inventory.table.for_each(|entry| {
            if let Location::File { sequence } = entry.location {
                known.insert(sequence, *entry);
            }
        });
        for (sequence, file) in files {
            self.inventory.note_sequence(sequence);
            let entry = match known.get(&sequence) {
                Some(entry) => Some(*entry),
                None => self.adopt(sequence, &file)?,
            };
            if let Some(entry) = entry {
                self.inventory.add_file(&entry, file.path, sequence);
            } else {
                let io = &self.inventory.io;
                io.remove_file(&file.path).map_err(DiskError::io("remove", &file.path))?;
            }
        }
        Ok(())
    }

    /// The entry of a file that the index does not know; `None` when it is damaged or one too many.
    fn adopt(&mut self, sequence: u64, file: &FoundFile) -> Result<Option<Entry>, DiskError> {
        let open = self.inventory.io.open(&file.path, OpenMode::Read);
        let open = open.map_err(DiskError::io("open", &file.path))?;
        let prologue = read_prologue(&*open, file.length, Place::in_file(self.inventory.salt))
            .map_err(DiskError::io("read", &file.path))?
            .filter(|prologue| is_file_of(prologue, sequence, file));
        let Some(prologue) = prologue else {
            tracing::warn!(path = %file.path.display(), "a blob file is damaged; removing it");
            return Ok(None);
        };
        let key = self.inventory.intern(&prologue.key)?;
        let entry = entry_of(&prologue, key, Location::File { sequence });
        if !self.inventory.table.insert_if_absent(&entry) {
            return Ok(None);
        }
        self.update(IndexUpdate::Put(entry));
        Ok(Some(entry))
    }

    fn update(&mut self, update: IndexUpdate) {
        if self.keeps {
            self.updates.push(update);
        }
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
