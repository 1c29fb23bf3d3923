//! Keys and values of the index on disk. Pure; what does not parse is left out, since the log says it again.
//!
//! What a pack holds is said in pages: up to [`PAGE_ENTRIES`] of its records, removals too, in the order of the log. sled
//! then has a line for thirty records instead of one for each, which is what made it large and slow.
//! Source: docs/design/disk-format.md, "The index".

use crate::key::{Keyspace, RecordKind};
use crate::pack::LogPosition;
use crate::partitions::Partition;
use crate::prologue::{Encoding, encoding_code, encoding_of, function_code, function_of};
use crate::slot::{Entry, Location, PREFIX_BYTES, ShortKey, from_six, to_six};

pub(crate) const MARK_KEY: [u8; 1] = [0];
/// Records in one page. sled keeps 16 lines to a node and thousands of nodes in memory before it looks at its limit, so
/// lines must not be long; a quarter of this costs twice the time to write.
pub(crate) const PAGE_ENTRIES: usize = 32;
/// Records in one line of recencies.
pub(crate) const RECENCY_ENTRIES: usize = 128;

const PARTITION_TAG: u8 = 1;
const PACK_TAG: u8 = 2;
const FILE_TAG: u8 = 3;
/// What of a pack a line says. Who reads them in order knows what is dead and how recent the rest is before the pages come.
const DEAD: u8 = 0;
const RECENCY: u8 = 1;
const PAGE: u8 = 2;

const VERSION: u8 = 2;
const MARK_BYTES: usize = 33;
const KEY_BYTES: usize = 2 + PREFIX_BYTES;
const FACTS_BYTES: usize = 18;
const ITEM_BYTES: usize = 4 + KEY_BYTES + FACTS_BYTES;
const RECENCY_BYTES: usize = 9;

/// In the byte of the encoding: a removal of that key.
const REMOVAL_CODE: u8 = 0xFF;

/// What the index covers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Mark {
    pub(crate) salt: u64,
    /// All that the log holds before this place is in the index.
    pub(crate) position: LogPosition,
    /// No record has this sequence number or a higher one.
    pub(crate) sequence: u64,
    /// How many records there were, for who makes room for them.
    pub(crate) records: u64,
}

/// One record of a pack, as its page says it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Item {
    Put(Entry),
    Removal { key: ShortKey, at: Location },
}

impl Item {
    pub(crate) fn location(&self) -> Location {
        match self {
            Self::Put(entry) => entry.location,
            Self::Removal { at, .. } => *at,
        }
    }
}

/// When a record was last asked for, and how often.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) struct Recency {
    pub(crate) offset: u32,
    /// Seconds since 1970.
    pub(crate) asked_s: u32,
    pub(crate) hits: u8,
}

/// One line of the index.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) enum Line {
    Mark(Mark),
    Partition(u16, Partition),
    Page(u32, Vec<Item>),
    Recencies(u32, Vec<Recency>),
    /// A record that is not to be found any more, though its pack is there.
    Dead(u32, u32),
    File(Entry),
}

impl Mark {
    pub(crate) fn to_value(self) -> [u8; MARK_BYTES] {
        let mut value = [0; MARK_BYTES];
        value[0] = VERSION;
        value[1..9].copy_from_slice(&self.salt.to_be_bytes());
        value[9..13].copy_from_slice(&self.position.pack.to_be_bytes());
        value[13..17].copy_from_slice(&self.position.offset.to_be_bytes());
        value[17..25].copy_from_slice(&self.sequence.to_be_bytes());
        value[25..].copy_from_slice(&self.records.to_be_bytes());
        value
    }
}

pub(crate) fn partition_key(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    [PARTITION_TAG, high, low]
}

pub(crate) fn partition_value(partition: &Partition) -> Vec<u8> {
    let mut value = vec![kind_code(partition.kind), function_code(partition.function)];
    value.extend_from_slice(partition.keyspace.as_str().as_bytes());
    value
}

/// What the keys of all lines about a pack begin with.
pub(crate) fn pack_prefix(pack: u32) -> [u8; 5] {
    let [a, b, c, d] = pack.to_be_bytes();
    [PACK_TAG, a, b, c, d]
}

/// What the keys of all lines of recencies of a pack begin with.
pub(crate) fn recency_prefix(pack: u32) -> [u8; 6] {
    let [tag, a, b, c, d] = pack_prefix(pack);
    [tag, a, b, c, d, RECENCY]
}

/// The key of a page whose first record is at `offset`.
pub(crate) fn page_key(pack: u32, offset: u32) -> [u8; 10] {
    pack_line_key(pack, PAGE, offset)
}

/// The key of a line of recencies whose first one is of the record at `offset`.
pub(crate) fn recency_key(pack: u32, offset: u32) -> [u8; 10] {
    pack_line_key(pack, RECENCY, offset)
}

/// The key of the line that says that a record is not to be found any more; it has no value.
pub(crate) fn dead_key(pack: u32, offset: u32) -> [u8; 10] {
    pack_line_key(pack, DEAD, offset)
}

fn pack_line_key(pack: u32, what: u8, offset: u32) -> [u8; 10] {
    let mut key = [0; 10];
    key[..5].copy_from_slice(&pack_prefix(pack));
    key[5] = what;
    key[6..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(crate) fn file_key(sequence: u64) -> [u8; 9] {
    let mut key = [FILE_TAG; 9];
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn file_value(entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(KEY_BYTES + FACTS_BYTES);
    push_key(&mut value, &entry.key);
    push_facts(&mut value, entry);
    value
}

/// Adds a record to a page.
pub(crate) fn push_item(page: &mut Vec<u8>, item: &Item) {
    let (key, at) = match item {
        Item::Put(entry) => (&entry.key, entry.location),
        Item::Removal { key, at } => (key, *at),
    };
    let Location::Pack { offset, .. } = at else { return };
    page.extend_from_slice(&offset.to_be_bytes());
    push_key(page, key);
    match item {
        Item::Put(entry) => push_facts(page, entry),
        Item::Removal { key, .. } => {
            let mut facts = [0; FACTS_BYTES];
            // The size is part of a blob's name.
            facts[6..12].copy_from_slice(&to_six(key.size_bytes));
            facts[12] = REMOVAL_CODE;
            page.extend_from_slice(&facts);
        }
    }
}

pub(crate) fn push_recency(line: &mut Vec<u8>, recency: Recency) {
    line.extend_from_slice(&recency.offset.to_be_bytes());
    line.extend_from_slice(&recency.asked_s.to_be_bytes());
    line.push(recency.hits);
}

fn push_key(value: &mut Vec<u8>, key: &ShortKey) {
    value.extend_from_slice(&key.partition.to_be_bytes());
    value.extend_from_slice(&key.prefix);
}

fn push_facts(value: &mut Vec<u8>, entry: &Entry) {
    value.extend_from_slice(&to_six(entry.record_bytes));
    value.extend_from_slice(&to_six(entry.logical_size_bytes));
    value.push(encoding_code(entry.encoding));
    value.extend_from_slice(&entry.recency_s.to_be_bytes());
    value.push(entry.hits);
}

/// Reads a line. `kind_of` says what a partition, which comes before its entries, holds.
pub(crate) fn parse_line(
    key: &[u8],
    value: &[u8],
    kind_of: impl Fn(u16) -> Option<RecordKind>,
) -> Option<Line> {
    match key.split_first()? {
        (0, []) => parse_mark(value).map(Line::Mark),
        (&PARTITION_TAG, number) => {
            let (codes, keyspace) = value.split_at_checked(2)?;
            let partition = Partition {
                kind: record_kind_of(codes[0])?,
                function: function_of(codes[1])?,
                keyspace: Keyspace::new(std::str::from_utf8(keyspace).ok()?).ok()?,
            };
            Some(Line::Partition(u16::from_be_bytes(number.try_into().ok()?), partition))
        }
        (&PACK_TAG, rest) => {
            let rest: &[u8; 9] = rest.try_into().ok()?;
            let pack = word_at(rest, 0);
            match rest[4] {
                PAGE => parse_page(pack, value, kind_of).map(|items| Line::Page(pack, items)),
                RECENCY => parse_recencies(value).map(|all| Line::Recencies(pack, all)),
                DEAD => Some(Line::Dead(pack, word_at(rest, 5))),
                _ => None,
            }
        }
        (&FILE_TAG, sequence) => {
            let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
            let value: &[u8; KEY_BYTES + FACTS_BYTES] = value.try_into().ok()?;
            parse_entry(Location::File { sequence }, value, kind_of).map(Line::File)
        }
        _ => None,
    }
}

fn parse_mark(value: &[u8]) -> Option<Mark> {
    let value: &[u8; MARK_BYTES] = value.try_into().ok()?;
    (value[0] == VERSION).then(|| Mark {
        salt: number_at(value, 1),
        position: LogPosition { pack: word_at(value, 9), offset: word_at(value, 13) },
        sequence: number_at(value, 17),
        records: number_at(value, 25),
    })
}

fn parse_page(
    pack: u32,
    value: &[u8],
    kind_of: impl Fn(u16) -> Option<RecordKind>,
) -> Option<Vec<Item>> {
    let (items, rest) = value.as_chunks::<ITEM_BYTES>();
    let parse = |item: &[u8; ITEM_BYTES]| {
        let at = Location::Pack { pack, offset: word_at(item, 0) };
        let item: &[u8; KEY_BYTES + FACTS_BYTES] = item[4..].try_into().ok()?;
        if item[KEY_BYTES + 12] == REMOVAL_CODE {
            let size_bytes = six_at(item, KEY_BYTES + 6)?;
            return Some(Item::Removal { key: parse_key(item, size_bytes)?, at });
        }
        parse_entry(at, item, &kind_of).map(Item::Put)
    };
    rest.is_empty().then(|| items.iter().map(parse).collect())?
}

fn parse_recencies(value: &[u8]) -> Option<Vec<Recency>> {
    let (items, rest) = value.as_chunks::<RECENCY_BYTES>();
    let parse = |item: &[u8; RECENCY_BYTES]| Recency {
        offset: word_at(item, 0),
        asked_s: word_at(item, 4),
        hits: item[8],
    };
    rest.is_empty().then(|| items.iter().map(parse).collect())
}

fn parse_key(value: &[u8; KEY_BYTES + FACTS_BYTES], size_bytes: u64) -> Option<ShortKey> {
    Some(ShortKey {
        partition: u16::from_be_bytes([value[0], value[1]]),
        prefix: value[2..KEY_BYTES].try_into().ok()?,
        size_bytes,
    })
}

fn parse_entry(
    location: Location,
    value: &[u8; KEY_BYTES + FACTS_BYTES],
    kind_of: impl Fn(u16) -> Option<RecordKind>,
) -> Option<Entry> {
    let logical_size_bytes = six_at(value, KEY_BYTES + 6)?;
    let mut key = parse_key(value, logical_size_bytes)?;
    let kind = kind_of(key.partition)?;
    if kind == RecordKind::ActionResult {
        key.size_bytes = 0;
    }
    let encoding: Encoding = encoding_of(value[KEY_BYTES + 12])?;
    Some(Entry {
        key,
        kind,
        location,
        record_bytes: six_at(value, KEY_BYTES)?,
        logical_size_bytes,
        encoding,
        recency_s: word_at(value, KEY_BYTES + 13),
        hits: value[KEY_BYTES + 17],
    })
}

fn six_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(from_six(bytes.get(at..at + 6)?.try_into().ok()?))
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn kind_code(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Blob => 1,
        RecordKind::ActionResult => 2,
    }
}

fn record_kind_of(code: u8) -> Option<RecordKind> {
    match code {
        1 => Some(RecordKind::Blob),
        2 => Some(RecordKind::ActionResult),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
