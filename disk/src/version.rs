//! [`RecordVersion`]: tells one record of a key from the next, so that who keeps a copy can ask whether it is still current.

use crate::Engine;
use crate::key::RecordKey;

/// Which record of its key is the current one. Opaque, and good for as long as the engine is open.
///
/// It is the record's place, and places only grow: no key comes back to one that it had. So a copy that was read after its version
/// was asked for, and whose version is still told, is what a read would find now.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct RecordVersion(u64);

impl RecordVersion {
    /// One that a store of other versions than places tells; equal for equal numbers.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl Engine {
    /// Which record of a key is current; another one after each put, and after a move. Extends the record's life. `None` where
    /// there is none, or it is not known yet, as after a start. Memory only.
    pub fn version(&self, key: &RecordKey) -> Option<RecordVersion> {
        let inventory = self.inventory();
        let short = inventory.short_key(key)?;
        let location = inventory.table.touch_at(&short, inventory.now_s())?;
        Some(RecordVersion(location.to_bits()))
    }
}
