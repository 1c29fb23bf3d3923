//! Limits of the file system that `--scratch` is on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Cost;
use super::stopwatch::{Stopwatch, repeat};
use crate::blobs::{self, Content};

const BUFFER_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 64 << 20;
const WRITTEN_FILE_BYTES: usize = 64 << 20;
/// Together 1 GiB, about what a scenario writes: the first files may find memory that the system has at hand, the others want new.
const WRITTEN_FILES: usize = 16;
const APPEND_BYTES: usize = 4 << 10;
const APPENDS_A_SYNC: usize = 64;

pub(super) fn page_cache_read(scratch: &Path) -> io::Result<Cost> {
    let mut file = tempfile::tempfile_in(scratch)?;
    write(&mut file, READ_BYTES)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    repeat(READ_BYTES, || {
        let mut offsets = (0..READ_BYTES as u64).step_by(BUFFER_BYTES);
        offsets.try_for_each(|offset| file.read_exact_at(&mut buffer, offset))
    })
}

pub(super) fn file_write(scratch: &Path) -> io::Result<Cost> {
    let watch = Stopwatch::start();
    let mut files = Vec::new();
    for _ in 0..WRITTEN_FILES {
        let mut file = tempfile::tempfile_in(scratch)?;
        write(&mut file, WRITTEN_FILE_BYTES)?;
        file.sync_data()?;
        // Stays until all are written, as what a cache stores does.
        files.push(file);
    }
    Ok(watch.cost((WRITTEN_FILES * WRITTEN_FILE_BYTES) as u64))
}

pub(super) fn segment_append(scratch: &Path) -> io::Result<Cost> {
    let mut file = tempfile::tempfile_in(scratch)?;
    let record = blobs::blob(Content::Noise, 1, APPEND_BYTES);
    repeat(APPENDS_A_SYNC, || {
        (0..APPENDS_A_SYNC).try_for_each(|_| file.write_all(&record))?;
        file.sync_data()
    })
}

fn write(file: &mut File, bytes: usize) -> io::Result<()> {
    let buffer = blobs::blob(Content::Noise, 1, BUFFER_BYTES);
    (0..bytes / BUFFER_BYTES).try_for_each(|_| file.write_all(&buffer))
}
