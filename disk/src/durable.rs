//! [`DurableState`]: what is written and what of it is synced; [`Syncer`], the thread that narrows the gap in `Interval`.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::activity::timed;
use crate::error::{DiskError, is_disk_full, is_transient, with_causes};
use crate::inventory::Inventory;
use crate::io::Io;
use crate::layout::{Layout, parse_blob_dir};
use crate::pack::{LogPosition, Pack};

const SYNC_FAILED: &str = "a sync failed";

/// What is written and what of it is synced.
#[derive(Default, Debug)]
pub(crate) struct DurableState {
    /// Guards a few words; never held across a sync.
    progress: Mutex<Progress>,
    /// Guards no data: held while all is synced, so that who finds nothing left to sync does not return before another has synced it.
    syncing: Mutex<()>,
}

#[derive(Default, Debug)]
struct Progress {
    /// The pack that is appended to, and where the log ends.
    written: Option<(Arc<Pack>, LogPosition)>,
    synced: LogPosition,
    /// Directories under `blobs/` with names that are not synced.
    dirty_fans: BTreeSet<u8>,
    /// Directories under `blobs/` whose own names are synced.
    durable_fans: BTreeSet<u8>,
}

impl DurableState {
    /// The log now ends at `end`, in `pack`.
    pub(crate) fn note_written(&self, pack: &Arc<Pack>, end: LogPosition) {
        self.progress.lock().written = Some((Arc::clone(pack), end));
    }

    /// The log is synced up to `position`.
    pub(crate) fn note_synced(&self, position: LogPosition) {
        let mut progress = self.progress.lock();
        progress.synced = progress.synced.max(position);
    }

    /// A pack is gone, and nothing of it is to be synced any more.
    pub(crate) fn forget_pack(&self, id: u32) {
        self.progress.lock().written.take_if(|(pack, _)| pack.id == id);
    }

    pub(crate) fn note_dirty_fan(&self, fan: u8) {
        self.progress.lock().dirty_fans.insert(fan);
    }

    /// A directory that was durable is gone.
    pub(crate) fn forget_fan(&self, fan: u8) {
        self.progress.lock().durable_fans.remove(&fan);
    }

    pub(crate) fn synced(&self) -> LogPosition {
        self.progress.lock().synced
    }
}

/// Syncs all that is written; a failure ends writes.
pub(crate) fn sync_all(inventory: &Inventory) -> Result<(), DiskError> {
    let _syncing = inventory.durable.syncing.lock();
    inventory.check_writable()?;
    let (written, fans) = {
        let mut progress = inventory.durable.progress.lock();
        let written = progress.written.clone().filter(|(_, end)| *end > progress.synced);
        (written, std::mem::take(&mut progress.dirty_fans))
    };
    if let Some((pack, end)) = written {
        sync_pack(inventory, &pack)?;
        inventory.durable.note_synced(end);
    }
    // One that could not be tried is dirty again; the others need not wait for it.
    fans.into_iter().map(|fan| sync_fan(inventory, fan)).fold(Ok(()), Result::and)
}

/// Syncs one pack; a failure ends writes.
pub(crate) fn sync_pack(inventory: &Inventory, pack: &Pack) -> Result<(), DiskError> {
    let synced = timed(&inventory.activity.sync_micros, || pack.file.sync_data());
    synced.map_err(|error| {
        let path = inventory.layout.pack_file(pack.id);
        inventory.poison(SYNC_FAILED, &inventory.io_error("sync", &path)(error))
    })
}

/// Syncs the names in one directory of blob files; a failure ends writes, unless it could not even be tried.
pub(crate) fn sync_fan(inventory: &Inventory, fan: u8) -> Result<(), DiskError> {
    sync_dir(inventory, &inventory.layout.blob_dir(fan)).inspect_err(|error| {
        if error.is_transient() {
            inventory.durable.note_dirty_fan(fan);
            tracing::warn!(error = %with_causes(&error), "a directory could not be opened to be synced; it is tried again");
        }
    })
}

/// Syncs the names in a directory; a failure ends writes, unless it could not even be tried.
pub(crate) fn sync_dir(inventory: &Inventory, path: &Path) -> Result<(), DiskError> {
    let synced = timed(&inventory.activity.sync_micros, || inventory.io.sync_dir(path));
    synced.map_err(|error| match inventory.io_error("sync", path)(error) {
        error if error.is_transient() => error,
        error => inventory.poison(SYNC_FAILED, &error),
    })
}

/// Makes a directory of blob files whose own name survives a power cut. That the directory is there proves nothing: another
/// writer may have made it a moment ago and not have synced it yet.
pub(crate) fn ensure_fan(inventory: &Inventory, fan: u8) -> io::Result<()> {
    let is_durable = || inventory.durable.progress.lock().durable_fans.contains(&fan);
    let dir = inventory.layout.blob_dir(fan);
    if is_durable() {
        return Ok(());
    }
    inventory.io.create_dir_all(&dir)?;
    let blobs = inventory.layout.blobs_dir();
    inventory.io.sync_dir(&blobs).inspect_err(|error| {
        if !is_transient(error) && !is_disk_full(error) {
            let same = error.raw_os_error().map(io::Error::from_raw_os_error);
            let same = same.unwrap_or_else(|| error.kind().into());
            inventory.poison(SYNC_FAILED, &inventory.io_error("sync", &blobs)(same));
        }
    })?;
    inventory.durable.progress.lock().durable_fans.insert(fan);
    Ok(())
}

/// Syncs the names of all packs and blob files: the process before may have been killed before it did, and what is there from
/// now on counts as present.
pub(crate) fn sync_names(
    io: &dyn Io,
    layout: &Layout,
    durable: &DurableState,
) -> Result<(), DiskError> {
    let sync = |dir: &Path| io.sync_dir(dir).map_err(DiskError::io("sync", dir));
    sync(&layout.packs_dir())?;
    let blobs = layout.blobs_dir();
    sync(&blobs)?;
    for entry in io.list(&blobs).map_err(DiskError::io("list", &blobs))? {
        let fan = entry.name.to_str().and_then(parse_blob_dir);
        if let (Some(fan), None) = (fan, entry.file_bytes) {
            sync(&layout.blob_dir(fan))?;
            durable.progress.lock().durable_fans.insert(fan);
        }
    }
    Ok(())
}

/// Syncs once a period until it is stopped.
#[derive(Default, Debug)]
pub(crate) struct Syncer {
    /// Guards a word.
    told: Mutex<Told>,
    called: Condvar,
}

/// What the thread was told since it last looked.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
enum Told {
    #[default]
    Nothing,
    /// Not to wait for the end of the period.
    Sync,
    Stop,
}

impl Syncer {
    /// The thread's work.
    pub(crate) fn run(&self, inventory: &Inventory, period: Duration) {
        let mut told = self.told.lock();
        while *told != Told::Stop {
            if *told == Told::Nothing {
                self.called.wait_for(&mut told, period);
            }
            if *told == Told::Sync {
                *told = Told::Nothing;
            }
            parking_lot::MutexGuard::unlocked(&mut told, || {
                // The failure is logged, and told to every writer.
                let _ = sync_all(inventory);
            });
        }
    }

    /// Does not let it wait for the end of its period.
    pub(crate) fn ask(&self) {
        self.tell(Told::Sync);
    }

    pub(crate) fn stop(&self) {
        self.tell(Told::Stop);
    }

    fn tell(&self, what: Told) {
        let mut told = self.told.lock();
        if *told != Told::Stop {
            *told = what;
        }
        self.called.notify_all();
    }
}
