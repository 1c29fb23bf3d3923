//! [`Window`]: a look into a file, a piece at a time, for those who read it from end to end.

use crate::io::{IoFile, read_full};

/// How much is read at once.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// A piece of a file in memory, moved along as it is looked at.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn IoFile,
    length: u64,
    bytes: Vec<u8>,
    at: u64,
}

impl<'a> Window<'a> {
    /// Looks at the first `length` bytes of a file.
    pub(crate) fn new(file: &'a dyn IoFile, length: u64) -> Self {
        Self { file, length, bytes: Vec::new(), at: 0 }
    }

    /// Where the file ends.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Up to `length` bytes at `at`; fewer where the file ends. Takes memory for so many, and for no less than a window.
    pub(crate) fn peek(&mut self, at: u64, length: usize) -> std::io::Result<&[u8]> {
        let left = self.length.saturating_sub(at);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(length);
        let end = self.at + self.bytes.len() as u64;
        if at < self.at || at + length as u64 > end {
            let wanted = length.max(WINDOW_BYTES);
            self.bytes.resize(usize::try_from(left).unwrap_or(usize::MAX).min(wanted), 0);
            self.at = at;
            let filled = read_full(self.file, &mut self.bytes, at);
            // Where that ends early, the window holds nothing.
            self.bytes.truncate(*filled.as_ref().unwrap_or(&0));
            filled?;
        }
        let start = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(start..).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(length)])
    }
}
