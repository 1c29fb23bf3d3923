//! [`FastCdc`]: FastCDC as in the paper of 2020, at normalization level 2, with the gear table of seed 0.
//!
//! Source: Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", 2020, and
//! `FastCdc2020Params` in `remote_execution.proto`, which names the crate that does the work here.

use fastcdc::v2020::{FastCDC, Normalization};

use super::FAST_CDC_AVERAGE_BYTES;

/// Where to cut, by the sizes that chunks may have. In bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct FastCdc {
    min: u32,
    average: u32,
    max: u32,
}

impl FastCdc {
    /// As announced.
    pub(super) const ANNOUNCED: Self = Self {
        min: FAST_CDC_AVERAGE_BYTES / 4,
        average: FAST_CDC_AVERAGE_BYTES,
        max: FAST_CDC_AVERAGE_BYTES * 4,
    };

    /// Any sizes that the crate takes.
    #[cfg(test)]
    pub(super) const fn new(min: u32, average: u32, max: u32) -> Self {
        Self { min, average, max }
    }

    pub(super) const fn min_bytes(self) -> usize {
        self.min as usize
    }

    pub(super) const fn max_bytes(self) -> usize {
        self.max as usize
    }

    /// The length of the first chunk of `ahead`: known when a whole one is there, or all that there is.
    pub(super) fn cut(self, ahead: &[u8], is_ended: bool) -> Option<usize> {
        if ahead.is_empty() || (ahead.len() < self.max_bytes() && !is_ended) {
            return None;
        }
        let ahead = &ahead[..ahead.len().min(self.max_bytes())];
        let level = Normalization::Level2;
        let cutter =
            FastCDC::with_level_and_seed(ahead, self.min, self.average, self.max, level, 0);
        let (_, end) = cutter.cut(0, ahead.len());
        Some(end)
    }
}
