//! [`Scanner`]: walks a pack from record to record, over damage too.
//!
//! Source: docs/design/disk-format.md, "Reading a pack from end to end".

use std::ops::Range;

use crate::io::IoFile;
use crate::pack::HEADER_BYTES;
use crate::prologue::{Place, Prologue, PrologueError, RECORD_MAGIC, announced_bytes};
use crate::window::{WINDOW_BYTES, Window};

/// No record in a pack has a longer prologue: fixed part, hash, keyspace, extension and 64 frames take less.
const PROLOGUE_LIMIT_BYTES: usize = 8 << 10;

/// Whether bodies are checked against their frame tables.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Bodies {
    Trusted,
    Checked,
}

/// A record that a scan met.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) offset: u32,
    pub(crate) prologue: Prologue,
}

/// Walks a pack from record to record.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    window: Window<'a>,
    salt: u64,
    pack: u32,
    bodies: Bodies,
    position: u64,
    /// Behind the last good record.
    good_end: u64,
    damaged_bytes: u64,
    /// Sound prologues of records that are not whole.
    torn: Vec<u32>,
    /// What was passed over on the way to the last record that was found.
    damage: Option<Range<u64>>,
}

impl<'a> Scanner<'a> {
    /// Begins at `from`, in a pack that is `length` bytes long.
    pub(crate) fn new(
        file: &'a dyn IoFile,
        (salt, pack): (u64, u32),
        from: u64,
        length: u64,
        bodies: Bodies,
    ) -> Self {
        let position = from.max(HEADER_BYTES as u64);
        Self {
            window: Window::new(file, length),
            salt,
            pack,
            bodies,
            position,
            good_end: position,
            damaged_bytes: 0,
            torn: Vec::new(),
            damage: None,
        }
    }

    /// The next good record; `None` at the end of the pack.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Found>> {
        let from = self.position;
        while self.position < self.window.length() {
            // Offsets in a pack take 32 bits; nothing is ever written behind.
            let Ok(offset) = u32::try_from(self.position) else { break };
            if let Some(prologue) = self.record_here(offset)? {
                self.damage = (from < self.position).then_some(from..self.position);
                self.position += prologue.record_bytes();
                self.good_end = self.position;
                return Ok(Some(Found { offset, prologue }));
            }
            let next = self.next_candidate(self.position + 1)?;
            self.damaged_bytes += next - self.position;
            self.position = next;
        }
        self.damage = (from < self.position).then_some(from..self.position);
        Ok(None)
    }

    /// What the last [`Self::next`] passed over before it came to its answer.
    pub(crate) fn damage(&self) -> Option<Range<u64>> {
        self.damage.clone()
    }

    /// The pack's bytes.
    pub(crate) fn window(&mut self) -> &mut Window<'a> {
        &mut self.window
    }

    /// What stands at a place, be it a good record or not.
    pub(crate) fn prologue_at(
        &mut self,
        offset: u32,
    ) -> std::io::Result<Result<Prologue, PrologueError>> {
        let place = Place::in_pack(self.salt, self.pack, offset);
        let at = u64::from(offset);
        let announced = match announced_bytes(self.window.peek(at, 12)?) {
            Ok(announced) if announced <= PROLOGUE_LIMIT_BYTES => announced,
            Ok(_) => return Ok(Err(PrologueError::Inconsistent)),
            Err(error) => return Ok(Err(error)),
        };
        Ok(Prologue::parse(self.window.peek(at, announced)?, place))
    }

    /// Where the last good record ends.
    pub(crate) fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Bytes that belong to no good record.
    pub(crate) fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }

    /// Where records begin that have a sound prologue and are not whole. Without a look at the body, who comes next would
    /// take them for good.
    pub(crate) fn torn(&self) -> &[u32] {
        &self.torn
    }

    fn record_here(&mut self, offset: u32) -> std::io::Result<Option<Prologue>> {
        let Ok(prologue) = self.prologue_at(offset)? else { return Ok(None) };
        let at = u64::from(offset);
        if at + prologue.record_bytes() > self.window.length() {
            self.torn.push(offset);
            return Ok(None);
        }
        if self.bodies == Bodies::Checked {
            let body_at = at + prologue.length_bytes() as u64;
            let Ok(length) = usize::try_from(prologue.stored_size_bytes()) else {
                return Ok(None);
            };
            if !prologue.is_body(self.window.peek(body_at, length)?) {
                self.torn.push(offset);
                return Ok(None);
            }
        }
        Ok(Some(prologue))
    }

    /// Where the next record may begin, from `from` on; the end of the pack if nowhere.
    fn next_candidate(&mut self, mut from: u64) -> std::io::Result<u64> {
        while from < self.window.length() {
            let window = self.window.peek(from, WINDOW_BYTES)?;
            if window.len() < RECORD_MAGIC.len() {
                break;
            }
            if let Some(at) = window.windows(RECORD_MAGIC.len()).position(|it| it == RECORD_MAGIC) {
                return Ok(from + at as u64);
            }
            from += (window.len() - (RECORD_MAGIC.len() - 1)) as u64;
        }
        Ok(self.window.length())
    }
}

#[cfg(test)]
mod tests;
