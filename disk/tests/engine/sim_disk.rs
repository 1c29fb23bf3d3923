//! [`SimDisk`]: a disk in memory that loses what was not synced, tears and reorders writes, runs full, and fails at a chosen
//! call. A file without a name takes its room for as long as anybody has it open.
//!
//! Contents and names are durable apart from each other, as POSIX has it: a sync of a file says nothing of its name, a sync
//! of a directory nothing of what its files hold. A power cut keeps of everything that is not synced what the seed says.
//! sled's directory lies on the machine's own disk: its loss is a case of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_disk::{DirEntry, DirLock, Io, IoFile, OpenMode, RealIo};
use parking_lot::Mutex;

use crate::faulty::{EDQUOT, EIO, EMFILE, ENFILE, ENOSPC, EROFS};
use crate::random::Random;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum PowerCut {
    /// Nothing.
    LosesAll,
    /// Everything: the process was killed and the machine lives on.
    KeepsAll,
    /// Each write and each name by a throw of the dice, writes sector by sector; what was never written reads as zeros.
    Scatters,
    /// The same, and what was never written reads as what the blocks held before: bytes of other files.
    ScattersOverStale,
}

impl PowerCut {
    pub(crate) const ALL: [Self; 4] =
        [Self::LosesAll, Self::KeepsAll, Self::Scatters, Self::ScattersOverStale];
}

/// When calls fail, counted from the last [`SimDisk::plan`].
#[derive(Copy, Clone, Debug)]
pub(crate) enum Plan {
    /// Never.
    Works,
    /// From the so-manieth change on nothing reaches the disk any more: the moment of a crash.
    DiesAt(u64),
    /// This one change fails, the next succeeds.
    FailsAt(u64, i32),
    /// So many changes fail from this one on.
    FailsTimes(u64, i32, u32),
    /// Every change from this one on fails.
    FailsFrom(u64, i32),
}

/// What a call changes, as far as errors tell it apart.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Kind {
    Open,
    Create,
    Write,
    Name,
    Remove,
    Truncate,
    SyncFile,
    SyncDir,
}

/// Whether a system would give this error for such a call.
fn applies(errno: i32, kind: Kind) -> bool {
    match errno {
        ENOSPC | EDQUOT => matches!(kind, Kind::Create | Kind::Write | Kind::Name),
        EMFILE | ENFILE => matches!(kind, Kind::Open | Kind::Create | Kind::SyncDir),
        EROFS => !matches!(kind, Kind::Open | Kind::SyncFile | Kind::SyncDir),
        _ => kind != Kind::Open,
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Default, Debug)]
struct Contents {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// What leads from `synced` to `now`.
    pending: Vec<Change>,
    /// How often it is open.
    handles: usize,
}

#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Debug)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    synced_names: BTreeMap<PathBuf, Node>,
    files: HashMap<u64, Contents>,
    next_file: u64,
    capacity_bytes: usize,
    plan: Plan,
    changes: u64,
    /// Calls since the disk was made.
    ticks: u64,
    /// Grows with each crash; a file opened before it is of no use.
    life: u32,
}

/// A disk in memory. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    root: PathBuf,
}

impl SimDisk {
    /// An empty disk whose only directory of interest is `root`; `root`'s index lies on the real disk.
    pub(crate) fn new(root: &Path) -> Self {
        let state = State {
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            files: HashMap::new(),
            next_file: 1,
            capacity_bytes: usize::MAX,
            plan: Plan::Works,
            changes: 0,
            ticks: 0,
            life: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), root: root.to_owned() }
    }

    /// What fails from here on; counts changes from 0.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.state.lock();
        state.plan = plan;
        state.changes = 0;
    }

    /// Changes since the last plan.
    pub(crate) fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// How much the files may hold together.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Bytes that the files hold together, those without a name too that are open.
    pub(crate) fn used_bytes(&self) -> usize {
        self.state.lock().used_bytes()
    }

    /// Ends the machine's life; what is left is what the next engine finds.
    pub(crate) fn crash(&self, cut: PowerCut, random: &mut Random) {
        let mut state = self.state.lock();
        state.life += 1;
        state.plan = Plan::Works;
        let stale: Vec<u8> = state.files.values().flat_map(|file| file.now.clone()).collect();
        for file in state.files.values_mut() {
            file.crash(cut, &stale, random);
            file.handles = 0;
        }
        let (now, synced) = (&state.names, &state.synced_names);
        let mut kept = BTreeMap::new();
        let mut paths: Vec<_> = now.keys().chain(synced.keys()).cloned().collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let keeps_now = match cut {
                PowerCut::KeepsAll => true,
                PowerCut::LosesAll => false,
                PowerCut::Scatters | PowerCut::ScattersOverStale => random.below(2) == 0,
            };
            let node = if keeps_now { now.get(&path) } else { synced.get(&path) };
            let above_is_there = path == self.root
                || path.parent().is_some_and(|above| kept.get(above) == Some(&Node::Dir));
            if let (Some(node), true) = (node, above_is_there) {
                kept.insert(path, *node);
            }
        }
        state.names = kept.clone();
        state.synced_names = kept;
        let live: Vec<_> = state.names.values().copied().collect();
        state.files.retain(|id, _| live.contains(&Node::File(*id)));
    }

    /// Flips a bit somewhere in a file of at least one byte, and says whether there is one.
    pub(crate) fn rot(&self, random: &mut Random) -> bool {
        let mut state = self.state.lock();
        let mut ids: Vec<_> = state
            .files
            .iter()
            .filter(|(_, file)| !file.now.is_empty())
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        if ids.is_empty() {
            return false;
        }
        let id = ids[random.below(ids.len())];
        let Some(file) = state.files.get_mut(&id) else { return false };
        let mut at = random.below(file.now.len());
        if file.now.starts_with(b"larder-disk") && at == b"larder-disk ".len() {
            // The one byte that, turned into another digit, rightly keeps an engine from starting: another version.
            at += 1;
        }
        let bit = 1 << random.below(8);
        file.now[at] ^= bit;
        if let Some(byte) = file.synced.get_mut(at) {
            *byte ^= bit;
        }
        true
    }

    fn is_index(&self, path: &Path) -> bool {
        path.strip_prefix(&self.root).is_ok_and(|below| {
            below.components().next().is_some_and(|first| {
                let first = first.as_os_str();
                first == "index" || first == "index.broken"
            })
        })
    }
}

impl State {
    /// Counts a call, and fails where the plan says so. Of an error that does not fit the call, the next one that it fits
    /// gets it.
    fn change(&mut self, kind: Kind) -> io::Result<()> {
        let number = self.changes;
        self.ticks += 1;
        if kind != Kind::Open {
            self.changes += 1;
        }
        let errno = match self.plan {
            Plan::DiesAt(at) if number >= at && kind != Kind::Open => EIO,
            Plan::FailsAt(at, errno) if number >= at && applies(errno, kind) => {
                self.plan = Plan::Works;
                errno
            }
            Plan::FailsTimes(at, errno, times) if number >= at && applies(errno, kind) => {
                let left = Plan::FailsTimes(at, errno, times - 1);
                self.plan = if times > 1 { left } else { Plan::Works };
                errno
            }
            Plan::FailsFrom(at, errno) if number >= at && applies(errno, kind) => errno,
            Plan::Works
            | Plan::DiesAt(_)
            | Plan::FailsAt(..)
            | Plan::FailsTimes(..)
            | Plan::FailsFrom(..) => return Ok(()),
        };
        Err(io::Error::from_raw_os_error(errno))
    }

    /// How much of a write that fails was written all the same: nothing, half, or all of it, by turns.
    fn half_written(&self, length: usize) -> usize {
        match (self.plan, self.ticks % 3) {
            (Plan::DiesAt(_), _) | (_, 0) => 0,
            (_, 1) => length / 2,
            _ => length,
        }
    }

    fn used_bytes(&self) -> usize {
        let named: HashSet<_> = self.names.values().collect();
        let is_held =
            |(id, file): &(&u64, &Contents)| file.handles > 0 || named.contains(&Node::File(**id));
        self.files.iter().filter(is_held).map(|(_, file)| file.now.len()).sum()
    }

    fn absent<T>() -> io::Result<T> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Contents {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.now, at, bytes);
        self.pending.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    fn truncate(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.pending.push(Change::Truncate(length));
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { at, bytes } => put(&mut self.synced, at, &bytes),
                Change::Truncate(length) => self.synced.resize(length, 0),
            }
        }
    }

    fn crash(&mut self, cut: PowerCut, stale: &[u8], random: &mut Random) {
        match cut {
            PowerCut::KeepsAll => self.sync(),
            PowerCut::LosesAll => self.pending.clear(),
            PowerCut::Scatters | PowerCut::ScattersOverStale => {
                let holds_stale = cut == PowerCut::ScattersOverStale && !stale.is_empty();
                for change in std::mem::take(&mut self.pending) {
                    match change {
                        Change::Truncate(length) if random.below(2) == 0 => {
                            self.synced.resize(length, 0);
                        }
                        Change::Truncate(_) => {}
                        Change::Write { at, bytes } => {
                            self.scatter(at, &bytes, holds_stale.then_some(stale), random);
                        }
                    }
                }
            }
        }
        self.now.clone_from(&self.synced);
    }

    /// Keeps some sectors of a write; the length may have grown all the same.
    fn scatter(&mut self, at: usize, bytes: &[u8], stale: Option<&[u8]>, random: &mut Random) {
        let keeps = random.below(4);
        if keeps == 0 {
            return;
        }
        let (old, end) = (self.synced.len(), at + bytes.len());
        if end > old {
            self.synced.resize(end, 0);
            if let Some(stale) = stale {
                let from = random.below(stale.len());
                for (index, byte) in self.synced[old..].iter_mut().enumerate() {
                    *byte = stale[(from + index) % stale.len()];
                }
            }
        }
        let mut begin = at;
        while begin < end {
            let stop = end.min((begin / SECTOR_BYTES + 1) * SECTOR_BYTES);
            if keeps == 3 || random.below(2) == 0 {
                self.synced[begin..stop].copy_from_slice(&bytes[begin - at..stop - at]);
            }
            begin = stop;
        }
    }
}

fn put(contents: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[at..end].copy_from_slice(bytes);
}

impl Io for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let mut state = self.state.lock();
        let id = match (mode, state.names.get(path).copied()) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                state.change(Kind::Create)?;
                if !path.parent().is_some_and(|above| state.names.contains_key(above)) {
                    return State::absent();
                }
                let id = state.next_file;
                state.next_file += 1;
                state.files.insert(id, Contents::default());
                state.names.insert(path.to_owned(), Node::File(id));
                id
            }
            (_, Some(Node::File(id))) => {
                state.change(Kind::Open)?;
                id
            }
            (_, Some(Node::Dir)) => return Err(io::ErrorKind::IsADirectory.into()),
            (_, None) => return State::absent(),
        };
        state.files.entry(id).or_default().handles += 1;
        Ok(Arc::new(SimFile { disk: self.clone(), id, life: state.life }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path == self.root {
            RealIo.create_dir_all(path)?;
        }
        let mut state = self.state.lock();
        if state.names.contains_key(path) {
            return Ok(());
        }
        state.change(Kind::Name)?;
        if path != self.root && !path.parent().is_some_and(|above| state.names.contains_key(above))
        {
            return State::absent();
        }
        state.names.insert(path.to_owned(), Node::Dir);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        if self.is_index(path) {
            return RealIo.list(path);
        }
        let state = self.state.lock();
        if state.names.get(path) != Some(&Node::Dir) {
            return State::absent();
        }
        let below = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entry = |(name, node): (&PathBuf, &Node)| {
            let file_bytes = match node {
                Node::Dir => None,
                Node::File(id) => state.files.get(id).map(|file| file.now.len() as u64),
            };
            Some(DirEntry { name: name.file_name()?.to_owned(), file_bytes })
        };
        Ok(below.filter_map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.is_index(from) {
            // A plain file of that name is how a test says that there can be no index.
            let is_dir = from.is_dir();
            return if is_dir { RealIo.rename(from, to) } else { State::absent() };
        }
        let mut state = self.state.lock();
        state.change(Kind::Name)?;
        if !to.parent().is_some_and(|above| state.names.contains_key(above)) {
            return State::absent();
        }
        let Some(node) = state.names.remove(from) else { return State::absent() };
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Kind::Remove)?;
        match state.names.remove(path) {
            Some(_) => Ok(()),
            None => State::absent(),
        }
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealIo.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change(Kind::SyncDir)?;
        let is_here = |name: &PathBuf| {
            name.parent() == Some(path) || (name == &self.root && self.root.parent() == Some(path))
        };
        let State { names, synced_names, .. } = &mut *state;
        synced_names.retain(|name, _| !is_here(name));
        let here = names.iter().filter(|(name, _)| is_here(name));
        synced_names.extend(here.map(|(name, node)| (name.clone(), *node)));
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()) as u64)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        RealIo.lock(path)
    }

    fn unix_ms(&self) -> u64 {
        // The clock goes with what happens, so that a run repeats itself.
        1_700_000_000_000 + self.state.lock().ticks * 1_000
    }

    fn salt(&self) -> u64 {
        0x005E_ED0F_5A17
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
    life: u32,
}

impl SimFile {
    /// Runs `work` on what the file holds; a file without a name is still there for who has it open.
    fn with<T>(
        &self,
        kind: Option<Kind>,
        work: impl FnOnce(&mut Contents, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if self.life != state.life {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        if let Some(kind) = kind {
            state.change(kind)?;
        }
        let room_bytes = state.capacity_bytes.saturating_sub(state.used_bytes());
        work(state.files.entry(self.id).or_default(), room_bytes)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if self.life == state.life
            && let Some(file) = state.files.get_mut(&self.id)
        {
            file.handles -= 1;
        }
    }
}

impl IoFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(None, |file, _| {
            let at = usize::try_from(offset).unwrap().min(file.now.len());
            let count = buffer.len().min(file.now.len() - at);
            buffer[..count].copy_from_slice(&file.now[at..at + count]);
            Ok(count)
        })
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.read_at(buffer, offset).unwrap_or(0)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let at = usize::try_from(offset).unwrap();
        let mut state = self.disk.state.lock();
        if self.life == state.life
            && let Err(error) = state.change(Kind::Write)
        {
            let written = state.half_written(bytes.len());
            if written > 0 {
                state.files.entry(self.id).or_default().write(at, &bytes[..written]);
            }
            return Err(error);
        }
        drop(state);
        self.with(None, |file, room_bytes| {
            let length = bytes.len().min((file.now.len() + room_bytes).saturating_sub(at));
            if length == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.write(at, &bytes[..length]);
            Ok(length)
        })
    }

    fn forget_cached(&self, _offset: u64, _length_bytes: u64) {}

    fn len_bytes(&self) -> io::Result<u64> {
        self.with(None, |file, _| Ok(file.now.len() as u64))
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.with(Some(Kind::Truncate), |file, _| {
            file.truncate(usize::try_from(length_bytes).unwrap());
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Some(Kind::SyncFile), |file, _| {
            file.sync();
            Ok(())
        })
    }
}
