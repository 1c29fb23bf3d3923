//! [`Scanner`]: walks a pack from record to record, over damage too.
//!
//! Source: docs/design/disk-format.md, "Reading a pack from end to end".

use crate::io::{IoFile, read_full};
use crate::pack::HEADER_BYTES;
use crate::prologue::{Place, Prologue, PrologueError, RECORD_MAGIC, announced_bytes};

/// How much is read at once.
const WINDOW_BYTES: usize = 256 << 10;
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
    file: &'a dyn IoFile,
    salt: u64,
    pack: u32,
    length: u64,
    bodies: Bodies,
    position: u64,
    /// Behind the last good record.
    good_end: u64,
    damaged_bytes: u64,
    /// Sound prologues of records that are not whole.
    torn: Vec<u32>,
    window: Vec<u8>,
    window_at: u64,
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
            file,
            salt,
            pack,
            length,
            bodies,
            position,
            good_end: position,
            damaged_bytes: 0,
            torn: Vec::new(),
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// The next good record; `None` at the end of the pack.
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Found>> {
        while self.position < self.length {
            // Offsets in a pack take 32 bits; nothing is ever written behind.
            let Ok(offset) = u32::try_from(self.position) else { break };
            if let Some(prologue) = self.record_here(offset)? {
                self.position += prologue.record_bytes();
                self.good_end = self.position;
                return Ok(Some(Found { offset, prologue }));
            }
            let next = self.next_candidate(self.position + 1)?;
            self.damaged_bytes += next - self.position;
            self.position = next;
        }
        Ok(None)
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
        let place = Place::in_pack(self.salt, self.pack, offset);
        let at = u64::from(offset);
        let start = self.peek(at, 12)?;
        let announced = match announced_bytes(start) {
            Ok(announced) if announced <= PROLOGUE_LIMIT_BYTES => announced,
            Ok(_) | Err(_) => return Ok(None),
        };
        let parsed: Result<Prologue, PrologueError> =
            Prologue::parse(self.peek(at, announced)?, place);
        let Ok(prologue) = parsed else { return Ok(None) };
        if at + prologue.record_bytes() > self.length {
            self.torn.push(offset);
            return Ok(None);
        }
        if self.bodies == Bodies::Checked {
            let body_at = at + prologue.length_bytes() as u64;
            let Ok(length) = usize::try_from(prologue.stored_size_bytes()) else {
                return Ok(None);
            };
            if !prologue.is_body(self.peek(body_at, length)?) {
                self.torn.push(offset);
                return Ok(None);
            }
        }
        Ok(Some(prologue))
    }

    /// Where the next record may begin, from `from` on; the end of the pack if nowhere.
    fn next_candidate(&mut self, mut from: u64) -> std::io::Result<u64> {
        while from < self.length {
            let window = self.peek(from, WINDOW_BYTES)?;
            if window.len() < RECORD_MAGIC.len() {
                break;
            }
            if let Some(at) = window.windows(RECORD_MAGIC.len()).position(|it| it == RECORD_MAGIC) {
                return Ok(from + at as u64);
            }
            from += (window.len() - (RECORD_MAGIC.len() - 1)) as u64;
        }
        Ok(self.length)
    }

    /// Up to `length` bytes at `at`; fewer where the pack ends.
    fn peek(&mut self, at: u64, length: usize) -> std::io::Result<&[u8]> {
        let left = self.length.saturating_sub(at);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(length);
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + length as u64 > window_end {
            let wanted = length.max(WINDOW_BYTES);
            self.window.resize(usize::try_from(left).unwrap_or(usize::MAX).min(wanted), 0);
            let filled = read_full(self.file, &mut self.window, at)?;
            self.window.truncate(filled);
            self.window_at = at;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(length)])
    }
}

#[cfg(test)]
mod tests;
