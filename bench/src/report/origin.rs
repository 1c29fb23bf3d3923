//! [`Origin`]: where a server had the bytes from that it sent, as far as the kernel tells. Pure.

use std::fmt;

use serde::Serialize;

use crate::process::BytesRead;

/// Of a tenth or less of what was sent nobody can say that it came out of files: logs are read, too, and indexes.
const SOME_FROM_FILES: f64 = 0.1;
/// Small blobs of this program take more than this part of their size when they are stored compressed.
const ALL_FROM_FILES: f64 = 0.5;

/// What a server read for an operation, in bytes. Stored compressed, a blob takes fewer than it has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Origin {
    pub(crate) sent: f64,
    pub(crate) from_files: f64,
    pub(crate) from_device: f64,
}

impl Origin {
    /// Of so many operations which sent so many bytes each.
    pub(crate) fn of(read: BytesRead, operations: f64, sent: f64) -> Self {
        let each = |bytes| super::float(bytes) / operations.max(1.0);
        Self { sent, from_files: each(read.files), from_device: each(read.device) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, from_files, from_device } = self;
        let read = from_files.max(*from_device);
        let is_device = *from_device >= from_files / 2.0;
        let origin = match (read < sent * SOME_FROM_FILES, read < sent * ALL_FROM_FILES) {
            (true, _) => "from memory",
            (false, true) if is_device => "partly from the disk",
            (false, true) => "partly from the page cache",
            (false, false) if is_device => "from the disk",
            (false, false) => "from the page cache",
        };
        write!(
            f,
            "{origin}: {from_files:.0} B each read from files, {from_device:.0} B from a device"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_named_by_what_was_read() {
        let check = |files, device, expect: &str| {
            let origin = Origin::of(BytesRead { files, device }, 10.0, 2048.0);
            let shown = origin.to_string();
            assert_eq!(shown.split(':').next(), Some(expect), "{shown}");
        };
        check(0, 0, "from memory");
        check(1_000, 0, "from memory");
        check(11_000, 0, "from the page cache");
        check(4_000, 0, "partly from the page cache");
        check(4_000, 4_000, "partly from the disk");
        check(20_480, 4_096, "from the page cache");
        check(20_480, 20_480, "from the disk");
        // Mapped into memory.
        check(0, 40_960, "from the disk");
    }
}
