//! [`DurableState`]: what is written and what of it is synced; [`Syncer`], the thread that narrows the gap in `Interval`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::DiskError;
use crate::inventory::Inventory;
use crate::pack::{LogPosition, Pack};

/// What is written and what of it is synced.
#[derive(Default, Debug)]
pub(crate) struct DurableState {
    /// Guards a few words; never held across a sync.
    progress: Mutex<Progress>,
}

#[derive(Default, Debug)]
struct Progress {
    /// The pack that is appended to, and where the log ends.
    written: Option<(Arc<Pack>, LogPosition)>,
    synced: LogPosition,
    /// Directories under `blobs/` with names that are not synced.
    dirty_fans: BTreeSet<u8>,
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

    pub(crate) fn note_dirty_fan(&self, fan: u8) {
        self.progress.lock().dirty_fans.insert(fan);
    }

    pub(crate) fn synced(&self) -> LogPosition {
        self.progress.lock().synced
    }
}

/// Syncs all that is written; a failure ends writes.
pub(crate) fn sync_all(inventory: &Inventory) -> Result<(), DiskError> {
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
    for fan in fans {
        sync_fan(inventory, fan)?;
    }
    Ok(())
}

/// Syncs one pack; a failure ends writes.
pub(crate) fn sync_pack(inventory: &Inventory, pack: &Pack) -> Result<(), DiskError> {
    pack.file.sync_data().map_err(|error| {
        let path = inventory.layout.pack_file(pack.id);
        inventory.poison(&DiskError::io("sync", &path)(error))
    })
}

/// Syncs the names in one directory of blob files; a failure ends writes.
pub(crate) fn sync_fan(inventory: &Inventory, fan: u8) -> Result<(), DiskError> {
    let path = inventory.layout.blob_dir(fan);
    inventory
        .io
        .sync_dir(&path)
        .map_err(|error| inventory.poison(&DiskError::io("sync", &path)(error)))
}

/// Syncs once a period until it is stopped.
#[derive(Debug)]
pub(crate) struct Syncer {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

impl Syncer {
    pub(crate) fn new() -> Self {
        Self { is_stopped: Mutex::new(false), stopped: Condvar::new() }
    }

    /// The thread's work.
    pub(crate) fn run(&self, inventory: &Inventory, period: Duration) {
        let mut is_stopped = self.is_stopped.lock();
        while !*is_stopped {
            self.stopped.wait_for(&mut is_stopped, period);
            parking_lot::MutexGuard::unlocked(&mut is_stopped, || {
                // The failure is logged, and told to every writer.
                let _ = sync_all(inventory);
            });
        }
    }

    pub(crate) fn stop(&self) {
        *self.is_stopped.lock() = true;
        self.stopped.notify_all();
    }
}
