//! [`RepMaxCdc`]: cuts where a rolling hash is largest, until all chunks have from the least size up to less than twice it.
//!
//! A cut may lie from the least size `min` on. Of the places up to the horizon the one with the largest hash is taken, the
//! first of equals. Is it too far away for one chunk, then only places that leave `min` before it are looked at, and so
//! on until one is near enough. The last `min` bytes have no cut in them.
//!
//! The hash at a place depends on the 64 bytes before it alone. So it is computed once: what is remembered are the record
//! holders, the places whose hash is larger than at all places before. Once none has come for `min` bytes, the last one
//! will be a cut whatever follows, and the cuts before it are known too, going back in steps of at least `min`.
//!
//! Source: `RepMaxCdcParams` in `remote_execution.proto`; the definition is github.com/buildbarn/go-cdc,
//! `simple_rep_max_content_defined_chunker.go`.

use std::collections::VecDeque;

/// How many bytes the hash depends on.
const WINDOW_BYTES: usize = 64;

/// Where to cut, and what is known of the bytes ahead. Places count from where the next chunk begins.
#[derive(Debug)]
pub(super) struct RepMaxCdc {
    gear: Box<[u64; 256]>,
    min_bytes: usize,
    horizon_bytes: usize,
    /// Chunks whose lengths are settled.
    settled: VecDeque<usize>,
    /// The record holders from the first possible cut on, in order; empty when nothing is known.
    records: Vec<Record>,
    /// How far it has hashed, and the hash there.
    scanned: Record,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    place: usize,
    hash: u64,
}

impl RepMaxCdc {
    pub(super) fn new(min_bytes: usize, horizon_bytes: usize) -> Self {
        debug_assert!(min_bytes >= WINDOW_BYTES, "the first hash needs a whole window");
        let (gear, _) = fastcdc::v2020::get_gear_with_seed(0);
        Self {
            gear,
            min_bytes,
            horizon_bytes,
            settled: VecDeque::new(),
            records: Vec::new(),
            scanned: Record::default(),
        }
    }

    /// The length of the first chunk of `ahead`, if it is known.
    pub(super) fn cut(&mut self, ahead: &[u8], is_ended: bool) -> Option<usize> {
        if let Some(length) = self.settled.pop_front() {
            return Some(length);
        }
        if ahead.len() < 2 * self.min_bytes {
            return (is_ended && !ahead.is_empty()).then_some(ahead.len());
        }
        if self.records.is_empty() {
            self.begin(ahead, self.min_bytes);
        }
        let horizon = self.min_bytes + self.horizon_bytes;
        // No cut may leave less than a chunk behind it.
        let end = horizon.min(ahead.len() - self.min_bytes);
        if self.scan(ahead, end) {
            return self.settled.pop_front();
        }
        if end < horizon && !is_ended {
            return None;
        }
        let length = self.first_cut(end);
        self.advance(ahead, length);
        Some(length)
    }

    /// Knows nothing but the hash at this place.
    fn begin(&mut self, ahead: &[u8], place: usize) {
        let window = &ahead[place - WINDOW_BYTES..place];
        let hash = window.iter().fold(0, |hash, byte| self.roll(hash, *byte));
        self.scanned = Record { place, hash };
        self.records.clear();
        self.records.push(self.scanned);
    }

    /// Hashes up to `end`, or until the last record holder is sure to be a cut; true if it is.
    fn scan(&mut self, ahead: &[u8], end: usize) -> bool {
        let Some(mut best) = self.records.last().copied() else { return false };
        let Record { mut place, mut hash } = self.scanned;
        while place < end {
            // The next place that is a whole chunk behind the best one.
            let sure = best.place + self.min_bytes;
            let stop = end.min(sure - 1);
            for byte in &ahead[place..stop.max(place)] {
                place += 1;
                hash = (hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
                if hash > best.hash {
                    best = Record { place, hash };
                    self.records.push(best);
                }
            }
            if place + 1 == best.place + self.min_bytes && place < end {
                hash = self.roll(hash, ahead[place]);
                self.settle(Record { place: place + 1, hash });
                return true;
            }
        }
        self.scanned = Record { place, hash };
        false
    }

    /// Takes the last record holder as a cut, and those before it that lie at least a chunk apart. `next` is where the first
    /// possible cut of the chunk behind it lies.
    fn settle(&mut self, next: Record) {
        let Some(last) = self.records.pop() else { return };
        let mut cuts = VecDeque::from([last.place]);
        let mut following = last.place;
        while let Some(record) = self.records.pop() {
            if following - record.place >= self.min_bytes {
                cuts.push_front(record.place);
                following = record.place;
            }
        }
        let mut begin = 0;
        for cut in cuts {
            self.settled.push_back(cut - begin);
            begin = cut;
        }
        self.scanned = Record { place: next.place - last.place, ..next };
        self.records.push(self.scanned);
    }

    /// Where the first chunk ends, going back from the best place up to `end`, which has been scanned.
    fn first_cut(&self, end: usize) -> usize {
        let mut limit = end;
        let mut cut = self.min_bytes;
        for record in self.records.iter().rev().filter(|record| record.place <= end) {
            if record.place <= limit {
                cut = record.place;
                if cut < 2 * self.min_bytes {
                    break;
                }
                limit = cut - self.min_bytes;
            }
        }
        cut
    }

    /// The chunk of this length is cut off: what is known of the bytes behind it stays known.
    fn advance(&mut self, ahead: &[u8], length: usize) {
        let first = length + self.min_bytes;
        let behind = self.records.partition_point(|record| record.place < first);
        let kept = self.records.split_off(behind);
        let scanned = self.scanned;
        if scanned.place < first {
            self.records.clear();
            self.scanned = Record::default();
            return;
        }
        // Between the first possible cut and the first record holder kept there may be others, which were none before.
        let gap_end = kept.first().map_or(scanned.place, |record| record.place - 1);
        if kept.first().is_some_and(|record| record.place == first) {
            self.records.clear();
        } else {
            self.begin(ahead, first);
            let Record { mut place, mut hash } = self.scanned;
            let mut best = hash;
            for byte in &ahead[first..gap_end] {
                place += 1;
                hash = self.roll(hash, *byte);
                if hash > best {
                    best = hash;
                    self.records.push(Record { place, hash });
                }
            }
        }
        self.records.extend(kept);
        self.scanned = scanned;
        self.scanned.place -= length;
        for record in &mut self.records {
            record.place -= length;
        }
    }

    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.gear[usize::from(byte)])
    }
}
