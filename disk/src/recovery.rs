//! Opening a directory: what must be known before anything can be appended. The rest is the [`Loader`]'s.
//!
//! Afterwards the last pack ends with a good record, what stands in it behind the index's mark is in the table, and the
//! loader knows what it has to read.
//! Source: docs/design/disk-format.md, "Reading a pack from end to end" and "The index".

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::Codec;
use crate::durable::sync_names;
use crate::error::{DiskError, is_read_only, is_unreadable, with_causes};
use crate::index::{self, Head};
use crate::index_format::Mark;
use crate::indexer::IndexUpdate;
use crate::inventory::Inventory;
use crate::io::{DirEntry, Io, OpenMode, read_full};
use crate::layout::{
    Layout, is_root_name, is_tmp_name, parse_blob_dir, parse_blob_name, parse_pack_name,
};
use crate::loader::{FoundFile, Loader, Scan};
use crate::options::EngineOptions;
use crate::pack::{HEADER_BYTES, LogPosition, Pack, PackHeader};
use crate::partitions::Partitions;
use crate::prologue::{FIXED_BYTES, Place, Prologue};
use crate::salt;
use crate::scan::{Bodies, Scanner};
use crate::table::Table;

/// What a directory holds, ready for the threads.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) inventory: Arc<Inventory>,
    /// The pack to append to, and where; `None` where the directory is only read.
    pub(crate) active: Option<(Arc<Pack>, u64)>,
    pub(crate) db: Option<sled::Db>,
    pub(crate) known_partitions: u16,
    pub(crate) marked: LogPosition,
    /// What the index does not know of the last pack.
    pub(crate) backlog: Vec<IndexUpdate>,
    pub(crate) loader: Loader,
}

/// A pack as it was found.
#[derive(Debug)]
struct FoundPack {
    pack: Arc<Pack>,
    length: u64,
    salt: Option<u64>,
}

/// Brings a directory back, or makes a new one. The caller holds its lock.
pub(crate) fn recover(options: &EngineOptions, io: Arc<dyn Io>) -> Result<Recovered, DiskError> {
    let layout = Layout::new(&options.data_dir);
    let said_salt = salt::ask(&*io, &layout)?;
    let refusal = match layout.create_dirs(&*io) {
        Err(DiskError::Io { source, path, .. })
            if is_read_only(&source) && path != layout.packs_dir() =>
        {
            Some((source, path))
        }
        made => made.map(|()| refusal(&*io, &layout))?,
    };
    report_foreign_in_root(&*io, &layout)?;
    let mode = if refusal.is_none() {
        clear_tmp(&*io, &layout)?;
        OpenMode::ReadWrite
    } else {
        OpenMode::Read
    };
    let mut packs = find_packs(&*io, &layout, mode)?;
    let files = find_files(&*io, &layout)?;
    let headers = packs.values().map(|pack| pack.salt);
    let (salt, (db, head)) = if refusal.is_none() {
        let salt = salt::settle(&*io, &layout, said_salt, headers)?;
        (salt, index::open(&*io, &layout, options.index_cache_bytes, salt))
    } else {
        // sled cannot be opened without being written: the log says all.
        (salt::assume(said_salt, headers, &layout)?, (None, None))
    };
    leave_foreign(&mut packs, &layout, salt);
    let (partitions, mark) = match head {
        Some(Head { partitions, mark }) => (partitions, Some(mark)),
        None => (Partitions::default(), None),
    };
    let mut marked = mark.map_or_else(LogPosition::default, |mark| mark.position);
    let known_partitions = partitions.count();
    let codec = Codec::new(options.zstd_level);
    let inventory =
        Inventory::new(io, (layout, salt), codec, (Table::new(), partitions), options.eviction);
    if let Some(mark) = mark {
        inventory.note_sequence(mark.sequence);
        inventory.table.reserve(believed_records(mark, &packs, files.len()));
    }
    for (sequence, file) in &files {
        inventory.note_sequence(*sequence);
        inventory.counters.grow_files(file.length);
    }
    let inventory = Arc::new(inventory);
    let mut loader = Loader::new(Arc::clone(&inventory), mark.and(db.clone()), files);
    if let Some((error, path)) = refusal {
        let path = path.display();
        tracing::error!(%path, error = %with_causes(&error), "the data directory cannot be written; serving reads only");
        inventory.be_read_only(&format!("{path}: {error}"));
    }
    let replay = Replay { inventory: &inventory, loader: &mut loader };
    let active = replay.packs(&packs, marked)?;
    if active.is_some() {
        sync_names(&*inventory.io, &inventory.layout, &inventory.durable)?;
    }
    let end = inventory.durable.synced();
    if let (Some(db), Some(mark)) = (&db, mark)
        && end < marked
    {
        tracing::warn!("the log ends before the place that the index covers; some of it is lost");
        marked = end;
        let mark = Mark { position: end, ..mark };
        if !index::take_back(db, mark, &inventory.partitions) {
            index::move_aside(&*inventory.io, &inventory.layout)?;
            return recover(options, Arc::clone(&inventory.io));
        }
    }
    let backlog = loader.take_updates();
    Ok(Recovered { inventory, active, db, known_partitions, marked, backlog, loader })
}

/// How many records there are, if there can be as many as the mark says; nothing is believed of a number that is beyond that.
fn believed_records(mark: Mark, packs: &BTreeMap<u32, FoundPack>, files: usize) -> u64 {
    let log_bytes = packs.values().map(|found| found.length).sum::<u64>();
    let most = log_bytes / FIXED_BYTES as u64 + files as u64;
    if mark.records <= most { mark.records } else { 0 }
}

/// Why nothing can be written here; `None` where it can, or where it is not known.
fn refusal(io: &dyn Io, layout: &Layout) -> Option<(Arc<io::Error>, PathBuf)> {
    let refused = layout.try_write(io).err().filter(is_read_only)?;
    Some((Arc::new(refused), layout.data_dir().to_owned()))
}

fn report_foreign_in_root(io: &dyn Io, layout: &Layout) -> Result<(), DiskError> {
    let dir = layout.data_dir();
    let names = io.list(dir).map_err(DiskError::io("list", dir))?;
    let is_foreign = |entry: &&DirEntry| !entry.name.to_str().is_some_and(is_root_name);
    let count = names.iter().filter(is_foreign).count();
    report_foreign(dir, u32::try_from(count).unwrap_or(u32::MAX));
    Ok(())
}

/// Removes what was being written when the last engine ended.
fn clear_tmp(io: &dyn Io, layout: &Layout) -> Result<(), DiskError> {
    let dir = layout.tmp_dir();
    let (mut removed, mut foreign) = (0_u32, 0);
    for entry in io.list(&dir).map_err(DiskError::io("list", &dir))? {
        if entry.file_bytes.is_some() && entry.name.to_str().is_some_and(is_tmp_name) {
            let path = dir.join(&entry.name);
            io.remove_file(&path).map_err(DiskError::io("remove", &path))?;
            removed += 1;
        } else {
            foreign += 1;
        }
    }
    if removed > 0 {
        tracing::info!(dir = %dir.display(), count = removed, "half-written files are removed");
    }
    report_foreign(&dir, foreign);
    Ok(())
}

fn find_packs(
    io: &dyn Io,
    layout: &Layout,
    mode: OpenMode,
) -> Result<BTreeMap<u32, FoundPack>, DiskError> {
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
        let Some(file) = unless_unreadable(io.open(&path, mode), "open", &path)? else {
            continue;
        };
        let mut bytes = [0; HEADER_BYTES];
        unless_unreadable(read_full(&*file, &mut bytes, 0), "read", &path)?;
        let salt =
            PackHeader::parse(&bytes).filter(|header| header.id == id).map(|header| header.salt);
        packs.insert(id, FoundPack { pack: Arc::new(Pack::new(id, file)), length, salt });
    }
    report_foreign(&dir, foreign);
    Ok(packs)
}

/// What cannot be read is passed over: the rest of the store is worth more than a clean conscience. Any other error is one.
fn unless_unreadable<T>(
    done: io::Result<T>,
    operation: &'static str,
    path: &Path,
) -> Result<Option<T>, DiskError> {
    match done {
        Err(error) if is_unreadable(&error) => {
            let path = path.display();
            tracing::error!(%path, error = %with_causes(&error), "the disk cannot read it; going on without it");
            Ok(None)
        }
        done => done.map(Some).map_err(DiskError::io(operation, path)),
    }
}

/// Leaves out what has a pack's name and neither its header nor a record.
fn leave_foreign(packs: &mut BTreeMap<u32, FoundPack>, layout: &Layout, salt: u64) {
    packs.retain(|id, found| {
        if found.salt.is_some() {
            return true;
        }
        let path = layout.pack_file(*id);
        let path = path.display();
        let mut scanner =
            Scanner::new(&*found.pack.file, (salt, *id), 0, found.length, Bodies::Checked);
        let is_pack = !matches!(scanner.next(), Ok(None));
        if is_pack {
            tracing::warn!(%path, "the header of a pack is damaged; its records are searched");
        } else {
            tracing::warn!(%path, "a file with a pack's name holds no record; it is left alone");
        }
        is_pack
    });
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
        let entries = unless_unreadable(io.list(&dir), "list", &dir)?.unwrap_or_default();
        for entry in entries {
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

fn report_foreign(dir: &Path, count: u32) {
    if count > 0 {
        tracing::info!(dir = %dir.display(), count, "names that are not Larder's are left alone");
    }
}

/// Reads the end of the log.
struct Replay<'a> {
    inventory: &'a Inventory,
    loader: &'a mut Loader,
}

impl Replay<'_> {
    /// Takes in the last pack behind `mark`, leaves the others to the loader, and returns the pack to append to.
    fn packs(
        self,
        packs: &BTreeMap<u32, FoundPack>,
        mark: LogPosition,
    ) -> Result<Option<(Arc<Pack>, u64)>, DiskError> {
        let last = packs.last_key_value().map(|(id, _)| *id);
        self.inventory.packs.extend(packs.values().map(|found| Arc::clone(&found.pack)));
        let mut active = None;
        let mut order = 0;
        for (id, found) in packs {
            order = self.first_sequence(found).unwrap_or(order + 1);
            self.inventory.note_sequence(order);
            self.inventory.enlist_pack(*id, order);
            self.inventory.counters.grow_files(found.length);
            let covered = match id.cmp(&mark.pack) {
                Ordering::Less => found.length,
                Ordering::Equal if u64::from(mark.offset) <= found.length => mark.offset.into(),
                // The mark's own pack is shorter than the index says: some of it is lost.
                Ordering::Equal | Ordering::Greater => 0,
            };
            let scan = Scan { pack: Arc::clone(&found.pack), from: covered, length: found.length };
            if Some(*id) == last {
                let (good_end, torn) = match self.loader.scan(&scan, Bodies::Checked) {
                    Err(DiskError::Io { source, path, .. }) if is_unreadable(&source) => {
                        let path = path.display();
                        tracing::error!(%path, error = %source, "the end of the last pack cannot be read; beginning another");
                        continue;
                    }
                    scanned => scanned?,
                };
                if self.inventory.is_read_only() {
                    continue;
                }
                self.disarm(found, &torn, good_end)?;
                if found.salt == Some(self.inventory.salt) {
                    active = Some((found, good_end));
                }
            } else {
                self.loader.leave(scan);
            }
        }
        if self.inventory.is_read_only() {
            return Ok(None);
        }
        let active = match active {
            Some((found, end)) => self.reopen(found, end)?,
            None => self.begin_pack(last.unwrap_or_default().max(mark.pack))?,
        };
        let offset = u32::try_from(active.1).map_err(|_| DiskError::Closed)?;
        let end = LogPosition { pack: active.0.id, offset };
        self.inventory.durable.note_written(&active.0, end);
        self.inventory.durable.note_synced(end);
        self.loader.tell_index(IndexUpdate::Covered(end));
        Ok(Some(active))
    }

    fn begin_pack(&self, after: u32) -> Result<(Arc<Pack>, u64), DiskError> {
        let inventory = self.inventory;
        let next = after + 1;
        let pack = Arc::new(Pack::create(&*inventory.io, &inventory.layout, next, inventory.salt)?);
        inventory.add_pack(&pack, inventory.take_sequence());
        inventory.counters.grow_files(HEADER_BYTES as u64);
        Ok((pack, HEADER_BYTES as u64))
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
            let cut_bytes = found.length - end;
            tracing::warn!(path = %path.display(), cut_bytes, "the torn end of a pack is cut off");
        }
        found.pack.file.sync_data().map_err(DiskError::io("sync", &path))?;
        Ok((Arc::clone(&found.pack), end))
    }

    /// Takes the first byte from torn records that good ones follow: their prologues are sound, and once the pack is sealed
    /// nobody looks at bodies. The pack is synced before it is used.
    fn disarm(&self, found: &FoundPack, torn: &[u32], good_end: u64) -> Result<(), DiskError> {
        let path = self.inventory.layout.pack_file(found.pack.id);
        for at in torn.iter().map(|at| u64::from(*at)).filter(|at| *at < good_end) {
            let struck = found.pack.strike_out(at).and_then(|()| found.pack.file.sync_data());
            struck.map_err(DiskError::io("mend", &path))?;
        }
        Ok(())
    }
}
