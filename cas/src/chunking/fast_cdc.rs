//! [`FastCdc`]: FastCDC as in the paper of 2020, at normalization level 2, with the gear table of seed 0.
//!
//! Source: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", 2020, and
//! `FastCdc2020Params` in `remote_execution.proto`, which names the crate that does the work here.

use fastcdc::v2020::{FastCDC, Normalization};

use super::FAST_CDC_AVERAGE_BYTES;

/// Where to cut, by the sizes that chunks may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct FastCdc {
    min_bytes: u32,
    average_bytes: u32,
    max_bytes: u32,
}

impl FastCdc {
    /// As announced.
    pub(super) const ANNOUNCED: Self = Self {
        min_bytes: FAST_CDC_AVERAGE_BYTES / 4,
        average_bytes: FAST_CDC_AVERAGE_BYTES,
        max_bytes: FAST_CDC_AVERAGE_BYTES * 4,
    };

    /// Any sizes that the crate takes.
    #[cfg(test)]
    pub(super) const fn new(min_bytes: u32, average_bytes: u32, max_bytes: u32) -> Self {
        Self { min_bytes, average_bytes, max_bytes }
    }

    pub(super) const fn min_bytes(self) -> usize {
        self.min_bytes as usize
    }

    pub(super) const fn max_bytes(self) -> usize {
        self.max_bytes as usize
    }

    /// The length of the first chunk of `ahead`: known when a whole one is there, or all that there is.
    pub(super) fn cut(&self, ahead: &[u8], is_ended: bool) -> Option<usize> {
        if ahead.is_empty() || (ahead.len() < self.max_bytes() && !is_ended) {
            return None;
        }
        let ahead = &ahead[..ahead.len().min(self.max_bytes())];
        let (min, average, max) = (self.min_bytes, self.average_bytes, self.max_bytes);
        let level = Normalization::Level2;
        let (_, end) =
            FastCDC::with_level_and_seed(ahead, min, average, max, level, 0).cut(0, ahead.len());
        Some(end)
    }
}
