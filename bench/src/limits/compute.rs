//! Limits of the processor and of memory.

use std::hint::black_box;
use std::io;

use super::Cost;
use super::stopwatch::repeat;
use crate::blobs::{self, Content};

/// More than the caches hold.
const COPIED_BYTES: usize = 64 << 20;
/// What servers hash and compress at a time.
const BLOCK_BYTES: usize = 1 << 20;

pub(super) fn memcpy() -> io::Result<Cost> {
    let from = blobs::blob(Content::Noise, 1, COPIED_BYTES);
    let mut to = vec![0; COPIED_BYTES];
    repeat(COPIED_BYTES, || {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
        Ok(())
    })
}

pub(super) fn sha256() -> io::Result<Cost> {
    let block = blobs::blob(Content::Noise, 1, BLOCK_BYTES);
    repeat(BLOCK_BYTES, || {
        black_box(blobs::digest(black_box(&block)));
        Ok(())
    })
}

pub(super) fn crc32c() -> io::Result<Cost> {
    let block = blobs::blob(Content::Noise, 1, BLOCK_BYTES);
    repeat(BLOCK_BYTES, || {
        black_box(crc32c::crc32c(black_box(&block)));
        Ok(())
    })
}

pub(super) fn zstd_in() -> io::Result<Cost> {
    let block = blobs::blob(Content::Text, 1, BLOCK_BYTES);
    let mut compressor = zstd::bulk::Compressor::new(1)?;
    let mut compressed = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK_BYTES));
    repeat(BLOCK_BYTES, || {
        compressed.clear();
        compressor.compress_to_buffer(black_box(&block), &mut compressed).map(drop)
    })
}

pub(super) fn zstd_out() -> io::Result<Cost> {
    let compressed = zstd::bulk::compress(&blobs::blob(Content::Text, 1, BLOCK_BYTES), 1)?;
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    repeat(BLOCK_BYTES, || {
        block.clear();
        decompressor.decompress_to_buffer(black_box(&compressed), &mut block).map(drop)
    })
}
